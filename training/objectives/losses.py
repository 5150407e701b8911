"""Losses of predictions in pixels, each averaged over every clip by itself, so that a batch can be split anywhere.

Tensors are planar (B, T, C, H, W) in model space [-1, 1], `weight` is (B, T, 1, H, W) >= 0, results are (B,).
What fits an attribute follows "Fine-tuning image-conditional diffusion models is easier than you think" (Martin Garcia
et al. 2024, section 4) for normals and depth; colours are compared in sRGB, as they are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
_EPSILON = 1e-6
_SCALES = 3


def mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean (B,) of values (B, T, C, H, W) over everything but the batch."""
    total = weight.sum(dim=(1, 2, 3, 4)).clamp_min(_EPSILON) * values.shape[2]
    return (values * weight).sum(dim=(1, 2, 3, 4)) / total


def l1(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference."""
    return mean((predicted - true).abs(), weight)


def mse(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference."""
    return mean((predicted - true).square(), weight)


def cosine(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """One minus the mean cosine between unit vectors: half the squared angle where it is small."""
    return mean(1 - (predicted * true).sum(dim=2, keepdim=True), weight)


def angle(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean angle in radians between unit vectors, from the chord: smooth where arccos is not."""
    chord = (predicted - true).square().sum(dim=2, keepdim=True)
    across = (predicted + true).square().sum(dim=2, keepdim=True)
    return mean(2 * torch.atan2((chord + _EPSILON).sqrt(), (across + _EPSILON).sqrt()), weight)


def aligned(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference after the scale and shift of the prediction that fit each clip best.

    Scale and shift come from least squares (Ranftl et al. 2020, MiDaS) and are held fixed in the gradient.
    """
    x = predicted.detach()
    mean_x, mean_y = (mean(value, weight).view(-1, 1, 1, 1, 1) for value in (x, true))
    covariance = mean((x - mean_x) * (true - mean_y), weight)
    scale = covariance / mean((x - mean_x).square(), weight).clamp_min(_EPSILON)
    fitted = (predicted - mean_x) * scale.clamp(0.05, 20.0).view(-1, 1, 1, 1, 1) + mean_y
    return mean((fitted - true).abs(), weight)


def rare(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference in which what is truly 1 counts a quarter, so that it is found only where it is sure.

    Of metalness, which rendered sets have more of than the world has.
    """
    return mean((predicted - true).abs() * (0.625 - 0.375 * true), weight)


def edges(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of the slopes across and down, at three sizes of the picture: shapes, not levels."""
    difference = predicted - true
    sums = []
    for scale in range(_SCALES):
        if scale:
            halved = [F.avg_pool2d(value.flatten(0, 1), 2) for value in (difference, weight)]
            difference, weight = (value.unflatten(0, true.shape[:2]) for value in halved)
        sums.append(mean(difference.diff(dim=-1).abs(), weight[..., 1:]))
        sums.append(mean(difference.diff(dim=-2).abs(), weight[..., 1:, :]))
    return torch.stack(sums).mean(dim=0)


LOSSES: Mapping[str, Loss] = {
    "l1": l1,
    "mse": mse,
    "cosine": cosine,
    "angle": angle,
    "aligned": aligned,
    "rare": rare,
    "edges": edges,
}
"""Losses by the name that a preset gives them."""
