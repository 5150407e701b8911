"""`verify`: is a dataset whole? Findings say which file and clip, what is wrong and what to do; nothing is changed.

`quick` reads headers, manifests and sizes; `full` reads every byte and compares hashes; `decode` also decodes every
clip. Members of a shard are never extracted to disk, and nothing is allocated on a hostile file's word.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from manifests.audit.verify_journal import VerifyJournal
from manifests.codec import clip_json
from manifests.codec.codecs import HEADER, decode_clip
from manifests.contract.row import ClipRow, Sample
from manifests.errors import DatasetError, InputError, LightloomError
from manifests.files import is_temporary
from manifests.object_path import Place, entries, lists, local_files, place
from manifests.store import archive, layout
from manifests.store.dataset import Dataset
from manifests.store.header import Measured, read_document
from manifests.store.row_file import without_packing
from manifests.store.shards import Seal, check_complete, read_failures, read_group, read_manifest

Level = Literal["quick", "full", "decode"]
Kind = Literal["damaged", "missing", "uncommitted", "unsealed", "older", "foreign", "leftover", "miscounted", "header"]

_MANY = 64
_REPAIR = "run `lightloom data repair`, then resume the run"
_RESUME = "resume the run, or `lightloom data repair`"
_ADVICE: dict[Kind, str] = {
    "damaged": _REPAIR,
    "missing": "resume the run",
    "uncommitted": _RESUME,
    "unsealed": f"restore the {layout.HEADER} that the run wrote, or remove this shard",
    "older": "run `lightloom data repair`, which upgrades it",
    "foreign": "move it away, or `lightloom data repair` does",
    "leftover": _RESUME,
    "miscounted": _REPAIR,
    "header": "restore it from a copy",
}


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: `path` and, where known, clip `key`; what it is and what to do.

    `kind` says what repair does with it. A shard of which a part is "damaged" or "missing", or which is "uncommitted"
    (files without the manifest that makes them count), is taken apart; one that is "unsealed" (written under another
    dataset.json) or a file that is "foreign" moves to `quarantine/`; a shard of an "older" contract is written anew; a
    "leftover" of a killed run is removed; totals that are "miscounted" are counted again. With "header" only the
    owner can help.
    """

    path: str
    what: str
    kind: Kind
    key: str = ""
    shard: int | None = None
    advice: str = ""

    def __str__(self) -> str:
        clip = f", clip {self.key}" if self.key else ""
        return f"{self.path}{clip}: {self.what}; {self.advice or _ADVICE[self.kind]}"


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
    path: Place | str,
    level: Level = "full",
    threads: int = 4,
    progress: Callable[[int], None] | None = None,
    *,
    sample: float = 1.0,
) -> VerifyReport:
    """Check the dataset at `path`; `progress` is called with the number of bytes done since the last call.

    With a `sample` below 1 that share of the shards, drawn anew each time, is checked at `level` and the rest `quick`.
    A large folder is checked by as many processes as it may have `threads`; an interrupted check of one goes on where
    it was. Raises DatasetError only when there is no dataset at all; whatever else is wrong becomes a finding.
    """
    path = place(path)
    if not 0 < sample <= 1:
        raise InputError(f"`sample` is {sample:g}", "give a share above 0, at most 1", fields=("sample",))
    if not path.is_dir():
        raise DatasetError("no such folder", "give the folder of a dataset", where=path)
    try:
        document = read_document(path)
    except DatasetError as error:
        return VerifyReport((Finding(layout.HEADER, error.what, "header", advice=error.advice),), 0, 0, 0, 0)
    dataset = Dataset(path, document.header)
    numbers = [shard for shard in dataset.shards() if shard < dataset.header.shards]
    checked = _check_all(dataset, numbers, level, threads, progress or (lambda _: None), sample)
    findings = list(_strays(dataset))
    findings += [finding for shard in checked for finding in shard.findings]
    findings += _shared_keys(checked)
    findings += _waiting(dataset, level)
    findings += _totals(dataset, document.measured, checked)
    return VerifyReport(
        tuple(findings),
        shards=len(numbers),
        clips=sum(len(shard.keys) for shard in checked),
        bytes=sum(shard.size for shard in checked),
        missing=len(set(range(dataset.header.shards)) - set(numbers)),
    )


@dataclass(frozen=True)
class _Checked:
    """What the check of a shard found: keys and bytes of its clips, size of its tar, bytes that were looked at."""

    shard: int
    findings: tuple[Finding, ...]
    keys: tuple[str, ...]
    clip_bytes: int
    size: int
    done: int


def _check_one(dataset: Dataset, task: tuple[int, Level]) -> _Checked:
    check = _ShardCheck(dataset, *task).check()
    rows = check.rows
    return _Checked(
        check.shard,
        tuple(check.findings),
        tuple(row.key for row in rows),
        sum(row.size for row in rows),
        check.size,
        check.done,
    )


