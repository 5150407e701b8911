"""The two spatio-temporal UNets of the published checkpoints, on diffusers' UNetSpatioTemporalConditionModel.

Both keep Stable Video Diffusion's layout, tensor names included, so published weights load tensor for tensor:

- `InverseUNet` is SVD's network; its only cross-attention token is a learned embedding of the attribute asked for, in
  place of SVD's CLIP feature (DiffusionRenderer, section 4.1). The embedding table, 16 x 1024, is a tensor of the UNet
  itself (`context_embedding.weight`, the 1,429th): rows are those of the attribute table's `embedding`.
- `ForwardUNet` attends, at every level and frame, to that level's light features, and has no temporal cross-attention
  (section 4.2): down blocks 0, 1, 2 see levels 0, 1, 2, the middle sees level 3, up blocks 1, 2, 3 see 2, 1, 0. It
  serves the lighting estimator too, with other channels and condition features.

Inputs are videos of latents (B, T, C, h, w), the noisy latent first, its conditions after it in the
order that `renderers.backbones.SvdBackbone` gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import Tensor, nn

from manifests.errors import InputError
from renderers.svd.lora import checkpointed

ADDED_TIME_IDS = (6.0, 127.0, 0.0)
"""fps - 1, motion bucket, noise augmentation: what the published networks were always given."""


class _PublishedUNet(PeftAdapterMixin, UNetSpatioTemporalConditionModel):  # type: ignore[misc]  # diffusers mixes its own like this
    """What both UNets share: LoRA adapters, and configurations written by diffusers' own class."""

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **keywords: Any) -> Any:
        """Drop what is fixed here (block types, frames, ...); what a file really holds, its tensors show."""
        known = inspect.signature(cls.__init__).parameters
        ours = {key: value for key, value in config_dict.items() if key in known or key.startswith("_")}
        return super().extract_init_dict(ours, **keywords)

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: Callable[..., Any] | None = None) -> None:
        """As diffusers', but layers are computed again at the LoRA scale of their forward pass."""
        super().enable_gradient_checkpointing(gradient_checkpointing_func or checkpointed)

    def _build(self, *own: str, **more: Any) -> None:
        """The published layers of the configuration, less what is the class's `own`, with `more`."""
        given = {name: value for name, value in self.config.items() if name[0] != "_" and name not in own}
        super().__init__(**given, **more)

    def _time_ids(self, sample: Tensor, given: Tensor | None) -> Tensor:
        """Added time ids (B, 3) of a sample, which must have the channels of this UNet; None is the published ones."""
        channels = self.conv_in.in_channels
        if sample.ndim != 5 or sample.shape[2] != channels:
            raise InputError(
                f"noisy latent and conditions are {tuple(sample.shape)}, expected (B, T, {channels}, h, w)"
            )
        return torch.tensor([ADDED_TIME_IDS], device=sample.device).expand(len(sample), -1) if given is None else given


class InverseUNet(_PublishedUNet):
    """RGB latents and a noisy attribute latent in, the attribute's v prediction out (4 + 4 -> 4 channels).

    Joint prediction of all five G-buffers in one pass is the same class with 20 + 4 channels in and 20 out.
    """

    @register_to_config
    def __init__(
        self,
        *,
        in_channels: int = 8,
        out_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        num_attention_heads: int | tuple[int, ...] = (5, 10, 20, 20),
        cross_attention_dim: int = 1024,
        layers_per_block: int = 2,
        addition_time_embed_dim: int = 256,
        projection_class_embeddings_input_dim: int = 768,
        num_attributes: int = 16,
    ) -> None:
        self._build("num_attributes")
        self.context_embedding = nn.Embedding(num_attributes, cross_attention_dim)

    def forward(  # type: ignore[override]  # takes an attribute, not an image's embedding
        self, sample: Tensor, timestep: Tensor | float, attribute: Tensor, added_time_ids: Tensor | None = None
    ) -> Tensor:
        """Predict v for the noisy latent then the RGB latent, (B, T, C_in, h, w), as (B, T, C_out, h, w).

        `timestep` is log(sigma) / 4, one number or (B,); `attribute` (B,) are rows of the table (int64);
        `added_time_ids` (B, 3) defaults to the published ones.
        """
        ids = self._time_ids(sample, added_time_ids)
        if attribute.shape != sample.shape[:1]:
            raise InputError(f"attribute is {tuple(attribute.shape)}, expected one row per clip: ({len(sample)},)")
        token = self.context_embedding(attribute).unsqueeze(1).to(sample.dtype)  # (B, width) -> (B, 1, width)
        return super().forward(sample, timestep, token, ids, return_dict=False)[0]


