"""`Dataset`: a dataset on disk, opened by its header; knows which shards are committed, nothing of how clips arise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from manifests.codec.fidelity import HIGHER_IS_BETTER
from manifests.contract.row import ClipRow, FailureRow, clips_expected
from manifests.errors import DatasetError
from manifests.files import FolderLock, disk_full, is_locked, is_temporary, remove
from manifests.node_cache import NodeCache
from manifests.object_lease import ObjectLease, is_held
from manifests.object_path import ObjectPath, Place, at_once, lists, place
from manifests.store import layout
from manifests.store.header import Bound, Document, Header, Measured, difference, read_document, write_document
from manifests.store.shards import read_failure, read_failures, read_item, read_manifest, read_sample
from manifests.store.tables import read_parquet

__all__ = ["Dataset", "Header", "open_dataset", "open_or_create"]


@dataclass(frozen=True)
class Dataset:
    """Where a dataset is, a folder or a bucket, and its header. Only committed shards (those with a manifest) are data.

    Example:
        dataset = open_dataset("out/set")
        rows = [row for row in dataset.rows() if row.split == "train"]
        clip = decode_clip(rows[0].key, dataset.files(rows[0]), ["rgb", "normal"])
        print(clip.arrays["normal"].shape)  # (frames, height, width, 3)

    `decode_clip` is that of `manifests.codec.codecs`.
    """

    path: Place
    header: Header

    def shards(self) -> list[int]:
        """Numbers of the committed shards, ascending."""
        if not lists(self.path):
            there = at_once(self.path, self.committed, range(self.header.shards))
            return [number for number, committed in enumerate(there) if committed]
        folder = self.path / layout.MANIFEST
        numbers = (layout.shard_number(path, layout.MANIFEST) for path in folder.glob("*.parquet"))
        return sorted(number for number in numbers if number is not None)

    def committed(self, shard: int) -> bool:
        """True once the shard's manifest is there."""
        return layout.shard_file(self.path, layout.MANIFEST, shard).is_file()

    def rows(self, shard: int | None = None) -> list[ClipRow]:
        """Rows of one committed shard, or of all, in order of shard and key; DatasetError when one is not readable."""
        shards = at_once(self.path, lambda number: read_manifest(self.path, number)[1], self._chosen(shard))
        return [row for rows in shards for row in rows]

    def failures(self, shard: int | None = None) -> list[FailureRow]:
        """Failures of one committed shard, or of all, in order of item."""
        shards = at_once(self.path, lambda number: read_failures(self.path, number), self._chosen(shard))
        return [failure for failures in shards for failure in failures]

    def files(self, row: ClipRow, cache: NodeCache | None = None) -> dict[str, bytes]:
        """The files of a clip by suffix, checked against the row's hash, as `codecs.decode_clip` takes them.

        With a `cache` they are fetched once, as long as they stay there.
        """
        return read_sample(self.path, row, cache)

    def columns(self, names: Sequence[str]) -> list[pa.Table]:
        """Some columns of the manifest of each committed shard, unchecked; for questions to many rows."""

        def read(shard: int) -> pa.Table:
            return read_parquet(layout.shard_file(self.path, layout.MANIFEST, shard), names)

        return at_once(self.path, read, self.shards())

    def shard_of(self, item: int) -> int:
        """The shard that holds a work item."""
        return item // self.header.per_shard

    def item_path(self, item: int) -> Place:
        """Where a finished work item waits to be packed (`shards.write_item`)."""
        return layout.item_file(self.path, item)

    def failure_path(self, item: int) -> Place:
        """Where the note about a quarantined work item waits to be packed (`shards.write_failure`)."""
        return layout.failure_file(self.path, item)

    def clean(self) -> list[Place]:
        """Remove what a killed run left: temporary files, and work items of committed shards. Returns their paths.

        Call it only from the process that holds `lock`.
        """
        folders = (self.path, *(self.path / name for name in (*layout.SUFFIX, layout.WORK)))
        leftovers = [path for folder in folders for path in folder.glob(".*.tmp") if is_temporary(path)]
        committed = set(self.shards())
        for path in (self.path / layout.WORK).iterdir():
            item = layout.item_number(path)
            if item is not None and self.shard_of(item) in committed:
                leftovers.append(path)
        for path in leftovers:
            remove(path)
        return leftovers

    def item_problem(self, path: Place) -> str | None:
        """Why a file of `work/` cannot be packed, in a few words; None when it can. Reads and checks all of it."""
        item = layout.item_number(path)
        try:
            if path.suffix != ".tar":
                return None if read_failure(path).item == item else "is the note of another work item"
            samples = read_item(path)
        except DatasetError as error:
            return error.what
        if any(sample.row.item != item for sample in samples):
            return "holds clips of another work item"
        expected = clips_expected(self.header.lights, samples[0].row)
        if len(samples) != expected:
            return f"holds {len(samples)} clips, expected {expected}"
        return None

    def item_clips(self, item: int) -> int:
        """How many clips a finished work item has that still waits in `work/`."""
        return self.header.lights or len(read_item(self.item_path(item)))

    def lock(self) -> FolderLock | ObjectLease:
        """Keeps others from writing here, of any machine in a bucket; DatasetError when one already does."""
        lock = self.path / layout.LOCK

        def taken(holder: str) -> DatasetError:
            return DatasetError(
                f"another process is writing here ({holder})", "wait for it or stop it", where=self.path
            )

        return ObjectLease(lock, taken) if isinstance(lock, ObjectPath) else FolderLock(lock, taken)

    def is_locked(self) -> bool:
        """Whether somebody writes here."""
        lock = self.path / layout.LOCK
        return is_held(lock) if isinstance(lock, ObjectPath) else is_locked(lock)

    def finish(self) -> Measured:
        """Count the committed shards and gather the codec errors of their clips into dataset.json.

        May be called at any time; `complete` says whether every shard was there.
        """
        measured = self.measure()
        write_document(self.path, Document(header=self.header, measured=measured))
        return measured

    def measure(self) -> Measured:
        """What `finish` writes, without writing it."""
        return _measure(self)

    def _chosen(self, shard: int | None) -> list[int]:
        return self.shards() if shard is None else [shard]


