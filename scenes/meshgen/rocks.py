"""Displaced spheres: rocks, asteroids, blobs, low-polygon stones and pleated pods; and clusters of crystals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenes.meshgen.solids import cube_sphere
from scenes.meshgen.surface import MeshData, circle, grid, join, place, rotation

_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


def gradient_noise(points: np.ndarray, seed: int) -> np.ndarray:
    """Smooth noise (N,) in about [-1, 1] at points (N, 3); one unit is one lattice cell.

    Perlin 1985 and 2002: quintic fade, gradients hashed from the lattice; any seed, no state.
    """
    cell = np.floor(points)
    inside = points - cell
    fade = inside**3 * (inside * (inside * 6 - 15) + 10)
    lattice = cell.astype(np.int64).astype(np.uint64)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, fade, 1 - fade), axis=1)
        slope = _gradients(lattice + np.array(corner, np.uint64), seed)
        total += weight * ((inside - corner) * slope).sum(axis=1)
    return 1.6 * total


def _gradients(lattice: np.ndarray, seed: int) -> np.ndarray:
    bits = (lattice * _MIX).sum(axis=1, dtype=np.uint64) + np.uint64(seed)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (bits >> np.uint64(40)).astype(float) / 2**23 - 1
    angle = (bits & np.uint64(0xFFFFFF)).astype(float) * (2 * np.pi / 2**24)
    ring = np.sqrt(np.maximum(1 - z * z, 0))
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def octaves(points: np.ndarray, seed: int, count: int, gain: float = 0.5, ridged: bool = False) -> np.ndarray:
    """Sum (N,) of `count` octaves; each has twice the frequency and `gain` times the height of the one before.

    `ridged` folds each octave at zero, which makes sharp crests.
    """
    total, height = np.zeros(len(points)), 1.0
    for octave in range(count):
        value = gradient_noise(points * 2.0**octave + 17.3 * octave, seed + octave)
        total += height * (0.5 - 2 * np.abs(value) if ridged else value)
        height *= gain
    return total


ROCK_STYLES = ("rock", "asteroid", "blob", "stone", "pod")


def rock(seed: int, style: str, cells: int = 32) -> MeshData:
    """A sphere displaced along its radius by noise of the given style (see `ROCK_STYLES`), `cells` quads per side."""
    if style not in ROCK_STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(ROCK_STYLES)}")
    rng = np.random.default_rng(seed)
    body = cube_sphere(5 if style == "stone" else cells)
    unit = body.vertices
    stretched = unit * rng.uniform(0.7, 1.3, 3) * rng.uniform(1.0, 2.0)
    noise_seed = int(rng.random() * 2**31)
    if style == "rock":
        radius = 1 + rng.uniform(0.1, 0.2) * octaves(stretched, noise_seed, 4, 0.45, ridged=rng.random() < 0.5)
        radius = np.minimum(radius, _cut(unit, rng, 7))
    elif style == "asteroid":
        radius = 1 + rng.uniform(0.1, 0.25) * octaves(0.7 * stretched, noise_seed, 4, 0.45) + _craters(unit, rng)
    elif style == "blob":
        radius = 1 + rng.uniform(0.25, 0.5) * octaves(0.8 * stretched, noise_seed, 2, 0.3)
    elif style == "stone":
        radius = 1 + 0.25 * octaves(stretched, noise_seed, 2)
    else:
        around = np.arctan2(unit[:, 1], unit[:, 0])
        waist = np.sqrt(np.maximum(1 - unit[:, 2] ** 2, 0))
        pleats = np.abs(np.sin(around * int(rng.uniform(3, 8))))
        radius = 1 + rng.uniform(0.15, 0.35) * waist * pleats - rng.uniform(0.1, 0.35) * (1 - waist) ** 2
    sides = rng.uniform(0.6, 1.0, 3) if style != "pod" else np.array([1.0, 1.0, rng.uniform(0.6, 1.6)])
    points = unit * np.maximum(radius, 0.2)[:, None] * sides
    flat = np.zeros(len(body.sizes), bool) if style == "stone" else body.smooth
    return replace(body, vertices=points, smooth=flat)


def _cut(unit: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Radius (N,) of a ball after planes have cut pieces off it, with edges slightly softened."""
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    depth = rng.uniform(0.6, 0.95, count)
    facing = np.maximum(unit @ normals.T, 1e-3)
    return -np.logaddexp.reduce(-40 * np.minimum(depth / facing, 2.0), axis=1) / 40


def _craters(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Height (N,) of bowls with raised rims at random places."""
    height = np.zeros(len(unit))
    for _ in range(int(rng.uniform(6, 22))):
        centre = rng.normal(size=3)
        size = rng.uniform(0.12, 0.5)
        distance = np.arccos(np.clip(unit @ (centre / np.linalg.norm(centre)), -1, 1)) / size
        height += size * (0.3 * np.minimum(distance**2 - 1, 0) + 0.12 * np.exp(-(((distance - 1) / 0.25) ** 2)))
    return height


def crystal(seed: int) -> MeshData:
    """One crystal or a cluster of them: faceted prisms with pointed ends that lean apart."""
    rng = np.random.default_rng(seed)
    parts = [_single_crystal(rng, 1.0)]
    for _ in range(int(rng.uniform(1, 9))):
        turn = rotation("z", rng.uniform(0, 360)) @ rotation("y", rng.uniform(15, 55))
        parts.append(place(_single_crystal(rng, rng.uniform(0.3, 0.8)), turn=turn))
    return join(parts)


def _single_crystal(rng: np.random.Generator, height: float) -> MeshData:
    sides = int(rng.uniform(4, 9))
    width = height * rng.uniform(0.15, 0.3)
    heights = np.array([-0.15, 0.0, rng.uniform(0.5, 0.75), 1.0]) * height
    widths = np.array([0.0, 0.9, 1.0, 0.0]) * width
    points = np.empty((4, sides, 3))
    points[..., :2] = widths[:, None, None] * circle(sides)[None]
    points[..., 2] = heights[:, None]
    return grid(points, wrap_columns=True, smooth=False)
