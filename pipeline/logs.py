"""A worker's whole output in one bounded file, so that the last words before a segfault can be quoted.

Native libraries print to the file descriptors, not to `sys.stdout`; so the descriptors themselves are redirected.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

LOG_BYTES = 1 << 20
TAIL_BYTES = 4096


class OutputLog:
    """Sends this process's stdout and stderr to `path`; at most about `LOG_BYTES` and one item's output are kept."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(self._descriptor, 1)
        os.dup2(self._descriptor, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
        faulthandler.enable(file=self._descriptor, all_threads=False)

    def begin(self, index: int) -> None:
        """Mark the start of an item, from which `tail` quotes; forgets older output when the file has grown."""
        if os.fstat(self._descriptor).st_size > LOG_BYTES:
            os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, _mark(index))


def _mark(index: int) -> bytes:
    return f"\n--- item {index} ---\n".encode()


def tail(path: Path, index: int | None = None) -> str:
    """The end of a worker's log, at most `TAIL_BYTES`, from the start of item `index` on if that is in reach."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * LOG_BYTES))
            data = file.read()
    except OSError:
        return ""
    if index is not None:
        _, mark, after = data.rpartition(_mark(index))
        data = after if mark else data
    return data.strip()[-TAIL_BYTES:].decode(errors="replace")