class ForwardUNet(_PublishedUNet):
    """A noisy latent with its conditions and light features of four levels in, the v prediction out (24 -> 4)."""

    @register_to_config
    def __init__(
        self,
        *,
        in_channels: int = 24,
        out_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        num_attention_heads: int | tuple[int, ...] = (5, 10, 20, 20),
        layers_per_block: int = 2,
        addition_time_embed_dim: int = 256,
        projection_class_embeddings_input_dim: int = 768,
    ) -> None:
        self._build(cross_attention_dim=tuple(block_out_channels))  # a level's light features are as wide as the level
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            for index, attention in enumerate(getattr(block, "attentions", ())):
                block.attentions[index] = LightTransformer(
                    attention.num_attention_heads,
                    attention.attention_head_dim,
                    attention.in_channels,
                    num_layers=len(attention.transformer_blocks),
                    cross_attention_dim=attention.in_channels,
                )

    def forward(  # type: ignore[override]  # takes light, level by level
        self, sample: Tensor, timestep: Tensor | float, light: Sequence[Tensor], added_time_ids: Tensor | None = None
    ) -> Tensor:
        """Predict v for the noisy latent then the conditions, (B, T, C_in, h, w), as (B, T, C_out, h, w).

        `light` holds one (B*T, n_i, block_out_channels[i]) for every level i, finest first; zeros mean "no light".
        `timestep` is log(sigma) / 4, one number or (B,); `added_time_ids` (B, 3) defaults to the published ones.
        """
        ids = self._time_ids(sample, added_time_ids)
        batch, frames = sample.shape[:2]
        self._check_light(light, batch * frames)
        shared = {
            "temb": self._time_embedding(sample, timestep, ids),
            "image_only_indicator": torch.zeros(batch, frames, dtype=sample.dtype, device=sample.device),
        }
        hidden = self.conv_in(sample.flatten(0, 1))  # (B, T, C, h, w) -> (B*T, C, h, w)
        skips = [hidden]
        block: Any
        for level, block in enumerate(self.down_blocks):
            hidden, added = block(hidden, **shared, **_light_of(block, light[level]))
            skips.extend(added)
        hidden = self.mid_block(hidden, **shared, encoder_hidden_states=light[-1])
        for level, block in zip(reversed(range(len(light))), self.up_blocks, strict=True):
            count = len(block.resnets)
            taken, skips = tuple(skips[-count:]), skips[:-count]
            size = skips[-1].shape[-2:] if skips else None  # of the next finer level, odd sizes included
            hidden = block(
                hidden, res_hidden_states_tuple=taken, upsample_size=size, **shared, **_light_of(block, light[level])
            )
        output = self.conv_out(self.conv_act(self.conv_norm_out(hidden)))
        return output.unflatten(0, (batch, frames))  # (B*T, C, h, w) -> (B, T, C, h, w)

    def _time_embedding(self, sample: Tensor, timestep: Tensor | float, ids: Tensor) -> Tensor:
        """Embedding of noise level and time ids, one per frame: (B*T, E)."""
        batch, frames = sample.shape[:2]
        times = torch.as_tensor(timestep, device=sample.device).expand(batch)
        embedding = self.time_embedding(self.time_proj(times).to(sample.dtype))  # (B, E)
        parts = self.add_time_proj(ids.flatten()).view(batch, -1).to(sample.dtype)  # (B*3, D) -> (B, 3*D)
        embedding = embedding + self.add_embedding(parts)
        return embedding.repeat_interleave(frames, dim=0, output_size=batch * frames)  # (B, E) -> (B*T, E)

    def _check_light(self, light: Sequence[Tensor], images: int) -> None:
        widths = tuple(self.config["block_out_channels"])
        shapes = [tuple(level.shape) for level in light]
        fits = [shape[0] == images and shape[-1] == width for shape, width in zip(shapes, widths, strict=False)]
        if len(shapes) != len(widths) or not all(fits):
            expected = ", ".join(f"({images}, n, {width})" for width in widths)
            raise InputError(f"light features have shapes {shapes}, expected one per level: {expected}")


class LightTransformer(TransformerSpatioTemporalModel):
    """diffusers' spatio-temporal transformer without cross-attention over time.

    diffusers' own forward copies the context once for every pixel to serve that attention: with thousands of light
    tokens instead of SVD's one, that alone would take tens of gigabytes. Here it never exists.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """As diffusers' class; then what the published forward renderer does not have is removed."""
        super().__init__(*arguments, **keywords)
        block: Any
        for block in self.temporal_transformer_blocks:
            block.norm2 = None
            block.attn2 = None

    def forward(  # type: ignore[override]  # always a tuple
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        image_only_indicator: Tensor,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """Transform (B*T, C, h, w) under keys and values (B*T, n, W), as a 1-tuple of the same shape."""
        images, _, height, width = hidden_states.shape
        batch, frames = image_only_indicator.shape
        tokens = self.norm(hidden_states).flatten(2).transpose(1, 2)  # (B*T, C, h, w) -> (B*T, h*w, C)
        tokens = self.proj_in(tokens)
        index = torch.arange(frames, device=tokens.device).repeat(batch)  # (B*T,)
        position = self.time_pos_embed(self.time_proj(index).to(tokens.dtype)).unsqueeze(1)  # (B*T, 1, C)
        again: Any = self._gradient_checkpointing_func if self.gradient_checkpointing else None
        for spatial, temporal in zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True):
            if again and torch.is_grad_enabled():
                tokens = again(spatial, tokens, None, encoder_hidden_states)
                mixed = again(temporal, tokens + position, frames)
            else:
                tokens = spatial(tokens, encoder_hidden_states=encoder_hidden_states)
                mixed = temporal(tokens + position, num_frames=frames)
            tokens = self.time_mixer(x_spatial=tokens, x_temporal=mixed, image_only_indicator=image_only_indicator)
        output = self.proj_out(tokens).transpose(1, 2).reshape(images, -1, height, width)  # -> (B*T, C, h, w)
        return (output + hidden_states,)


def _light_of(block: nn.Module, features: Tensor) -> dict[str, Tensor]:
    """The keyword by which a block takes its level's light, if it attends at all."""
    return {"encoder_hidden_states": features} if getattr(block, "has_cross_attention", False) else {}
