"""Footage in a bucket: searched by its names as if it lay in a folder, and fetched item by item when it is read."""

from __future__ import annotations

import errno
import fnmatch
import os
import struct
from pathlib import Path, PurePosixPath

import msgspec

from labeling.sources.footage import Footage, FootageProblem
from labeling.sources.frame_stores import is_image
from manifests.errors import FootageError
from manifests.files import disk_full
from manifests.object_path import ObjectPath, ObjectStat, at_once

_READ = (".yaml", ".csv")
"""Small files that the search reads, beside the lists of zips."""
_LARGEST = 64 << 20
_TAIL = (1 << 16) + 22
_POSES = (".json", ".txt", ".bin")


def outline(root: ObjectPath, files: dict[str, ObjectStat], folder: Path) -> list[FootageProblem]:
    """Make `folder` look like `root`, in which `files` lie, to a search: names, and of contents only what it reads."""
    problems = []

    def draw(name: str) -> None:
        try:
            if ".." in PurePosixPath(name).parts:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            _outline(root / name, files[name].st_size, folder / name)
        except OSError as error:
            message = f"no name that a file can have: {error.strerror}"
            problems.append(FootageProblem(reason="refused", path=name, message=message))

    with disk_full(folder):
        at_once(root, draw, sorted(files))
    return problems


def _outline(there: ObjectPath, size: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        if path.suffix.lower() == ".zip":
            start, tail = _end_of_zip(there, size)
            file.seek(start)  # a hole takes no room
            file.write(tail)
        elif path.suffix.lower() in _READ and size <= _LARGEST:
            file.write(there.read_bytes())
        else:
            file.truncate(min(size, 1))


def _end_of_zip(there: ObjectPath, size: int) -> tuple[int, bytes]:
    """The list of a zip's members and what follows it, with its place."""
    start = max(0, size - _TAIL)
    tail = there.read_range(start, size - start)
    end = tail.rfind(b"PK\x05\x06")
    if 0 <= end <= len(tail) - 22:
        length, begin = struct.unpack_from("<II", tail, end + 12)
        if begin < start and length <= _LARGEST and begin + length <= size:
            return begin, there.read_range(begin, size - begin)
    return start, tail


def fetch(footage: Footage, where: ObjectPath, folder: Path) -> Footage:
    """The same item in `folder`: its file, or the images of its folder with what says where their cameras stood.

    Raises FootageError ("unreadable") where it is not there any more.
    """
    local = folder / "item" / where.name
    if footage.kind == "video" or where.suffix.lower() == ".zip":
        names = {local: where}
    else:
        names = {local / name: where / name for name in where.tree() if _belongs(footage, name)}
        if footage.transforms.startswith("../"):
            above = fnmatch.filter(where.parent.stats(), footage.transforms.removeprefix("../"))
            names |= {local.parent / name: where.parent / name for name in above}

    def copy(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            names[path].download(file)

    with disk_full(folder):
        local.parent.mkdir()
        try:
            at_once(where, copy, list(names))
        except FileNotFoundError:
            raise FootageError("unreadable", "is not there any more", where=footage.name) from None
    return msgspec.structs.replace(footage, path=str(local))


def _belongs(footage: Footage, name: str) -> bool:
    path = PurePosixPath(name)
    if ".." in path.parts:
        return False
    if is_image(name):
        wanted = PurePosixPath((footage.kind == "dl3dv" and footage.images) or ".")
        return path.parent == wanted
    return path.suffix.lower() in _POSES
