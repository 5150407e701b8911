"""Baselines of relighting: leave the picture as it is, or scale it by how much light there is now."""

from __future__ import annotations

import numpy as np
import torch

from manifests.environment import srgb_decode
from manifests.exposure import TARGET, on_screen, surface_level
from training.baselines.forward import mean_radiance
from training.evaluation.benchmark import Shot

UNCHANGED = "input unchanged"
LIGHT_RATIO = "input x light ratio"
LIGHT_RATIO_METERED = "input x light ratio, metered"


def relighting_baselines(source: Shot, target: Shot) -> dict[str, np.ndarray]:
    """Videos (T, H, W, 3) for "`source` under the light of `target`", both of one scene.

    The light ratio is that of the exposed mean radiances, for each channel and frame; metered, the result is brought
    to the brightness at which the datasets expose surfaces.
    """
    before, after = (
        mean_radiance(torch.from_numpy(np.ascontiguousarray(shot.panorama.transpose(0, 3, 1, 2)))).numpy()
        for shot in (source, target)
    )
    ratio = (after / np.maximum(before, 1e-6))[:, None, None]  # (T, 1, 1, 3)
    scaled = srgb_decode(source.video) * ratio
    level = surface_level(scaled, source.surface)
    return {
        UNCHANGED: source.video,
        LIGHT_RATIO: on_screen(scaled),
        LIGHT_RATIO_METERED: on_screen(scaled * (TARGET / level if level > 0 else 1.0)),
    }
