"""How far a label can be trusted, without the truth: a network that knows gives the same answer to the same question.

Pieces of evidence, each of which grows where labels get worse:

    mirror   the mirrored video is labelled too, and its labels mirrored back: a difference is the network's own
    window   the middle half of the frames is labelled again by itself: a difference comes from what little changed
             around those frames, as it does where the windows of a long video overlap
    render   the labels are shaded under the estimated light (split sum) and compared with the video: a picture that
             they cannot explain is wrong somewhere
    judge    what the checkpoint's judge expects (`renderers/judge.py`); it costs no further pass, ranks worse than the
             mirror, and counts where neither mirror nor window was asked for

Evidence is in the units of the errors it stands for. A confidence is exp(-expected error / unit), where the expected
error is a weighted sum of the evidence at hand: it falls when any piece that counts rises, and is 1 where all vanish.
The weights are measured on clips with known truth (docs/labeling.md; `benchmarks/labeling.py` measures the ranking).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from manifests.attributes import GBUFFERS
from renderers.judge import differences
from renderers.modelspace import srgb_encode
from renderers.shading import split_sum

ENVIRONMENT = "environment"
RENDER = "render"
JUDGE = "judge"
_CHECKS = {"mirror": 0.8, "window": 0.2}


@dataclass(frozen=True)
class Calibration:
    """What the confidence in one attribute rests on.

    Attributes:
        unit: expected error at which the confidence has fallen to 1/e.
        own: weight of the attribute's own disagreement, weighted mean over the checks that were made.
        render: weight of the re-rendering error.
    """

    unit: float
    own: float
    render: float


CALIBRATION: Mapping[str, Calibration] = MappingProxyType(
    {
        "basecolor": Calibration(unit=0.2, own=1.0, render=1.0),
        "normal": Calibration(unit=30.0, own=1.0, render=5.0),
        "depth": Calibration(unit=0.2, own=1.0, render=0.05),
        "roughness": Calibration(unit=0.3, own=1.0, render=0.05),
        "metallic": Calibration(unit=0.3, own=1.0, render=0.5),
        ENVIRONMENT: Calibration(unit=0.2, own=1.0, render=1.0),
    }
)


def disagreement(labels: Mapping[str, Tensor], others: Mapping[str, Tensor], weight: Tensor) -> dict[str, float]:
    """How far two sets of labels (1, T, C, H, W) differ, by attribute, where `weight` (1, T, 1, H, W) counts.

    In the units of `renderers.judge.differences`.
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


def scores(evidence: Mapping[str, float]) -> dict[str, float]:
    """Confidence in [0, 1] by attribute, from evidence named "judge.normal", "window.depth", "render" ...

    An attribute without any evidence, where every check was left out, gets 1: nothing speaks against it.
    """
    found = {}
    for name, known in CALIBRATION.items():
        own = {check: evidence[f"{check}.{name}"] for check in _CHECKS if f"{check}.{name}" in evidence}
        expected = known.render * evidence.get(RENDER, 0.0)
        if own:
            expected += (
                known.own
                * sum(_CHECKS[check] * value for check, value in own.items())
                / sum(_CHECKS[check] for check in own)
            )
        elif name in GBUFFERS:
            expected += evidence.get(f"{JUDGE}.{name}", 0.0)
        found[name] = math.exp(-expected / known.unit)
    return found


def overall(confidence: Mapping[str, float]) -> float:
    """One number for a clip: the mean confidence over its G-buffers, by which `--min-confidence` chooses."""
    return sum(confidence[name] for name in GBUFFERS) / len(GBUFFERS)
