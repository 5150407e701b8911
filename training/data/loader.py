"""`Loader`: the endless, reproducible stream of batches, decoded ahead so that the training step does not wait.

What a batch holds follows from (seed, position) alone: not from how many threads decode, nor from the cache, nor from
how the global batch is spread over workers. So a loader's whole state is one number: how many samples all workers
together have consumed since the first epoch began. A resumed run neither repeats nor skips a clip.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.errors import DatasetError
from training.data.augment import Augmentation, ClipCut, apply_cut, cut_selected, draw_cut, fits, select
from training.data.batch import ClipCodes, CodedBatch, Visit, codes_of, collate
from training.data.clip_sources import ClipSource

_SIZES = 0x512E5
"""Keeps the draw of a batch's size apart from the draws of clips."""


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


@dataclass(frozen=True)
class LoaderOptions:
    """What is loaded, and with which means.

    Attributes:
        augmentation: which cuts of a clip are seen.
        sizes: (H, W) that batches may have, with weights; each batch has one of them, drawn for all workers alike.
            Empty takes what the augmentation says.
        batch: samples of a batch on this worker.
        attributes: G-buffers to decode, of `GBUFFERS`.
        panorama: (h, w) of the light; None leaves it out.
        background: whether the environment behind every pixel is added; needs `panorama`.
        seed: decides order and augmentation.
        mixed: shards shuffled together (`epoch_order`); 0 mixes all.
        threads: decoder threads.
        ahead: batches prepared in advance.
        cache_bytes: memory for whole decoded clips, filled in order of first use and never emptied.
        rank, world: this worker's share of the global batch.
        pin: whether batches are put in pinned memory, for a GPU.
        partial: whether clips may lack some G-buffers, or light (`Batch.missing`).
        real: marks every clip as auto-labelled footage (True) or rendered (False); None takes it from the source.
    """

    augmentation: Augmentation
    batch: int
    sizes: tuple[tuple[tuple[int, int], float], ...] = ()
    attributes: tuple[str, ...] = GBUFFERS
    panorama: tuple[int, int] | None = (32, 64)
    background: bool = False
    seed: int = 0
    mixed: int = 0
    threads: int = 2
    ahead: int = 3
    cache_bytes: int = 0
    rank: int = 0
    world: int = 1
    pin: bool = False
    partial: bool = False
    real: bool | None = None