def open_dataset(path: Place | str) -> Dataset:
    """Open an existing dataset, in a folder or at a URL such as `s3://bucket/set` (`manifests.object_path`).

    Raises DatasetError when there is none, StorageError when a bucket cannot be read.
    """
    path = place(path)
    return Dataset(path, read_document(path).header)


def open_or_create(path: Place | str, header: Header) -> Dataset:
    """Open the dataset at `path`, or create it with `header` written first.

    Raises DatasetError, naming the first field that differs, when the dataset there has another header.
    """
    path = place(path)
    if not (path / layout.HEADER).exists():
        _create(path, header)
    existing = read_document(path).header
    different = difference(msgspec.structs.replace(existing, contract=header.contract), header)
    if different:
        raise DatasetError(
            f"{different} as this run wants",
            "resume with the dataset's own settings or give another folder",
            where=path,
        )
    if existing.contract != header.contract:
        raise DatasetError(
            f"written under contract {existing.contract}, and this release writes {header.contract}",
            "run `lightloom data repair`, which upgrades it, then go on",
            where=path,
        )
    with disk_full(path):
        for folder in (*layout.SUFFIX, layout.WORK):
            (path / folder).mkdir(exist_ok=True)
    return Dataset(path, existing)


def _create(path: Place, header: Header) -> None:
    if not lists(path):
        raise DatasetError("can only be read", "give a folder, or s3://, gs:// or az://", where=path)
    if path.exists() and not path.is_dir():
        raise DatasetError("is a file", "give a folder for the dataset", where=path)
    stray = [name for name in layout.SUFFIX if (path / name).is_dir() and any((path / name).iterdir())]
    if stray:
        raise DatasetError(f"has {stray[0]}/ but no {layout.HEADER}", "restore it or give another folder", where=path)
    with disk_full(path):
        path.mkdir(parents=True, exist_ok=True)
    write_document(path, Document(header=header))


def _measure(dataset: Dataset) -> Measured:
    """Totals over the committed shards, reading three columns of each manifest."""
    totals: Counter[str] = Counter()
    values: dict[str, list[float]] = {}
    shards = dataset.shards()
    totals["failures"] = len(dataset.failures())

    for table in dataset.columns(["size", "codec_errors"]):
        totals["clips"] += table.num_rows
        totals["bytes"] += sum(table["size"].to_pylist())
        for errors in table["codec_errors"].to_pylist():
            for name, value in errors or ():
                values.setdefault(name, []).append(value)
    return Measured(
        complete=shards == list(range(dataset.header.shards)),
        shards=len(shards),
        clips=totals["clips"],
        failures=totals["failures"],
        bytes=totals["bytes"],
        codec_errors={name: _bound(name, seen) for name, seen in sorted(values.items())},
    )


def _bound(name: str, values: list[float]) -> Bound:
    worst = min(values) if name.rpartition(".")[2] in HIGHER_IS_BETTER else max(values)
    return Bound(worst=worst, mean=sum(values) / len(values))
