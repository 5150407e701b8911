"""Meshes of plants, one unit high, their feet at the origin: blades, flowers, bushes, trees and dead wood.

Stems and leaves are meshes of their own, because they differ in material; made with the same seed they fit together.
Leaves are few and large: what a leaf is in a picture is a small bright patch, and a tree has thousands of triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenes.meshgen.surface import MeshData, circle, join, sweep

_UP = np.array([0.0, 0.0, 1.0])


def tuft(seed: int, blades: int, spread: float, width: float) -> MeshData:
    """Blades of grass or reed, each `width` wide, that rise from a spot of radius `spread` / 2 and bend outward."""
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * np.pi, blades)
    out = np.stack([np.cos(turn), np.sin(turn), np.zeros(blades)], axis=1)
    side = np.stack([-out[:, 1], out[:, 0], np.zeros(blades)], axis=1)
    place = rng.uniform(0, 2 * np.pi, blades)
    foot = np.stack([np.cos(place), np.sin(place), np.zeros(blades)], axis=1)
    foot *= (spread / 2 * np.sqrt(rng.random(blades)))[:, None]
    tall, bend = rng.uniform(0.45, 1.0, blades), rng.uniform(0.1, 0.7, blades)
    step = np.array([0.0, 0.35, 0.7, 1.0])
    middle = foot[:, None] + step[None, :, None] ** 2 * (out * bend[:, None])[:, None]
    middle[..., 2] += tall[:, None] * step * (1 - 0.25 * np.minimum(bend, 1.0)[:, None] * step)
    half = 0.5 * width * rng.uniform(0.6, 1.3, blades)[:, None] * np.array([0.8, 1.0, 0.7, 0.06])
    return _strips(middle, side[:, None] * half[..., None])


def blossom(seed: int, petals: int, width: float) -> MeshData:
    """Petals around the top of a stem of height 1 (see `stalk`), slightly cupped."""
    rng = np.random.default_rng(seed)
    turn = np.arange(petals) / petals * 2 * np.pi + rng.uniform(0, 2)
    out = np.stack([np.cos(turn), np.sin(turn), np.full(petals, rng.uniform(0.1, 0.7))], axis=1)
    side = np.stack([-out[:, 1], out[:, 0], np.zeros(petals)], axis=1)
    top = _stalk_curve(seed)[-1]
    step = np.array([0.0, 0.55, 1.0])
    middle = top + out[:, None] * (0.5 * width * step)[None, :, None]
    half = 0.5 * width * 2.6 / petals * np.array([0.3, 1.0, 0.35])
    return _strips(middle, side[:, None] * half[None, :, None])


def stalk(seed: int) -> MeshData:
    """The stem of a flower, with two leaves at its foot."""
    stem = sweep(_stalk_curve(seed), np.array([0.02, 0.016, 0.014, 0.012]), closed=False, section=circle(4))
    return join([stem, tuft(seed, 5, 0.35, 0.05)])


def _stalk_curve(seed: int) -> np.ndarray:
    lean = np.random.default_rng([seed, 1]).uniform(-0.15, 0.15, 2)
    step = np.linspace(0, 1, 4)
    return np.column_stack([lean[0] * step**2, lean[1] * step**2, step])


@dataclass(frozen=True, eq=False)
class _Skeleton:
    """Branches (B, 4, 3) with their radii (B, 4); leaves grow around `places` (N, 3), out to `outward` (N, 3)."""

    curves: np.ndarray
    radii: np.ndarray
    places: np.ndarray
    outward: np.ndarray


def broadleaf_wood(seed: int, crown: float, branches: int) -> MeshData:
    """Trunk and boughs of a broadleaf tree, or of a bush where the crown (share of the height) is nearly all."""
    return _wood(_broadleaf(seed, crown, branches))


def broadleaf_leaves(seed: int, crown: float, branches: int, leaves: int, size: float) -> MeshData:
    """Leaves of `broadleaf_wood`, `size` long, each folded a little along its middle."""
    return _foliage(_broadleaf(seed, crown, branches), seed, leaves, size, droop=0.25, breadth=0.6)


def conifer_wood(seed: int, whorls: int, spread: float) -> MeshData:
    """Trunk and boughs of a conifer, whose lowest boughs are `spread` long."""
    return _wood(_conifer(seed, whorls, spread))


def conifer_needles(seed: int, whorls: int, spread: float, sprays: int, size: float) -> MeshData:
    """Sprays of needles of `conifer_wood`, `size` long and narrow."""
    return _foliage(_conifer(seed, whorls, spread), seed, sprays, size, droop=0.5, breadth=0.3)


def log(seed: int, thickness: float) -> MeshData:
    """A fallen trunk of length 1 that lies on the ground, crooked, with stubs of boughs."""
    rng = np.random.default_rng(seed)
    step = np.linspace(-0.5, 0.5, 9)
    bend = 0.06 * np.sin(3 * step + rng.uniform(0, 6)) + rng.normal(0, 0.006, 9)
    radius = 0.5 * thickness * (1 - 0.6 * (step + 0.5)) * rng.uniform(0.93, 1.07, 9)
    curve = np.column_stack([step, bend, radius * 0.8])
    parts = [sweep(curve, radius, closed=False, section=circle(10))]
    for _ in range(int(rng.integers(2, 6))):
        at = int(rng.integers(1, 8))
        way = np.array([rng.uniform(0.2, 0.8), rng.choice([-1, 1]) * rng.uniform(0.5, 1), rng.uniform(0, 1)])
        length = rng.uniform(0.08, 0.3)
        stub = curve[at] + np.linspace(0, 1, 4)[:, None] * way * length
        parts.append(sweep(stub, radius[at] * np.array([0.35, 0.28, 0.2, 0.1]), closed=False, section=circle(5)))
    return join(parts)


def _broadleaf(seed: int, crown: float, branches: int) -> _Skeleton:
    rng = np.random.default_rng([seed, 2])
    step = np.linspace(0, 1, 4)
    base = 1 - crown
    lean = rng.normal(0, 0.04, 2)
    trunk = np.column_stack([lean[0] * step**2, lean[1] * step**2, 0.85 * step])
    thick = 0.028 + 0.02 * (crown < 0.85)
    curves, radii = [trunk], [thick * np.array([1.25, 0.9, 0.6, 0.15])]
    along = rng.uniform(0.15, 1.0, branches)
    turn = np.arange(branches) * 2.4 + rng.normal(0, 0.4, branches)
    for part, angle in zip(along, turn, strict=True):
        height = base * 0.8 + (0.85 - base * 0.8) * part
        start = np.array([*(lean * (height / 0.85) ** 2), height])
        reach = (0.2 + 0.24 * np.sin(np.pi * min(0.95 * part + 0.15, 1))) * rng.uniform(0.75, 1.15)
        rise = rng.uniform(0.15, 0.7) * reach
        way = np.array([np.cos(angle) * reach, np.sin(angle) * reach, 0.0])
        bough = start + step[:, None] * way + step[:, None] ** 1.6 * rise * _UP + rng.normal(0, 0.012, (4, 3))
        bough[0] = start
        curves.append(bough)
        radii.append(thick * 0.45 * np.array([1.0, 0.7, 0.45, 0.15]) * (1.15 - 0.6 * part))
    boughs = np.array(curves)
    # leaves fill blobs at the outer halves of the boughs, mostly their skins
    which = rng.integers(0, len(boughs), 6 * branches)
    part = rng.uniform(0.55, 1.05, 6 * branches)
    centres = _on(boughs, which, part) + rng.normal(0, 0.03, (6 * branches, 3))
    return _Skeleton(boughs, np.array(radii), centres, np.full((6 * branches, 3), 0.085 * (0.6 + 0.5 * crown)))


def _conifer(seed: int, whorls: int, spread: float) -> _Skeleton:
    rng = np.random.default_rng([seed, 3])
    step = np.linspace(0, 1, 4)
    curves = [np.column_stack([np.zeros(4), np.zeros(4), step])]
    radii = [0.022 * np.array([1.2, 0.8, 0.45, 0.05])]
    for whorl in range(whorls):
        height = 0.12 + 0.84 * (whorl + rng.uniform(-0.3, 0.3)) / whorls
        count = int(rng.integers(5, 9))
        for angle in rng.uniform(0, 6) + np.arange(count) / count * 2 * np.pi + rng.normal(0, 0.15, count):
            reach = spread * (1 - height) ** 0.85 * rng.uniform(0.75, 1.1) + 0.01
            way = np.array([np.cos(angle), np.sin(angle), 0.0]) * reach
            fall = reach * rng.uniform(0.05, 0.4)
            curves.append(np.array([0, 0, height]) + step[:, None] * way - (step**2 * fall)[:, None] * _UP)
            radii.append(0.006 * np.array([1.0, 0.7, 0.5, 0.2]) * (1.3 - height))
    boughs = np.array(curves)
    count = 14 * len(boughs)
    which = rng.choice(np.arange(1, len(boughs)), count, p=_by_length(boughs[1:]))
    return _Skeleton(
        boughs, np.array(radii), _on(boughs, which, rng.uniform(0.1, 1.0, count)), np.full((count, 3), 0.012)
    )


def _by_length(curves: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(curves[:, -1] - curves[:, 0], axis=1)
    return length / length.sum()


def _on(curves: np.ndarray, which: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Points (N, 3) on curves (B, 4, 3) at `part` of their length; a little beyond the end if above 1."""
    place = 3 * part
    before = np.clip(np.floor(place), 0, 2).astype(int)
    rest = (place - before)[:, None]
    return curves[which, before] * (1 - rest) + curves[which, before + 1] * rest


