"""The Ray actor around a worker: one process that produces items on its main thread and encodes them beside that.

Threads are enough for encoding: Blender lets go of Python's lock while it renders, networks, video encoders and numpy
while they compute.

The process commits each finished item itself, as a file in `work/`, so a finished item survives the death of this
process, of the driver and of Ray. Replies only tell the driver sooner what the disk already says.
"""

from __future__ import annotations

import faulthandler
import hashlib
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from manifests.contract.row import Sample
from manifests.errors import ERROR, ItemError, RunError, StorageError
from manifests.files import is_disk_full, own_temporary, remove, write_bytes
from manifests.object_path import Place
from manifests.store import layout
from manifests.store.shards import write_item
from manifests.untrusted import read_bounded
from pipeline.options import encoders
from pipeline.stage import Encode, Prefetching, Stage, Worker

LOG_BYTES = 1 << 20
TAIL_BYTES = 4096
_WATCH_S = 1.0
_SEEN_S = 5.0
_TOKEN = "run"


@dataclass(frozen=True)
class Outcome:
    """How an item ended in its worker: its file is on disk, it failed for good, it may be tried again, or no room.

    "left" is one that was not begun, because the one before it left the worker in an unknown state; "no-storage" one
    for which a bucket did not answer this node.
    """

    index: int
    kind: Literal["done", "failed", "error", "disk-full", "no-storage", "left"]
    clips: int = 0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Reply:
    """What a worker reports after a call: items that ended since its last reply, and its resident memory in MiB."""

    outcomes: tuple[Outcome, ...]
    rss_mb: float


@dataclass(frozen=True)
class Started:
    """Where a worker lives; `log` is its output file, `looks_ahead` whether it wants to hear of the next item."""

    host: str
    pid: int
    log: Path
    looks_ahead: bool = False


class ItemActor:
    """Wraps a worker of `stage` in its own process; becomes a Ray actor with `ray.remote`."""

    def __init__(self, stage: Stage, dataset: Place, name: str, threads: int, token: str) -> None:
        self._stage, self._dataset, self._name, self._token = stage, dataset, name, token
        self._threads = threads
        self._worker: Worker | None = None
        self._log: OutputLog | None = None
        self._encoders = encoders(threads)
        self._pool = ThreadPoolExecutor(self._encoders, thread_name_prefix="encode")
        self._pending: list[Future[Outcome]] = []
        self._process = psutil.Process()

    def start(self) -> Started:
        """Redirect the output, then build the worker; what that raises reaches the driver as it is.

        The worker finds how many threads it may use in OMP_NUM_THREADS.
        """
        check_token(self._dataset, self._token)
        os.environ["OMP_NUM_THREADS"] = str(self._threads)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
        threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
        path = log_folder(self._dataset) / f"{self._name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log = OutputLog(path)
        self._worker = self._stage.make_worker()
        return Started(socket.gethostname(), os.getpid(), path, isinstance(self._worker, Prefetching))

    def run(self, attempts: Mapping[int, int], alone: bool, following: int | None = None) -> Reply:
        """Produce items and leave them to the encoders; replies with the items that ended since the last reply.

        At most one item waits for an encoder, so the memory of a worker is bounded: one item in production, one that
        waits, and one at each encoder. With `alone` the item is finished before the reply. `attempts` counts by item;
        `following` is the item that comes next, if that is known and the worker looks ahead.
        """
        outcomes: list[Outcome] = []
        for index, attempt in attempts.items():
            if any(outcome.kind in ("error", "disk-full", "no-storage") for outcome in outcomes):
                outcomes.append(Outcome(index, "left"))
            else:
                outcomes += self._run(index, attempt, following)
        return self._reply([*outcomes, *self._ended(most=0 if alone else None)])

    def _run(self, index: int, attempt: int, following: int | None) -> list[Outcome]:
        assert self._worker is not None and self._log is not None
        self._log.begin(index)
        try:
            if following is not None and isinstance(self._worker, Prefetching):
                self._worker.prefetch(following)
            encode = self._worker.produce(index)
        except BaseException as error:
            return [*self._ended(), _failure(index, error)]
        outcomes = self._ended(most=self._encoders)
        self._pending.append(self._pool.submit(self._commit, index, attempt, encode))
        return outcomes

    def flush(self) -> Reply:
        """Wait until nothing is under way."""
        return self._reply(self._ended(most=0))

    def close(self) -> None:
        """Close the worker. The driver then kills the process: native libraries may crash on a regular exit."""
        self._pool.shutdown()
        if self._worker is not None:
            self._worker.close()

    def _commit(self, index: int, attempt: int, encode: Encode) -> Outcome:
        try:
            samples = encode()
            worker = f"{socket.gethostname()}:{os.getpid()}"
            write_item(
                layout.item_file(self._dataset, index), [_stamped(sample, worker, attempt) for sample in samples]
            )
        except BaseException as error:
            return _failure(index, error)
        return Outcome(index, "done", clips=len(samples))

    def _ended(self, most: int | None = None) -> list[Outcome]:
        """What became of items since the last call, oldest first; waits until at most `most` are being encoded."""
        while most is not None and len(busy := [item for item in self._pending if not item.done()]) > most:
            wait(busy, return_when=FIRST_COMPLETED)
        ended = [item for item in self._pending if item.done()]
        self._pending = [item for item in self._pending if item not in ended]
        return [item.result() for item in ended]

    def _reply(self, outcomes: list[Outcome]) -> Reply:
        return Reply(tuple(outcomes), self._process.memory_info().rss / 2**20)


