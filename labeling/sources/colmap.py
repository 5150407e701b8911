"""COLMAP's models of images and cameras, text or binary, as the intrinsics and poses that transforms.json would hold.

After "Output Format" of COLMAP's documentation. Points are passed over. Its cameras look along +z with y down (OpenCV),
so the y and z axes of its poses are turned; pixel centres lie at half-integers, as here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

import numpy as np

from labeling.sources.transforms import Entry, Transforms
from manifests.errors import FootageError

MODEL_FILES = ("images.bin", "images.txt")
_PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fl_x", "fl_y", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"),
}
_NUMBERED = (*_PARAMETERS, "OPENCV_FISHEYE", "FULL_OPENCV", "FOV", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_POINT = 24
_MOST_IMAGES = 200_000
type _Lens = tuple[str, float, float, tuple[float, ...]]
type _Pose = tuple[str, int, np.ndarray]


def cameras_of(images: str) -> str:
    """The file of cameras that lies beside a file of images."""
    return images.removesuffix(images.rpartition("/")[2]) + images.rpartition("/")[2].replace("images", "cameras")


def parse_colmap(cameras: bytes, images: bytes, *, text: bool) -> Transforms:
    """The images of a model by name, each with the intrinsics of its camera. Raises FootageError ("bad-transforms")."""
    try:
        lenses = dict(_cameras_text(cameras) if text else _cameras_binary(cameras))
        poses = list(islice(_images_text(images) if text else _images_binary(images), _MOST_IMAGES + 1))
        if len(poses) > _MOST_IMAGES:
            raise ValueError(f"more than {_MOST_IMAGES} images")
        frames = tuple(
            Entry(file_path=name, transform_matrix=_camera_to_world(pose), **_intrinsics(*lenses[camera]))
            for name, camera, pose in poses
        )
    except (ValueError, LookupError, struct.error, OverflowError) as error:
        raise FootageError("bad-transforms", f"not a model of COLMAP: {error}") from None
    return Transforms(frames=frames)


def _intrinsics(model: str, width: float, height: float, values: tuple[float, ...]) -> dict[str, float]:
    if model not in _PARAMETERS:
        raise FootageError("bad-transforms", f"camera model {model[:40]!r} is not a pinhole with small distortion")
    named = dict(zip(_PARAMETERS[model], values, strict=True))
    focal = named.pop("f", None)
    return {"w": width, "h": height, **({} if focal is None else {"fl_x": focal, "fl_y": focal}), **named}


def _camera_to_world(pose: np.ndarray) -> list[list[float]]:
    """From a quaternion (w, x, y, z) and a translation, world to camera, as 7 numbers."""
    if not 0.5 < np.abs(pose[:4]).max() <= 1.001 or not np.isfinite(pose).all():
        raise ValueError("a rotation that is none")
    w, x, y, z = pose[:4] / np.linalg.norm(pose[:4])
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.T @ np.diag([1.0, -1.0, -1.0]), -turn.T @ pose[4:]
    found: list[list[float]] = matrix.tolist()
    return found


def _lines(data: bytes) -> list[str]:
    lines = [line.strip() for line in data.decode("utf-8").splitlines()]
    return [line for line in lines if not line.startswith("#")]


def _cameras_text(data: bytes) -> Iterator[tuple[int, _Lens]]:
    for line in filter(None, _lines(data)):
        number, model, width, height, *values = line.split()
        yield int(number), (model, float(width), float(height), tuple(map(float, values)))


def _images_text(data: bytes) -> Iterator[_Pose]:
    """Two lines an image, the second one, of its points, may be empty."""
    lines = _lines(data)
    for line in lines[::2]:
        if line:
            _, *numbers, camera, name = line.split(maxsplit=9)
            yield name, int(camera), np.array([float(number) for number in numbers])


def _cameras_binary(data: bytes) -> Iterator[tuple[int, _Lens]]:
    (count,) = struct.unpack_from("<Q", data)
    offset = 8
    for _ in range(count):
        number, kind, width, height = struct.unpack_from("<iiQQ", data, offset)
        model = _NUMBERED[kind] if 0 <= kind < len(_NUMBERED) else f"number {kind}"
        if model not in _PARAMETERS:  # how many numbers it has is not known here
            _intrinsics(model, width, height, ())
        values = struct.unpack_from(f"<{len(_PARAMETERS[model])}d", data, offset + 24)
        offset += 24 + 8 * len(values)
        yield number, (model, float(width), float(height), values)


def _images_binary(data: bytes) -> Iterator[_Pose]:
    (count,) = struct.unpack_from("<Q", data)
    offset = 8
    for _ in range(count):
        _, *numbers, camera = struct.unpack_from("<i7di", data, offset)
        end = data.index(b"\0", offset + 64)
        (points,) = struct.unpack_from("<Q", data, end + 1)
        yield data[offset + 64 : end].decode("utf-8"), camera, np.array(numbers)
        offset = end + 9 + _POINT * points
