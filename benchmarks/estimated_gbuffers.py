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

from manifests.attributes import GBUFFERS
from manifests.dataset import open_dataset
from manifests.environment import srgb_encode
from training.evaluation.benchmark import Part, Shot
from training.evaluation.forward import environment, true_maps
from training.evaluation.models import Maps, Models, load_models
from training.evaluation.settings import Settings

_GAINS = np.geomspace(0.2, 5, 60)


@dataclass(frozen=True)
class Paths:
    """The part of a benchmark and the two checkpoints."""

    part: tyro.conf.Positional[Path]
    inverse: tyro.conf.Positional[str]
    forward: tyro.conf.Positional[str]


def psnr(found: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """dB of pictures (T, H, W, 3) in [0, 1] on the pixels `where` (T, H, W)."""
    return float(-10 * np.log10(np.square(found - truth).mean(axis=-1)[where].mean()))


def brought_to_truth(colours: np.ndarray, truth: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Base colours times the gain that brings them nearest to the truth."""
    gained = [np.clip(colours * np.float32(gain), 0, 1) for gain in _GAINS]
    return max(gained, key=lambda one: psnr(srgb_encode(one), srgb_encode(truth), where))


def costs(models: Models, shot: Shot) -> dict[str, float]:
    """dB by what was estimated."""
    true, estimated, light, exposure = true_maps(shot), models.gbuffers(shot), environment(shot), shot.clip.exposure

    def seen(gbuffers: Maps, exposure: float = exposure) -> float:
        return psnr(models.picture(shot, gbuffers, light, exposure, 0.0), shot.video, shot.surface)

    gained = brought_to_truth(estimated["basecolor"], true["basecolor"], shot.surface)
    return {
        "nothing": seen(true),
        **{name: seen({**true, name: estimated[name]}) for name in GBUFFERS},
        "base colour, at its best gain": seen({**true, "basecolor": gained}),
        "all": seen(estimated),
        "all, metered": seen(estimated, models.metered(shot, estimated, light)),
    }


def main(paths: Paths) -> None:
    """Measure and print a Markdown table."""
    models = load_models(Settings(paths.part, inverse=paths.inverse, forward=paths.forward))
    part = Part(paths.part.name, open_dataset(paths.part))
    found = [costs(models, shot) for scene in part.scenes() for shot in part.shots(scene)[::2]]
    print(f"{len(found)} clips\n\n| estimated | surface PSNR, dB |\n|---|---|")
    for name in found[0]:
        print(f"| {name} | {np.mean([one[name] for one in found]):.1f} |")


if __name__ == "__main__":
    main(tyro.cli(Paths))
