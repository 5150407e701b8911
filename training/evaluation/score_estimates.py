"""Inverse rendering and lighting: estimated G-buffers, on surface pixels, and estimated light against the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from manifests.contract.color import luminance, srgb_encode
from renderers.light.panoramas import panorama_directions, resize_panorama, solid_angles
from training.baselines.forward_baselines import flattened
from training.baselines.inverse_baselines import Averages, inverse_baselines
from training.evaluation import metrics
from training.evaluation.acceptance import ONE_FRAME, OURS
from training.evaluation.benchmark import PANORAMA, Maps, Shot
from training.evaluation.models import EvaluationModels
from training.evaluation.perceptual import Perceptual
from training.evaluation.scores import Score

MEAN = "true mean, no direction (oracle)"


def score_inverse(
    models: EvaluationModels, shot: Shot, averages: Averages | None, perceptual: Perceptual
) -> tuple[list[Score], Maps]:
    """Scores of our network as video and as image model and of every baseline; and our G-buffers, for what follows."""
    ours = models.gbuffers(shot)
    by_frame = models.gbuffers_by_frame(shot)
    by_frame.pop("depth")  # relative to a frame, it cannot be compared with depth that is relative to the clip
    flow = metrics.true_flow(shot.clip, shot.moving)
    methods = {OURS: ours, ONE_FRAME: by_frame, **inverse_baselines(shot, averages)}
    scores = [
        Score(shot.part, shot.scene, shot.light, "inverse", method, attribute, metric, value)
        for method, maps in methods.items()
        for attribute in maps
        for metric, value in measured(attribute, maps[attribute], shot, flow, perceptual)
    ]
    return scores, ours


def measured(
    attribute: str, prediction: np.ndarray, shot: Shot, flow: metrics.Flow, perceptual: Perceptual
) -> Iterator[tuple[str, float]]:
    """(metric, value) of one predicted attribute (T, H, W, C)."""
    truth, where = shot.gbuffers[attribute], shot.surface
    if attribute == "normal":
        angles = metrics.angular(prediction, truth, where)
        yield from (("mean_angle", angles.mean), ("median_angle", angles.median))
        return
    if attribute == "depth":
        yield "rmse", metrics.aligned_depth_rmse(prediction, truth, where)
        return
    if attribute == "basecolor":
        yield "psnr", metrics.basecolor_psnr(prediction, truth, where)
        yield "si_psnr", metrics.si_psnr(prediction, truth, where)
        shown, true = (_on_black(values, where) for values in (prediction, truth))
        yield perceptual.label, perceptual(shown, true)
        prediction, truth = shown, true
    else:
        yield "rmse", metrics.rmse(prediction, truth, where)
    change = metrics.temporal_error(prediction, truth, flow)
    if change is not None:
        yield "temporal", change


def _on_black(basecolor: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Encoded base colour, black off surfaces, so that nothing there counts."""
    encoded = srgb_encode(np.clip(basecolor, 0.0, 1.0)) * where[..., None]
    return encoded.astype(np.float32)


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
