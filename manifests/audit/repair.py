"""`repair`: keep every clip that is still whole, make the rest due again, and clear away what does not belong.

A shard with a finding is taken apart: the items whose clips are all whole, by the hashes in their `row.json`, go
back to `work/` as finished items; then manifest, tar, failures and preview are removed. When nothing of the shard is
lost it is packed again at once, otherwise the next run makes what is missing. Killed at any instant, repair can
start again: nothing is removed before what it holds is safe.

A dataset of an older contract is upgraded on the way: dataset.json first, so that no older release writes into it any
more, then shard by shard. Rows are translated and written anew, the clips' own files stay as they are; what waits in
`work/` is translated when it is packed. Until the upgrade is complete both kinds of shards can be read.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from manifests.audit.verify import Finding, verify
from manifests.contract.attributes import CONTRACT_VERSION
from manifests.contract.row import FailureRow, Sample, clips_expected
from manifests.errors import DatasetError
from manifests.files import disk_full, remove, sync_folder
from manifests.object_path import Place, entries, local_files
from manifests.store import archive, layout
from manifests.store.dataset import Dataset, open_dataset
from manifests.store.header import read_document, write_document
from manifests.store.shards import (
    read_failure,
    read_failures,
    read_group,
    rewrite_shard,
    write_failure,
    write_item,
    write_shard,
)


@dataclass(frozen=True)
class RepairReport:
    """What `repair` did.

    Attributes:
        rebuilt, requeued: damaged shards of which nothing, or something, was lost.
        kept: clips of those shards that were saved.
        lost: items of those shards that the next run makes again.
        upgraded: whole shards that were written anew under today's contract.
        new_contract: True when dataset.json was of an older contract.
        quarantined, removed: files, relative to the dataset.
    """

    rebuilt: tuple[int, ...] = ()
    requeued: tuple[int, ...] = ()
    kept: int = 0
    lost: int = 0
    upgraded: tuple[int, ...] = ()
    new_contract: bool = False
    quarantined: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """True when anything had to be done."""
        return self != RepairReport()


def repair(path: Place | str, threads: int = 4, progress: Callable[[int], None] | None = None) -> RepairReport:
    """Repair the dataset at `path` in place; raises DatasetError where only its owner can decide (dataset.json).

    `verify` is clean afterwards, apart from shards that are due again. `progress` is called with bytes done.
    """
    old = open_dataset(path)
    with old.lock():
        findings = verify(old.path, "full", threads, progress).findings
        unsealed = {one.shard for one in findings if one.kind == "unsealed" and one.shard is not None}
        if unsealed and unsealed >= set(old.shards()):
            raise DatasetError(
                f"no shard was written under this {layout.HEADER}", "restore the one the run wrote", where=path
            )
        if old.header.sources:
            return _upgrade_merged(old, findings)
        broken = {one.shard for one in findings if one.shard is not None and one.kind != "older"}
        older = _older(old, findings) - broken
        dataset = _upgrade_header(old)
        for shard in sorted(older):
            rewrite_shard(dataset.path, shard)
        quarantined, removed = _clear(dataset, findings)
        for folder in (*layout.SUFFIX, layout.WORK):
            (dataset.path / folder).mkdir(exist_ok=True)
        for shard in sorted(unsealed):
            quarantined += [_quarantine(dataset, file) for file in _shard_files(dataset, shard) if file.exists()]
        for file in entries(dataset.path / layout.WORK):
            if dataset.item_problem(file):
                remove(file)
                removed.append(str(file.relative_to(dataset.path)))
        outcomes = [_take_apart(dataset, shard) for shard in sorted(broken)]
        removed += [str(file.relative_to(dataset.path)) for file in dataset.clean()]
        if findings or older:
            dataset.finish()
    return RepairReport(
        rebuilt=tuple(outcome.shard for outcome in outcomes if outcome.lost == 0),
        requeued=tuple(outcome.shard for outcome in outcomes if outcome.lost > 0),
        kept=sum(outcome.kept for outcome in outcomes),
        lost=sum(outcome.lost for outcome in outcomes),
        upgraded=tuple(sorted(older)),
        new_contract=dataset.header != old.header,
        quarantined=tuple(quarantined),
        removed=tuple(removed),
    )


def _older(dataset: Dataset, findings: Sequence[Finding]) -> set[int]:
    """Committed shards of an older contract: all under an older header, else those that a killed upgrade left."""
    if dataset.header.contract < CONTRACT_VERSION:
        return {shard for shard in dataset.shards() if shard < dataset.header.shards}
    return {one.shard for one in findings if one.kind == "older" and one.shard is not None}


def _upgrade_header(dataset: Dataset) -> Dataset:
    """The dataset under today's contract; what dataset.json counted stays."""
    document = read_document(dataset.path)
    header = msgspec.structs.replace(document.header, contract=CONTRACT_VERSION)
    if header != document.header:
        write_document(dataset.path, msgspec.structs.replace(document, header=header))
    return replace(dataset, header=header)


