"""`verify`: is a dataset whole? Findings say which file and clip, what is wrong and what to do; nothing is changed.

`quick` reads headers, manifests and sizes; `full` reads every byte and compares hashes; `decode` also decodes every
clip. Members of a shard are never extracted to disk, and nothing is allocated on a hostile file's word.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from manifests import layout
from manifests.dataset import Dataset
from manifests.errors import DatasetError
from manifests.header import Measured, read_document
from manifests.shardcheck import REPAIR, RESTORE, Finding, Level, ShardCheck
from manifests.strays import strays

__all__ = ["REPAIR", "RESTORE", "Finding", "Level", "VerifyReport", "verify"]


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found, and how much it looked at. `missing` counts the shards that are not committed yet."""

    findings: tuple[Finding, ...]
    shards: int
    clips: int
    bytes: int
    missing: int

    @property
    def ok(self) -> bool:
        """True when what is committed is whole; a dataset whose run has not ended may be."""
        return not self.findings


def verify(
    path: Path | str, level: Level = "full", threads: int = 4, progress: Callable[[int], None] | None = None
) -> VerifyReport:
    """Check the dataset at `path`; `progress` is called with the number of bytes done since the last call.

    Raises DatasetError only when there is no dataset at all; whatever else is wrong becomes a finding.
    """
    path = Path(path)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder; give the folder of a dataset")
    try:
        document = read_document(path)
    except DatasetError as error:
        what, _, advice = str(error).removeprefix(f"{path / layout.HEADER}: ").partition("; ")
        return VerifyReport((Finding(layout.HEADER, what, advice or "restore it from a copy"),), 0, 0, 0, 0)
    dataset = Dataset(path, document.header)
    numbers = [shard for shard in dataset.shards() if shard < dataset.header.shards]
    report = _locked(progress)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        checked = list(pool.map(lambda shard: ShardCheck(dataset, shard, level, report).check(), numbers))
    findings = [Finding(stray.path, stray.what, stray.advice, shard=stray.shard) for stray in strays(dataset)]
    findings += [finding for shard in checked for finding in shard.findings]
    findings += _shared_keys(checked)
    findings += _waiting(dataset, level)
    findings += _totals(dataset, document.measured, checked)
    return VerifyReport(
        tuple(findings),
        shards=len(numbers),
        clips=sum(len(shard.rows) for shard in checked),
        bytes=sum(shard.size for shard in checked),
        missing=len(set(range(dataset.header.shards)) - set(numbers)),
    )


def _shared_keys(shards: Sequence[ShardCheck]) -> Iterator[Finding]:
    """A clip's key may occur in one shard only; within a shard `check_complete` looks."""
    first: dict[str, int] = {}
    for shard in shards:
        for key in {row.key for row in shard.rows}:
            if first.setdefault(key, shard.shard) != shard.shard:
                path = f"{layout.MANIFEST}/{shard.shard:06d}.parquet"
                what = f"the key is also that of a clip in shard {first[key]}"
                yield Finding(path, what, REPAIR, key, shard.shard)


def _totals(dataset: Dataset, measured: Measured, shards: Sequence[ShardCheck]) -> Iterator[Finding]:
    """A dataset that was finished must still have all that it counted."""
    missing = sorted(set(range(dataset.header.shards)) - {shard.shard for shard in shards})
    if measured.complete and missing:
        what = f"shard {missing[0]} is missing, though the dataset was complete"
        yield Finding(f"{layout.MANIFEST}/{missing[0]:06d}.parquet", what, "resume the run", shard=missing[0])
    clips = sum(len(shard.rows) for shard in shards)
    if measured.complete and not missing and clips != measured.clips:
        yield Finding(layout.HEADER, f"counts {measured.clips} clips, the manifests have {clips}", REPAIR)


def _waiting(dataset: Dataset, level: Level) -> Iterator[Finding]:
    """Finished items that wait for their shard must be whole."""
    folder = dataset.path / layout.WORK
    if level == "quick" or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        item = layout.item_number(path)
        if item is None or path.is_symlink() or dataset.committed(dataset.shard_of(item)):
            continue
        problem = dataset.item_problem(path)
        if problem:
            what = problem.removesuffix("; delete it and run again")
            yield Finding(f"{layout.WORK}/{path.name}", what, REPAIR)


def _locked(progress: Callable[[int], None] | None) -> Callable[[int], None]:
    """Progress that may be called from several threads."""
    if progress is None:
        return lambda _: None
    lock = threading.Lock()

    def call(size: int) -> None:
        with lock:
            progress(size)

    return call
