"""The `exact` codec: one multilayer OpenEXR per frame, lossless but for half-float rounding.

Half keeps 11 significant bits: values that a half can represent come back bit for bit, others are rounded to the
nearest half (relative error 2^-11). Depth is float and instance a 32-bit integer, so both are always exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from manifests.codec.clip_json import ClipHeader, Stored, need
from manifests.codec.exr import read_exr, write_exr
from manifests.contract.attributes import ATTRIBUTES, Attribute
from manifests.contract.clip import Clip
from manifests.contract.environment import HALF_MAX
from manifests.errors import CodecError

_DTYPES = {"half": np.float16, "float": np.float32, "uint": np.uint32}


def encode(clip: Clip) -> tuple[dict[str, Stored], dict[str, bytes]]:
    """How each attribute is kept, and the files by suffix (`0000.exr` is frame 0)."""
    stored = {name: Stored(scheme=ATTRIBUTES[name].exact) for name in clip.arrays}
    return stored, {_suffix(frame): _encode_frame(clip, frame) for frame in range(clip.frames)}


def decode(
    key: str, files: Mapping[str, bytes], header: ClipHeader, names: Sequence[str], frames: np.ndarray
) -> dict[str, np.ndarray]:
    """Arrays (T, H, W, C) of the attributes `names` at `frames`."""
    size = (header.height, header.width)
    arrays: dict[str, np.ndarray] = {}
    for index, frame in enumerate(frames):
        suffix = _suffix(frame)
        data = need(key, files, suffix)
        try:
            planes = read_exr(data, size)
        except CodecError as error:
            raise CodecError(f"clip {key}, {suffix}: {error}") from None
        for name in names:
            known = ATTRIBUTES[name]
            if index == 0:  # only now is the claimed size more than a claim
                arrays[name] = np.empty((len(frames), known.channels, *size), known.dtype)
            for channel, source in enumerate(channels(known)):
                if source not in planes or planes[source].dtype != _DTYPES[known.exact]:
                    raise CodecError(f"clip {key}, {suffix}: no {known.exact} channel {source} for {name}")
                arrays[name][index, channel] = planes[source]
    return {name: planar.transpose(0, 2, 3, 1) for name, planar in arrays.items()}


def channels(known: Attribute) -> list[str]:
    """Channel names of an attribute in an exact frame: `rgb.R`, `normal.X`, `depth.Z`, `instance.I`, `mask.Y` ..."""
    if known.channels == 3:
        letters = "XYZ" if known.is_vector else "RGB"
    elif known.channels > 1:
        letters = "XYZW"[: known.channels]
    else:
        letters = {"planar z": "Z", "index": "I"}.get(known.space, "Y")
    return [f"{known.name}.{letter}" for letter in letters]


def _suffix(frame: int) -> str:
    return f"{frame:04d}.exr"


def _encode_frame(clip: Clip, frame: int) -> bytes:
    planes = {}
    for name, array in clip.arrays.items():
        known = ATTRIBUTES[name]
        image = array[frame]
        if known.exact == "half":
            image = np.clip(image, -HALF_MAX, HALF_MAX)
        image = image.astype(_DTYPES[known.exact])
        planes.update({channel: image[..., index] for index, channel in enumerate(channels(known))})
    return write_exr(planes)
