"""Segments: the stretches of footage that become clips, chosen in one pass while the frames stream by.

A segment holds `length` consecutive frames of one shot. A cut, or a gap in the footage, ends every segment that is
open; the next one starts right behind it, and the stride counts from there. Frames are never repeated or interpolated:
where the frame rate varies, the frames are those of the file, and the segment says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from labeling.cameras.camera_solving import CameraSolution
from labeling.label_settings import SegmentOptions
from labeling.sources.footage import Frame, Reader
from manifests.contract.camera import Camera

DropReason = Literal["cut", "gap", "still", "black", "short"]

_SIDE = 256
"""Larger side of the thumbnails that are looked at, as PySceneDetect itself chooses."""
_STILL_SIDE = 64
"""Larger side of the pictures that are compared to tell whether anything moves."""
_STEP = 4
"""Such a pixel has changed when it differs by more than this (of 255) from the segment's first frame."""
_PAUSE = 4.0
"""A pause this many times the usual one between two frames counts as a gap."""
_IRREGULAR = 0.25
"""Intervals that differ by more than this share from the usual one make the frame rate a variable one."""
_LIKELY, _CERTAIN = 27.0, 60.0
"""Mean changes of hue, saturation and value (0 to 255) that are a cut near another cut, and anywhere."""
_WINDOW = 2
"""Neighbours on each side with which the adaptive detector compares."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of footage to be labelled.

    index: number among the item's segments, counted without those that were dropped. start: index of its first frame.
    frames: (T, H, W, 3) uint8 sRGB. timestamps: (T,) seconds from the start of the footage. fps: from the median
    interval. camera: where every frame has a pose. solution: what was solved where it has none. motion, brightness:
    what was measured against the options. flags: the reader's, and "variable-frame-rate" where the intervals within the
    segment differ.
    """

    index: int
    start: int
    timestamps: np.ndarray
    frames: np.ndarray
    fps: float
    camera: Camera | None
    motion: float
    brightness: float
    flags: tuple[str, ...] = ()
    solution: CameraSolution | None = None


@dataclass(frozen=True)
class Dropped:
    """A segment that was not made: where it would have started, and why."""

    start: int
    reason: DropReason
    message: str


def plan(reader: Reader, options: SegmentOptions) -> Iterator[Segment | Dropped]:
    """The segments of an item in order of their start, and those dropped, each as soon as it is known.

    Frames are held only while a segment that needs them is open, once however many segments overlap; the frames of
    a segment that was yielded are its own.
    """
    spacing = options.spacing(reader.frames)
    left = options.count if options.count is not None else reader.frames
    filling: deque[_Open] = deque()
    origin, started, made, lost = 0, 0, 0, 0
    for frame, small, breaks in _marked(reader, options.cuts):
        if breaks:
            for segment in filling:
                yield _broken(segment, breaks, options.length)
            left, lost = left + len(filling), lost + len(filling)
            filling.clear()
            origin, started = frame.index, 0
        due = frame.index >= origin + round(started * spacing) and frame.index + options.length <= reader.frames
        if left and due:
            filling.append(_Open(frame.index))
            left, started = left - 1, started + 1
        for segment in filling:
            segment.frames.append(frame)
            segment.small.append(small)
        if filling and len(filling[0].frames) == options.length:
            segment = filling.popleft()
            measured = _close(segment, reader, options, made)
            made, lost = (made + 1, lost) if isinstance(measured, Segment) else (made, lost + 1)
            del segment
            yield measured
        if not left and not filling:
            return
    for segment in filling:
        held = len(segment.frames)
        yield Dropped(segment.start, "short", f"the footage ends after {held} of {options.length} frames")
    if not made and not lost and not filling:
        yield Dropped(0, "short", f"the footage has {reader.frames} frames, a segment {options.length}")


@dataclass(eq=False)
class _Open:
    """A segment that still fills, with the thumbnails of its frames."""

    start: int
    frames: list[Frame] = field(default_factory=list)
    small: list[np.ndarray] = field(default_factory=list)


class _Marked(NamedTuple):
    """A frame, its thumbnail, and what separates it from the frame before, if anything does."""

    frame: Frame
    small: np.ndarray
    breaks: Literal["cut", "gap"] | None


