"""`NodeCache`: what was fetched from elsewhere, kept in a folder of this machine for all of its processes."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

NODE_CACHE_GIB = 20.0
"""What is kept unless one says otherwise."""

_LOCK = ".lock-"


class NodeCache:
    """Files fetched from elsewhere, in a folder of this machine, bounded in bytes: the longest unused go first.

    Processes share it; each counts anew when it has added a tenth of the bound. A file that is open, or linked to
    somewhere, stays readable there.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit, self._added = folder, limit, limit
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """The bytes kept under `name`, or those that `fetch` gives, which are kept where they fit."""
        path = self._folder / name
        try:
            data = path.read_bytes()
            os.utime(path)
            return data
        except FileNotFoundError:
            data = fetch()
        if len(data) <= self._limit:
            with self._lock:
                self._make_room(len(data))
            new = self._folder / f".{name}.{secrets.token_hex(4)}"  # not synced: what is read from here is checked
            new.write_bytes(data)
            new.replace(path)
        return data

    def link(self, name: str, target: Path, fetch: Callable[[BinaryIO], None]) -> bool:
        """Make the file kept under `name` appear at `target`, and stay there when it is dropped here.

        A file that is not kept is written by `fetch`, once for all processes of the machine: the others wait for it.
        Returns whether it was.
        """
        path = self._folder / name
        with (self._folder / f"{_LOCK}{name[:2]}").open("ab") as lock:
            with suppress(OSError):  # a file system without locks: some is fetched twice
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                _link(path, target)
                os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))
                return False
            except FileNotFoundError:
                new = self._folder / f".{name}.{secrets.token_hex(4)}"
            try:
                with new.open("xb") as file:
                    fetch(file)
                    file.flush()
                    os.fsync(file.fileno())
                _link(new, target)
                with suppress(FileNotFoundError):  # larger than the bound, and dropped by another process
                    new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        with self._lock:
            self._added = self._limit
            self._make_room(0)
        return True

    def forget(self, name: str) -> None:
        """Drop what is kept under `name`."""
        (self._folder / name).unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        self._added += size
        if self._added * 10 < self._limit:
            return
        kept = []
        for path in self._folder.iterdir():
            if path.name.startswith(_LOCK):
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            kept.append((max(stat.st_atime_ns, stat.st_mtime_ns), stat.st_size, path))
        total = size + sum(each for _, each, _ in kept)
        for _, each, path in sorted(kept):
            if total <= self._limit - self._limit // 10:
                break
            path.unlink(missing_ok=True)
            total -= each
        self._added = 0


def _link(path: Path, target: Path) -> None:
    """A second name of a file; a copy where the file system has none."""
    try:
        target.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, target)
