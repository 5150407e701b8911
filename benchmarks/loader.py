"""The training loader beside bare PyAV and OpenEXR decoding of the same bytes, on the same cores.

    python -m benchmarks.loader out/set                 clips of a dataset
    python -m benchmarks.loader out/set --light         with the environment: panoramas and background

Bare decoding reads every frame of the videos that the loader reads, and with --light environment.exr, from memory, and
copies the planes; it checks nothing, converts nothing and builds no batch. The loader reads from disk, checks hashes,
brings values to the table's conventions, cuts, mirrors, and stacks batches. `first visit` decodes, `as values` also
brings that batch to the CPU as an objective gets it, where light is turned (on a GPU that happens there), `cached` is
every epoch after the first. They take turns, a batch of the same clips each, and what counts is the median of the
ratios, so that other work on the machine falls on all.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import OpenEXR
import torch
import tyro

from manifests.contract.attributes import GBUFFERS
from manifests.store.dataset import open_dataset
from training.data.augment import Augmentation
from training.data.clip_sources import DatasetSource
from training.data.loader import Loader, LoaderOptions

_READ = ("rgb", "mask", *GBUFFERS)


@dataclass(frozen=True)
class Settings:
    """What to measure: `clips` of `dataset` (over again if it has fewer) with `threads` decoders."""

    dataset: tyro.conf.Positional[Path]
    light: bool = False
    clips: int = 400
    threads: int = 1


_BATCH = 4
_WARM = 3
"""Batches that are not counted."""


def bare(files: dict[str, bytes], *, light: bool) -> int:
    """Decode the files of a clip and copy what comes out; returns its bytes."""
    size = 0
    for name in _READ:
        (suffix,) = [suffix for suffix in files if suffix.partition(".")[0] == name]
        with av.open(io.BytesIO(files[suffix])) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for frame in container.decode(video=0):
                size += sum(np.frombuffer(plane, np.uint8).copy().nbytes for plane in frame.planes)
    if light:
        with OpenEXR.File(io.BytesIO(files["environment.exr"]), num_threads=0) as file:
            size += sum(channel.pixels.nbytes for channel in file.channels().values())
    return size


def bare_batch(pool: ThreadPoolExecutor, clips: list[dict[str, bytes]], *, light: bool) -> None:
    """`bare` for each of the clips, on the pool's threads."""
    for _ in pool.map(partial(bare, light=light), clips):
        pass


def timed[T](job: Callable[[], T]) -> tuple[T, list[float]]:
    """What `job` gives; its seconds of wall time, and those of the process' own CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = job()
    return result, [time.perf_counter() - wall, time.process_time() - cpu]


def main(settings: Settings) -> None:
    """Measure and print a Markdown table."""
    torch.set_num_threads(1)
    dataset = open_dataset(settings.dataset)
    held = dataset.rows()
    files = {row.key: dataset.files(row) for row in held}
    source = DatasetSource(dataset, held)
    augmentation = Augmentation(held[0].frames, permute=True, reverse=True, exposure_stops=(-0.5, 0.5))
    options = LoaderOptions(
        augmentation,
        batch=_BATCH,
        panorama=(32, 64) if settings.light else None,
        background=settings.light,
        threads=settings.threads,
        ahead=0,  # nothing is decoded that is not asked for
    )
    found: dict[str, list[list[float]]] = {"bare": [], "first visit": [], "as values": [], "cached": []}
    with (
        ThreadPoolExecutor(settings.threads) as pool,
        Loader(source, options) as fresh,
        Loader(source, replace(options, cache_bytes=8 << 30)) as cached,
    ):
        for _ in range(-(-len(held) // _BATCH)):
            next(cached)  # visits every clip
        for turn in range(-_WARM, settings.clips // _BATCH):
            batch, first = timed(partial(next, fresh))
            clips = [files[key] for key in batch.keys]
            seconds = {
                "bare": timed(partial(bare_batch, pool, clips, light=settings.light))[1],
                "first visit": first,
                "as values": [a + b for a, b in zip(first, timed(partial(batch.to, "cpu"))[1], strict=True)],
                "cached": timed(partial(next, cached))[1],
            }
            if turn >= 0:
                for name, times in found.items():
                    times.append(seconds[name])
    print(
        f"{settings.dataset}: {held[0].frames} frames of {held[0].width}x{held[0].height}, {settings.threads} threads\n"
    )
    print("| | clips/s | of bare | clips per CPU second | of bare |\n|---|---|---|---|---|")
    base = np.array(found["bare"])
    for name, times in found.items():
        (wall, cpu), (share, cpu_share) = _BATCH / np.median(times, axis=0), np.median(base / times, axis=0)
        print(f"| {name} | {wall:.1f} | {share:.2f} | {cpu:.1f} | {cpu_share:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Settings))
