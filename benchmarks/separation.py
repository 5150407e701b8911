"""An independent check that nothing in a scene touches, sinks or floats at any time.

It shares nothing with `scenes.placement` but the motions: it takes the real vertices of the meshes (a ring of points
on the bounding cylinder where a mesh is not ours to build), moves them by `object_at`, and calls two things separate
only where it holds a separating axis for them.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from scenes.meshes import SUZANNE, build
from scenes.motion import object_at
from scenes.spec import Builtin, Footprint, Object, SceneSpec

_BETWEEN = 4
_FAN = np.stack([np.cos(np.linspace(0, np.pi, 90)), np.sin(np.linspace(0, np.pi, 90))])


@lru_cache(maxsize=4096)
def _mesh(source: bytes) -> np.ndarray:
    mesh = msgspec.json.decode(source, type=Builtin)
    return build(mesh.generator, mesh.params).vertices.astype(np.float64)


@lru_cache(maxsize=4096)
def _outline(source: bytes) -> np.ndarray:
    """Corners (K, 2) of the convex hull of the mesh seen from above: in any direction as far out as the mesh is."""
    hull: list[list[float]] = []
    rising = np.unique(_mesh(source)[:, :2], axis=0).tolist()
    for points in (rising, rising[::-1]):
        start = len(hull)
        for point in points:
            while len(hull) >= start + 2 and _turn(hull[-2], hull[-1], point) <= 0:
                hull.pop()
            hull.append(point)
        hull.pop()
    return np.array(hull)


def _turn(a: list[float], b: list[float], c: list[float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _cylinder(footprint: Footprint) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = footprint.radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([np.column_stack([ring, np.full(64, z)]) for z in (0.0, footprint.height)])


def _built(obj: Object) -> bytes | None:
    """What to build, or None where the bounding cylinder stands in."""
    if isinstance(obj.mesh, Builtin) and obj.mesh.generator != SUZANNE:
        return msgspec.json.encode(obj.mesh, order="deterministic")
    return None


def vertices(obj: Object) -> np.ndarray:
    """Points (N, 3) of the object in its normalised frame."""
    source = _built(obj)
    return _cylinder(obj.footprint) if source is None else _mesh(source)


def _seen_from_above(obj: Object) -> np.ndarray:
    source = _built(obj)
    return _cylinder(obj.footprint)[:, :2] if source is None else _outline(source)


def dense_times(frames: int) -> np.ndarray:
    """Every frame, and four times between each and the next."""
    return np.linspace(0.0, 1.0, max(frames - 1, 1) * (_BETWEEN + 1) + 1)


def worst_gap(spec: SceneSpec) -> float:
    """Smallest proven gap in the ground plane between any two objects at any dense time; below 0: not proven apart."""
    times = dense_times(spec.frames)
    points = [_seen_from_above(obj) for obj in spec.objects]
    poses = [object_at(obj, times) for obj in spec.objects]
    worst = np.inf
    for i in range(len(points)):
        for j in range(i):
            between = poses[j][:, :2, 3] - poses[i][:, :2, 3]
            axis = between / np.maximum(np.linalg.norm(between, axis=1), 1e-12)[:, None]
            gap = _extent(points[j], poses[j], axis)[0] - _extent(points[i], poses[i], axis)[1]
            for time in np.flatnonzero(gap <= 0):
                gap[time] = _fan_gap(points, poses, (i, j), int(time))
            worst = min(worst, float(gap.min()))
    return worst


def ground_error(spec: SceneSpec) -> float:
    """Largest distance of any object's lowest vertex from the ground z = 0, at any dense time."""
    times = dense_times(spec.frames)
    lowest = [
        np.abs(object_at(obj, times)[:, 2, 2] * vertices(obj)[:, 2].min() + object_at(obj, times)[:, 2, 3]).max()
        for obj in spec.objects
    ]
    return float(max(lowest))


def _extent(points: np.ndarray, poses: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest coordinate (T,) of the points (N, 2) at the poses (T, 4, 4) along the axes (T, 2)."""
    local = np.einsum("tij,ti->tj", poses[:, :2, :2], axis)
    along = local @ points.T
    offset = (poses[:, :2, 3] * axis).sum(axis=1)
    return along.min(axis=1) + offset, along.max(axis=1) + offset


def _fan_gap(points: list[np.ndarray], poses: list[np.ndarray], pair: tuple[int, int], time: int) -> float:
    """Largest gap of a pair at one time over a fan of axes."""
    first, second = (
        (points[k] @ poses[k][time, :2, :2].T + poses[k][time, :2, 3]) @ _FAN  # (N, 90)
        for k in pair
    )
    return float(np.maximum(second.min(axis=0) - first.max(axis=0), first.min(axis=0) - second.max(axis=0)).max())
