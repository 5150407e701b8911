"""`TinyLighting`: video and, where known, its G-buffers in; the light around the first camera out, in one step.

What the pixels say of the light is first gathered on the panorama's grid (`gather`). A pixel of the background IS the
light behind it. A smooth surface shows the light of its mirror direction, a matte one the mean of the light around its
normal. Written down where it belongs, in the first camera's frame, evidence of many frames adds up, and a small network
only has to weigh it, blur it and fill the gaps.
"""

from __future__ import annotations

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from renderers.light.panoramas import encode_log, panorama_directions, panorama_pixels
from renderers.modelspace import from_model, split, srgb_decode
from renderers.shading.view_geometry import by_frame
from renderers.tiny.video_unet import VideoUNet

CHANNELS = 16
"""Four kinds of evidence, each a colour (E_log) and a weight: everything seen, background, mirrored, matte."""
_GBUFFERS = 9
_PRIOR = (-0.4, -2.0)
"""Mean logits of E_ldr and E_log over rendered clips: what a new network answers everywhere."""
_DIELECTRIC = 0.04
"""Reflectance of what is no metal."""


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
        self.unet = VideoUNet(CHANNELS + 3, 6, widths, depths, embedding)
        self.unet.head.bias = nn.Parameter(torch.tensor(_PRIOR).repeat_interleave(3))
        self.frames = nn.Sequential(
            nn.Conv2d(3 + _GBUFFERS + 1 + 3, 32, 4, stride=4),
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
            rays: (B, 3, H, W) or (B, T, 3, H, W), unit viewing rays in the camera frame (`camera_rays`).
            gbuffers: (B, T, 9, H, W) in model space, in GBUFFERS order, where they are known.
            rotations: (B, T, 3, 3) from each camera's frame to the first one's; None for a camera that does not turn.
        """
        height = self.height
        found = gather(condition, gbuffers, rays, rotations, height=height, width=2 * height)
        directions = panorama_directions(height, 2 * height).to(found).expand(len(found), -1, -1, -1)
        panorama = torch.cat([2 * found - 1, directions], dim=1).to(condition.dtype)
        wrap = height // 2
        panorama = functional.pad(panorama, (wrap, wrap, 0, 0), mode="circular")
        steer = self._steer(condition, gbuffers, rays)
        wide = self.unet(panorama[:, None], steer[:, None])[:, 0]  # (B, 1, C, h, w + 2 wrap) -> (B, 6, ...)
        return torch.sigmoid(wide[..., wrap:-wrap])

    def _steer(self, condition: Tensor, gbuffers: Tensor | None, rays: Tensor) -> Tensor:
        """Summary (B, E) of all frames."""
        batch, frames, _, height, width = condition.shape
        known = torch.full_like(condition[:, :, :1], 0.0 if gbuffers is None else 1.0)
        surfaces = condition.new_zeros(batch, frames, _GBUFFERS, height, width) if gbuffers is None else gbuffers
        view = by_frame(rays).to(condition).expand(batch, frames, 3, height, width)
        features = self.frames(torch.cat([condition, surfaces, known, view], dim=2).flatten(0, 1))  # (B*T, E, h, w)
        clip = features.unflatten(0, (batch, frames))
        return self.summary(torch.cat([clip.mean(dim=(1, 3, 4)), clip.amax(dim=(1, 3, 4))], dim=1))


def gather(
    rgb: Tensor, gbuffers: Tensor | None, rays: Tensor, rotations: Tensor | None, *, height: int, width: int
) -> Tensor:
    """Evidence (B, 16, height, width), in [0, 1], on the panorama of the first camera.

    Args:
        rgb: (B, T, 3, H, W) in model space.
        gbuffers: (B, T, 9, H, W) in model space, or None: then only what is seen counts, the rest is 0.
        rays: (B, 3, H, W) or (B, T, 3, H, W), unit viewing rays in the camera frame.
        rotations: (B, T, 3, 3) from each camera's frame to the first one's; None for a camera that does not turn.
        height: of the panorama.
        width: of the panorama.
    """
    batch, frames = rgb.shape[:2]
    colour = srgb_decode((0.5 * rgb.float() + 0.5).clamp(0, 1))  # linear, exposed
    view = by_frame(rays).float().expand(batch, frames, *rays.shape[-3:])  # (B, T, 3, H, W)
    one = torch.ones_like(colour[:, :, :1])
    seen = [(view, colour, one)]
    if gbuffers is not None:
        seen += _of_surfaces(colour, view, gbuffers.float(), one)
    parts = [_scatter(_turned(direction, rotations), value, weight, height, width) for direction, value, weight in seen]
    evidence = torch.cat(parts, dim=1)
    missing = evidence.new_zeros(batch, CHANNELS - evidence.shape[1], height, width)
    return torch.cat([evidence, missing], dim=1)


def _of_surfaces(colour: Tensor, view: Tensor, gbuffers: Tensor, one: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(direction, radiance, weight) of background, mirrored and matte evidence, each (B, T, C, H, W)."""
    values = {name: from_model(name, part) for name, part in split(gbuffers).items()}
    base, normal, metallic, roughness = (values[name] for name in ("basecolor", "normal", "metallic", "roughness"))
    background = torch.sigmoid(40 * (values["depth"] - 0.97)) * torch.sigmoid(20 * (normal[:, :, 2:] - 0.9))
    surface = one - background
    mirrored = view - 2 * (view * normal).sum(dim=2, keepdim=True) * normal
    specular = torch.lerp(torch.full_like(base, _DIELECTRIC), base, metallic)
    matte = (base * (1 - metallic)).clamp_min(0.02)
    smooth = surface * metallic * (1 - roughness).square()
    rough = surface * (1 - metallic) * base.amax(dim=2, keepdim=True)
    return [
        (view, colour, background),
        (mirrored, colour / specular.clamp_min(0.05), smooth),
        (normal, colour / matte, rough),
    ]


def _turned(directions: Tensor, rotations: Tensor | None) -> Tensor:
    """Directions (B, T, 3, H, W) of each camera in the frame of the first."""
    return directions if rotations is None else torch.einsum("btij,btjhw->btihw", rotations.to(directions), directions)


def _scatter(directions: Tensor, radiance: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """Weighted mean of radiance by panorama pixel, as E_log and a weight that saturates: (B, 4, height, width)."""
    column, row = panorama_pixels(directions.movedim(2, 0), height, width)  # (3, B, T, H, W) -> 2 x (B, T, H, W)
    cell = row.round().long() * width + column.round().long() % width
    cell = cell.flatten(1)[:, None].expand(-1, 4, -1)  # (B, T, H, W) -> (B, 4, N)
    laid = torch.cat([radiance * weight, weight], dim=2).transpose(1, 2).flatten(2)  # (B, T, 4, H, W) -> (B, 4, N)
    sums = laid.new_zeros(len(laid), 4, height * width).scatter_add_(2, cell, laid)
    sums = sums.unflatten(2, (height, width))
    total = sums[:, 3:]
    per_cell = directions.shape[1] * directions[0, 0, 0].numel() / (height * width)
    return torch.cat([encode_log(sums[:, :3] / total.clamp_min(1e-4)), torch.tanh(total / math.sqrt(per_cell))], dim=1)
