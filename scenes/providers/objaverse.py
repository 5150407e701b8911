"""The Objaverse provider: reads the cache of the `objaverse` package, and fills it when asked to and online.

Layout: `lvis-annotations.json.gz`, `object-paths.json.gz`, `metadata/000-xxx.json.gz`, `glbs/000-xxx/<uid>.glb`
under `hf-objaverse-v1`. Any index may be missing or cut off (the package checks nothing it downloads): then the
folders themselves are listed, and what could not be read is in `catalogue.problems`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from manifests.errors import SpecError
from scenes.catalogue import Asset, AssetProblem, Catalogue, assign_split
from scenes.licences import from_sketchfab
from scenes.providers.file_checks import file_problem, sha256_of
from scenes.spec import File

NAME = "objaverse"
VERSION_FOLDER = "hf-objaverse-v1"
_LVIS, _PATHS = "lvis-annotations.json.gz", "object-paths.json.gz"
_LARGEST_INDEX = 1 << 30


def objaverse_catalogue(root: Path | None = None, *, lvis_only: bool = True, download: int = 0) -> Catalogue:
    """Catalogue of the objects that lie in the cache.

    `root` is the package's folder (`~/.objaverse` by default) or the `hf-objaverse-v1` folder in it. `lvis_only`
    keeps the objects with an LVIS category, as DiffusionRenderer's data did, when that list is there. `download`
    fetches up to that many further LVIS objects first. Meshes are unscored. Raises SpecError if there is no
    cache, or if a download was asked for and failed.
    """
    folder = cache_folder(root)
    if download > 0:
        _download(folder, download)
    if not folder.is_dir():
        raise SpecError(f"no Objaverse cache at {folder}", "give its folder, or ask for a download when online")
    return _Reader(folder.resolve()).catalogue(lvis_only)


def cache_folder(root: Path | None = None) -> Path:
    """The `hf-objaverse-v1` folder that `root` is or holds."""
    base = Path.home() / ".objaverse" if root is None else root
    return base if base.name == VERSION_FOLDER or (base / "glbs").is_dir() else base / VERSION_FOLDER


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[AssetProblem] = []
        self._metadata: dict[str, Mapping[str, Any]] = {}

    def catalogue(self, lvis_only: bool) -> Catalogue:
        paths = self._object_paths()
        if lvis_only:
            annotated = lvis_uids(self._index(_LVIS))
            if annotated:
                paths = {uid: path for uid, path in paths.items() if uid in annotated}
            else:
                self._refuse(_LVIS, "no LVIS categories: every object of the cache is listed")
        good = {uid: path for uid, path in sorted(paths.items()) if self._is_good(path)}
        with ThreadPoolExecutor(max_workers=4) as pool:
            hashes = list(pool.map(sha256_of, (self.folder / path for path in good.values())))
        assets = [self._asset(uid, path, sha256) for (uid, path), sha256 in zip(good.items(), hashes, strict=True)]
        return Catalogue(assets, {NAME: self.folder}, self.problems)

    def _object_paths(self) -> dict[str, str]:
        """Paths, relative to the folder, of the objects that are there, by uid."""
        index = self._index(_PATHS)
        if not isinstance(index, dict):
            found = sorted(self.folder.glob("glbs/*/*.glb"))
            return {path.stem: path.relative_to(self.folder).as_posix() for path in found}
        paths = {}
        for uid, path in index.items():
            if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                self._refuse(_PATHS, f"path of {uid} leaves the cache")
            elif (self.folder / path).is_file():
                paths[uid] = path
        return paths

    def _is_good(self, path: str) -> bool:
        reason = file_problem(self.folder / path)
        if not (self.folder / path).resolve().is_relative_to(self.folder):
            reason = "a link that leaves the folder is not followed"
        if reason is not None:
            self._refuse(path, reason)
        return reason is None

    def _asset(self, uid: str, path: str, sha256: str) -> Asset:
        facts = self._facts(uid, path)
        user = facts.get("user")
        names = [user.get(key) for key in ("displayName", "username")] if isinstance(user, dict) else []
        addresses = [facts.get(key) for key in ("viewerUrl", "uri")]
        full = f"{NAME}/{uid}"
        return Asset(
            uid=full,
            kind="mesh",
            provider=NAME,
            licence=from_sketchfab(facts.get("license")),
            author=_first_text(names),
            url=_first_text(addresses),
            sha256=sha256,
            split=assign_split(full),
            roles=("object",),
            mesh=File(uid=full, provider=NAME, path=path, sha256=sha256),
            score=0.0,
            flags=("unscored",),
        )

    def _facts(self, uid: str, path: str) -> Mapping[str, Any]:
        """Annotations of an object; every field may be missing."""
        part = PurePosixPath(path).parent.name
        if part not in self._metadata:
            read = self._index(f"metadata/{part}.json.gz")
            self._metadata[part] = read if isinstance(read, dict) else {}
        facts = self._metadata[part].get(uid)
        return facts if isinstance(facts, dict) else {}

    def _index(self, name: str) -> object:
        """A gzipped JSON index, or None with one problem that says why it cannot be used."""
        path = self.folder / name
        try:
            return read_index(path)
        except FileNotFoundError:
            self._refuse(name, "is missing")
        except (OSError, EOFError, zlib.error) as error:
            self._refuse(name, f"is cut off or damaged ({error}); delete it so that it is fetched again")
        except (ValueError, RecursionError) as error:
            self._refuse(name, f"is not an index: {error}")
        return None

    def _refuse(self, path: str, reason: str) -> None:
        self.problems.append(AssetProblem(provider=NAME, path=path, reason=reason))


def read_index(path: Path) -> object:
    """Content of a gzipped JSON file of at most 1 GiB. Raises OSError, EOFError, zlib.error or ValueError."""
    with gzip.open(path) as stream:
        data = stream.read(_LARGEST_INDEX + 1)
    if len(data) > _LARGEST_INDEX:
        raise ValueError(f"more than {_LARGEST_INDEX >> 20} MiB")
    return json.loads(data)


def lvis_uids(index: object) -> set[str]:
    """Every uid of an LVIS index {category: [uid, ...]}; what does not fit that shape is passed over."""
    lists = index.values() if isinstance(index, dict) else ()
    return {uid for uids in lists if isinstance(uids, list) for uid in uids if isinstance(uid, str)}


def _first_text(values: list[object]) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


def _download(folder: Path, count: int) -> None:
    """Fetch LVIS objects that are not there yet, in an order that depends on their uids alone.

    The package's cache folder is a module variable fixed at its import, so it is set here. Broken indexes are
    removed first: the package would fail on them every time.
    """
    import objaverse

    objaverse.BASE_PATH, objaverse._VERSIONED_PATH = str(folder.parent), str(folder)
    for path in (folder / _LVIS, folder / _PATHS, *folder.glob("metadata/*.json.gz")):
        try:
            read_index(path)
        except FileNotFoundError:
            continue
        except (OSError, EOFError, zlib.error, ValueError):
            path.unlink()
    try:
        uids = sorted(
            lvis_uids(objaverse.load_lvis_annotations()), key=lambda uid: hashlib.sha256(uid.encode()).digest()
        )
        missing = [uid for uid in uids if not any(folder.glob(f"glbs/*/{uid}.glb"))][:count]
        objaverse.load_annotations(missing)
        objaverse.load_objects(missing)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise SpecError(f"Objaverse could not be fetched into {folder}: {error}", "is this machine online?") from None