class Loader:
    """Batches of a source without end: `for batch in loader`. Close it, or use it as a context manager.

    They come as codes; `batch.to(device)` makes the `Batch` that objectives take.

    Attributes:
        left_out: clips that are too short or too small.
        sizes: (H, W) of its batches, with weights.
        position: samples that all workers together have consumed; save it and give it back to go on exactly there.
        waited: seconds that `next` has waited for batches so far.
    """

    def __init__(self, source: ClipSource, options: LoaderOptions, position: int = 0) -> None:
        self._options = options
        self._source = source
        self.sizes = options.sizes
        augmentation = options.augmentation
        if options.sizes:  # a clip must be large enough for each
            largest = max(size[0] for size, _ in options.sizes), max(size[1] for size, _ in options.sizes)
            augmentation = dataclasses.replace(augmentation, size=largest)
        self._clips = [
            index
            for index, entry in enumerate(source.entries)
            if fits(augmentation, entry.frames, entry.height, entry.width)
        ]
        if not self._clips:
            raise DatasetError(
                (
                    f"none of the {len(source.entries)} clips has {augmentation.frames} frames at strides "
                    f"{augmentation.strides} of {augmentation.size or 'any size'}"
                ),
                "ask for less in the preset's data",
            )
        self.left_out = len(source.entries) - len(self._clips)
        self._order = Order([source.entries[index].shard for index in self._clips], options.seed, options.mixed)
        self._cache = _Cache(options.cache_bytes)
        self._decoders = ThreadPoolExecutor(options.threads, "decode", initializer=_use_one_thread)
        self._collator = ThreadPoolExecutor(1, "collate", initializer=_use_one_thread)
        self._ready: deque[Future[CodedBatch]] = deque()
        self._submitted = position
        self.position = position
        self.waited = 0.0

    @property
    def clips(self) -> int:
        """Clips in an epoch."""
        return len(self._clips)

    def __iter__(self) -> Iterator[CodedBatch]:
        return self

    def __next__(self) -> CodedBatch:
        """The next batch; raises the error of whatever could not be read or decoded."""
        while len(self._ready) <= self._options.ahead:
            self._submit()
        started = time.perf_counter()
        batch = self._ready.popleft().result()
        self.waited += time.perf_counter() - started
        self.position += self._options.batch * self._options.world
        return batch

    def sample(self, count: int) -> CodedBatch:
        """The first `count` clips that a run sees, whatever the position: for looking at."""
        return _batch([self._decoders.submit(self._sample, position) for position in range(count)], pin=False)

    def close(self) -> None:
        """Stop the threads; batches that were prepared are lost, the position is not."""
        for pool in (self._decoders, self._collator):
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self) -> None:
        options = self._options
        places = positions(self._submitted, options.batch, options.rank, options.world)
        self._submitted += options.batch * options.world
        indices = [self._clips[self._order.at(position)[1]] for position in places]
        self._source.ahead(index for index in indices if self._cache.get(index) is None)
        samples = [self._decoders.submit(self._sample, position) for position in places]
        self._ready.append(self._collator.submit(_batch, samples, options.pin))

    def _sample(self, position: int) -> Visit:
        epoch, place = self._order.at(position)
        index = self._clips[place]
        entry = self._source.entries[index]
        rng = np.random.default_rng([self._options.seed, epoch, index])
        cut = draw_cut(self._augmentation(position), entry.frames, entry.height, entry.width, rng)
        codes = self._codes(index, cut)
        real = entry.real if self._options.real is None else self._options.real
        return Visit(codes, entry, cut.gain, real, cut.unconditional, int(rng.integers(1 << 62)))

    def _augmentation(self, position: int) -> Augmentation:
        """What the batch at `position` looks like: one size for all of it, on every worker."""
        options = self._options
        if not options.sizes:
            return options.augmentation
        batch = position // (options.batch * options.world)
        shares = np.cumsum([weight for _, weight in options.sizes])
        drawn = np.random.default_rng([options.seed, batch, _SIZES]).random() * shares[-1]
        size, _ = options.sizes[int(np.searchsorted(shares, drawn, side="right"))]
        return dataclasses.replace(options.augmentation, size=size)

    def _codes(self, index: int, cut: ClipCut) -> ClipCodes:
        """The cut, from the cache, or from the whole clip if the cache will take it, or from the frames needed."""
        options = self._options
        wanted = ("rgb", *options.attributes, "mask")
        light = options.panorama is not None
        whole = self._cache.get(index)
        if whole is None and not self._cache.full:
            clip = self._checked(self._source.clip(index, wanted, None, light=light))
            whole = codes_of(clip, options.panorama, background=options.background, partial=options.partial)
            self._cache.put(index, whole)
        if whole is not None:
            return apply_cut(whole, cut)
        clip = self._checked(self._source.clip(index, wanted, sorted(cut.frames), light=light))
        codes = codes_of(clip, options.panorama, background=options.background, partial=options.partial)
        backwards = cut.frames[0] > cut.frames[-1]
        return cut_selected(select(codes, range(len(cut.frames))[::-1]) if backwards else codes, cut)

    def _checked(self, clip: Clip) -> Clip:
        """A clip that has what this training cannot do without; raises DatasetError."""
        wanted = self._options.attributes
        lacking = [name for name in wanted if name not in clip.arrays]
        if lacking and (not self._options.partial or len(lacking) == len(wanted)):
            raise DatasetError(
                f"has no {', '.join(lacking)}",
                "leave such clips out; `cosmos`, and inverse renderers of one attribute a pass, do without some",
                where=f"clip {clip.key}",
            )
        return clip


class _Cache:
    """Clips as codes, by index, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._clips: dict[int, ClipCodes] = {}
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        return self._used >= self._limit

    def get(self, index: int) -> ClipCodes | None:
        return self._clips.get(index)

    def put(self, index: int, clip: ClipCodes) -> None:
        with self._lock:
            if index not in self._clips and not self.full:
                self._clips[index] = clip
                self._used += clip.nbytes


def _use_one_thread() -> None:
    """Use no threads beside this one."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _batch(futures: list[Future[Visit]], pin: bool) -> CodedBatch:
    batch = collate([future.result() for future in futures])
    return batch.pinned() if pin else batch
