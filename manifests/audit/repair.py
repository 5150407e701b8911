"""`repair`: keep every clip that is still whole, make the rest due again, and clear away what does not belong.

A shard with a finding is taken apart: the scenes whose clips are all whole, by the hashes in their `row.json`, go
back to `work/` as finished items; then manifest, tar, failures and preview are removed. When nothing of the shard is
lost it is packed again at once, otherwise the next run renders what is missing. Killed at any instant, repair can
start again: nothing is removed before what it holds is safe.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from manifests.audit.verify import RESTORE, strays, verify
from manifests.contract.row import FailureRow, Sample, clips_expected
from manifests.errors import DatasetError
from manifests.files import disk_full, remove, sync_folder
from manifests.store import archive, layout
from manifests.store.dataset import Dataset, open_dataset
from manifests.store.shards import read_failure, read_failures, read_group, write_failure, write_item, write_shard


@dataclass(frozen=True)
class RepairReport:
    """What `repair` did; paths are relative to the dataset, `lost` counts the scenes that the next run makes again."""

    rebuilt: tuple[int, ...]
    requeued: tuple[int, ...]
    kept: int
    lost: int
    quarantined: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """True when anything had to be done."""
        return bool(self.rebuilt or self.requeued or self.quarantined or self.removed)


def repair(path: Path | str, threads: int = 4, progress: Callable[[int], None] | None = None) -> RepairReport:
    """Repair the dataset at `path` in place; raises DatasetError where only its owner can decide (dataset.json).

    `verify` is clean afterwards, apart from shards that are due again. `progress` is called with bytes done.
    """
    dataset = open_dataset(path)
    if dataset.header.sources:
        raise DatasetError("was merged from others", "repair those and merge them again", where=path)
    with dataset.lock():
        findings = verify(dataset.path, "full", threads, progress).findings
        broken = {finding.shard for finding in findings if finding.shard is not None}
        foreign = {finding.shard for finding in findings if finding.advice == RESTORE}
        if foreign and foreign >= set(dataset.shards()):
            raise DatasetError(
                f"no shard was written under this {layout.HEADER}", "restore the one the run wrote", where=path
            )
        quarantined, removed = _clear(dataset)
        for folder in (*layout.SUFFIX, layout.WORK):
            (dataset.path / folder).mkdir(exist_ok=True)
        for shard in sorted(number for number in foreign if number is not None):
            quarantined += [_quarantine(dataset, file) for file in _shard_files(dataset, shard) if file.exists()]
        for file in sorted((dataset.path / layout.WORK).iterdir()):
            if dataset.item_problem(file):
                remove(file)
                removed.append(str(file.relative_to(dataset.path)))
        outcomes = [_take_apart(dataset, shard) for shard in sorted(broken)]
        removed += [str(file.relative_to(dataset.path)) for file in dataset.clean()]
        if findings:
            dataset.finish()
    return RepairReport(
        rebuilt=tuple(outcome.shard for outcome in outcomes if outcome.lost == 0),
        requeued=tuple(outcome.shard for outcome in outcomes if outcome.lost > 0),
        kept=sum(outcome.kept for outcome in outcomes),
        lost=sum(outcome.lost for outcome in outcomes),
        quarantined=tuple(quarantined),
        removed=tuple(removed),
    )


@dataclass(frozen=True)
class _Outcome:
    """Of one shard: clips kept, and scenes lost."""

    shard: int
    kept: int
    lost: int


def _take_apart(dataset: Dataset, shard: int) -> _Outcome:
    """Save the whole scenes of a shard as work items, remove it, and pack it again if nothing is lost."""
    items = dataset.header.shard_items(shard)
    saved = {}
    for scene, samples in _whole_scenes(dataset, shard):
        write_item(dataset.item_path(scene), samples)
        saved[scene] = len(samples)
    for failure in _readable_failures(dataset, shard):
        if failure.scene not in saved:
            write_failure(dataset.failure_path(failure.scene), failure)
    for file in _shard_files(dataset, shard):
        remove(file)
    finished = [dataset.item_path(item) for item in items if dataset.item_path(item).exists()]
    notes = [dataset.failure_path(item) for item in items if not dataset.item_path(item).exists()]
    failed = [read_failure(path) for path in notes if path.exists()]
    lost = len(items) - len(finished) - len(failed)
    if lost == 0:
        write_shard(dataset.path, shard, finished, failed)
        dataset.clean()
    return _Outcome(shard, sum(saved.values()), lost)


def _shard_files(dataset: Dataset, shard: int) -> list[Path]:
    """The four files of a shard; the manifest first, so that removing them in order never leaves a hollow commit."""
    folders = (layout.MANIFEST, layout.SHARDS, layout.FAILURES, layout.PREVIEWS)
    return [layout.shard_file(dataset.path, folder, shard) for folder in folders]


def _whole_scenes(dataset: Dataset, shard: int) -> Iterator[tuple[int, list[Sample]]]:
    """The scenes of a shard all of whose clips are whole, each once; reads damaged tars as far as it can.

    Holds one scene at a time, and those of which a clip is missing.
    """
    path = layout.shard_file(dataset.path, layout.SHARDS, shard)
    if not path.is_file() or path.is_symlink():
        return
    source, items = dataset.header.source(shard), dataset.header.shard_items(shard)
    gathered: dict[int, dict[str, Sample]] = {}
    with path.open("rb") as file:
        members = archive.salvage(file, path.stat().st_size)
        for _, group in itertools.groupby(members, lambda member: member.key):
            try:
                sample = read_group(file, list(group))
            except DatasetError:
                continue
            row = sample.row
            if row.scene not in items or (row.seed, row.stage) != (source.seed, source.stage):
                continue
            scene = gathered.setdefault(row.scene, {})
            if sample.key in scene:
                continue
            scene[sample.key] = sample
            if len(scene) == clips_expected(source.lights, row):
                yield row.scene, list(scene.values())
                scene.update({key: replace(kept, files={}) for key, kept in scene.items()})


def _readable_failures(dataset: Dataset, shard: int) -> list[FailureRow]:
    items = dataset.header.shard_items(shard)
    with suppress(DatasetError):
        found = {failure.scene: failure for failure in read_failures(dataset.path, shard)}
        return [failure for failure in found.values() if failure.scene in items and failure.shard == shard]
    return []


def _clear(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Move foreign files to `quarantine/` and remove leftovers; returns what was moved and what was removed."""
    moved, removed = [], []
    for stray in list(strays(dataset)):
        path = dataset.path / stray.path
        if stray.kind == "foreign":
            moved.append(_quarantine(dataset, path))
        elif stray.kind == "leftover" and path.suffix == ".tmp":
            remove(path)
            removed.append(stray.path)
    return moved, removed


def _quarantine(dataset: Dataset, path: Path) -> str:
    """Move a file or folder of the dataset to `quarantine/`; returns where it was."""
    folder = dataset.path / layout.QUARANTINE
    with disk_full(folder):
        folder.mkdir(exist_ok=True)
        name = "_".join(path.relative_to(dataset.path).parts)
        target = folder / name
        if target.exists() or target.is_symlink():
            target = folder / f"{name}.{secrets.token_hex(4)}"
        path.rename(target)
    sync_folder(folder)
    sync_folder(path.parent)
    return str(path.relative_to(dataset.path))
