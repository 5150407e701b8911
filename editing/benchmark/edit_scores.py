"""PSNR of edited videos where the edit is, and where nothing should change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from editing.benchmark.cases import Case
from editing.benchmark.edit_videos import Mode, shown
from manifests.contract.clip import Clip
from training.evaluation.metrics import psnr
from training.evaluation.scores import Score

CHANGED = 0.04
"""A pixel beside an inserted object counts as its shadow or reflection where the true picture changes by more."""


@dataclass(frozen=True, eq=False)
class Regions:
    """(T, H, W) bool. `whole`: what is scored as the region; `thing` and `shadow` are its parts; `outside` the rest.

    Pixels beside the object are in none: they show both.
    """

    whole: np.ndarray
    thing: np.ndarray
    shadow: np.ndarray
    outside: np.ndarray


def regions(case: Case, before: Clip, after: Clip) -> Regions:
    """The regions of a case: the edited or inserted object, and for an inserted one what its presence changes."""
    thing = after.arrays["instance"][..., 0] == case.instance
    near = ndimage.binary_dilation(thing, np.ones((1, 3, 3), dtype=bool))
    shadow = np.zeros_like(thing)
    if case.inserted is not None:
        change = np.abs(shown(after, before.exposure) - shown(before, before.exposure)).max(axis=-1)
        shadow = (change > CHANGED) & ~near
    return Regions(thing | shadow, thing, shadow, ~(near | shadow))


def score(
    case: Case, mode: Mode, light: int, videos: Mapping[str, np.ndarray], before: Clip, after: Clip
) -> list[Score]:
    """PSNR in dB of each video (T, H, W, 3), sRGB, against the true edited clip at the input's exposure."""
    truth = shown(after, before.exposure)
    where = regions(case, before, after)
    parts = {"region_psnr": where.whole, "outside_psnr": where.outside}
    if case.inserted is not None:
        parts |= {"object_psnr": where.thing, "shadow_psnr": where.shadow}
    return [
        Score(case.edit, case.scene, light, mode, method, "", metric, psnr(video, truth, chosen))
        for method, video in videos.items()
        for metric, chosen in parts.items()
        if chosen.any()
    ]
