"""The two ways in which a clip becomes files and comes back: `exact` and `compact`.

`exact` loses nothing but half-float rounding: one multilayer OpenEXR a frame. `compact` is the default of
datasets: one video an attribute. docs/codecs.md has the measurements behind the choice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from manifests import clipheader
from manifests.attributes import ATTRIBUTES, Attribute
from manifests.clip import Clip
from manifests.clipheader import ClipHeader, Codec, Stored
from manifests.environment import Environment
from manifests.errors import ClipError, CodecError
from manifests.exr import read_exr, write_exr

HEADER = "clip.json"
LIGHT = "environment.exr"
_EXACT_DTYPES = {"half": np.float16, "float": np.float32, "uint": np.uint32}


def encode_clip(clip: Clip, codec: Codec) -> tuple[dict[str, bytes], dict[str, float]]:
    """Files of `clip` by suffix, and the round-trip errors measured on them by "attribute.metric"."""
    if codec == "exact":
        stored = {name: Stored(scheme=ATTRIBUTES[name].exact) for name in clip.arrays}
        files = {f"{frame:04d}.exr": _encode_frame(clip, frame) for frame in range(clip.frames)}
        errors: dict[str, float] = {}
    else:
        raise ClipError(f"unknown codec {codec!r}")
    if clip.environment is not None:
        image = clip.environment.image.astype(np.float16)
        files[LIGHT] = write_exr({channel: image[..., index] for index, channel in enumerate("RGB")})
    files[HEADER] = clipheader.dump(clip.key, clipheader.describe(clip, codec, stored))
    return files, errors


def decode_clip(
    key: str,
    files: Mapping[str, bytes],
    attributes: Collection[str] | None = None,
    frames: slice | Sequence[int] | None = None,
    threads: int = 1,
) -> Clip:
    """Inverse of encode_clip."""
    header = clipheader.load(key, files[HEADER])
    names = list(header.attributes) if attributes is None else list(attributes)
    wanted = np.arange(header.frames)[slice(None) if frames is None else frames]
    arrays = _decode_exact(key, files, header, names, wanted)
    light = None
    if header.environment is not None:
        planes = read_exr(files[LIGHT])
        image = np.stack([planes[channel] for channel in "RGB"], axis=-1).astype(np.float32)
        light = Environment(image, header.read_rotation(wanted))
    return Clip(key, arrays, header.read_camera(key, wanted), light, header.fps, header.exposure, header.meta)


def _channels(known: Attribute) -> list[str]:
    """Channel names of an attribute in an exact frame."""
    letters = {3: "XYZ" if known.is_vector else "RGB", 1: {"planar z": "Z", "index": "I"}.get(known.space, "Y")}
    return [f"{known.name}.{letter}" for letter in letters[known.channels]]


def _encode_frame(clip: Clip, frame: int) -> bytes:
    planes = {}
    for name, array in clip.arrays.items():
        known = ATTRIBUTES[name]
        image = array[frame].astype(_EXACT_DTYPES[known.exact])
        planes.update({channel: image[..., index] for index, channel in enumerate(_channels(known))})
    return write_exr(planes)


def _decode_exact(
    key: str, files: Mapping[str, bytes], header: ClipHeader, names: Sequence[str], frames: np.ndarray
) -> dict[str, np.ndarray]:
    size = (header.height, header.width)
    arrays = {
        name: np.empty((len(frames), *size, ATTRIBUTES[name].channels), dtype=ATTRIBUTES[name].dtype) for name in names
    }
    for index, frame in enumerate(frames):
        suffix = f"{frame:04d}.exr"
        if suffix not in files:
            raise CodecError(f"clip {key}: file {suffix} is missing")
        planes = read_exr(files[suffix], size)
        for name in names:
            for channel, source in enumerate(_channels(ATTRIBUTES[name])):
                arrays[name][index, ..., channel] = planes[source]
    return arrays
