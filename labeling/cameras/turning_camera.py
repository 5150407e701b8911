"""A camera that turns in its place: rotations and focal lengths that explain tracks, however far corners are."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from labeling.cameras.bundle import Adjusted, Bundle, adjust, bearings, offsets
from labeling.cameras.feature_tracks import FeatureTracks

_GUESSES = (0.5, 1.0, 2.0)
"""Focal lengths to begin from, in usual ones."""


def fit_turning(tracks: FeatureTracks, *, zooms: bool, noise: float, usual: float, held: bool = False) -> Adjusted:
    """The best of fits that begin at several focal lengths, or the one with the first of them held at `usual`.

    noise: pixels from which residuals count less and less. usual: focal length in pixels that is believed in where the
    tracks do not show it. Tracks must be seen in two frames at least.
    """
    how: Any = {"moves": False, "zooms": zooms, "noise": noise, "usual": usual, "held": held}
    guesses = (usual,) if held else tuple(usual * guess for guess in _GUESSES)
    begun = [adjust(_chained(tracks, guess, zooms), tracks, steps=12, **how) for guess in guesses]
    best = min(begun, key=lambda fit: fit.cost)
    return adjust(best.bundle.from_first(), tracks, **how)


def _chained(tracks: FeatureTracks, focal: float, zooms: bool) -> Bundle:
    """Rotations from each frame to the next, multiplied, and the mean directions that they give."""
    target, seen = offsets(tracks), tracks.seen
    frames, corners = seen.shape
    rotations, log_focal = [np.eye(3)], np.full(frames, np.log(focal))
    for frame in range(1, frames):
        both = seen[frame] & seen[frame - 1]
        a, b = target[frame - 1, both], target[frame, both]
        if len(a) >= 8:
            _, found = cv2.findHomography(a, b, cv2.RANSAC, 2.0)
            if found is not None and found.sum() >= 6:
                a, b = a[found[:, 0] > 0], b[found[:, 0] > 0]
        log_focal[frame] = log_focal[frame - 1]
        if len(a) < 3:
            rotations.append(rotations[-1])
            continue
        if zooms:
            grown = np.std(b, axis=0).sum() / max(np.std(a, axis=0).sum(), 1e-6)
            log_focal[frame] += np.clip(np.log(max(grown, 1e-3)), -0.2, 0.2)
        turn, _ = Rotation.align_vectors(
            bearings(b, np.exp(log_focal[frame])), bearings(a, np.exp(log_focal[frame - 1]))
        )
        rotations.append(turn.as_matrix() @ rotations[-1])
    turns = np.stack(rotations)
    rays = bearings(target, np.exp(log_focal)[:, None, None]) * seen[..., None]
    total = (rays @ turns).sum(axis=0)
    directions = total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-9)
    return Bundle(turns, np.zeros((frames, 3)), log_focal, directions, np.zeros(corners))
