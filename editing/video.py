"""Any video as a steady stream of frames, and an mp4 that keeps its rate and size and plays everywhere.

Reading is `labeling.sources`' (strangers' files, bounded, upright, square pixels). Frames that a file lacks are filled
with the one before, so that every frame has its place and its time, and the result is as long as the video.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation

from labeling.sources.discovery import discover
from labeling.sources.footage import Reader
from labeling.sources.frame_reader import open_footage
from manifests.errors import InputError
from manifests.files import atomic_path

_CLOCK = 90_000
"""Time stamps a second, the usual clock of video: holds any rate, and rates that vary."""
_BT709 = 1
_EXACT = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def open_video(path: Path) -> Reader:
    """A reader of the one video at `path`: a video file or a folder of frames. LightloomError if there is none."""
    found = discover(path).footage
    if len(found) != 1:
        raise InputError(
            f"holds {len(found)} videos, expected one", "give a video file or a folder of frames", where=path
        )
    return open_footage(found[0])


def steady(reader: Reader) -> Iterator[tuple[np.ndarray, float]]:
    """(rgb (H, W, 3) uint8, seconds) of each of `reader.frames` frames; a missing frame repeats its neighbour."""
    place, last, seconds = 0, None, 0.0
    for frame in reader:
        while place < min(frame.index, reader.frames):
            yield (frame.rgb if last is None else last), place / reader.fps
            place += 1
        if place >= reader.frames:
            return
        yield frame.rgb, frame.seconds
        place, last, seconds = frame.index + 1, frame.rgb, frame.seconds
    if last is None:
        raise InputError("no frame of the video can be decoded", where=reader.footage.name)
    for _ in range(place, reader.frames):
        seconds += 1 / reader.fps
        yield last, seconds


def make_folder(folder: Path) -> None:
    """Make a folder for what is to be written; InputError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no folder can be made here: {error.strerror or error}", where=folder) from None


class VideoWriter:
    """Writes an H.264 mp4 (8 bits, 4:2:0, BT.709, limited range). A context manager: the file is whole or absent.

    4:2:0 has even sides only: an odd side gets one more row or column, a copy of the last one.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float, *, crf: int = 16) -> None:
        if path.suffix.lower() != ".mp4":
            raise InputError("videos are written as .mp4", "give a name that ends so", where=path)
        make_folder(path.parent)
        self._path, self._size = path, size
        self._closing = ExitStack()
        temporary = self._closing.enter_context(atomic_path(path))
        self._padding = (size[0] % 2, size[1] % 2)
        self._stamp = -1
        try:
            self._container = av.open(str(temporary), "w", format="mp4", container_options={"movflags": "faststart"})
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"cannot be written: {error.strerror or error}", where=path) from None
        self._closing.callback(self._container.close)
        self._closing.push(self._flush)
        rate = min(max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001)), Fraction(1000))
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = size[0] + self._padding[0], size[1] + self._padding[1]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _CLOCK)
        context = stream.codec_context
        context.time_base = stream.time_base
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._stream, self._interval = stream, 1 / float(rate)

    def write(self, rgb: np.ndarray, seconds: float | None = None) -> None:
        """Append a frame (H, W, 3), uint8 or floats in [0, 1], shown at `seconds`; None is at the constant rate."""
        if rgb.dtype != np.uint8:
            rgb = (np.clip(rgb, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
        if rgb.shape != (*self._size, 3):
            raise InputError(f"a frame has shape {rgb.shape}, expected {(*self._size, 3)}", where=self._path)
        padded = np.pad(rgb, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24").reformat(
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=_BT709,
            interpolation=_EXACT,
        )
        frame.colorspace = frame.color_primaries = frame.color_trc = _BT709
        frame.color_range = ColorRange.MPEG
        due = (self._stamp + round(self._interval * _CLOCK)) if self._stamp >= 0 else 0
        self._stamp = due if seconds is None else max(round(seconds * _CLOCK), self._stamp + 1)
        frame.pts, frame.time_base = self._stamp, Fraction(1, _CLOCK)
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove what there is of it when the block failed."""
        self._closing.__exit__(kind, error, trace)

    def _flush(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
