"""`Dataset`: a dataset on disk, opened by its header; knows which shards are committed, nothing of how clips arise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec

from manifests.codec.fidelity import HIGHER_IS_BETTER
from manifests.contract.row import ClipRow, FailureRow, clips_expected
from manifests.errors import DatasetError
from manifests.files import FolderLock, disk_full, is_temporary, remove
from manifests.store import layout
from manifests.store.header import Bound, Document, Header, Measured, difference, read_document, write_document
from manifests.store.shards import read_failure, read_failures, read_item, read_manifest, read_sample
from manifests.store.tables import read_parquet

__all__ = ["Dataset", "Header", "open_dataset", "open_or_create"]


@dataclass(frozen=True)
class Dataset:
    """A dataset folder and its header. Only committed shards, those whose manifest is there, count as data.

    Example:
        dataset = open_dataset("out/set")
        rows = [row for row in dataset.rows() if row.split == "train"]
        clip = decode_clip(rows[0].key, dataset.files(rows[0]), ["rgb", "normal"])
        print(clip.arrays["normal"].shape)  # (frames, height, width, 3)

    `decode_clip` is that of `manifests.codec.codecs`.
    """

    path: Path
    header: Header

    def shards(self) -> list[int]:
        """Numbers of the committed shards, ascending."""
        folder = self.path / layout.MANIFEST
        numbers = (layout.shard_number(path, layout.MANIFEST) for path in folder.glob("*.parquet"))
        return sorted(number for number in numbers if number is not None)

    def committed(self, shard: int) -> bool:
        """True once the shard's manifest is there."""
        return layout.shard_file(self.path, layout.MANIFEST, shard).is_file()

    def rows(self, shard: int | None = None) -> list[ClipRow]:
        """Rows of one committed shard, or of all, in order of shard and key; DatasetError when one is not readable."""
        return [row for number in self._chosen(shard) for row in read_manifest(self.path, number)[1]]

    def failures(self, shard: int | None = None) -> list[FailureRow]:
        """Failures of one committed shard, or of all, in order of item."""
        return [failure for number in self._chosen(shard) for failure in read_failures(self.path, number)]

    def files(self, row: ClipRow) -> dict[str, bytes]:
        """The files of a clip by suffix, checked against the row's hash, as `codecs.decode_clip` takes them."""
        return read_sample(self.path, row)

    def shard_of(self, item: int) -> int:
        """The shard that holds a work item."""
        return item // self.header.per_shard

    def item_path(self, item: int) -> Path:
        """Where a finished work item waits to be packed (`shards.write_item`)."""
        return layout.item_file(self.path, item)

    def failure_path(self, item: int) -> Path:
        """Where the note about a quarantined work item waits to be packed (`shards.write_failure`)."""
        return layout.failure_file(self.path, item)

    def clean(self) -> list[Path]:
        """Remove what a killed run left: temporary files, and work items of committed shards. Returns their paths.

        Call it only from the process that holds `lock`.
        """
        folders = (self.path, *(self.path / name for name in (*layout.SUFFIX, layout.WORK)))
        leftovers = [path for folder in folders for path in folder.glob(".*.tmp") if is_temporary(path)]
        for path in (self.path / layout.WORK).iterdir():
            item = layout.item_number(path)
            if item is not None and self.committed(self.shard_of(item)):
                leftovers.append(path)
        for path in leftovers:
            remove(path)
        return leftovers

    def item_problem(self, path: Path) -> str | None:
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

    def lock(self) -> FolderLock:
        """Keeps other processes of this machine from writing here; DatasetError when one already does."""
        return FolderLock(
            self.path / layout.LOCK,
            lambda holder: DatasetError(
                f"another process is writing here ({holder})", "wait for it or stop it", where=self.path
            ),
        )

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


def open_dataset(path: Path | str) -> Dataset:
    """Open an existing dataset; DatasetError when there is none."""
    path = Path(path)
    return Dataset(path, read_document(path).header)


def open_or_create(path: Path | str, header: Header) -> Dataset:
    """Open the dataset at `path`, or create it with `header` written first.

    Raises DatasetError, naming the first field that differs, when the dataset there has another header.
    """
    path = Path(path)
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
    for folder in (*layout.SUFFIX, layout.WORK):
        (path / folder).mkdir(exist_ok=True)
    return Dataset(path, existing)


def _create(path: Path, header: Header) -> None:
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
    for shard in shards:
        path = layout.shard_file(dataset.path, layout.MANIFEST, shard)
        table = read_parquet(path, ["size", "codec_errors"])
        totals["clips"] += table.num_rows
        totals["bytes"] += sum(table["size"].to_pylist())
        totals["failures"] += len(dataset.failures(shard))
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
