"""The ledger of a dataset: what its committed shards hold, added up, and how fast the last run was.

`ledger.json` lets a question about 150,000 clips be answered without reading their manifests. It is only a copy: a
shard whose manifest is not the very file that was counted (by size and time of writing) is counted again.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from manifests.contract.row import ClipRow, FailureRow
from manifests.display import human_size
from manifests.errors import DatasetError, LightloomError
from manifests.files import write_bytes
from manifests.object_path import ObjectPath, ObjectStat, Place
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset
from manifests.store.shards import read_failure
from manifests.store.tables import read_parquet
from manifests.untrusted import decode_json, read_bounded
from pipeline.progress import by_reason, duration

WINDOW_S = 600.0
"""Over how much of a run its speed is told."""

DROPPED = "dropped."
"""What the names of statistics begin with that count segments left out, by reason."""

_LARGEST = 1 << 28
_MESSAGE = 160


class FailureTally(msgspec.Struct, frozen=True, array_like=True):
    """Quarantined items of one reason: how many, and one of them with its message."""

    count: int
    item: int
    message: str


class ShardTally(msgspec.Struct, frozen=True, array_like=True):
    """What a shard holds: clips, bytes, failures by reason; segments left out, by reason; confidence by attribute.

    Confidence is a sum and the number of clips that it is of.
    """

    clips: int = 0
    bytes: int = 0
    failures: dict[str, FailureTally] = {}
    dropped: dict[str, int] = {}
    confidence: dict[str, tuple[float, int]] = {}

    @property
    def failed(self) -> int:
        """How many of its items are quarantined."""
        return sum(one.count for one in self.failures.values())


class CountedShard(msgspec.Struct, frozen=True, array_like=True):
    """A tally, with size and time of writing (ns) of the manifest that it was made of."""

    stamp: tuple[int, int]
    tally: ShardTally


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """How far a run was at a time (seconds of the epoch): clips of this run, items, and clips by node."""

    time: float
    clips: int
    items: int
    nodes: dict[str, int]


class Ledger(msgspec.Struct, kw_only=True):
    """Committed shards by number, and moments of the last run, oldest first; `header` is the dataset's digest."""

    header: str
    shards: dict[int, CountedShard] = {}
    moments: list[Moment] = []


def tally(rows: Iterable[ClipRow], failures: Iterable[FailureRow]) -> ShardTally:
    """Add up the rows of a shard."""
    return _tally(([row.size, row.statistics, row.confidence] for row in rows), failures)


def _tally(rows: Iterable[Sequence[Any]], failures: Iterable[FailureRow]) -> ShardTally:
    """The same, of rows as size, statistics and confidence."""
    clips = (
        ShardTally(
            1,
            size,
            dropped={name.removeprefix(DROPPED): int(n) for name, n in statistics.items() if name.startswith(DROPPED)},
            confidence={name: (value, 1) for name, value in confidence.items()},
        )
        for size, statistics, confidence in rows
    )
    failed = (ShardTally(failures={row.reason: FailureTally(1, row.item, row.message[:_MESSAGE])}) for row in failures)
    return total(itertools.chain(clips, failed))


def total(tallies: Iterable[ShardTally]) -> ShardTally:
    """One tally of many."""
    clips = size = 0
    failed: dict[str, FailureTally] = {}
    dropped: Counter[str] = Counter()
    sums: dict[str, tuple[float, int]] = {}
    for one in tallies:
        clips, size = clips + one.clips, size + one.bytes
        dropped.update(one.dropped)
        for reason, some in one.failures.items():
            first = failed.get(reason) or FailureTally(0, some.item, some.message)
            failed[reason] = FailureTally(first.count + some.count, first.item, first.message)
        for name, (value, count) in one.confidence.items():
            before = sums.get(name, (0.0, 0))
            sums[name] = (before[0] + value, before[1] + count)
    return ShardTally(clips, size, failed, dict(dropped), sums)


def stamp(dataset: Dataset, shard: int) -> tuple[int, int]:
    """Size and time of writing of a committed shard's manifest."""
    state = layout.shard_file(dataset.path, layout.MANIFEST, shard).stat()
    return state.st_size, state.st_mtime_ns


def read_ledger(dataset: Dataset) -> Ledger:
    """The ledger, brought up to date; written anew where it had to be, unless a run is going on, which does that.

    Raises DatasetError when a shard that has to be counted cannot be read.
    """
    digest = dataset.header.digest()
    try:
        ledger = decode_json(read_bounded(dataset.path / layout.LEDGER, _LARGEST), Ledger)
    except (OSError, msgspec.DecodeError):
        ledger = Ledger(header=digest)
    known = ledger.shards if ledger.header == digest else {}
    found = {}
    for shard, there in _stamps(dataset).items():
        counted = known.get(shard)
        found[shard] = counted if counted and counted.stamp == there else CountedShard(there, _recount(dataset, shard))
    fresh = Ledger(header=digest, shards=found, moments=ledger.moments)
    if found != known and not dataset.is_locked():
        with suppress(OSError, LightloomError):  # a reader may have no right to write, or no room
            write_ledger(dataset, fresh)
    return fresh


