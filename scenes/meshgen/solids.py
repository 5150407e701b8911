"""The plain solids: what primitives are, and what composites are built of. All are centred on the origin."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scenes.meshgen.surface import MeshData, circle, grid, join, polygon, prism, revolve, weld

# (axis of the face normal, sign, axis along columns, axis along rows), with columns x rows = outward.
_SIDES = ((0, 1, 1, 2), (0, -1, 2, 1), (1, 1, 2, 0), (1, -1, 0, 2), (2, 1, 0, 1), (2, -1, 1, 0))


def box(x: float, y: float, z: float) -> MeshData:
    """Box with sharp edges and sides x, y, z."""
    half = np.array([x, y, z]) / 2
    return join(_side(half, side, (np.array([-1.0, 1.0]),) * 3, smooth=False) for side in _SIDES)


def _side(
    half: np.ndarray, side: tuple[int, int, int, int], steps: tuple[np.ndarray, np.ndarray, np.ndarray], smooth: bool
) -> MeshData:
    normal, sign, across, along = side
    points = np.empty((len(steps[along]), len(steps[across]), 3))
    points[..., normal] = sign * half[normal]
    points[..., across] = steps[across][None] * half[across]
    points[..., along] = steps[along][:, None] * half[along]
    return grid(points, smooth=smooth)


def rounded_box(x: float, y: float, z: float, radius: float, segments: int = 3) -> MeshData:
    """Box whose edges are rounded off with `radius` (at most half the shortest side)."""
    half = np.array([x, y, z]) / 2
    radius = float(min(radius, 0.999 * half.min()))
    core = half - radius
    arc = np.tan(np.linspace(0, np.pi / 4, segments + 1))
    steps = []
    for axis in range(3):
        end = core[axis] + radius * arc
        support = core[axis] - min(0.3 * radius, 0.3 * core[axis])  # keeps the flat part flat under smooth shading
        outer = np.concatenate([[support], end]) / half[axis]
        steps.append(np.concatenate([-outer[::-1], outer]))
    body = join(_side(half, side, (steps[0], steps[1], steps[2]), smooth=True) for side in _SIDES)
    inner = np.clip(body.vertices, -core, core)
    out = body.vertices - inner
    points = inner + radius * out / np.linalg.norm(out, axis=1, keepdims=True)
    return weld(MeshData(points, body.corners, body.sizes, body.uvs, body.smooth))


@lru_cache(maxsize=8)
def cube_sphere(cells: int) -> MeshData:
    """Unit sphere from a cube of cells x cells quads per side, evenly spread (equal-angle), welded."""
    steps = np.tan(np.linspace(-np.pi / 4, np.pi / 4, cells + 1))
    body = join(_side(np.ones(3), side, (steps, steps, steps), smooth=True) for side in _SIDES)
    points = body.vertices / np.linalg.norm(body.vertices, axis=1, keepdims=True)
    return weld(MeshData(points, body.corners, body.sizes, body.uvs * (np.pi / 4), body.smooth))


def ellipsoid(x: float, y: float, z: float, segments: int = 48) -> MeshData:
    """Ellipsoid with diameters x, y, z."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    rings = np.cos(theta)
    rings[[0, -1]] = 0.0
    points = np.empty((len(theta), segments, 3))
    points[..., :2] = rings[:, None, None] * circle(segments)[None]
    points[..., 2] = np.sin(theta)[:, None]
    return grid(points * np.array([x, y, z]) / 2, wrap_columns=True)


def frustum(low: float, high: float, height: float, bevel: float = 0.0, segments: int = 48) -> MeshData:
    """Cylinder, cone or frustum: radii `low` and `high` (0 is a tip), optionally with rounded rims."""
    profile = np.array([[0.0, -0.5], [low, -0.5], [high, 0.5], [0.0, 0.5]]) * [1.0, height]
    if bevel > 0:
        profile = rounded(profile, bevel)
    return revolve(profile[np.concatenate([[True], np.abs(np.diff(profile, axis=0)).sum(axis=1) > 0])], segments)


def capsule(radius: float, height: float, segments: int = 48) -> MeshData:
    """Cylinder with hemispherical ends; `height` is end to end."""
    theta = np.linspace(0, np.pi / 2, 13)
    straight = max(height / 2 - radius, 0.0)
    top = np.stack([radius * np.cos(theta), straight + radius * np.sin(theta)], axis=1)
    top[-1, 0] = 0.0
    return revolve(np.concatenate([top[::-1] * [1, -1], top]), segments)


def torus(major: float, minor: float, columns: int = 64, rows: int = 24) -> MeshData:
    """Ring in the xy plane: radius of its centre line and of its tube."""
    ring, tube = circle(columns), circle(rows) * minor
    points = np.empty((rows, columns, 3))
    points[..., :2] = (major + tube[:, None, :1]) * ring[None]
    points[..., 2] = tube[:, None, 1]
    return grid(points, wrap_columns=True, wrap_rows=True)


def regular_prism(sides: int, radius: float, height: float) -> MeshData:
    """Upright prism over a regular polygon."""
    return prism(circle(sides) * radius, -height / 2, height / 2)


def pyramid(sides: int, radius: float, height: float) -> MeshData:
    """Pyramid over a regular polygon."""
    base = np.column_stack([circle(sides) * radius, np.full(sides, -height / 2)])
    tip = np.array([0.0, 0.0, height / 2])
    faces = [polygon(np.stack([a, b, tip])) for a, b in zip(base, np.roll(base, -1, axis=0), strict=True)]
    return join([*faces, polygon(base, upward=False)])


def wedge(x: float, y: float, z: float) -> MeshData:
    """Ramp that rises along +x from nothing to height z."""
    outline = np.array([[-x / 2, -z / 2], [x / 2, -z / 2], [x / 2, z / 2]])
    lying = prism(outline, -y / 2, y / 2)
    turned = np.stack([lying.vertices[:, 0], -lying.vertices[:, 2], lying.vertices[:, 1]], axis=1)
    return MeshData(turned, lying.corners, lying.sizes, lying.uvs, lying.smooth)


def rounded(profile: np.ndarray, radius: float, steps: int = 4) -> np.ndarray:
    """Polyline (n, 2) with its inner corners replaced by quadratic arcs that start at most `radius` away from them."""
    pieces = [profile[:1]]
    blend = np.linspace(0, 1, steps + 1)[:, None]
    for before, corner, after in zip(profile[:-2], profile[1:-1], profile[2:], strict=True):
        back, forth = before - corner, after - corner
        lengths = np.linalg.norm(back), np.linalg.norm(forth)
        start = corner + back * min(radius / max(lengths[0], 1e-12), 0.45)
        stop = corner + forth * min(radius / max(lengths[1], 1e-12), 0.45)
        pieces.append((1 - blend) ** 2 * start + 2 * blend * (1 - blend) * corner + blend**2 * stop)
    return np.concatenate([*pieces, profile[-1:]])
