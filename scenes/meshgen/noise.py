"""Smooth noise on points in space (Perlin 1985, 2002: quintic fade, hashed lattice gradients), any seed, no state."""

from __future__ import annotations

import numpy as np

_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


def gradient_noise(points: np.ndarray, seed: int) -> np.ndarray:
    """Values (N,) in about [-1, 1] at points (N, 3); one unit is one lattice cell."""
    cell = np.floor(points)
    inside = points - cell
    fade = inside**3 * (inside * (inside * 6 - 15) + 10)
    lattice = cell.astype(np.int64).astype(np.uint64)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, fade, 1 - fade), axis=1)
        slope = _gradients(lattice + np.array(corner, np.uint64), seed)
        total += weight * ((inside - corner) * slope).sum(axis=1)
    return 1.6 * total


def _gradients(lattice: np.ndarray, seed: int) -> np.ndarray:
    bits = (lattice * _MIX).sum(axis=1, dtype=np.uint64) + np.uint64(seed)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (bits >> np.uint64(40)).astype(float) / 2**23 - 1
    angle = (bits & np.uint64(0xFFFFFF)).astype(float) * (2 * np.pi / 2**24)
    ring = np.sqrt(np.maximum(1 - z * z, 0))
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def octaves(points: np.ndarray, seed: int, count: int, gain: float = 0.5, ridged: bool = False) -> np.ndarray:
    """Sum (N,) of `count` octaves; each has twice the frequency and `gain` times the height of the one before.

    `ridged` folds each octave at zero, which makes sharp crests.
    """
    total, height = np.zeros(len(points)), 1.0
    for octave in range(count):
        value = gradient_noise(points * 2.0**octave + 17.3 * octave, seed + octave)
        total += height * (0.5 - 2 * np.abs(value) if ridged else value)
        height *= gain
    return total
