"""Between attribute values and the integer planes that a video can hold: the schemes named in the attribute table.

srgb        10-bit full-range Y'CbCr (BT.709 matrix) of sRGB(factor * value) clipped to [0, 1]
unit        round(1023 v)
coverage    round(255 v), but 0 and 255 only where v is exactly 0 and 1, so that both survive exactly
azimuthal   a unit vector as two 10-bit planes, its place in the projection of `azimuthal.py`
log-depth   0 is +inf, k >= 1 is low * (high / low) ** ((k - 1) / (levels - 1)): the same relative step everywhere
index       the integer itself
asinh       32768 + round(2048 asinh(v / 32)) for each channel: steps of 1/64 near 0, of 1/2048 of the value far from it
bits        the sum of 2^c over the channels c that are 1
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from manifests.codec.clip_json import Stored
from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.azimuthal import STEPS, project
from manifests.contract.color import LUMINANCE, srgb_decode, srgb_encode

DEPTH_STEP = 2e-3
"""Relative step of `log-depth`: 12 bits cover far / near up to 3,600 with it, 16 bits all that occurs."""

TOP = 1023
MIDDLE = 512
FINER = 6
"""Bits by which `azimuthal.STEPS` are finer than those of a plane."""
SPREAD = STEPS / 2**FINER
"""Steps of a plane to a unit of the projection."""
CB = 2 * (1 - LUMINANCE[2])
CR = 2 * (1 - LUMINANCE[0])
_FARTHEST = 1e9
_ASINH_ZERO, _ASINH_SCALE, _ASINH_KNEE = 1 << 15, 1 << 11, 32.0
_CODE = 255
_TABLE = 4095


def depth_range(depth: np.ndarray) -> tuple[float, float, int]:
    """(low, high, levels) of `log-depth` for the finite depths of a clip."""
    finite = depth[np.isfinite(depth)]
    high = float(finite.max(initial=0.0))
    if high <= 0:
        return 1.0, 1.0, 2
    low = max(float(finite.min()), high / _FARTHEST)
    levels = int(np.ceil(np.log(high / low) / DEPTH_STEP)) + 1
    return low, high, max(levels, 2)


def quantize(values: np.ndarray, stored: Stored, factor: float = 1.0) -> list[np.ndarray]:
    """Planes (H, W) of uint8 or uint16 of one frame's `values` (H, W, C); `factor` is the exposure for `srgb`."""
    match stored.scheme:
        case "srgb":
            planes = ycc(displayed(values, factor))
        case "unit":
            planes = [np.rint(np.clip(values[..., 0], 0, 1) * TOP).astype(np.uint16)]
        case "coverage":
            value = values[..., 0]
            code = np.clip(np.rint(value * 255), 1, 254)
            planes = [np.where(value <= 0, 0, np.where(value >= 1, 255, code)).astype(np.uint8)]
        case "azimuthal":
            planes = _project(values)
        case "log-depth":
            planes = [_log_codes(values[..., 0], stored)]
        case "index":
            planes = [values[..., 0]]
        case "asinh":
            codes = np.rint(_ASINH_SCALE * np.arcsinh(values / np.float32(_ASINH_KNEE))) + _ASINH_ZERO
            planes = list(np.moveaxis(codes.astype(np.uint16), -1, 0))
        case "bits":
            planes = [np.packbits(values > 0, axis=-1, bitorder="little")[..., 0]]
        case _:
            raise ValueError(f"unknown scheme {stored.scheme!r}")
    return planes


def displayed(values: np.ndarray, factor: float) -> np.ndarray:
    """sRGB(factor * values) clipped to [0, 1], float32: the colours of `srgb`, and what their error is measured on."""
    encoded = srgb_encode(values * np.float32(factor))
    return np.minimum(encoded, np.float32(1), out=encoded)


def depth_table(stored: Stored) -> np.ndarray:
    """Depth (float64) by code of `log-depth`; codes beyond the table mean its last."""
    place = np.maximum(np.arange(stored.levels + 1) - 1.0, 0) / (stored.levels - 1)
    table = stored.low * np.exp(place * np.log(stored.high / stored.low))
    table[0] = np.inf
    return table


@functools.cache
def asinh_table() -> np.ndarray:
    """Value (float64) by 16-bit code of `asinh`, within what the contract allows."""
    values = _ASINH_KNEE * np.sinh((np.arange(1 << 16) - _ASINH_ZERO) / _ASINH_SCALE)
    return np.clip(values, ATTRIBUTES["flow"].low, ATTRIBUTES["flow"].high)


