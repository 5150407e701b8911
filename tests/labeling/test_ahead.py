"""Decoding ahead keeps order and bounds, hands errors on, and lets go when nobody reads any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from labeling.label_stage import SegmentPrefetch


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(1)
    yield executor
    executor.shutdown()


def test_pieces_come_in_order_and_never_more_than_wanted_ahead(thread: ThreadPoolExecutor) -> None:
    made: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            yield number

    seen = []
    for piece in SegmentPrefetch(thread, pieces, depth=1):
        seen.append(piece)
        assert len(made) <= len(seen) + 2  # one waits in the queue, one in the decoder's hand
    assert seen == list(range(6))


def test_an_error_comes_after_the_pieces_before_it(thread: ThreadPoolExecutor) -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise ValueError("the file ends here")

    reading = iter(SegmentPrefetch(thread, pieces))
    assert next(reading) == 1
    with pytest.raises(ValueError, match="the file ends here"):
        next(reading)


def test_a_reader_that_leaves_frees_the_thread_for_the_next(thread: ThreadPoolExecutor) -> None:
    endless = SegmentPrefetch(thread, lambda: iter(int, 1), depth=1)
    assert next(iter(endless)) == 0
    endless.close()
    assert list(SegmentPrefetch(thread, lambda: iter([7]))) == [7]


def test_what_was_never_begun_can_be_closed(thread: ThreadPoolExecutor) -> None:
    held = threading.Event()
    first = thread.submit(held.wait, 30)
    begun = []
    waiting = SegmentPrefetch(thread, lambda: iter([begun.append(1)]))
    waiting.close()
    held.set()
    assert first.result() and not begun
