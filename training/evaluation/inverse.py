"""Inverse rendering: G-buffers of a video against the true ones, on surface pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from manifests.environment import srgb_encode
from training.baselines.averages import Averages
from training.baselines.inverse import inverse_baselines
from training.evaluation import metrics
from training.evaluation.bars import ONE_FRAME, OURS
from training.evaluation.benchmark import Shot
from training.evaluation.models import Maps, Models
from training.evaluation.motion import Flow, temporal_error, true_flow
from training.evaluation.perceptual import Perceptual
from training.evaluation.scores import Score


def score_inverse(
    models: Models, shot: Shot, averages: Averages | None, perceptual: Perceptual
) -> tuple[list[Score], Maps]:
    """Scores of our network as video and as image model and of every baseline; and our G-buffers, for what follows."""
    ours = models.gbuffers(shot)
    by_frame = models.gbuffers_by_frame(shot)
    by_frame.pop("depth")  # relative to a frame, it cannot be compared with depth that is relative to the clip
    flow = true_flow(shot.clip, shot.moving)
    methods = {OURS: ours, ONE_FRAME: by_frame, **inverse_baselines(shot, averages)}
    scores = [
        Score(shot.part, shot.scene, shot.light, "inverse", method, attribute, metric, value)
        for method, maps in methods.items()
        for attribute in maps
        for metric, value in measured(attribute, maps[attribute], shot, flow, perceptual)
    ]
    return scores, ours


def measured(
    attribute: str, prediction: np.ndarray, shot: Shot, flow: Flow, perceptual: Perceptual
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
    change = temporal_error(prediction, truth, flow)
    if change is not None:
        yield "temporal", change


def _on_black(basecolor: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Encoded base colour, black off surfaces, so that nothing there counts."""
    encoded = srgb_encode(np.clip(basecolor, 0.0, 1.0)) * where[..., None]
    return encoded.astype(np.float32)
