"""Panoramas seen along directions, as the tests ask for them: components last, as many as there are."""

from __future__ import annotations

from torch import Tensor

from renderers.light.panoramas import lookup, panorama_position


def sample_panorama(panorama: Tensor, directions: Tensor) -> Tensor:
    """Radiance (B, ..., 3) of panoramas (B, 3, h, w) along camera-frame directions (B, ..., 3), not all of them 0.

    Bilinear, wrapping in azimuth, differentiable in both; directions need not be of unit length.
    """
    column, row = panorama_position(directions.movedim(-1, 0).contiguous(), *panorama.shape[-2:])
    return lookup(panorama, column, row).movedim(1, -1)
