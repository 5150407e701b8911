"""Files that are whole or absent: written under a temporary name, fsynced, renamed, and the folder fsynced.

A kill, a crash or a full disk at any instant leaves at most a `.NAME.PID-TOKEN.tmp` file, which no reader opens and
`Dataset.clean` and `repair` remove.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from manifests.errors import DiskFull

_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" into `DiskFull`, naming the file that was being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull("no space left on the disk", "make room and run the same command again", where=path) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, complete and on disk, when the block ends without an error.

    An existing file is replaced in one step. Raises DiskFull when the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with disk_full(path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one atomic step; raises DiskFull."""
    with atomic_file(path) as file:
        file.write(data)


def remove(path: Path) -> None:
    """Remove a file if it is there, durably."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """True for the name of a file that `atomic_file` had not finished."""
    return _TEMPORARY.fullmatch(path.name) is not None


_LOCK = ".lock"


class Scratch:
    """A folder of this process's own under `parent` (default: the system's temporary folder); `close` removes it."""

    def __init__(self, parent: Path | None = None) -> None:
        base = parent or Path(tempfile.gettempdir()) / f"lightloom-{os.getuid()}"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix="worker-", dir=base))
        self._descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder and all it holds."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def _sweep(base: Path) -> None:
    """Remove the folders under `base` whose owner is gone."""
    for lock in base.glob(f"worker-*/{_LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(lock.parent, ignore_errors=True)
        finally:
            os.close(descriptor)
