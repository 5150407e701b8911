"""Hard cuts, found while frames stream by: a clip that straddles one teaches a video model to jump.

PySceneDetect's detectors look at every frame. The adaptive one compares a frame's change with that of its neighbours,
so it tells a cut from a fast pan; next to another cut it is blind, and there the plain threshold on the same change
counts, as it does anywhere at a height that no camera motion reaches. A shot may last a single frame. Dissolves are not
hard cuts and are not looked for.
"""

from __future__ import annotations

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

SIDE = 256
"""Larger side of the pictures that are looked at, as PySceneDetect itself chooses."""

_LIKELY, _CERTAIN = 27.0, 60.0
"""Mean changes of hue, saturation and value (0 to 255) that are a cut near another cut, and anywhere."""
_WINDOW = 2
"""Neighbours on each side with which the adaptive detector compares."""


class CutDetector:
    """Finds the frames that begin a new shot. Push every frame in order, then `finish`.

    `cuts` holds the first frame of every new shot found so far, ascending, counted by pushes; `settled` is the number
    of leading frames of which it is certain.
    """

    def __init__(self) -> None:
        self._adaptive = AdaptiveDetector(min_scene_len=0, window_width=_WINDOW)
        self._certain = ContentDetector(threshold=_CERTAIN, min_scene_len=0)
        self._likely = ContentDetector(threshold=_LIKELY, min_scene_len=0)
        self._cuts: set[int] = set()
        self._candidates: list[int] = []
        self._sure: set[int] = set()
        self._fed = 0
        self._pushed = 0
        self._finished = False
        self._last: np.ndarray | None = None

    @property
    def cuts(self) -> list[int]:
        """First frames of new shots, ascending."""
        return sorted(self._cuts)

    def begins_shot(self, frame: int) -> bool:
        """Whether a cut before this settled frame was found."""
        return frame in self._cuts

    @property
    def settled(self) -> int:
        """For how many of the frames pushed all cuts are known."""
        return self._pushed if self._finished else max(0, self._pushed - 2 * _WINDOW)

    def push(self, picture: np.ndarray) -> None:
        """The next frame, (H, W, 3) uint8 RGB, at most `SIDE` wide and high for speed (see `thumbnail`)."""
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        if self._last is None:  # the adaptive detector needs neighbours; copies do not change
            for _ in range(_WINDOW + 1):
                self._feed(bgr)
        self._feed(bgr)
        self._last = bgr
        self._pushed += 1

    def finish(self) -> None:
        """No more frames: settles the last ones."""
        if self._last is not None and not self._finished:
            for _ in range(_WINDOW):
                self._feed(self._last)
        self._finished = True

    def _feed(self, bgr: np.ndarray) -> None:
        time = FrameTimecode(self._fed, fps=25.0)  # the detectors only ever subtract times
        shift = _WINDOW + 1
        self._candidates += [found.frame_num - shift for found in self._likely.process_frame(time, bgr)]
        self._candidates = self._candidates[-2 * _WINDOW - 1 :]
        sure = [*self._adaptive.process_frame(time, bgr), *self._certain.process_frame(time, bgr)]
        frames = {found.frame_num - shift for found in sure}
        recent = {cut for cut in self._sure if cut > self._fed - shift - 3 * _WINDOW} | frames
        near = {frame for frame in self._candidates if any(abs(frame - cut) <= _WINDOW for cut in recent)}
        self._sure = recent
        self._cuts |= {frame for frame in frames | near if frame > 0}
        self._fed += 1


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) uint8 averaged down to at most `SIDE` a side; small frames come back as they are."""
    height, width = rgb.shape[:2]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return rgb
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
