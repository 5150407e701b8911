"""Ctrl-C and SIGTERM as a request that a loop looks at between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While open, SIGINT and SIGTERM are counted in `count` instead of obeyed; a context manager.

    Outside the main thread, where Python allows no handlers, it never counts anything.

    Args:
        patience: this many signals are counted, and the next one is handled as before; None counts them all.
        hangup: count SIGHUP as well, the end of the terminal.
        forward: called at each signal that is counted.
    """

    def __init__(
        self, patience: int | None = 2, *, hangup: bool = False, forward: Callable[[], None] | None = None
    ) -> None:
        self.count = 0
        self._patience, self._forward = patience, forward
        self._signals = (*_SIGNALS, signal.SIGHUP) if hangup else _SIGNALS
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self._signals}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == self._patience:
            self._restore()
        if self._forward is not None:
            self._forward()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
