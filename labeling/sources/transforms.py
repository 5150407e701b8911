"""transforms.json of DL3DV, nerfstudio, instant-ngp, NeRF: intrinsics and poses, checked before anything believes them.

Intrinsics may be given once or with every frame, as focal lengths or as fields of view, with or without the size of
the images. A world that was turned (`applied_transform`) stays as it is: only motion in it counts.

Its cameras look along -z with y up (OpenGL), which is our camera frame, so the matrices are camera_to_world as they
stand. Its image origin is the top-left corner with pixel centres at half-integers (COLMAP), which is ours too, so
intrinsics scale with the image. The world is COLMAP's after a rigid turn: origin, up and unit are the scene's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np

from labeling.sources.footage import FootageCamera
from labeling.sources.frame_stores import is_image
from manifests.errors import FootageError
from manifests.untrusted import decode_json

_PINHOLES = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL"}
_FOCAL = ("fl_x", "fl_y", "cx", "cy", "w", "h")
_LENS = ("k1", "k2", "k3", "p1", "p2")
_NEAR_MIDDLE = 0.25
_RIGID = 1e-3
"""Rotations this far from orthonormal are rounded ones; worse ones are refused."""
_SEEN = 0.5
"""Displacement by the lens, in pixels, from which frames are not those of a pinhole."""


class Intrinsics(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths in pixels of a (w, h) image, angles in radians over all of it; None where the file does not say."""

    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    w: float | None = None
    h: float | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    k4: float | None = None
    p1: float | None = None
    p2: float | None = None
    camera_angle_x: float | None = None
    camera_angle_y: float | None = None


class Entry(Intrinsics, frozen=True, kw_only=True):
    """A frame: its file, its matrix, and what is said of its lens alone."""

    file_path: str
    transform_matrix: Any = None


class Transforms(Intrinsics, frozen=True, kw_only=True):
    """The part of the file that is used, with the intrinsics that all frames share."""

    frames: tuple[Entry, ...]
    camera_model: str = "OPENCV"
    is_fisheye: bool = False

    def entries(self) -> dict[str, Any]:
        """Each frame's matrix by its file name less the suffix; folders (`images/`) differ from those on disk."""
        return {_stem(entry.file_path): entry.transform_matrix for entry in self.frames}


def parse_transforms(data: bytes) -> Transforms:
    """Raises FootageError ("bad-transforms") where the file, or one set of intrinsics for the scene, is missing."""
    try:
        found = decode_json(data, Transforms)
    except msgspec.DecodeError as error:
        raise _bad(str(error)) from None
    return checked(found)


def of_folder(files: Iterable[bytes], folder: str) -> Transforms | None:
    """What the files of a data set's splits (`transforms_train.json`) say of one folder's images; None for nothing.

    Raises FootageError ("bad-transforms") where one is unfit, or they differ in their intrinsics.
    """
    parts = [parse_transforms(data) for data in files]
    frames = {entry.file_path: entry for part in parts for entry in part.frames if _lies_in(entry.file_path, folder)}
    if not frames:
        return None
    if len({msgspec.structs.replace(part, frames=()) for part in parts}) > 1:
        raise _bad("the files of its splits have intrinsics of their own; labels take one set for all frames")
    return checked(msgspec.structs.replace(parts[0], frames=tuple(frames.values())))


def _lies_in(path: str, folder: str) -> bool:
    """Whether a path names a file of the folder, or of none in particular."""
    return PurePosixPath(path.replace("\\", "/")).parent.name in ("", folder)


def checked(found: Transforms) -> Transforms:
    """The same, with the one set of intrinsics that all frames share. Raises FootageError ("bad-transforms")."""
    if found.camera_model not in _PINHOLES or found.is_fisheye or found.k4:
        name = "fisheye" if found.is_fisheye or found.k4 else found.camera_model[:40]
        raise _bad(f"camera model {name!r} is not a pinhole with small distortion")
    names = Intrinsics.__struct_fields__
    for entry in found.frames:
        own = {name: value for name in names if (value := getattr(entry, name)) is not None}
        found = msgspec.structs.replace(found, **{name: own[name] for name in own if getattr(found, name) is None})
        if any(value != getattr(found, name) for name, value in own.items()):
            raise _bad(f"{entry.file_path[:80]!r} has intrinsics of its own; labels take one set for all frames")
    if found.fl_x is None and found.camera_angle_x is None:
        raise _bad("neither a focal length (`fl_x`) nor a field of view (`camera_angle_x`)")
    for name in (*_FOCAL, "camera_angle_x", "camera_angle_y"):
        value = getattr(found, name)
        if value is not None and not 0 < value < (math.pi if name.startswith("camera") else math.inf):
            raise _bad("focal length, angle or image size is not positive, or the centre lies outside the image")
    if not ((found.cx or 0) < (found.w or math.inf) and (found.cy or 0) < (found.h or math.inf)):
        raise _bad("the centre lies outside the image")
    if len(found.entries()) < len(found.frames):
        raise _bad("two frames have the same file name")
    return found


def _stem(path: str) -> str:
    """A file's name less its suffix, if it has one: in `images/frame.0007` the number is none."""
    name = PurePosixPath(path.replace("\\", "/")).name
    return PurePosixPath(name).stem if is_image(name) else name


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
    found: Intrinsics, poses: Mapping[int, np.ndarray], stored: tuple[int, int], size: tuple[int, int]
) -> FootageCamera:
    """The camera at `size` (H, W), for images that are `stored` (H, W); FootageError if their shape is another one."""
    width, height = found.w or stored[1], found.h or stored[0]
    scale = stored[0] / height
    if abs(stored[1] - width * scale) > 1.5 * max(1.0, stored[1] / stored[0]):
        raise _bad(f"it describes images of {width:g}x{height:g}, but they are {stored[1]}x{stored[0]}")
    cx, cy = found.cx or width / 2, found.cy or height / 2
    off = max(abs(cx / width - 0.5), abs(cy / height - 0.5))
    if found.w is None and found.fl_x is not None and (found.cx is None or off > _NEAR_MIDDLE):
        raise _bad("focal lengths in pixels, but of images whose size it does not say (`w`, `h`)")
    across, down = size[1] / width, size[0] / height
    fl_x, fl_y = _focal(found, width, height)
    intrinsics = np.array([[fl_x * across, 0.0, cx * across], [0.0, fl_y * down, cy * down], [0.0, 0.0, 1.0]])
    distortion = {name: value for name in _LENS if (value := getattr(found, name))}
    return FootageCamera(intrinsics, dict(poses), distortion)


def _focal(found: Intrinsics, width: float, height: float) -> tuple[float, float]:
    """Focal lengths in pixels: as they stand, else from the angles; that across counts for both (square pixels)."""
    across, down = (
        length or (None if angle is None else 0.5 * side / math.tan(angle / 2))
        for length, angle, side in (
            (found.fl_x, found.camera_angle_x, width),
            (found.fl_y, found.camera_angle_y, height),
        )
    )
    assert across is not None
    return across, down or across


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
