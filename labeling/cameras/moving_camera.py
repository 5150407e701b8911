"""A camera that moves: poses, lens and corners by bundle adjustment from a camera that turns.

Structure from small motion (Yu and Gallup 2014, doi:10.1109/CVPR.2014.509) begins with cameras in one place and corners
at one distance, which leads astray where a step to the side looks like a turn. So it is begun once for each way that a
camera can go, loosely, and what fits best goes on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from labeling.cameras.bundle import Adjusted, Bundle, adjust
from labeling.cameras.feature_tracks import FeatureTracks
from labeling.cameras.turning_camera import fit_turning

_WAYS = ((0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))
"""Translations to begin with: onward, left, right, up and down; backward ends where onward does."""
_STEP = 0.3
"""How far the camera goes at first, in median distances of corners."""
_GOES_ON = 2


def fit_moving(tracks: FeatureTracks, *, noise: float, focal: float, held: bool = False) -> Adjusted:
    """The cameras that explain tracks best: the first camera's frame is the world.

    Args:
        tracks: seen in several frames each.
        noise: pixels from which residuals count less and less in the end.
        focal: pixels, to begin from, and believed in where the tracks do not show it.
        held: the focal length stays there.
    """
    turning = fit_turning(tracks, zooms=False, noise=10 * noise, usual=focal, held=True).bundle.from_first()
    times = np.linspace(0.0, _STEP, len(turning.rotations))[:, None]
    near = np.ones(len(turning.nearness))

    def run(start: Bundle, tolerance: float, steps: int, fixed: bool = held) -> Adjusted:
        return adjust(
            start, tracks, moves=True, zooms=False, noise=tolerance * noise, usual=focal, held=fixed, steps=steps
        )

    begun = []
    for way in _WAYS:
        start = replace(turning, nearness=near, translations=times * np.array(way, dtype=float))
        begun.append(run(run(start, 20, 12, True).bundle, 7, 20))
    begun = sorted(begun, key=lambda fit: fit.cost)[:_GOES_ON]
    finished = [run(run(fit.bundle, 3, 30).bundle, 1, 40) for fit in begun]
    best = min(finished, key=lambda one: one.cost)
    return replace(best, bundle=_in_first(best))


def _in_first(fit: Adjusted) -> Bundle:
    """The bundle with the first camera as the world, and one as the median nearness."""
    bundle = fit.bundle
    first, shift = bundle.rotations[0], bundle.translations[0]
    places = bundle.directions @ first.T + bundle.nearness[:, None] * shift  # up to one over the distance
    nearness = bundle.nearness / np.linalg.norm(places, axis=-1)
    turns = bundle.rotations @ first.T
    steps = bundle.translations - turns @ shift
    unit = float(np.median(nearness))
    return replace(
        bundle,
        rotations=turns,
        translations=steps * unit,
        directions=places / np.linalg.norm(places, axis=-1, keepdims=True),
        nearness=nearness / unit,
    )
