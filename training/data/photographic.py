"""Rendered pictures as a camera would have taken them: exposure, white balance, contrast, blur and noise; other skies.

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
_BLUES = ((0.16, 0.36, 0.72), (0.02, 0.10, 0.38), (0.42, 0.62, 0.85), (0.55, 0.58, 0.62), (0.78, 0.80, 0.83))
"""sRGB at the top of a clear, a deep and a hazy sky, and of two overcast ones."""
_HORIZONS = ((0.72, 0.82, 0.92), (0.35, 0.58, 0.86), (0.90, 0.92, 0.94), (0.95, 0.80, 0.62))


def photographed(rgb: Tensor, seeds: Tensor, share: float) -> Tensor:
    """Pictures (B, T, 3, H, W) in model space, a `share` of the clips changed; equal seeds give equal changes."""
    clips = [_photographed(clip, int(seed), share) for clip, seed in zip(rgb, seeds, strict=True)]
    return torch.stack(clips)


def under_other_skies(rgb: Tensor, mask: Tensor, seeds: Tensor, share: float) -> Tensor:
    """Pictures (B, T, 3, H, W) in model space; in a `share` of them what is no surface is a sky by formula.

    Captured environments show little of the blue, the haze and the clouds that films are full of, and a network that
    has not seen them takes them for walls. `mask` (B, T, 1, H, W) is 1 on surfaces.
    """
    clips = []
    for clip, covered, seed in zip(rgb, mask, seeds, strict=True):
        generator = torch.Generator(clip.device).manual_seed(int(seed) ^ 0x5C1)
        if torch.rand((), generator=generator, device=clip.device) < share:
            sky = 2 * _sky(clip.shape[-2:], generator, clip) - 1
            clip = covered * clip + (1 - covered) * sky  # noqa: PLW2901
        clips.append(clip)
    return torch.stack(clips)


def _sky(size: torch.Size, generator: torch.Generator, like: Tensor) -> Tensor:
    """A gradient from one of `_BLUES` to one of `_HORIZONS` with soft clouds: (3, H, W) sRGB in [0, 1]."""

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=like.device)

    top, low = (
        like.new_tensor(colours)[int(draw(1) * len(colours))] * (0.85 + 0.3 * draw(3))
        for colours in (_BLUES, _HORIZONS)
    )
    height = size[0]
    down = torch.linspace(0, 1, height, device=like.device)[:, None] ** float(0.5 + 2 * draw(1))
    layers = [
        functional.interpolate(draw(1, 1, 2 * cells, cells), tuple(size), mode="bicubic")[0, 0] / cells
        for cells in (3, 6, 12, 24)
    ]
    clouds = torch.stack(layers).sum(dim=0)
    clouds = (4 * (clouds - clouds.mean() + 0.25 * (draw(1) - 0.7))).clamp(0.0, 1.0)  # cells' means weigh the coarse
    sky = top[:, None, None] * (1 - down) + low[:, None, None] * down
    return (sky + (0.95 - sky) * clouds * draw(1)).clamp(0.0, 1.0)


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
