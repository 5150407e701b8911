"""Corners followed from frame to frame (Lucas and Kanade 1981, as OpenCV has it), and some frames' straight edges.

Cameras are solved from these alone: a film is looked at once, two frames at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

SIDE = 960
"""Larger side, in pixels, at which frames are looked at."""
_SMALL = 480
"""Larger side up to which pictures are enlarged twice: corners are followed to smaller parts of a pixel there."""
_SHADING = 48.0
_CONTRAST = 64.0
"""Of 255. What is wider than this part of the larger side is taken off, and strong contrasts are pressed together:
highlights and soft reflections go along with the camera, while texture stays on its surface."""
_MOST = 700
"""Corners that are followed at a time."""
_CELLS = 8
"""Parts of the larger side: every cell of the picture has the same say, however many corners it has."""
_RETURNS = 0.3
"""A corner that is followed there and back ends this near to where it began, in pixels, or is dropped."""
_UNSET: Any = None
_EDGES_EVERY = 8
"""Frames from one whose straight edges are looked for to the next."""


@dataclass(frozen=True, eq=False)
class FeatureTracks:
    """Where N corners are in T frames.

    Attributes:
        places: (T, N, 2) float32 pixels of pictures of `size`, pixel centres at half-integers; NaN where unseen.
        size: (H, W), at most `SIDE`.
        edges: straight edges (n, 4), two ends (x, y, x, y) each, of some of the frames, by number.
    """

    places: np.ndarray
    size: tuple[int, int]
    edges: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def seen(self) -> np.ndarray:
        """Whether a corner is seen, (T, N)."""
        return np.isfinite(self.places[..., 0])

    def some(self, chosen: np.ndarray) -> FeatureTracks:
        """The chosen corners, by number or by a mask (N,)."""
        return FeatureTracks(self.places[:, chosen], self.size, self.edges)

    def spread(self, most: int) -> np.ndarray:
        """Numbers of at most so many corners, ascending: those of each part of the picture that most frames show."""
        cell, shown = self._cells(), self.seen.sum(axis=0)
        order = np.lexsort((-shown, cell))
        first = np.searchsorted(cell[order], cell[order])
        rank = np.empty(len(order), int)
        rank[order] = np.arange(len(order)) - first
        return np.sort(np.lexsort((-shown, rank))[:most])

    def weights(self) -> np.ndarray:
        """(N,) summing to 1: corners of the same part of the picture share one vote, or texture would outvote walls."""
        cell = self._cells()
        weights = 1.0 / np.bincount(cell, minlength=_CELLS**2)[cell]
        return weights / weights.sum()

    def _cells(self) -> np.ndarray:
        """Number (N,) of the part of the picture in which a corner is on average."""
        cell = (np.nanmean(self.places, axis=0) * _CELLS / max(self.size)).astype(int)
        return np.clip(cell[:, 1] * _CELLS + cell[:, 0], 0, _CELLS**2 - 1)


def track_features(frames: Iterable[np.ndarray]) -> FeatureTracks:
    """Follow corners through frames (H, W, 3) uint8 of one size; frames are looked at once, two at a time."""
    before: np.ndarray | None = None
    places, numbers = np.zeros((0, 2), np.float32), np.zeros(0, int)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    edges: dict[int, np.ndarray] = {}
    count, size, enlarged = 0, (0, 0), 1.0
    for frame, rgb in enumerate(frames):
        gray = _small_gray(rgb)
        if frame % _EDGES_EVERY == 0:
            edges[frame] = _straight_edges(gray)
        size = gray.shape[0], gray.shape[1]
        now = _texture(gray)
        enlarged = now.shape[1] / gray.shape[1]
        if before is not None and len(places):
            ended, kept = _followed(before, now, places)
            places, numbers = ended[kept], numbers[kept]
        fresh = _corners(now, places)
        numbers = np.concatenate([numbers, np.arange(count, count + len(fresh))])
        places, count = np.concatenate([places, fresh]), count + len(fresh)
        found.append((numbers, places))
        before = now
    whole = np.full((len(found), count, 2), np.nan, np.float32)
    for frame, (which, where) in enumerate(found):
        whole[frame, which] = (where + 0.5) / enlarged  # OpenCV has pixel centres at integers
    return FeatureTracks(whole[:, np.isfinite(whole[..., 0]).sum(axis=0) >= 2], size, edges)


def _straight_edges(gray: np.ndarray) -> np.ndarray:
    found = cv2.createLineSegmentDetector().detect(gray)[0]
    edges = np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64) + 0.5
    return edges[np.hypot(edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1]) > max(gray.shape) / 25]


def _small_gray(rgb: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    scale = SIDE / max(gray.shape)
    if scale < 1:
        size = round(gray.shape[1] * scale), round(gray.shape[0] * scale)
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return gray


def _texture(gray: np.ndarray) -> np.ndarray:
    """The picture in which corners are looked for and followed."""
    if max(gray.shape) <= _SMALL:
        gray = cv2.resize(gray, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    fine = gray.astype(np.float32)
    fine -= cv2.GaussianBlur(fine, (0, 0), max(gray.shape) / _SHADING)
    return np.asarray(127.5 + 127 * np.tanh(fine / _CONTRAST) + 0.5).astype(np.uint8)


def _followed(before: np.ndarray, now: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where corners (N, 2) went, and which of them (N,) can be believed."""
    window = 9 if max(now.shape) <= 320 else 17
    how: Any = {
        "winSize": (window, window),
        "maxLevel": 4,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 0.003),
        "minEigThreshold": 1e-4,
    }
    there, forth, _ = cv2.calcOpticalFlowPyrLK(before, now, places, _UNSET, **how)
    back, came, _ = cv2.calcOpticalFlowPyrLK(now, before, there, _UNSET, **how)
    near = np.linalg.norm(back - places, axis=-1) < _RETURNS
    margin = window // 2
    inside = ((there > margin) & (there < np.array(now.shape[::-1]) - 1 - margin)).all(axis=-1)
    return there, (forth[:, 0] > 0) & (came[:, 0] > 0) & near & inside


def _corners(gray: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """New corners (n, 2) away from those that are followed already."""
    room = _MOST - len(taken)
    if room <= 0:
        return np.zeros((0, 2), np.float32)
    distance = max(4, round(max(gray.shape) / 60))
    free = np.full(gray.shape, 255, np.uint8)
    for x, y in taken.round().astype(int):
        cv2.circle(free, (int(x), int(y)), distance, 0, -1)
    edge = 8
    free[:edge] = free[-edge:] = 0
    free[:, :edge] = free[:, -edge:] = 0
    made = cv2.goodFeaturesToTrack(gray, room, 0.002, distance, mask=free, blockSize=5)
    return np.zeros((0, 2), np.float32) if made is None else made.reshape(-1, 2)
