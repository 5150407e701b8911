"""How bright a picture should be: one percentile of its surfaces' luminance goes to one value (docs/conventions.md).

And what a screen then shows of it.
"""

from __future__ import annotations

import numpy as np

from manifests.contract.environment import luminance, srgb_encode

PERCENTILE = 95.0
TARGET = 0.7


def surface_level(radiance: np.ndarray, where: np.ndarray | None = None) -> float:
    """The 95th percentile of the luminance of `radiance` (..., 3), linear, where `where` (...) says; else 0.

    An exposure of `TARGET` over this brings those pixels to the brightness that every clip of a dataset has.
    """
    values = luminance(radiance)
    chosen = values if where is None else values[where]
    return float(np.percentile(chosen, PERCENTILE)) if chosen.size else 0.0


def on_screen(radiance: np.ndarray) -> np.ndarray:
    """Exposed linear radiance as sRGB in [0, 1], float32; what is brighter than 1 is white."""
    return srgb_encode(np.clip(radiance, 0.0, 1.0)).astype(np.float32)