def _wood(skeleton: _Skeleton) -> MeshData:
    sections = [circle(8), *[circle(4)] * (len(skeleton.curves) - 1)]
    return join(
        sweep(curve, radius, closed=False, section=section)
        for curve, radius, section in zip(skeleton.curves, skeleton.radii, sections, strict=True)
    )


def _foliage(skeleton: _Skeleton, seed: int, count: int, size: float, droop: float, breadth: float) -> MeshData:
    rng = np.random.default_rng([seed, 4])
    blob = rng.integers(0, len(skeleton.places), count)
    out = rng.normal(size=(count, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    start = skeleton.places[blob] + out * skeleton.outward[blob] * rng.uniform(0.5, 1.0, (count, 1)) ** 0.5
    away = start - np.array([0.0, 0.0, 1.0]) * start[:, 2:]
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    way = 0.6 * out + 0.8 * away - droop * _UP + rng.normal(0, 0.35, (count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    side = np.cross(way, _UP + rng.normal(0, 0.5, (count, 3)))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    length = size * rng.uniform(0.6, 1.25, count)
    fold = np.cross(side, way) * (0.18 * breadth * length)[:, None]
    tip, middle = start + way * length[:, None], start + way * (0.5 * length)[:, None]
    half = side * (0.5 * breadth * length)[:, None]
    points = np.stack([start, middle + half + fold, tip, middle - half + fold], axis=1)
    corners = np.arange(4 * count).reshape(-1, 4)
    halves = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    uvs = np.array([[0.0, 0.5], [0.5, 1.0], [1.0, 0.5], [0.5, 0.0]])[halves % 4] * size
    flat = np.zeros(2 * count, bool)
    return MeshData(points.reshape(-1, 3), halves.ravel(), np.full(2 * count, 3), uvs.reshape(-1, 2), flat)


def _strips(middle: np.ndarray, half: np.ndarray) -> MeshData:
    """Ribbons along middle lines (B, S, 3), to both sides by vectors (B, S, 3)."""
    count, steps = middle.shape[:2]
    points = np.stack([middle - half, middle + half], axis=2)
    first = np.arange(count)[:, None] * 2 * steps + 2 * np.arange(steps - 1)
    quads = first[..., None] + np.array([0, 1, 3, 2])
    along, across = np.meshgrid(np.linspace(0, 1, steps), [0.0, 0.1], indexing="ij")
    uvs = np.tile(np.stack([along, across], axis=-1).reshape(-1, 2), (count, 1))
    corners = quads.ravel()
    return MeshData(
        points.reshape(-1, 3),
        corners,
        np.full(count * (steps - 1), 4),
        uvs[corners],
        np.ones(count * (steps - 1), bool),
    )
