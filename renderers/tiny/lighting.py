"""`TinyLighting`: video and, where known, its G-buffers in; the light around the first camera out, in one step."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from renderers.environment import panorama_directions
from renderers.tiny import evidence
from renderers.tiny.blocks import VideoUNet

_GBUFFER_CHANNELS = 9
_PRIOR = (-0.4, -2.0)
"""Mean logits of E_ldr and E_log over rendered clips: what a new network answers everywhere."""


class TinyLighting(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Completes the panorama from the evidence that the pixels give, guided by a summary of the frames.

    Args:
        height: of the panorama; the width is twice as much.
        widths: channels by level of the panorama's U-Net, from full resolution down.
        depths: residual blocks by level.
        embedding: width of the frames' summary.
    """

    @register_to_config
    def __init__(
        self,
        height: int = 32,
        widths: tuple[int, ...] = (64, 96, 128, 192),
        depths: tuple[int, ...] = (2, 2, 2, 2),
        embedding: int = 128,
    ) -> None:
        super().__init__()
        self.unet = VideoUNet(evidence.CHANNELS + 3, 6, widths, depths, embedding)
        self.unet.head.bias = nn.Parameter(torch.tensor(_PRIOR).repeat_interleave(3))
        self.frames = nn.Sequential(
            nn.Conv2d(3 + _GBUFFER_CHANNELS + 1 + 3, 32, 4, stride=4),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, embedding, 3, padding=1),
            nn.SiLU(),
        )
        self.summary = nn.Linear(2 * embedding, embedding)
        self.height = height
        self.multiple = 4

    def forward(
        self,
        sample: Tensor | None = None,
        timestep: Tensor | float | None = None,
        *,
        condition: Tensor,
        rays: Tensor,
        gbuffers: Tensor | None = None,
        rotations: Tensor | None = None,
    ) -> Tensor:
        """E_ldr and E_log (B, 6, height, 2 height), in [0, 1], of the light in the first camera's frame.

        Args:
            sample: ignored; there is no noise to remove.
            timestep: ignored.
            condition: rgb (B, T, 3, H, W) in model space, H and W multiples of `multiple`.
            rays: (B, 3, H, W) unit viewing rays in the camera frame (`renderers.shading.camera_rays`).
            gbuffers: (B, T, 9, H, W) in model space, in GBUFFERS order, where they are known.
            rotations: (B, T, 3, 3) from each camera's frame to the first one's; None for a camera that does not turn.
        """
        height = self.height
        found = evidence.gather(condition, gbuffers, rays, rotations, height=height, width=2 * height)
        directions = panorama_directions(height, 2 * height).to(found).expand(len(found), -1, -1, -1)
        panorama = torch.cat([2 * found - 1, directions], dim=1).to(condition.dtype)
        wrap = height // 2
        panorama = functional.pad(panorama, (wrap, wrap, 0, 0), mode="circular")
        steer = self._steer(condition, gbuffers, rays)
        predicted = self.unet(panorama[:, None], steer[:, None])[
            :, 0, :, :, wrap:-wrap
        ]  # (B, 1, 6, h, w') -> (B, 6, h, w)
        return torch.sigmoid(predicted)

    def _steer(self, condition: Tensor, gbuffers: Tensor | None, rays: Tensor) -> Tensor:
        """Summary (B, E) of all frames."""
        batch, frames, _, height, width = condition.shape
        known = torch.full_like(condition[:, :, :1], 0.0 if gbuffers is None else 1.0)
        surfaces = (
            condition.new_zeros(batch, frames, _GBUFFER_CHANNELS, height, width) if gbuffers is None else gbuffers
        )
        view = rays.to(condition)[:, None].expand(batch, frames, 3, height, width)
        features = self.frames(torch.cat([condition, surfaces, known, view], dim=2).flatten(0, 1))  # (B*T, E, h, w)
        clip = features.unflatten(0, (batch, frames))
        return self.summary(torch.cat([clip.mean(dim=(1, 3, 4)), clip.amax(dim=(1, 3, 4))], dim=1))
