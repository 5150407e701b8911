"""Python in a process of its own, which finds Lightloom's rooms wherever they lie: for Blender, and for what may crash.

torch and Blender cannot share a process, and a file that kills an importer must not take its caller along.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a child process ended: its exit code (negative: the signal that killed it) and what it printed."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        """The last thing it said on stderr; "" when it said nothing."""
        said = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return said[-1] if said else ""

    @property
    def why(self) -> str:
        """Why it failed, in a few words."""
        return self.last_line or f"the process ended with code {self.code}"


def environment() -> dict[str, str]:
    """The environment of a child process: this one's, with Lightloom's rooms on PYTHONPATH."""
    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def end_with_parent() -> None:
    """Have Linux kill this process when the one that started it is gone: nobody would read what it makes."""
    set_death_signal = getattr(ctypes.CDLL(None), "prctl", None)
    if set_death_signal is not None:
        set_death_signal(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run_python(*arguments: str, seconds: float | None = None, scratch: Path | None = None) -> Ended:
    """Run `python ARGUMENTS` to its end. Raises TimeoutError, and kills it, when that takes longer than `seconds`.

    scratch: folder for its temporary files, if not the system's.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment() | ({} if scratch is None else {"TMPDIR": str(scratch)}),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"no end after {seconds:g} seconds") from None
    return Ended(done.returncode, done.stdout, done.stderr)
