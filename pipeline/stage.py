"""What a stage gives to the engine: its work items, and a worker that turns one item into samples.

The engine knows nothing of scenes or videos. A stage is plain data that travels to the worker processes; a worker
lives in one of them and may hold whatever is costly to build (Blender, a network).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from manifests.contract.row import Sample

type Encode = Callable[[], list[Sample]]
"""The second half of an item: encodes what was produced, on a thread beside the first half of the next items and the
second half of others."""


class Worker(Protocol):
    """Produces items in one process, one at a time.

    A worker that can get an item's input ready beside the work on another item also has a method
    `prefetch(index: int) -> None` (`Prefetching`). It is told of the item that follows while it produces another one,
    must return at once, and must expect that the item never comes, since another worker may get it.

    An item that cannot ever be made raises `manifests.errors.ItemError`; it is quarantined at once. Any other
    exception is tried again on a fresh worker before the item is quarantined.
    """

    def produce(self, index: int) -> Encode:
        """Do the heavy part of item `index` on the process's main thread; return what is left to do."""
        ...

    def close(self) -> None:
        """Let go of what the worker holds; called once, when no item is under way."""
        ...


@runtime_checkable
class Prefetching(Protocol):
    """A worker that wants to hear of the item after the one that it produces."""

    def prefetch(self, index: int) -> None:
        """Begin to fetch the input of item `index`, on a thread; what goes wrong is for `produce` to raise."""
        ...


class Stage(Protocol):
    """A set of work items 0 .. items - 1; item i belongs to shard i // per_shard. Must be picklable."""

    @property
    def name(self) -> str:
        """What the progress bar and the rows call this stage."""
        ...

    @property
    def items(self) -> int:
        """Number of work items."""
        ...

    @property
    def per_shard(self) -> int:
        """Work items in a shard."""
        ...

    def make_worker(self) -> Worker:
        """Build a worker; called inside the worker process."""
        ...

    def describe(self, index: int) -> str:
        """The item's spec as JSON, for the record of a failure; must not touch files or need the worker."""
        ...
