"""What a rendered clip's images say about it: the exposure that is recorded with it, and flags of what looks wrong."""

from __future__ import annotations

import numpy as np

from manifests.contract.color import TARGET, luminance, surface_level

_EXPOSURES = (1e-6, 1e6)
FIRST_OBJECT = 2
_BLACK = 1 / 255
_BRIGHT_SHARE = 0.25
_TINY_SHARE = 0.01


def clip_exposure(rgb: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Factor that takes the 95th percentile of a clip's luminance to 0.7 (before sRGB encoding).

    One for the whole clip, not one per frame, so that a moving camera does not make the image flicker.

    rgb: (T, H, W, 3) linear radiance; mask: (T, H, W, 1) coverage. Surfaces decide where there are any: a bright
    sky behind the scene does not darken it. A black clip gets 1. The result is rounded to 6 significant digits
    and lies in [1e-6, 1e6].
    """
    covered = None if mask is None else mask[..., 0] > 0.5
    level = surface_level(rgb, covered if covered is not None and covered.any() else None)
    if not level > 0:
        return 1.0
    return float(f"{np.clip(TARGET / level, *_EXPOSURES):.6g}")


def image_flags(rgb: np.ndarray, instance: np.ndarray, exposure: float) -> tuple[str, ...]:
    """Flags of a clip, sorted.

    rgb (T, H, W, 3), instance (T, H, W, 1). `black-frames`: the mean exposed luminance of some frame is below
    1/255; `over-exposed`: over a quarter of all pixels is 1 or more after exposure; `no-object`: no object pixel in
    any frame; `subject-tiny`: objects cover less than 1 % of the clip; `subject-lost`: some frames show an object
    and some do not.
    """
    exposed = luminance(rgb) * exposure
    objects = (instance[..., 0] >= FIRST_OBJECT).mean(axis=(1, 2))
    findings = {
        "black-frames": (exposed.mean(axis=(1, 2)) < _BLACK).any(),
        "over-exposed": (exposed >= 1.0).mean() > _BRIGHT_SHARE,
        "no-object": not objects.any(),
        "subject-tiny": 0 < objects.mean() < _TINY_SHARE,
        "subject-lost": objects.any() and not objects.all(),
    }
    return tuple(sorted(name for name, found in findings.items() if found))
