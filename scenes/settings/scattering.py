"""Poses of what is strewn over land: plants, stones, fallen wood. A pure function of its parameters."""

from __future__ import annotations

import numpy as np

from scenes.settings.height_field import land

_TRIES = 3  # draws for each copy that is wanted


def scatter(
    kind: str,
    seed: int,
    salt: int,
    count: int,
    reach: tuple[float, ...],
    size: tuple[float, ...],
    falloff: float = 0.5,
    clumps: float = 30.0,
    cover: float = 0.0,
    steep: float = 0.35,
    above: tuple[float, ...] = (0.3, 10_000.0),
    spacing: float = 0.0,
    sink: float = 0.0,
    align: float = 0.0,
    tip: float = 0.0,
    clear: tuple[float, ...] = (),
    part: tuple[float, ...] = (0, 1),
    within: float = np.inf,
) -> np.ndarray:
    """Poses (N, 4, 4) of at most `count` copies on the land of `kind` and `seed`.

    Attributes that matter: `reach` the nearest and farthest distance from the origin in metres; `size` smallest and
    largest scale, small ones being more frequent; `falloff` 0.5 spreads evenly over the area, 1 thins out as
    1 / distance. They stand where noise of wavelength `clumps` exceeds `cover`, where the ground's steepness (rise by
    run) is below `steep`, between two heights `above` the water, `spacing` metres from each other and outside of
    `clear`, circles given as x, y, radius one after the other. `sink` is how deep they stand in the ground, as a share
    of their scale; `align` how far (0 to 1) they follow its normal, `tip` how far they are rolled about x at random.
    `part` (i, n) takes every n-th of them from the i-th on; those farther than `within` from the origin are left out.
    """
    place = land(kind, seed)
    rng = np.random.default_rng([seed, salt])
    draws = _TRIES * count
    low, high = (reach[0] / reach[1]) ** (1 / falloff), 1.0
    radius = reach[1] * (low + (high - low) * rng.random(draws)) ** falloff
    angle = rng.uniform(0, 2 * np.pi, draws)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    scale = size[0] * (size[1] / size[0]) ** (rng.random(draws) ** 1.5)
    yaw, roll = rng.uniform(0, 2 * np.pi, draws), rng.uniform(-tip, tip, draws) * np.pi
    kept = place.noise(points, clumps, 100 + salt) > cover + rng.normal(0, 0.12, draws)
    for x, y, distance in zip(clear[0::3], clear[1::3], clear[2::3], strict=True):
        kept &= np.hypot(points[:, 0] - x, points[:, 1] - y) > distance
    chosen = np.flatnonzero(kept)
    if spacing > 0:
        chosen = chosen[_apart(points[chosen], spacing)]
    first, step = int(part[0]), int(part[1])
    chosen = chosen[:count][first::step]
    chosen = chosen[radius[chosen] < within]
    height, normal = place.surface(points[chosen])
    level = height - place.water_level
    fits = (normal[:, 2] > 1 / np.hypot(1.0, steep)) & (level > above[0]) & (level < above[1])
    keep = np.flatnonzero(fits)
    chosen = chosen[keep]
    poses = np.zeros((len(chosen), 4, 4))
    poses[:, :3, :3] = scale[chosen, None, None] * (_upright(align, normal[keep]) @ _turned(yaw[chosen], roll[chosen]))
    poses[:, :2, 3] = points[chosen]
    poses[:, 2, 3] = height[keep] - sink * scale[chosen]
    poses[:, 3, 3] = 1.0
    return poses


def _apart(points: np.ndarray, spacing: float) -> np.ndarray:
    """Which points (N,) bool to keep so that none is nearer than `spacing` to one before it."""
    near = ((points[:, None] - points[None]) ** 2).sum(axis=2) < spacing**2
    keep = np.ones(len(points), bool)
    for number in range(1, len(points)):
        keep[number] = not (near[number, :number] & keep[:number]).any()
    return keep


def _upright(align: float, normal: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) that take z towards `normal` (N, 3), `align` of the way."""
    up = (1 - align) * np.array([0.0, 0.0, 1.0]) + align * normal
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    x = np.stack([up[:, 2], np.zeros(len(up)), -up[:, 0]], axis=1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(up, x), up], axis=2)


def _turned(yaw: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) about x by `roll`, then about z by `yaw`, in radians."""
    turn, tilt = np.zeros((2, len(yaw), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(yaw)
    turn[:, 1, 0] = np.sin(yaw)
    turn[:, 0, 1] = -turn[:, 1, 0]
    tilt[:, 1, 1] = tilt[:, 2, 2] = np.cos(roll)
    tilt[:, 2, 1] = np.sin(roll)
    tilt[:, 1, 2] = -tilt[:, 2, 1]
    turn[:, 2, 2] = tilt[:, 0, 0] = 1.0
    return turn @ tilt
