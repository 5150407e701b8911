"""What the label stage costs and what it loses: speed against a plain loop, quality against direct inference, trust.

    python -m benchmarks.labeling speed                            # random tiny weights, videos made here
    python -m benchmarks.labeling quality CHECKPOINT DATASET ...   # rendered clips with known truth, pooled

`speed` labels the same videos with one actor of the engine and with a plain sequential loop (decode a video, then for
each clip run the inverse renderer once for every attribute, solve for the light, encode, write) and compares clips a
minute from the first decoded frame to the last written clip, loading left out on both sides. Both have all cores, and
threads that sleep while they wait: on a busy machine, torch's spinning ones cost the plain loop far more.

`quality` writes rendered clips as mp4, pushes them through the stage as if they were footage, and compares the labels
with the truth: against the errors of the inverse renderer on the clips themselves (what does the stage lose?), and
against the confidence (does it rank the errors?).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy.stats import spearmanr

from labeling.label_run import create, stage_of
from labeling.label_settings import LabelSettings, SegmentOptions, checkpoint
from labeling.label_stage import LabelStage, LabelWorker
from labeling.segments import Segment, plan
from labeling.sources.discovery import discover
from labeling.sources.frame_reader import open_footage
from manifests.codec.codecs import decode_clip, encode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.contract.environment import encode_log
from manifests.contract.row import ClipRow
from manifests.store.dataset import Dataset, open_dataset
from pipeline.engine import run
from pipeline.options import RunOptions
from pipeline.stage import Encode

LENGTH = 24
CHECKS = ("mirror", "window", "exposure", "render")


# --- speed ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimedStage(LabelStage):
    """Notes when its worker begins its first item and when it has encoded its last."""

    notes: str = ""

    def make_worker(self) -> LabelWorker:
        return TimedWorker(self)


class TimedWorker(LabelWorker):
    def produce(self, index: int) -> Encode:
        notes = Path(self._stage.notes)  # type: ignore[attr-defined]
        with notes.open("a") as file:
            file.write(f"{time.time()}\n")
        finish = super().produce(index)

        def noted() -> list:
            samples = finish()
            with notes.open("a") as file:
                file.write(f"{time.time()}\n")
            return samples

        return noted


def make_videos(folder: Path, count: int, frames: int, size: int) -> None:
    """Pans over smooth noise."""
    import cv2

    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        noise = rng.integers(0, 255, (12, 24, 3), dtype=np.uint8)
        wide = cv2.resize(noise, (max(3 * size, size + 2 * frames), 2 * size), None, 0, 0, cv2.INTER_CUBIC)
        pictures = [wide[size // 2 : size // 2 + size, 2 * t : 2 * t + size] for t in range(frames)]
        write_video(folder / f"video{number:02d}.mp4", np.stack(pictures), 24.0)


def write_video(path: Path, frames: np.ndarray, fps: float, crf: int = 8) -> None:
    """Frames (T, H, W, 3) uint8 sRGB as H.264 4:2:0, tagged as what it is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": str(crf)})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        stream.codec_context.color_trc, stream.codec_context.color_primaries = 13, 1  # sRGB curve, BT.709 primaries
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)))
        container.mux(stream.encode(None))


def random_weights(folder: Path) -> Path:
    """The tiny inverse renderer, as large as trained ones; random weights cost what trained ones cost."""
    import torch

    from renderers.backbones import BACKBONES
    from renderers.inverse import InverseRenderer

    torch.manual_seed(0)
    InverseRenderer(BACKBONES["tiny"].create("inverse"), licence="CC0-1.0").save_pretrained(folder)
    return folder


def sequential(source: Path, weights: Path, out: Path, size: int) -> None:
    """The plain loop, in a process of its own; prints clips and seconds."""
    import torch

    from labeling.labels import Labeler
    from renderers.inverse import InverseRenderer

    settings = speed_settings(weights, size, ())
    labeler = Labeler(settings)
    inverse = labeler._inverse
    assert isinstance(inverse, InverseRenderer)
    out.mkdir()
    clips, began = 0, time.perf_counter()
    for footage in discover(source).footage:
        with open_footage(footage, size=size) as reader:
            segments = [piece for piece in plan(reader, settings.segments) if isinstance(piece, Segment)]
        for segment in segments:
            maps: dict[str, np.ndarray] = {}
            for name in GBUFFERS:
                maps |= inverse(segment.frames, attributes=[name], generator=torch.Generator().manual_seed(0)).gbuffers
            light = labeler._light(segment.frames, maps, height=32).environment
            files = encode_clip(clip_from(f"{footage.uid}-{segment.start:06d}", segment, maps, light), "compact")[0]
            for suffix, data in files.items():
                (out / f"{footage.uid}-{segment.start:06d}.{suffix}").write_bytes(data)
            clips += 1
    print(json.dumps({"clips": clips, "seconds": time.perf_counter() - began}))


