"""Where clips come from: datasets in folders, in buckets and behind URLs, image folders. All give the same `Clip`.

Clips of a dataset are found by the byte range in its manifest, so any order costs the same on a local disk. In a
bucket each range is a request, sent before the clip's turn comes; workers fetch no byte that is another's. A plain
server may know no ranges, so it is mirrored shard by shard: as few shards as the order needs are kept.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.contract.row import ClipRow
from manifests.errors import DatasetError
from manifests.files import atomic_file
from manifests.node_cache import NodeCache
from manifests.object_path import REQUESTS, SCHEMES, ObjectPath, place
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset
from training.data.batch import ClipEntry
from training.data.image_folders import ImageSource, is_image_folder

_FETCHED_AHEAD = 64
"""Clips that are on their way, or here and not yet decoded."""


class ClipSource(Protocol):
    """A list of clips, each of which can be had at any time, from any thread."""

    @property
    def entries(self) -> Sequence[ClipEntry]:
        """The clips, in an order that never changes."""

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """Clip `index` with those of the wanted attributes that it has, and frames (None: all): a CodedClip, or one in
        which colours are sRGB-encoded in [0, 1]."""

    def ahead(self, indices: Iterable[int]) -> None:
        """These will be asked for next."""


class DatasetSource:
    """The committed clips of a dataset, or those of `rows`; from a bucket by way of `cache`."""

    def __init__(self, dataset: Dataset, rows: list[ClipRow] | None = None, cache: NodeCache | None = None) -> None:
        self._dataset, self._cache = dataset, cache
        self._coming: dict[int, Future[dict[str, bytes]]] = {}
        self._fetchers = None if isinstance(dataset.path, Path) else ThreadPoolExecutor(REQUESTS, "fetch")
        self._rows = dataset.rows() if rows is None else rows
        if not self._rows:
            raise DatasetError("holds no clip yet", "make some with `lightloom datagen run`", where=dataset.path)
        self.entries = [_entry(row) for row in self._rows]

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """See `ClipSource`; raises DatasetError, CodecError."""
        return self.decode(index, self.read(index), attributes, frames, light=light)

    def read(self, index: int) -> dict[str, bytes]:
        """The files of clip `index` by suffix, checked against the manifest's hash."""
        coming = self._coming.pop(index, None)
        return coming.result() if coming else self._dataset.files(self._rows[index], self._cache)

    def ahead(self, indices: Iterable[int]) -> None:
        """See `ClipSource`; fetches them where they are in a bucket."""
        for index in indices:
            if self._fetchers and len(self._coming) < _FETCHED_AHEAD and index not in self._coming:
                self._coming[index] = self._fetchers.submit(self._dataset.files, self._rows[index], self._cache)

    def decode(
        self,
        index: int,
        files: Mapping[str, bytes],
        attributes: Collection[str],
        frames: Sequence[int] | None,
        *,
        light: bool,
    ) -> Clip:
        """Clip `index` from its files."""
        row = self._rows[index]
        known = row.attributes or GBUFFERS  # nobody said so of clips of the first contract
        held = [name for name in attributes if name in known or name == "rgb"]  # without a mask all is surface
        return decode_clip(row.key, files, held, frames, light=light, coded=True)


