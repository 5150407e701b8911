"""Is it light transport? Pixels in cast shadow, shadows that turn with the light, and what a wrong light costs.

Split-sum shading knows materials and light but no geometry: it lets the light through everything. Where the true
render of the flat ground is clearly darker than split-sum says, something stands in the light's way. That is the
definition of cast shadow here. Mind that these pixels are chosen where split-sum fails; a network that darkened
everything would win on them, so the lit ground is always reported beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manifests.contract.color import luminance, srgb_decode
from manifests.errors import InputError
from training.evaluation.metrics import psnr

SHADOW = 0.7
"""Share of split-sum's luminance below which a ground pixel of the true render lies in cast shadow."""

LIT = 0.9
"""Share of split-sum's luminance above which a ground pixel counts as lit."""

LEAST_PIXELS = 64
"""Pixels over the whole clip that a region needs to be measured."""

_DARKEST = 0.02


@dataclass(frozen=True, eq=False)
class GroundLight:
    """(T, H, W) bool masks of ground pixels; those between `SHADOW` and `LIT` are in neither."""

    shadow: np.ndarray
    lit: np.ndarray


@dataclass(frozen=True)
class Turn:
    """How a render follows a light that turns, beside a render under the unturned one; both above 0 is right.

    Attributes:
        gain: dB by which the error against the true re-render falls.
        parting: dB by which the error against the unturned render rises.
    """

    gain: float
    parting: float


def ground_light(truth: np.ndarray, split_sum: np.ndarray, ground: np.ndarray) -> GroundLight:
    """Ground pixels in cast shadow and lit ones, from the true render and split-sum's, (T, H, W, 3) sRGB in [0, 1].

    Luminances are compared linearly. Where split-sum itself is nearly black there is no light to be in the way of.
    """
    if not truth.shape == split_sum.shape == (*ground.shape, 3):
        raise InputError(f"renders {truth.shape} and {split_sum.shape} with ground {ground.shape} do not fit")
    seen, open_light = (luminance(srgb_decode(video)) for video in (truth, split_sum))
    bright = ground & (open_light > _DARKEST)
    return GroundLight(bright & (seen < SHADOW * open_light), bright & (seen > LIT * open_light))


def region_psnr(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float | None:
    """PSNR in dB over a region, or None when it has fewer than `LEAST_PIXELS` pixels."""
    return psnr(prediction, truth, where) if where.sum() >= LEAST_PIXELS else None


def shadow_turn(turned: np.ndarray, still: np.ndarray, truth: np.ndarray, light: GroundLight) -> Turn | None:
    """Compare renders of a clip in which nothing moves but the light, where a cast shadow comes or goes.

    Args:
        turned: (T, H, W, 3) rendered under the light as it turns.
        still: the same, with the light of the first frame in every frame.
        truth: the true render; its first frame is what the unturned light gives, in every frame.
        light: where the ground lies in cast shadow and where it is lit, from `ground_light`.

    Returns:
        The comparison over ground that is in shadow in the first frame and lit later, or the other way round, in the
        second half of the clip, where the light has turned the most; None when fewer than `LEAST_PIXELS` are.
    """
    unturned = np.broadcast_to(truth[:1], truth.shape)
    changed = (light.shadow & light.lit[:1]) | (light.lit & light.shadow[:1])
    changed[: len(truth) // 2] = False
    if changed.sum() < LEAST_PIXELS:
        return None
    return Turn(
        gain=psnr(turned, truth, changed) - psnr(still, truth, changed),
        parting=psnr(still, unturned, changed) - psnr(turned, unturned, changed),
    )


def swap_partner(light: int, lights: Sequence[int]) -> int:
    """The light that a scene is rendered under, wrongly, to see what it costs: the next one, in a circle."""
    ordered = sorted(lights)
    return ordered[(ordered.index(light) + 1) % len(ordered)]
