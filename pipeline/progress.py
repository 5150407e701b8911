"""The progress bar of a run, drawn by the driver, and the line that sums the run up."""

from __future__ import annotations

import io
import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
_TERMINAL_S = 0.5
_FILE_S, _FILE_COLUMNS = 30.0, 120  # a log file wants few lines
_PACED = 3


def drawn_on_stderr() -> dict[str, Any]:
    """Options for tqdm: a bar on a terminal, now and then a line in a log file; at updates by nothing, too."""
    if sys.stderr.isatty():
        return {"miniters": 0, "mininterval": _TERMINAL_S, "dynamic_ncols": True}
    return {"miniters": 0, "mininterval": _FILE_S, "file": _Lines(), "ncols": _FILE_COLUMNS}


class _Lines(io.TextIOBase):
    """Standard error for a bar that cannot be drawn over."""

    def write(self, text: str) -> int:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        sys.stderr.flush()


class ProgressBar:
    """Counts items that are finished or quarantined; shows clips per minute, time left, failures and workers."""

    def __init__(self, name: str, total: int, done: int, show: bool) -> None:
        self._began = time.monotonic()
        self.clips = 0
        self.failures: Counter[str] = Counter()
        self._items, self._first = 0, 0.0
        self._figured = -_TERMINAL_S
        self._bar = tqdm(
            total=total, initial=done, desc=name, disable=not show, bar_format=_FORMAT, **drawn_on_stderr()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._describe()
        self._bar.close()

    @property
    def seconds(self) -> float:
        """Since the bar was made."""
        return time.monotonic() - self._began

    @property
    def clips_per_minute(self) -> float:
        """Of this run alone."""
        return 60 * self.clips / max(self.seconds, 1e-6)

    def finished(self, clips: int) -> None:
        """One more item is finished, with so many clips."""
        self.clips += clips
        self._settled()

    def failed(self, reason: str) -> None:
        """One more item is quarantined."""
        self.failures[reason] += 1
        self._settled()

    def _settled(self) -> None:
        self._items += 1
        self._first = self._first or time.monotonic()
        self._bar.update()

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        tqdm.write(line, file=sys.stderr)

    def show(self, workers: int) -> None:
        """Refresh the figures behind the bar, now and then."""
        if time.monotonic() - self._figured < _TERMINAL_S:
            return
        first, self._figured = self._figured < 0, time.monotonic()
        self._describe(f", {workers} worker{'s' if workers != 1 else ''}", first)
        self._bar.update(0)

    def _describe(self, more: str = "", at_once: bool = False) -> None:
        rate = f"{self.clips_per_minute:.1f} clips/min" if self.clips else "nothing finished yet"
        told = f"{self._left()}{rate}, {by_reason(self.failures) or 'no failures'}{more}"
        self._bar.set_postfix_str(told, refresh=at_once)

    def _left(self) -> str:
        """When it ends, at the pace since the first item was finished: workers take their time to start."""
        if self._items < _PACED or not self._bar.total:
            return ""
        each = (time.monotonic() - self._first) / (self._items - 1)
        return f"{duration(each * (self._bar.total - self._bar.n))} left, "


def by_reason(failures: Counter[str]) -> str:
    """Failures in words: "3 failed (timeout 2, crash 1)"; empty when there are none."""
    if not failures:
        return ""
    parts = ", ".join(f"{reason} {count}" for reason, count in failures.most_common())
    return f"{failures.total()} failed ({parts})"


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