def _upgrade_merged(old: Dataset, findings: Sequence[Finding]) -> RepairReport:
    """Upgrade a merged dataset; DatasetError when something else is wrong, or nothing is.

    Its shards have no work items to be taken apart into: one that a killed upgrade left uncommitted is written anew.
    An unfinished merge leaves such shards, too: those are its own to write.
    """
    uncommitted = {one.shard for one in findings if one.kind == "uncommitted" and one.shard is not None}
    wrong = [one for one in findings if one.kind not in ("older", "uncommitted", "leftover", "miscounted")]
    older = _older(old, findings)
    if read_document(old.path).measured.complete:
        wrong = [one for one in wrong if one.kind != "missing" or one.shard not in uncommitted]
        older |= uncommitted
    torn = older or any(one.kind == "miscounted" for one in findings)
    if wrong or not (torn or old.header.contract < CONTRACT_VERSION):
        raise DatasetError("was merged from others", "repair those and merge them again", where=old.path)
    dataset = _upgrade_header(old)
    for shard in sorted(older):
        rewrite_shard(dataset.path, shard)
    (dataset.path / layout.WORK).mkdir(exist_ok=True)
    removed = [str(file.relative_to(dataset.path)) for file in dataset.clean()]
    dataset.finish()
    return RepairReport(
        upgraded=tuple(sorted(older)), new_contract=dataset.header != old.header, removed=tuple(removed)
    )


@dataclass(frozen=True)
class _Outcome:
    """Of one shard: clips kept, and items lost."""

    shard: int
    kept: int
    lost: int


def _take_apart(dataset: Dataset, shard: int) -> _Outcome:
    """Save the whole items of a shard as work items, remove it, and pack it again if nothing is lost."""
    items = dataset.header.shard_items(shard)
    saved = {}
    for item, samples in _whole_items(dataset, shard):
        write_item(dataset.item_path(item), samples)
        saved[item] = len(samples)
    for failure in _readable_failures(dataset, shard):
        if failure.item not in saved:
            write_failure(dataset.failure_path(failure.item), failure)
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


def _shard_files(dataset: Dataset, shard: int) -> list[Place]:
    """The four files of a shard; the manifest first, so that removing them in order never leaves a hollow commit."""
    folders = (layout.MANIFEST, layout.SHARDS, layout.FAILURES, layout.PREVIEWS)
    return [layout.shard_file(dataset.path, folder, shard) for folder in folders]


def _whole_items(dataset: Dataset, shard: int) -> Iterator[tuple[int, list[Sample]]]:
    """The items of a shard all of whose clips are whole, each once; reads damaged tars as far as it can.

    Holds one item at a time, and those of which a clip is missing.
    """
    path = layout.shard_file(dataset.path, layout.SHARDS, shard)
    if not path.is_file() or path.is_symlink():
        return
    source, items = dataset.header.source(shard), dataset.header.shard_items(shard)
    gathered: dict[int, dict[str, Sample]] = {}
    with local_files([path]) as (local,), local.open("rb") as file:
        members = archive.salvage(file, local.stat().st_size)
        for _, group in itertools.groupby(members, lambda member: member.key):
            try:
                sample = read_group(file, list(group))
            except DatasetError:
                continue
            row = sample.row
            if row.item not in items or (row.seed, row.stage) != (source.seed, source.stage):
                continue
            found = gathered.setdefault(row.item, {})
            if sample.key in found:
                continue
            found[sample.key] = sample
            if len(found) == clips_expected(source.lights, row):
                yield row.item, list(found.values())
                found.update({key: replace(kept, files={}) for key, kept in found.items()})


def _readable_failures(dataset: Dataset, shard: int) -> list[FailureRow]:
    items = dataset.header.shard_items(shard)
    with suppress(DatasetError):
        found = {failure.item: failure for failure in read_failures(dataset.path, shard)}
        return [failure for failure in found.values() if failure.item in items and failure.shard == shard]
    return []


def _clear(dataset: Dataset, findings: Sequence[Finding]) -> tuple[list[str], list[str]]:
    """Move foreign files to `quarantine/` and remove unfinished ones; returns what was moved and what was removed."""
    moved = [_quarantine(dataset, dataset.path / one.path) for one in findings if one.kind == "foreign"]
    unfinished = [one.path for one in findings if one.kind == "leftover" and one.path.endswith(".tmp")]
    for name in unfinished:
        remove(dataset.path / name)
    return moved, unfinished


def _quarantine(dataset: Dataset, path: Place) -> str:
    """Move a file or folder of the dataset to `quarantine/`; returns where it was."""
    folder = dataset.path / layout.QUARANTINE
    with disk_full(folder):
        folder.mkdir(exist_ok=True)
        name = "_".join(path.relative_to(dataset.path).parts)
        target = folder / name
        if target.exists() or target.is_symlink():
            target = folder / f"{name}.{secrets.token_hex(4)}"
        path.rename(target)  # type: ignore[arg-type]  # both are of the same kind
    sync_folder(folder)
    sync_folder(path.parent)
    return str(path.relative_to(dataset.path))
