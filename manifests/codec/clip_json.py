"""`ClipHeader`: the `clip.json` of a sample, which says how its other files turn into a `Clip`.

It is plain JSON that any program can read. What comes back from a shard is checked here, sizes first, so that no
later step allocates for a size that nobody wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from manifests.codec.formats import QUALITIES, SCHEMES
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.errors import ClipError, CodecError
from manifests.untrusted import decode_json

VERSION = 2
"""Newest version of this file's own format, apart from the contract of rows: 2 has intrinsics by frame."""

MAX_JSON = 16 << 20
"""Largest accepted clip.json in bytes."""

MAX_SIDE = 16384
"""Largest accepted height or width."""

MAX_FRAMES = 1 << 16
"""Largest accepted number of frames."""

MAX_PIXELS = 1 << 28
"""Largest accepted frames * height * width: 1,024 frames of 512x512."""

Codec = Literal["exact", "compact"]
Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Matrix4 = tuple[Row4, Row4, Row4, Row4]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """How one attribute is kept.

    `scheme` is the mapping between values and stored integers (`quantize.py`; in `exact` the channels' type).
    The rest is for `compact`: `file` is the suffix of its video, `coding` names the video's format (`formats.py`),
    `low`, `high` and `levels` are the range and the number of codes of a scheme that has them, and `masked` says
    that the attribute has its background value wherever the mask is 0, which decoding restores.
    """

    scheme: str
    file: str = ""
    coding: str = ""
    low: float = 0.0
    high: float = 1.0
    levels: Annotated[int, Meta(ge=0, le=65535)] = 0
    masked: bool = False


class CameraJson(msgspec.Struct, frozen=True, kw_only=True):
    """`Camera` as nested lists, row by row; either `intrinsics`, or `frame_intrinsics` where the camera zooms."""

    intrinsics: Matrix3 | UnsetType = UNSET
    camera_to_world: list[Matrix4]
    frame_intrinsics: list[Matrix3] | UnsetType = UNSET


class EnvironmentJson(msgspec.Struct, frozen=True, kw_only=True):
    """What environment.exr does not hold: its size, and the rotation of each frame, row by row."""

    height: int
    width: int
    rotation: list[Matrix3]


class ClipHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a clip but its pixels; see docs/codecs.md for the fields.

    `version` is the oldest whose readers understand it.
    """

    version: int = 1
    codec: Codec
    frames: Annotated[int, Meta(ge=1, le=MAX_FRAMES)]
    height: Annotated[int, Meta(ge=1, le=MAX_SIDE)]
    width: Annotated[int, Meta(ge=1, le=MAX_SIDE)]
    fps: float
    exposure: float
    attributes: dict[str, Stored]
    camera: CameraJson | None = None
    environment: EnvironmentJson | None = None
    meta: dict[str, Any] = {}

    def read_camera(self, key: str, frames: np.ndarray) -> Camera | None:
        """The camera at the wanted `frames` (indices), or None."""
        if self.camera is None:
            return None
        zooms = self.camera.frame_intrinsics is not UNSET
        lens = self.camera.frame_intrinsics if zooms else self.camera.intrinsics
        intrinsics = np.array(lens, dtype=np.float64)
        if not np.isfinite(intrinsics).all():
            raise CodecError(f"clip {key}, clip.json: camera intrinsics are not finite")
        return Camera(intrinsics, np.array(self.camera.camera_to_world, dtype=np.float64)).at(frames)

    def read_rotation(self, frames: np.ndarray) -> np.ndarray:
        """The environment's rotations (T, 3, 3) at the wanted `frames`."""
        assert self.environment is not None
        return np.array(self.environment.rotation, dtype=np.float64)[frames]


