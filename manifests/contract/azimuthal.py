"""Lambert's azimuthal equal-area projection of unit vectors about +z: directions as places in a disc of radius 2.

(X, Y) = (x, y) sqrt(2 / (1 + z)); inverse (x, y) = (X, Y) sqrt(1 - s / 4), z = 1 - s / 2 with s = X^2 + Y^2 (Snyder,
Map Projections: A Working Manual, USGS 1987, section 24). Errors in the plane are errors of direction, alike
everywhere, and what comes back has unit length by construction.
"""

from __future__ import annotations

import numpy as np

RADIUS = 2.0
STEPS = 16_352
"""Steps of a 16-bit code to a unit of the plane: 64 for each step of `compact`'s 10 bits. A code is right to 0.002
degrees."""


def project(vectors: np.ndarray) -> np.ndarray:
    """Places (..., 2), in float32 or better, of unit vectors (..., 3); -z becomes (2, 0)."""
    away = 1 + vectors[..., 2:]
    places = vectors[..., :2] * np.sqrt(2 / np.maximum(away, 1e-6))
    places[away[..., 0] < 1e-6] = (RADIUS, 0.0)
    return places


def to_codes(vectors: np.ndarray) -> np.ndarray:
    """The places of vectors (..., 3), of unit length or nearly so, in `STEPS`, rounded: (..., 2) int16."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.rint(project(unit) * np.float32(STEPS)).astype(np.int16)
