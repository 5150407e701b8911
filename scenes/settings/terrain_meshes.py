"""Meshes of open land, in place: the ground and the water, each one polar grid from the origin to the horizon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scenes.meshgen.surface import MeshData
from scenes.settings.height_field import SECTORS, gradient_noise_2d, land, rings, smoothstep

_WAVES = 7
_CALM_BEYOND = 4.0  # wavelengths to the distance at which a wave has ten cells of the grid
_FINE_WITHIN = 2.5  # metres; nearer to the origin the grid's cells are no smaller


def land_surface(kind: str, seed: int) -> MeshData:
    """The ground of `height_field.land`; a third of a million triangles."""
    return _polar_grid(land(kind, seed).height)


def water_surface(kind: str, seed: int, height: float, length: float) -> MeshData:
    """The water of `height_field.land`, under waves as `wave_height` has them."""
    level = land(kind, seed).water_level
    return _polar_grid(lambda points: level + wave_height(points, seed, height, length))


def wave_height(points: np.ndarray, seed: int, height: float, length: float) -> np.ndarray:
    """Height (...) of waves over still water at points (..., 2): sines around one direction, stronger in gusts.

    The longest is `length`, and `height` the height from trough to crest where they agree, in metres. Each fades out
    where the grid is too coarse to show it.
    """
    rng = np.random.default_rng([seed, 77])
    heading = rng.uniform(-np.pi, np.pi)
    flat = points.reshape(-1, 2)
    radius = np.maximum(np.linalg.norm(flat, axis=1), _FINE_WITHIN)
    total = np.zeros(len(flat))
    for number in range(_WAVES):
        wavelength = length * 0.62**number * rng.uniform(0.85, 1.15)
        angle, phase = heading + rng.normal(0.0, 0.55), rng.uniform(0.0, 2 * np.pi)
        along = flat @ np.array([np.cos(angle), np.sin(angle)])
        shown = 1 - smoothstep(radius, 0.5 * _CALM_BEYOND * wavelength, _CALM_BEYOND * wavelength)
        total += 0.62**number * shown * np.sin(2 * np.pi * along / wavelength + phase)
    gust = 1 + 0.5 * gradient_noise_2d(flat / (9 * length), np.full(len(flat), seed, np.uint64))
    return (0.19 * height * gust * total).reshape(points.shape[:-1])


def _polar_grid(height: Callable[[np.ndarray], np.ndarray]) -> MeshData:
    """Smooth surface over the rings and sectors of the land, facing up; the innermost ring is one point."""
    radii = rings()
    angle = np.arange(SECTORS) * (2 * np.pi / SECTORS)
    places = radii[1:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places = np.concatenate([np.zeros((1, 2)), places.reshape(-1, 2)])
    ring = np.arange(SECTORS) + 1
    ahead = np.roll(ring, -1)
    fan = np.stack([np.zeros(SECTORS, int), ring, ahead], axis=1)
    bands = SECTORS * np.arange(len(radii) - 2)[:, None, None]
    quads = (np.stack([ring, ring + SECTORS, ahead + SECTORS, ahead], axis=1) + bands).reshape(-1, 4)
    corners = np.concatenate([fan.ravel(), quads.ravel()])
    sizes = np.concatenate([np.full(SECTORS, 3), np.full(len(quads), 4)])
    vertices = np.column_stack([places, height(places)])
    return MeshData(vertices, corners, sizes, places[corners], np.ones(len(sizes), bool))
