"""The `compact` codec: one video per attribute, encoded until its measured error is within the bound.

The quantizer starts where almost every clip is good enough; a clip that is harder (fine bump maps, noise) is
encoded again, finer. So the promise about quality holds for each clip, and the bytes follow the content.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from manifests.codec.clip_json import ClipHeader, Stored, need
from manifests.codec.fidelity import Fidelity, excess
from manifests.codec.formats import FORMATS, QUALITIES, SCHEMES
from manifests.codec.plane_video import decode_video, encode_video
from manifests.codec.quantize import Restorer, depth_range, displayed, quantize, ycc
from manifests.contract.attributes import ATTRIBUTES, Attribute
from manifests.contract.clip import Clip, coded_form, to_codes
from manifests.errors import CodecError

if TYPE_CHECKING:
    from manifests.codec.quantize import Recoder

_ATTEMPTS = 4
_FINEST = 1
_SLOPE = 1 / 6.5
"""Doublings of the error for each step of the quantizer, where the clip has not shown its own."""
_DENSE = 1.0
"""Bits a pixel from which half a step of the quantizer is worth another encoding."""
_MOST_LEVELS = 4095
"""Of depth in 12 bits: the code 0 is taken."""
_TOGETHER = 1 << 16
"""Pixels that are restored at once: frames of small clips are too short for a call each, large ones leave the cache."""
_MEASURE_ALL = 1 << 20
_STRIDE = 3
"""Clips of more than `_MEASURE_ALL` pixels are measured on every third frame, which meets every type of frame."""


def encode(clip: Clip, threads: int = 1) -> tuple[dict[str, Stored], dict[str, bytes], dict[str, float]]:
    """How each attribute is kept, the files by suffix, and the measured errors by "attribute.metric".

    `threads` attributes are encoded at a time; that changes no byte.
    """
    surface = _surface(clip)
    stored, files, errors = {}, {}, {}
    with ThreadPoolExecutor(threads, "encode") as pool:
        encoded = pool.map(lambda name: _encode(clip, name, surface), clip.arrays)
        for name, (how, data, measured) in zip(clip.arrays, encoded, strict=True):
            stored[name], files[how.file] = how, data
            errors.update({f"{name}.{metric}": value for metric, value in measured.items()})
    return stored, files, errors


def _encode(clip: Clip, name: str, surface: np.ndarray) -> tuple[Stored, bytes, dict[str, float]]:
    """How one attribute is kept, its file, and its measured errors."""
    known, array = ATTRIBUTES[name], clip.arrays[name]
    how = _stored(clip, known, array)
    if how.scheme == "srgb":
        array = np.stack([displayed(frame, clip.exposure if name == "rgb" else 1.0) for frame in array])
    frames = [ycc(frame) if how.scheme == "srgb" else quantize(frame, how) for frame in array]
    planes = [np.stack(plane) for plane in zip(*frames, strict=True)]
    return (how, *_encode_within_bound(clip, known, how, planes, array, surface))


def decode(
    key: str,
    files: Mapping[str, bytes],
    header: ClipHeader,
    names: Sequence[str],
    frames: np.ndarray,
    *,
    threads: int,
    coded: bool = False,
) -> dict[str, np.ndarray]:
    """Arrays (T, H, W, C) of the attributes `names` at `frames` (ascending); their memory is planar, (T, C, H, W).

    With `coded` they are those of a `CodedClip`.
    """
    mask = None
    if any(name == "mask" or header.attributes[name].masked for name in names):
        if "mask" not in header.attributes:
            raise CodecError("backgrounds are kept in a mask that the clip does not hold", where=f"clip {key}")
        mask = _decode_attribute(key, files, header, "mask", frames, threads=threads, coded=coded)
    inside = None if mask is None else mask > 0
    arrays = {}
    for name in names:
        if name == "mask" and mask is not None:
            planar = mask
        else:
            cover = inside if header.attributes[name].masked else None
            planar = _decode_attribute(key, files, header, name, frames, threads=threads, inside=cover, coded=coded)
        arrays[name] = planar.transpose(0, 2, 3, 1)
    return arrays


def _surface(clip: Clip) -> np.ndarray:
    """(T, H, W): the pixels on which surface attributes are measured; all of them where no mask is known."""
    if "mask" in clip.arrays:
        return clip.arrays["mask"][..., 0] > 0
    return np.ones((clip.frames, *clip.size), dtype=bool)


def _stored(clip: Clip, known: Attribute, array: np.ndarray) -> Stored:
    low, high, levels = depth_range(array) if known.compact == "log-depth" else (0.0, 1.0, 0)
    codings = SCHEMES[known.compact]
    large = levels > _MOST_LEVELS or (known.dtype == "uint16" and array.max() > 255)
    coding = codings[-1 if large else 0]
    stored = Stored(scheme=known.compact, file=f"{known.name}.{FORMATS[coding].suffix}", coding=coding)
    if levels:
        return msgspec.structs.replace(stored, low=low, high=high, levels=levels)
    if known.name in QUALITIES and "mask" in clip.arrays:
        outside = clip.arrays["mask"][..., 0] == 0
        masked = not any(
            (outside & (array[..., channel] != value)).any() for channel, value in enumerate(known.background_array())
        )
        return msgspec.structs.replace(stored, masked=masked)
    return stored


def _encode_within_bound(
    clip: Clip, known: Attribute, stored: Stored, planes: list[np.ndarray], array: np.ndarray, surface: np.ndarray
) -> tuple[bytes, dict[str, float]]:
    """Bytes and errors; `array` (T, H, W, C) is what `planes` stand for, colours as `displayed`."""
    coding = FORMATS[stored.coding]
    quality = QUALITIES.get(known.name)
    if quality is None:
        data = encode_video(planes, coding, clip.fps)
        return data, _measure(known, stored, data, array, surface)

    def attempt(qp: float) -> tuple[bytes, dict[str, float], float]:
        quantizer = {"qp": str(math.floor(qp)), "chromaoffset": str(round(2 * (qp % 1)))}
        data = encode_video(planes, coding, clip.fps, {**quantizer, "x264-params": quality.search})
        measured = _measure(known, stored, data, array, surface)
        return data, measured, excess(quality.metric, measured[quality.metric], quality.bound)

    tried: dict[int, tuple[bytes, dict[str, float], float]] = {}
    qp = quality.qp
    while len(tried) < _ATTEMPTS and qp not in tried:
        tried[qp] = attempt(qp)
        if qp == quality.qp and tried[qp][2] <= 1:
            break
        qp = _next_quantizer({qp: error for qp, (_, _, error) in tried.items()})
    # The coarsest that is good enough, else the nearest.
    qp = min(tried, key=lambda qp: -qp if tried[qp][2] <= 1 else tried[qp][2])
    best = tried[qp]
    dense = len(planes) > 1 and 8 * len(best[0]) > _DENSE * planes[0].size
    if dense and best[2] * 2 ** (0.5 * _SLOPE) <= 1 and (coarser := attempt(qp + 0.5))[2] <= 1:
        best = coarser
    return best[:2]


def _next_quantizer(tried: Mapping[int, float]) -> int:
    """The coarsest quantizer that is likely good enough, from the excess of those `tried`; maybe one of them.

    The logarithm of the error is nearly a straight line over the quantizer, of a slope that the clip decides.
    """
    coarse = min(qp for qp, error in tried.items() if error > 1)
    fine = max((qp for qp, error in tried.items() if error <= 1), default=None)
    others = [qp for qp in tried if qp != coarse] if fine is None else [fine]
    slope = _SLOPE
    if others:
        other = min(others, key=lambda qp: abs(qp - coarse))
        slope = max(math.log2(tried[coarse] / tried[other]) / (coarse - other), 1 / 12)
    step = max(1, math.ceil(math.log2(tried[coarse]) / slope))
    return max(_FINEST, coarse - step if fine is None else max(fine, coarse - step))


def _measure(known: Attribute, stored: Stored, data: bytes, array: np.ndarray, surface: np.ndarray) -> dict[str, float]:
    """Decode what was just encoded, as a reader will, and compare."""
    total, size = len(array), array.shape[1:3]
    wanted = np.arange(0, total, 1 if surface.size <= _MEASURE_ALL else _STRIDE)
    restorer, fidelity = Restorer(stored, linear=False), Fidelity(known)
    decoded = np.empty((1, known.channels, *size), dtype=known.dtype)
    for frame, planes in decode_video(data, FORMATS[stored.coding], size, total, wanted):
        restorer.restore([plane[None] for plane in planes], decoded)
        fidelity.add(array[frame], decoded[0].transpose(1, 2, 0), surface[frame])
    return fidelity.result()


def _decode_attribute(
    key: str,
    files: Mapping[str, bytes],
    header: ClipHeader,
    name: str,
    frames: np.ndarray,
    *,
    threads: int,
    inside: np.ndarray | None = None,
    coded: bool = False,
) -> np.ndarray:
    """(T, C, H, W) of one attribute; `inside` (T, 1, H, W) is false where the background comes back."""
    known, stored = ATTRIBUTES[name], header.attributes[name]
    size = (header.height, header.width)
    restorer = _restorer(stored, header.exposure if name == "rgb" else 1.0, coded=coded)
    background = known.background_array()
    if coded:
        background = to_codes(known, background)  # of colours it is black, in any encoding
    out = np.empty(0)
    data = need(key, files, stored.file)
    try:
        decoded = decode_video(data, FORMATS[stored.coding], size, header.frames, frames, threads=threads)
        together = math.ceil(len(frames) / math.ceil(len(frames) * size[0] * size[1] / _TOGETHER))
        for index, (_, planes) in enumerate(decoded):
            if index == 0:  # only now is the claimed size more than a claim
                channels, dtype = coded_form(known) if coded else (known.channels, known.dtype)
                out = np.empty((len(frames), channels, *size), dtype=dtype)
                raw = np.empty((len(planes), together, *size), dtype=planes[0].dtype)
            place = index % together
            for kept, plane in zip(raw, planes, strict=True):
                kept[place] = plane
            if place == together - 1 or index == len(frames) - 1:
                window = slice(index - place, index + 1)
                restorer.restore(list(raw[:, : place + 1]), out[window])
                if inside is not None:
                    _clear(out[window], inside[window, 0].astype(out.dtype), background)
    except CodecError as error:
        raise CodecError(f"clip {key}, {name}: {error}") from None
    return out


def _restorer(stored: Stored, factor: float, *, coded: bool) -> Restorer | Recoder:
    if not coded:
        return Restorer(stored, factor)
    from manifests.codec.quantize import (
        Recoder,  # only loaders want codes: OpenCV stays out of the processes that render
    )

    return Recoder(stored)


def _clear(planes: np.ndarray, inside: np.ndarray, background: np.ndarray) -> None:
    """Set `planes` (T, C, H, W) to `background` (C,) where `inside` (T, H, W) is 0; faster here than indexing."""
    for channel, value in enumerate(background):
        plane = planes[:, channel]
        if value:
            plane -= value
        plane *= inside
        if value:
            plane += value
