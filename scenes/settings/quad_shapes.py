"""Shapes that a street is built of: many quads and boxes at once, ribbons along a road, and walls with openings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from scenes.meshgen.surface import MeshData, grid, polygon, revolve, sweep
from scenes.meshgen.surface import join as join_parts

NOTHING = np.empty((0, 4, 3))
# Corners of a box's faces, counter-clockwise from outside; the last one is the side of lowest third coordinate.
_FACES = np.array(
    [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [4, 5, 7, 6], [0, 2, 3, 1]]  # -x, +x, -y, +y, +z, -z
)
_CORNERS = np.array([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)])


def quad_mesh(quads: np.ndarray | Iterable[np.ndarray], smooth: bool = False) -> MeshData:
    """Mesh of separate quads (N, 4, 3), counter-clockwise from outside; UVs are lengths in each quad's plane."""
    if not isinstance(quads, np.ndarray):
        quads = np.concatenate([NOTHING, *quads])
    across = quads[:, 1] - quads[:, 0]
    across = np.where(np.linalg.norm(across, axis=1, keepdims=True) > 1e-9, across, quads[:, 2] - quads[:, 3])
    across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    normal = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    local = quads - quads[:, :1]
    uvs = np.stack([np.einsum("nkj,nj->nk", local, axis) for axis in (across, np.cross(normal, across))], axis=-1)
    count = len(quads)
    return MeshData(
        quads.reshape(-1, 3), np.arange(4 * count), np.full(count, 4), uvs.reshape(-1, 2), np.full(count, smooth)
    )


def boxes(low: ArrayLike, high: ArrayLike, closed: bool = True) -> np.ndarray:
    """Faces (N * 6, 4, 3) of boxes between corners (N, 3); without the face of lowest z unless `closed`."""
    start, stop = np.atleast_2d(np.asarray(low, float)), np.atleast_2d(np.asarray(high, float))
    corners = start[:, None] + _CORNERS * (stop - start)[:, None]
    return corners[:, _FACES if closed else _FACES[:5]].reshape(-1, 4, 3)


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> np.ndarray:
    """Faces (6, 4, 3) of one box."""
    return boxes(np.array([[x[0], y[0], z[0]]]), np.array([[x[1], y[1], z[1]]]))


def rod(start: np.ndarray, end: np.ndarray, radius: float, sides: int = 8) -> MeshData:
    """Straight round bar between two points."""
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    section = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return sweep(np.array([start, end], float), radius, closed=False, section=section)


def turned_profile(profile: list[tuple[float, float]], segments: int = 20) -> MeshData:
    """Solid of revolution about z of (radius, height) pairs, which run along the outside from the bottom up."""
    points = np.array(profile, float)
    ends = [np.array([[0.0, points[i, 1]]]) for i in (0, -1)]
    return revolve(np.concatenate([ends[0], points, ends[1]]), segments, crease=35.0)


def pipe(points: Sequence[Sequence[float]], radius: float | np.ndarray, sides: int = 8) -> MeshData:
    """Round pipe through points, with a radius or one a point."""
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    section = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return sweep(np.array(points, float), radius, closed=False, section=section)


def bent(along: np.ndarray, aside: np.ndarray, bend: float) -> np.ndarray:
    """Points (..., 2) at arc length `along` and offset `aside` to the left of a road of curvature `bend` (1/m).

    The road passes the origin towards +x; with bend 0 it is the x axis.
    """
    if bend == 0:
        return np.stack(np.broadcast_arrays(along, aside), axis=-1)
    angle = along * bend
    return np.stack([np.sin(angle) * (1 / bend - aside), 1 / bend - np.cos(angle) * (1 / bend - aside)], axis=-1)


def ribbons(spans: np.ndarray, z: tuple[float, float], bend: float, step: float = 4.0) -> MeshData:
    """Closed slabs over spans (N, 4) of a road: from and to along it, right and left edge; from z[0] up to z[1]."""
    quads = []
    for start, stop, right, left in spans:
        count = max(int(np.ceil((stop - start) / step)), 1) if bend else 1
        along = np.linspace(start, stop, count + 1)
        r0, r1, l0, l1 = (
            np.column_stack([bent(along, np.full(count + 1, side), bend), np.full(count + 1, height)])
            for side in (right, left)
            for height in z
        )
        quads += [_strip(r1, l1), _strip(l0, r0), _strip(r0, r1), _strip(l1, l0)]
        quads += [np.stack([l0[0], r0[0], r1[0], l1[0]])[None], np.stack([r0[-1], l0[-1], l1[-1], r1[-1]])[None]]
    return quad_mesh(quads)


def _strip(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Quads between two lines (n, 3); the normal is (along) x (right to left)."""
    return np.stack([right[:-1], right[1:], left[1:], left[:-1]], axis=1)


def rounded_rectangle(low: tuple[float, float], high: tuple[float, float], radius: float, steps: int = 6) -> np.ndarray:
    """Counter-clockwise outline (4 * (steps + 1), 2)."""
    angles = np.linspace(0, np.pi / 2, steps + 1)
    corners = []
    for number, (x, y) in enumerate([(high[0], high[1]), (low[0], high[1]), (low[0], low[1]), (high[0], low[1])]):
        turn = angles + number * np.pi / 2
        centre = (x - radius if x == high[0] else x + radius, y - radius if y == high[1] else y + radius)
        corners.append(np.asarray(centre) + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    return np.concatenate(corners)


def slab(outline: np.ndarray, low: float, high: float) -> MeshData:
    """Flat top over a counter-clockwise outline (n, 2), and its upright sides; nothing below."""
    levels = np.stack([np.column_stack([outline, np.full(len(outline), z)]) for z in (low, high)])
    return join_parts([grid(levels, wrap_columns=True, smooth=False), polygon(levels[1])])


def openings_in(
    width: tuple[float, float], height: tuple[float, float], holes: np.ndarray, extra_v: tuple[float, ...] = ()
) -> np.ndarray:
    """Rectangles (N, 4) left, right, low, high that fill a wall but for its holes (H, 4), on one grid of lines."""
    u = np.unique(np.concatenate([width, holes[:, :2].ravel()]).round(5))
    v = np.unique(np.concatenate([height, extra_v, holes[:, 2:].ravel()]).round(5))
    v = v[(v >= height[0] - 1e-6) & (v <= height[1] + 1e-6)]
    cells = np.stack(np.meshgrid(np.arange(len(u) - 1), np.arange(len(v) - 1), indexing="ij"), axis=-1).reshape(-1, 2)
    rectangles = np.stack([u[cells[:, 0]], u[cells[:, 0] + 1], v[cells[:, 1]], v[cells[:, 1] + 1]], axis=1)
    middle = np.stack([rectangles[:, :2].mean(axis=1), rectangles[:, 2:].mean(axis=1)], axis=1)
    inside = np.zeros(len(rectangles), bool)
    for left, right, low, high in holes:
        inside |= (middle[:, 0] > left) & (middle[:, 0] < right) & (middle[:, 1] > low) & (middle[:, 1] < high)
    return rectangles[~inside]
