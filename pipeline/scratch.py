"""Temporary folders that a later process sweeps away if their owner was killed.

A worker killed in the middle of a render leaves its frames behind; nobody is left to remove them. Each folder
therefore carries a kernel lock held by its owner, and whoever starts next removes the folders whose lock is free.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

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
