"""`Clip`: what moves between the rooms. Per-pixel arrays by attribute name, camera, light, and a metadata record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manifests.contract import azimuthal
from manifests.contract.attributes import Attribute, attribute
from manifests.contract.camera import Camera
from manifests.contract.environment import Environment
from manifests.errors import ClipError

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
_UNIT_TOLERANCE = 2e-2
_TOGETHER = 1 << 17  # pixels that are checked at once: small frames are not worth a call each
_RANGE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Clip:
    """A video with what is known of every pixel.

    Attributes:
        key: WebDataset key; lower-case letters, digits, `_` and `-` (a dot would split the sample).
        arrays: (T, H, W, C) by attribute name, in the dtype, space and range of the attribute table.
        camera: intrinsics, one for all or for each of the T frames, and a pose for each, or None where unknown (real
            video).
        environment: the light, with a rotation for each of the T frames, or None where unknown.
        fps: frames per second.
        exposure: factor from scene-linear rgb to what the networks see before sRGB encoding.
        meta: everything else, as plain JSON values (seed, spec digest, assets, motions, device ...).

    Raises ClipError, naming clip, attribute and frame, when any of that does not hold.
    """

    key: str
    arrays: Mapping[str, np.ndarray]
    camera: Camera | None = None
    environment: Environment | None = None
    fps: float = 24.0
    exposure: float = 1.0
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ClipError(
                f"clip key {self.key!r} may only hold a-z, 0-9, '_' and '-', so that WebDataset keeps it whole"
            )
        if not self.arrays:
            raise ClipError("holds no attribute", where=f"clip {self.key}")
        shape: tuple[int, ...] | None = None
        for name, array in self.arrays.items():
            known = _known(self.key, name)
            channels, dtype = self._form(known)
            if array.ndim != 4 or array.shape[3] != channels:
                raise ClipError(f"clip {self.key}, {name}: shape {array.shape}, expected (T, H, W, {channels})")
            shape = shape or array.shape[:3]
            if array.shape[:3] != shape or 0 in array.shape:
                raise ClipError(
                    f"clip {self.key}, {name}: frames of shape {array.shape[:3]}, the clip's others have {shape}"
                )
            if array.dtype != dtype:
                raise ClipError(f"clip {self.key}, {name}: dtype {array.dtype}, expected {dtype}")
            self._check_values(known, array)
        self._check_camera()
        self._check_environment()
        if not (self.fps > 0 and np.isfinite(self.fps)):
            raise ClipError(f"fps is {self.fps}, expected a positive number", where=f"clip {self.key}")
        if not (self.exposure > 0 and np.isfinite(self.exposure)):
            raise ClipError(f"exposure is {self.exposure}, expected a positive number", where=f"clip {self.key}")

    @property
    def frames(self) -> int:
        """T."""
        return int(next(iter(self.arrays.values())).shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = next(iter(self.arrays.values())).shape[1:3]
        return int(height), int(width)

    @property
    def depth_range(self) -> tuple[float, float] | None:
        """What relative depth 0 and 1 are in the units of a camera that moves, where `meta` says it, as labels may."""
        said = self.meta.get("depth_range")
        if isinstance(said, list | tuple) and len(said) == 2 and all(isinstance(value, int | float) for value in said):
            near, far = (float(value) for value in said)
            return (near, far) if 0 < near < far < np.inf else None
        return None

    def _form(self, known: Attribute) -> tuple[int, str]:
        return known.channels, known.dtype

    def _check_values(self, known: Attribute, array: np.ndarray) -> None:
        """Each frame within the table's range; +inf passes only where the background is +inf, NaN never."""
        if array.dtype.kind == "u":
            return
        step = max(1, _TOGETHER // (array.shape[1] * array.shape[2]))
        for first in range(0, len(array), step):
            if _fault(known, array[first : first + step]) is not None:
                for frame, image in enumerate(array[first : first + step], first):
                    if (fault := _fault(known, image[None])) is not None:
                        raise ClipError(f"clip {self.key}, {known.name}, frame {frame}: {fault}")

    def _check_camera(self) -> None:
        if self.camera is None:
            return
        poses = self.camera.camera_to_world
        lenses = ((3, 3), (self.frames, 3, 3))
        if poses.shape != (self.frames, 4, 4) or self.camera.intrinsics.shape not in lenses:
            raise ClipError(
                f"clip {self.key}, camera: intrinsics {self.camera.intrinsics.shape} and poses {poses.shape}, "
                f"expected (3, 3) or ({self.frames}, 3, 3), and ({self.frames}, 4, 4)"
            )
        _check_rotations(self.key, "camera", poses[:, :3, :3])

    def _check_environment(self) -> None:
        if self.environment is None:
            return
        image, rotation = self.environment.image, self.environment.rotation
        if image.ndim != 3 or image.shape[2] != 3 or rotation.shape != (self.frames, 3, 3):
            raise ClipError(
                f"clip {self.key}, environment: image {image.shape} and rotation {rotation.shape}, "
                f"expected (h, w, 3) and ({self.frames}, 3, 3)"
            )
        if not np.isfinite(image).all() or image.min() < 0:
            raise ClipError(
                f"clip {self.key}, environment: holds NaN, infinite or negative radiance", "sanitize it first"
            )
        _check_rotations(self.key, "environment", rotation)


class CodedClip(Clip):
    """A clip in few bytes, as networks see it.

    Attributes of the range [0, 1] are uint8, 255 being 1, and colours are sRGB-encoded (rgb exposed before). Normals
    are two int16, their place in the plane of `azimuthal.py`, depth and flow are half floats (to 0.05 %), instances are
    as in `Clip`.
    """

    def _form(self, known: Attribute) -> tuple[int, str]:
        return coded_form(known)

    def _check_values(self, known: Attribute, array: np.ndarray) -> None:
        """Whole numbers are right by their making; halves that are not negative are ordered as their bits are."""
        if array.dtype != np.float16:
            return
        halves = np.abs(array) if known.low < 0 else array
        if halves.view(np.uint16).max() > np.float16(known.high).view(np.uint16):
            raise ClipError(f"clip {self.key}, {known.name}: NaN or a value outside [{known.low:g}, {known.high:g}]")


def coded_form(known: Attribute) -> tuple[int, str]:
    """Channels and dtype of an attribute in a `CodedClip`."""
    if (known.low, known.high) == (0.0, 1.0) or known.compact == "srgb":
        return known.channels, "uint8"
    if known.is_vector:
        return 2, "int16"
    return known.channels, "float16" if known.dtype == "float32" else known.dtype


def to_codes(known: Attribute, values: np.ndarray) -> np.ndarray:
    """Values (..., C) of an attribute, colours sRGB-encoded, as a `CodedClip` has them, rounded."""
    match coded_form(known)[1]:
        case "uint8":
            codes = values * np.float32(255)
            codes += np.float32(0.5)
            return np.clip(codes, 0, 255, out=codes).astype(np.uint8)
        case "int16":
            return azimuthal.to_codes(values)
        case "float16":
            with np.errstate(over="ignore"):  # what is too far for a half float is background
                return (values if known.low < 0 else np.abs(values)).astype(np.float16)
        case _:
            return values


def _known(key: str, name: str) -> Attribute:
    try:
        return attribute(name)
    except KeyError as error:
        raise ClipError(f"{error.args[0]}", where=f"clip {key}") from None


def _fault(known: Attribute, frames: np.ndarray) -> str | None:
    smallest, largest = frames.min(), frames.max()
    if not (known.low - _RANGE_TOLERANCE <= smallest and largest <= known.high + _RANGE_TOLERANCE):
        what = "NaN" if np.isnan(smallest) else f"values in [{smallest:.4g}, {largest:.4g}]"
        return f"{what}, expected [{known.low:g}, {known.high:g}]"
    if known.is_vector:
        x, y, z = (np.square(frames[..., axis]) for axis in range(3))  # faster than einsum on planar memory
        length = x + y + z
        if max(length.max() - 1, 1 - length.min()) > 2 * _UNIT_TOLERANCE:
            return "vectors are not of unit length"
    return None


def _check_rotations(key: str, what: str, rotation: np.ndarray) -> None:
    skew = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
    proper = (skew < 1e-4) & (np.linalg.det(rotation) > 0)
    if not proper.all():
        frame = int(np.argmin(proper))
        raise ClipError(f"clip {key}, {what}, frame {frame}: the rotation is not a proper rotation matrix")
