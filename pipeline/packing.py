"""Packs complete shards on a thread of the driver, so that scheduling never waits for a large file to be written."""

from __future__ import annotations

import queue
import threading

from manifests.atomic import sync_folder
from manifests.dataset import Dataset
from manifests.shards import read_failure, write_shard


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
