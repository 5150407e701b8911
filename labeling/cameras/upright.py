"""Which way is up in a solved world: where edges that stand upright in the pictures meet, in all frames together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from labeling.cameras.bundle import bearings

_STEEP = np.cos(np.radians(40))
"""Edges this near to upright in a picture may stand upright in the world."""
_TILT = np.cos(np.radians(35))
"""Up lies this near to where a level camera would have it."""
_MEETS = np.sin(np.radians(1.5))
_LEAST, _SHARE = 12, 0.5
"""Edges, and the share of the length of steep ones, that must agree."""


def seen_up(
    edges: Mapping[int, np.ndarray], rotations: np.ndarray, focal: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """Up (3,) in the world, a unit vector, or None where too few edges agree.

    Args:
        edges: straight edges (n, 4) in pixels, by frame.
        rotations: (T, 3, 3) world to camera, x right, y down, z ahead.
        focal: (T,) pixels.
        size: (H, W) of the pictures.
    """
    normals, lengths = [], []
    for frame in (frame for frame in edges if frame < len(rotations)):
        ends = edges[frame].reshape(-1, 2, 2) - np.array(size[::-1]) / 2  # (n, which end, xy)
        along = ends[:, 1] - ends[:, 0]
        length = np.linalg.norm(along, axis=-1)
        steep = np.abs(along[:, 1]) > _STEEP * length
        rays = bearings(ends[steep], focal[frame])
        plane = np.cross(rays[:, 0], rays[:, 1])
        normals.append(plane / np.linalg.norm(plane, axis=-1, keepdims=True) @ rotations[frame])
        lengths.append(length[steep])
    if not normals or sum(map(len, lengths)) < _LEAST:
        return None
    plane, length = np.concatenate(normals), np.concatenate(lengths)
    level = -rotations[:, 1].mean(axis=0)
    level /= np.linalg.norm(level)
    drawn = np.random.default_rng(0).integers(0, len(plane), (2, 600))
    tried = np.cross(plane[drawn[0]], plane[drawn[1]])
    size_of = np.linalg.norm(tried, axis=-1)
    tried = tried[size_of > 1e-3] / size_of[size_of > 1e-3, None]
    tried *= np.where(tried @ level < 0, -1.0, 1.0)[:, None]
    tried = tried[tried @ level > _TILT]
    if not len(tried):
        return None
    up = tried[((np.abs(tried @ plane.T) < _MEETS) @ length).argmax()]
    for _ in range(5):
        agree = np.abs(plane @ up) < _MEETS
        scatter = (plane[agree] * length[agree, None]).T @ plane[agree]
        better = np.linalg.eigh(scatter)[1][:, 0]
        up = better if better @ level > 0 else -better
    agree = np.abs(plane @ up) < _MEETS
    fits = agree.sum() >= _LEAST and length[agree].sum() >= _SHARE * length.sum() and up @ level > _TILT
    return up if fits else None


def level_up(rotations: np.ndarray) -> np.ndarray:
    """Up (3,) of cameras that were held level: across all of their right-hand sides, as near as can be to their own."""
    right, own = rotations[:, 0], -rotations[:, 1].mean(axis=0)
    # |up . right|^2 in all frames, and a little of |up - own|^2, which decides where the camera does not turn
    return _unit(np.linalg.solve(right.T @ right / len(right) + 0.02 * np.eye(3), 0.02 * own))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
