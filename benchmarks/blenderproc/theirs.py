"""Runs in BlenderProc's own environment (Python 3.11): renders one of the scenes and prints CPU seconds a frame.

usage: python theirs.py SCENE_FOLDER OUT_FOLDER SAMPLES NOISE_THRESHOLD BOUNCES FRAMES
A threshold of 0 turns adaptive sampling off; BOUNCES is `default` or a number given to every kind of bounce.
Depth and normals are switched on, as they are in the data it is compared with; roughness, metallic and
camera-space normals it does not offer.
"""

import json
import math
import os
import sys
from pathlib import Path

os.environ["OUTSIDE_OF_THE_INTERNAL_BLENDER_PYTHON_ENVIRONMENT_BUT_IN_RUN_SCRIPT"] = "1"  # set by its own launcher
import bpy
from blenderproc.api import camera as bproc_camera
from blenderproc.api import renderer, world
from blenderproc.python.renderer.RendererUtility import set_render_devices
from blenderproc.python.utility.Initializer import _Initializer, clean_up
from blenderproc.python.utility.SetupUtility import SetupUtility


def main(scene: Path, out: Path, samples: int, threshold: float, *rest: str) -> None:
    bounces, frames = rest[0], int(rest[1])
    SetupUtility.setup_utility_paths(str(out))
    clean_up(clean_up_camera=True)  # `init()` step by step, less the language switch that the bpy wheel lacks
    bpy.context.scene.render.engine = "CYCLES"
    set_render_devices()
    _Initializer.set_default_parameters()
    known = set(bpy.data.objects)
    bpy.ops.import_scene.gltf(filepath=str(scene / "scene.glb"))
    for index, thing in enumerate(thing for thing in bpy.data.objects if thing not in known):
        thing["category_id"] = index + 1
    world.set_world_background_hdr_img(str(scene / "environment.exr"))
    camera = json.loads((scene / "camera.json").read_text())
    bproc_camera.set_intrinsics_from_blender_params(
        math.radians(camera["fov_degrees"]), camera["size"], camera["size"], lens_unit="FOV"
    )
    for pose in camera["poses"][:frames]:
        bproc_camera.add_camera_pose(pose)
    renderer.set_max_amount_of_samples(samples)
    renderer.set_noise_threshold(threshold)
    if bounces != "default":
        count = int(bounces)
        renderer.set_light_bounces(count, count, count, count, count, 8, 0)
    renderer.enable_depth_output(activate_antialiasing=False, output_dir=str(out))
    renderer.enable_normals_output(output_dir=str(out))
    renderer.set_output_format("OPEN_EXR", 32, view_transform="Raw")
    before = sum(os.times()[:2])
    renderer.render(output_dir=str(out), return_data=False)
    print(json.dumps({"cpu_seconds_per_frame": (sum(os.times()[:2]) - before) / frames}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:7])
