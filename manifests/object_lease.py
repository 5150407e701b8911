"""`ObjectLease`: keeps a second writer out of a dataset in a bucket, where no lock of a kernel reaches.

The object `.lock` says who writes; its owner puts it anew every few seconds, each time on condition that it is still
the one that it put last. One that has not changed for `LEASE_S` seconds, watched by the clock of the one who waits,
belongs to nobody: no two machines need to agree on the time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec

from manifests.errors import LightloomError, StorageError
from manifests.files import this_process
from manifests.object_path import PATIENCE, ObjectPath

RENEW_S = 8.0
LEASE_S = 30.0


class _Note(msgspec.Struct, frozen=True):
    """Content of the object: who holds it in words, and what tells this holder and this renewal from all others."""

    holder: str
    token: str
    renewal: int


class ObjectLease:
    """A context manager; entering waits until the lease is known to be free, for `LEASE_S` after a killed writer.

    Args:
        path: the object that says who holds it.
        taken: makes the error that is raised while another holds it, from that one's process, host, user and time.
    """

    def __init__(self, path: ObjectPath, taken: Callable[[str], LightloomError]) -> None:
        self._path, self._taken = path, taken
        self._note = _Note(this_process(), secrets.token_hex(8), 0)
        self._ended, self._lost = threading.Event(), False

    def __enter__(self) -> Self:
        self._version = self._take()
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if not self._lost and self._holder() == self._note.holder:
            self._path.unlink(missing_ok=True)

    def check(self) -> None:
        """Return once the lease is certainly held; StorageError where it was lost, or the store does not answer."""
        until = time.monotonic() + PATIENCE.total_seconds()
        while not self._lost and time.monotonic() < until:
            if time.monotonic() < self._renewed + LEASE_S:
                return
            time.sleep(0.2)
        raise StorageError(
            "this run no longer holds the dataset", "another may have taken it over: look there", where=self._path
        )

    def _take(self) -> Any:
        """Put the object, or take over one that nobody renews; its version."""
        seen, since = None, time.monotonic()
        while True:
            version = self._path.put_if(self._bytes(), None)
            if version is not None:
                return version
            found = self._path.version()
            if found is not None and seen is not None and found != seen:
                raise self._taken(self._holder())
            if found is not None and found == seen and time.monotonic() > since + LEASE_S:
                version = self._path.put_if(self._bytes(), found)
                if version is None:
                    raise self._taken(self._holder())
                return version
            if seen is None:
                seen, since = found, time.monotonic()
            time.sleep(0.5)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_S):
            self._note = msgspec.structs.replace(self._note, renewal=self._note.renewal + 1)
            began = time.monotonic()
            try:
                version = self._path.put_if(self._bytes(), self._version)
            except StorageError:
                continue  # tried again; `check` waits meanwhile
            if version is None:
                self._lost = True
                return
            self._version, self._renewed = version, began

    def _bytes(self) -> bytes:
        return msgspec.json.encode(self._note)

    def _holder(self) -> str:
        return held_by(self._path) or "unknown"


def is_held(path: ObjectPath) -> bool:
    """Whether somebody renewed the lease in the last minute, as far as this machine's clock can say."""
    try:
        return time.time() - path.stat().st_mtime_ns / 1e9 < 2 * LEASE_S
    except FileNotFoundError:
        return False


def held_by(path: ObjectPath) -> str:
    """Who holds the lease, or held it when killed; "" where there is none."""
    try:
        return msgspec.json.decode(path.read_bounded(1 << 16), type=_Note).holder
    except (FileNotFoundError, msgspec.DecodeError):
        return ""
