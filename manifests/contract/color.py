"""Colour, said once: the sRGB curve, luminance, and how bright a picture should be (docs/conventions.md).

Inside are scene-linear Rec.709 radiance and the networks' sRGB picture. Twins of these functions on tensors take their
constants from here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of linear Rec.709 red, green and blue."""

SRGB_SLOPE, SRGB_SCALE, SRGB_OFFSET, SRGB_POWER = 12.92, 1.055, 0.055, 2.4
"""The curve of IEC 61966-2-1: SLOPE x near black, and SCALE x^(1/POWER) - OFFSET above."""

SRGB_BLACK, SRGB_BLACK_ENCODED = 0.0031308, 0.04045
"""Where its linear part ends, before and after encoding."""

PERCENTILE = 95.0
TARGET = 0.7
"""A dataset's exposure brings this percentile of its surfaces' luminance to this linear value."""

_WEIGHTS = np.array(LUMINANCE, dtype=np.float32)


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1 encoding of linear values; negative input counts as 0, input above 1 goes on along the curve."""
    linear = np.maximum(linear, 0.0)
    curve = np.maximum(linear, SRGB_BLACK)
    curve **= 1 / SRGB_POWER
    curve *= SRGB_SCALE
    curve -= SRGB_OFFSET
    dark = linear <= SRGB_BLACK
    linear *= SRGB_SLOPE
    return np.where(dark, linear, curve)


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    """Inverse of `srgb_encode` for encoded values >= 0."""
    encoded = np.maximum(encoded, 0.0)
    curve = ((np.maximum(encoded, SRGB_BLACK_ENCODED) + SRGB_OFFSET) / SRGB_SCALE) ** SRGB_POWER
    return np.where(encoded <= SRGB_BLACK_ENCODED, encoded / SRGB_SLOPE, curve)


def luminance(radiance: np.ndarray) -> np.ndarray:
    """Luminance (...) of linear Rec.709 colours (..., 3)."""
    return radiance @ _WEIGHTS


def surface_level(radiance: np.ndarray, where: np.ndarray | None = None) -> float:
    """The 95th percentile of the luminance of `radiance` (..., 3), linear, where `where` (...) says; else 0.

    An exposure of `TARGET` over this brings those pixels to the brightness that every clip of a dataset has.
    """
    values = luminance(radiance)
    chosen = values if where is None else values[where]
    return float(np.percentile(chosen, PERCENTILE)) if chosen.size else 0.0


def on_screen(radiance: np.ndarray) -> np.ndarray:
    """Exposed linear radiance as sRGB in [0, 1], float32; what is brighter than 1 is white."""
    return srgb_encode(np.clip(radiance, 0.0, 1.0)).astype(np.float32)


REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""CIE (x, y) of the red, green and blue primaries and of the white point (D65) of Rec.709 (ITU-R BT.709)."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_to_xyz(chromaticities: Sequence[float]) -> np.ndarray:
    """Matrix (3, 3) from RGB columns to CIE XYZ with Y = 1 for white, from eight numbers as in `REC709`.

    Raises ValueError where they span no colour space. Source: SMPTE RP 177; OpenEXR's `RGBtoXYZ`.
    """
    x, y = np.asarray(chromaticities, dtype=np.float64).reshape(4, 2).T
    corners = np.stack([x, y, 1.0 - x - y])
    primaries, white = corners[:, :3], corners[:, 3]
    if not np.isfinite(corners).all() or white[1] < 1e-3 or abs(np.linalg.det(primaries)) < 1e-4:
        raise ValueError("chromaticities that span no colours")
    return primaries * np.linalg.solve(primaries, white / white[1])


def to_rec709(chromaticities: Sequence[float], *, neutral: bool = False) -> np.ndarray:
    """Matrix (3, 3) from linear RGB columns with these eight chromaticities to linear Rec.709.

    A light keeps its chromaticity; with `neutral` equal parts stay equal parts: von Kries with Bradford's cone
    responses, from white to white (Lindbloom, "Chromatic adaptation"). Raises ValueError as `rgb_to_xyz`.
    """
    source, target = rgb_to_xyz(chromaticities), rgb_to_xyz(REC709)
    if neutral:
        gains = (_BRADFORD @ target.sum(axis=1)) / (_BRADFORD @ source.sum(axis=1))
        source = np.linalg.inv(_BRADFORD) @ (gains[:, None] * (_BRADFORD @ source))
    return np.linalg.inv(target) @ source
