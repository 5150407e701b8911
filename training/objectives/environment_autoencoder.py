"""Pre-training of the forward renderer's environment encoder as an autoencoder (DiffusionRenderer, section 4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from manifests.errors import InputError
from manifests.files import atomic_folder
from renderers.backbones import light_latents
from renderers.svd.environment_encoder import (
    EnvironmentDecoder,
    EnvironmentEncoder,
    direction_encoder,
    reconstruction_loss,
)
from training.config import TrainConfig
from training.data.batch import Batch
from training.objectives.objective import Losses, Needs, Objective
from training.objectives.starting_networks import Networks, autoencoder_of


class EnvironmentObjective(Objective):
    """The encoder, an encoder of directions and a decoder rebuild the latents of light; the encoder is what is kept."""

    known = ()

    @property
    def needs(self) -> Needs:
        """Light alone; the mask is cheap to decode, and something has to be."""
        return Needs(attributes=(), panorama=True)

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """Squared error of the rebuilt latents, clip by clip."""
        assert batch.panorama is not None
        with torch.no_grad():
            latents = light_latents(self.space, batch.panorama)
        total = network(latents)
        return Losses(total, {"light": total.detach()})

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Latents are nothing to look at."""
        return {}

    def save(self, folder: Path, record: dict[str, Any], network: nn.Module | None = None) -> None:
        """`env_encoder`, and the two networks that only training needs, `nrm_encoder` and `env_decoder`."""
        trained: Any = network or self.network
        with atomic_folder(folder) as root:
            for name in ("env_encoder", "nrm_encoder", "env_decoder"):
                getattr(trained, name).save_pretrained(root / name)


class LightAutoencoder(nn.Module):
    """The three networks as one, so that distributed training wraps one module."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.env_encoder = EnvironmentEncoder(**config)
        self.nrm_encoder = direction_encoder(**config)
        self.env_decoder = EnvironmentDecoder(**{**config, **_head_width(config)})

    def forward(self, latents: Tensor) -> Tensor:
        """Reconstruction loss (B,) of the latents of light (B, T, 12, h, w)."""
        clips = [
            reconstruction_loss(clip, self.env_encoder, self.nrm_encoder, self.env_decoder) for clip in latents.split(1)
        ]
        return torch.stack(clips)


def light_networks(config: TrainConfig) -> Networks:
    """New networks of the pre-training, and the autoencoder of the checkpoint `config.start`."""
    if config.start is None:
        raise InputError(
            "start: the light's autoencoder is needed", "give a checkpoint that has a vae", where=config.name
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        light = LightAutoencoder(**config.network)
    vae = autoencoder_of(config.start)
    vae.requires_grad_(False).eval()
    return Networks(light, vae)


def _head_width(config: dict[str, Any]) -> dict[str, int]:
    """The decoder's attention head width: 64, or the narrowest level where that is narrower."""
    return {"attention_head_dim": min(64, *config.get("block_out_channels", (64,)))}
