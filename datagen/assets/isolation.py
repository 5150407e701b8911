"""A process that imports untrusted files, one after the other, and may die of any of them; its verdict on each.

The parent survives whatever the file does to the importer: a segmentation fault, an endless loop or a flood of memory
ends the process, and the next file gets a new one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec
import psutil
from msgspec import UNSET, UnsetType

from datagen.child import environment
from manifests.contract.row import MaterialUse
from manifests.errors import RunError
from scenes.physics.convex_parts import CollisionShape
from scenes.spec import Footprint

CHILD = "datagen.blender.import_worker"
READY = b"ready"
_POLL_MILLISECONDS = 100
_TAIL_BYTES = 16_384


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one file. `reason` is "" for a file that can be used, else one of `datagen.assets.asset_file.Reason`.

    `polygons` and `size` (file units, z up) are of the imported meshes; `materials` say how each was resolved.
    """

    reason: str = ""
    message: str = ""
    log_tail: str = ""
    footprint: Footprint | None = None
    polygons: int = 0
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    materials: tuple[MaterialUse, ...] = ()
    flags: tuple[str, ...] = ()
    score: float = 0.0
    collision: CollisionShape | UnsetType = UNSET
    seconds: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """What one file may cost: wall seconds and bytes of resident memory. A process is replaced after `files` files."""

    seconds: float = 120.0
    start_seconds: float = 120.0
    memory_bytes: int = 6 << 30
    files: int = 200


class ImportProcess:
    """One importing process at a time, started when needed. Use it from one thread, as a context manager."""

    def __init__(self, bounds: Bounds | None = None, child: str = CHILD) -> None:
        self._bounds = bounds or Bounds()
        self._child = child
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = -1
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._served = 0

    def __enter__(self) -> ImportProcess:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._stop()
        self._log.close()

    def examine(self, path: Path) -> Verdict:
        """Verdict on a file; crashed, timed-out and out-of-memory where it took the process along.

        A death may be the late effect of an earlier file, so it only counts in a fresh process.
        Raises RunError if no process can be started.
        """
        fresh = self._process is None
        verdict = self._ask(path)
        if not fresh and verdict.reason in ("crashed", "out-of-memory") and self._process is None:
            verdict = self._ask(path)
        return verdict

    def _ask(self, path: Path) -> Verdict:
        process = self._process or self._start()
        started = time.monotonic()
        assert process.stdin is not None
        try:
            process.stdin.write(msgspec.json.encode(str(path)) + b"\n")
            process.stdin.flush()
            answer, reason = self._wait(process, self._bounds.seconds)
        except BrokenPipeError:
            answer, reason = b"", "crashed"
        seconds = time.monotonic() - started
        self._served += 1
        if answer:
            if self._served >= self._bounds.files:
                self._stop()
            return msgspec.structs.replace(msgspec.json.decode(answer, type=Verdict), seconds=round(seconds, 3))
        message = self._why(path, process, reason)
        self._stop()
        return Verdict(reason=reason, message=message, log_tail=self._tail(), seconds=round(seconds, 3))

    def _why(self, path: Path, process: subprocess.Popen[bytes], reason: str) -> str:
        if reason == "timed-out":
            return f"{path.name}: not imported after {self._bounds.seconds:g} seconds"
        if reason == "out-of-memory":
            return f"{path.name}: importing took more than {self._bounds.memory_bytes} bytes of memory"
        code = process.wait()
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        return f"{path.name}: the importing process ended with {name}"

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the child and wait until Blender is up."""
        self._log.seek(0)
        self._log.truncate()
        self._answers, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._child, str(writing)],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                start_new_session=True,
                env=environment(),
            )
        finally:
            os.close(writing)
        self._served = 0
        answer, reason = self._wait(self._process, self._bounds.start_seconds)
        if answer != READY:
            self._stop()
            raise RunError(f"the importing process does not start ({reason}): {self._tail()[-500:].strip()}")
        return self._process

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, str]:
        """(a line that the child answered, "") or (b"", why there is none)."""
        deadline = time.monotonic() + seconds
        watched = psutil.Process(process.pid)
        received = bytearray()
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while True:
            if poll.poll(_POLL_MILLISECONDS):
                piece = os.read(self._answers, 1 << 16)
                received += piece
                if received.endswith(b"\n"):
                    return bytes(received[:-1]), ""
                if not piece:
                    return b"", "crashed"
            elif time.monotonic() > deadline:
                return b"", "timed-out"
            try:
                if watched.memory_info().rss > self._bounds.memory_bytes:
                    return b"", "out-of-memory"
            except psutil.Error:
                continue  # it just died; the pipe says so in the next round

    def _tail(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _TAIL_BYTES))
        return self._log.read().decode(errors="replace")

    def _stop(self) -> None:
        """End the process, whatever it is doing; its state is never worth anything."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        os.close(self._answers)
