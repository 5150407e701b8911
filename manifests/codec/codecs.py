"""The two ways in which a clip becomes files and comes back: `exact` and `compact`.

`exact` (`exact.py`) loses nothing but half-float rounding: one multilayer OpenEXR per frame. `compact`
(`compact.py`), the default of datasets, keeps one video per attribute and is more than ten times smaller.
Both share `clip.json` (camera, rotation of the light, meta, how each attribute is kept) and `environment.exr`.
docs/codecs.md has the format and the measurements behind it.

Decoding trusts nothing: whatever the bytes are, the outcome is a valid `Clip` or a CodecError that names the key
and the attribute or file. (It says what is not a clip, not that a clip is unharmed; that is what the manifest's
sha256 is for.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from manifests.codec import clip_json, compact, exact
from manifests.codec.clip_json import ClipHeader, Codec
from manifests.codec.exr import read_exr, write_exr
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.clip import Clip, CodedClip, to_codes
from manifests.contract.color import srgb_encode
from manifests.contract.environment import HALF_MAX, Environment
from manifests.errors import ClipError, CodecError

HEADER = "clip.json"
LIGHT = "environment.exr"


def encode_clip(clip: Clip, codec: Codec, *, threads: int = 1) -> tuple[dict[str, bytes], dict[str, float]]:
    """Files of `clip` by suffix, and the round-trip errors measured on them by "attribute.metric".

    The errors are empty for `exact`. For `compact` they are (see `fidelity.py`) rgb.psnr_db, basecolor.psnr_db,
    normal.mean_angle_degrees, normal.p99_angle_degrees, depth.mean_relative, depth.max_relative, flow.mean_pixels,
    flow.p99_pixels, and mean_absolute of roughness, metallic, mask, instance and flow_visible; clips of more than
    2^20 pixels are measured on every third frame. Equal clips give equal bytes, whatever the `threads`, of which it
    can use one per attribute. Raises ClipError when `meta` is not plain JSON.
    """
    errors: dict[str, float] = {}
    if codec == "exact":
        stored, files = exact.encode(clip)
    else:
        stored, files, errors = compact.encode(clip, threads)
    if clip.environment is not None:
        image = np.clip(clip.environment.image, 0, HALF_MAX).astype(np.float16)
        planes = {channel: image[..., index] for index, channel in enumerate("RGB")}
        files[LIGHT] = write_exr(planes, "PIZ")
    files[HEADER] = clip_json.dump(clip.key, clip_json.describe(clip, codec, stored))
    return files, errors


def decode_clip(
    key: str,
    files: Mapping[str, bytes],
    attributes: Collection[str] | None = None,
    frames: slice | Sequence[int] | None = None,
    *,
    threads: int = 1,
    light: bool = True,
    coded: bool = False,
) -> Clip:
    """The clip called `key` from its `files` by suffix: what `encode_clip` made, as far as asked for.

    Args:
        key: names the clip, in errors too.
        files: bytes by suffix; only those that are needed are looked up.
        attributes: names to decode; None decodes all. An attribute whose background was cleared by the mask
            also decodes the mask, which is cheap.
        frames: slice or indices (negative ones count from the end; any order); None decodes all. Camera and
            environment rotation follow the choice.
        threads: decoder threads per video. A loader with one process per core wants 1.
        light: whether to decode the environment.
        coded: give a `CodedClip`: 8-bit codes, and colours as networks see them and `compact` keeps them. That is
            faster than values, as long as codes are what is wanted.

    Returns:
        A validated Clip, or CodedClip. Arrays are (T, H, W, C) but their memory is planar (T, C, H, W), so that the
        `transpose(0, 3, 1, 2)` which a network wants is free.

    Raises:
        CodecError: a file is missing or is not what it claims to be; the message names key and attribute.
    """
    header = clip_json.load(key, clip_json.need(key, files, HEADER))
    names = _names(key, header, attributes)
    order = _order(key, header, frames)
    needed, back = np.unique(order, return_inverse=True)
    if header.codec == "exact":
        arrays = exact.decode(key, files, header, names, needed)
    else:
        arrays = compact.decode(key, files, header, names, needed, threads=threads, coded=coded)
    if len(needed) != len(order) or (needed != order).any():
        arrays = {name: array[back] for name, array in arrays.items()}
    try:
        if coded and header.codec == "exact":
            arrays = _coded(Clip(key, arrays), header.exposure)
        return (CodedClip if coded else Clip)(
            key,
            arrays,
            header.read_camera(key, order),
            _environment(key, files, header, order) if light else None,
            header.fps,
            header.exposure,
            header.meta,
        )
    except ClipError as error:
        raise CodecError(f"{error} (decoded from {header.codec})") from None


def _names(key: str, header: ClipHeader, attributes: Collection[str] | None) -> list[str]:
    """The attributes to decode, in the order of the request; unknown ones are an error."""
    names = list(dict.fromkeys(header.attributes if attributes is None else attributes))
    missing = [name for name in names if name not in header.attributes]
    if missing or not names:
        what = f"does not hold {', '.join(missing)}" if missing else "was asked for no attribute"
        raise CodecError(f"clip {key} {what}", f"it holds {', '.join(header.attributes)}")
    return names


def _order(key: str, header: ClipHeader, frames: slice | Sequence[int] | None) -> np.ndarray:
    """Indices of the wanted frames in the wanted order."""
    try:
        chosen = frames if isinstance(frames, slice) else slice(None) if frames is None else list(frames)
        order = np.arange(header.frames)[chosen]
    except IndexError:
        raise CodecError(f"asked for frames {frames} of {header.frames}", where=f"clip {key}") from None
    if order.size == 0:
        raise CodecError(f"asked for no frame ({frames} of {header.frames})", where=f"clip {key}")
    return order


def _coded(clip: Clip, exposure: float) -> dict[str, np.ndarray]:
    """The arrays of `clip` as a `CodedClip` has them."""
    coded = {}
    for name, values in clip.arrays.items():
        known, factor = ATTRIBUTES[name], np.float32(exposure if name == "rgb" else 1.0)
        coded[name] = to_codes(known, srgb_encode(values * factor) if known.compact == "srgb" else values)
    return coded


def _environment(key: str, files: Mapping[str, bytes], header: ClipHeader, order: np.ndarray) -> Environment | None:
    if header.environment is None:
        return None
    data = clip_json.need(key, files, LIGHT)
    try:
        planes = read_exr(data, (header.environment.height, header.environment.width))
        image = np.empty((header.environment.height, header.environment.width, 3), np.float32)
        for index, channel in enumerate("RGB"):
            image[..., index] = planes[channel]
    except CodecError as error:
        raise CodecError(f"clip {key}, {LIGHT}: {error}") from None
    except KeyError as error:
        raise CodecError(f"clip {key}, {LIGHT}: no channel {error}") from None
    return Environment(image, header.read_rotation(order))
