"""The process in which `datagen.insert_render` renders assets alone; its only argument is the request's folder."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import bpy
import msgspec
import numpy as np

from datagen.blender import session
from datagen.blender.capture import captured
from datagen.blender.cycles_settings import apply_settings, frame_path, set_output
from datagen.blender.keyframes import add_camera, keyframe, pose, set_focal
from datagen.blender.material_nodes import build_material
from datagen.blender.mesh_objects import build_mesh, ground_mesh, make_object
from datagen.blender.passes import enable_passes, read_caught, read_frames
from datagen.blender.surface_materials import BlenderMaterials, set_materials
from datagen.blender.world import World
from datagen.child import end_with_parent
from datagen.insert_render import (
    FAILURE,
    INSTANCE,
    KEY,
    LIGHT,
    LIT,
    MATERIALS,
    RELIEF,
    REQUEST,
    Failure,
    InsertRequest,
    Part,
)
from datagen.resolver import Resolver, cache_folder
from manifests.codec.codecs import encode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.row import MaterialUse
from manifests.errors import LightloomError, RenderError
from manifests.object_path import place
from scenes.meshgen.surface import MeshData
from scenes.spec import RenderSettings

NAMES = (*GBUFFERS, "mask", "instance")
SEEN = ("rgb", "depth", "mask", "instance")
_BOUNCES = 4
_WIDEST_MAP = 512
_NOISE = 0.02
_COARSE = 160
"""Pixels of the larger side of what is rendered coarsely."""


def render(request: InsertRequest, folder: Path) -> Clip:
    """Render the G-buffers of the request in this process; frames pass through `folder`. Raises RenderError."""
    settings = _settings(request, "none", 0)  # adaptive sampling looks at light, and there is none
    camera, frames, size = _camera(request), len(request.camera_to_world), (request.height, request.width)
    drawn = frames if _changes(request, camera) else 1
    started = session.start(request.device, int(os.environ.get("OMP_NUM_THREADS", "0")))  # type: ignore[arg-type]
    with started.scene() as scene:
        with captured():
            uses = _build(scene, request, camera.at(slice(drawn)))
        (folder / MATERIALS).write_bytes(msgspec.json.encode(uses))
        apply_settings(scene, settings, seed=0)
        with _drawn(started, scene, request, folder, drawn, NAMES) as (scratch, log):
            arrays, _ = read_frames(scratch, NAMES, size, camera.camera_to_world[:drawn, :3, :3], _name(request), log)
    whole = {name: np.repeat(array, frames // drawn, axis=0) for name, array in arrays.items()}
    return Clip(KEY, whole, camera, fps=request.fps, meta={"asset": _name(request)})


def render_lit(request: InsertRequest, folder: Path) -> dict[str, np.ndarray]:
    """Arrays of `LitPicture`s, frame by frame, rendered in this process. Raises RenderError."""
    camera = _camera(request)
    with np.load(folder / LIGHT) as light:
        image, rotations = light["image"], light["rotations"]
    drawn = camera.frames if _changes(request, camera) or np.ptp(rotations, axis=0).max() > 0 else 1
    turns = camera.camera_to_world[:drawn, :3, :3]
    catches = bool(request.catchers) or (folder / RELIEF).is_file()
    started = session.start(request.device, int(os.environ.get("OMP_NUM_THREADS", "0")))  # type: ignore[arg-type]
    with started.scene() as scene:
        with captured():
            uses = _build(scene, request, camera.at(slice(drawn)), folder / RELIEF)
        (folder / MATERIALS).write_bytes(msgspec.json.encode(uses))
        World(scene, _WIDEST_MAP).show(image, rotations[:drawn])
        apply_settings(scene, _settings(request, "balanced", _BOUNCES), seed=0)
        scene.cycles.use_adaptive_sampling, scene.cycles.adaptive_threshold = True, _NOISE
        scene.render.film_transparent = True
        scene.view_layers[0].cycles.use_pass_shadow_catcher = catches
        found = []
        for parts, most in zip(zip(*request.parts[:drawn], strict=True), (None, _COARSE), strict=True):
            size = _crop(scene, camera.at(slice(drawn)), parts, most)
            with _drawn(started, scene, request, folder, drawn, SEEN) as (scratch, log):
                caught = [read_caught(frame_path(scratch, frame), size) for frame in range(drawn)] if catches else []
                arrays, _ = read_frames(scratch, SEEN, size, turns, _name(request), log)
            found.append((arrays, np.stack(caught) if caught else np.ones_like(arrays["rgb"])))
    (arrays, change), (_, around) = found
    depth = np.where(arrays["instance"] > 0, arrays["depth"], np.float32(np.inf))
    rgb = np.nan_to_num(np.maximum(arrays["rgb"], 0.0))
    return {"rgb": rgb, "mask": arrays["mask"], "depth": depth, "change": change, "change_around": around}


def _settings(request: InsertRequest, denoiser: Literal["none", "balanced"], bounces: int) -> RenderSettings:
    return RenderSettings(
        width=request.width,
        height=request.height,
        samples=request.samples,
        adaptive_threshold=0.0,
        denoiser=denoiser,
        max_bounces=bounces,
    )


def _name(request: InsertRequest) -> str:
    return ", ".join(asset.mesh.uid for asset in request.assets)


def _camera(request: InsertRequest) -> Camera:
    lenses = np.array(request.intrinsics)
    return Camera(lenses if np.ptp(lenses, axis=0).max() > 0 else lenses[0], np.array(request.camera_to_world))


def _changes(request: InsertRequest, camera: Camera) -> bool:
    """Whether frames differ: a still camera sees the same of still things."""
    moves = camera.zooms or np.ptp(camera.camera_to_world, axis=0).max() > 0
    return bool(moves) or any(len(asset.object_to_world) > 1 for asset in request.assets)


@contextmanager
def _drawn(
    started: session.Session, scene: Any, request: InsertRequest, folder: Path, frames: int, names: Sequence[str]
) -> Iterator[tuple[Path, str]]:
    """Yield a folder with so many frames, rendered, and the end of the log."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="frames-") as scratch:
        set_output(scene, Path(scratch), frames, request.fps)
        enable_passes(scene.view_layers[0], names)
        log = started.render(scene, _name(request), animation=True)
        yield Path(scratch), log.tail


