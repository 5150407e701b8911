"""Files and folders that are whole or absent, and locks that go with the process that holds them.

What is written has a temporary name `.NAME.PID-TOKEN.tmp` until it is complete and on disk; then it is renamed and the
folder around it synced. A kill, a crash or a full disk at any instant leaves the old one or the new one, never half of
one, and at most such a temporary, which no reader opens: `Dataset.clean` and `repair` remove temporary files, and the
next `atomic_folder` in the same place removes temporary folders whose writer is gone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import getpass
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

from manifests.errors import DatasetError, DiskFull, InputError, LightloomError
from manifests.object_path import ObjectPath, Place

_TEMPORARY = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.tmp")
_OLD = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.old")
_ROOM = ("no space left on the disk", "make room and run the same command again")
_FULL = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: ("a file would be larger than this process may write", "raise the limit (`ulimit -f`)"),
    errno.EROFS: ("the disk can only be read", "give another folder, or mount it to be written"),
}
_THIS_FOLDER, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


def is_disk_full(error: BaseException) -> bool:
    """True where the disk takes no more: full, over a quota or a limit, read-only; and for `DiskFull` itself."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL)


@contextmanager
def disk_full(path: Place) -> Iterator[None]:
    """Turn what `is_disk_full` says into `DiskFull`, naming the file that was being written.

    No right to write becomes DatasetError.
    """
    try:
        yield
    except PermissionError as error:
        what = f"cannot be written: {(error.strerror or 'no permission').lower()}"
        raise DatasetError(what, "give a folder that is yours", where=error.filename or path) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        what, advice = _FULL[error.errno]
        raise DiskFull(what, advice, where=path) from error


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def is_temporary(path: Place) -> bool:
    """True for the name of a file or folder that was not finished."""
    return _TEMPORARY.fullmatch(path.name) is not None


def check_no_folder(path: Place) -> None:
    """Raises InputError where a file is to be written and a folder is; for checks before the work, too."""
    if isinstance(path, Path) and path.is_dir():
        raise InputError("is a folder", "give another name for the file", where=path)


@contextmanager
def atomic_path(path: Place, *, sync_name: bool = True, sweep: bool = False) -> Iterator[Path]:
    """A name to write to, for libraries that open files by name; `path` appears when the block ends without an error.

    An existing file is replaced in one step. Raises DiskFull when the disk is full. Without `sync_name` the bytes are
    on disk at the end of the block, while the name may be lost again when power fails in the next seconds. What
    goes to a bucket is written to the system's temporary folder first. With `sweep` the name is an empty file, and
    what writers of the same `path` left that were killed is removed: for files that take long.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="lightloom-") as folder, disk_full(Path(folder)):
            local = Path(folder) / path.name
            yield local
            path.put(local)
        return
    check_no_folder(path)
    temporary, lock = _temporary_name(path), -1
    with disk_full(path):
        if sweep:
            found = ((entry, _TEMPORARY.fullmatch(entry.name)) for entry in path.parent.iterdir())
            _sweep([entry for entry, name in found if name and name[1] == path.name])
            temporary, lock = _owned(lambda: _temporary_name(path), file=True)
        try:
            yield temporary
            _sync_file(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            if lock >= 0:
                os.close(lock)
        if sync_name:
            sync_folder(path.parent)


@contextmanager
def atomic_file(path: Place, *, sync_name: bool = True) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, complete and on disk, when the block ends without an error.

    An existing file is replaced in one step. Raises DiskFull when the disk is full. `sync_name`: see `atomic_path`.
    """
    with atomic_path(path, sync_name=sync_name) as temporary, temporary.open("xb") as file:
        yield file


def write_bytes(path: Place, data: bytes) -> None:
    """Write `data` to `path` in one atomic step; raises DiskFull, StorageError."""
    if isinstance(path, ObjectPath):
        path.put(data)
        return
    with atomic_file(path) as file:
        file.write(data)


