"""What Blender prints. Cycles and the importers report errors on the terminal and then return success.

They write with C's stdio, so the file descriptors themselves are redirected, not `sys.stdout`.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TAIL_BYTES = 16_384
SCAN_BYTES = 4 * 2**20
_ERROR = re.compile(
    r"^(?:\d\d:\d\d[.\d]*\s+)?(?:[\w.]+\s*\|\s*)?(?:ERROR|FATAL|Error|Fatal error)\b"
    r"|out of (?:GPU |host )?memory|(?:CUDA|OptiX|HIP|Metal|oneAPI)[\w ]* error",
    re.IGNORECASE,
)


@dataclass
class Log:
    """What was printed: `tail` is its end (at most 16 KiB), `errors` the lines that report an error, in order."""

    tail: str = ""
    errors: list[str] = field(default_factory=list)


@contextmanager
def captured() -> Iterator[Log]:
    """Send file descriptors 1 and 2 to a temporary file; the yielded `Log` is filled when the block ends.

    A file and not a pipe: Blender prints while it holds Python's lock, so nobody could empty a pipe. Only the last
    4 MiB are read back.
    """
    log = Log()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with tempfile.TemporaryFile() as file:
        saved = os.dup(1), os.dup(2)
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield log
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - SCAN_BYTES))
            text = file.read().decode(errors="replace")
            log.errors.extend(error_lines(text))
            log.tail = text[-TAIL_BYTES:]


def error_lines(text: str) -> list[str]:
    """Lines of Blender's output that report an error."""
    return [line.strip() for line in text.splitlines() if _ERROR.search(line)]
