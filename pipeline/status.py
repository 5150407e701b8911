"""How far a dataset is, read off the disk; works while a run is going on, on any machine that sees the folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from manifests.files import is_locked
from manifests.store import layout
from manifests.store.dataset import open_dataset
from manifests.store.shards import read_failure
from pipeline.backlog import progress_of
from pipeline.progress import by_reason


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
    """Read the status of the dataset at `path`; DatasetError when there is none."""
    dataset = open_dataset(path)
    state = progress_of(dataset)
    committed = dataset.shards()
    failures = Counter(failure.reason for failure in dataset.failures())
    for note in (dataset.path / layout.WORK).glob("*.failure.json"):
        item = layout.item_number(note)
        if item is not None and dataset.shard_of(item) not in state.packed:
            failures[read_failure(note).reason] += 1
    rows = dataset.rows()
    return Status(
        dataset=dataset.path,
        items=dataset.header.items,
        finished=state.finished,
        failures=failures,
        shards=len(committed),
        shards_total=dataset.header.shards,
        clips=len(rows),
        bytes=sum(row.size for row in rows),
        running=is_locked(dataset.path / layout.LOCK),
    )
