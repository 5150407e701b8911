"""Shapes for collisions: a mesh as a few convex parts, so that nothing rests on the air inside a ring or a bowl.

A part whose convex hull covers air deeper than `AIR` is cut in two, the worst one first. What is air is read from a
grid: voxels that the surface meets, and all that they enclose, are solid. The parts' points come from the mesh's
own triangles, clipped at the cuts, so convex features stay exact; only their number is reduced.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from scenes.spec import SpecData

AIR = 0.05
MOST_PARTS = 16
_GRID = 64
_LONG = 0.7
_CUTS = (0.25, 0.4, 0.5, 0.6, 0.75)
_UNIT = 30_000  # stored integers per length unit
_SLACK = 0.004
_THICKNESS = 0.002
_MANY = 100_000


class CollisionShape(SpecData, frozen=True, kw_only=True):
    """Convex parts of a mesh in its normalised frame: of each the corners, as little-endian int16 in 1/30000."""

    parts: tuple[bytes, ...]

    def points(self) -> tuple[np.ndarray, ...]:
        """Corners (n, 3) of each part."""
        return tuple(np.frombuffer(part, "<i2").reshape(-1, 3) / _UNIT for part in self.parts)

    def triangles(self) -> np.ndarray:
        """Surfaces (K, 3, 3) of all parts, counter-clockwise seen from outside."""
        found = []
        for points in self.points():
            hull = _hull(points)
            corners = hull.points[hull.simplices]
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            inward = (normals * hull.equations[:, :3]).sum(axis=1) < 0
            corners[inward] = corners[inward, ::-1]
            found.append(corners)
        return np.concatenate(found)


def collision_shape(vertices: np.ndarray, triangles: np.ndarray) -> CollisionShape:
    """Convex parts of a mesh in the normalised frame: vertices (N, 3), triangles (M, 3) of vertex indices.

    Points of a part lie within 0.004 of its exact hull. Open surfaces are taken as thin plates.
    """
    corners = vertices[triangles].astype(np.float64)
    air = _AirDepth(corners)
    parts = [corners]
    depths = [air.under(corners)]
    while len(parts) < MOST_PARTS and max(depths) > AIR:
        worst = int(np.argmax(depths))
        depths.pop(worst)
        halves = _best_cut(parts.pop(worst))
        parts.extend(halves)
        depths.extend(air.under(half) for half in halves)
    return CollisionShape(parts=tuple(_stored(part) for part in parts))


class _AirDepth:
    """How deep air lies under a hull: distance to the nearest solid voxel, over the hull's surface."""

    def __init__(self, corners: np.ndarray) -> None:
        from scipy import ndimage

        self._low = corners.min(axis=(0, 1))
        self._cell = float(np.ptp(corners.reshape(-1, 3), axis=0).max()) / (_GRID - 6)
        surface = np.zeros((_GRID,) * 3, dtype=bool)
        surface[self._voxels(_sampled(corners, self._cell / 2))] = True
        regions, _ = ndimage.label(~surface)
        self._depth = ndimage.distance_transform_edt(regions == regions[0, 0, 0]) * self._cell

    def under(self, corners: np.ndarray) -> float:
        hull = _hull(corners.reshape(-1, 3))
        return float(self._depth[self._voxels(_sampled(hull.points[hull.simplices], 1.5 * self._cell))].max())

    def _voxels(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.clip((points - self._low) / self._cell + 3, 0, _GRID - 1).astype(int).T)


