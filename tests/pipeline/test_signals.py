"""Ctrl-C is a request first, and obeyed when it is repeated."""

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.signals import StopSignals


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Heard, also where the tests were started in the background, with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_signals_are_counted_until_patience_ends() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals(patience=2) as stop:
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.count == count
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.count == 2


def test_without_limit_each_signal_is_forwarded() -> None:
    before = signal.getsignal(signal.SIGHUP)
    heard = []
    with StopSignals(patience=None, hangup=True, forward=lambda: heard.append(1)) as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(os.getpid(), number)
    assert stop.count == len(heard) == 4
    assert signal.getsignal(signal.SIGHUP) is before
