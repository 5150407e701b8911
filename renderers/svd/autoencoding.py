"""Pre-training of the environment encoder as an autoencoder: the decoder that is dropped afterwards.

DiffusionRenderer section 4.2: the encoder learns by reconstructing the light (L2), with a decoder that is queried with
direction features; then the decoder is dropped and the encoder frozen. The wiring is read off the published tensors
(`env_decoder`, `nrm_encoder`):

- `nrm_encoder` is an `EnvironmentEncoder` of the 4-channel direction latent; `conv_out` gives 8 channels, the latents
  of E_ldr and E_log: asked for a direction, the decoder says what light comes from there.
- Attention i works on 1280, 1280, 640, 320 channels (its norm and proj_in), the input widths of up block i and the
  widths of encoder levels 3, 2, 1, 0. Its first attention, too, has keys as wide as the light features (1280 to 640 in
  attention 1), so both of its attentions are cross-attention: hidden states ask, light features of level 3 - i answer,
  and light reaches the output through nothing else.
- Up blocks have no room for concatenated skips, and up blocks 0 to 2 upsample, so that each level's hidden states and
  direction features agree in shape: direction features are added, the coarsest being where the decoder starts.

Shapes do not show that addition nor the number of heads (64 channels a head here, as everywhere in SVD).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import UpDecoderBlock2D
from torch import Tensor, nn
from torch.nn import functional

from renderers.svd.environment_encoder import EnvironmentEncoder, as_tokens

DIRECTION_CHANNELS = 4
"""Of the latent of E_dir; it is the last of the encoder's three inputs."""


class EnvironmentDecoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Direction features ask, light features answer: latents of E_ldr and E_log (8 channels) out."""

    @register_to_config
    def __init__(
        self,
        out_channels: int = 8,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        attention_head_dim: int = 64,
    ) -> None:
        super().__init__()
        inputs = tuple(reversed(block_out_channels))  # (1280, 1280, 640, 320)
        outputs = (*inputs[1:], inputs[-1])  # (1280, 640, 320, 320)
        self.up_blocks = nn.ModuleList(
            UpDecoderBlock2D(before, after, num_layers=layers_per_block, add_upsample=index + 1 < len(inputs))
            for index, (before, after) in enumerate(zip(inputs, outputs, strict=True))
        )
        self.conv_out = nn.Sequential(
            nn.Conv2d(outputs[-1], outputs[-1], kernel_size=3, padding=1),
            nn.SiLU(),
            nn.Conv2d(outputs[-1], out_channels, kernel_size=3, padding=1),
        )
        self.attentions = nn.ModuleList(
            Transformer2DModel(
                num_attention_heads=after // attention_head_dim,
                attention_head_dim=attention_head_dim,
                in_channels=before,
                cross_attention_dim=before,
                use_linear_projection=True,
                only_cross_attention=True,
            )
            for before, after in zip(inputs, outputs, strict=True)
        )

    def forward(self, light: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
        """Latents (N, 8, h, w) from feature maps (N, width_i, h / 2^i, w / 2^i) of light and of directions."""
        tokens = as_tokens(light)
        hidden = torch.zeros_like(directions[-1])
        for level, attention, block in zip(
            reversed(range(len(directions))), self.attentions, self.up_blocks, strict=True
        ):
            query = hidden + directions[level]  # (N, W, h, w)
            hidden = block(attention(query, encoder_hidden_states=tokens[level], return_dict=False)[0])
        return self.conv_out(hidden)


def direction_encoder(**config: Any) -> EnvironmentEncoder:
    """The published `nrm_encoder`: an encoder of the direction latent alone."""
    return EnvironmentEncoder(in_channels=DIRECTION_CHANNELS, **config)


def reconstruction_loss(
    latents: Tensor, encoder: EnvironmentEncoder, directions: EnvironmentEncoder, decoder: EnvironmentDecoder
) -> Tensor:
    """Mean squared error of the light latents (B, T, 12, h, w), in the order ldr, log, dir, after the round trip.

    Height and width must be multiples of 8, or levels do not fit each other.
    """
    split = latents.shape[2] - DIRECTION_CHANNELS
    target, asked = latents[:, :, :split], latents[:, :, split:]
    rebuilt = decoder(encoder(latents), directions(asked))  # (B*T, 8, h, w)
    return functional.mse_loss(rebuilt, target.flatten(0, 1))
