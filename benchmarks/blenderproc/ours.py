"""Renders one of the scenes through the factory's own settings, passes and material AOVs; prints CPU seconds per frame.

usage: python -m benchmarks.blenderproc.ours SCENE_FOLDER OUT_FOLDER SETTINGS_JSON
SETTINGS_JSON overrides fields of the `paper` recipe's render settings; "seed" changes the noise, "frames" renders only
the first of the scene's frames. With a "quality" a pilot goes first, whose CPU seconds are printed apart.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bpy
import msgspec
import numpy as np

from datagen.blender import session
from datagen.blender.cycles_settings import apply_settings, frame_path, set_output
from datagen.blender.keyframes import add_camera
from datagen.blender.material_aovs import instrument
from datagen.blender.passes import attribute_names, enable_passes, read_frame
from datagen.blender.pilot import sampled_as, sampling_for
from datagen.blender.world import World
from manifests.codec.exr import read_exr
from manifests.contract.camera import Camera, intrinsics_from_fov
from scenes.recipes import load_recipe
from scenes.spec import RenderSettings

ALL = attribute_names(geometric_normal=False)


def main(place: Path, out: Path, changes: dict) -> int:
    out.mkdir(parents=True, exist_ok=True)
    seed, frames = changes.pop("seed", 1), changes.pop("frames", None)
    description = json.loads((place / "camera.json").read_text())
    size, poses = description["size"], np.array(description["poses"])[:frames]
    plain = msgspec.to_builtins(load_recipe("paper").render) | {"width": size, "height": size} | changes
    settings = msgspec.convert(plain, RenderSettings)
    with session.start("CPU").scene() as scene:
        bpy.ops.import_scene.gltf(filepath=str(place / "scene.glb"))
        for material in {slot.material for thing in scene.objects for slot in thing.material_slots if slot.material}:
            instrument(material)
        camera = Camera(intrinsics_from_fov(description["fov_degrees"], size, size), poses)
        add_camera(scene, camera, size, size)
        channels = read_exr((place / "environment.exr").read_bytes())
        image = np.stack([channels[name] for name in "RGB"], axis=-1)
        World(scene, settings.importance_width).show(image, np.tile(np.eye(3), (len(poses), 1, 1)))
        before, chosen = sum(os.times()[:2]), {}
        if isinstance(settings.quality, float):
            sampling = sampling_for(settings.quality, scene, settings, len(poses), (seed + 1000, seed + 2000), out)
            settings, chosen = sampled_as(sampling, settings), vars(sampling)
        pilot = sum(os.times()[:2]) - before
        apply_settings(scene, settings, seed)
        set_output(scene, out, len(poses), 24)
        enable_passes(scene.view_layers[0], ALL)
        before = sum(os.times()[:2])
        bpy.ops.render.render(animation=True, scene=scene.name)
        cpu = (sum(os.times()[:2]) - before) / len(poses)
        frames = [
            read_frame(frame_path(out, index), ALL, (size, size), poses[index, :3, :3])[0]
            for index in range(len(poses))
        ]
        np.save(out / "rgb.npy", np.stack([frame["rgb"] for frame in frames]))
    print("\n" + json.dumps({"cpu_seconds_per_frame": cpu, "pilot": pilot, "chosen": chosen}))
    return 0


if __name__ == "__main__":
    session.leave(lambda: main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])))
