"""Footage is decoded ahead of the network, on a thread, a bounded number of segments at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import NamedTuple

_POLL_S = 0.1


class _End(NamedTuple):
    """What stands behind the last piece: how the iteration ended."""

    error: BaseException | None


class Ahead[T]:
    """Iterates over `make()` on `executor`, at most `depth` pieces ahead of whoever iterates over this.

    With an executor of one thread, what is made next starts when this one has nothing left to decode. An error
    reaches the reader in its place. `close` ends the iteration early, as do `for` loops that leave their context.
    """

    def __init__(self, executor: Executor, make: Callable[[], Iterable[T]], depth: int = 1) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._future = executor.submit(self._run, make)

    def __iter__(self) -> Iterator[T]:
        while True:
            piece = self._queue.get()
            if isinstance(piece, _End):
                if piece.error is not None:
                    raise piece.error
                return
            yield piece

    def close(self) -> None:
        """Stop decoding; returns at once."""
        self._closed.set()
        self._future.cancel()

    def _run(self, make: Callable[[], Iterable[T]]) -> None:
        error: BaseException | None = None
        try:
            for piece in make():
                if not self._put(piece):
                    return
        except BaseException as caught:
            error = caught
        self._put(_End(error))

    def _put(self, piece: T | _End) -> bool:
        """Wait for room; False when nobody wants the piece any more."""
        while not self._closed.is_set():
            try:
                self._queue.put(piece, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False
