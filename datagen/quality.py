"""Simple findings about a rendered clip, recorded as flags in its manifest row; nothing is thrown away here."""

from __future__ import annotations

import numpy as np

from manifests.environment import luminance

FIRST_OBJECT = 2
_BLACK = 1 / 255
_BRIGHT_SHARE = 0.25
_TINY_SHARE = 0.01


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