def _marked(reader: Reader, cuts: bool) -> Iterator[_Marked]:
    """Every frame with what stands before it, a few frames late: a cut is certain only once its neighbours are seen."""
    detector = CutDetector() if cuts else None
    pause = _PAUSE / reader.fps
    waiting: deque[_Marked] = deque()
    passed = 0
    last: Frame | None = None
    for frame in reader:
        gap = last is not None and (frame.index != last.index + 1 or frame.seconds - last.seconds > pause)
        small = thumbnail(frame.rgb)
        waiting.append(_Marked(frame, small, "gap" if gap else None))
        last = frame
        if detector:
            detector.push(small)
        while waiting and passed < (detector.settled if detector else passed + 1):
            yield _with_cut(waiting.popleft(), passed, detector)
            passed += 1
    if detector:
        detector.finish()
    while waiting:
        yield _with_cut(waiting.popleft(), passed, detector)
        passed += 1


def _with_cut(marked: _Marked, position: int, detector: CutDetector | None) -> _Marked:
    if detector and marked.breaks is None and detector.begins_shot(position):
        return marked._replace(breaks="cut")
    return marked


def _broken(segment: _Open, breaks: Literal["cut", "gap"], length: int) -> Dropped:
    what = "a hard cut" if breaks == "cut" else "a gap in the footage"
    return Dropped(segment.start, breaks, f"{what} after {len(segment.frames)} of {length} frames")


def _close(segment: _Open, reader: Reader, options: SegmentOptions, number: int) -> Segment | Dropped:
    """The finished segment, unless it shows next to nothing or next to no change."""
    brightness = min(_brightness(small) for small in segment.small)
    if brightness < options.min_brightness:
        message = f"95 % of a frame is darker than {brightness:.3f}, the least is {options.min_brightness:g}"
        return Dropped(segment.start, "black", message)
    motion = _motion(segment.small)
    if motion < options.min_motion:
        message = f"{motion:.2%} of the picture changes, the least is {options.min_motion:.2%}"
        return Dropped(segment.start, "still", message)
    timestamps = np.array([frame.seconds for frame in segment.frames])
    flags = set(reader.flags) - {"variable-frame-rate"}
    fps = reader.fps
    if len(timestamps) > 1:
        intervals = np.diff(timestamps)
        fps = 1.0 / float(np.median(intervals))
        if np.abs(intervals * fps - 1).max() > _IRREGULAR:
            flags.add("variable-frame-rate")
    return Segment(
        index=number,
        start=segment.start,
        timestamps=timestamps,
        frames=np.stack([frame.rgb for frame in segment.frames]),
        fps=fps,
        camera=reader.camera.window([frame.index for frame in segment.frames]) if reader.camera else None,
        motion=motion,
        brightness=brightness,
        flags=tuple(sorted(flags)),
    )


def _brightness(small: np.ndarray) -> float:
    """sRGB luma in [0, 1] that 5 % of a picture (H, W, 3) exceed."""
    return float(np.percentile(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), 95)) / 255


def _motion(pictures: list[np.ndarray]) -> float:
    """Share of the picture that departs from the first one at any time; averaging to few pixels removes the noise."""
    height, width = pictures[0].shape[:2]
    scale = min(1.0, _STILL_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    first, *others = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures)
    changed = np.zeros(first.shape[:2], dtype=bool)
    for other in others:
        changed |= cv2.absdiff(first, other).max(axis=2) > _STEP
    return float(changed.mean())


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) uint8 averaged down to at most 256 pixels on a side; small frames come back as they are."""
    height, width = rgb.shape[:2]
    scale = _SIDE / max(height, width)
    if scale >= 1:
        return rgb
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


class CutDetector:
    """Finds hard cuts, the frames that begin a new shot. Push every frame in order, then `finish`.

    A clip that straddles a cut teaches a video model to jump. PySceneDetect's detectors look at every frame. The
    adaptive one compares a frame's change with that of its neighbours, so it tells a cut from a fast pan; next to
    another cut it is blind, and there the plain threshold on the same change counts, as it does anywhere at a height
    that no camera motion reaches. A shot may last a single frame. Dissolves are not hard cuts and are not looked for.

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
        """The next frame, (H, W, 3) uint8 RGB, best a `thumbnail`, for speed."""
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