def clip_from(key: str, segment: Segment, maps: Mapping[str, np.ndarray], light: np.ndarray) -> Clip:
    """What the plain loop stores."""
    from labeling.label_rows import _LINEAR
    from manifests.contract.environment import Environment

    still = np.tile(np.eye(3), (len(segment.frames), 1, 1))
    return Clip(key, {"rgb": _LINEAR[segment.frames], **maps}, environment=Environment(light, still), fps=segment.fps)


def speed_settings(weights: Path, size: int, checks: Sequence[str]) -> LabelSettings:
    segments = SegmentOptions(length=LENGTH, min_motion=0.0)
    return LabelSettings(inverse=checkpoint(weights, "inverse"), segments=segments, size=size, checks=tuple(checks))  # type: ignore[arg-type]


def with_one_actor(
    source: Path, weights: Path, out: Path, size: int, checks: Sequence[str]
) -> tuple[int, float, float]:
    """(clips, seconds from the first item's begin to the last one's end, seconds that the networks worked)."""
    found, settings = discover(source), speed_settings(weights, size, checks)
    stage = stage_of(found, settings)
    notes = out.with_suffix(".txt")
    timed = TimedStage(stage.source, stage.footage, settings, notes=str(notes))
    dataset = create(out, found, settings)
    run(dataset, timed, RunOptions(workers=1, show_progress=False))
    times = [float(line) for line in notes.read_text().split()]
    rows = dataset.rows()
    return len(rows), max(times) - min(times), sum(row.seconds for row in rows)


