"""Does a worker only wait for its renderer? A stand-in renderer in the real engine, whose clips are encoded beside it.

    python -m benchmarks.codec_scenes out/codec-clips --scenes light     # or any dataset of `exact` clips
    python -m benchmarks.encoding_overlap out/codec-clips --render 1 --clips 12

The stand-in takes `--render` seconds and gives the first clip of the dataset. A row each for a renderer that sleeps, as
one that waits for a GPU does, and for one that holds Python's lock meanwhile, as Blender does not. The ideal is
max(render, encoding / cores); encoding / cores is measured with as many threads as there are cores and nothing else,
just before and just after, so that it has the same share of a busy machine.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.codecs import clips
from manifests.codec.codecs import decode_clip, encode_clip
from manifests.contract.clip import Clip
from manifests.contract.clip_summary import summarise
from manifests.contract.row import ClipRow, Sample
from manifests.store.dataset import open_or_create
from manifests.store.header import Header
from pipeline.engine import run
from pipeline.options import MOST_ENCODERS, RunOptions
from pipeline.stage import Encode

WARM = MOST_ENCODERS + 2
"""Clips that are made before a worker first has to wait for an encoder."""


def first_clip(dataset: Path) -> Clip:
    key, files = next(clips(dataset))
    return decode_clip(key, files)


def sample_of(clip: Clip, index: int, pause: float) -> Sample:
    """What the factory does with a rendered clip; with `pause` it only waits, which leaves the schedule alone."""
    key = f"{index:08d}-00"
    time.sleep(pause)
    files, errors = ({"data.bin": b"-"}, {}) if pause else encode_clip(clip, "compact")
    frames, (height, width) = clip.frames, clip.size
    row = ClipRow(
        key=key, item=index, stage="overlap", frames=frames, height=height, width=width, fps=clip.fps,
        attributes=tuple(clip.arrays), statistics={} if pause else summarise(clip), codec_errors=errors,
    )  # fmt: skip
    return Sample(key, files, row)


@dataclass(frozen=True)
class OverlapStage:
    """Every item is the first clip of `source`, made in `seconds`; `notes` gets "INDEX SECONDS" as each begins."""

    source: Path
    items: int
    per_shard: int
    seconds: float
    hold: bool
    pause: float
    notes: Path
    name: str = "overlap"

    def make_worker(self) -> OverlapWorker:
        return OverlapWorker(self)

    def describe(self, index: int) -> str:
        return "{}"


class OverlapWorker:
    def __init__(self, stage: OverlapStage) -> None:
        self._stage, self._clip = stage, first_clip(stage.source)

    def produce(self, index: int) -> Encode:
        began = time.perf_counter()
        with self._stage.notes.open("a") as file:
            file.write(f"{index} {time.time()}\n")
        arrays = {name: array.copy() for name, array in self._clip.arrays.items()}
        clip = Clip(self._clip.key, arrays, self._clip.camera, self._clip.environment, exposure=self._clip.exposure)
        while self._stage.hold and time.perf_counter() - began < self._stage.seconds:
            pass
        time.sleep(max(0.0, self._stage.seconds - (time.perf_counter() - began)))
        return lambda: [sample_of(clip, index, self._stage.pause)]

    def close(self) -> None:
        pass


def through_the_engine(stage: OverlapStage, folder: Path, cores: int) -> float:
    """Seconds a clip, once the encoders are busy."""
    header = Header(stage=stage.name, codec="compact", recipe={}, seed=0, items=stage.items, per_shard=stage.per_shard)
    run(open_or_create(folder, header), stage, RunOptions(workers=1, cpus_per_worker=cores, gpus_per_worker=0))
    begun = [float(line.split()[1]) for line in stage.notes.read_text().splitlines()]
    return (begun[-1] - begun[WARM]) / (len(begun) - 1 - WARM)


def encoding_alone(clip: Clip, cores: int, pause: float) -> float:
    """Seconds a clip when `cores` threads do nothing but encode."""
    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda index: sample_of(clip, index, pause), range(2 * cores)))
    return (time.perf_counter() - began) / (2 * cores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--render", type=float, default=1.0, help="seconds that the stand-in takes")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.0, help="wait so many seconds in place of encoding")
    options = parser.parse_args()
    clip = first_clip(options.dataset)
    print("| renderer | render s | encoding / cores s | ideal s | engine s a clip | of the ideal throughput |")
    print("|---|---|---|---|---|---|")
    for label, hold in (("waits", False), ("holds the lock", True)):
        with TemporaryDirectory(prefix="lightloom-bench-") as name:
            folder = Path(name)
            stage = OverlapStage(
                source=options.dataset.absolute(),
                items=options.clips,
                per_shard=options.clips,
                seconds=options.render,
                hold=hold,
                pause=options.pause,
                notes=folder / "notes.txt",
            )
            before = encoding_alone(clip, options.cores, options.pause)
            seconds = through_the_engine(stage, folder / "set", options.cores)
            alone = (before + encoding_alone(clip, options.cores, options.pause)) / 2
        ideal = max(options.render, alone)
        print(
            f"| {label} | {options.render:.2f} | {alone:.2f} | {ideal:.2f} | {seconds:.2f} | {ideal / seconds:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
