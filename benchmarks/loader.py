"""The training loader beside bare PyAV and OpenEXR decoding of the same bytes, on the same cores.

    python -m benchmarks.loader out/set                 clips of a dataset
    python -m benchmarks.loader out/set --light         with the environment: panoramas and background

Bare decoding reads every frame of the videos that the loader reads, and with --light environment.exr, from memory, and
copies the planes; it checks nothing, converts nothing and builds no batch. The loader reads from disk, checks hashes,
brings values to the table's conventions, cuts, mirrors, and stacks batches. `first visit` decodes, `cached` is every
epoch after the first. Short rounds alternate, and what counts is the median of their ratios, so that other work on the
machine falls on all.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import OpenEXR
import torch
import tyro

from manifests.attributes import GBUFFERS
from manifests.dataset import open_dataset
from training.augment import Augmentation
from training.loader import Loader, LoaderOptions
from training.source import DatasetSource

_READ = ("rgb", "mask", *GBUFFERS)


@dataclass(frozen=True)
class Settings:
    """What to measure: `clips` of `dataset` (over again if it has fewer), `threads` decoders, `rounds` rounds."""

    dataset: tyro.conf.Positional[Path]
    light: bool = False
    clips: int = 48
    threads: int = 1
    rounds: int = 9


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


def rate(settings: Settings, job: Callable[[], None]) -> tuple[float, float]:
    """Clips a second of wall time, and of the process' own CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return settings.clips / (time.perf_counter() - wall), settings.clips / (time.process_time() - cpu)


def main(settings: Settings) -> None:
    """Measure and print a Markdown table."""
    torch.set_num_threads(1)
    dataset = open_dataset(settings.dataset)
    held = dataset.rows()
    rows = (held * -(-settings.clips // len(held)))[: settings.clips]
    files = [dataset.files(row) for row in rows]
    source = DatasetSource(dataset, rows)
    augmentation = Augmentation(rows[0].frames, permute=True, reverse=True, exposure_stops=(-0.5, 0.5))
    options = LoaderOptions(
        augmentation,
        batch=4,
        panorama=(32, 64) if settings.light else None,
        background=settings.light,
        threads=settings.threads,
        ahead=0,  # nothing is decoded that is not asked for
    )

    def decode_bare() -> None:
        with ThreadPoolExecutor(settings.threads) as pool:
            for _ in pool.map(lambda clip: bare(clip, light=settings.light), files):
                pass

    def load(loader: Loader) -> None:
        for _ in range(0, settings.clips, options.batch):
            next(loader)

    found: dict[str, list[tuple[float, float]]] = {"bare": [], "first visit": [], "cached": []}
    cached = Loader(source, LoaderOptions(**{**vars(options), "cache_bytes": 8 << 30}))
    load(cached)
    for _ in range(settings.rounds):
        found["bare"].append(rate(settings, decode_bare))
        with Loader(source, options) as fresh:
            found["first visit"].append(rate(settings, lambda: load(fresh)))
        found["cached"].append(rate(settings, lambda: load(cached)))
    cached.close()
    print(
        f"{settings.dataset}: {rows[0].frames} frames of {rows[0].width}x{rows[0].height}, {settings.threads} threads\n"
    )
    print("| | clips/s | of bare | clips per CPU second | of bare |\n|---|---|---|---|---|")
    base = np.array(found["bare"])
    for name, rates in found.items():
        (wall, cpu), (share, cpu_share) = np.median(rates, axis=0), np.median(rates / base, axis=0)
        print(f"| {name} | {wall:.1f} | {share:.2f} | {cpu:.1f} | {cpu_share:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Settings))