def _crop(scene: Any, camera: Camera, parts: Sequence[Part], most: int | None) -> tuple[int, int]:
    """Render parts of the picture, one of each frame, with sides of at most `most` pixels; their size (h, w)."""
    top, left, bottom, right = np.array(parts).T
    height, width = int(bottom[0] - top[0]), int(right[0] - left[0])
    shrink = max(1.0, max(height, width) / (most or np.inf))
    size = max(1, round(height / shrink)), max(1, round(width / shrink))
    lenses = camera.frame_intrinsics.copy()
    lenses[:, :2, 2] -= np.stack([left, top], axis=1)
    scene.render.resolution_y, scene.render.resolution_x = size
    scene.camera.data.animation_data_clear()
    _set_intrinsics(scene, np.diag([size[1] / width, size[0] / height, 1.0]) @ lenses, *size)
    return size


def _build(scene: Any, request: InsertRequest, camera: Camera, relief: Path | None = None) -> list[MaterialUse]:
    """Camera, assets and what catches shadows, nothing else; how the assets' materials were resolved."""
    uses: list[MaterialUse] = []
    add_camera(scene, camera, request.height, request.width)
    _set_intrinsics(scene, camera.intrinsics, request.height, request.width)
    with tempfile.TemporaryDirectory(prefix="lightloom-") as cache:
        for number, asset in enumerate(request.assets):
            roots = {name: place(root) for name, root in asset.roots.items()}
            resolver = Resolver(roots, cache_folder(Path(cache)))
            root = make_object(asset.mesh, f"{KEY}{number}", resolver)
            parts = (root, *root.children_recursive)
            for part in parts:
                if not part.users_scene:
                    scene.collection.objects.link(part)
            pose(root, np.array(asset.object_to_world)[: camera.frames])
            meshes = [part for part in parts if part.type == "MESH"]
            materials = BlenderMaterials(resolver, geometric_normal=False)
            uses += [use for use, _ in set_materials(meshes, asset.material, materials, INSTANCE + number)]
        for catcher in request.catchers:
            square = ground_mesh(1.0)
            scene.collection.objects.link(square)
            pose(square, np.array(catcher.plane_to_world)[None])
            square.data.materials.append(build_material(catcher.material, Resolver({}, cache_folder(Path(cache)))))
            square.is_shadow_catcher = True
    if relief is not None and relief.is_file():
        with np.load(relief) as arrays:
            _build_relief(scene, arrays)
    return uses


