"""What each estimated G-buffer costs the picture that is rendered from it.

    python -m benchmarks.estimated_gbuffers out/benchmark/scenes out/inverse/renderer out/forward/renderer

Every second clip of a benchmark's part is rendered from its true G-buffers, with one of them estimated from the
picture, and with all of them; PSNR on surfaces against the path-traced picture, under the true light.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from manifests.contract.attributes import GBUFFERS
from manifests.store.dataset import open_dataset
from training.evaluation.benchmark import Maps, Part, Shot
from training.evaluation.evaluation_settings import EvaluationSettings
from training.evaluation.metrics import best_gain, psnr
from training.evaluation.models import EvaluationModels, load_models


@dataclass(frozen=True)
class Paths:
    """The part of a benchmark and the two checkpoints."""

    part: tyro.conf.Positional[Path]
    inverse: tyro.conf.Positional[str]
    forward: tyro.conf.Positional[str]


def costs(models: EvaluationModels, shot: Shot) -> dict[str, float]:
    """dB by what was estimated."""
    true, estimated, light, exposure = shot.maps, models.gbuffers(shot), shot.environment, shot.clip.exposure

    def seen(gbuffers: Maps, exposure: float = exposure) -> float:
        return psnr(models.picture(shot, gbuffers, light, exposure, 0.0), shot.video, shot.surface)

    gain = best_gain(estimated["basecolor"], true["basecolor"], shot.surface)
    gained = np.clip(estimated["basecolor"] * np.float32(gain), 0, 1)
    return {
        "nothing": seen(true),
        **{name: seen({**true, name: estimated[name]}) for name in GBUFFERS},
        "base colour, at its best gain": seen({**true, "basecolor": gained}),
        "all": seen(estimated),
        "all, metered": seen(estimated, models.metered(shot, estimated, light)),
    }


def main(paths: Paths) -> None:
    """Measure and print a Markdown table."""
    models = load_models(EvaluationSettings(inverse=paths.inverse, forward=paths.forward))
    part = Part(paths.part.name, open_dataset(paths.part))
    found = [costs(models, shot) for scene in part.scenes() for shot in part.shots(scene)[::2]]
    print(f"{len(found)} clips\n\n| estimated | surface PSNR, dB |\n|---|---|")
    for name in found[0]:
        print(f"| {name} | {np.mean([one[name] for one in found]):.1f} |")


if __name__ == "__main__":
    main(tyro.cli(Paths))
