"""Hands items to workers and deals with what comes back: finished items, failures, deaths and time limits.

`WorkerHandle` talks to one worker; the `Dispatcher` gives it items of the `Schedule`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manifests.contract.row import FailureRow
from manifests.errors import CRASH, OUT_OF_MEMORY, TIMEOUT, DiskFull, LightloomError, RunError
from manifests.object_path import ObjectPath, Place
from manifests.store.dataset import Dataset
from manifests.store.shards import write_failure
from pipeline.actors import ItemActor, Outcome, Reply, Started, seen_late, tail, write_token
from pipeline.backlog import Backlog, Schedule
from pipeline.cluster import Cluster
from pipeline.nodes import Node, Seat, nodes
from pipeline.options import RunOptions
from pipeline.packing import Packer
from pipeline.progress import ProgressBar, by_reason
from pipeline.stage import Stage
from pipeline.telemetry import Telemetry

_POLL_S = 0.5
_COUNT_S = 3.0
_CLOSE_S = 30.0  # native libraries may hang at their end
_FEWEST_FAILURES = 20
_START_DEATHS = 3
_FEW = 4
_CALL_S, _CALL_ITEMS = 0.25, 32  # quick items go to a worker several at a time


@dataclass
class Call:
    """A call that was sent to a worker, with its items; `began` is when the worker came to it."""

    kind: Literal["start", "run", "flush", "close"]
    reference: Any
    items: tuple[int, ...] = ()
    began: float = 0.0


class WorkerHandle:
    """The driver's side of one worker, which it starts.

    Attributes:
        slot: number of the worker, the same for those that replace it.
        seat: where it runs, and with what.
        calls: sent and not answered yet, oldest first; the worker is busy with the first one.
        open: items that were begun and not reported yet.
        begun: how many items it was given in all.
        started: where it lives; None until it is built.
        retiring: it gets no more items and is replaced.
        alone: it has an item that no other may share the worker with.
        following: the item that its last call was told would come next: it is set aside for this worker.
        pace: seconds that an item of its last call took; 0 before the first.
    """

    def __init__(self, slot: int, seat: Seat, stage: Stage, dataset: Place, token: str) -> None:
        self.slot, self.seat = slot, seat
        self.calls: deque[Call] = deque()
        self.open: set[int] = set()
        self.begun = 0
        self.started: Started | None = None
        self.retiring = False
        self.alone = False
        self.following: int | None = None
        self.pace = 0.0
        remote: Any = ray.remote(ItemActor)
        share = seat.share
        limits = {"num_cpus": share.placement, "num_gpus": share.gpus, "max_restarts": 0, "max_task_retries": 0}
        here = NodeAffinitySchedulingStrategy(seat.node.key, soft=False)
        self._actor: Any = remote.options(scheduling_strategy=here, **limits).remote(
            stage, dataset.absolute(), f"worker-{slot:03d}", share.threads, token
        )
        self._send(Call("start", self._actor.start.remote()))

    @property
    def ready(self) -> bool:
        """True once the worker is built."""
        return self.started is not None

    @property
    def idle(self) -> bool:
        """True when nothing was sent that is not answered, and no item is under way."""
        return self.ready and not self.calls and not self.open

    def run(self, attempts: Mapping[int, int], alone: bool = False) -> None:
        """Send items, each with its attempt; with `alone` it must be the only one there until it is finished."""
        self.begun += len(attempts)
        self.alone = alone
        self._send(Call("run", self._actor.run.remote(attempts, alone, self.following), tuple(attempts)))

    def flush(self) -> None:
        """Ask for what is still being encoded."""
        self._send(Call("flush", self._actor.flush.remote()))

    def close(self) -> None:
        """Ask the worker to close; then `kill` ends its process."""
        self._send(Call("close", self._actor.close.remote()))

    def answered(self) -> Call:
        """Drop the first call, which was answered; the next one begins."""
        call = self.calls.popleft()
        if call.kind == "run":
            self.alone = False
            self.pace = (time.monotonic() - call.began) / len(call.items)
        self._begin()
        return call

    def queued(self) -> list[int]:
        """Items that were sent, or set aside, behind the call whose answer is awaited."""
        sent = [item for call in list(self.calls)[1:] for item in call.items]
        return sent if self.following is None else [*sent, self.following]

    def overdue(self, limit_s: float) -> bool:
        """True when the worker has been busy with one call for longer than `limit_s`."""
        return bool(self.calls) and time.monotonic() - self.calls[0].began > limit_s

    def kill(self) -> None:
        """End the process at once."""
        ray.kill(self._actor, no_restart=True)

    def _send(self, call: Call) -> None:
        self.calls.append(call)
        if len(self.calls) == 1:
            self._begin()

    def _begin(self) -> None:
        if self.calls:
            self.calls[0].began = time.monotonic()
            self.open.update(self.calls[0].items)


class Dispatcher:
    """Drives the workers of one run: call `step` until it returns False, then `kill_all`.

    Raises DiskFull, and RunError when no worker starts, too many items fail, or Ray is gone.
    """

    def __init__(
        self,
        *,
        dataset: Dataset,
        stage: Stage,
        options: RunOptions,
        cluster: Cluster,
        backlog: Backlog,
        bar: ProgressBar,
        packer: Packer,
        telemetry: Telemetry,
    ) -> None:
        self._dataset, self._stage, self._options, self._cluster = dataset, stage, options, cluster
        self._backlog, self._bar, self._packer, self._telemetry = backlog, bar, packer, telemetry
        self._schedule = Schedule(backlog.left, options.attempts)
        self._workers: list[WorkerHandle] = []
        self._token = write_token(dataset.path)
        self._seats: list[Seat] = []
        self._counted = -_COUNT_S
        self._seated: float | None = None
        self._left_out: dict[str, str] = {}
        self._start_deaths: Counter[str] = Counter()
        self._last_ready = time.monotonic()
        self._finished = 0
        for shard in [shard for shard, items in backlog.missing.items() if not items]:
            del backlog.missing[shard]
            packer.add(shard)

    def step(self) -> bool:
        """Feed the workers, wait a moment for an answer and deal with it; False when nothing is left to do."""
        if self._schedule or self._workers:
            self._start_workers()
        for worker in self._workers:
            self._feed(worker)
        self.collect()
        for worker in list(self._workers):
            self._enforce_limits(worker)
        ready = sum(worker.ready for worker in self._workers)
        self._bar.show(ready)
        self._telemetry.tick(ready, len(self._schedule))
        return bool(self._schedule or self._workers or self._packer.busy)

    def collect(self) -> None:
        """Wait at most a moment for answers and deal with those that are there."""
        self._packer.start(max(2, len(self._seats)))
        first = {worker.calls[0].reference: worker for worker in self._workers if worker.calls}
        references = [*first, *self._packer.references]
        if not references:
            return
        ready, _ = ray.wait(references, num_returns=1, timeout=_POLL_S)
        if ready:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in ready:
            if reference in first:
                self._receive(first[reference])
            elif packed := self._packer.receive(reference):
                self._telemetry.packed(*packed)

    def run_dry(self) -> None:
        """Hand out no more items; `step` goes on until those under way are finished and full shards packed."""
        self._schedule = Schedule((), self._options.attempts)
        for worker in self._workers:
            worker.following = None

    def encoding(self) -> bool:
        """True while a worker is encoding an item that it no longer produces, or a shard is being packed."""
        if self._packer.references:
            return True
        for worker in self._workers:
            producing = worker.calls[0].items if worker.calls else ()
            if any(not self._dataset.item_path(item).exists() for item in worker.open.difference(producing)):
                return True
        return False

    def kill_all(self) -> None:
        """End every worker at once. Items whose files are on disk by then count as finished."""
        for worker in self._workers:
            for item in worker.open:
                if self._dataset.item_path(item).exists():
                    self._finish(worker, item, self._dataset.item_clips(item))
            worker.kill()
        self._workers = []

    # --- feeding ----------------------------------------------------------------------------------------------

    def _start_workers(self) -> None:
        """Fill empty seats while there are more items than workers without work; workers whose seat is gone retire."""
        if time.monotonic() - self._counted > _COUNT_S:
            self._count_seats()
        for worker in self._workers:
            worker.retiring = worker.retiring or worker.seat not in self._seats
        taken = {worker.seat for worker in self._workers}
        free = deque(seat for seat in self._seats if seat not in taken)
        slots = iter(sorted(set(range(len(self._workers) + len(free))) - {worker.slot for worker in self._workers}))
        wanted = len(self._schedule) + sum(not worker.idle for worker in self._workers)
        while self._schedule and free and len(self._workers) < wanted:
            seat = free.popleft()
            self._workers.append(WorkerHandle(next(slots), seat, self._stage, self._dataset.path, self._token))

    def _count_seats(self) -> None:
        """Look again which nodes there are; raises RunError when none can have a worker, now or after a wait."""
        self._counted = time.monotonic()
        found = self._cluster.seats()
        self._seats = [seat for seat in found if seat.node.key not in self._left_out]
        if self._seats:
            self._cluster.request(len(self._schedule), self._seats[0].share)
        if self._seats or self._workers:
            self._seated = self._counted
            return
        if found:
            raise RunError(list(self._left_out.values())[-1], kind="no-workers")
        if self._seated is None or self._counted - self._seated > self._options.start_limit_s:  # others may join
            gpus = self._options.gpus_per_worker
            raise RunError(
                f"no node can hold a {self._stage.name} worker" + (f" with {gpus:g} GPUs" if gpus > 0 else ""),
                f"there are {_told(nodes())}",
                kind="no-workers",
            )

    def _leave_out(self, node: Node, cause: str) -> None:
        """Give a node that cannot work no more items; raises RunError when there is no other."""
        if node.key not in self._left_out:
            self._left_out[node.key] = cause
            self._count_seats()
            self._telemetry.left_out(node.host, cause)
            self._bar.say(f"node {node.host} is left out: {cause}")

    def _feed(self, worker: WorkerHandle) -> None:
        """Keep one item in production and one queued; let the worker run dry to retire it or to run an item alone."""
        if not worker.ready or worker.alone:
            return
        worker.retiring = worker.retiring or worker.begun >= self._options.recycle_after_items
        suspects = self._schedule.has_suspects and not any(other.alone for other in self._workers)
        while not (worker.retiring or suspects or self._packer.behind) and len(worker.calls) < self._depth():
            items = [item for item in self._next_items(worker) if item is not None]
            if not items:
                break
            worker.following = self._schedule.next() if self._looks_ahead(worker) else None
            worker.run({item: self._schedule.attempt(item) for item in items})
        if worker.calls:
            return
        if worker.following is not None:
            self._schedule.put_back([worker.following])
            worker.following = None
        if worker.open:
            worker.flush()
        elif suspects and not worker.retiring:
            item = self._schedule.next_suspect()
            worker.run({item: self._schedule.attempt(item)}, alone=True)
        elif worker.retiring or not self._schedule:
            worker.close()

    def _next_items(self, worker: WorkerHandle) -> list[int | None]:
        """One item, or as many as take the worker a moment; few near the end, so that no worker hoards them."""
        if worker.following is not None or not worker.pace or self._looks_ahead(worker):
            return [self._schedule.next() if worker.following is None else worker.following]
        fair = len(self._schedule) // (4 * len(self._workers))
        most = min(int(_CALL_S / worker.pace), fair, _CALL_ITEMS, self._options.recycle_after_items - worker.begun)
        return [self._schedule.next() for _ in range(max(1, most))]

    def _depth(self) -> int:
        """Two calls keep a worker busy without a pause; near the end one, so that no worker hoards an item."""
        return 2 if len(self._schedule) > len(self._workers) else 1

    def _looks_ahead(self, worker: WorkerHandle) -> bool:
        """Whether to set aside the worker's next item and tell it; not near the end, where others could take it."""
        many = len(self._schedule) >= len(self._workers)
        return many and worker.started is not None and worker.started.looks_ahead

    # --- answers ----------------------------------------------------------------------------------------------

    def _receive(self, worker: WorkerHandle) -> None:
        call = worker.calls[0]
        try:
            answer = ray.get(call.reference)
        except RayTaskError as error:
            if call.kind == "start":
                cause = error.cause if isinstance(error.cause, LightloomError) else _last_line(error)
                self._end(worker)
                self._leave_out(worker.seat.node, f"the {self._stage.name} worker cannot start: {cause}")
                return
            self._died(worker, CRASH, _last_line(error))
            return
        except RayError as error:
            reason = OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else CRASH
            self._died(worker, reason, _how_it_died(error))
            return
        worker.answered()
        if isinstance(answer, Started):
            worker.started = answer
            self._last_ready = time.monotonic()
            del self._start_deaths[worker.seat.node.key]
            self._cluster.remember(answer.pid)
        elif isinstance(answer, Reply):
            worker.retiring = worker.retiring or answer.rss_mb >= self._options.recycle_rss_mb
            for outcome in answer.outcomes:
                self._record(worker, outcome)
        else:
            self._end(worker)

    def _arrived(self, item: int) -> bool:
        """Whether what a worker wrote is there; a bucket has said so to the worker."""
        path = self._dataset.item_path(item)
        return isinstance(path, ObjectPath) or seen_late(path.exists)

    def _record(self, worker: WorkerHandle, outcome: Outcome) -> None:
        worker.open.discard(outcome.index)
        if outcome.kind == "done" and not self._arrived(outcome.index):
            self._schedule.put_back([outcome.index])
            worker.retiring = True
            self._leave_out(worker.seat.node, "what its workers write does not arrive in the dataset's folder")
        elif outcome.kind == "done":
            self._finish(worker, outcome.index, outcome.clips)
        elif outcome.kind == "disk-full":
            raise DiskFull(outcome.message)
        elif outcome.kind == "left":
            self._schedule.put_back([outcome.index])
        elif outcome.kind == "no-storage":
            self._schedule.put_back([outcome.index])
            worker.retiring = True
            self._leave_out(worker.seat.node, outcome.message)
        elif outcome.kind == "failed":
            self._quarantine(worker, outcome.index, outcome.reason, outcome.message)
        else:
            worker.retiring = True  # its state is unknown after an unexpected error
            for item in self._schedule.lost([outcome.index]):
                self._quarantine(worker, item, outcome.reason, outcome.message)

    def _enforce_limits(self, worker: WorkerHandle) -> None:
        kind = worker.calls[0].kind if worker.calls else ""
        if kind in ("run", "flush") and worker.overdue(self._options.time_limit_s):
            worker.kill()
            self._died(worker, TIMEOUT, f"not finished within {self._options.time_limit_s:g} s")
        elif kind == "close" and worker.overdue(_CLOSE_S):
            self._end(worker)
        elif kind == "start" and not any(other.ready for other in self._workers):
            waited = time.monotonic() - self._last_ready
            if waited > self._options.start_limit_s and worker.overdue(self._options.start_limit_s):
                share = worker.seat.share
                raise RunError(
                    f"no {self._stage.name} worker started within {self._options.start_limit_s:g} s",
                    (
                        f"one on {worker.seat.node.host} needs {share.placement:g} CPUs and {share.gpus:g} GPUs: see "
                        "what Ray has free there, or raise start_limit_s"
                    ),
                    kind="no-workers",
                )

    def _end(self, worker: WorkerHandle) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _died(self, worker: WorkerHandle, reason: str, message: str) -> None:
        """A worker is gone: what it had committed counts, all else that it was handed lost an attempt.

        That includes what was queued behind the call whose answer is awaited: a worker that dies of its next item may
        take that answer along, and the item would not be blamed. One that was killed for its time had not come so far.
        """
        self._cluster.check()
        self._end(worker)
        handed = set(worker.open)
        if reason == TIMEOUT:
            self._schedule.put_back(worker.queued())
        else:
            handed.update(worker.queued())
        self._count_seats()  # perhaps its node is gone
        if not worker.ready:
            node = worker.seat.node
            self._start_deaths[node.key] += any(seat.node.key == node.key for seat in self._seats)
            if self._start_deaths[node.key] >= _START_DEATHS:
                self._leave_out(node, f"{_START_DEATHS} {self._stage.name} workers died while starting: {message}")
            return
        committed = {item for item in handed if self._dataset.item_path(item).exists()}
        for item in committed:
            self._finish(worker, item, self._dataset.item_clips(item))
        for item in self._schedule.lost(handed - committed, last_try=reason == TIMEOUT):
            self._quarantine(worker, item, reason, message)

    # --- books ------------------------------------------------------------------------------------------------

    def _finish(self, worker: WorkerHandle, item: int, clips: int) -> None:
        self._finished += 1
        self._backlog.finished += 1
        self._bar.finished(clips)
        self._telemetry.finished(item, clips, worker.seat.node.host)
        self._settled(worker, item)

    def _quarantine(self, worker: WorkerHandle, item: int, reason: str, message: str) -> None:
        failure = FailureRow(
            item=item,
            shard=self._dataset.shard_of(item),
            reason=reason,
            message=message,
            attempts=max(1, self._schedule.attempt(item) - 1),
            log_tail=tail(worker.started.log, item) if worker.started else "",
            spec=self._describe(item),
        )
        write_failure(self._dataset.failure_path(item), failure)
        self._backlog.failed += 1
        self._bar.failed(reason)
        self._telemetry.failed(item, reason, message, worker.seat.node.host)
        self._settled(worker, item)
        failed = self._bar.failures.total()
        if failed >= _FEWEST_FAILURES and failed > self._options.max_failures * (failed + self._finished):
            raise RunError(
                f"{by_reason(self._bar.failures)} of {failed + self._finished} items",
                f"the last: {message}",
                kind="too-many-failures",
            )

    def _settled(self, worker: WorkerHandle, item: int) -> None:
        shard = self._dataset.shard_of(item)
        missing = self._backlog.missing[shard]
        missing.discard(item)
        if not missing:
            del self._backlog.missing[shard]
            self._packer.add(shard, worker.seat.node.key)

    def _describe(self, item: int) -> str:
        """The item's spec; an item that cannot even be described is quarantined without it."""
        try:
            return self._stage.describe(item)
        except Exception as error:
            return f"(not available: {error})"


def _told(there: Sequence[Node]) -> str:
    parts = [f"{node.host} ({node.cpus:g} CPUs, {node.gpus:g} GPUs)" for node in there]
    return ", ".join(parts[:_FEW]) + (f" and {len(parts) - _FEW} more" if len(parts) > _FEW else "") or "no nodes"


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _how_it_died(error: RayError) -> str:
    """Ray's account of how a worker process ended, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "exit" in line.lower() or "memory" in line.lower()]
    kind = "the worker process died" if isinstance(error, RayActorError) else type(error).__name__
    return f"{kind}: {told[-1] if told else lines[-1] if lines else 'no account'}"[:500]
