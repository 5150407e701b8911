"""Maps of the size that networks see, laid over a film's own frames: edges from the picture, a strip at a time.

Upsampling is a guided filter (He and Sun, "Fast Guided Filter", 2015): near each pixel the map is a line over the
picture's luminance, found where the map is small and evaluated where the picture is large. Strips stay in the
processor's cache; no array of floats is as large as a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

LIFT = 0.04
"""Gains are on the encoded picture plus this, so that darkness stays calm."""

_RADIUS = 0.024
"""Of the filter's windows, as a share of the map's larger side."""
_EDGE = 2e-3
"""Squared contrast of luminance from which a map follows the picture's edges."""
_ROWS = 48
_ONE: Any = 1.0


@dataclass(frozen=True, eq=False)
class Background:
    """What is seen behind the surfaces: picture (H, W, 3) uint8 sRGB, and the surfaces' coverage (h, w, 1)."""

    picture: np.ndarray
    coverage: np.ndarray


def lay(frame: np.ndarray, gain: np.ndarray, background: Background | None = None) -> np.ndarray:
    """The frame (H, W, 3), uint8, times a gain (h, w, 3) on it plus `LIFT`, as uint8; background laid behind it."""
    height, width = frame.shape[:2]
    frame = np.ascontiguousarray(frame)  # a dataset's clip may lie in memory in another order
    maps = gain if background is None else np.concatenate([gain, background.coverage], axis=-1)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    slope, offset, *limits = (_wide(part, width) for part in guided(maps, grey))
    rows = _interpolation(maps.shape[0], height)
    made = np.empty(frame.shape, dtype=np.uint8)
    for top in range(0, height, _ROWS):
        part = slice(top, min(top + _ROWS, height))
        used = np.flatnonzero(rows[part].any(axis=0))
        near = slice(used[0], used[-1] + 1)
        light = np.clip(grey[part], *(rows[part, near] @ limit[0, near] for limit in limits))
        at = [rows[part, near] @ slope[c, near] * light + rows[part, near] @ offset[c, near] for c in range(len(slope))]
        planes = []
        for channel, plane in enumerate(cv2.split(frame[part])):
            lifted = plane + np.float32(255 * LIFT)
            lifted *= at[channel]
            if background is not None:
                behind = background.picture[part, :, channel] + np.float32(255 * LIFT)
                lifted -= behind
                lifted *= np.clip(1.1 * at[3] - 0.05, 0.0, 1.0)  # nothing of either shines through the other
                lifted += behind
            lifted -= 255 * LIFT
            planes.append(cv2.multiply(lifted, _ONE, dtype=cv2.CV_8U))  # rounds, and keeps within 0 and 255
        cv2.merge(planes, made[part])
    return made


def guided(maps: np.ndarray, grey: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slope and offset (h, w, C) of maps (h, w, C) over the luminance `grey` (H, W) uint8 of the large picture, and
    the least and the most luminance (h, w, 1) that they were found from: beyond, the line means nothing."""
    height, width, _ = maps.shape
    if grey.shape == (height, width):
        return np.zeros_like(maps), maps, *np.zeros((2, height, width, 1), dtype=np.float32)
    guide = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None]
    side = 2 * max(2, round(_RADIUS * max(height, width))) + 1
    mean, middle = _mean(maps, side), _mean(guide, side)
    slope = (_mean(maps * guide, side) - mean * middle) / (_mean(guide * guide, side) - middle**2 + _EDGE * 255**2)
    dark, bright = _extremes(guide, side)
    least, most = _extremes(maps, side)
    slope, offset = _mean(slope, side), _mean(mean - slope * middle, side)
    # At its ends the line may leave what the map has around: a highlight would get a colour of its own.
    low, high = (np.clip(slope * end + offset, least, most) for end in (dark, bright))
    slope = (high - low) / np.maximum(bright - dark, 1.0)
    return slope, low - slope * dark, dark, bright


def _extremes(values: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most of (h, w, C) around each pixel."""
    around = np.ones((side, side), dtype=np.uint8)
    low, high = (edge(values, around).reshape(values.shape) for edge in (cv2.erode, cv2.dilate))
    return low, high


def _mean(values: np.ndarray, side: int) -> np.ndarray:
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT).reshape(values.shape)


def _wide(maps: np.ndarray, width: int) -> np.ndarray:
    """(h, w, C) as (C, h, width)."""
    size = (width, maps.shape[0])
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in cv2.split(maps)])


def _interpolation(few: int, many: int) -> np.ndarray:
    """(many, few) weights of linear interpolation, pixels being areas."""
    at = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(few)), 0.0).astype(np.float32)
