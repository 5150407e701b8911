"""How many samples Cycles really took. Adaptive sampling stops early, and no file says when.

The Debug Sample Count pass is relative to the samples of the pixel that took most; that number is only told in the
status line that Cycles updates while it renders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

_STATUS = re.compile(r"\bSample (\d+)/\d+")


@contextmanager
def counted() -> Iterator[list[int]]:
    """Yield a list that gets, for each frame rendered in the block, the samples of its most sampled pixel."""
    frames: list[int] = []
    most = 0

    def read_status(status: Any, *_: Any) -> None:
        nonlocal most
        if found := _STATUS.search(str(status)):
            most = max(most, int(found[1]))

    def end_frame(*_: Any) -> None:
        nonlocal most
        frames.append(most)
        most = 0

    handlers = bpy.app.handlers
    handlers.render_stats.append(read_status)
    handlers.render_write.append(end_frame)
    try:
        yield frames
    finally:
        handlers.render_stats.remove(read_status)
        handlers.render_write.remove(end_frame)