def _check_all(
    dataset: Dataset, numbers: Sequence[int], level: Level, threads: int, progress: Callable[[int], None], sample: float
) -> list[_Checked]:
    """Check the shards, several at once, in order."""
    large = isinstance(dataset.path, Path) and len(numbers) >= _MANY and level != "quick"
    chosen = set(random.sample(numbers, math.ceil(sample * len(numbers))))
    with VerifyJournal(dataset, level) if large else nullcontext() as journal:
        known = journal.known() if journal else set()
        tasks: list[tuple[int, Level]] = [
            (shard, level if shard in chosen and shard not in known else "quick") for shard in numbers
        ]
        pool: Executor
        if large and threads > 1:
            pool = ProcessPoolExecutor(
                min(threads, os.cpu_count() or 1),
                multiprocessing.get_context("spawn"),
                initializer=signal.signal,
                initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is this process's to handle
            )
        else:
            pool = ThreadPoolExecutor(max(threads, 1))
        checked = []
        try:
            for (_, done_at), one in zip(tasks, pool.map(partial(_check_one, dataset), tasks), strict=True):
                checked.append(one)
                progress(one.done)
                if journal and done_at == level and not one.findings:
                    journal.note(one.shard)
        finally:
            pool.shutdown(cancel_futures=True)
    return checked


def _shared_keys(shards: Sequence[_Checked]) -> Iterator[Finding]:
    """A clip's key may occur in one shard only; within a shard `check_complete` looks."""
    first: dict[str, int] = {}
    for shard in shards:
        for key in set(shard.keys):
            if first.setdefault(key, shard.shard) != shard.shard:
                path = f"{layout.MANIFEST}/{shard.shard:06d}.parquet"
                what = f"the key is also that of a clip in shard {first[key]}"
                yield Finding(path, what, "damaged", key, shard.shard)


def _totals(dataset: Dataset, measured: Measured, shards: Sequence[_Checked]) -> Iterator[Finding]:
    """A dataset that was finished must still have all that it counted."""
    missing = sorted(set(range(dataset.header.shards)) - {shard.shard for shard in shards})
    if measured.complete and missing:
        what = f"shard {missing[0]} is missing, though the dataset was complete"
        yield Finding(f"{layout.MANIFEST}/{missing[0]:06d}.parquet", what, "missing", shard=missing[0])
    clips, size = sum(len(shard.keys) for shard in shards), sum(shard.clip_bytes for shard in shards)
    counted = {"clips": (measured.clips, clips), "bytes": (measured.bytes, size)}
    for what, (said, found) in counted.items() if measured.complete and not missing else ():
        if said != found:
            yield Finding(layout.HEADER, f"counts {said} {what}, the manifests have {found}", "miscounted")


def _waiting(dataset: Dataset, level: Level) -> Iterator[Finding]:
    """Finished items that wait for their shard must be whole."""
    folder = dataset.path / layout.WORK
    if level == "quick" or not lists(folder) or not folder.is_dir():
        return
    for path in entries(folder):
        item = layout.item_number(path)
        if item is None or path.is_symlink() or dataset.committed(dataset.shard_of(item)):
            continue
        problem = dataset.item_problem(path)
        if problem:
            yield Finding(f"{layout.WORK}/{path.name}", problem, "damaged")


_KNOWN = {layout.HEADER, layout.LOCK, layout.LEDGER, layout.CATALOGUE, layout.VERIFIED}
_KNOWN |= {*layout.REPORTS, *layout.TOGETHER.values()}
_FOLDERS = {*layout.SUFFIX, layout.WORK, layout.QUARANTINE}


def _strays(dataset: Dataset) -> Iterator[Finding]:
    """Every file below the dataset's folder that is out of place, in order of path; links are never followed."""
    for path in entries(dataset.path) if lists(dataset.path) else ():
        if path.name in _FOLDERS and path.is_dir() and not path.is_symlink():
            for inner in entries(path) if path.name != layout.QUARANTINE else ():
                yield from _stray(dataset, inner, path.name)
        else:
            yield from _stray(dataset, path, "")


def _stray(dataset: Dataset, path: Place, folder: str) -> Iterator[Finding]:
    """What is wrong with the place of one file of `folder`, "" being the dataset's own."""
    name = _relative(dataset, path)
    if is_temporary(path):
        yield Finding(name, "a file that a killed run had not finished", "leftover")
    elif folder == layout.WORK and path.name == layout.LOGS and path.is_dir() and not path.is_symlink():
        return
    elif path.is_symlink() or not path.is_file() or not _belongs(dataset, path, folder):
        yield Finding(name, "is a link" if path.is_symlink() else "does not belong into a dataset", "foreign")
    elif folder == layout.WORK:
        shard = dataset.shard_of(layout.item_number(path) or 0)
        if dataset.committed(shard):
            yield Finding(name, f"a work item of shard {shard}, which is already committed", "leftover")
    elif folder and folder != layout.MANIFEST:
        number = layout.shard_number(path, folder)
        if number is not None and not dataset.committed(number):
            yield Finding(name, f"shard {number} has no manifest, so it does not count", "uncommitted", shard=number)


