"""Rendered pictures as a camera would have taken them: exposure, colour, tone curve, blur, noise; skies, shadows.

Only what a network is shown changes, never what it is to find. All draws of a clip come from its seed and hold for all
its frames, but for the noise, which is new in each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from renderers.modelspace import srgb_decode, srgb_encode

_STOPS = 0.7
_BALANCE = 0.12
_GAMMA = (0.8, 1.25)
_CURVE, _SATURATION = 0.8, (0.8, 1.3)  # of a full S: cameras deepen shadows and roll highlights off
_BLUR = 1.2  # pixels
_NOISE = 0.03
_RADIUS = 3
_BLUES = ((0.16, 0.36, 0.72), (0.02, 0.10, 0.38), (0.42, 0.62, 0.85), (0.55, 0.58, 0.62), (0.78, 0.80, 0.83))
"""sRGB at the top of a clear, a deep and a hazy sky, and of two overcast ones."""
_UMBRA = (0.2, 0.8)
"""What a shadow leaves of the light."""
_COLDER = 0.2
_LEAVES, _STRAIGHT = 16, 0.4
_EDGES = (0.01, 0.3)
"""Half width of a penumbra, in parts of the distance to what is seen."""
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

    def change(clip: Tensor, generator: torch.Generator, covered: Tensor) -> Tensor:
        sky = 2 * _sky(clip.shape[-2:], generator, clip) - 1
        return covered * clip + (1 - covered) * sky

    return _changed_in(share, rgb, seeds, 0x5C1, change, mask)


def in_other_shadows(rgb: Tensor, points: Tensor, normal: Tensor, mask: Tensor, seeds: Tensor, share: float) -> Tensor:
    """Pictures (B, T, 3, H, W) in model space; in a `share` of them things out of sight throw shadows on surfaces.

    Shadows of houses and trees beside the picture are everywhere in films and rare in rendered scenes, so that networks
    paint them into base colour. They lie as a distant light would throw them, of walls or of leaves. `points` and
    `normal` (B, T, 3, H, W) are in the camera frame, `mask` (B, T, 1, H, W) is 1 on surfaces.
    """

    def change(clip: Tensor, generator: torch.Generator, place: Tensor, facing: Tensor, covered: Tensor) -> Tensor:
        if not bool((covered > 0.5).any()):
            return clip
        light = srgb_decode(0.5 * clip + 0.5) * _left_of_light(place, facing, covered, generator)
        return 2 * srgb_encode(light.clamp(0.0, 1.0)) - 1

    return _changed_in(share, rgb, seeds, 0x5AD0, change, points, normal, mask)


def _changed_in(
    share: float, rgb: Tensor, seeds: Tensor, salt: int, change: Callable[..., Tensor], *others: Tensor
) -> Tensor:
    """`change` (clip, generator, its parts of `others`) in a `share` of the clips; `salt` keeps its draws its own."""
    clips = []
    for clip, seed, *parts in zip(rgb, seeds, *others, strict=True):
        generator = torch.Generator(clip.device).manual_seed(int(seed) ^ salt)
        chosen = torch.rand((), generator=generator, device=clip.device) < share
        clips.append(change(clip, generator, *parts) if chosen else clip)
    return torch.stack(clips)


def _left_of_light(points: Tensor, normal: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Factors (T, 3, H, W) on the light of surfaces, from shadows of one distant light."""

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=points.device)

    sun = torch.stack([2 * draw() - 1, 0.3 + 0.7 * draw(), 1.6 * draw() - 0.8])
    sun = sun / sun.norm()
    across = torch.linalg.cross(sun, sun.new_tensor([0.3, 0.1, 0.95]))
    across = across / across.norm()
    plane = torch.stack([across, torch.linalg.cross(sun, across)])  # (2, 3): what the light sees as right and up
    seen = torch.einsum("ij,tjhw->thwi", plane, points)
    covered = mask[:, 0] > 0.5
    centre = seen[covered].median(dim=0).values
    distance = points.norm(dim=1)[covered].median().clamp_min(1e-6)
    low, high = _EDGES
    edge = low * (high / low) ** draw()
    if draw() < _STRAIGHT:
        angles = 2 * torch.pi * draw(2)
        sides = torch.einsum("thwi,ik->thwk", (seen - centre) / distance, torch.stack([angles.cos(), angles.sin()]))
        height = (sides + 0.4 * draw(2)).amin(dim=-1)
    else:
        fields = functional.interpolate(draw(1, 1, _LEAVES, _LEAVES), scale_factor=8, mode="bicubic")
        spread = _LEAVES * (0.15 + 0.6 * draw()) / 2  # cells of the field to the distance
        at = ((seen - centre) / distance / spread).clamp(-3.0, 3.0)
        field = functional.grid_sample(
            fields.expand(len(at), -1, -1, -1), at, padding_mode="reflection", align_corners=False
        )
        height = 2 * field[:, 0] / spread
    height = height - height[covered].quantile(0.2 + 0.6 * draw())
    shade = torch.sigmoid(2 * height / edge)  # (T, H, W): 1 in the umbra
    turned = (4 * torch.einsum("tjhw,j->thw", normal, sun)).clamp(0.0, 1.0)
    low, high = _UMBRA
    left = (low + (high - low) * draw()) * (1 + _COLDER * draw() * sun.new_tensor([-1.0, 0.0, 1.0]))
    return 1 - (1 - left)[:, None, None] * (shade * turned * mask[:, 0])[:, None]


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
    draws = torch.rand(10, generator=generator, device=clip.device)
    if draws[0] >= share:
        return clip
    gains = 2 ** (_STOPS * (2 * draws[1] - 1)) * (1 + _BALANCE * (2 * draws[2:5] - 1))
    encoded = srgb_encode((srgb_decode(0.5 * clip + 0.5) * gains[:, None, None]).clamp(0.0, 1.0))
    low, high = _GAMMA
    encoded = encoded ** (low * (high / low) ** draws[5])
    encoded = encoded + _CURVE * draws[8] * (encoded.square() * (3 - 2 * encoded) - encoded)
    grey, (low, high) = encoded.mean(dim=-3, keepdim=True), _SATURATION
    encoded = (grey + (low + (high - low) * draws[9]) * (encoded - grey)).clamp(0.0, 1.0)
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
