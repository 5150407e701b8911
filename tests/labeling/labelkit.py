"""A small inverse renderer with random weights, and a small source, for tests of the label stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from footage import encode, shot

from labeling.label_settings import LabelSettings, SegmentOptions, checkpoint
from labeling.label_stage import LabelStage, LabelWorker
from renderers.backbones import BACKBONES
from renderers.inverse import InverseRenderer
from renderers.light.solver import Fit
from renderers.lighting_estimator import SolverLightingEstimator

LENGTH = 6
QUICK_FIT = SolverLightingEstimator(Fit(pixels=200, rounds=1, steps=5), rows=8)


def save_inverse(folder: Path, seed: int = 0, licence: str | None = "CC0-1.0") -> Path:
    """A checkpoint whose labels differ from pixel to pixel: its last layer is not zero, as a fresh one's is."""
    torch.manual_seed(seed)
    unet = BACKBONES["tiny"].create("inverse", widths=(16, 32), depths=(1, 1), embedding=16)
    with torch.no_grad():
        for parameter in unet.parameters():
            if not parameter.abs().sum():
                parameter.normal_(std=0.05)
    InverseRenderer(unet, licence=licence).save_pretrained(folder)
    return folder


def make_source(folder: Path, items: int = 3) -> Path:
    """Videos of 14 frames of 32x32: two segments of 6 each."""
    folder.mkdir(parents=True)
    for number in range(items):
        encode(folder / f"pan{number}.mp4", shot(number, 14, 32, 32))
    return folder


def black_video(path: Path) -> Path:
    """Frames without any light."""
    return encode(path, np.zeros((14, 32, 32, 3), np.uint8))


def settings(folder: Path, **changes: object) -> LabelSettings:
    """Small segments and two items a shard."""
    known = {"segments": SegmentOptions(length=LENGTH), "size": 32, "checks": ("render",), "per_shard": 2}
    return LabelSettings(inverse=checkpoint(folder, "inverse"), **(known | changes))  # type: ignore[arg-type]


class QuickStage(LabelStage):
    """The stage with a light solver that does next to nothing: its quality is tests/renderers' concern."""

    def make_worker(self) -> LabelWorker:
        worker = super().make_worker()
        worker._labeler._light = QUICK_FIT
        return worker
