"""diffusers' autoencoder of Cosmos with a place for what single images need, and settings that strangers may write."""

from __future__ import annotations

import inspect
from typing import Any

from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.autoencoder_kl_cosmos import LATENTS_MEAN, LATENTS_STD, AutoencoderKLCosmos


class OwnSettings:
    """Of a class that fixes part of diffusers' settings: what it does not take is dropped without a word."""

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **keywords: Any) -> Any:
        """What a file really holds, its tensors show."""
        known = inspect.signature(cls.__init__).parameters
        ours = {key: value for key, value in config_dict.items() if key in known or key.startswith("_")}
        return super().extract_init_dict(ours, **keywords)  # type: ignore[misc]  # diffusers' ConfigMixin comes after


class CosmosAutoencoder(OwnSettings, AutoencoderKLCosmos):  # type: ignore[misc]  # diffusers is untyped
    """Causal autoencoder of videos; `image_mean` and `image_std`, 16 numbers each, are those of single images."""

    @register_to_config
    def __init__(
        self,
        *,
        encoder_block_out_channels: tuple[int, ...] = (128, 256, 512, 512),
        decode_block_out_channels: tuple[int, ...] = (256, 512, 512, 512),
        attention_resolutions: tuple[int, ...] = (32,),
        resolution: int = 1024,
        num_layers: int = 2,
        latents_mean: list[float] = LATENTS_MEAN,
        latents_std: list[float] = LATENTS_STD,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
    ) -> None:
        super().__init__(
            encoder_block_out_channels=encoder_block_out_channels,
            decode_block_out_channels=decode_block_out_channels,
            attention_resolutions=attention_resolutions,
            resolution=resolution,
            num_layers=num_layers,
            latents_mean=latents_mean,
            latents_std=latents_std,
        )
