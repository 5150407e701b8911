"""`open_footage`: the reader of an item of footage."""

from __future__ import annotations

from labeling.sources.base import Footage, Reader
from labeling.sources.frames import FrameReader
from labeling.sources.video import VideoReader


def open_footage(footage: Footage, *, size: int | None = None) -> Reader:
    """A reader whose frames have a larger side of at most `size` pixels; FootageError if nothing can be read.

    Close it, or use it as a context manager. Everything that is wrong with single frames lands in `Reader.problems`.
    """
    if footage.kind == "video":
        return VideoReader(footage, size)
    return FrameReader(footage, size)