class Restorer:
    """Inverse of `quantize` for the frames of one attribute; holds the tables and scratch that frames share.

    Every step works in place on whole planes. With `linear` false colours come back as `displayed`.
    """

    def __init__(self, stored: Stored, factor: float = 1.0, *, linear: bool = True) -> None:
        self._scheme = stored.scheme
        self._scratch: list[np.ndarray] = []
        self._table = np.empty(0, np.float32)
        if stored.scheme == "srgb":
            colours = _linear_colours() / factor if linear else np.arange(_TABLE + 1) / _TABLE
            self._table = colours.astype(np.float32)
        elif stored.scheme == "log-depth":
            self._table = depth_table(stored).astype(np.float32)
        elif stored.scheme == "asinh":
            self._table = asinh_table().astype(np.float32)

    def restore(self, planes: list[np.ndarray], out: np.ndarray) -> None:
        """Write the values of `planes`, (T, H, W) each, into `out` (T, C, H, W)."""
        match self._scheme:
            case "srgb":
                self._colours(planes, out)
            case "unit":
                np.divide(planes[0], np.float32(TOP), out=out[:, 0])
            case "coverage":
                np.divide(planes[0], np.float32(_CODE), out=out[:, 0])
            case "azimuthal":
                self._directions(planes, out)
            case "log-depth":
                self._look_up(planes[0], out[:, 0])
            case "asinh":
                for channel, plane in enumerate(planes):
                    out[:, channel] = self._table[plane]
            case "bits":
                _spread(planes[0], out, 1)
            case _:
                out[:, 0] = planes[0]

    def _buffers(self, shape: tuple[int, ...], count: int) -> list[np.ndarray]:
        if not self._scratch or self._scratch[0].shape != shape:
            self._scratch = [np.empty(shape, np.float32) for _ in range(count)]
        return self._scratch

    def _look_up(self, codes: np.ndarray, out: np.ndarray) -> None:
        np.take(self._table, codes, out=out, mode="clip")

    def _colours(self, planes: list[np.ndarray], out: np.ndarray) -> None:
        """Y'CbCr to R'G'B', which are indices into the table of linear values."""
        luma, blue, red, work = self._buffers(planes[0].shape, 4)
        scale = _TABLE / TOP
        np.multiply(planes[0], np.float32(scale), out=luma)
        luma += np.float32(0.5)
        np.subtract(planes[1], np.float32(MIDDLE), out=blue)
        np.subtract(planes[2], np.float32(MIDDLE), out=red)
        for channel, chroma, weight in ((0, red, CR * scale), (2, blue, CB * scale)):
            np.multiply(chroma, np.float32(weight), out=work)
            work += luma
            self._colour(work, out[:, channel])
        red *= np.float32(LUMINANCE[0] * CR / LUMINANCE[1] * scale)
        blue *= np.float32(LUMINANCE[2] * CB / LUMINANCE[1] * scale)
        luma -= red
        luma -= blue
        self._colour(luma, out[:, 1])

    def _colour(self, channel: np.ndarray, out: np.ndarray) -> None:
        np.clip(channel, 0, _TABLE, out=channel)
        self._look_up(channel.astype(np.uint16), out)

    def _directions(self, planes: list[np.ndarray], out: np.ndarray) -> None:
        (work,) = self._buffers(planes[0].shape, 1)
        x, y, z = (out[:, channel] for channel in range(3))
        for plane, target in ((planes[0], x), (planes[1], y)):
            np.subtract(plane, np.float32(MIDDLE), out=target)
        np.multiply(x, x, out=z)
        np.multiply(y, y, out=work)
        z += work
        z *= np.float32(-1 / SPREAD**2)
        np.maximum(z, np.float32(-4), out=z)
        np.add(z, np.float32(4), out=work)
        np.sqrt(work, out=work)
        work *= np.float32(0.5 / SPREAD)
        x *= work
        y *= work
        z *= np.float32(0.5)
        z += 1


@functools.cache
def _linear_colours() -> np.ndarray:
    """Linear values (float64) of sRGB in `_TABLE` steps."""
    return srgb_decode(np.arange(_TABLE + 1) / _TABLE)


