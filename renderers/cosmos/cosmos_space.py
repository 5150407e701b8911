"""What the cosmos networks see: latents of a causal video autoencoder, normalised by channel and latent frame.

T = 8 k + 1 pictures are k + 1 latent frames: the first is the first picture alone, each other one holds eight. Every
latent frame has means and deviations of its own, by its index in the window (`latents_mean`, `latents_std` of the
autoencoder's configuration: 16 channels x 16 latent frames). A single picture has another set (`image_mean`,
`image_std` of a `CosmosAutoencoder`); an autoencoder without it is shown the picture nine times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manifests.errors import InputError
from renderers.modelspace import native, replicate
from renderers.sampling.windows import Tiling, plan_tiles

STRIDE = 8
_CHANNELS = 16
_OVERLAP = 64


@dataclass(frozen=True)
class CosmosSpace:
    """Normalised latents of one window, (B, k + 1, 16, H / 8, W / 8) of pictures (B, 8 k + 1, C, H, W).

    Clips go through the autoencoder one at a time; with `area`, in overlapping tiles of at most so many pixels, which
    takes less memory and changes results a little, as its attention then sees no further.
    """

    vae: Any
    area: int | None = None

    @property
    def factor(self) -> int:
        """Pixels per latent along height and width: 8."""
        return int(self.vae.config.spatial_compression_ratio)

    @property
    def scaling(self) -> float:
        """Networks denoise normalised latents as they are."""
        return 1.0

    @property
    def images(self) -> bool:
        """Whether the autoencoder knows the statistics of single images."""
        return getattr(self.vae.config, "image_mean", None) is not None

    def channels(self, name: str) -> int:
        """Latent channels, the same for every attribute: 16."""
        return int(self.vae.config.latent_channels)

    def encode(self, video: Tensor) -> Tensor:
        """Normalised latents of one window in model space; raises InputError unless it has 8 k + 1 pictures."""
        self._check(video.shape[1])
        clips = replicate(video).transpose(1, 2).to(self._dtype(video)).split(1)  # (1, C, T, H, W) each
        latents = torch.cat([self._encoded(clip) for clip in clips]).transpose(1, 2)
        return self.normalised(latents.float())

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """Model space (B, T, C, H, W) float32 of normalised latents, with the native channels of `name`."""
        clips = self.raw(latents.float()).transpose(1, 2).to(self._dtype(latents)).split(1)
        video = torch.cat([self._decoded(clip) for clip in clips]).transpose(1, 2)
        return native(name, video.float())

    def normalised(self, raw: Tensor) -> Tensor:
        """The autoencoder's latents (B, k + 1, 16, h, w) as networks see them."""
        mean, deviation = self._statistics(raw)
        return (raw - mean) / deviation

    def raw(self, normalised: Tensor) -> Tensor:
        """Inverse of `normalised`."""
        mean, deviation = self._statistics(normalised)
        return normalised * deviation + mean

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (1, k + 1, 16, 1, 1) of every latent frame of a window."""
        config, frames = self.vae.config, latents.shape[1]
        if frames == 1:
            if not self.images:
                raise InputError(
                    "this autoencoder has no statistics of single images", "give the picture nine times, as a video"
                )
            tables = (config.image_mean, config.image_std)
            known = [latents.new_tensor(table).view(_CHANNELS, 1) for table in tables]
        else:
            tables = (config.latents_mean, config.latents_std)
            known = [latents.new_tensor(table).view(_CHANNELS, -1)[:, :frames] for table in tables]
        if known[0].shape[1] < frames:
            most = STRIDE * (known[0].shape[1] - 1) + 1
            raise InputError(f"a window of {STRIDE * (frames - 1) + 1} pictures is too long", f"{most} are the most")
        mean, deviation = (table.T[None, :, :, None, None] for table in known)  # (C, t) -> (1, t, C, 1, 1)
        return mean, deviation

    def _dtype(self, given: Tensor) -> torch.dtype:
        """What the autoencoder works in: float32 on a CPU, whose bfloat16 lacks a part of it."""
        if given.device.type == "cpu" and self.vae.dtype == torch.bfloat16:
            self.vae.float()
        return self.vae.dtype

    def _check(self, frames: int) -> None:
        if (frames - 1) % STRIDE:
            raise InputError(
                f"a window of {frames} pictures does not fit the autoencoder", "it takes 1, 9, 17, ... 8 k + 1"
            )

    def _encoded(self, clip: Tensor) -> Tensor:
        tiles = self._tiles(clip.shape[-2], clip.shape[-1])
        if tiles is None:
            return self.vae.encode(clip).latent_dist.mode()
        parts = (self.vae.encode(tile.take(clip)).latent_dist.mode() for tile in tiles.tiles)
        return tiles.divided(self.factor).blend(parts)

    def _decoded(self, latents: Tensor) -> Tensor:
        tiles = self._tiles(latents.shape[-2] * self.factor, latents.shape[-1] * self.factor)
        if tiles is None:
            return self.vae.decode(latents).sample
        cells = tiles.divided(self.factor).tiles
        return tiles.blend(self.vae.decode(tile.take(latents)).sample for tile in cells)

    def _tiles(self, height: int, width: int) -> Tiling | None:
        if self.area is None or height * width <= self.area:
            return None
        return plan_tiles(height, width, 2 * self.factor, budget=self.area, overlap=_OVERLAP)
