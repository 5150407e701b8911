"""Where things stand, so that nothing touches anything else at any time of the clip.

Each thing is its upright bounding cylinder: turning about its own axis does not change it, and standing on the
ground is given by the normalised frame. Within a scene all things slide with one timing, so the path of one thing
relative to another is a straight segment and the smallest gap over the whole motion is exact, between frames too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CANDIDATES = 64
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class ThingsToPlace:
    """What is to be placed, one row per thing, in order of importance.

    radii: (N,) of the bounding cylinders, areas: (N,) half sides of the squares that the centres keep to, slides: (N,)
    lengths that things slide (0: stands still); all in scene units.
    """

    radii: np.ndarray
    areas: np.ndarray
    slides: np.ndarray


def place(
    things: ThingsToPlace, margin: float, geometry: np.random.Generator, motion: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Start positions (N, 2) and slide offsets (N, 2), at least `margin` apart at all times; None if none was found.

    Each thing takes the first of 64 random places that is free of those before it, so places are uniform over what
    is left. `geometry` draws the places, `motion` the directions.
    """
    count = len(things.radii)
    headings = motion.uniform(0.0, 2 * np.pi, (count, _CANDIDATES))
    offsets = np.stack([np.cos(headings), np.sin(headings)], axis=-1) * things.slides[:, None, None]
    starts = geometry.uniform(-1.0, 1.0, (count, _CANDIDATES, 2)) * things.areas[:, None, None]
    starts, offsets = np.round(starts, _DIGITS), np.round(offsets, _DIGITS)
    free = (np.abs(starts + offsets) <= things.areas[:, None, None]).all(axis=-1)
    chosen = np.zeros(count, dtype=int)
    for thing in range(count):
        fits = free[thing]
        if thing:
            before = np.arange(thing)
            gaps = smallest_distance(
                starts[thing][:, None] - starts[before, chosen[before]],
                offsets[thing][:, None] - offsets[before, chosen[before]],
            )
            fits = fits & (gaps >= things.radii[thing] + things.radii[:thing] + margin).all(axis=1)
        chosen[thing] = int(fits.argmax())
        if not fits[chosen[thing]]:
            return None
    rows = np.arange(count)
    return starts[rows, chosen], offsets[rows, chosen]


def smallest_distance(start: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Smallest distance (...) from the origin to the segments from `start` (..., d) to `start + step` (..., d)."""
    length = (step * step).sum(axis=-1)
    along = -(start * step).sum(axis=-1) / np.where(length > 0, length, 1.0)
    nearest = start + np.clip(along, 0.0, 1.0)[..., None] * step
    return np.sqrt((nearest * nearest).sum(axis=-1))
