"""Surfaces of the procedural meshes: grids of points that become faces, and the ways to join and transform them.

Every part is a closed surface (or a stack of patches that close up point by point), wound so that faces point
outward. A crease is made by starting a new patch: patches do not share vertices, so smooth shading stops there.
Texture coordinates are arc lengths, so one UV unit is one length unit wherever the surface allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

_TAU = 2 * np.pi


@dataclass(frozen=True, eq=False)
class MeshData:
    """A polygon mesh without materials.

    vertices (N, 3); corners (L,) int32 vertex of each face corner, face after face, counter-clockwise seen from
    outside; sizes (F,) int32 corners of each face, at least 3; uvs (L, 2) by corner; smooth (F,) bool: shade with
    interpolated normals. Arrays are float32 once `scenes.meshes.build` has finished them.
    """

    vertices: np.ndarray
    corners: np.ndarray
    sizes: np.ndarray
    uvs: np.ndarray
    smooth: np.ndarray

    def starts(self) -> np.ndarray:
        """Index (F,) of the first corner of each face."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    def triangles(self) -> np.ndarray:
        """Corner indices (M, 3) of a fan triangulation of the faces."""
        fans = np.repeat(np.arange(len(self.sizes)), self.sizes - 2)
        step = np.arange(len(fans)) - np.repeat(np.cumsum(self.sizes - 2) - (self.sizes - 2), self.sizes - 2)
        first = self.starts()[fans]
        return np.stack([first, first + step + 1, first + step + 2], axis=1)


def join(parts: Iterable[MeshData]) -> MeshData:
    """All parts as one mesh; vertices stay separate."""
    parts = tuple(parts)
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    return MeshData(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.corners + offset for part, offset in zip(parts, offsets[:-1], strict=True)]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.uvs for part in parts]),
        np.concatenate([part.smooth for part in parts]),
    )


def place(
    part: MeshData,
    offset: Sequence[float] = (0.0, 0.0, 0.0),
    turn: np.ndarray | None = None,
    scale: float | Sequence[float] = 1.0,
) -> MeshData:
    """Scale a part, then turn it by a rotation matrix (3, 3), then move it. UVs follow the mean scale."""
    factor = np.broadcast_to(np.asarray(scale, float), 3)
    points = part.vertices * factor
    if turn is not None:
        points = points @ turn.T
    return replace(part, vertices=points + np.asarray(offset, float), uvs=part.uvs * np.prod(factor) ** (1 / 3))


