"""Test clips for `benchmarks/codecs.py`: three path-traced scenes, rendered once by plain Blender and kept.

They stand apart from the data factory on purpose, so that the codec can be chosen and measured without it: fine
procedural textures in basecolor, roughness and metallic, bumped normals, hard silhouettes, an environment map
behind the scene, and three kinds of motion (moving camera, moving objects, moving light).

    python -m benchmarks.codec_scenes out/codec-clips --size 512 --frames 24

writes `<folder>/shards/000000.tar` with one `exact` sample a scene. Beauty and G-buffers are two renders here, so
that the G-buffers get enough samples to be as smooth as in a real dataset without paying for light transport.
"""

from __future__ import annotations

import argparse
import io
import math
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from manifests.codec.codecs import encode_clip
from manifests.codec.exr import read_exr
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment, sanitize

FOV = 45.0


def material(name: str, kind: str, scale: float, colours: tuple[tuple[float, ...], ...], metal: float) -> Any:
    """A Principled material with varying base colour, roughness, metalness and bump, and its AOV outputs."""
    result = bpy.data.materials.new(name)
    tree = result.node_tree
    nodes, links = tree.nodes, tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    place = nodes.new("ShaderNodeTexCoord").outputs["Object"]
    texture = nodes.new(f"ShaderNodeTex{kind.title()}")
    links.new(place, texture.inputs["Vector"])
    texture.inputs["Scale"].default_value = scale
    if "Detail" in texture.inputs:
        texture.inputs["Detail"].default_value = 8.0
    height = next(s for s in texture.outputs if s.type == "VALUE" and s.enabled)
    ramp = nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color = (*colours[0], 1)
    ramp.color_ramp.elements[1].color = (*colours[1], 1)
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.3, 0.7
    links.new(height, ramp.inputs[0])

    def span(low: float, high: float, start: float = 0.0, end: float = 1.0) -> Any:
        node = nodes.new("ShaderNodeMapRange")
        node.inputs["From Min"].default_value, node.inputs["From Max"].default_value = start, end
        node.inputs["To Min"].default_value, node.inputs["To Max"].default_value = low, high
        links.new(height, node.inputs["Value"])
        return node.outputs[0]

    bump = nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.6
    bump.inputs["Distance"].default_value = 0.05
    links.new(height, bump.inputs["Height"])
    links.new(bump.outputs[0], shader.inputs["Normal"])
    outputs = {"basecolor": ramp.outputs[0], "roughness": span(0.15, 0.75), "metallic": span(0.0, metal, 0.45, 0.6)}
    for socket, value in (("Base Color", "basecolor"), ("Roughness", "roughness"), ("Metallic", "metallic")):
        links.new(outputs[value], shader.inputs[socket])
    for aov, value in outputs.items():
        node = nodes.new("ShaderNodeOutputAOV")
        node.aov_name = aov
        links.new(value, node.inputs["Color" if aov == "basecolor" else "Value"])
    node = nodes.new("ShaderNodeOutputAOV")
    node.aov_name = "mask"
    node.inputs["Value"].default_value = 1.0
    return result


def world(path: Path, angle: float, turn: float, frames: int) -> Any:
    """Environment map `path`, visible to the camera, rotated about z from `angle` by `turn` radians over the clip."""
    result = bpy.data.worlds.new("world")
    nodes, links = result.node_tree.nodes, result.node_tree.links
    image = nodes.new("ShaderNodeTexEnvironment")
    image.image = bpy.data.images.load(str(path))
    mapping = nodes.new("ShaderNodeMapping")
    coordinates = nodes.new("ShaderNodeTexCoord")
    links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs[0], image.inputs["Vector"])
    background = next(node for node in nodes if node.type == "BACKGROUND")
    links.new(image.outputs[0], background.inputs["Color"])
    rotation = mapping.inputs["Rotation"]
    for frame, value in ((1, angle), (frames, angle + turn)):
        rotation.default_value[2] = value
        rotation.keyframe_insert("default_value", index=2, frame=frame)
    result.cycles.sampling_method = "MANUAL"
    result.cycles.sample_map_resolution = 512
    return result


