"""`TinyForward`: G-buffers, light and analytic shading in, picture out, as a residual over the shading."""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from manifests.attributes import ATTRIBUTES, GBUFFERS
from renderers import hints
from renderers.tiny.blocks import VideoUNet, image_grid

_GBUFFERS = sum(ATTRIBUTES[name].channels for name in GBUFFERS)


class TinyForward(ModelMixin, ConfigMixin, PeftAdapterMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Adds to an analytic picture what it lacks: shadows, interreflection, what the hints got wrong.

    Args:
        condition_channels: channels of the condition: nine of the G-buffers, then those of the hint images, the
            first three of which are the picture to correct.
        light_features: L, the length of the light vector of a frame.
        widths: channels by level, from full resolution down.
        depths: residual blocks by level.
        embedding: width of the vector that carries the light.
    """

    lora_targets: ClassVar[tuple[str, ...]] = ("conv1", "conv2")
    """Layers that get a LoRA: every convolution of the residual blocks, for there is no attention over pixels."""

    @register_to_config
    def __init__(
        self,
        condition_channels: int = _GBUFFERS + hints.CHANNELS,
        light_features: int = hints.LIGHT_FEATURES,
        widths: tuple[int, ...] = (32, 64, 128, 192),
        depths: tuple[int, ...] = (1, 2, 2, 2),
        embedding: int = 128,
    ) -> None:
        super().__init__()
        self.unet = VideoUNet(condition_channels + 2, 3, widths, depths, embedding)
        self.light = nn.Sequential(nn.Linear(light_features, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.multiple = self.unet.multiple

    def forward(
        self,
        sample: Tensor | None = None,
        timestep: Tensor | float | None = None,
        *,
        condition: Tensor,
        light: Tensor,
    ) -> Tensor:
        """The video (B, T, 3, H, W) in model space.

        Args:
            sample: ignored; there is no noise to remove.
            timestep: ignored.
            condition: (B, T, C, H, W) in model space: G-buffers in GBUFFERS order, then hints; H and W multiples
                of `multiple`.
            light: (B, T, L) features of the environment in the camera frame.
        """
        batch, frames, _, height, width = condition.shape
        grid = image_grid(height, width, condition).expand(batch, frames, 2, height, width)
        residual = self.unet(torch.cat([condition, grid], dim=2), self.light(light))
        return condition[:, :, _GBUFFERS : _GBUFFERS + 3] + residual
