"""The stage runner: each stage is a command line of its own, run once, and gone on with after any stop.

Blender and torch cannot share a process, and Ray's drivers hold state; so every stage is a process. A stage has one
small JSON file, `stages/NAME.json`: written when it starts, replaced when it is done. A stage whose file says that it
is done is skipped; any other is started again, and goes on where it was, because every command of Lightloom does. If
the demo was killed and its stage lives on, that process is found by the file and stopped first.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from manifests.errors import RunError
from manifests.files import FolderLock, write_bytes
from pipeline.signals import StopSignals

LIGHTLOOM = (sys.executable, "-c", "from lightloom.cli import main; main()")
FOLDER = "stages"
_GRACE_S = 60.0
_CLOCK_S = 0.5  # two readings of a process's start may differ by a clock tick

Say = Callable[[str], None]


@dataclass(frozen=True)
class StageCommand:
    """One stage.

    Attributes:
        name: of its file, and on the page.
        title: what happens, for people.
        command: gives the arguments of `lightloom` when the stage starts, since they may depend on earlier stages; it
            may first make small files that they name.
    """

    name: str
    title: str
    command: Callable[[], Sequence[str]]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stage that was started.

    Attributes:
        name, title: of the stage.
        line: the command line, as one would type it.
        starts: how often it was started.
        seconds: wall time; of starts that were killed from outside it is not known.
        done: whether it has ended well.
        process: pid and start time of the process that works on it.
    """

    name: str
    title: str
    line: str
    starts: int = 0
    seconds: float = 0.0
    done: bool = False
    process: tuple[int, float] | None = None


def run_stages(
    out: Path, stages: Sequence[StageCommand], say: Say = print, program: Sequence[str] = LIGHTLOOM
) -> list[Record]:
    """Run what is not done yet, in order; returns the records of all. `program` is what takes a stage's arguments.

    Raises RunError when a stage fails, and KeyboardInterrupt, once the stage has ended, on Ctrl-C, SIGTERM or SIGHUP.
    """
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    with FolderLock(
        out / FOLDER / ".lock",
        lambda holder: RunError(f"another demo runs here ({holder})", "wait for it, or give another --out", where=out),
    ):
        return [_run(out, stage, f"[{number}/{len(stages)}]", say, program) for number, stage in enumerate(stages, 1)]


def _run(out: Path, stage: StageCommand, place: str, say: Say, program: Sequence[str]) -> Record:
    before = _read(out, stage.name)
    if before is not None and before.done:
        say(f"{place} {stage.title}: done before ({before.seconds:.0f} s)")
        return before
    if before is not None and before.process is not None:
        _stop(*before.process, stage, say)
    arguments = list(stage.command())
    record = Record(name=stage.name, title=stage.title, line=shlex.join(["lightloom", *arguments]))
    if before is not None:
        record = msgspec.structs.replace(record, starts=before.starts, seconds=before.seconds)
    record = msgspec.structs.replace(record, starts=record.starts + 1)
    say(f"{place} {stage.title}\n      $ {record.line}")
    began = time.monotonic()
    code, asked = _wait(out, record, [*program, *arguments])
    seconds = record.seconds + time.monotonic() - began
    record = msgspec.structs.replace(record, seconds=seconds, done=code == 0)
    _write(out, record)
    if asked:
        raise KeyboardInterrupt
    if code:
        how = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
        raise RunError(
            f"stage {stage.name} failed ({how})",
            "the reason stands above. Once it is mended, the same command goes on here",
        )
    return record


def _wait(out: Path, record: Record, command: Sequence[str]) -> tuple[int, bool]:
    """Run the command to its end; its exit code, and whether a signal asked us to stop meanwhile.

    The command has a session of its own, so that a signal reaches it once, from here. It is started while handlers
    stand, since a signal that is ignored here (as `nohup` and `&` in a script have it) would be ignored there as well.
    """
    process: subprocess.Popen[bytes] | None = None

    def forward() -> None:
        if process is not None:
            process.send_signal(signal.SIGINT)

    with StopSignals(patience=None, hangup=True, forward=forward) as stop:
        process = subprocess.Popen(command, start_new_session=True)
        if stop.count:  # before there was anyone to tell
            process.send_signal(signal.SIGINT)
        _write(out, msgspec.structs.replace(record, process=(process.pid, psutil.Process(process.pid).create_time())))
        return process.wait(), stop.count > 0


def _stop(pid: int, created: float, stage: StageCommand, say: Say) -> None:
    """End the process of an earlier start, if it still lives: politely, so that it keeps what it has."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - created) > _CLOCK_S:
            return
        say(f"{stage.title}: still running since an earlier start (pid {pid}); stopping it")
        process.send_signal(signal.SIGINT)
        process.wait(_GRACE_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    except psutil.NoSuchProcess:
        return


def _read(out: Path, name: str) -> Record | None:
    path = out / FOLDER / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"cannot be read ({error})", "delete it and the stage runs again", where=path) from None


def _write(out: Path, record: Record) -> None:
    write_bytes(
        out / FOLDER / f"{record.name}.json", msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
    )
