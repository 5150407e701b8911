"""The space a network works in: native pixels, or latents of an image autoencoder. One interface for both.

Model-space videos (B, T, C, H, W) go in and come out; what lies between is (B, T, c, H / factor, W / factor).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from renderers import modelspace
from renderers.sampling import windows

DECODE_FRAMES = 24
"""Frames decoded (and encoded) at a time: one window of the published networks. Fewer need less memory."""
_PIXELS = 512 * 512
"""Of the frames that `DECODE_FRAMES` counts; of smaller ones more go through at a time, so that a GPU has work."""


class Space(Protocol):
    """How model-space videos become what a network sees, and back."""

    @property
    def factor(self) -> int:
        """Pixels per cell of this space, along height and width."""

    @property
    def scaling(self) -> float:
        """What encoded values are multiplied by for the network."""

    def channels(self, name: str) -> int:
        """Channels of attribute `name` in this space."""

    def encode(self, video: Tensor) -> Tensor:
        """Model space (B, T, C, H, W) as (B, T, c, H / factor, W / factor), NOT multiplied by `scaling`."""

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """What a network made for attribute `name` (it works in scaled values) as model space, native channels."""


@dataclass(frozen=True)
class PixelSpace:
    """No autoencoder: the network sees native channels at full resolution."""

    factor: int = 1
    scaling: float = 1.0

    def channels(self, name: str) -> int:
        """Native channels of `name`."""
        return modelspace.channels(name)

    def encode(self, video: Tensor) -> Tensor:
        """The video itself."""
        return video

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """The output itself; a gray one of three channels as its native one."""
        native = modelspace.channels(name)
        return modelspace.unreplicate(latents) if native == 1 and latents.shape[-3] == 3 else latents


@dataclass(frozen=True)
class LatentSpace:
    """SVD's autoencoder (diffusers' AutoencoderKLTemporalDecoder): images in, a temporal decoder out.

    One-channel attributes are replicated to gray and averaged back. Latents are posterior modes, never samples
    (behaviour of the released code). `frames` of 512x512 go through at a time, or as many pixels of smaller ones.
    Decoded chunks of a clip overlap and cross-fade, because what the temporal decoder makes of a frame depends on its
    neighbours.
    """

    vae: Any
    frames: int = DECODE_FRAMES
    decoder: Any = None
    """Distilled decoder (diffusers' AutoencoderTiny) in place of the autoencoder's own; it sees one frame at a time."""

    @property
    def factor(self) -> int:
        """Pixels per latent: 8 for SVD."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def scaling(self) -> float:
        """What latents are multiplied by for the network: 0.18215 for SVD."""
        return float(self.vae.config.scaling_factor)

    def channels(self, name: str) -> int:
        """Latent channels, the same for every attribute: 4 for SVD."""
        return int(self.vae.config.latent_channels)

    def encode(self, video: Tensor) -> Tensor:
        """Posterior modes (B, T, 4, H / 8, W / 8) of (B, T, 1 or 3, H, W) in model space."""
        vae = _safe_precision(self.vae)
        images = modelspace.replicate(video).flatten(0, 1)  # (B, T, 3, H, W) -> (B * T, 3, H, W)
        parts = images.split(self._together(images.shape[-2] * images.shape[-1]))
        modes = [vae.encode(part.to(vae.dtype)).latent_dist.mode() for part in parts]
        return torch.cat(modes).unflatten(0, video.shape[:2])  # (B * T, 4, h, w) -> (B, T, 4, h, w)

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """Model space (B, T, C, H, W) float32 of scaled latents (B, T, 4, h, w), with the native channels of `name`."""
        if self.decoder is not None:
            return self._distilled(name, latents)
        overlap = min(windows.OVERLAP, self.frames // 4)
        plan = windows.plan_windows(latents.shape[1], self.frames, overlap)
        together = self._together(latents.shape[-2] * latents.shape[-1] * self.factor**2)
        clips = max(1, together // min(latents.shape[1], self.frames))
        videos = [
            windows.blend(plan, (self._decode(window.take(some)) for window in plan.windows))
            for some in latents.split(clips)
        ]
        return _native(name, torch.cat(videos))  # few clips at a time: decoding is where memory peaks

    def _distilled(self, name: str, latents: Tensor) -> Tensor:
        flat = (latents / self.decoder.config.scaling_factor).flatten(0, 1).to(self.decoder.dtype)
        frames = [self.decoder.decode(part).sample.float() for part in flat.split(self.frames)]
        return _native(name, torch.cat(frames).unflatten(0, latents.shape[:2]))

    def _decode(self, latents: Tensor) -> Tensor:
        """(B, T, 4, h, w) -> (B, T, 3, H, W)."""
        vae = _safe_precision(self.vae)
        flat = (latents / self.scaling).flatten(0, 1).to(vae.dtype)  # (B, T, 4, h, w) -> (B * T, 4, h, w)
        return vae.decode(flat, num_frames=latents.shape[1]).sample.float().unflatten(0, latents.shape[:2])

    def _together(self, pixels: int) -> int:
        """How many frames of so many pixels go through at a time."""
        return self.frames * max(1, _PIXELS // pixels)


def space_of(vae: Any | None, frames: int = DECODE_FRAMES, decoder: Any = None) -> Space:
    """Latents where there is an autoencoder, pixels where there is none."""
    return PixelSpace() if vae is None else LatentSpace(vae, frames, decoder)


def _native(name: str, video: Tensor) -> Tensor:
    """Decoded frames with the channels that attribute `name` has."""
    return modelspace.unreplicate(video) if modelspace.channels(name) == 1 else video


def _safe_precision(vae: Any) -> Any:
    """SVD's encoder overflows in float16 (its config says `force_upcast`): such an autoencoder runs in float32."""
    if vae.dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)
    return vae
