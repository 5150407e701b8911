"""What is left to do in a dataset: everything that is neither in a committed shard nor waiting in `work/`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from manifests import layout
from manifests.atomic import remove
from manifests.dataset import Dataset
from manifests.row import Sample
from manifests.samples import without_packing
from manifests.shards import write_item


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
        rows = sorted(dataset.rows(shard), key=lambda row: (row.scene, row.light))
        for scene, group in itertools.groupby(rows, key=lambda row: row.scene):
            samples = [Sample(row.key, dataset.files(row), without_packing(row)) for row in group]
            write_item(dataset.item_path(scene), samples)
        remove(layout.shard_file(dataset.path, layout.MANIFEST, shard))
        requeued += len(failures)
    for path in list((dataset.path / layout.WORK).glob("*.failure.json")):
        remove(path)
        requeued += 1
    return requeued
