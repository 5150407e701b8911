"""Assets that lie in a bucket: fetched once for all workers of a machine, into a cache with a bound.

A scene is made of links to what the cache holds, in a folder of its worker's own, so whatever is dropped from the cache
meanwhile stays where the scene looks for it. Around a mesh lie the files that it names, at the places where it expects
them; a folder of texture maps holds all of their names, by which `find_maps` tells them apart, and the content of
those that it chooses.
"""

from __future__ import annotations

import hashlib
import posixpath
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from datagen.assets.asset_file import DEFAULT_LIMITS, AssetError
from datagen.assets.inspection import named_files
from datagen.assets.wavefront import named_maps
from manifests.errors import RenderError
from manifests.files import Scratch, disk_full
from manifests.node_cache import NodeCache
from manifests.object_path import ObjectPath, ObjectStat
from scenes.providers.file_checks import LARGEST_FILE, MESH_FORMATS
from scenes.spec import File, TextureSet
from scenes.texturesets import IMAGE_SUFFIXES, MAPS_FOLDER, find_maps

_LAYERS = {"fbx": set(), "usd": {".usd", ".usda", ".usdc"}}  # what may be named beside images, by format


class _Part(NamedTuple):
    """A file of an asset: its path within the asset's folder, where it lies, and its name in the cache ("": empty)."""

    name: str
    there: ObjectPath
    key: str


class FetchedAssets:
    """Copies of assets for the scene of one worker, out of the cache in `folder`, which is bounded to `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._cache = NodeCache(folder / "files", limit)
        self._scratch: Scratch | None = None
        self._parts: dict[str, list[_Part]] = {}

    def bring(self, source: File | TextureSet, where: ObjectPath) -> tuple[Path, bool]:
        """The local path of a file, with what it names around it, or of a texture folder; stays until `release`.

        Also whether some of it was in the cache already. Raises RenderError (`missing-asset`, `changed-asset`,
        `too-large`), DiskFull, and StorageError where the bucket cannot be asked.
        """
        asset = _key(str(where), source.sha256)
        with disk_full(self._folder):
            self._scratch = self._scratch or Scratch(self._folder / "in-use")
            folder, kept = self._scratch.path / asset, False
            path = folder / where.name if isinstance(source, File) else folder
            if folder.exists():
                return path, True
            try:
                parts: list[_Part] = []
                for part in self._parts.get(asset) or _parts(source, where, folder):
                    kept |= self._place(part, folder, source.uid)
                    parts.append(part)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._parts[asset] = parts
        return path, kept

    def forget(self, source: File | TextureSet, where: ObjectPath) -> None:
        """Drop what was brought of an asset, here and from the cache."""
        asset = _key(str(where), source.sha256)
        for part in self._parts.pop(asset, []):
            if part.key:
                self._cache.forget(part.key)
        if self._scratch is not None:
            shutil.rmtree(self._scratch.path / asset, ignore_errors=True)

    def release(self) -> None:
        """The scene is made: nothing that was brought is needed any more."""
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def _place(self, part: _Part, folder: Path, uid: str) -> bool:
        """Put a part into its place; whether the cache had it."""
        target = folder / part.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not part.key:
            target.touch()
            return False
        target.unlink(missing_ok=True)
        return not self._cache.link(part.key, target, partial(_download, part.there, uid))


def _download(there: ObjectPath, uid: str, file: BinaryIO) -> None:
    try:
        if there.stat().st_size > LARGEST_FILE:
            raise RenderError("changed-asset", f"{there} is larger than an asset may be", where=uid)
        there.download(file)
    except FileNotFoundError:
        raise RenderError("missing-asset", f"{there} does not exist", where=uid) from None


def _parts(source: File | TextureSet, where: ObjectPath, folder: Path) -> Iterator[_Part]:
    """The parts of an asset, one after the other: what the next ones are is read in those that lie in `folder`."""
    if isinstance(source, TextureSet):
        yield from _maps(source, where, folder)
        return
    yield _Part(where.name, where, _key(source.sha256) if source.sha256 else _key(str(where), str(where.stat())))
    path, kind = folder / where.name, MESH_FORMATS.get(where.suffix.lower(), "")
    if kind in _LAYERS:
        yield from _folder_of(path, where, kind)
    elif kind:
        libraries = []
        for part in _named(named_files(path), where.parent):
            yield part
            libraries.append(folder / part.name)
        if kind == "obj":
            yield from _named(named_maps(libraries), where.parent)


def _maps(source: TextureSet, where: ObjectPath, folder: Path) -> Iterator[_Part]:
    if not where.lists:
        what, advice = (
            f"{where.bucket} cannot say which maps there are",
            "keep texture folders in s3://, gs:// or az://",
        )
        raise RenderError("missing-asset", what, advice, where=source.uid)
    there = where.stats()
    yield from _empty(there, where)
    if not find_maps(folder).usable:
        for inner in [path for path in where.iterdir() if path.name.lower() == MAPS_FOLDER]:
            within = {f"{inner.name}/{name}": stat for name, stat in inner.stats().items()}
            yield from _empty(within, where)
            there |= within
    if not there:
        raise RenderError("missing-asset", f"{where} does not exist", where=source.uid)
    for path in sorted(find_maps(folder).files.values()):
        name = path.relative_to(folder).as_posix()
        yield _part(name, where, there[name])


def _empty(names: Iterable[str], where: ObjectPath) -> Iterator[_Part]:
    return (_Part(name, where / name, "") for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES)


def _named(names: Iterable[str], folder: ObjectPath) -> Iterator[_Part]:
    """The files of a folder, and of those in it, that are there under names of an asset file, percent-encoded or not.

    What is not there, or would leave the folder, is left for the checks of the file to name.
    """
    for name in dict.fromkeys(text.replace("\\", "/") for one in names for text in (one, unquote(one))):
        plain = posixpath.normpath(name)
        if "\0" in name or "://" in name or plain.startswith(("/", "../")) or plain in {".", ".."}:
            continue
        try:
            yield _part(name, folder, (folder / plain).stat())
        except FileNotFoundError:
            continue


def _folder_of(path: Path, where: ObjectPath, kind: str) -> Iterator[_Part]:
    """Images, and layers, in the folder of a file that only its importer reads; of an FBX those that it names."""
    there = where.parent.tree() if where.lists else {}
    names = [name for name in sorted(there) if Path(name).suffix.lower() in IMAGE_SUFFIXES | _LAYERS[kind]]
    names = [name for name in names if ".." not in Path(name).parts]
    if kind == "fbx":
        data = path.read_bytes()
        names = [name for name in names if Path(name).name.encode() in data]
    if len(names) > DEFAULT_LIMITS.references:
        raise AssetError("too-large", f"beside {where} lie {len(names)} files", "give it a folder of its own")
    for name in names:
        if name != where.name:
            yield _part(name, where.parent, there[name])


def _part(name: str, folder: ObjectPath, stat: ObjectStat) -> _Part:
    there = folder / posixpath.normpath(name)
    return _Part(name, there, _key(str(there), str(stat)))


def _key(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
