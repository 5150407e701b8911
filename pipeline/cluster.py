"""Starting Ray quietly, on this machine or on a cluster, and noticing when it is gone.

A driver whose own Ray daemons are killed is told nothing by Ray for minutes: `ray.wait` simply never returns anything.
So the daemons that this process started are watched.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

import psutil
import ray
from ray.autoscaler.sdk import request_resources

from manifests.errors import LightloomError, RunError
from pipeline.nodes import Seat, nodes, seats
from pipeline.options import RunOptions, Share, this_machine

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
_DAEMONS = ("raylet", "gcs_server")
_REACH_S = 10.0
_LOOK_S = 1.0
_MOST_WORKERS = 512
_OBJECT_STORE = 100 << 20  # nothing large goes through it, and containers often have a tiny /dev/shm

type _Jobs = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


@dataclass
class Cluster:
    """A running Ray, and the daemons that must stay alive (none but those started here).

    `memory` is what this machine has in bytes, where Ray runs here alone: Ray itself counts what is free at its start.
    """

    options: RunOptions
    memory: float | None = None
    borrowed: bool = False
    daemons: list[psutil.Process] = field(default_factory=list)
    workers: dict[int, psutil.Process] = field(default_factory=dict)
    requested: list[dict[str, float]] = field(default_factory=list)
    jobs: _Jobs | None = None
    looked: float = 0.0

    def request(self, items: int, share: Share) -> None:
        """Ask the cluster's autoscaler, if it has one, for room for as many workers as so many items can use."""
        wanted = min(items, self.options.workers or _MOST_WORKERS)
        bundles = [{"CPU": share.placement, "GPU": share.gpus} for _ in range(wanted)]
        if self.options.ray_address and bundles != self.requested:
            self.requested = bundles
            request_resources(bundles=bundles)

    def seats(self) -> list[Seat]:
        """Where workers may sit just now."""
        there = nodes()
        return seats(self.options, there if self.memory is None else [replace(n, memory=self.memory) for n in there])

    def watched[Answer](self, work: Callable[[], Answer]) -> Answer:
        """What `work`, which asks Ray, gives; RunError when Ray is gone, which is looked for once a second.

        Ray then answers nothing any more, and a minute later would end this process, without a word of ours.
        """
        answer: Future[Answer] = Future()
        if self.jobs is None:
            self.jobs = SimpleQueue()
            threading.Thread(target=_do, args=(self.jobs,), daemon=True).start()  # where it hangs, nobody waits for it
        self.jobs.put((answer, work))
        while not wait([answer], max(0.0, self.looked + _LOOK_S - time.monotonic())).done:
            self.check()
            self.looked = time.monotonic()
        return answer.result()

    def check(self) -> None:
        """Raise RunError when Ray is gone."""
        for daemon in self.daemons:
            if not _alive(daemon):
                raise RunError(
                    "Ray stopped working on this machine (was it killed, or short of memory?)",
                    "run again",
                    kind="ray-lost",
                )
        if not ray.is_initialized():
            raise RunError("the connection to Ray was closed", "run again", kind="ray-lost")

    def remember(self, pid: int) -> None:
        """Remember a worker process on this machine, to end it if Ray cannot."""
        if self.daemons:
            try:
                self.workers[pid] = psutil.Process(pid)
            except psutil.NoSuchProcess:
                return

    def close(self) -> None:
        """Leave Ray, unless it was there before; what it no longer controls is killed."""
        if self.jobs is not None:
            self.jobs.put(None)
        if self.borrowed:
            return
        if self.requested and ray.is_initialized():
            request_resources(bundles=[])  # a request outlives who made it
        family = [*self.workers.values()]
        for daemon in self.daemons:
            if _alive(daemon):
                family += [daemon, *daemon.children(recursive=True)]
        ray.shutdown()
        for process in family:
            if _alive(process):
                process.kill()


def _do(jobs: _Jobs) -> None:
    """Do jobs one after the other, all in this thread."""
    while (job := jobs.get()) is not None:
        answer, work = job
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)


def connect(options: RunOptions, *, show_output: bool = False) -> Cluster:
    """Start Ray here, or join the cluster at `options.ray_address`; raises LightloomError when that fails.

    A Ray that this process is connected to already is used instead, and left running. With `show_output` what workers
    print appears here.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not show_output:
        # Ray prints a paragraph for every dead worker and has no public switch for it; the engine reports deaths itself
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    if ray.is_initialized():
        return Cluster(options, borrowed=True)
    if options.ray_address:
        _check_reachable(options.ray_address)
        try:
            ray.init(address=options.ray_address, log_to_driver=show_output, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise LightloomError(f"no Ray cluster at {options.ray_address}: {_first_line(error)}") from error
        return Cluster(options)
    before = set(psutil.Process().children())
    cpus, memory = this_machine()
    try:
        ray.init(
            address="local",
            num_cpus=int(cpus),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE,
            log_to_driver=show_output,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # a start that takes too long is a bare one
        raise LightloomError(f"Ray does not start on this machine: {_first_line(error)}") from error
    started = set(psutil.Process().children()) - before
    return Cluster(options, memory, daemons=[child for child in started if child.name() in _DAEMONS])


def _check_reachable(address: str) -> None:
    """Fail at once where nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()) or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except OSError as error:
        raise LightloomError(
            f"no Ray cluster at {address}: {error.strerror or error}", "check the address, or leave it out to run here"
        ) from None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