def settings(size: int, frames: int, samples: int, output: Path) -> Any:
    """Empty scene, Cycles on the CPU, every pass a clip needs in one multilayer EXR a frame."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = samples, False
    scene.cycles.max_bounces = 2
    scene.cycles.use_denoising, scene.cycles.denoiser = True, "OPENIMAGEDENOISE"
    scene.cycles.denoising_quality = "FAST"
    scene.render.use_persistent_data = True
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.frame_start, scene.frame_end = 1, frames
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_object_index = True
    for name, kind in (("basecolor", "COLOR"), ("roughness", "VALUE"), ("metallic", "VALUE"), ("mask", "VALUE")):
        aov = layer.aovs.add()
        aov.name, aov.type = name, kind
    scene.render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    scene.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.render.image_settings.color_depth = "32"
    scene.render.filepath = str(output / "frame-")
    return scene


def place(scene: Any, index: int, add: Any, at: tuple[float, float, float], look: Any, *, smooth: bool = True) -> Any:
    add(location=at)
    thing = bpy.context.object
    thing.data.materials.clear()
    thing.data.materials.append(look)
    thing.pass_index = index
    if smooth:
        bpy.ops.object.shade_smooth()
    return thing


def camera(scene: Any, frames: int, *, radius: float, start: float, sweep: float, height: float) -> None:
    """A camera that looks at (0, 0, 0.5) and sweeps `sweep` radians around it."""
    target = bpy.data.objects.new("target", None)
    target.location = (0, 0, 0.5)
    scene.collection.objects.link(target)
    lens = bpy.data.cameras.new("camera")
    lens.angle = math.radians(FOV)
    eye = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(eye)
    follow = eye.constraints.new("TRACK_TO")
    follow.target, follow.track_axis, follow.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    for frame in range(1, frames + 1):
        angle = start + sweep * (frame - 1) / max(1, frames - 1)
        eye.location = (radius * math.cos(angle), radius * math.sin(angle), height)
        eye.keyframe_insert("location", frame=frame)
    scene.camera = eye


def build(scene: Any, name: str, frames: int) -> tuple[str, float, float]:
    """Fill the scene called `name`; returns environment name, its angle and its turn over the clip."""
    ops = bpy.ops.mesh
    brick = material("brick", "brick", 6.0, ((0.55, 0.2, 0.12), (0.25, 0.22, 0.2)), 0.0)
    noise = material("noise", "noise", 9.0, ((0.05, 0.18, 0.5), (0.8, 0.75, 0.6)), 0.2)
    rust = material("rust", "noise", 5.0, ((0.42, 0.16, 0.05), (0.75, 0.72, 0.68)), 1.0)
    cells = material("cells", "voronoi", 12.0, ((0.9, 0.85, 0.2), (0.1, 0.3, 0.15)), 0.0)
    wood = material("wood", "wave", 4.0, ((0.35, 0.2, 0.1), (0.6, 0.42, 0.25)), 0.0)
    floor = {"orbit": wood, "light": brick}.get(name, noise)
    ground = place(scene, 1, ops.primitive_plane_add, (0, 0, 0), floor, smooth=False)
    ground.scale = (6, 6, 1) if name != "orbit" else (2.5, 2.5, 1)
    things = [
        place(scene, 2, ops.primitive_monkey_add, (0, 0, 0.9), rust),
        place(scene, 3, ops.primitive_uv_sphere_add, (1.7, 1.1, 0.6), cells),
        place(scene, 4, ops.primitive_cube_add, (-1.6, 1.2, 0.55), brick if name == "orbit" else wood, smooth=False),
        place(scene, 5, ops.primitive_torus_add, (0.6, -1.7, 0.35), noise),
    ]
    for thing, scale in zip(things, (0.9, 0.6, 0.55, 0.7), strict=True):
        thing.scale = (scale,) * 3
    if name == "objects":
        for thing, turn in zip(things, (1.5, 0.0, -0.8, 0.5), strict=True):
            for frame, angle in ((1, 0.0), (frames, turn)):
                thing.rotation_euler = (0.2, 0.1, angle)
                thing.keyframe_insert("rotation_euler", frame=frame)
    orbits = {"orbit": (5.5, -1.2, 0.9, 1.6), "light": (4.5, -0.4, 0.0, 3.0)}
    radius, start, sweep, height = orbits.get(name, (5.0, 0.6, 0.15, 2.0))
    camera(scene, frames, radius=radius, start=start, sweep=sweep, height=height)
    return {"orbit": ("forest", 0.3, 0.0), "light": ("studio", 0.0, 1.5)}.get(name, ("city", 1.0, 0.0))


def load_frame(path: Path, to_camera: np.ndarray) -> dict[str, np.ndarray]:
    """The clip's arrays (H, W, C) of one rendered frame; `to_camera` (3, 3) turns world normals."""
    layers = {name.split(".", 1)[1]: plane for name, plane in read_exr(path.read_bytes()).items()}

    def stack(*names: str) -> np.ndarray:
        return np.stack([layers[name] for name in names], axis=-1).astype(np.float32)

    mask = np.clip(stack("mask.X"), 0, 1)
    normal = stack("Normal.X", "Normal.Y", "Normal.Z") @ to_camera.T.astype(np.float32)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.where((mask > 0) & (length > 1e-6), normal / np.maximum(length, 1e-6), np.float32([0, 0, 1]))
    depth = stack("Depth.Z")
    return {
        "rgb": np.clip(stack("Combined.R", "Combined.G", "Combined.B"), 0, 65504),
        "basecolor": np.clip(stack("basecolor.R", "basecolor.G", "basecolor.B"), 0, 1),
        "normal": normal.astype(np.float32),
        "depth": np.where(depth > 1e9, np.float32(np.inf), depth),
        "roughness": np.clip(stack("roughness.X") + 0.5 * (1 - mask), 0, 1).astype(np.float32),
        "metallic": np.clip(stack("metallic.X"), 0, 1),
        "mask": mask,
        "instance": np.rint(stack("Object Index.X")).astype(np.uint16),
    }


