"""The process in which `datagen.insert_render` renders an asset alone; its only argument is the request's folder."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datagen.blender import session
from datagen.blender.capture import captured
from datagen.blender.cycles_settings import apply_settings, set_output
from datagen.blender.keyframes import add_camera, keyframe, pose, set_focal
from datagen.blender.mesh_objects import make_object
from datagen.blender.passes import enable_passes, read_frames
from datagen.blender.surface_materials import BlenderMaterials, set_materials
from datagen.insert_render import FAILURE, INSTANCE, KEY, MATERIALS, REQUEST, Failure, InsertRequest
from datagen.resolver import Resolver, cache_folder
from manifests.codec.codecs import encode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.row import MaterialUse
from manifests.errors import LightloomError, RenderError
from scenes.spec import RenderSettings

NAMES = (*GBUFFERS, "mask", "instance", "rgb")  # without light, rgb is what the asset emits


def render(request: InsertRequest, folder: Path) -> Clip:
    """Render the request in this process; frames pass through `folder`. Raises RenderError."""
    frames, size = len(request.camera_to_world), (request.height, request.width)
    poses = np.array(request.camera_to_world)
    lenses = np.array(request.intrinsics)
    camera = Camera(lenses if np.ptp(lenses, axis=0).max() > 0 else lenses[0], poses)
    still = not camera.zooms and np.ptp(poses, axis=0).max() == 0
    drawn = 1 if still else frames  # a still camera sees a still object
    started = session.start(request.device, int(os.environ.get("OMP_NUM_THREADS", "0")))  # type: ignore[arg-type]
    with started.scene() as scene, tempfile.TemporaryDirectory(dir=folder, prefix="frames-") as scratch:
        with captured():
            uses = _build(scene, request, camera.at(slice(drawn)))
        set_output(scene, Path(scratch), drawn, request.fps)
        settings = RenderSettings(
            width=request.width,
            height=request.height,
            samples=request.samples,
            adaptive_threshold=0.0,  # it looks at light, and there is none
            denoiser="none",
            max_bounces=0,
        )
        apply_settings(scene, settings, seed=0)
        enable_passes(scene.view_layers[0], NAMES)
        log = started.render(scene, request.mesh.uid, animation=True)
        arrays, _ = read_frames(Path(scratch), NAMES, size, poses[:drawn, :3, :3], request.mesh.uid, log.tail)
    whole = {name: np.repeat(array, frames // drawn, axis=0) for name, array in arrays.items()}
    meta = {"asset": request.mesh.uid, MATERIALS: msgspec.to_builtins(uses)}
    return Clip(KEY, whole, camera, fps=request.fps, meta=meta)


def _build(scene: Any, request: InsertRequest, camera: Camera) -> list[MaterialUse]:
    """Camera and asset, nothing else; how the asset's materials were resolved."""
    add_camera(scene, camera, request.height, request.width)
    _set_intrinsics(scene, camera.intrinsics, request.height, request.width)
    with tempfile.TemporaryDirectory(prefix="lightloom-") as cache:
        roots = {name: Path(root) for name, root in request.roots.items()}
        resolver = Resolver(roots, cache_folder(Path(cache)))
        root = make_object(request.mesh, KEY, resolver)
        parts = (root, *root.children_recursive)
        for part in parts:
            if not part.users_scene:
                scene.collection.objects.link(part)
        pose(root, np.array(request.object_to_world)[None])
        meshes = [part for part in parts if part.type == "MESH"]
        materials = BlenderMaterials(resolver, geometric_normal=False)
        return [use for use, _ in set_materials(meshes, request.material, materials, INSTANCE)]


def _set_intrinsics(scene: Any, intrinsics: np.ndarray, height: int, width: int) -> None:
    """What measured cameras have and rendered ones have not: a centre off the middle, pixels that are not square.

    intrinsics: (3, 3) or (T, 3, 3).
    """
    lenses = intrinsics.reshape(-1, 3, 3)
    fx, fy, cx, cy = (lenses[:, row, column] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
    lens = scene.camera.data
    if np.allclose((fx, cx, cy), (fy, cx * 0 + width / 2, cy * 0 + height / 2), rtol=1e-9, atol=1e-9):
        return
    aspect = float(fy[0] / fx[0])
    if not np.allclose(fy / fx, aspect, rtol=1e-6):
        raise RenderError("bad-spec", "the shape of the camera's pixels changes", "give one fy / fx for all frames")
    lens.sensor_fit = "HORIZONTAL"
    set_focal(lens, fx / width)
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = max(1.0, aspect), max(1.0, 1 / aspect)
    keyframe(lens, "shift_x", ((width / 2 - cx) / width)[:, None])  # in widths of the picture, along both axes
    keyframe(lens, "shift_y", ((cy - height / 2) / width / aspect)[:, None])


def main() -> int:
    """Read the request, write the clip, or why there is none."""
    folder = Path(sys.argv[1])
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=InsertRequest)
    try:
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
