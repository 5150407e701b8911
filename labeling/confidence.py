"""How far a label can be trusted, without the truth: a network that knows gives the same answer to the same question.

Pieces of evidence, each of which grows where labels get worse:

    mirror     the mirrored video is labelled too, and its labels mirrored back: a difference is the network's own
    window     the middle half of the frames is labelled again by itself: a difference comes from what little changed
               around those frames, as it does where the windows of a long video overlap
    exposure   the middle half again, exposed less: what is made of what does not depend on that, so a difference says
               that the network took the picture's brightness for the surface's
    render     the labels are shaded under the estimated light (split sum) and compared with the video: a picture that
               they cannot explain is wrong somewhere
    judge      what the checkpoint's judge expects (`renderers/label_error.py`); it costs no further pass
    corners    how far depth is off at the corners that a moving camera was solved from, the median over frames
    contrast   how much the estimated light varies over the sphere: a light that claims much errs more

Evidence is in the units of the errors it stands for. A confidence is exp(-expected error / unit), where the expected
error is the weighted mean of the evidence at hand: it falls when any piece that counts rises, and is 1 where all
vanish. docs/labeling.md says how well it ranks true errors; `benchmarks/labeling.py` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from manifests.contract.environment import encode_log
from renderers.label_error import UNITS, differences
from renderers.modelspace import srgb_encode
from renderers.shading.split_sum import split_sum

ENVIRONMENT = "environment"
RENDER = "render"
JUDGE = "judge"
CONTRAST = "contrast"
CORNERS = "corners"


@dataclass(frozen=True)
class Calibration:
    """What the confidence in one attribute rests on.

    Attributes:
        unit: expected error at which the confidence has fallen to 1/e.
        weights: of each piece of evidence.
    """

    unit: float
    weights: Mapping[str, float]


_CHECKS = {"mirror": 1.0, "window": 1.0, "exposure": 1.0, JUDGE: 0.5}
"""Weights that serve all G-buffers alike."""

CALIBRATION: Mapping[str, Calibration] = MappingProxyType(
    {
        "basecolor": Calibration(0.2, {**_CHECKS, RENDER: 0.2}),
        "normal": Calibration(25.0, {**_CHECKS, RENDER: 0.05}),
        "depth": Calibration(0.2, {**_CHECKS, RENDER: 0.05, CORNERS: 1.0}),
        "roughness": Calibration(0.3, {**_CHECKS, RENDER: 0.05}),
        "metallic": Calibration(0.3, {**_CHECKS, RENDER: 0.2}),
        ENVIRONMENT: Calibration(0.15, {CONTRAST: 1.0}),
    }
)


def disagreement(labels: Mapping[str, Tensor], others: Mapping[str, Tensor], weight: Tensor) -> dict[str, float]:
    """How far two sets of labels (1, T, C, H, W) differ, by attribute, where `weight` (1, T, 1, H, W) counts.

    In the units of `renderers.label_error.differences`.
    """
    return {name: float(value) for name, value in differences(labels, others, weight).items()}


def render_error(labels: Mapping[str, Tensor], mask: Tensor, panorama: Tensor, rays: Tensor, video: Tensor) -> float:
    """RMSE between `video` (1, T, 3, H, W), sRGB in [0, 1], and the split sum of its labels, on surfaces.

    labels: G-buffers (1, T, C, H, W) as values. mask: coverage (1, T, 1, H, W). panorama: (1, T, 3, h, w), light in
    each frame's camera frame. rays: (3, H, W).
    """
    surfaces = {name: value for name, value in labels.items() if name != "depth"} | {"mask": mask}
    rendered = srgb_encode(split_sum(surfaces, panorama, rays).radiance).clamp(0, 1)
    error = (rendered - video).square().mean(dim=2, keepdim=True)
    return float((error * mask).sum() / mask.sum().clamp_min(1e-6)) ** 0.5


def contrast(environment: np.ndarray) -> float:
    """Standard deviation over the sphere of the E_log of a light (h, w, 3)."""
    rows = environment.shape[0]
    solid = np.sin((np.arange(rows) + 0.5) / rows * np.pi)
    values = encode_log(environment).reshape(rows, -1)
    mean = np.average(values.mean(axis=1), weights=solid)
    return math.sqrt(np.average(np.square(values - mean).mean(axis=1), weights=solid))


def scores(evidence: Mapping[str, float]) -> dict[str, float]:
    """Confidence in [0, 1] by attribute, from evidence named "judge.normal", "window.depth", "render" ...

    An attribute without any evidence, where every check was left out, gets 1: nothing speaks against it.
    """
    found = {}
    for name, known in CALIBRATION.items():
        at_hand = {check: evidence[f"{check}.{name}"] for check in known.weights if f"{check}.{name}" in evidence}
        if RENDER in known.weights and RENDER in evidence:
            at_hand[RENDER] = evidence[RENDER] * UNITS.get(name, 1.0)
        total = sum(known.weights[check] for check in at_hand)
        expected = sum(known.weights[check] * value for check, value in at_hand.items()) / total if total else 0.0
        found[name] = math.exp(-expected / known.unit)
    return found


def overall(confidence: Mapping[str, float]) -> float:
    """One number for a clip: the mean confidence over its G-buffers, by which `--min-confidence` chooses."""
    return sum(confidence[name] for name in GBUFFERS) / len(GBUFFERS)
