"""Packs finished items into shards: Ray tasks on the nodes that made them, several at once, a bounded number waiting.

The driver only says which shard is next and hears what became of it.
"""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manifests.audit.stats import put_together
from manifests.errors import LightloomError, RunError
from manifests.files import sync_folder
from manifests.object_path import at_once, local_files
from manifests.store.dataset import Dataset
from manifests.store.shards import read_failure, write_shard
from pipeline.ledger import ShardTally, tally

_WAITING_EACH = 8
_TRIES = 3


def pack(dataset: Dataset, shard: int) -> ShardTally:
    """Commit a shard from its finished and quarantined items in `work/`, then remove those; returns what it holds.

    Whoever packs a shard at the same time, as a task that outlives its driver may, writes the same bytes: the one that
    finds items gone looks whether the shard is committed.
    """
    items = dataset.header.shard_items(shard)
    there = at_once(dataset.path, lambda item: dataset.item_path(item).is_file(), items)
    finished = [item for item, made in zip(items, there, strict=True) if made]
    failed = [item for item, made in zip(items, there, strict=True) if not made]
    try:
        failures = [read_failure(dataset.failure_path(item)) for item in failed]
        with local_files([dataset.item_path(item) for item in finished]) as made:
            rows = write_shard(dataset.path, shard, made, failures)
    except (LightloomError, FileNotFoundError):
        if not dataset.committed(shard):
            raise
        rows, failures = dataset.rows(shard), dataset.failures(shard)
    waiting = [path(item) for item in items for path in (dataset.item_path, dataset.failure_path)]
    at_once(dataset.path, lambda path: path.unlink(missing_ok=True), waiting)
    sync_folder(dataset.item_path(items.start).parent)
    return tally(rows, failures)


def _task(dataset: Dataset, shard: int) -> ShardTally:
    with suppress(ValueError):  # Ctrl-C is the driver's to handle
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return pack(dataset, shard)


class Packer:
    """Keeps as many packing tasks going as it is told, in the order in which shards became ready.

    A task runs on the node that finished the shard's last item, which sees the folder and may still hold its files in
    memory. It claims no core of Ray's, or it would wait for workers, which hold them all until the end. A task that is
    lost runs again, on the driver's own node.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._waiting: deque[tuple[int, str]] = deque()
        self._running: dict[Any, int] = {}
        self._lost: Counter[int] = Counter()
        self._here = ray.get_runtime_context().get_node_id()
        self._remote: Any = ray.remote(num_cpus=0, max_retries=0)(_task)
        self._patience = 0

    def add(self, shard: int, node: str | None = None) -> None:
        """Pack `shard`, whose items must all be finished or quarantined, on the node with this id of Ray's."""
        self._waiting.append((shard, node or self._here))

    def start(self, most: int) -> None:
        """Start what is waiting, `most` shards at a time; those that wait at the first call hold up no worker."""
        self._patience = self._patience or _WAITING_EACH * most + len(self._waiting)
        while self._waiting and len(self._running) < most:
            shard, node = self._waiting.popleft()
            where = NodeAffinitySchedulingStrategy(node, soft=False)
            self._running[self._remote.options(scheduling_strategy=where).remote(self._dataset, shard)] = shard

    @property
    def references(self) -> Collection[Any]:
        """What to wait for; `receive` takes those that are ready."""
        return self._running.keys()

    @property
    def busy(self) -> bool:
        """True while a shard is being packed or waits."""
        return bool(self._running or self._waiting)

    @property
    def behind(self) -> bool:
        """True while so many shards wait that no more items should be made."""
        return len(self._waiting) >= self._patience > 0

    def receive(self, reference: Any) -> tuple[int, ShardTally] | None:
        """The shard of a task, and what it holds; None when the task was lost, and will run again.

        Raises what packing raised (DiskFull, DatasetError), and RunError when a shard's tasks were lost several times.
        """
        shard = self._running.pop(reference)
        try:
            packed: ShardTally = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, LightloomError):
                raise error.cause from None
            raise RunError(f"shard {shard} cannot be packed: {_last_line(error)}") from error
        except RayError as error:
            self._lost[shard] += 1
            if self._lost[shard] >= _TRIES:
                raise RunError(f"shard {shard} cannot be packed: {_last_line(error)}") from error
            self._waiting.appendleft((shard, self._here))
            return None
        return shard, packed


def put_rows_together(dataset: Dataset) -> None:
    """`stats.put_together` in a process of Ray's and its memory; what is lost, the first question does."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    task: Any = ray.remote(num_cpus=0, max_retries=0)(put_together).options(scheduling_strategy=here)
    with suppress(RayError):
        ray.get(task.remote(dataset))


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
