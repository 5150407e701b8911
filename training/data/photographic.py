"""Rendered pictures as a camera would have taken them: exposure, white balance, contrast, blur and noise.

Only what a network is shown changes, never what it is to find. All draws of a clip come from its seed and hold for all
its frames, but for the noise, which is new in each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from renderers.modelspace import srgb_decode, srgb_encode

_STOPS = 0.7
_BALANCE = 0.12
_GAMMA = (0.8, 1.25)
_BLUR = 1.2  # pixels
_NOISE = 0.03
_RADIUS = 3


def photographed(rgb: Tensor, seeds: Tensor, share: float) -> Tensor:
    """Pictures (B, T, 3, H, W) in model space, a `share` of the clips changed; equal seeds give equal changes."""
    clips = [_photographed(clip, int(seed), share) for clip, seed in zip(rgb, seeds, strict=True)]
    return torch.stack(clips)


def _photographed(clip: Tensor, seed: int, share: float) -> Tensor:
    generator = torch.Generator(clip.device).manual_seed(seed)
    draws = torch.rand(8, generator=generator, device=clip.device)
    if draws[0] >= share:
        return clip
    gains = 2 ** (_STOPS * (2 * draws[1] - 1)) * (1 + _BALANCE * (2 * draws[2:5] - 1))
    encoded = srgb_encode((srgb_decode(0.5 * clip + 0.5) * gains[:, None, None]).clamp(0.0, 1.0))
    low, high = _GAMMA
    encoded = encoded ** (low * (high / low) ** draws[5])
    encoded = _blurred(encoded, float(_BLUR * draws[6]))
    noise = torch.randn(encoded.shape, generator=generator, device=clip.device)
    return 2 * (encoded + float(_NOISE * draws[7] ** 2) * noise).clamp(0.0, 1.0) - 1


def _blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (T, 3, H, W); sigma in pixels."""
    if sigma < 0.2:
        return pictures
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, device=pictures.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(pictures).expand(3, 1, 1, -1)
    padded = functional.pad(pictures, (_RADIUS,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)