def ycc(encoded: np.ndarray) -> list[np.ndarray]:
    """The planes of `displayed` colours."""
    red, green, blue = (encoded[..., channel] for channel in range(3))
    luma = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
    chroma = [(blue - luma) * np.float32(TOP / CB) + MIDDLE, (red - luma) * np.float32(TOP / CR) + MIDDLE]
    return [np.clip(np.rint(plane), 0, TOP).astype(np.uint16) for plane in (luma * TOP, *chroma)]


def _project(normal: np.ndarray) -> list[np.ndarray]:
    """The two planes of the projection and a constant third one."""
    codes = np.clip(np.rint(project(normal) * np.float32(SPREAD)) + MIDDLE, 0, TOP).astype(np.uint16)
    return [codes[..., 0], codes[..., 1], np.full_like(codes[..., 0], MIDDLE)]


def _log_codes(depth: np.ndarray, stored: Stored) -> np.ndarray:
    finite = np.isfinite(depth)
    place = np.log(np.clip(depth, stored.low, stored.high, where=finite, out=np.full_like(depth, stored.low)))
    span = np.log(stored.high / stored.low)
    step = (place - np.log(stored.low)) / (span if span > 0 else 1.0)
    return np.where(finite, 1 + np.rint(step * (stored.levels - 1)), 0).astype(np.uint16)


class Recoder:
    """From the planes that `quantize` made of one attribute to what a `CodedClip` has of it, rounded.

    It runs in the loader's inner loop: OpenCV weighs, rounds and clips in one go, several times faster than numpy.
    Holds scratch that calls share.
    """

    def __init__(self, stored: Stored) -> None:
        self._scheme = stored.scheme
        self._scratch = np.empty((3, 0, 0), np.float32)
        self._table = np.empty(0, np.float16)
        if stored.scheme == "log-depth":
            with np.errstate(over="ignore"):  # what is too far for a half float is background
                self._table = depth_table(stored).astype(np.float16)
        elif stored.scheme == "asinh":
            self._table = asinh_table().astype(np.float16)

    def restore(self, planes: list[np.ndarray], out: np.ndarray) -> None:
        """Write the codes of `planes`, (T, H, W) each, into `out` (T, C, H, W)."""
        match self._scheme:
            case "srgb":
                self._colours([_flat(plane) for plane in planes], [_flat(out[:, channel]) for channel in range(3)])
            case "unit":
                cv2.convertScaleAbs(_flat(planes[0]), _flat(out[:, 0]), _CODE / TOP)
            case "azimuthal":
                for channel, plane in enumerate(planes[:2]):
                    np.subtract(plane.view(np.int16), np.int16(MIDDLE), out=out[:, channel])
                np.left_shift(out, FINER, out=out)
            case "log-depth":
                np.take(self._table, planes[0], out=out[:, 0], mode="clip")
            case "asinh":
                for channel, plane in enumerate(planes):
                    out[:, channel] = self._table[plane]
            case "bits":
                _spread(planes[0], out, _CODE)
            case _:
                out[:, 0] = planes[0]

    def _colours(self, planes: list[np.ndarray], out: list[np.ndarray]) -> None:
        """Y'CbCr to R'G'B'."""
        if self._scratch.shape[1:] != planes[0].shape:
            self._scratch = np.empty((3, *planes[0].shape), np.float32)
        scale, (blue, red, both) = _CODE / TOP, self._scratch
        for plane, chroma in ((planes[1], blue), (planes[2], red)):
            np.subtract(plane, np.float32(MIDDLE), out=chroma)
        cv2.addWeighted(
            red, -LUMINANCE[0] * CR / LUMINANCE[1] * scale, blue, -LUMINANCE[2] * CB / LUMINANCE[1] * scale, 0, both
        )
        for chroma, weight, colour in ((red, CR * scale, out[0]), (both, 1.0, out[1]), (blue, CB * scale, out[2])):
            cv2.addWeighted(planes[0], scale, chroma, weight, 0, colour, cv2.CV_8U)


def _spread(plane: np.ndarray, out: np.ndarray, one: int) -> None:
    """Bit c of `plane` (T, H, W), as 0 or `one`, to channel c of `out` (T, C, H, W)."""
    for channel in range(out.shape[1]):
        out[:, channel] = (plane >> channel & 1) * one


def _flat(planes: np.ndarray) -> np.ndarray:
    """A view of (T, H, W), whose frames may lie apart, as OpenCV takes it: (T, H * W)."""
    return planes.reshape(len(planes), -1)