class UrlSource:
    """A dataset behind a URL, mirrored into `folder` shard by shard as clips are asked for.

    `keep` is how many shards may lie in the folder; the ones unused for longest go first. It must be above the
    number of shards that the order mixes, or shards are fetched again and again.
    """

    def __init__(self, url: str, folder: Path, keep: int) -> None:
        self._url, self._folder, self._keep = ObjectPath(url), folder, keep
        self._lock = threading.Lock()
        self._fetching: dict[int, threading.Lock] = {}
        self._used: dict[int, None] = {}  # by last use, oldest first
        for name in (layout.MANIFEST, layout.SHARDS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._fetch(layout.HEADER)
        dataset = open_dataset(folder)
        for shard in range(dataset.header.shards):
            self._fetch(f"{layout.MANIFEST}/{shard:06d}{layout.SUFFIX[layout.MANIFEST]}")
        self._local = DatasetSource(dataset)
        self.entries = self._local.entries

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """See `ClipSource`; raises DatasetError when the shard cannot be fetched."""
        shard = self.entries[index].shard
        with self._lock:
            fetching = self._fetching.setdefault(shard, threading.Lock())
        with fetching:  # the first to come fetches, the others wait; nobody removes it meanwhile
            self._fetch(f"{layout.SHARDS}/{shard:06d}{layout.SUFFIX[layout.SHARDS]}")
            files = self._local.read(index)
        self._forget(shard)
        return self._local.decode(index, files, attributes, frames, light=light)

    def ahead(self, indices: Iterable[int]) -> None:
        """See `ClipSource`; a shard is fetched by whoever needs it first."""

    def _fetch(self, name: str) -> None:
        path, there = self._folder / name, self._url / name
        if path.is_file():
            return
        try:
            with atomic_file(path) as file:
                there.download(file)
        except FileNotFoundError:
            raise DatasetError("is not there", where=there) from None

    def _forget(self, shard: int) -> None:
        """Remove the shards that were unused for longest, beyond `keep`, unless someone reads them."""
        with self._lock:
            self._used.pop(shard, None)
            self._used[shard] = None
            for old in list(self._used)[: -self._keep]:
                lock = self._fetching[old]
                if lock.acquire(blocking=False):
                    (self._folder / layout.SHARDS / f"{old:06d}{layout.SUFFIX[layout.SHARDS]}").unlink(missing_ok=True)
                    del self._used[old]
                    lock.release()


class JoinedSources:
    """Several sources as one; their shards stay apart."""

    def __init__(self, sources: Sequence[ClipSource]) -> None:
        self._places = [(source, index) for source in sources for index in range(len(source.entries))]
        self.entries: list[ClipEntry] = []
        first = 0
        for source in sources:
            moved = [dataclasses.replace(entry, shard=entry.shard + first) for entry in source.entries]
            self.entries += moved
            first = 1 + max(entry.shard for entry in moved)

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """See `ClipSource`."""
        source, number = self._places[index]
        return source.clip(number, attributes, frames, light=light)

    def ahead(self, indices: Iterable[int]) -> None:
        """See `ClipSource`."""
        for source, number in (self._places[index] for index in indices):
            source.ahead([number])


def open_source(path: str | Path, cache: Path, keep: int, cache_bytes: int = 0) -> ClipSource:
    """The source that `path` names: a dataset's folder or URL, or a folder of images (`data/image_folders.py`).

    `cache` is where clips of buckets are kept, in up to `cache_bytes`, and where plain servers are mirrored, `keep`
    of their shards at a time.
    """
    folder = place(path)
    if isinstance(folder, ObjectPath) and folder.bucket.startswith("http"):
        return UrlSource(str(folder), cache / re.sub(r"[^A-Za-z0-9.-]+", "_", str(folder)), keep)
    if isinstance(folder, ObjectPath):
        return DatasetSource(open_dataset(folder), cache=NodeCache(cache / "clips", cache_bytes))
    if (folder / layout.HEADER).is_file():
        return DatasetSource(open_dataset(folder))
    if is_image_folder(folder):
        return ImageSource(folder)
    raise DatasetError(
        f"neither a dataset (no {layout.HEADER}) nor an image folder nor a URL ({', '.join(SCHEMES)})", where=path
    )


def _entry(row: ClipRow) -> ClipEntry:
    real = row.stage != "datagen"
    confidence = {name: row.confidence.get(name, 1.0) for name in (*GBUFFERS, "environment")}
    return ClipEntry(row.key, row.frames, row.height, row.width, row.shard, real, confidence)
