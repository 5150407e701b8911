"""`Resolver`: from what a spec names to a file on this machine, and never to anything outside the provider's place."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from datagen.fetched_assets import FetchedAssets
from manifests.errors import RenderError
from manifests.node_cache import NODE_CACHE_GIB
from manifests.object_path import ObjectPath, Place
from scenes.providers.file_checks import sha256_of
from scenes.spec import File, TextureSet
from scenes.texturesets import find_maps


def cache_folder(otherwise: Path) -> Path:
    """The user's cache folder for derived files, shared by workers and runs; `otherwise` where it cannot be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightloom"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return otherwise
    return folder if os.access(folder, os.W_OK) else otherwise


@dataclass(frozen=True)
class Resolver:
    """Finds assets and holds derived files.

    Attributes:
        roots: the place of each provider: a folder of this machine, or a bucket.
        cache: folder for files that are derived from specs alone (baked skies) and for those fetched from buckets, in
            `assets`; safe to delete while no worker runs.
        cache_gib: how much of buckets is kept there; what a scene in the making needs comes on top.
    """

    roots: Mapping[str, Place]
    cache: Path
    cache_gib: float = NODE_CACHE_GIB
    _checked: set[tuple[object, ...]] = field(default_factory=set, repr=False, compare=False)

    def path(self, source: File | TextureSet) -> Path:
        """Return the absolute path of a provider's file or texture folder; of one from a bucket, inside of `in_use`.

        Its content must have the hash that the spec recorded, so that a spec always renders the same scene.
        Raises RenderError: `missing-asset` (no such provider or path), `unsafe-path` (it leaves the provider's
        folder, symbolic links included), `changed-asset` (other content than recorded). Raises StorageError where a
        bucket does not answer, and DiskFull.
        """
        if source.provider not in self.roots:
            raise RenderError("missing-asset", f"no folder is known for provider {source.provider!r}", where=source.uid)
        root = self.roots[source.provider].resolve()
        if isinstance(root, ObjectPath):
            return self._fetched(source, root)
        found = (root / source.path).resolve()
        if not found.is_relative_to(root):
            raise _unsafe(source)
        if not found.exists():
            raise RenderError("missing-asset", f"{found} does not exist", where=source.uid)
        self._check_content(source, found, found)
        return found

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a scene is in the making: what `path` gives stays there until the block ends."""
        try:
            yield
        finally:
            if "_copies" in self.__dict__:
                self._copies.release()

    @cached_property
    def _copies(self) -> FetchedAssets:
        return FetchedAssets(self.cache / "assets", int(self.cache_gib * 2**30))

    def _fetched(self, source: File | TextureSet, root: ObjectPath) -> Path:
        """What lies in a bucket, in a copy; one that went bad in the cache is fetched anew."""
        relative = posixpath.normpath(source.path)
        if relative.startswith(("/", "../")) or relative == "..":
            raise _unsafe(source)
        for again in (True, False):
            path, kept = self._copies.bring(source, root / relative)
            try:
                self._check_content(source, path, root / relative)
                break
            except RenderError:
                self._copies.forget(source, root / relative)
                if not (kept and again):
                    raise
        return path

    def _check_content(self, source: File | TextureSet, path: Path, where: Place) -> None:
        """Compare with the recorded hash, once for as long as the files stay what they are."""
        files = [path] if isinstance(source, File) else sorted(find_maps(path).files.values())
        if not source.sha256 or not files:
            return
        stats = [file.stat() for file in files]
        identity = (source.sha256, *((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in stats))
        if identity in self._checked:
            return
        if sha256_of(*files) != source.sha256:
            raise RenderError("changed-asset", f"{where} is not what the catalogue recorded", where=source.uid)
        self._checked.add(identity)


def _unsafe(source: File | TextureSet) -> RenderError:
    return RenderError("unsafe-path", f"{source.path!r} leaves the place of {source.provider}", where=source.uid)