def rotation(axis: str, degrees: float) -> np.ndarray:
    """Right-handed rotation matrix (3, 3) about "x", "y" or "z"."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = cosine, -sine, sine, cosine
    return matrix


def grid(points: np.ndarray, wrap_columns: bool = False, wrap_rows: bool = False, smooth: bool = True) -> MeshData:
    """Quads over points (R, C, 3); outward is (along columns) x (along rows).

    A first or last row whose points all coincide becomes one vertex with triangles around it.
    """
    rows, columns = points.shape[:2]
    uv = _arc_lengths(points, wrap_columns, wrap_rows)
    row = np.repeat(np.arange(rows - (not wrap_rows)), columns - (not wrap_columns))
    column = np.tile(np.arange(columns - (not wrap_columns)), rows - (not wrap_rows))
    below, right = (row + 1) % rows, (column + 1) % columns
    index = np.arange(rows * columns).reshape(rows, columns)
    size = np.ptp(points.reshape(-1, 3), axis=0).max()
    poles = [] if wrap_rows else [r for r in (0, rows - 1) if np.ptp(points[r], axis=0).max() < 1e-9 * size]
    for pole in poles:
        index[pole] = index[pole, 0]
    quads = np.stack([index[row, column], index[row, right], index[below, right], index[below, column]], axis=1)
    uvs = np.stack([uv[row, column], uv[row, column + 1], uv[row + 1, column + 1], uv[row + 1, column]], axis=1)
    keep = np.ones(quads.shape, bool)
    for pole in poles:
        at_pole = row == 0 if pole == 0 else row == rows - 2
        first, second = (0, 1) if pole == 0 else (3, 2)
        keep[at_pole, second] = False
        uvs[at_pole, first] = (uvs[at_pole, first] + uvs[at_pole, second]) / 2
    sizes = keep.sum(axis=1)
    used, corners = np.unique(quads[keep], return_inverse=True)
    return MeshData(points.reshape(-1, 3)[used], corners, sizes, uvs[keep], np.full(len(sizes), smooth))


def _arc_lengths(points: np.ndarray, wrap_columns: bool, wrap_rows: bool) -> np.ndarray:
    """UVs (R + 1, C + 1, 2): arc length along columns (the longest row counts) and along rows (their mean)."""
    across = np.linalg.norm(np.roll(points, -1, axis=1) - points, axis=2)
    along = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=2)
    u = np.concatenate([[0.0], np.cumsum(across[np.argmax(across.sum(axis=1))])])
    v = np.concatenate([[0.0], np.cumsum(along.mean(axis=1))])
    step = 1e-6 * (u[-1] + v[-1])  # coincident rows would give faces without UV area
    return np.stack(np.meshgrid(u + step * np.arange(len(u)), v + step * np.arange(len(v))), axis=-1)


def facets(points: np.ndarray) -> MeshData:
    """Quads over a closed ring of columns, points (R, C, 3), with a crease along every column."""
    columns = 2 * points.shape[1]
    doubled = np.repeat(points, 2, axis=1)
    strips = grid(np.roll(doubled, -1, axis=1))
    real = np.arange(len(strips.sizes)) % (columns - 1) % 2 == 0
    corners = np.repeat(real, 4)
    return replace(
        strips,
        corners=strips.corners[corners],
        sizes=strips.sizes[real],
        uvs=strips.uvs[corners],
        smooth=strips.smooth[real],
    )


def polygon(points: np.ndarray, upward: bool = True) -> MeshData:
    """One flat face over points (n, 3) that run counter-clockwise seen from above (z); `upward` False turns it over."""
    points = points.astype(float) if upward else points[::-1].astype(float)
    centred = points - points.mean(axis=0)
    normal = np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0)
    normal /= np.linalg.norm(normal)
    side = np.cross([0.0, 1.0, 0.0] if abs(normal[1]) < 0.9 else [1.0, 0.0, 0.0], normal)
    side /= np.linalg.norm(side)
    uvs = np.stack([centred @ side, centred @ np.cross(normal, side)], axis=1)
    return MeshData(points, np.arange(len(points)), np.array([len(points)]), uvs, np.array([False]))


def circle(segments: int) -> np.ndarray:
    """Counter-clockwise unit circle (segments, 2), starting at (1, 0)."""
    angle = np.arange(segments) / segments * _TAU
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def revolve(profile: np.ndarray, segments: int = 48, crease: float = 40.0, smooth: bool = True) -> MeshData:
    """Surface of revolution about z of a profile (n, 2) of (radius, z) that starts and ends on the axis.

    The profile runs so that outward is to its right: from the bottom up along the outside. Where it turns by more
    than `crease` degrees a new patch starts.
    """
    ring = circle(segments)
    return join(grid(_spun(piece, ring), wrap_columns=True, smooth=smooth) for piece in _pieces(profile, crease))


def _spun(profile: np.ndarray, ring: np.ndarray) -> np.ndarray:
    points = np.empty((len(profile), len(ring), 3))
    points[..., :2] = profile[:, None, :1] * ring[None]
    points[..., 2] = profile[:, None, 1]
    return points


def _pieces(profile: np.ndarray, crease: float) -> list[np.ndarray]:
    steps = np.diff(profile, axis=0)
    profile = profile[np.concatenate([[True], np.linalg.norm(steps, axis=1) > 1e-9])]
    steps = np.diff(profile, axis=0)
    angle = np.arctan2(steps[:, 1], steps[:, 0])
    turn = np.abs((np.diff(angle) + np.pi) % _TAU - np.pi)
    cuts = [0, *(np.flatnonzero(turn > np.radians(crease)) + 1), len(profile) - 1]
    return [profile[start : stop + 1] for start, stop in pairwise(cuts)]


def prism(outline: np.ndarray, low: float, high: float, smooth: bool = False) -> MeshData:
    """Upright prism over a counter-clockwise outline (n, 2); the sides are flat unless `smooth`."""
    levels = np.stack([np.column_stack([outline, np.full(len(outline), z)]) for z in (low, high)])
    sides = grid(levels, wrap_columns=True, smooth=smooth)
    return join([sides, polygon(levels[0], upward=False), polygon(levels[1])])


def sweep(
    curve: np.ndarray, radius: float | np.ndarray, closed: bool, section: np.ndarray | None = None, smooth: bool = True
) -> MeshData:
    """Tube around a curve (n, 3): a section (m, 2), by default a circle of 16, scaled by radius (a number or (n,)).

    The frame is parallel-transported; on a closed curve its remaining twist is spread over the length. Open tubes
    end in flat caps.
    """
    section = circle(16) if section is None else section
    ahead, behind = np.roll(curve, -1, axis=0), np.roll(curve, 1, axis=0)
    if not closed:
        ahead[-1], behind[0] = curve[-1], curve[0]
    tangent = ahead - behind
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = _transported(tangent, closed)
    third = np.cross(tangent, side)
    width = np.broadcast_to(np.asarray(radius, float), len(curve))[:, None, None]
    points = curve[:, None] + width * (section[None, :, :1] * side[:, None] + section[None, :, 1:] * third[:, None])
    body = grid(points, wrap_columns=True, wrap_rows=closed, smooth=smooth)
    if closed:
        return body
    return join([body, polygon(points[0], upward=False), polygon(points[-1])])


def _transported(tangent: np.ndarray, closed: bool) -> np.ndarray:
    """Unit vectors (n, 3) normal to the tangents that turn as little as possible along them."""
    side = np.empty_like(tangent)
    start = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    side[0] = start / np.linalg.norm(start)
    for i in range(1, len(tangent)):
        carried = side[i - 1] - (side[i - 1] @ tangent[i]) * tangent[i]
        side[i] = carried / np.sqrt(carried @ carried)
    if not closed:
        return side
    arrived = side[-1] - (side[-1] @ tangent[0]) * tangent[0]
    twist = np.arctan2(np.cross(side[0], arrived) @ tangent[0], side[0] @ arrived)
    angle = -twist * np.arange(len(tangent))[:, None] / len(tangent)
    return np.cos(angle) * side + np.sin(angle) * np.cross(tangent, side)


def weld(part: MeshData) -> MeshData:
    """Merge vertices closer than about a millionth of the part's size: smooth shading then runs across patches."""
    low = part.vertices.min(axis=0)
    size = np.ptp(part.vertices, axis=0).max()
    cells = np.round((part.vertices - low) / (1e-6 * size)).astype(np.int64)
    keys = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return replace(part, vertices=part.vertices[first], corners=inverse[part.corners])