def render(name: str, size: int, frames: int, samples: tuple[int, int]) -> Clip:
    """Render the scene called `name` into a clip: G-buffers unlit with samples[1], then the beauty with samples[0]."""
    maps = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    passes: list[list[dict[str, np.ndarray]]] = []
    for lit, count in ((False, samples[1]), (True, samples[0])):
        with tempfile.TemporaryDirectory() as folder:
            scene = settings(size, frames, count, Path(folder))
            light, angle, turn = build(scene, name, frames)
            if lit:
                scene.world = world(maps / f"{light}.exr", angle, turn, frames)
            else:
                scene.cycles.max_bounces, scene.cycles.use_denoising = 0, False
            poses = []
            for frame in range(1, frames + 1):
                scene.frame_set(frame)
                poses.append(np.array(scene.camera.matrix_world.normalized()))
            bpy.ops.render.render(animation=True)
            paths = sorted(Path(folder).glob("frame-*.exr"))
            passes.append([load_frame(path, pose[:3, :3].T) for path, pose in zip(paths, poses, strict=True)])
    parts = [surface | {"rgb": beauty["rgb"]} for surface, beauty in zip(*passes, strict=True)]
    planes = read_exr((maps / f"{light}.exr").read_bytes())
    image, _ = sanitize(np.stack([planes[channel] for channel in "RGB"], axis=-1).astype(np.float32))
    turns = [-(angle + turn * index / max(1, frames - 1)) for index in range(frames)]
    rotation = np.array([[[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]] for a in turns])
    return Clip(
        key=f"bench-{name}",
        arrays={key: np.stack([part[key] for part in parts]) for key in ATTRIBUTES if key in parts[0]},
        camera=Camera(intrinsics_from_fov(FOV, size, size), np.array(poses)),
        environment=Environment(image, rotation),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--samples", type=int, nargs=2, default=(4, 16), help="of the beauty and of the G-buffers")
    parser.add_argument("--scenes", nargs="+", default=["orbit", "light", "objects"])
    options = parser.parse_args()
    (options.folder / "shards").mkdir(parents=True, exist_ok=True)
    with tarfile.open(options.folder / "shards" / "000000.tar", "w") as tar:
        for name in options.scenes:
            start = time.perf_counter()
            clip = render(name, options.size, options.frames, options.samples)
            print(f"{name}: rendered in {time.perf_counter() - start:.0f} s")
            for suffix, data in sorted(encode_clip(clip, "exact")[0].items()):
                member = tarfile.TarInfo(f"{clip.key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
