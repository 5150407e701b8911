"""Where clips come from: dataset folders, datasets behind a URL, image folders. All give the same `Clip`.

Clips of a dataset are found by the byte range in its manifest, so any order costs the same on a local disk. A URL is
mirrored shard by shard into a folder, which then is read like any dataset: as few shards as the order needs are kept.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import threading
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import webdataset

from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.contract.row import ClipRow
from manifests.errors import DatasetError
from manifests.files import atomic_file
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset
from training.data.batch import ClipEntry
from training.data.image_folders import ImageSource, is_image_folder

SCHEMES = ("http://", "https://", "gs://", "hf://")
"""What a URL may begin with; webdataset's `gopen` reads it."""


_PATIENCE_S = 60


class ClipSource(Protocol):
    """A list of clips, each of which can be had at any time, from any thread."""

    @property
    def entries(self) -> Sequence[ClipEntry]:
        """The clips, in an order that never changes."""

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """Clip `index` with those of the wanted attributes that it has, and frames (None: all): a CodedClip, or one in
        which colours are sRGB-encoded in [0, 1]."""


class DatasetSource:
    """The committed clips of a dataset folder, or those of `rows`."""

    def __init__(self, dataset: Dataset, rows: list[ClipRow] | None = None) -> None:
        self._dataset = dataset
        self._rows = dataset.rows() if rows is None else rows
        if not self._rows:
            raise DatasetError("holds no clip yet", "make some with `lightloom datagen run`", where=dataset.path)
        self.entries = [_entry(row) for row in self._rows]

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """See `ClipSource`; raises DatasetError, CodecError."""
        return self.decode(index, self.read(index), attributes, frames, light=light)

    def read(self, index: int) -> dict[str, bytes]:
        """The files of clip `index` by suffix, checked against the manifest's hash."""
        return self._dataset.files(self._rows[index])

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
        self._url, self._folder, self._keep = url.rstrip("/"), folder, keep
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

    def _fetch(self, name: str) -> None:
        path = self._folder / name
        if path.is_file():
            return
        try:
            with _opened(f"{self._url}/{name}") as stream, atomic_file(path) as file:
                shutil.copyfileobj(stream, file, 1 << 20)
        except OSError as error:
            raise DatasetError(
                f"cannot be fetched ({str(error).splitlines()[0]})", where=f"{self._url}/{name}"
            ) from None

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


def _opened(url: str) -> Any:
    """A stream of what lies at `url`; OSError says in one line why not."""
    if url.startswith("http"):
        return urllib.request.urlopen(url, timeout=_PATIENCE_S)  # webdataset asks curl, whose reasons are numbers
    return webdataset.gopen(url)


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
        source, place = self._places[index]
        return source.clip(place, attributes, frames, light=light)


def open_source(path: str | Path, cache: Path, keep: int) -> ClipSource:
    """The source that `path` names: a dataset folder, a folder of images (`data/image_folders.py`) or a dataset's URL.

    `cache` is where URLs are mirrored, `keep` how many of their shards stay there.
    """
    text = str(path)
    if text.startswith(SCHEMES):
        return UrlSource(text, cache / re.sub(r"[^A-Za-z0-9.-]+", "_", text), keep)
    folder = Path(path)
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
