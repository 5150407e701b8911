"""`Loader`: the endless, reproducible stream of batches, decoded ahead so that the training step does not wait.

What a batch holds follows from (seed, position) alone: not from how many threads decode, nor from the cache, nor from
how the global batch is spread over workers. So a loader's whole state is one number.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from manifests.contract.attributes import GBUFFERS
from manifests.errors import DatasetError
from training.data.augment import Augmentation, View, apply_view, cut, draw_view, fits, select
from training.data.batch import CodedBatch, Packed, pack, stacked
from training.data.clip_sources import Entry, Source
from training.data.order import Order, positions


@dataclass(frozen=True)
class LoaderOptions:
    """What is loaded, and with which means.

    Attributes:
        augmentation: which cuts of a clip are seen.
        batch: samples a batch on this worker.
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
        real: marks every clip as auto-labelled footage (True) or rendered (False); None takes it from the source.
    """

    augmentation: Augmentation
    batch: int
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
    real: bool | None = None


class Loader:
    """Batches of a source, for ever: `for batch in loader`. Close it, or use it as a context manager.

    They come as codes; `batch.to(device)` makes the `Batch` that objectives take.

    Attributes:
        position: samples that all workers together have consumed; save it and give it back to go on exactly there.
        waited: seconds that `next` has waited for batches so far.
    """

    def __init__(self, source: Source, options: LoaderOptions, position: int = 0) -> None:
        self._options = options
        self._source = source
        augmentation = options.augmentation
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
        self._order = Order([source.entries[index].shard for index in self._clips], options.seed, options.mixed)
        self._cache = _Cache(options.cache_bytes)
        self._decoders = ThreadPoolExecutor(options.threads, "decode", initializer=_stay_alone)
        self._collator = ThreadPoolExecutor(1, "collate", initializer=_stay_alone)
        self._ready: deque[Future[CodedBatch]] = deque()
        self._submitted = position
        self.position = position
        self.waited = 0.0

    @property
    def clips(self) -> int:
        """Clips in an epoch."""
        return len(self._clips)

    @property
    def skipped(self) -> int:
        """Clips of the source that are too short or too small."""
        return len(self._source.entries) - len(self._clips)

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
        return _collate([self._decoders.submit(self._sample, position) for position in range(count)], pin=False)

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
        samples = [self._decoders.submit(self._sample, position) for position in places]
        self._ready.append(self._collator.submit(_collate, samples, options.pin))

    def _sample(self, position: int) -> _Visit:
        epoch, place = self._order.at(position)
        index = self._clips[place]
        entry = self._source.entries[index]
        rng = np.random.default_rng([self._options.seed, epoch, index])
        view = draw_view(self._options.augmentation, entry.frames, entry.height, entry.width, rng)
        packed = self._packed(index, view)
        real = entry.real if self._options.real is None else self._options.real
        return _Visit(entry, packed, view, real, int(rng.integers(1 << 62)))

    def _packed(self, index: int, view: View) -> Packed:
        """The cut, from the cache, or from the whole clip if the cache will take it, or from the frames needed."""
        options = self._options
        wanted = ("rgb", *options.attributes, "mask")
        light = options.panorama is not None
        whole = self._cache.get(index)
        if whole is None and not self._cache.full:
            clip = self._source.clip(index, wanted, None, light=light)
            whole = pack(clip, options.panorama, background=options.background)
            self._cache.put(index, whole)
        if whole is not None:
            return apply_view(whole, view)
        clip = self._source.clip(index, wanted, sorted(view.frames), light=light)
        packed = pack(clip, options.panorama, background=options.background)
        backwards = view.frames[0] > view.frames[-1]
        return cut(select(packed, range(len(view.frames))[::-1]) if backwards else packed, view)


@dataclass(frozen=True, eq=False)
class _Visit:
    entry: Entry
    packed: Packed
    view: View
    real: bool
    seed: int


class _Cache:
    """Packed clips by index, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._clips: dict[int, Packed] = {}
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        return self._used >= self._limit

    def get(self, index: int) -> Packed | None:
        return self._clips.get(index)

    def put(self, index: int, clip: Packed) -> None:
        with self._lock:
            if index not in self._clips and not self.full:
                self._clips[index] = clip
                self._used += clip.nbytes


def _stay_alone() -> None:
    """Use no threads beside this one."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _collate(futures: list[Future[_Visit]], pin: bool) -> CodedBatch:
    visits = [future.result() for future in futures]
    batch = CodedBatch(
        keys=tuple(visit.entry.key for visit in visits),
        coded=stacked([visit.packed for visit in visits], [visit.view.gain for visit in visits]),
        confidence={
            name: torch.tensor([visit.entry.confidence.get(name, 1.0) for visit in visits])
            for name in (*GBUFFERS, "environment")
        },
        real=torch.tensor([visit.real for visit in visits]),
        unconditional=torch.tensor([visit.view.unconditional for visit in visits]),
        seeds=torch.tensor([visit.seed for visit in visits], dtype=torch.int64),
    )
    return batch.pinned() if pin else batch