def write_ledger(dataset: Dataset, ledger: Ledger) -> None:
    """Write `ledger.json` in one step."""
    write_bytes(dataset.path / layout.LEDGER, msgspec.json.encode(ledger))


def _stamps(dataset: Dataset) -> dict[int, tuple[int, int]]:
    """`stamp` of every committed shard, ascending, by one listing."""
    found = {}
    for name, state in _listed(dataset.path / layout.MANIFEST):
        shard = layout.shard_number(Path(name), layout.MANIFEST)
        if shard is not None:
            found[shard] = (state.st_size, state.st_mtime_ns)
    return dict(sorted(found.items()))


def _listed(folder: Place) -> Iterator[tuple[str, os.stat_result | ObjectStat]]:
    """Name and state of the files of a folder, by one listing; none where there is no folder."""
    if isinstance(folder, ObjectPath):
        yield from folder.stats().items()
        return
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                yield entry.name, entry.stat()


def _recount(dataset: Dataset, shard: int) -> ShardTally:
    path = layout.shard_file(dataset.path, layout.MANIFEST, shard)
    try:
        table = read_parquet(path, ["size", "statistics", "confidence"])
        plain = table.to_pylist(maps_as_pydicts="strict")
        rows = [[row["size"], row.get("statistics") or {}, row.get("confidence") or {}] for row in plain]
        return _tally(rows, dataset.failures(shard))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"cannot be read: {error}", "run `lightloom data verify`", where=path) from None


@dataclass(frozen=True)
class Status:
    """How far a dataset is; `finished` and `tally.failures` count items in `work/` too, the rest committed shards.

    Attributes:
        items, finished, shards, shards_total: work items and shards, there and in all.
        tally: what the committed shards hold.
        running: a run is going on.
        moments: of that run, over the last ten minutes.
        free: bytes left on the dataset's disk; None for a bucket.
    """

    dataset: Place
    items: int
    finished: int
    shards: int
    shards_total: int
    tally: ShardTally
    running: bool
    moments: tuple[Moment, ...]
    free: int | None

    @property
    def failures(self) -> Counter[str]:
        """Quarantined items by reason."""
        return Counter({reason: one.count for reason, one in self.tally.failures.items()})

    @property
    def clips(self) -> int:
        """Clips in committed shards."""
        return self.tally.clips

    def lines(self) -> list[str]:
        """For people."""
        left = self.items - self.finished - self.tally.failed
        failed = by_reason(self.failures) or "none failed"
        size = self.tally.bytes / 1e6
        return [
            f"{self.dataset}: {self._state(left)}",
            f"items    {self.finished} of {self.items} finished, {failed}, {left} to do",
            f"shards   {self.shards} of {self.shards_total} committed: {self.clips} clips, {size:.1f} MB",
            *(self._speed(left) if self.running else ()),
            *(f"failed   {name}: item {one.item}: {one.message}" for name, one in self.tally.failures.items()),
            *([] if self.free is None else [f"disk     {human_size(self.free)} left"]),
        ]

    def _state(self, left: int) -> str:
        if self.running:
            return "a run is going on"
        if self.shards == self.shards_total:
            return "complete"
        unpacked = f"all items are made, {self.shards_total - self.shards} shards wait to be packed: run again"
        return "no run is going on" if left else unpacked

    def _speed(self, left: int) -> list[str]:
        if len(self.moments) < 2:
            return []
        first, last = self.moments[0], self.moments[-1]
        minutes = max(last.time - first.time, 1e-3) / 60
        rate, items = (last.clips - first.clips) / minutes, (last.items - first.items) / minutes
        ends = f", ends in about {duration(60 * left / items)}" if items else ""
        nodes = {name: (count - first.nodes.get(name, 0)) / minutes for name, count in last.nodes.items()}
        return [
            f"speed    {rate:.1f} clips/min over the last {minutes:.0f} min{ends}",
            *(f"         {name}: {speed:.1f} clips/min" for name, speed in sorted(nodes.items())),
        ]


def status(path: Place) -> Status:
    """Read the status of the dataset at `path`, also while a run is going on, on any machine that sees the folder.

    Raises DatasetError when there is none.
    """
    dataset = open_dataset(path)
    ledger = read_ledger(dataset)
    waiting, noted = set(), []
    for name, _ in _listed(dataset.path / layout.WORK):
        item = layout.item_number(Path(name))
        if item is None or dataset.shard_of(item) in ledger.shards:
            continue
        if name.endswith(".tar"):
            waiting.add(item)
        else:
            with suppress(DatasetError):  # packed meanwhile
                noted.append(read_failure(dataset.failure_path(item)))
    per_shard = [len(dataset.header.shard_items(shard)) for shard in ledger.shards]
    packed = total(counted.tally for counted in ledger.shards.values())
    return Status(
        dataset=dataset.path,
        items=dataset.header.items,
        finished=sum(per_shard) - packed.failed + len(waiting),
        shards=len(ledger.shards),
        shards_total=dataset.header.shards,
        tally=total([packed, tally([], [note for note in noted if note.item not in waiting])]),
        running=dataset.is_locked(),
        moments=tuple(one for one in ledger.moments if abs(time.time() - one.time) < WINDOW_S),
        free=shutil.disk_usage(dataset.path).free if isinstance(dataset.path, Path) else None,
    )
