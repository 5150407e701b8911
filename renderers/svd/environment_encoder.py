"""The environment encoder: a frame's light as features for every level of the forward renderer's UNet; its training.

DiffusionRenderer section 4.2: E_ldr, E_log and E_dir of a frame, each a latent of the image autoencoder, are
concatenated in this order (12 channels) and go through a convolutional UNet encoder without attention or temporal
layers; level i's features are keys and values of the cross-attention at level i. The published tensors show two
residual blocks per level and a downsampler in levels 1 to 3 but not 0, so features lie after the downsampler: for a
512 x 512 environment 64, 32, 16 and 8 wide, as the levels of a 512 x 512 video.

The same network with 4 input channels encodes direction latents alone (the published `nrm_encoder`), and with the
video's latents as input it conditions the lighting estimator.

The encoder learns as an autoencoder, by reconstructing the light (L2), with a decoder that is queried with direction
features; then the decoder is dropped and the encoder frozen. How they are wired is read off the published tensors
(`env_decoder`, `nrm_encoder`):

- `nrm_encoder` is an `EnvironmentEncoder` of the 4-channel direction latent; `conv_out` gives 8 channels, the latents
  of E_ldr and E_log: asked for a direction, the decoder says what light comes from there.
- Attention i works on 1280, 1280, 640, 320 channels (its norm and proj_in), the input widths of up block i and the
  widths of encoder levels 3, 2, 1, 0. Its first attention, too, has keys as wide as the light features (1280 to 640 in
  attention 1), so both of its attentions are cross-attention: hidden states ask, light features of level 3 - i answer,
  and light reaches the output through nothing else.
- Up blocks have no room for concatenated skips, and up blocks 0 to 2 upsample, so that each level's hidden states and
  direction features agree in shape: direction features are added, the coarsest being where the decoder starts.

Shapes cannot tell everything. Chosen here: a convolution's padding of one pixel on every side (`downsample_padding` 1,
symmetric, as diffusers' UNets; 0 is the image autoencoder's right-and-bottom padding), the norms' epsilon 1e-6, SiLU,
that addition, and 64 channels per head, as everywhere in SVD.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import DownEncoderBlock2D, UpDecoderBlock2D
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from manifests.errors import InputError

DIRECTION_CHANNELS = 4
"""Of the latent of E_dir; it is the last of the encoder's three inputs."""


class EnvironmentEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Latents of light in, one feature map per level out."""

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        in_channels: int = 12,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        downsample_padding: int = 1,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.conv_in = nn.Conv2d(in_channels, block_out_channels[0], kernel_size=3, padding=1)
        widths = (block_out_channels[0], *block_out_channels)
        self.down_blocks = nn.ModuleList(
            DownEncoderBlock2D(
                widths[level],
                widths[level + 1],
                num_layers=layers_per_block,
                add_downsample=level > 0,
                downsample_padding=downsample_padding,
            )
            for level in range(len(block_out_channels))
        )

    def forward(self, latents: Tensor) -> tuple[Tensor, ...]:
        """Feature maps (B*T, width_i, h / 2^i, w / 2^i) of latents (B, T, C, h, w), finest level first."""
        channels = self.conv_in.in_channels
        if latents.ndim != 5 or latents.shape[2] != channels:
            raise InputError(f"latents of light are {tuple(latents.shape)}, expected (B, T, {channels}, h, w)")
        hidden = self.conv_in(latents.flatten(0, 1))  # (B, T, C, h, w) -> (B*T, C, h, w)
        maps = []
        for block in self.down_blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden = checkpoint(block, hidden, use_reentrant=False)
            else:
                hidden = block(hidden)
            maps.append(hidden)
        return tuple(maps)


def as_tokens(maps: Sequence[Tensor]) -> list[Tensor]:
    """Feature maps (N, W, h, w) as keys and values for attention: (N, h*w, W), level by level."""
    return [level.flatten(2).transpose(1, 2) for level in maps]  # (N, W, h, w) -> (N, h*w, W)


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