def log_folder(dataset: Place) -> Path:
    """Where workers write their output: in the dataset's folder, or for a bucket on their own machine."""
    if isinstance(dataset, Path):
        return dataset / layout.WORK / layout.LOGS
    name = hashlib.sha256(str(dataset).encode()).hexdigest()[:16]
    return own_temporary() / layout.LOGS / name


def remove_logs(dataset: Place) -> None:
    """Remove what workers wrote, as far as it is on this machine, and the word of `write_token`."""
    shutil.rmtree(log_folder(dataset), ignore_errors=True)
    remove(dataset / layout.WORK / layout.LOGS / _TOKEN)


def write_token(dataset: Place) -> str:
    """Leave a word in the dataset's folder by which workers know it again; see `check_token`."""
    token, path = secrets.token_hex(16), dataset / layout.WORK / layout.LOGS / _TOKEN
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, token.encode())
    return token


def check_token(dataset: Place, token: str) -> None:
    """Raise RunError unless this machine sees the folder that the driver sees.

    A folder of its own at the same path would swallow its clips.
    """
    path = dataset / layout.WORK / layout.LOGS / _TOKEN

    def known() -> bool:
        try:
            return read_bounded(path, len(token)).decode() == token
        except (OSError, UnicodeDecodeError):
            return False

    if not seen_late(known):
        raise RunError(
            f"{socket.gethostname()} does not see the dataset's folder"
            + (", but another at the same path" if dataset.exists() else ""),
            "mount one file system at this path on every node",
            where=dataset,
            kind="no-workers",
        )


def seen_late(there: Callable[[], bool]) -> bool:
    """Whether what another machine wrote is there; network file systems may show it late, so that is waited for."""
    deadline = time.monotonic() + _SEEN_S
    while not (found := there()) and time.monotonic() <= deadline:
        time.sleep(0.2)
    return found


def _stamped(sample: Sample, worker: str, attempt: int) -> Sample:
    return replace(sample, row=msgspec.structs.replace(sample.row, worker=worker, attempts=attempt))


def _failure(index: int, error: BaseException) -> Outcome:
    if isinstance(error, ItemError) and error.log_tail:
        print(error.log_tail, file=sys.stderr)
    traceback.print_exception(error)
    link: BaseException | None = error
    while link is not None:
        if is_disk_full(link):
            return Outcome(index, "disk-full", message=str(link))
        if isinstance(link, StorageError):
            return Outcome(index, "no-storage", message=_one_line(str(link)))
        link = link.__cause__ or link.__context__
    if isinstance(error, ItemError):
        return Outcome(index, "failed", reason=error.reason, message=_one_line(str(error)))
    return Outcome(index, "error", reason=ERROR, message=_one_line(f"{type(error).__name__}: {error}"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _exit_with_parent(parent: int) -> None:
    """Leave at once when Ray's daemon on this machine is gone: nobody would hear of this process's work any more."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


class OutputLog:
    """Sends this process's stdout and stderr to `path`; at most about `LOG_BYTES` and one item's output are kept.

    So the last words before a segmentation fault can be quoted. Native libraries print to the file descriptors, not to
    `sys.stdout`, so the descriptors themselves are redirected.
    """

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
