"""Meshes along a curve or from one closed formula: superquadrics, supertoroids, knots, tubes, springs, shells."""

from __future__ import annotations

import numpy as np

from scenes.meshgen.surface import MeshData, circle, grid, sweep

_TAU = 2 * np.pi


def superellipse(angle: np.ndarray, exponent: float) -> np.ndarray:
    """Points (..., 2) with |x|^(2/e) + |y|^(2/e) = 1 in the directions `angle`: 1 is round, 0 square, 2 diamond."""
    x, y = np.cos(angle), np.sin(angle)
    radius = (np.abs(x) ** (2 / exponent) + np.abs(y) ** (2 / exponent)) ** (-exponent / 2)
    return np.stack([x * radius, y * radius], axis=-1)


def superquadric(seed: int) -> MeshData:
    """Superellipsoid (Barr 1981) with random exponents and sides."""
    rng = np.random.default_rng(seed)
    vertical, horizontal = np.exp(rng.uniform(np.log(0.12), np.log(2.4), 2))
    rows = superellipse(np.linspace(-np.pi / 2, np.pi / 2, 65), vertical)
    rows[[0, -1], 0] = 0.0
    ring = superellipse(np.arange(96) / 96 * _TAU, horizontal)
    points = np.empty((65, 96, 3))
    points[..., :2] = rows[:, None, :1] * ring[None]
    points[..., 2] = rows[:, None, 1]
    return grid(points * rng.uniform(0.45, 1.0, 3), wrap_columns=True)


def supertoroid(seed: int) -> MeshData:
    """Supertoroid (Barr 1981), flat on the ground or standing on its rim."""
    rng = np.random.default_rng(seed)
    tube_exponent, ring_exponent = np.exp(rng.uniform(np.log(0.2), np.log(2.0), 2))
    tube = superellipse(np.arange(40) / 40 * _TAU, tube_exponent)
    ring = superellipse(np.arange(96) / 96 * _TAU, ring_exponent)
    hole = rng.uniform(1.3, 3.0)
    points = np.empty((40, 96, 3))
    points[..., :2] = (hole + tube[:, None, :1]) * ring[None]
    points[..., 2] = tube[:, None, 1] * rng.uniform(0.6, 2.2)
    if rng.random() < 0.5:
        points = np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)
    return grid(points, wrap_columns=True, wrap_rows=True)


def knot(seed: int) -> MeshData:
    """Tube along a torus knot that winds p times around the axis and q times through the hole."""
    rng = np.random.default_rng(seed)
    p, q = [(2, 3), (3, 2), (2, 5), (3, 4), (4, 3), (5, 2), (3, 5), (1, 4), (1, 6), (2, 7)][int(rng.random() * 10)]
    t = np.arange(320) / 320 * _TAU
    minor = rng.uniform(0.3, 0.5)
    ring = 1 + minor * np.cos(q * t)
    height = minor * rng.uniform(0.8, 1.6)
    curve = np.stack([ring * np.cos(p * t), ring * np.sin(p * t), height * np.sin(q * t)], axis=1)
    if rng.random() < 0.5:
        curve = np.stack([curve[:, 0], -curve[:, 2], curve[:, 1]], axis=1)
    return sweep(curve, rng.uniform(0.35, 0.6) * _gap(curve), closed=True, section=_section(rng))


def tube(seed: int) -> MeshData:
    """Tube along a random smooth closed curve of a few harmonics."""
    rng = np.random.default_rng(seed)
    t = np.arange(256) / 256 * _TAU
    curve = np.stack([np.cos(t), np.sin(t), np.zeros_like(t)], axis=1)
    for harmonic in range(2, 5):
        weights = rng.normal(0, 0.45 / harmonic, (3, 2))
        curve += weights[:, 0] * np.cos(harmonic * t)[:, None] + weights[:, 1] * np.sin(harmonic * t)[:, None]
    thickness = rng.uniform(0.08, 0.2) * (1 + rng.uniform(0, 0.4) * np.sin(int(rng.uniform(2, 6)) * t))
    return sweep(curve, thickness, closed=True, section=_section(rng))


def spring(seed: int) -> MeshData:
    """Helix of wire whose coils may widen, narrow or bulge; the wire is round, flat or square."""
    rng = np.random.default_rng(seed)
    turns = rng.uniform(3, 9)
    t = np.linspace(0, 1, int(40 * turns))
    width = 1 + rng.uniform(-0.6, 0.4) * t + rng.uniform(-0.3, 0.5) * np.sin(np.pi * t)
    pitch = rng.uniform(0.25, 0.6)
    angle = turns * _TAU * t
    curve = np.stack([width * np.cos(angle), width * np.sin(angle), pitch * turns * t], axis=1)
    if rng.random() < 0.4:
        curve = curve[:, [1, 2, 0]]
    return sweep(curve, pitch * rng.uniform(0.2, 0.36), closed=False, section=_section(rng, 12))


def shell(seed: int) -> MeshData:
    """Sea shell: a tube that grows exponentially along a helico-spiral (Raup 1966), with ribs."""
    rng = np.random.default_rng(seed)
    turns, rows = rng.uniform(3.0, 5.5), 420
    angle = np.linspace(0, turns * _TAU, rows)
    rate, climb = rng.uniform(0.06, 0.16), rng.uniform(0.0, 1.8)
    growth = np.exp((angle - angle[-1]) * rate)
    touching = np.hypot(1.0, climb) * np.tanh(np.pi * rate)  # tube radius at which neighbouring whorls just meet
    curve = np.stack([growth * np.cos(angle), growth * np.sin(angle), -climb * growth], axis=1)
    ribs = 1 + rng.uniform(0, 0.09) * np.sin(int(rng.uniform(8, 20)) * angle)
    section = superellipse(np.arange(24) / 24 * _TAU, rng.uniform(0.8, 1.3)) * [1.0, rng.uniform(0.8, 1.3)]
    if rng.random() < 0.5:
        curve = curve[:, [2, 0, 1]]
    return sweep(curve, growth * touching * rng.uniform(0.95, 1.2) * ribs, closed=False, section=section)


def _section(rng: np.random.Generator, points: int = 16) -> np.ndarray:
    """Cross-section of a wire: round, a flattened round or a soft square."""
    kind = rng.random()
    if kind < 0.5:
        return circle(points)
    if kind < 0.8:
        return circle(points) * [1.0, rng.uniform(0.45, 0.8)]
    return superellipse(np.arange(points) / points * _TAU, 0.45) * 0.85


def _gap(curve: np.ndarray) -> float:
    """Smallest distance between parts of a closed curve that are far apart along it: the room for a tube."""
    some = curve[::4]
    apart = np.abs(np.arange(len(some))[:, None] - np.arange(len(some))[None])
    apart = np.minimum(apart, len(some) - apart)
    distance = np.linalg.norm(some[:, None] - some[None], axis=2)
    return float(np.clip(distance[apart > len(some) // 12].min(), 0.12, 0.7))
