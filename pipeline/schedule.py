"""Which item comes next, and who is to blame when a worker dies: pure bookkeeping, without Ray and without files.

A worker has up to two items under way: one that it produces and one that it encodes. When it dies, either may be the
culprit. Items that were lost together therefore run again one by one, each alone on its worker, so that only the item
that really kills workers is quarantined and no other clip is lost.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable


class Schedule:
    """Work items that are still to be done, in order, with their lost attempts."""

    def __init__(self, items: Iterable[int], attempts: int) -> None:
        self._fresh = deque(sorted(items))
        self._suspects: deque[int] = deque()
        self._lost: Counter[int] = Counter()
        self._attempts = attempts

    def __len__(self) -> int:
        return len(self._fresh) + len(self._suspects)

    @property
    def has_suspects(self) -> bool:
        """True while an item waits that must run alone."""
        return bool(self._suspects)

    def next_suspect(self) -> int:
        """Take the next item that must run alone on its worker."""
        return self._suspects.popleft()

    def next(self) -> int | None:
        """Take the next item that has not been tried; None when there is none."""
        return self._fresh.popleft() if self._fresh else None

    def attempt(self, item: int) -> int:
        """Which attempt the item's next run is, from 1."""
        return self._lost[item] + 1

    def put_back(self, items: Iterable[int]) -> None:
        """Return items that were handed out but never begun."""
        self._fresh.extendleft(sorted(items, reverse=True))

    def lost(self, items: Collection[int], last_try: bool = False) -> list[int]:
        """Count an attempt of items that were under way together when they were lost.

        Returns those that are given up: an item that was lost alone, if its attempts are used up or `last_try` says
        that trying again is of no use. The others will run again, alone.
        """
        given_up = []
        for item in sorted(items):
            self._lost[item] += 1
            if len(items) == 1 and (last_try or self._lost[item] >= self._attempts):
                given_up.append(item)
            else:
                self._suspects.append(item)
        return given_up
