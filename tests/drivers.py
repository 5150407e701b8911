"""Runs in processes of their own, to be interrupted and killed: driver, Ray's daemons and workers are found by a mark
in their environment, so a test never touches the processes of another."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

_MARK = "LIGHTLOOM_TEST_RUN"
NAMES = {"worker": "ray::ItemActor", "raylet": "raylet", "gcs": "gcs_server"}


class Driver:
    """A command in a session of its own; use it as a context: nothing of it survives the end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._mark = secrets.token_hex(8)
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, for Ray's socket names
        extra = {_MARK: self._mark, "RAY_TMPDIR": str(self._folder), **(environment or {})}
        self._log = (self._folder / "driver.log").open("wb")
        self.process = subprocess.Popen(
            list(command),
            env=os.environ | extra,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.family():
            process.kill()
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        return (self._folder / "driver.log").read_text(errors="replace")

    def write(self, text: str) -> None:
        """Give the driver something to read."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def family(self) -> list[psutil.Process]:
        """Every living process of this run, the driver included."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill(self, kind: str) -> bool:
        """`kill -9` the driver, or every process of a kind in NAMES; False when there is none."""
        if kind == "driver":
            was_running = self.running
            self.process.kill()
            return was_running
        victims = [process for process in self.family() if process.name().startswith(NAMES[kind])]
        for victim in victims:
            victim.kill()
        return bool(victims)

    def interrupt(self, number: int = signal.SIGINT, everyone: bool = True) -> None:
        """Send a signal as a terminal does (to the whole group) or as `kill` does (to the driver)."""
        (os.killpg if everyone else os.kill)(self.process.pid, number)

    def wait(self, seconds: float = 300) -> int:
        """The exit code."""
        return self.process.wait(seconds)


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Return once `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@contextmanager
def held_nodes(count: int, environment: Mapping[str, str]) -> Iterator[tuple[Driver, str]]:
    """A Ray cluster of nodes with a core each, which is told what to do in lines (`hold_nodes.py`); and its address."""
    with Driver([sys.executable, str(Path(__file__).parent / "pipeline" / "hold_nodes.py")], environment) as cluster:

        def last() -> str:
            return (cluster.output().splitlines() or [""])[-1].strip()

        wait_until(lambda: ":" in last())
        address = last()
        for number in range(2, count + 1):
            cluster.write("\n")
            wait_until(lambda number=number: last() == str(number))
        yield cluster, address
