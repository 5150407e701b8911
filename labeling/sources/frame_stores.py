"""Where frames lie: a folder or a zip, read by name and without unpacking anything to disk.

Names that climb out, links that lead out, encrypted members and oversized directories or files are refused by name, so
a hostile archive can neither write nor read elsewhere, nor fill the memory.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from labeling.sources.footage import Reason
from manifests.errors import FootageError

MAX_FILES = 200_000
"""Files in one folder or zip."""
MAX_FILE = 256 << 20
"""Bytes of one image or transforms.json."""

_MAX_DIRECTORY = 64 << 20
"""Bytes of a zip's list of members, which is held in memory."""
_MAX_NAME = 512
_DEPTH = 4
_DIGITS = re.compile(r"[0-9]+")
_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr"}


class FrameStore(Protocol):
    """Files below one folder. `names` are relative POSIX paths, sorted; `refused` says what was left out and why."""

    names: tuple[str, ...]
    refused: list[tuple[Reason, str, str]]

    def read(self, name: str) -> bytes:
        """The bytes of a file; FootageError if it is damaged or too large."""
        ...

    def close(self) -> None:
        """Let go of any open file."""
        ...


def open_store(path: Path) -> FrameStore:
    """The folder or zip at `path`; FootageError if it cannot be listed."""
    return FolderStore(path) if path.is_dir() else ZipStore(path)


def is_image(name: str) -> bool:
    """Whether a file name looks like a frame that can be read (PNG, JPEG, WebP, TIFF or EXR)."""
    return PurePosixPath(name).suffix.lower() in _IMAGES


def kind_of(name: str) -> str:
    """The kind of picture that a name speaks of, as a pattern: `rgba_*.png` for rgba_00017.png."""
    return _DIGITS.sub("*", PurePosixPath(name).name)


def of_kind(names: Sequence[str], pattern: str) -> list[str]:
    """The images that a pattern chooses: those of this very kind where there is one, else those that match."""
    images = [name for name in names if is_image(name)]
    exact = [name for name in images if kind_of(name) == pattern]
    return exact or [name for name in images if fnmatch.fnmatchcase(PurePosixPath(name).name, pattern)]


def speakable(name: str) -> bool:
    """Whether a file name is text, which manifests and reports can hold."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


class FolderStore:
    """Files in a folder and up to three folders below, links only where they stay inside."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.refused: list[tuple[Reason, str, str]] = []
        try:
            self.names = tuple(sorted(self._walk(self._root, "", _DEPTH)))
        except OSError as error:
            raise FootageError("unreadable", f"{error.strerror}", where=error.filename) from None
        if len(self.names) >= MAX_FILES:
            raise FootageError("refused", f"more than {MAX_FILES} files in {root}")

    def read(self, name: str) -> bytes:
        """See `FrameStore`."""
        path = self._root / name
        try:
            if not path.resolve().is_relative_to(self._root):
                raise FootageError("leaves-folder", f"{name} is a link that leads out of its folder")
            if not stat.S_ISREG(path.stat().st_mode):
                raise FootageError("refused", f"{name} is not a regular file")
            with path.open("rb") as file:
                return _bounded(name, file.read(MAX_FILE + 1))
        except OSError as error:
            raise FootageError("damaged", f"{error.strerror}", where=name) from None

    def close(self) -> None:
        """See `FrameStore`."""

    def _walk(self, folder: Path, prefix: str, depth: int) -> Iterator[str]:
        count = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = f"{prefix}{entry.name}"
                if not speakable(name):
                    self.refused.append(("refused", f"{name!a}", "a name that is not UTF-8"))
                elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self._root):
                    self.refused.append(("leaves-folder", name, "a link that leads out of its folder"))
                elif entry.is_dir(follow_symlinks=False):
                    if depth > 1:
                        yield from self._walk(Path(entry.path), f"{name}/", depth - 1)
                elif entry.is_file():
                    count += 1
                    yield name
                if count >= MAX_FILES:
                    return


class ZipStore:
    """Files in a zip, read in memory. Members under names that are not plain relative paths do not exist for us."""

    def __init__(self, path: Path) -> None:
        self.refused: list[tuple[Reason, str, str]] = []
        try:
            _check_directory(path)
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise FootageError("unreadable", f"{path.name} is not a whole zip: {error}") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            if member.is_dir():
                continue
            if problem := _unsafe(member):
                self.refused.append((problem[0], member.filename[:_MAX_NAME], problem[1]))
            elif member.filename in self._members:
                self.refused.append(("duplicate", member.filename, "the zip holds this name twice"))
            else:
                self._members[member.filename] = member
        if len(self._members) > MAX_FILES:
            self._zip.close()
            raise FootageError("refused", f"more than {MAX_FILES} files in {path.name}")
        self.names = tuple(sorted(self._members))

    def read(self, name: str) -> bytes:
        """See `FrameStore`; the zip's own checksum is checked."""
        try:
            with self._zip.open(self._members[name]) as file:
                return _bounded(name, file.read(MAX_FILE + 1))
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise FootageError("damaged", f"{name} in the zip: {error}") from None

    def close(self) -> None:
        """See `FrameStore`."""
        self._zip.close()


def _bounded(name: str, data: bytes) -> bytes:
    if len(data) > MAX_FILE:
        raise FootageError("refused", f"{name} is larger than {MAX_FILE >> 20} MiB")
    return data


def _unsafe(member: zipfile.ZipInfo) -> tuple[Reason, str] | None:
    """Why a member is left out, if it is."""
    name = member.orig_filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        return "leaves-folder", "the name is not a plain relative path"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "leaves-folder", "a link"
    if member.flag_bits & 0x1:
        return "refused", "encrypted"
    if member.file_size > MAX_FILE or len(name) > _MAX_NAME:
        return "refused", f"larger than {MAX_FILE >> 20} MiB, or a name longer than {_MAX_NAME} letters"
    return None


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of members alone would fill the memory, before zipfile reads it."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - (1 << 16) - 22)
        file.seek(start)
        tail = file.read()
        found = tail.rfind(b"PK\x05\x06")
        if found < 0 or len(tail) < found + 22:
            raise zipfile.BadZipFile("its end is missing (an interrupted download?)")
        size = struct.unpack_from("<I", tail, found + 12)[0]
        if size == 0xFFFFFFFF and (locator := tail.rfind(b"PK\x06\x07", 0, found)) >= 0:
            file.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
            size = struct.unpack_from("<Q", file.read(56), 40)[0]
    if size > _MAX_DIRECTORY:
        raise zipfile.BadZipFile(f"its list of files takes {size} bytes")
