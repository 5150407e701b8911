"""transforms.json of a DL3DV (nerfstudio) scene: intrinsics and poses, checked before anything believes them.

Its cameras look along -z with y up (OpenGL), which is our camera frame, so the matrices are camera_to_world as they
stand. Its image origin is the top-left corner with pixel centres at half-integers (COLMAP), which is ours too, so
intrinsics scale with the image. The world is COLMAP's after a rigid turn: origin, up and unit are the scene's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np

from labeling.sources.footage import FootageCamera
from manifests.errors import FootageError
from manifests.untrusted import decode_json

_PINHOLES = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL"}
_SHARED = ("fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "k2", "k3", "p1", "p2")
_RIGID = 1e-3
"""Rotations this far from orthonormal are rounded ones; worse ones are refused."""
_SEEN = 0.5
"""Displacement by the lens, in pixels, from which frames are not those of a pinhole."""


class _Entry(msgspec.Struct, frozen=True):
    file_path: str
    transform_matrix: Any = None
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    w: float | None = None
    h: float | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    p1: float | None = None
    p2: float | None = None


class Transforms(msgspec.Struct, frozen=True):
    """The part of the file that is used; lengths in pixels of a (w, h) image."""

    frames: tuple[_Entry, ...]
    fl_x: float
    fl_y: float
    cx: float
    cy: float
    w: float
    h: float
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    camera_model: str = "OPENCV"

    def entries(self) -> dict[str, Any]:
        """Each frame's matrix by the stem of its file name; folders (`images/`) differ from those on disk."""
        return {PurePosixPath(entry.file_path).stem: entry.transform_matrix for entry in self.frames}


def parse_transforms(data: bytes) -> Transforms:
    """Raises FootageError ("bad-transforms") where the file, or one set of intrinsics for the scene, is missing."""
    try:
        found = decode_json(data, Transforms)
    except msgspec.DecodeError as error:
        raise _bad(str(error)) from None
    if found.camera_model not in _PINHOLES:
        raise _bad(f"camera model {found.camera_model[:40]!r} is not a pinhole with small distortion")
    if not (min(found.fl_x, found.fl_y, found.w, found.h) > 0 and 0 < found.cx < found.w and 0 < found.cy < found.h):
        raise _bad("focal length or image size is not positive, or the centre lies outside the image")
    for entry in found.frames:
        own = {name: value for name in _SHARED if (value := getattr(entry, name)) is not None}
        if any(value != getattr(found, name) for name, value in own.items()):
            raise _bad(f"{entry.file_path[:80]!r} has intrinsics of its own; labels take one set for all frames")
    if len(found.entries()) < len(found.frames):
        raise _bad("two frames have the same file name")
    return found


def pose_of(matrix: Any) -> np.ndarray | None:
    """camera_to_world (4, 4) float64 with a proper rotation, from 4x4 or 3x4 numbers; None if they are not rigid."""
    try:
        values = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if values.shape not in ((4, 4), (3, 4)) or not np.isfinite(values).all():
        return None
    if values.shape == (4, 4) and np.abs(values[3] - (0, 0, 0, 1)).max() > 1e-6:
        return None
    rotation = values[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID or np.linalg.det(rotation) < 0:
        return None
    left, _, right = np.linalg.svd(rotation)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = left @ right, values[:3, 3]
    return pose


def camera_of(
    found: Transforms, poses: Mapping[int, np.ndarray], stored: tuple[int, int], size: tuple[int, int]
) -> FootageCamera:
    """The camera at `size` (H, W), for images that are `stored` (H, W); FootageError if their shape is another one."""
    scale = stored[0] / found.h
    if abs(stored[1] - found.w * scale) > 1.5 * max(1.0, stored[1] / stored[0]):
        raise _bad(f"it describes images of {found.w:g}x{found.h:g}, but they are {stored[1]}x{stored[0]}")
    across, down = size[1] / found.w, size[0] / found.h
    intrinsics = np.array(
        [[found.fl_x * across, 0.0, found.cx * across], [0.0, found.fl_y * down, found.cy * down], [0.0, 0.0, 1.0]]
    )
    distortion = {name: value for name in ("k1", "k2", "k3", "p1", "p2") if (value := getattr(found, name))}
    return FootageCamera(intrinsics, dict(poses), distortion)


def bends(camera: FootageCamera, size: tuple[int, int]) -> bool:
    """Whether the lens moves a corner of the (H, W) image by half a pixel or more (OpenCV's distortion model)."""
    if not camera.distortion:
        return False
    k1, k2, k3, p1, p2 = (camera.distortion.get(name, 0.0) for name in ("k1", "k2", "k3", "p1", "p2"))
    focal = camera.intrinsics[[0, 1], [0, 1]]
    corners = np.array([[u, v] for u in (0, size[1]) for v in (0, size[0])], dtype=np.float64)
    x, y = ((corners - camera.intrinsics[:2, 2]) / focal).T
    square = x * x + y * y
    radial = k1 * square + k2 * square**2 + k3 * square**3
    moved_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    moved_y = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return bool(np.hypot(moved_x * focal[0], moved_y * focal[1]).max() >= _SEEN)


def _bad(message: str) -> FootageError:
    return FootageError("bad-transforms", f"transforms.json: {message}")