def describe(clip: Clip, codec: Codec, attributes: dict[str, Stored]) -> ClipHeader:
    """The header of `clip`; its attributes are stored as `attributes` says."""
    camera, light = None, None
    if clip.camera is not None:
        lens = clip.camera.intrinsics.tolist()
        camera = CameraJson(
            intrinsics=UNSET if clip.camera.zooms else lens,
            camera_to_world=clip.camera.camera_to_world.tolist(),
            frame_intrinsics=lens if clip.camera.zooms else UNSET,
        )
    if clip.environment is not None:
        rows, columns = clip.environment.image.shape[:2]
        light = EnvironmentJson(height=rows, width=columns, rotation=clip.environment.rotation.tolist())
    height, width = clip.size
    return ClipHeader(
        version=VERSION if clip.camera is not None and clip.camera.zooms else 1,
        codec=codec,
        frames=clip.frames,
        height=height,
        width=width,
        fps=float(clip.fps),
        exposure=float(clip.exposure),
        attributes=attributes,
        camera=camera,
        environment=light,
        meta=dict(clip.meta),
    )


def dump(key: str, header: ClipHeader) -> bytes:
    """Canonical JSON: equal headers give equal bytes. Raises ClipError when `meta` is not plain JSON."""
    try:
        return msgspec.json.format(msgspec.json.encode(header, order="deterministic"), indent=1) + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ClipError(f"clip {key}, meta: not plain JSON values: {error}") from None


def load(key: str, data: bytes) -> ClipHeader:
    """Inverse of `dump`; raises CodecError on anything malformed, oversized or of a newer contract."""
    where = f"clip {key}, clip.json"
    if len(data) > MAX_JSON:
        raise CodecError(f"{len(data)} bytes, more than the accepted {MAX_JSON}", where=where)
    try:
        header = decode_json(data, ClipHeader)
    except msgspec.DecodeError as error:
        raise CodecError(f"{error}", where=where) from None
    if header.version > VERSION:
        raise CodecError(
            f"contract version {header.version}, this program reads up to {VERSION}", "update it", where=where
        )
    if header.frames * header.height * header.width > MAX_PIXELS:
        raise CodecError(
            f"claims {header.frames} frames of {header.width}x{header.height}",
            f"at most {MAX_PIXELS} pixels are accepted",
            where=where,
        )
    _check_attributes(where, header)
    if not (0 < header.exposure < np.inf):
        raise CodecError(f"exposure is {header.exposure}, expected a positive number", where=where)
    lens = header.camera.frame_intrinsics if header.camera else UNSET
    if header.camera is not None and (lens is UNSET) == (header.camera.intrinsics is UNSET):
        raise CodecError("camera has both or neither of intrinsics and frame_intrinsics, expected one", where=where)
    for what, rows in (
        ("camera has {} poses", header.camera.camera_to_world if header.camera else None),
        ("camera has {} frame_intrinsics", None if lens is UNSET else lens),
        ("environment has {} poses", header.environment.rotation if header.environment else None),
    ):
        if rows is not None and len(rows) != header.frames:
            raise CodecError(f"{what.format(len(rows))} for {header.frames} frames", where=where)
    return header


def _check_attributes(where: str, header: ClipHeader) -> None:
    """Known attributes, kept in a way that the codec writes."""
    unknown = set(header.attributes) - set(ATTRIBUTES)
    if unknown or not header.attributes:
        raise CodecError(f"{where}: unknown attributes {sorted(unknown)}" if unknown else f"{where}: no attribute")
    if header.codec == "compact":
        for name, stored in header.attributes.items():
            if stored.scheme != ATTRIBUTES[name].compact or stored.coding not in SCHEMES[stored.scheme]:
                raise CodecError(f"{name} is kept as {stored.scheme} {stored.coding}, which nobody writes", where=where)
            if stored.masked and name not in QUALITIES:
                raise CodecError(f"{name} claims to be cleared by the mask, but is kept losslessly", where=where)
            if stored.scheme == "log-depth" and not (0 < stored.low <= stored.high < np.inf and stored.levels >= 2):
                raise CodecError(f"{name} ranges over [{stored.low}, {stored.high}] x {stored.levels}", where=where)


def need(key: str, files: Mapping[str, bytes], suffix: str) -> bytes:
    """The file `suffix` of clip `key`; raises CodecError when it is not there."""
    if suffix not in files:
        raise CodecError(f"its file {suffix} is missing", where=f"clip {key}")
    return files[suffix]
