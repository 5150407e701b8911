"""Blender's physical sky as a lat-long image, with a sun of the right energy at any resolution.

A sun disc of half a degree is far smaller than a pixel of a small image, so it is rendered apart through a narrow
lens and its energy put into the pixels that it falls in. The sun stands in the image's centre column (+x); a
light's yaw turns it. Radiance is Blender's times 1/64, which brings the sun (some millions) under the
largest half-precision number.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy
import msgspec
import numpy as np
from mathutils import Matrix

from datagen.blender import session
from manifests.codec.exr import read_exr, write_exr
from manifests.contract.environment import latlong_directions
from manifests.errors import CodecError, RenderError
from manifests.files import write_bytes
from scenes.spec import Value

SCALE = 1 / 64
VERSION = 1
_NARROW = 64  # pixels across the sun's picture
_SUN_SIZE = np.radians(0.545)


def sky_image(params: Mapping[str, Value], height: int, cache: Path) -> np.ndarray:
    """Image (height, 2 height, 3) float32 of a clear sky, from `cache` if it was made before.

    `params`: `sun_elevation` in degrees, `sun_size` in degrees, `sun_intensity`, `altitude` in metres,
    `air_density`, `aerosol_density`, `ozone_density`, all as in Blender's sky texture, whose defaults hold.
    """
    identity = msgspec.json.encode([VERSION, bpy.app.version_string, height, dict(params)], order="deterministic")
    path = cache / "sky" / f"{hashlib.sha256(identity).hexdigest()[:32]}.exr"
    with contextlib.suppress(FileNotFoundError, CodecError):  # a damaged file is made again
        channels = read_exr(path.read_bytes(), (height, 2 * height))
        return np.stack([channels[name] for name in "RGB"], axis=-1)
    image = _bake(params, height)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, write_exr({name: np.ascontiguousarray(image[..., i]) for i, name in enumerate("RGB")}))
    return image


def _bake(params: Mapping[str, Value], height: int) -> np.ndarray:
    elevation = np.radians(float(_number(params, "sun_elevation", 15.0)))
    size = np.radians(float(_number(params, "sun_size", np.degrees(_SUN_SIZE))))
    with session.current().scene() as scene, tempfile.TemporaryDirectory() as folder:
        _add_sky(scene, params, elevation, size)
        lens = bpy.data.cameras.new("camera")
        camera = bpy.data.objects.new("camera", lens)
        scene.collection.objects.link(camera)
        scene.camera = camera
        lens.angle = 2 * size
        camera.matrix_world = _looking(elevation)
        sun = _picture(scene, _NARROW, _NARROW, Path(folder) / "sun.exr")
        lens.type, lens.panorama_type = "PANO", "EQUIRECTANGULAR"
        camera.matrix_world = _looking(0.0)
        sky = _picture(scene, height, 2 * height, Path(folder) / "sky.exr")
    return (_with_sun(sky, sun, elevation, size) * SCALE).astype(np.float32)


def _add_sky(scene: Any, params: Mapping[str, Value], elevation: float, size: float) -> None:
    scene.world = world = bpy.data.worlds.new("sky")
    world.cycles.sampling_method = "NONE"  # nothing is lit here
    node = world.node_tree.nodes.new("ShaderNodeTexSky")
    node.sky_type = "MULTIPLE_SCATTERING"
    node.sun_elevation, node.sun_size, node.sun_rotation = elevation, size, np.pi / 2  # Blender's 0 is +y
    for name in ("sun_intensity", "altitude", "air_density", "aerosol_density", "ozone_density"):
        if name in params:
            setattr(node, name, _number(params, name, 1.0))
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    world.node_tree.links.new(node.outputs["Color"], background.inputs["Color"])
    scene.render.use_persistent_data = True  # the sky is computed once for both pictures
    scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.samples = 4


def _number(params: Mapping[str, Value], name: str, default: float) -> float:
    value = params.get(name, default)
    if not isinstance(value, int | float):
        raise RenderError("bad-environment", f"sky: {name} is {value!r}, expected a number")
    return float(value)


def _looking(elevation: float) -> Matrix:
    """Camera at the origin that looks along +x, raised by `elevation`, with z up."""
    sine, cosine = np.sin(elevation), np.cos(elevation)
    return Matrix(((0, -sine, -cosine, 0), (-1, 0, 0, 0), (0, cosine, -sine, 0), (0, 0, 0, 1)))


def _picture(scene: Any, height: int, width: int, path: Path) -> np.ndarray:
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR", "32"
    render.filepath = os.fspath(path)
    session.current().render(scene, "sky", write_still=True)
    channels = read_exr(path.read_bytes(), (height, width))
    return np.stack([channels[name] for name in "RGB"], axis=-1)


def _with_sun(sky: np.ndarray, sun: np.ndarray, elevation: float, size: float) -> np.ndarray:
    """Replace the badly sampled disc in `sky` (h, 2h, 3) by the energy of its close-up `sun` (n, n, 3)."""
    height, width = sky.shape[:2]
    towards = np.array([np.cos(elevation), 0.0, np.sin(elevation)])
    angle = np.arccos(np.clip(latlong_directions(height, width) @ towards, -1, 1))
    near = angle < size / 2 + 1.5 * np.pi / height
    around = (angle < size / 2 + 4 * np.pi / height) & ~near
    sky = np.where(near[..., None], sky[around].mean(axis=0), sky)

    offset = (np.arange(len(sun)) + 0.5) / len(sun) * 2 - 1
    x, y = np.meshgrid(offset * np.tan(size), -offset * np.tan(size))
    rays = np.stack([x, y, -np.ones_like(x)], axis=-1)
    distance = np.linalg.norm(rays, axis=-1, keepdims=True)
    directions = rays / distance @ np.array(_looking(elevation).to_3x3()).T
    disc = directions @ towards > np.cos(size / 2 * 1.05)
    solid_angle = (2 * np.tan(size) / len(sun)) ** 2 / distance**3
    energy = np.where(disc[..., None], np.maximum(sun - sun[~disc].mean(axis=0), 0.0), 0.0) * solid_angle

    column = np.floor((0.5 - np.arctan2(directions[..., 1], directions[..., 0]) / (2 * np.pi)) * width).astype(int)
    row = np.floor(np.arccos(np.clip(directions[..., 2], -1, 1)) / np.pi * height).astype(int)
    edges = np.cos(np.arange(height + 1) / height * np.pi)
    pixel = (edges[:-1] - edges[1:]) * 2 * np.pi / width
    np.add.at(sky, (row % height, column % width), energy / pixel[row % height][..., None])
    return sky
