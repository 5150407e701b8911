"""Three scenes that both renderers can load: a GLB each, an HDR lat-long EXR, and four camera poses in JSON.

`room` is a textured interior lit through its open side and a window, `metal` a row of glossy metals under a studio,
`sun` a garden of mixed materials under a small sun of 20,000 times the sky's radiance.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import bpy
import numpy as np
import OpenEXR
from mathutils import Matrix, Vector

SIZE = 256
FOV_DEGREES = 45.0


def _texture(name: str, pixels: np.ndarray, folder: Path, *, data: bool) -> bpy.types.Image:
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height)
    if data:
        image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.dstack([pixels, np.ones((height, width))]).astype(np.float32).ravel())
    image.filepath_raw = str(folder / f"{name}.png")
    image.file_format = "PNG"
    image.save()
    return image


def _noise(rng: np.random.Generator, size: int, octaves: int) -> np.ndarray:
    """Tileable value noise in [0, 1], (size, size)."""
    spectrum = np.fft.fft2(rng.standard_normal((size, size)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.fftfreq(size) * size))
    falloff = np.where(frequency > 0, 1 / np.maximum(frequency, 1) ** 1.6, 0) * (frequency < 2**octaves)
    field = np.fft.ifft2(spectrum * falloff).real
    return (field - field.min()) / np.ptp(field)


def _material(name, color, roughness, metallic, *textured) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    if textured:
        folder, rng = textured
        grain = _noise(rng, 256, 6)[..., None]
        base = np.clip(np.array(color) ** (1 / 2.2) * (0.6 + 0.6 * grain), 0, 1)
        rough = np.repeat(np.clip(roughness * (0.5 + grain), 0.05, 1), 3, axis=2)
        for socket, pixels, data in (("Base Color", base, False), ("Roughness", rough, True)):
            node = material.node_tree.nodes.new("ShaderNodeTexImage")
            node.image = _texture(f"{name}_{socket.split()[0].lower()}", pixels, folder, data=data)
            material.node_tree.links.new(node.outputs["Color"], shader.inputs[socket])
    return material


def _add(operator, material, location, scale=(1, 1, 1), **arguments) -> None:
    operator(location=location, **arguments)
    thing = bpy.context.object
    thing.scale = scale
    thing.data.materials.append(material)
    if operator is not bpy.ops.mesh.primitive_cube_add:
        bpy.ops.object.shade_smooth()


def _cube(material, location, scale) -> None:
    _add(bpy.ops.mesh.primitive_cube_add, material, location, scale, size=1)


def _room(folder: Path, rng: np.random.Generator) -> None:
    wood = _material("wood", (0.42, 0.24, 0.12), 0.45, 0, folder, rng)
    plaster = _material("plaster", (0.72, 0.68, 0.6), 0.8, 0, folder, rng)
    cloth = _material("cloth", (0.15, 0.3, 0.42), 0.9, 0, folder, rng)
    brass = _material("brass", (0.9, 0.68, 0.3), 0.25, 1)
    _cube(wood, (0, 0, -0.05), (5, 5, 0.1))
    _cube(plaster, (0, 0, 2.65), (5, 5, 0.1))
    _cube(plaster, (0, 2.5, 1.3), (5, 0.1, 2.6))
    _cube(plaster, (2.5, 0, 1.3), (0.1, 5, 2.6))
    for y in (-2.0, 2.0):
        _cube(plaster, (-2.5, y, 1.3), (0.1, 1.2, 2.6))
    _cube(plaster, (-2.5, 0, 0.4), (0.1, 3, 0.8))
    _cube(wood, (0.2, 0.6, 0.7), (1.8, 0.9, 0.06))
    for x, y in ((-0.6, 0.25), (1.0, 0.25), (-0.6, 0.95), (1.0, 0.95)):
        _cube(wood, (x, y, 0.35), (0.08, 0.08, 0.7))
    _cube(cloth, (-1.2, 1.8, 0.3), (1.4, 0.8, 0.6))
    _add(bpy.ops.mesh.primitive_uv_sphere_add, brass, (0.4, 0.6, 0.93), radius=0.2, segments=48, ring_count=24)
    _add(bpy.ops.mesh.primitive_monkey_add, plaster, (-0.2, 0.6, 0.98), size=0.4)


def _metal(folder: Path, rng: np.random.Generator) -> None:
    _cube(_material("floor", (0.25, 0.25, 0.27), 0.35, 0, folder, rng), (0, 0, -0.05), (9, 9, 0.1))
    metals = ((0.95, 0.93, 0.88), (1.0, 0.77, 0.34), (0.95, 0.64, 0.54), (0.56, 0.57, 0.58), (0.9, 0.9, 0.92))
    for index, color in enumerate(metals):
        material = _material(f"metal{index}", color, 0.05 + 0.1 * index, 1)
        x = 1.1 * (index - 2)
        if index % 2:
            _add(bpy.ops.mesh.primitive_torus_add, material, (x, 0.3, 0.16), major_radius=0.4, minor_radius=0.16)
        else:
            _add(bpy.ops.mesh.primitive_uv_sphere_add, material, (x, 0, 0.5), radius=0.5, segments=64, ring_count=32)
    _add(bpy.ops.mesh.primitive_monkey_add, _material("rusty", (0.7, 0.4, 0.3), 0.5, 1, folder, rng), (0, 1.4, 0.6))


def _sun(folder: Path, rng: np.random.Generator) -> None:
    _cube(_material("soil", (0.3, 0.26, 0.18), 0.9, 0, folder, rng), (0, 0, -0.05), (12, 12, 0.1))
    for index in range(7):
        angle = index * 0.9
        x, y = 1.5 * math.cos(angle), 1.5 * math.sin(angle)
        color = tuple(rng.uniform(0.1, 0.8, 3))
        material = _material(f"thing{index}", color, float(rng.uniform(0.1, 0.7)), float(index % 3 == 0), folder, rng)
        if index % 2:
            _cube(material, (x, y, 0.4), (0.6, 0.6, 0.8))
        else:
            _add(bpy.ops.mesh.primitive_cone_add, material, (x, y, 0.5), vertices=64, radius1=0.4, depth=1.0)
    _add(bpy.ops.mesh.primitive_monkey_add, _material("glossy", (0.6, 0.1, 0.08), 0.12, 0), (0, 0, 0.6))


def _sunny_sky() -> np.ndarray:
    height = 512
    theta = (np.arange(height) + 0.5)[:, None] / height * np.pi
    up = np.broadcast_to(np.cos(theta), (height, 2 * height))
    sky = np.array([0.35, 0.55, 1.0]) * (0.4 + 0.8 * np.clip(up, 0, 1))[..., None]
    image = np.where(up[..., None] > 0, sky, np.array([0.25, 0.22, 0.18]) * 0.3)
    image[150:153, 700:704] = np.array([1.0, 0.92, 0.8]) * 20_000
    return image.astype(np.float32)


SCENES = {
    "room": (_room, "courtyard", (0.3, -3.6, 1.5), (0.1, 0.9, 0.9)),
    "metal": (_metal, "studio", (1.2, -4.2, 1.7), (0, 0.2, 0.4)),
    "sun": (_sun, None, (2.6, -3.4, 2.2), (0, 0, 0.4)),
}


def _poses(position, target) -> list[list[list[float]]]:
    """Four frames of a short tracking shot; the first is the one that is compared."""
    poses = []
    for frame in range(4):
        eye = Vector(position) + Vector((0.05 * frame, 0, 0))
        turn = (Vector(target) - eye).to_track_quat("-Z", "Y").to_matrix().to_4x4()
        poses.append([list(row) for row in Matrix.Translation(eye) @ turn])
    return poses


def write(folder: Path) -> None:
    """Write every scene to `folder/<name>/{scene.glb,environment.exr,camera.json}`."""
    worlds = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world"
    for name, (build, world, position, target) in SCENES.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        build(place, np.random.default_rng(7))
        bpy.ops.export_scene.gltf(filepath=str(place / "scene.glb"), export_apply=True)
        if world is None:
            image = _sunny_sky()
        else:
            with OpenEXR.File(str(worlds / f"{world}.exr")) as file:
                image = np.clip(file.channels()["RGB"].pixels[..., :3], 0, 65504).astype(np.float32)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": image}).write(str(place / "environment.exr"))
        camera = {"size": SIZE, "fov_degrees": FOV_DEGREES, "poses": _poses(position, target)}
        (place / "camera.json").write_text(json.dumps(camera))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
