"""`Judge`, the error estimator: sees a video and the labels that an inverse renderer gave it; says how wrong they are.

No truth is needed: a network learns from rendered clips which pictures its inverse renderer gets wrong (dark ones,
those full of mirrors, those whose labels do not fit the picture) and by how much. It belongs to one inverse renderer,
lies in its checkpoint, and works on pixels whatever that renderer's own space is. One number per clip and attribute: a
label's worth is a property of the scene, and maps of expected error would claim more than is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from renderers.modelspace import srgb_encode, stack, to_model

_SIDE = 64
_GROUP = 8
_LEAST = 0.01
_CLIP = (1, 2, 3, 4)

UNITS: Mapping[str, float] = {name: 60.0 if name == "normal" else 1.0 for name in GBUFFERS}
"""What an error is divided by before its logarithm is taken: degrees for normals."""


class Judge(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Expected errors of labels.

    Args:
        widths: channels after each halving of the picture.
        hidden: width of the last layer but one.
        dropout: share of pooled features left out in training; there are far fewer clips than pixels.
    """

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (16, 32, 48, 64), hidden: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        channels = 3 + sum(ATTRIBUTES[name].channels for name in GBUFFERS)
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(width // _GROUP, width)]
            layers += [nn.SiLU()]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(3 * channels, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(GBUFFERS)),
        )

    def forward(self, condition: Tensor) -> Tensor:
        """Logarithms (B, 5) of expected errors in GBUFFERS order, see `expected`.

        condition: (B, T, 12, H, W) in model space, any size: rgb, then the five labels in GBUFFERS order.
        """
        batch, frames, _, height, width = condition.shape
        small = max(height, width) / _SIDE
        flat = condition.flatten(0, 1)  # (B, T, 12, H, W) -> (B*T, 12, H, W)
        if small != 1:
            size = max(1, round(height / small)), max(1, round(width / small))
            flat = functional.interpolate(flat, size, mode="area")
        seen = self.layers(flat)
        pooled = [seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3)), seen.flatten(2).std(dim=2, correction=0)]
        clip = torch.cat(pooled, dim=1).unflatten(0, (batch, frames)).mean(dim=1)  # (B*T, 3C) -> (B, 3C)
        return self.head(clip)

    @torch.no_grad()
    def expected(self, rgb: Tensor, gbuffers: Mapping[str, Tensor]) -> dict[str, float]:
        """Expected error of each label of one clip, in the units of `differences`.

        rgb: (1, T, 3, H, W) in model space. gbuffers: (1, T, C, H, W) by name as values, depth relative.
        """
        found = self(condition_of(rgb, gbuffers).to(self.device, self.dtype)).float().exp() - _LEAST
        values = found.clamp_min(0.0)[0].tolist()
        return {name: value * UNITS[name] for name, value in zip(GBUFFERS, values, strict=True)}


def condition_of(rgb: Tensor, gbuffers: Mapping[str, Tensor]) -> Tensor:
    """What a `Judge` is shown, (B, T, 12, H, W), of rgb in model space and labels (B, T, C, H, W) as values."""
    labels = stack({name: to_model(name, gbuffers[name].float()) for name in GBUFFERS})
    return torch.cat([rgb.to(labels), labels], dim=2)


def target(errors: Mapping[str, Tensor]) -> Tensor:
    """What a `Judge` shall say, (B, 5), of the true `differences`."""
    return torch.stack([torch.log(errors[name] / UNITS[name] + _LEAST) for name in GBUFFERS], dim=1)


def differences(labels: Mapping[str, Tensor], others: Mapping[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    """How far two sets of labels (B, T, C, H, W) differ, (B,) by attribute, where `weight` (B, T, 1, H, W) counts.

    Base colour: RMSE of sRGB after the best gain of `others`, since a picture tells base colour and light only up to a
    factor. Normals: mean angle in degrees. Depth: RMSE after the best scale and shift of `others`,
    since relative depth has neither. Roughness and metallic: RMSE.
    """
    total = weight.sum(dim=_CLIP).clamp_min(1e-6)
    found = {}
    for name in GBUFFERS:
        one, other = labels[name], others[name]
        if name == "normal":
            cosine = (one * other).sum(dim=2, keepdim=True).clamp(-1, 1)
            found[name] = (torch.rad2deg(torch.acos(cosine)) * weight).sum(dim=_CLIP) / total
            continue
        if name == "basecolor":
            gain = (one * other * weight).sum(dim=_CLIP, keepdim=True)
            gain = gain / (other.square() * weight).sum(dim=_CLIP, keepdim=True).clamp_min(1e-9)
            one, other = srgb_encode(one), srgb_encode((gain * other).clamp(0, 1))
        if name == "depth":
            other = _aligned(other, one, weight)
        squared = (one - other).square().mean(dim=2, keepdim=True)
        found[name] = ((squared * weight).sum(dim=_CLIP) / total).sqrt()
    return found


def _aligned(depth: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """`depth` times the scale plus the shift that bring it closest to `reference`, least squares, clip by clip."""

    def summed(value: Tensor) -> Tensor:
        return (value * weight).sum(dim=_CLIP, keepdim=True)

    total = summed(torch.ones_like(depth)).clamp_min(1e-6)
    mean, wanted = summed(depth) / total, summed(reference) / total
    spread = summed((depth - mean).square())
    scale = summed((depth - mean) * (reference - wanted)) / spread.clamp_min(1e-9)
    return wanted + scale * (depth - mean)
