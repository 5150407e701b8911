"""`merge`: several finished datasets become one, shard by shard, without rendering or encoding anything again.

Shards keep their content and get new numbers. Where all keys differ the tars are hard-linked (copied across disks).
Keys that occur twice, as those of two runs of datagen do, get a prefix by source ("s0-", "s1-" ...): those tars are
written anew. Items keep their numbers and the header keeps each source's recipe and seed, so that every clip can
still be rendered again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from manifests.contract.attributes import CONTRACT_VERSION
from manifests.contract.row import ClipRow, FailureRow, Sample
from manifests.errors import DatasetError
from manifests.files import atomic_file, disk_full, sync_folder, write_bytes
from manifests.object_path import Place
from manifests.store import archive, layout
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Header, Measured, MergedSource, difference
from manifests.store.row_file import without_packing
from manifests.store.shards import append, read_manifest, write_manifest
from manifests.store.tables import encode_parquet, to_table


def merge(paths: Sequence[Place | str], out: Place | str, progress: Callable[[int], None] | None = None) -> Measured:
    """Merge the finished datasets at `paths` into a new one at `out`; returns its totals.

    The datasets must agree in attribute table and codec, each be complete, and no clip may be in two of them (same
    spec and part); DatasetError names what is in the way. Shards of an older contract are upgraded on the way.
    Started again after a kill it goes on.
    `progress` is called with the bytes done since the last call.
    """
    datasets = [open_dataset(path) for path in paths]
    if len(datasets) < 2:
        raise DatasetError(f"merge wants two datasets or more, got {len(datasets)}")
    _check_compatible(datasets)
    prefixes = _prefixes(datasets)
    merged = open_or_create(out, _header(datasets, prefixes))
    with merged.lock():
        merged.clean()
        first = 0
        for dataset, prefix in zip(datasets, prefixes, strict=True):
            for shard in dataset.shards():
                if not merged.committed(first + shard):
                    _Move(dataset, shard, merged, first + shard, prefix).run()
                if progress:
                    progress(layout.shard_file(dataset.path, layout.SHARDS, shard).stat().st_size)
            first += dataset.header.shards
        return merged.finish()


def _check_compatible(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    seen: dict[tuple[str, int], tuple[Place, str]] = {}
    for dataset in datasets:
        common: dict[str, Any] = {name: getattr(dataset.header, name) for name in ("attributes", "codec")}
        different = difference(first.header, msgspec.structs.replace(first.header, **common))
        if different:
            raise DatasetError(f"{first.path} and {dataset.path} do not fit together: {different}")
        missing = sorted(set(range(dataset.header.shards)) - set(dataset.shards()))
        if missing:
            raise DatasetError(f"shard {missing[0]} is missing", "finish the run before merging", where=dataset.path)
        for row in dataset.rows():
            if row.spec_digest:
                path, key = seen.setdefault((row.spec_digest, row.part), (dataset.path, row.key))
                if path != dataset.path:
                    raise DatasetError(
                        f"clip {row.key} of {dataset.path} is the same scene as {key} of {path}",
                        "merge runs with different seeds or recipes",
                    )


def _prefixes(datasets: Sequence[Dataset]) -> list[str]:
    """ "" for all when no key occurs in two datasets, else one prefix per dataset."""
    keys: set[str] = set()
    for dataset in datasets:
        own = {row.key for row in dataset.rows()}
        if keys & own:
            return [f"s{index}-" for index in range(len(datasets))]
        keys |= own
    return [""] * len(datasets)


def _header(datasets: Sequence[Dataset], prefixes: Sequence[str]) -> Header:
    sources: list[MergedSource] = []
    for dataset, prefix in zip(datasets, prefixes, strict=True):
        first = sum(source.shards for source in sources)
        sources += _sources(dataset.header, prefix, first)
    return Header(
        stage="merge",
        codec=datasets[0].header.codec,
        recipe={},
        seed=0,
        items=sum(source.items for source in sources),
        per_shard=max(source.per_shard for source in sources),
        attributes={name: row for dataset in datasets for name, row in dataset.header.attributes.items()},
        sources=tuple(sources),
    )


def _sources(header: Header, prefix: str, first: int) -> Iterator[MergedSource]:
    """The sources that a dataset brings into a merge: itself, or its own sources if it was merged already."""
    for source in header.sources:
        yield msgspec.structs.replace(source, first_shard=first + source.first_shard, prefix=prefix + source.prefix)
    if not header.sources:
        shared = {name: getattr(header, name) for name in MergedSource.__struct_fields__ if hasattr(header, name)}
        yield MergedSource(**shared, first_shard=first, prefix=prefix)


@dataclass(frozen=True)
class _Move:
    """One shard of a source on its way to its new number."""

    source: Dataset
    shard: int
    merged: Dataset
    number: int
    prefix: str

    def run(self) -> None:
        """Tar, preview and failures first, the manifest last, as `write_shard` does."""
        seal, rows = read_manifest(self.source.path, self.shard)
        older = self.source.header.contract_of(seal.header) != CONTRACT_VERSION
        rows = self._rewritten(rows) if self.prefix or older else self._linked(layout.SHARDS, rows)
        self._linked(layout.PREVIEWS, [])
        failures = [msgspec.structs.replace(one, shard=self.number) for one in self.source.failures(self.shard)]
        table = encode_parquet(to_table(failures, FailureRow))
        write_bytes(self._file(layout.FAILURES), table)
        seal = msgspec.structs.replace(
            seal,
            shard=self.number,
            header=self.merged.header.digest(),
            tar_bytes=self._file(layout.SHARDS).stat().st_size,
            failures_sha256=hashlib.sha256(table).hexdigest(),
        )
        write_manifest(self.merged.path, seal, rows)

    def _file(self, folder: str) -> Place:
        return layout.shard_file(self.merged.path, folder, self.number)

    def _linked(self, folder: str, rows: Sequence[ClipRow]) -> list[ClipRow]:
        """Link a file of the shard, or copy it where a link cannot be made."""
        old, new = layout.shard_file(self.source.path, folder, self.shard), self._file(folder)
        new.unlink(missing_ok=True)
        with disk_full(new):
            try:
                if not (isinstance(old, Path) and isinstance(new, Path)):
                    raise OSError(errno.EXDEV, "no links between stores")
                os.link(old, new)
                sync_folder(new.parent)
            except OSError:
                with old.open("rb") as file, atomic_file(new) as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
        return [msgspec.structs.replace(row, shard=self.number) for row in rows]

    def _rewritten(self, rows: Sequence[ClipRow]) -> list[ClipRow]:
        """Write the tar anew with prefixed keys; every clip is checked against its hash on the way."""
        done, lights = [], self.source.header.source(self.shard).lights
        with atomic_file(self._file(layout.SHARDS)) as file:
            for row in sorted(rows, key=lambda row: row.offset):
                plain = msgspec.structs.replace(without_packing(row), key=self.prefix + row.key)
                done.append(
                    append(file, self.number, Sample(plain.key, self.source.files(row), plain), lights, file.tell())
                )
            file.write(archive.END)
        return done
