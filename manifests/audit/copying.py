"""`copy`: a dataset from a folder into a bucket, back, or on, shard by shard; each counts once all of it is there.

As when a dataset is made, the manifest of a shard comes last. So a copy can be used while it grows, and one that was
stopped goes on with the shards that are missing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manifests.errors import DatasetError
from manifests.files import atomic_file, write_bytes
from manifests.object_path import Place, local_files
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import Measured, read_document, write_document
from manifests.store.shards import put_manifest, read_manifest


def copy(
    source: Place | str,
    target: Place | str,
    *,
    threads: int = 4,
    read_back: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """Copy the committed shards of a dataset; returns the totals of the copy.

    Every clip is compared with its hash in the manifest before it is sent, and again as it came to lie, which reads the
    copy once (`read_back`). Raises DatasetError, naming what differs: a damaged source (repair it first), or another
    dataset at the target. `progress` is called with the bytes of each shard that is done, by any of `threads`.
    """
    old = open_dataset(source)
    new = open_or_create(target, old.header)
    with new.lock():
        done = set(new.shards())
        _plain(old.path / layout.CATALOGUE, new.path / layout.CATALOGUE)

        def move(shard: int) -> None:
            size = _move(old, new, shard, read_back=read_back) if shard not in done else 0
            if progress:
                progress(size)

        with ThreadPoolExecutor(max(threads, 1)) as pool:
            list(pool.map(move, old.shards()))
        measured = new.finish()
        document = read_document(old.path)
        if document.measured == measured:  # byte for byte what it was, whoever wrote it
            write_document(new.path, document)
        return measured


def _plain(source: Place, target: Place) -> None:
    if source.is_file() and not target.is_file():
        write_bytes(target, source.read_bytes())


def _move(old: Dataset, new: Dataset, shard: int, *, read_back: bool) -> int:
    """Copy one shard and commit it; the bytes of its tar."""
    tar = layout.shard_file(old.path, layout.SHARDS, shard)
    with local_files([tar]) as (local,):
        _check(old, shard, local, tar)
        _send(local, layout.shard_file(new.path, layout.SHARDS, shard))
        size = local.stat().st_size
    for folder in (layout.PREVIEWS, layout.FAILURES):
        data = layout.shard_file(old.path, folder, shard).read_bytes()
        write_bytes(layout.shard_file(new.path, folder, shard), data)
    if read_back:
        sent = layout.shard_file(new.path, layout.SHARDS, shard)
        with local_files([sent]) as (local,):
            _check(old, shard, local, sent)
    manifest = layout.shard_file(old.path, layout.MANIFEST, shard).read_bytes()
    put_manifest(layout.shard_file(new.path, layout.MANIFEST, shard), manifest)
    return size


def _check(dataset: Dataset, shard: int, file: Path, where: Place) -> None:
    """Compare a tar with the manifest of `dataset`: size and hash of every clip."""
    seal, rows = read_manifest(dataset.path, shard)
    if file.stat().st_size != seal.tar_bytes:
        raise DatasetError(f"has not the {seal.tar_bytes} bytes that its manifest says", "run verify", where=where)
    with file.open("rb") as tar:
        for row in rows:
            tar.seek(row.offset)
            hasher = hashlib.sha256()
            left = row.size
            while left > 0 and (piece := tar.read(min(left, 1 << 20))):
                hasher.update(piece)
                left -= len(piece)
            if hasher.hexdigest() != row.sha256:
                raise DatasetError(f"clip {row.key} was changed: its SHA-256 differs", "run verify", where=where)


def _send(local: Path, target: Place) -> None:
    if isinstance(target, Path):
        with local.open("rb") as file, atomic_file(target) as copied:
            shutil.copyfileobj(file, copied, 1 << 20)
    else:
        target.put(local)
