"""The learning rate as a function of how far a run is, and which stream a step takes: both can be recomputed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training.config import Optimise, TrainConfig

IMAGES = "images"


def progress(optimise: Optimise, step: int, seconds: float) -> float:
    """Share of the run that is done: of its steps, or of its minutes where they are further."""
    timed = 0.0 if optimise.minutes is None else seconds / (60 * optimise.minutes)
    return min(1.0, max(step / optimise.steps, timed))


def learning_rate(optimise: Optimise, step: int, done: float) -> float:
    """Rate of step `step` (from 0), when the share `done` of the run is over."""
    risen = min(1.0, (step + 1) / (optimise.warmup + 1))
    match optimise.schedule:
        case "cosine":
            fallen = 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            fallen = 1 - done
        case _:
            return optimise.learning_rate * risen
    return optimise.learning_rate * risen * (optimise.final_rate + (1 - optimise.final_rate) * fallen)


def streams_of(config: TrainConfig, step: int, streams: Sequence[str], images: bool) -> list[str]:
    """The stream of each part of step `step`: `accumulation` parts of each of `streams`.

    Where there are images, the whole main part of a step is taken from them with probability `images_share`.
    """
    rng = np.random.default_rng([config.seed, step, 0x1A6E])
    still = images and rng.random() < config.data.images_share
    chosen = [IMAGES if name == "main" and still else name for name in streams]
    return [name for name in chosen for _ in range(config.optimise.accumulation)]
