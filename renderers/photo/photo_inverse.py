"""The inverse network of `photo`: a decoder that sees all frames of a window, on an encoder that has seen photographs.

The encoder knows what streets, fruit and skies look like; no rendered training set does. The decoder mixes frames where
the picture is coarse (shifts in time and attention over it), comes up level by level, and meets the picture itself at
full resolution, so that edges of base colour are the picture's own.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from renderers.photo.efficientnet_lite import EfficientNetLite
from renderers.tiny.tiny_renderers import unit
from renderers.tiny.video_unet import TemporalAttention, UNetLevel, image_grid, pooled_clip, zeroed

_GBUFFERS = sum(ATTRIBUTES[name].channels for name in GBUFFERS)


class PhotoInverse(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Predicts all five G-buffers and coverage jointly.

    Depth comes as inverse depth: the clip's near depth over depth, 0 at infinity. That has no far end, so a street or a
    landscape needs no other scale than a table.

    Args:
        variant: of EfficientNet-Lite, the encoder.
        widths: channels of the decoder at strides 32, 16, 8, 4, 2 and 1; multiples of 16, the first two of 32.
        depths: residual blocks at each of these.
        embedding: width of the clip's summary.
    """

    slow: ClassVar[str] = "encoder."
    """Parameters of this prefix were trained already and are to be trained more slowly than the rest."""

    @register_to_config
    def __init__(
        self,
        variant: str = "lite0",
        widths: tuple[int, ...] = (192, 160, 128, 64, 32, 16),
        depths: tuple[int, ...] = (1, 1, 1, 1, 1, 1),
        embedding: int = 128,
    ) -> None:
        super().__init__()
        self.out_channels = _GBUFFERS + 1
        self.multiple = 32
        self.encoder = EfficientNetLite(variant)
        inputs = (*reversed(EfficientNetLite.widths), 3 + 2)  # at stride 1: the picture and where in it one is
        self.skips = nn.ModuleList(
            nn.Conv2d(inside, width, 1 if level < 5 else 3, padding=0 if level < 5 else 1)
            for level, (inside, width) in enumerate(zip(inputs, widths, strict=True))
        )
        self.levels = nn.ModuleList(
            UNetLevel(width, depth, embedding) for width, depth in zip(widths, depths, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1) for i in range(5))
        self.attention = nn.ModuleList(TemporalAttention(width) for width in widths[:2])
        self.summary = nn.Sequential(nn.Linear(2 * widths[0], embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.head = zeroed(nn.Conv2d(widths[-1], 3 + self.out_channels, 3, padding=1))

    def forward(
        self,
        sample: Tensor | None = None,
        timestep: Tensor | float | None = None,
        *,
        condition: Tensor,
        attribute: Tensor | None = None,
    ) -> Tensor:
        """G-buffers and coverage of a video, all in model space.

        Args:
            sample, timestep, attribute: ignored; there is no noise to remove, and attributes come together.
            condition: rgb (B, T, 3, H, W) in model space; H and W multiples of 32.

        Returns:
            (B, T, 10, H, W): the G-buffers in GBUFFERS order, depth as inverse depth, normals of unit length; coverage.
        """
        batch, frames, _, height, width = condition.shape
        pictures = condition.flatten(0, 1)  # (B, T, 3, H, W) -> (B*T, 3, H, W)
        grid = image_grid(height, width, condition).expand(batch * frames, 2, height, width)
        inputs = (*reversed(self.encoder(pictures)), torch.cat([pictures, grid], dim=1))
        features = self.skips[0](inputs[0])
        steer = self.summary(pooled_clip(features, frames)).repeat_interleave(frames, dim=0)  # (B*T, E)
        for level, blocks in enumerate(self.levels):
            if level:
                raised = functional.interpolate(self.up[level - 1](features), scale_factor=2.0, mode="bilinear")
                features = raised + self.skips[level](inputs[level])
            features = blocks(features, steer, frames)
            if level < len(self.attention):
                features = self.attention[level](features, frames)
        predicted = self.head(functional.silu(features)).unflatten(0, (batch, frames))
        gain, basecolor, normal, rest = predicted.split([3, 3, 3, self.out_channels - 6], dim=2)
        lit = (condition + 1) * (1 + gain) - 1  # sRGB in [0, 1] times a gain: textures stay, the light goes
        return torch.cat([lit + basecolor, unit(normal), rest], dim=2)
