"""Poses of a piece's copies: given ones, and many that are scattered around a setting."""

from __future__ import annotations

import numpy as np


def fixed_poses(poses: tuple[float, ...], scales: tuple[float, ...] = ()) -> np.ndarray:
    """Poses (N, 4, 4) from four numbers each (x, y, z, yaw), all of scale 1 or with `scales`."""
    rows = np.array(poses, float).reshape(-1, 4)
    turn, scale = np.radians(rows[:, 3]), np.array(scales or (1.0,) * len(rows), float)
    if len(scale) != len(rows):
        raise ValueError(f"{len(rows)} poses and {len(scale)} scales")
    matrices = np.zeros((len(rows), 4, 4))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale * np.cos(turn)
    matrices[:, 1, 0] = scale * np.sin(turn)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, 2, 2] = scale
    matrices[:, :3, 3], matrices[:, 3, 3] = rows[:, :3], 1.0
    return matrices


def ring_poses(
    seed: int, count: int, clear: tuple[float, float], far: float, low: float, z: float, cell: float
) -> np.ndarray:
    """Poses (N, 4, 4) about a street, turned by quarters of a circle and scaled by `low` to 1.3.

    One a cell of a jittered grid that reaches to `far`, outside of a rectangle of half sizes `clear`.
    """
    rng = np.random.default_rng(seed)
    steps = np.arange(-far, far + cell, cell)
    places = (
        np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        + rng.uniform(-0.3, 0.3, (len(steps) ** 2, 2)) * cell
    )
    outside = (np.abs(places) > clear).any(axis=1) & (np.hypot(*places.T) < far)
    places = rng.permutation(places[outside])[:count]
    yaws = rng.integers(4, size=len(places)) * 90.0
    return fixed_poses(
        tuple(np.column_stack([places, np.full(len(places), z), yaws]).ravel()),
        tuple(rng.uniform(low, 1.3, len(places))),
    )
