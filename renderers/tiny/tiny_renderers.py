"""`TinyInverse`: video in, G-buffers out. `TinyForward`: G-buffers, light and analytic shading in, picture out.

Both answer in one deterministic step, as a correction of what is known already: the inverse one of the picture, whose
textures are those of the base colour; the forward one of the shading (`renderers.shading.hints`).
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.errors import InputError
from renderers.shading import hints
from renderers.tiny.video_unet import VideoUNet, image_grid

_GBUFFERS = sum(ATTRIBUTES[name].channels for name in GBUFFERS)
_ROWS = 16  # as many as the published attribute table has, so that a row means the same in every backbone
_BASECOLOR_ROW = cast(int, ATTRIBUTES["basecolor"].embedding)
_NORMAL_ROW = cast(int, ATTRIBUTES["normal"].embedding)


class TinyInverse(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Predicts all five G-buffers jointly, or the one that is asked for.

    Args:
        joint: True gives the nine channels of all G-buffers in GBUFFERS order; False gives three channels of the
            attribute named in the call, gray where the attribute has one channel.
        widths: channels by level, from full resolution down.
        depths: residual blocks by level.
        embedding: width of the vector that carries the attribute and the clip's summary.
    """

    @register_to_config
    def __init__(
        self,
        joint: bool = True,
        widths: tuple[int, ...] = (32, 64, 128, 192),
        depths: tuple[int, ...] = (1, 2, 2, 2),
        embedding: int = 128,
    ) -> None:
        super().__init__()
        self.joint = joint
        self.out_channels = _GBUFFERS if joint else 3
        self.unet = VideoUNet(3 + 2, self.out_channels + 3, widths, depths, embedding)
        self.attribute = nn.Embedding(1 if joint else _ROWS, embedding)
        self.multiple = self.unet.multiple

    def forward(
        self,
        sample: Tensor | None = None,
        timestep: Tensor | float | None = None,
        *,
        condition: Tensor,
        attribute: Tensor | None = None,
    ) -> Tensor:
        """G-buffers in model space of a video in model space.

        Args:
            sample: ignored; there is no noise to remove.
            timestep: ignored.
            condition: rgb (B, T, 3, H, W); H and W multiples of `multiple`.
            attribute: (B,) rows of the attribute table (`Attribute.embedding`), where not `joint`.

        Returns:
            (B, T, 9, H, W) in GBUFFERS order, or (B, T, 3, H, W) of the attribute; normals have unit length.
        """
        batch, frames, _, height, width = condition.shape
        grid = image_grid(height, width, condition).expand(batch, frames, 2, height, width)
        if self.joint:
            attribute = torch.zeros(batch, dtype=torch.long, device=condition.device)
        elif attribute is None:
            raise InputError(
                "this inverse network predicts one attribute per pass", "say which, by its row of the table"
            )
        embedding = self.attribute(attribute)[:, None].expand(batch, frames, -1)  # (B, E) -> (B, T, E)
        predicted = self.unet(torch.cat([condition, grid], dim=2), embedding)
        gain, values = predicted.split([3, self.out_channels], dim=2)
        lit = (condition + 1) * (1 + gain) - 1  # sRGB in [0, 1] times a gain: textures stay, the light goes
        if self.joint:
            basecolor, normal, rest = values.split([3, 3, 3], dim=2)
            return torch.cat([lit + basecolor, unit(normal), rest], dim=2)
        asked = attribute.view(-1, 1, 1, 1, 1)
        values = torch.where(asked == _BASECOLOR_ROW, lit + values, values)
        return torch.where(asked == _NORMAL_ROW, unit(values), values)


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
        self, sample: Tensor | None = None, timestep: Tensor | float | None = None, *, condition: Tensor, light: Tensor
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


def unit(normal: Tensor) -> Tensor:
    """Unit vectors (B, T, 3, H, W); a new network's zeros become the viewer's direction (0, 0, 1)."""
    toward_viewer = functional.pad(torch.ones_like(normal[:, :, :1]), (0, 0, 0, 0, 2, 0))  # (B, T, 3, H, W)
    long = normal.float() + toward_viewer.float()
    # torch's own normalisation is many times slower over an axis that is not the last
    return (long * long.square().sum(dim=2, keepdim=True).clamp_min(1e-12).rsqrt()).to(normal.dtype)
