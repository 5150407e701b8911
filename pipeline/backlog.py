"""What is done of a dataset and what is left to do, read off the disk; and in which order it is done.

Left to do is everything that is neither in a committed shard nor waiting in `work/`.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from manifests.contract.row import Sample
from manifests.files import remove
from manifests.object_path import entries
from manifests.store import layout
from manifests.store.dataset import Dataset
from manifests.store.row_file import without_packing
from manifests.store.shards import write_item
from pipeline.ledger import Ledger, read_ledger


@dataclass
class Backlog:
    """Items of a dataset by state; `packed` are shards that are committed, `failed` counts quarantined items there too.

    `missing` maps each shard that is not committed to its items that are still to be done.
    """

    packed: set[int] = field(default_factory=set)
    missing: dict[int, set[int]] = field(default_factory=dict)
    finished: int = 0
    failed: int = 0

    @property
    def left(self) -> list[int]:
        """Items to do, ascending."""
        return sorted(item for items in self.missing.values() for item in items)


def backlog_of(dataset: Dataset, ledger: Ledger | None = None) -> Backlog:
    """Read the state of every item off the disk; costs a listing of `work/`, and the ledger of committed shards."""
    shards = (ledger or read_ledger(dataset)).shards
    backlog = Backlog(packed=set(shards))
    waiting: set[int] = set()
    noted: set[int] = set()
    for path in (dataset.path / layout.WORK).iterdir():
        item = layout.item_number(path)
        if item is not None:
            (waiting if path.suffix == ".tar" else noted).add(item)
    for shard in range(dataset.header.shards):
        items = dataset.header.shard_items(shard)
        if shard in backlog.packed:
            failures = shards[shard].tally.failed
            backlog.failed += failures
            backlog.finished += len(items) - failures
            continue
        finished = {item for item in items if item in waiting}
        failed = {item for item in items if item in noted} - finished
        backlog.finished += len(finished)
        backlog.failed += len(failed)
        backlog.missing[shard] = set(items) - finished - failed
    return backlog


def requeue_failures(dataset: Dataset) -> int:
    """Make every quarantined item due again; returns how many. Call it only while holding the dataset's lock.

    A committed shard with failures is taken apart: its clips go back to `work/` as finished items, then its manifest
    is removed, so that a kill in between leaves it committed or taken apart, never half.
    """
    requeued = 0
    for shard in dataset.shards():
        failures = dataset.failures(shard)
        if not failures:
            continue
        rows = sorted(dataset.rows(shard), key=lambda row: (row.item, row.part))
        for item, group in itertools.groupby(rows, key=lambda row: row.item):
            samples = [Sample(row.key, dataset.files(row), without_packing(row)) for row in group]
            write_item(dataset.item_path(item), samples)
        remove(layout.shard_file(dataset.path, layout.MANIFEST, shard))
        requeued += len(failures)
    notes = [path for path in entries(dataset.path / layout.WORK) if path.name.endswith(".failure.json")]
    for path in notes:
        remove(path)
        requeued += 1
    return requeued


class Schedule:
    """Work items that are still to be done, in order, with their lost attempts; without Ray and without files.

    A worker has several items under way: one that it produces and those that it encodes. When it dies, any may be the
    culprit. Items that were lost together therefore run again one by one, each alone on its worker, so that only
    the item that really kills workers is quarantined and no other clip is lost.
    """

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
