"""What is left to do in a dataset: everything that is neither in a committed shard nor waiting in `work/`."""

from __future__ import annotations

import itertools
import queue
import threading
from dataclasses import dataclass, field

from manifests.contract.row import Sample
from manifests.files import remove, sync_folder
from manifests.store import layout
from manifests.store.dataset import Dataset
from manifests.store.row_file import without_packing
from manifests.store.shards import read_failure, write_item, write_shard


@dataclass
class Progress:
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


def progress_of(dataset: Dataset) -> Progress:
    """Read the state of every item off the disk; costs one listing of `work/` and the list of committed shards."""
    state = Progress(packed=set(dataset.shards()))
    waiting: set[int] = set()
    noted: set[int] = set()
    for path in (dataset.path / layout.WORK).iterdir():
        item = layout.item_number(path)
        if item is not None:
            (waiting if path.suffix == ".tar" else noted).add(item)
    for shard in range(dataset.header.shards):
        items = dataset.header.shard_items(shard)
        if shard in state.packed:
            failures = len(dataset.failures(shard))
            state.failed += failures
            state.finished += len(items) - failures
            continue
        finished = waiting.intersection(items)
        failed = noted.intersection(items) - finished
        state.finished += len(finished)
        state.failed += len(failed)
        state.missing[shard] = set(items) - finished - failed
    return state


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
    """Packs the shards it is given, one after the other; the first error stops it and is raised by `check`."""

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
