"""The driver's view of one worker process: the calls it was sent, and the items that are under way in it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray

from pipeline.actors import ItemActor, Started
from pipeline.options import Share
from pipeline.stage import Stage


@dataclass
class Call:
    """A call that was sent; `began` is when it became the one that the worker is busy with."""

    kind: Literal["start", "run", "flush", "close"]
    reference: Any
    index: int = -1
    began: float = 0.0


class Seat:
    """One worker. `calls` are answered in order; `open` are its items that were begun and not reported yet.

    `following` is the item that its last call was told would come next: it is set aside for this worker.
    """

    def __init__(self, slot: int, stage: Stage, dataset: Path, share: Share) -> None:
        self.slot = slot
        self.calls: deque[Call] = deque()
        self.open: set[int] = set()
        self.begun = 0
        self.started: Started | None = None
        self.retiring = False
        self.alone = False
        self.following: int | None = None
        remote: Any = ray.remote(ItemActor)
        limits = {"num_cpus": share.placement, "num_gpus": share.gpus, "max_restarts": 0, "max_task_retries": 0}
        self._actor: Any = remote.options(**limits).remote(
            stage, dataset.absolute(), f"worker-{slot:03d}", share.threads
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

    def run(self, index: int, attempt: int, alone: bool = False) -> None:
        """Send an item; with `alone` it must be the only one there until it is finished."""
        self.begun += 1
        self.alone = alone
        self._send(Call("run", self._actor.run.remote(index, attempt, alone, self.following), index))

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
        self._begin()
        return call

    def queued(self) -> list[int]:
        """Items that were sent, or set aside, but cannot have begun."""
        sent = [call.index for call in list(self.calls)[1:] if call.kind == "run"]
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
            if self.calls[0].kind == "run":
                self.open.add(self.calls[0].index)