def speed(count: int, size: int, repeats: int) -> None:
    """Both ways, alternately; the medians are compared."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_videos(folder / "videos", count, 2 * LENGTH, size)
        weights = random_weights(folder / "weights")
        plain, ours, busy, checked = [], [], [], []
        for number in range(repeats):
            here = folder / f"plain{number}"
            command = [sys.executable, "-m", "benchmarks.labeling", "sequential"]
            done = subprocess.run(
                [*command, str(folder / "videos"), str(weights), str(here), str(size)],
                check=True, capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            )  # fmt: skip
            told = json.loads(done.stdout.splitlines()[-1])
            plain.append(60 * told["clips"] / told["seconds"])
            for checks, rates in (((), ours), (CHECKS, checked)):
                out = folder / f"ours{number}-{len(checks)}"
                clips, seconds, worked = with_one_actor(folder / "videos", weights, out, size, checks)
                rates.append(60 * clips / seconds)
                if not checks:
                    busy.append(worked / seconds)
            print(
                f"round {number}: {plain[-1]:.1f} clips/min plain, {ours[-1]:.1f} with one actor "
                f"({ours[-1] / plain[-1]:.2f} times), networks busy {100 * busy[-1]:.0f} %; "
                f"{checked[-1]:.1f} with all checks of confidence",
                flush=True,
            )
        ratio = float(np.median(ours) / np.median(plain))
        print(
            f"{2 * count} clips of {size}x{size}x{LENGTH}, {os.cpu_count()} cores: {np.median(plain):.1f} clips/min "
            f"plain, {np.median(ours):.1f} with one actor: {ratio:.2f} times; networks busy "
            f"{100 * np.median(busy):.0f} % of the wall time; {np.median(checked):.1f} clips/min with all checks"
        )


# --- quality ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """One clip: errors of the labels and of direct inference by attribute, and what the row says."""

    key: str
    labelled: Mapping[str, float]
    direct: Mapping[str, float]
    row: ClipRow


def judge(weights: Path, dataset: Dataset, rows: Sequence[ClipRow], folder: Path) -> Iterator[Judged]:
    """Push clips through the stage as footage and measure."""
    import torch

    from labeling.confidence import disagreement
    from renderers.light.panoramas import panoramas
    from renderers.modelspace import planar, relative_depth

    torch.set_num_threads(1)
    (folder / "videos").mkdir(parents=True)
    for row in rows:
        clip = decode_clip(row.key, dataset.files(row), ["rgb"], light=False, coded=True)
        write_video(folder / "videos" / f"{row.key}.mp4", clip.arrays["rgb"], clip.fps)
    frames = min(row.frames for row in rows)
    wanted = SegmentOptions(length=frames, count=1, cuts=False, min_motion=0.0, min_brightness=0.0)
    settings = LabelSettings(inverse=checkpoint(weights, "inverse"), segments=wanted, size=0, checks=CHECKS)
    found = discover(folder / "videos", kind="video")
    worker = stage_of(found, settings).make_worker()
    index = {footage.name.removesuffix(".mp4"): number for number, footage in enumerate(found.footage)}
    for row in rows:
        clip = decode_clip(row.key, dataset.files(row), frames=slice(frames))
        truth = {name: planar(clip.arrays[name]) for name in GBUFFERS}
        truth["depth"] = relative_depth(truth["depth"])[0]
        surface = (planar(clip.arrays["mask"]) > 0.5).float()
        if not surface.any():
            continue
        (sample,) = worker.produce(index[row.key])()
        labels = decode_clip(sample.key, sample.files)
        direct = worker._labeler._inverse(clip, attributes=GBUFFERS)
        errors = [
            disagreement(truth, {name: planar(np.asarray(maps[name])) for name in GBUFFERS}, surface)
            for maps in (labels.arrays, direct.gbuffers)
        ]
        assert clip.environment and clip.camera and labels.environment and labels.camera
        seen = [
            panoramas(known.environment.image, known.environment.rotation[:1], known.camera.camera_to_world[:1], 32, 64)
            for known in (clip, labels)
        ]
        errors[0]["environment"] = light_error(seen[0][0].numpy() * clip.exposure, seen[1][0].numpy())
        yield Judged(row.key, errors[0], errors[1], sample.row)
    worker.close()


def light_error(true: np.ndarray, found: np.ndarray) -> float:
    """RMSE of E_log (3, h, w) over the sphere."""
    rows = true.shape[1]
    solid = np.sin((np.arange(rows) + 0.5) / rows * np.pi)[None, :, None]
    error = np.square(encode_log(true) - encode_log(found))
    return float(np.sqrt((error * solid).sum() / (solid.sum() * 3 * true.shape[2])))


def quality(weights: Path, paths: Sequence[Path], count: int, seed: int, table: Path | None) -> None:
    """Print what the stage loses and how the confidence ranks, over at most `count` clips of each dataset, pooled;
    `table` gets every figure as JSON lines."""
    judged: list[Judged] = []
    for path in paths:
        dataset = open_dataset(path)
        rows = dataset.rows()
        chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
        with tempfile.TemporaryDirectory() as folder:
            judged += judge(weights, dataset, [rows[number] for number in sorted(chosen)], Path(folder))
    if table:
        table.write_text("".join(_line(one) for one in judged))
    names = (*GBUFFERS, "environment")
    print(f"{len(judged)} clips of {', '.join(path.name for path in paths)}, weights {weights.name}")
    print(f"{'attribute':<12} {'direct':>8} {'labelled':>9} {'ratio':>6}   Spearman of error with doubt, with evidence")
    for name in names:
        errors = np.array([one.labelled[name] for one in judged])
        direct = float(np.mean([one.direct[name] for one in judged])) if name in GBUFFERS else float("nan")
        ranks = float(spearmanr(errors, [-one.row.confidence[name] for one in judged]).statistic)
        line = f"{name:<12} {direct:>8.4g} {errors.mean():>9.4g} {errors.mean() / direct:>6.3f}   {ranks:5.2f}"
        for key in sorted(judged[0].row.statistics):
            if key == "evidence.render" or (key.endswith(f".{name}") and key.startswith("evidence.")):
                rank = float(spearmanr(errors, [one.row.statistics[key] for one in judged]).statistic)
                line += f"  {key.removeprefix('evidence.').removesuffix('.' + name)} {rank:5.2f}"
        print(line)


def _line(one: Judged) -> str:
    evidence = {name: value for name, value in one.row.statistics.items() if name.startswith("evidence.")}
    means = {
        f"{name}.{what}": one.row.statistics.get(f"{name}.{what}", 0.0) for name in GBUFFERS for what in ("mean", "std")
    }
    known = {"key": one.key, "labelled": one.labelled, "direct": one.direct, "evidence": evidence, "means": means}
    return json.dumps(known | {"confidence": one.row.confidence, "rgb": one.row.statistics["rgb.brightness"]}) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("--videos", type=int, default=6)
    fast.add_argument("--size", type=int, default=64)
    fast.add_argument("--repeats", type=int, default=3)
    plain = commands.add_parser("sequential")
    for name in ("source", "weights", "out"):
        plain.add_argument(name, type=Path)
    plain.add_argument("size", type=int)
    good = commands.add_parser("quality")
    good.add_argument("weights", type=Path)
    good.add_argument("datasets", type=Path, nargs="+")
    good.add_argument("--clips", type=int, default=200)
    good.add_argument("--seed", type=int, default=0)
    good.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.command == "speed":
        speed(given.videos, given.size, given.repeats)
    elif given.command == "sequential":
        sequential(given.source, given.weights, given.out, given.size)
    else:
        quality(given.weights, given.datasets, given.clips, given.seed, given.table)


if __name__ == "__main__":
    main()