def _build_relief(scene: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays of a `Relief` as a mesh that catches shadows."""
    count = len(arrays["triangles"])
    faces = MeshData(
        arrays["vertices"],
        arrays["triangles"].ravel(),
        np.full(count, 3),
        np.zeros((3 * count, 2)),
        np.zeros(count, dtype=bool),
    )
    mesh = build_mesh(faces, "relief")
    material = bpy.data.materials.new("relief")
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    opaque = np.ones((len(arrays["vertices"]), 1), dtype=np.float32)
    for name, socket in (("basecolor", "Base Color"), ("roughness", "Roughness"), ("metallic", "Metallic")):
        values = arrays[name].reshape(len(opaque), -1)
        colours = np.concatenate([np.broadcast_to(values, (len(opaque), 3)), opaque], axis=1)
        mesh.data.attributes.new(name, "FLOAT_COLOR", "POINT").data.foreach_set("color", colours.ravel())
        node = tree.nodes.new("ShaderNodeAttribute")
        node.attribute_name = name
        tree.links.new(node.outputs["Fac" if values.shape[1] == 1 else "Color"], shader.inputs[socket])
    mesh.data.materials.append(material)
    scene.collection.objects.link(mesh)
    mesh.is_shadow_catcher = True
    mesh.visible_shadow = mesh.visible_diffuse = bool(arrays["solid"])


def _set_intrinsics(scene: Any, intrinsics: np.ndarray, height: int, width: int) -> None:
    """The lens of the scene's camera, with its centre anywhere, and pixels of any one shape.

    intrinsics: (3, 3) or (T, 3, 3).
    """
    lenses = intrinsics.reshape(-1, 3, 3)
    fx, fy, cx, cy = (lenses[:, row, column] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
    lens = scene.camera.data
    aspect = float(fy[0] / fx[0])
    if not np.allclose(fy / fx, aspect, rtol=1e-6):
        raise RenderError("bad-spec", "the shape of the camera's pixels changes", "give one fy / fx for all frames")
    lens.sensor_fit = "HORIZONTAL"
    set_focal(lens, fx / width)
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = max(1.0, aspect), max(1.0, 1 / aspect)
    keyframe(lens, "shift_x", ((width / 2 - cx) / width)[:, None])  # in widths of the picture, along both axes
    keyframe(lens, "shift_y", ((cy - height / 2) / width / aspect)[:, None])


def main() -> int:
    """Read the request, write what it asks for, or why there is none."""
    end_with_parent()
    folder = Path(sys.argv[1])
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=InsertRequest)
    try:
        if request.parts:
            np.savez(folder / LIT, **render_lit(request, folder))  # type: ignore[arg-type]
            return 0
        files, _ = encode_clip(render(request, folder), "exact")
    except LightloomError as error:
        reason = getattr(error, "reason", "render-error")
        (folder / FAILURE).write_bytes(msgspec.json.encode(Failure(reason=reason, message=str(error))))
        return 1
    for suffix, data in files.items():
        (folder / f"{KEY}.{suffix}").write_bytes(data)
    return 0


if __name__ == "__main__":
    session.leave(main)
