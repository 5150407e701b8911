"""What is done of a dataset and what is left to do, read off the disk; and the packing of what is done.

Left to do is everything that is neither in a committed shard nor waiting in `work/`.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from manifests.contract.row import Sample
from manifests.files import is_locked, remove, sync_folder
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset
from manifests.store.row_file import without_packing
from manifests.store.shards import read_failure, write_item, write_shard
from pipeline.progress import by_reason


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


def backlog_of(dataset: Dataset) -> Backlog:
    """Read the state of every item off the disk; costs one listing of `work/` and the list of committed shards."""
    backlog = Backlog(packed=set(dataset.shards()))
    waiting: set[int] = set()
    noted: set[int] = set()
    for path in (dataset.path / layout.WORK).iterdir():
        item = layout.item_number(path)
        if item is not None:
            (waiting if path.suffix == ".tar" else noted).add(item)
    for shard in range(dataset.header.shards):
        items = dataset.header.shard_items(shard)
        if shard in backlog.packed:
            failures = len(dataset.failures(shard))
            backlog.failed += failures
            backlog.finished += len(items) - failures
            continue
        finished = waiting.intersection(items)
        failed = noted.intersection(items) - finished
        backlog.finished += len(finished)
        backlog.failed += len(failed)
        backlog.missing[shard] = set(items) - finished - failed
    return backlog


@dataclass(frozen=True)
class Status:
    """`finished` and `failures` count work items, those in `work/` included; `clips` and `bytes` committed shards."""

    dataset: Path
    items: int
    finished: int
    failures: Counter[str]
    shards: int
    shards_total: int
    clips: int
    bytes: int
    running: bool

    def lines(self) -> list[str]:
        """For people."""
        left = self.items - self.finished - self.failures.total()
        failed = by_reason(self.failures) or "none failed"
        state = "a run is going on" if self.running else "complete" if not left else "no run is going on"
        return [
            f"{self.dataset}: {state}",
            f"items    {self.finished} of {self.items} finished, {failed}, {left} to do",
            f"shards   {self.shards} of {self.shards_total} committed: {self.clips} clips, {self.bytes / 1e6:.1f} MB",
        ]


def status(path: Path) -> Status:
    """Read the status of the dataset at `path`, also while a run is going on, on any machine that sees the folder.

    Raises DatasetError when there is none.
    """
    dataset = open_dataset(path)
    backlog = backlog_of(dataset)
    committed = dataset.shards()
    failures = Counter(failure.reason for failure in dataset.failures())
    for note in (dataset.path / layout.WORK).glob("*.failure.json"):
        item = layout.item_number(note)
        if item is not None and dataset.shard_of(item) not in backlog.packed:
            failures[read_failure(note).reason] += 1
    rows = dataset.rows()
    return Status(
        dataset=dataset.path,
        items=dataset.header.items,
        finished=backlog.finished,
        failures=failures,
        shards=len(committed),
        shards_total=dataset.header.shards,
        clips=len(rows),
        bytes=sum(row.size for row in rows),
        running=is_locked(dataset.path / layout.LOCK),
    )


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
    for path in list((dataset.path / layout.WORK).glob("*.failure.json")):
        remove(path)
        requeued += 1
    return requeued


class Packer:
    """Packs the shards it is given, one after the other; the first error stops it and is raised by `check`.

    It works on a thread of the driver, so that scheduling never waits for a large file to be written.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self.packed = 0
        self.clips = 0
        self._thread = threading.Thread(target=self._run, name="packing", daemon=True)
        self._thread.start()

    def add(self, shard: int) -> None:
        """Pack `shard`, whose items must all be finished or quarantined."""
        self._queue.put(shard)

    def check(self) -> None:
        """Raise what went wrong, if anything did (DiskFull, DatasetError)."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Pack what was added, then end. Does not raise; call `check` afterwards."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (shard := self._queue.get()) is not None:
            try:
                self.clips += pack(self._dataset, shard)
                self.packed += 1
            except BaseException as error:
                self._error = error
                return


def pack(dataset: Dataset, shard: int) -> int:
    """Commit a shard from its finished and quarantined items in `work/`, then remove those; returns its clips."""
    items = dataset.header.shard_items(shard)
    finished = [item for item in items if dataset.item_path(item).exists()]
    failures = [read_failure(dataset.failure_path(item)) for item in items if item not in finished]
    rows = write_shard(dataset.path, shard, [dataset.item_path(item) for item in finished], failures)
    for item in items:
        dataset.item_path(item).unlink(missing_ok=True)
        dataset.failure_path(item).unlink(missing_ok=True)
    sync_folder(dataset.item_path(items.start).parent)
    return len(rows)
