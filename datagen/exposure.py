"""The exposure of a clip: one number, computed from its radiance alone, recorded with the clip.

One factor for the whole clip, not one a frame, so that a moving camera does not make the image pump.
"""

from __future__ import annotations

import numpy as np

from manifests.exposure import TARGET, surface_level

LIMITS = (1e-6, 1e6)


def clip_exposure(rgb: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Factor that takes the 95th percentile of a clip's luminance to 0.7 (before sRGB encoding).

    rgb: (T, H, W, 3) linear radiance; mask: (T, H, W, 1) coverage. Surfaces decide where there are any: a bright
    sky behind the scene shall not darken it. A black clip gets 1. The result is rounded to 6 significant digits
    and lies in [1e-6, 1e6].
    """
    covered = None if mask is None else mask[..., 0] > 0.5
    level = surface_level(rgb, covered if covered is not None and covered.any() else None)
    if not level > 0:
        return 1.0
    return float(f"{np.clip(TARGET / level, *LIMITS):.6g}")