def _belongs(dataset: Dataset, path: Place, folder: str) -> bool:
    """True for the name of a file that a dataset of this header may have in `folder`."""
    if not folder:
        return path.name in _KNOWN
    if folder == layout.WORK:
        item = layout.item_number(path)
        return item is not None and item < dataset.header.items and not dataset.header.sources
    shard = layout.shard_number(path, folder)
    return shard is not None and shard < dataset.header.shards


def _relative(dataset: Dataset, path: Place) -> str:
    return PurePosixPath(*path.parts[len(dataset.path.parts) :]).as_posix()


class _ShardCheck:
    """The checks of one committed shard; `check` runs them and fills `findings`, `rows` and `size` (of the tar)."""

    def __init__(self, dataset: Dataset, shard: int, level: Level) -> None:
        self.dataset, self.shard, self.level = dataset, shard, level
        self.done = 0
        self._same: set[str] = set()
        self.findings: list[Finding] = []
        self.rows: list[ClipRow] = []
        self.size = 0

    def check(self) -> _ShardCheck:
        """Run every check that the ones before leave sense in."""
        try:
            seal, self.rows = read_manifest(self.dataset.path, self.shard)
        except DatasetError as error:
            self._add(layout.MANIFEST, error.what)
            return self
        self._check_seal(seal)
        self._check_sidecars(seal)
        self._check_rows()
        tar = layout.shard_file(self.dataset.path, layout.SHARDS, self.shard)
        if not tar.is_file() or tar.is_symlink():
            self._add(layout.SHARDS, "the shard's tar is missing")
            return self
        self.size = tar.stat().st_size
        with ExitStack() as stack:
            if self.level != "quick":  # each byte is looked at twice, and fetched once
                (tar,) = stack.enter_context(local_files([tar]))
            file = stack.enter_context(tar.open("rb"))
            if self.size != seal.tar_bytes:
                self._add(layout.SHARDS, f"has {self.size} bytes, its manifest says {seal.tar_bytes}")
            self._check_ranges()
            if self.level == "quick":
                self.done += self.size
            else:
                self._check_bytes(file)
                self._check_archive(file)
        return self

    def _check_seal(self, seal: Seal) -> None:
        header = self.dataset.header
        contract = header.contract_of(seal.header)
        if seal.shard != self.shard:
            self._add(layout.MANIFEST, f"is the manifest of shard {seal.shard}")
        if contract is None:
            self._add(layout.MANIFEST, f"was written under another {layout.HEADER} than the one here", "unsealed")
        elif contract < header.contract:
            self._add(layout.MANIFEST, f"is still of contract {contract}, not {header.contract}", "older")

    def _check_sidecars(self, seal: Seal) -> None:
        for folder, digest in ((layout.FAILURES, seal.failures_sha256), (layout.PREVIEWS, seal.preview_sha256)):
            path = layout.shard_file(self.dataset.path, folder, self.shard)
            if not path.is_file() or path.is_symlink():
                self._add(folder, "is missing")
                continue
            if self.level != "quick" and _file_digest(path) != digest:
                self._add(folder, "was changed: its SHA-256 is not the one in the manifest")
            if folder == layout.FAILURES:
                self._check_failures(seal)

    def _check_failures(self, seal: Seal) -> None:
        try:
            failures = read_failures(self.dataset.path, self.shard)
        except DatasetError as error:
            self._add(layout.FAILURES, error.what)
            return
        if len(failures) != seal.failures:
            self._add(layout.FAILURES, f"holds {len(failures)} failures, the manifest says {seal.failures}")
        try:
            check_complete(self.dataset.header, self.shard, self.rows, failures)
        except DatasetError as error:
            self._add(layout.MANIFEST, error.what)

    def _check_rows(self) -> None:
        source = self.dataset.header.source(self.shard)
        for row in self.rows:
            if row.shard != self.shard:
                self._add(layout.MANIFEST, f"the row says shard {row.shard}", key=row.key)
            if row.seed != source.seed:
                self._add(layout.MANIFEST, f"seed {row.seed}, {layout.HEADER} says {source.seed}", key=row.key)
            if row.stage != source.stage:
                self._add(layout.MANIFEST, f"stage {row.stage!r}, {layout.HEADER} says {source.stage!r}", key=row.key)
            unknown = sorted(set(row.attributes) - set(self.dataset.header.attributes))
            if unknown:
                self._add(layout.MANIFEST, f"{unknown[0]!r} is not an attribute of {layout.HEADER}", key=row.key)

    def _check_ranges(self) -> None:
        """The clips' byte ranges must follow each other from the first byte to the end of the archive."""
        expected = 0
        for row in sorted(self.rows, key=lambda row: row.offset):
            if row.offset != expected or row.size <= 0 or row.size % archive.BLOCK:
                gap = "a gap before" if row.offset > expected else "a wrong"
                self._add(
                    layout.MANIFEST, f"{gap} byte range {row.offset} + {row.size}, expected at {expected}", key=row.key
                )
            expected = max(expected, row.offset + row.size)
        if expected + len(archive.END) != self.size:
            self._add(
                layout.SHARDS, f"the clips end at byte {expected}, the file, less its end mark, at {self.size - 1024}"
            )

    def _check_bytes(self, file: BinaryIO) -> None:
        for row in self.rows:
            if row.offset < 0 or row.size <= 0 or row.offset + row.size > self.size:
                self._add(layout.SHARDS, f"byte range {row.offset} + {row.size} is outside the file", key=row.key)
            elif self._digest(file, row.offset, row.size) != row.sha256:
                self._add(layout.SHARDS, "its bytes were changed: the SHA-256 differs from the manifest's", key=row.key)
            else:
                self._same.add(row.key)

    def _check_archive(self, file: BinaryIO) -> None:
        """The tar's own structure, and every clip against its `row.json`.

        A clip whose bytes are those that packing wrote, and had compared with `row.json`, is not hashed a second time.
        """
        rows = {row.key: row for row in self.rows}
        seen: set[str] = set()
        try:
            for key, group in itertools.groupby(archive.scan(file, self.size), lambda member: member.key):
                members = list(group)
                if key in seen:
                    self._add(layout.SHARDS, "its files occur twice or are not next to each other", key=key)
                seen.add(key)
                self._check_clip(file, members, rows.get(key))
        except DatasetError as error:
            self._add(layout.SHARDS, str(error))
            return
        for key in rows.keys() - seen:
            self._add(layout.SHARDS, "has a row but no files", key=key)

    def _check_clip(self, file: BinaryIO, members: Sequence[archive.Member], row: ClipRow | None) -> None:
        key = members[0].key
        try:
            sample = read_group(file, members, keep=self.level == "decode", hashed=key not in self._same)
        except DatasetError as error:
            self._add(layout.SHARDS, error.what, key=key)
            return
        if row is None:
            self._add(layout.SHARDS, "has files but no row", key=key)
            return
        if (members[0].offset, members[-1].end - members[0].offset) != (row.offset, row.size):
            self._add(layout.MANIFEST, f"lies at byte {members[0].offset}, its row says {row.offset}", key=key)
        plain = without_packing(row)
        if plain != sample.row:
            field = next(name for name in row.__struct_fields__ if getattr(plain, name) != getattr(sample.row, name))
            self._add(layout.MANIFEST, f"its row's {field} is not that of the row.json in the shard", key=key)
        if self.level == "decode":
            self._decode(sample)

    def _decode(self, sample: Sample) -> None:
        try:
            clip = decode_clip(sample.key, sample.files)
            codec = clip_json.load(sample.key, sample.files[HEADER]).codec
        except LightloomError as error:
            self._add(layout.SHARDS, f"cannot be decoded: {error}", key=sample.key)
            return
        row = sample.row
        if codec != self.dataset.header.codec:
            self._add(layout.SHARDS, f"is coded as {codec}, {layout.HEADER} says otherwise", key=sample.key)
        if (clip.frames, *clip.size) != (row.frames, row.height, row.width):
            self._add(layout.SHARDS, f"decodes to {clip.frames} frames of {clip.size}, not as its row", key=sample.key)
        if set(clip.arrays) != set(row.attributes):
            self._add(layout.SHARDS, f"holds {sorted(clip.arrays)}, its row says otherwise", key=sample.key)

    def _digest(self, file: BinaryIO, offset: int, size: int) -> str:
        hasher = hashlib.sha256()
        file.seek(offset)
        while size > 0:
            piece = file.read(min(size, 1 << 20))
            if not piece:
                break
            hasher.update(piece)
            self.done += len(piece)
            size -= len(piece)
        return hasher.hexdigest()

    def _add(self, folder: str, what: str, kind: Kind = "damaged", key: str = "") -> None:
        path = layout.shard_file(self.dataset.path, folder, self.shard)
        self.findings.append(Finding(_relative(self.dataset, path), what, kind, key, self.shard))


def _file_digest(path: Place) -> str:
    with local_files([path]) as (local,), local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
