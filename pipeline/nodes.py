"""Seats for workers, node by node: what a node has decides what the workers on it get.

Nodes join, are drained and die while a run goes on, so `pipeline/dispatch.py` counts seats anew every few seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray

from pipeline.options import RunOptions, Share, share


@dataclass(frozen=True)
class Node:
    """A machine of the cluster: Ray's id, its name, and what Ray may use of it (cores, GPUs, bytes)."""

    key: str
    host: str
    cpus: float
    gpus: float
    memory: float


@dataclass(frozen=True)
class Seat:
    """The place of one worker: the `number`th on its node, with its share of the node."""

    node: Node
    number: int
    share: Share


def nodes() -> list[Node]:
    """Nodes that live and are not about to go away, in the order of their ids."""
    leaving = ray._private.state.state.get_draining_nodes()  # Ray has no public name for it
    found = []
    for entry in ray.nodes():
        if entry["Alive"] and entry["NodeID"] not in leaving:
            has = entry["Resources"]
            node = Node(
                entry["NodeID"],
                entry.get("NodeManagerHostname") or entry["NodeManagerAddress"],
                has.get("CPU", 0.0),
                has.get("GPU", 0.0),
                has.get("memory", 0.0),
            )
            found.append(node)
    return sorted(found, key=lambda node: node.key)


def seats(options: RunOptions, there: Sequence[Node]) -> list[Seat]:
    """The seats on these nodes; none where no node has what a worker needs.

    A node without a whole core takes no workers: `--num-cpus 0` is how a head node is kept free. Where any node has
    GPUs, those without take none, unless `gpus_per_worker` says otherwise. `workers` is shared out evenly by cores.
    """
    gpus_each = options.gpus_per_worker if options.gpus_per_worker >= 0 else float(any(node.gpus > 0 for node in there))
    able = [node for node in there if node.cpus >= 1 and node.gpus >= gpus_each]
    counts = _counts(options.workers, gpus_each, able)
    found = []
    for node in able:
        if options.workers and not counts[node.key]:
            continue
        here = replace(options, workers=counts[node.key], gpus_per_worker=gpus_each)
        part = share(here, node.cpus, node.gpus, node.memory)
        found += [Seat(node, number, part) for number in range(part.workers)]
    return found


def _counts(workers: int, gpus_each: float, able: Sequence[Node]) -> Counter[str]:
    """How many of so many workers each node takes: one by one to where a worker would have the most cores."""
    counts: Counter[str] = Counter()
    for _ in range(workers):
        free = [node for node in able if (counts[node.key] + 1) * gpus_each <= node.gpus]
        if not free:
            break
        counts[max(free, key=lambda node: node.cpus / (counts[node.key] + 1)).key] += 1
    return counts
