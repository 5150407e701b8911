"""Estimating light: the panorama of a video against the true one, in the first camera's frame."""

from __future__ import annotations

import numpy as np
import torch

from manifests.environment import luminance
from renderers.environment import panorama_directions, solid_angles
from renderers.inputs import resize_panorama
from training.baselines.forward import flattened
from training.evaluation import metrics
from training.evaluation.bars import OURS
from training.evaluation.benchmark import PANORAMA, Shot
from training.evaluation.scores import Score

MEAN = "true mean, no direction (oracle)"


def score_lighting(estimated: np.ndarray, shot: Shot) -> list[Score]:
    """Scores of an estimated panorama (h, w, 3), exposed, and of the truth without its directions."""
    planar = torch.from_numpy(np.ascontiguousarray(estimated.transpose(2, 0, 1)))[None]
    ours = resize_panorama(planar, *PANORAMA)[0].permute(1, 2, 0).numpy()
    truth = shot.panorama[0]
    methods = {OURS: ours, MEAN: flattened(truth[None])[0]}
    return [
        Score(shot.part, shot.scene, shot.light, "lighting", method, "", metric, value)
        for method, panorama in methods.items()
        for metric, value in light_errors(panorama, truth).items()
    ]


def light_errors(panorama: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`log_rmse`: RMSE of log(1 + radiance) over the sphere; `main_angle`: degrees between the main directions.

    Both (h, w, 3) linear. The main direction is the luminance-weighted mean direction; light that is the same from
    everywhere has none, and counts as 90 degrees off.
    """
    weight = solid_angles(*truth.shape[:2]).numpy() / (4 * np.pi)  # (h, 1)
    squared = np.square(np.log1p(panorama) - np.log1p(truth)).mean(axis=-1)
    one, other = main_direction(panorama), main_direction(truth)
    angle = 90.0
    if one is not None and other is not None:
        everywhere = np.ones((1, 1, 1), dtype=bool)
        angle = metrics.angular(one[None, None, None], other[None, None, None], everywhere).mean
    return {"log_rmse": float(np.sqrt((squared * weight).sum())), "main_angle": angle}


def main_direction(panorama: np.ndarray) -> np.ndarray | None:
    """Unit mean direction (3,) of the light of a panorama (h, w, 3); None where it comes evenly from everywhere."""
    height, width = panorama.shape[:2]
    directions = panorama_directions(height, width).permute(1, 2, 0).numpy()  # (3, h, w) -> (h, w, 3)
    power = luminance(panorama) * solid_angles(height, width).numpy()
    mean = (directions * power[..., None]).sum(axis=(0, 1))
    length = float(np.linalg.norm(mean))
    return mean / length if length > 1e-3 * power.sum() else None
