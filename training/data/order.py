"""In which order an epoch visits the clips: a pure function of (seed, epoch), whoever reads and however many.

Because the order can be computed, nothing of it has to be saved: a position (how many samples all workers together
have consumed since the first epoch began) says everything, and a resumed run neither repeats nor skips a clip.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np


def epoch_order(shards: np.ndarray, seed: int, epoch: int, mixed: int) -> np.ndarray:
    """A permutation (N,) of the clips whose shard numbers are `shards` (N,).

    With `mixed` 0, all clips are shuffled together, which suits local files. Otherwise the shards are shuffled and
    taken `mixed` at a time, and clips are shuffled within those: no more than `mixed` shards are in use at once, as
    with WebDataset's shuffle buffer, but every clip of a group mixes with every other.
    """
    rng = np.random.default_rng([seed, epoch])
    if not mixed:
        return rng.permutation(len(shards))
    numbers = rng.permutation(np.unique(shards))
    groups = [numbers[start : start + mixed] for start in range(0, len(numbers), mixed)]
    return np.concatenate([rng.permutation(np.flatnonzero(np.isin(shards, group))) for group in groups])


class Order:
    """The endless sequence of (epoch, clip) by position; each epoch holds every clip once."""

    def __init__(self, shards: Sequence[int], seed: int, mixed: int = 0) -> None:
        self._shards, self._seed, self._mixed = np.asarray(shards, dtype=np.int64), seed, mixed
        self._epoch = functools.lru_cache(maxsize=2)(self._compute)  # a batch may lie in two epochs

    def __len__(self) -> int:
        return len(self._shards)

    def at(self, position: int) -> tuple[int, int]:
        """(epoch, index of the clip) at `position` >= 0."""
        epoch, place = divmod(position, len(self._shards))
        return epoch, int(self._epoch(epoch)[place])

    def _compute(self, epoch: int) -> np.ndarray:
        return epoch_order(self._shards, self._seed, epoch, self._mixed)


def positions(start: int, batch: int, rank: int, world: int) -> range:
    """Positions of one worker's share of the global batch that begins at `start`: `batch` of `batch * world`."""
    first = start + rank * batch
    return range(first, first + batch)
