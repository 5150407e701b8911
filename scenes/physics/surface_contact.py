"""Whether things touch, and how far they are in each other: of their true surfaces, not of their collision shapes.

Points spread over each surface, and their distances to the triangles of its neighbours and to the ground z = 0. Lengths
are in sizes of the smaller thing of a pair; a size is the longest side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

REACH = 0.05  # sizes: beyond it nothing is looked at
_CANDIDATES = 12


@dataclass(frozen=True, eq=False)
class SampledSurface:
    """A mesh in its normalised frame: triangles (M, 3, 3), points (N, 3) on it at most `spacing` apart, and the
    triangle (N,) of each."""

    spacing: float
    triangles: np.ndarray
    points: np.ndarray
    owners: np.ndarray

    @cached_property
    def tree(self) -> Any:
        """For finding the points nearest to others."""
        from scipy.spatial import cKDTree

        return cKDTree(self.points)


@dataclass(frozen=True, eq=False)
class PlacedSurface:
    """A surface in the world: `scale` times its frame, turned by `rotation` (3, 3), moved by `position` (3,)."""

    surface: SampledSurface
    scale: float
    rotation: np.ndarray
    position: np.ndarray

    @cached_property
    def points(self) -> np.ndarray:
        """(N, 3) in the world."""
        return self.surface.points @ (self.scale * self.rotation.T) + self.position

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (3,) in the world."""
        return _bounds(self.points)

    def seen_from(self, points: np.ndarray) -> np.ndarray:
        """World points (n, 3) in the surface's own frame."""
        return (points - self.position) @ (self.rotation / self.scale)


def sampled_surface(triangles: np.ndarray, spacing: float) -> SampledSurface:
    """Points on triangles (M, 3, 3) in the normalised frame, corners among them."""
    points, owners = [], []
    sides = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    parts = np.maximum(np.ceil(sides / spacing), 1).astype(int)
    for count in np.unique(parts):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
        weights = np.stack([count - i - j, i, j], axis=-1)[i + j <= count] / count
        rows = np.flatnonzero(parts == count)
        points.append((weights @ triangles[rows]).reshape(-1, 3))
        owners.append(np.repeat(rows, len(weights)))
    every = np.concatenate(points)
    _, kept = np.unique(np.round(2 * every / spacing).astype(int) @ (1, 10**4, 10**8), return_index=True)
    return SampledSurface(spacing, triangles, every[kept], np.concatenate(owners)[kept])


def gaps_and_depths(things: Sequence[PlacedSurface]) -> tuple[np.ndarray, np.ndarray]:
    """Of each thing (N,): distance to what is nearest, the ground or another, and how deep it is in anything.

    Both in sizes of the smaller of the two; a distance is at most `REACH`.
    """
    lowest = np.array([thing.box[0][2] / thing.scale for thing in things])
    gaps, depths = np.clip(lowest, 0.0, REACH), np.maximum(-lowest, 0.0)
    for i, thing in enumerate(things):
        for j, other in enumerate(things):
            size = min(thing.scale, other.scale)
            reach = REACH * size
            apart = (thing.box[0] > other.box[1] + reach) | (thing.box[1] < other.box[0] - reach)
            if i == j or apart.any():
                continue
            gap, depth = _gap_and_depth(thing, other, reach)
            for one in (i, j):
                gaps[one], depths[one] = min(gaps[one], gap / size), max(depths[one], depth / size)
    return gaps, depths


def _bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = np.ascontiguousarray(points.T)  # many times faster than along rows of three
    return columns.min(axis=1), columns.max(axis=1)


def _within(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Those of the points (n, 3) in a box."""
    for axis in range(3):
        points = points[(points[:, axis] >= low[axis]) & (points[:, axis] <= high[axis])]
    return points


def _gap_and_depth(thing: PlacedSurface, other: PlacedSurface, reach: float) -> tuple[float, float]:
    """Distance of the point of one thing nearest to another's surface, and of the one deepest inside, up to `reach`.

    Inside is what the surface surrounds, by its solid angle. Of those behind the nearest triangle the deepest is asked
    first; where it is not inside (parts overlap in some meshes), some sixty others.
    """
    surface = other.surface
    points = other.seen_from(_within(thing.points, other.box[0] - reach, other.box[1] + reach))
    if not len(points):
        return reach, 0.0
    rough, samples = surface.tree.query(points, k=min(_CANDIDATES, len(surface.points)))
    near = rough[:, 0] < reach / other.scale + surface.spacing
    if not near.any():
        return reach, 0.0
    distance, front = _nearest(points[near], surface.triangles[surface.owners[samples[near]]])
    behind = np.flatnonzero(~front)
    for row in behind[np.argsort(-distance[behind])][:: 1 + len(behind) // 60]:
        if _winding(points[near][row], surface.triangles) > 0.5:
            return 0.0, float(distance[row]) * other.scale
    return min(float(distance.min()) * other.scale, reach), 0.0


def _nearest(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (n,) to the nearest of the triangles (n, k, 3, 3) of each point, and whether it is on their front."""
    a, b, c = (triangles[:, :, corner] for corner in range(3))
    p = points[:, None]
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-15)
    height = ((p - a) * normal).sum(axis=-1)
    over = np.ones(height.shape, dtype=bool)
    edges = np.full(height.shape, np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        over &= (np.cross(along, p - start) * normal).sum(axis=-1) >= 0
        share = ((p - start) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-15)
        foot = start + np.clip(share, 0, 1)[..., None] * along
        edges = np.minimum(edges, np.linalg.norm(p - foot, axis=-1))
    distance = np.where(over, np.abs(height), edges)
    least = distance.min(axis=1)
    tied = distance <= least[:, None] + 1e-9
    return least, (np.where(tied, height, np.inf) > -1e-9).all(axis=1)


def _winding(point: np.ndarray, triangles: np.ndarray) -> float:
    """Winding number of a closed surface about a point (van Oosterom and Strackee 1983, solid angles)."""
    a, b, c = np.moveaxis(triangles - point, 1, 0)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    above = (a * np.cross(b, c)).sum(axis=1)
    below = la * lb * lc + (a * b).sum(axis=1) * lc + (b * c).sum(axis=1) * la + (c * a).sum(axis=1) * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))