def remove(path: Place) -> None:
    """Remove a file if it is there, durably."""
    path.unlink(missing_ok=True)
    if isinstance(path, Path) and path.parent.is_dir():
        sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `path`, complete and on disk, when the block ends without an error.

    A folder at `path` is replaced: in one step where the file system can exchange two names; elsewhere the old one is
    moved aside first, and a kill between the two renames leaves it there until the next writer puts it back. Folders
    that killed writers left beside `path` are removed. Missing parents are made. Raises DiskFull when the disk is full.
    """
    path = path.resolve() if path.is_symlink() else path
    with disk_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _restore(path.parent)
        _sweep(entry for entry in path.parent.glob(".*.tmp") if entry.is_dir() and is_temporary(entry))
        temporary, lock = _owned(lambda: _temporary_name(path))
        try:
            yield temporary
            _sync_tree(temporary)
            _put(temporary, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # unfinished, or the folder that was replaced
            os.close(lock)


def _put(temporary: Path, path: Path) -> None:
    """Rename the folder `temporary` to `path`; a folder that stands there is at `temporary` afterwards."""
    if not path.exists():
        temporary.rename(path)
    elif not _exchange(temporary, path):
        old = temporary.with_suffix(".old")
        path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            old.rename(path)
            raise
        old.rename(temporary)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(_THIS_FOLDER, names[0], _THIS_FOLDER, names[1], _EXCHANGE) == 0


def _restore(parent: Path) -> None:
    """Put back, or remove, what `_put` had moved aside when it was killed."""
    for old in parent.glob(".*.old"):
        name = _OLD.fullmatch(old.name)
        if name and not (parent / name[1]).exists():
            old.rename(parent / name[1])
        elif name:
            _sweep([old])


def _owned(name: Callable[[], Path], *, file: bool = False) -> tuple[Path, int]:
    """A new folder or file, and a descriptor that locks it: while that is open, `_sweep` elsewhere leaves it."""
    while True:
        place = name()
        with suppress(FileNotFoundError, FileExistsError):  # both: swept in between
            place.touch(exist_ok=False) if file else place.mkdir(exist_ok=True)
            lock = os.open(place, os.O_RDONLY)
            with suppress(OSError):  # some network file systems lock nothing, and sweep nothing
                fcntl.flock(lock, fcntl.LOCK_EX)
            if place.exists():
                return place, lock
            os.close(lock)  # swept in the instant before it was locked


def _sweep(places: Iterable[Path]) -> None:
    """Remove those folders and files whose owner is gone."""
    for place in places:
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:  # swept by somebody else
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Place) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    if not isinstance(folder, Path):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            _sync_file(path)
    sync_folder(folder)


def own_temporary() -> Path:
    """The folder for what this user's processes keep for a while, in the system's temporary one."""
    return Path(tempfile.gettempdir()) / f"lightloom-{os.getuid()}"


class Scratch:
    """A folder of this process's own under `parent` (default: the system's temporary folder); `close` removes it.

    A worker that is killed in the middle of a render leaves its frames behind, and nobody is left to remove them. So
    the owner of each folder holds a kernel lock on it, and whoever starts next first removes those that are not locked.
    """

    def __init__(self, parent: Path | None = None) -> None:
        base = parent or own_temporary()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(base.glob("worker-*"))
        self.path, self._lock = _owned(lambda: Path(tempfile.mkdtemp(prefix="worker-", dir=base)))

    def close(self) -> None:
        """Remove the folder and all it holds."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


class FolderLock:
    """Keeps other processes of this machine out of a folder, by a lock on `file` in it; a context manager.

    The lock goes with the process, however it ends. The file stays and names who held it last.

    Args:
        file: the lock's file; its folder must exist.
        taken: makes the error that is raised when another process holds the lock, from that process's number, host,
            user and time in words: on a shared file system it may be anybody's, anywhere.
    """

    def __init__(self, file: Path, taken: Callable[[str], LightloomError]) -> None:
        self._file, self._taken = file, taken

    def __enter__(self) -> Self:
        with disk_full(self._file.parent):
            self._open = self._file.open("a+")
            try:
                fcntl.flock(self._open, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._open.truncate(0)
                self._open.write(this_process())
                self._open.flush()
            except BlockingIOError:
                self._open.seek(0)
                holder = self._open.read().strip() or "unknown"
                self._open.close()
                raise self._taken(holder) from None
            except BaseException:
                self._open.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def check(self) -> None:
        """Nothing: a kernel's lock is never lost."""


def this_process() -> str:
    """Process, host, user and time, in words."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # containers run under numbers that no user has
        user = str(os.getuid())
    return f"process {os.getpid()} on {socket.gethostname()}, by {user}, since {datetime.now():%Y-%m-%d %H:%M}"


def is_locked(file: Path) -> bool:
    """True while another process holds the `FolderLock` of `file`; takes it for an instant to find out."""
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