def _best_cut(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The halves (K, 3, 3) of the cut across a long side that leaves the least volume in the two hulls."""
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    best, least = None, np.inf
    for axis in range(3):
        if high[axis] - low[axis] < _LONG * (high - low).max():
            continue  # a ring cut flat is two rings
        for share in _CUTS:
            halves = _clipped(corners, axis, low[axis] + share * (high[axis] - low[axis]))
            if not (len(halves[0]) and len(halves[1])):
                continue
            volume = sum(_hull(_outermost(half.reshape(-1, 3), 48)).volume for half in halves)
            if volume < least:
                best, least = halves, volume
    assert best is not None  # the longest axis always has triangles on both sides of its middle
    return best


def _clipped(corners: np.ndarray, axis: int, at: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (K, 3, 3) below and above a plane; those that cross it are cut."""
    above = corners[..., axis] > at
    count = above.sum(axis=1)
    crossing = (count == 1) | (count == 2)
    cut, upper = corners[crossing], above[crossing]
    lone = np.where(count[crossing] == 1, upper.argmax(axis=1), (~upper).argmax(axis=1))
    rows = np.arange(len(cut))
    a, b, c = (cut[rows, (lone + step) % 3] for step in range(3))

    def met(end: np.ndarray) -> np.ndarray:
        share = (at - a[:, axis]) / (end[:, axis] - a[:, axis])
        return a + share[:, None] * (end - a)

    p, q = met(b), met(c)
    tips, bases = (
        np.stack([a, p, q], axis=1),
        np.concatenate([np.stack([p, b, c], axis=1), np.stack([p, c, q], axis=1)]),
    )
    tip_above = count[crossing] == 1
    base_above = np.tile(~tip_above, 2)
    return (
        np.concatenate([corners[count == 0], tips[~tip_above], bases[~base_above]]),
        np.concatenate([corners[count == 3], tips[tip_above], bases[base_above]]),
    )


def _sampled(corners: np.ndarray, spacing: float) -> np.ndarray:
    """Points (n, 3) on triangles (K, 3, 3), their corners among them, at most `spacing` apart."""
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    steps = np.maximum(np.ceil(sides / spacing), 1).astype(int)
    found = []
    for count in np.unique(steps):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
        inside = i + j <= count
        weights = np.stack([count - i - j, i, j], axis=-1)[inside] / count
        found.append(np.einsum("wc,kcx->kwx", weights, corners[steps == count]).reshape(-1, 3))
    return np.concatenate(found)


def _hull(points: np.ndarray) -> Any:
    """Convex hull of points (n, 3); flat ones get a little thickness."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return ConvexHull(points)
    except QhullError:
        box = _THICKNESS / 2 * np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return ConvexHull((points[:, None] + box).reshape(-1, 3))


def _stored(corners: np.ndarray) -> bytes:
    """As few corners of a part's hull as leave none more than `_SLACK` outside."""
    hull = _hull(corners.reshape(-1, 3))
    corners = hull.points[hull.vertices]
    kept = _outermost(corners, 6)
    while len(kept) < len(corners):
        planes = _hull(kept).equations
        outside = corners @ planes[:, :3].T + planes[:, 3]
        worst = outside.argmax(axis=0)[outside.max(axis=0) > _SLACK]
        if not len(worst):
            break
        kept = np.unique(np.concatenate([kept, corners[worst]]), axis=0)
    normal = np.linalg.svd(kept - kept.mean(axis=0), full_matrices=False)[2][-1]
    if np.ptp(kept @ normal) < 0.75 * _THICKNESS:  # a sliver, too flat for a solid
        kept = np.concatenate([kept + side * _THICKNESS / 2 * normal for side in (-1, 1)])
    return np.round(kept * _UNIT).astype("<i2").tobytes()


def _outermost(points: np.ndarray, count: int) -> np.ndarray:
    """The points (n, 3) that lie farthest out along the axes and in `count` directions."""
    points = points[:: 1 + len(points) // _MANY]
    return points[np.unique((points @ _directions(count).T).argmax(axis=0))]


@cache
def _directions(count: int) -> np.ndarray:
    """(count, 3) spread evenly over the sphere, the six axes before them."""
    turn = np.pi * (1 + 5**0.5) * np.arange(count)
    z = 1 - (2 * np.arange(count) + 1) / count
    spiral = np.stack([np.cos(turn) * np.sqrt(1 - z * z), np.sin(turn) * np.sqrt(1 - z * z), z], axis=1)
    return np.concatenate([np.eye(3), -np.eye(3), spiral])
