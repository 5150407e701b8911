"""The two transformers of the published 7 B checkpoints, on diffusers' CosmosTransformer3DModel.

Tensors have diffusers' names (`published_weights` renames the published ones). What diffusers' class lacks is added:

- a position embedding without weights, sines and cosines of the patch index along time, height and width, concatenated,
  not normalised, and added before every block;
- the inverse renderer's only context, a row of an attribute table (16 x 1024, `context_embedding.weight`). Published
  code repeats it 512 times; equal keys share attention evenly, so one says the same;
- the forward renderer's context is zeros: it has no text.

The noisy latents come first, then the conditions, then diffusers' padding mask, which is zero everywhere.

A network can be *folded*: with zeros for context and no biases, the forward renderer's cross-attention gives zero, and
with one row of a table the inverse renderer's gives one vector per block and attribute, whatever asks. Neither is
computed then: 18 % of the forward renderer's parameters, and 17 % of the inverse one's, need not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_cosmos import CosmosTransformer3DModel, CosmosTransformerBlock
from torch import Tensor, nn
from torch.nn import functional

from manifests.errors import InputError
from renderers.cosmos.cosmos_autoencoder import OwnSettings
from renderers.svd.lora import checkpointed

LATENT_CHANNELS = 16
FPS = 24
"""What the published networks were always told, so that time is counted in latent frames."""
PATCH = 2


class SincosPositions(nn.Module):
    """Sines and cosines of every patch's index along time, height and width, in this order along the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        side = width // 6 * 2
        self.widths = (width - 2 * side, side, side)

    def forward(self, latents: Tensor) -> Tensor:
        """(1, T * h/2 * w/2, width) for latents (B, C, T, h, w), in their type; made anew, so never garbage."""
        sizes = (latents.shape[2], latents.shape[3] // PATCH, latents.shape[4] // PATCH)
        axes = []
        for axis, (size, width) in enumerate(zip(sizes, self.widths, strict=True)):
            index = torch.arange(size, device=latents.device, dtype=torch.float32)
            half = torch.arange(width // 2, device=latents.device, dtype=torch.float32)
            angle = index[:, None] * 10_000.0 ** (-half / (width / 2))  # (size, width / 2)
            table = torch.cat([angle.sin(), angle.cos()], dim=1)
            axes.append(table.view(*[size if n == axis else 1 for n in range(3)], width).expand(*sizes, width))
        return torch.cat(axes, dim=-1).flatten(0, 2).unsqueeze(0).type_as(latents)


class GateOnly(nn.Module):
    """What is left of a cross-attention's adaptive norm when its answer is known: the gate."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, rank, bias=False)
        self.linear_2 = nn.Linear(rank, width, bias=False)

    def forward(self, embedded: Tensor, shared: Tensor) -> Tensor:
        """(B, width) of the time's embedding (B, width) and the vector (B, 3 width) that all norms share."""
        return self.linear_2(self.linear_1(functional.silu(embedded))) + shared.chunk(3, dim=-1)[2]


class FoldedBlock(CosmosTransformerBlock):
    """diffusers' block with its cross-attention folded: one vector per attribute, or nothing (`attributes` 0)."""

    norm2: Any
    attn2: Any

    def __init__(self, *, attributes: int, rank: int, **config: Any) -> None:
        super().__init__(adaln_lora_dim=rank, **config)
        width = self.attn1.query_dim
        self.norm2 = GateOnly(width, rank) if attributes else None
        self.attn2 = nn.Embedding(attributes, width) if attributes else None

    def forward(  # type: ignore[override]  # takes rows of the table, or nothing, for context
        self,
        hidden: Tensor,
        rows: Tensor | None,
        embedded: Tensor,
        shared: Tensor,
        rotary: Any = None,
        positions: Tensor | None = None,
        *_: Any,
    ) -> Tensor:
        """As diffusers' block: (B, n, width) in and out."""
        assert positions is not None
        hidden = hidden + positions
        normed, gate = self.norm1(hidden, embedded, shared)
        hidden = hidden + gate * self.attn1(normed, image_rotary_emb=rotary)
        if rows is not None and self.norm2 is not None:
            hidden = hidden + (self.norm2(embedded, shared) * self.attn2(rows)).unsqueeze(1)
        normed, gate = self.norm3(hidden, embedded, shared)
        return hidden + gate * self.ff(normed)


class _CosmosTransformer(OwnSettings, CosmosTransformer3DModel):  # type: ignore[misc]  # diffusers is untyped
    """What both transformers share."""

    learnable_pos_embed: Any
    _no_split_modules: list[str] = ["CosmosTransformerBlock", "FoldedBlock"]  # noqa: RUF012  (as diffusers has it)
    _keep_in_fp32_modules: list[str] = []  # noqa: RUF012

    def _build(self, conditions: int, attributes: int, config: Mapping[str, Any]) -> None:
        """The network with `conditions` channels beside the noisy ones; folded ones have `attributes` per block."""
        folded = config["folded"]
        width = config["num_attention_heads"] * config["attention_head_dim"]
        super().__init__(
            in_channels=LATENT_CHANNELS + conditions,
            num_attention_heads=config["num_attention_heads"],
            attention_head_dim=config["attention_head_dim"],
            num_layers=0 if folded else config["num_layers"],
            mlp_ratio=config["mlp_ratio"],
            text_embed_dim=config["text_embed_dim"],
            adaln_lora_dim=config["adaln_lora_dim"],
            rope_scale=(1.0, 1.0, 1.0),
            extra_pos_embed_type="sincos",
        )
        self.learnable_pos_embed = SincosPositions(width)  # diffusers' class calls it by this name
        if folded:
            self.register_to_config(num_layers=config["num_layers"])
            self.transformer_blocks = nn.ModuleList(
                FoldedBlock(
                    attributes=attributes,
                    rank=config["adaln_lora_dim"],
                    num_attention_heads=config["num_attention_heads"],
                    attention_head_dim=config["attention_head_dim"],
                    cross_attention_dim=8,  # of a layer that is thrown away
                    mlp_ratio=config["mlp_ratio"],
                )
                for _ in range(config["num_layers"])
            )

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: Callable[..., Any] | None = None) -> None:
        """As diffusers', but layers are computed again at the LoRA scale of their forward pass."""
        super().enable_gradient_checkpointing(gradient_checkpointing_func or checkpointed)

    def _predict(self, sample: Tensor, timestep: Tensor | float, context: Tensor | None) -> Tensor:
        """F (B, T, 16, h, w) of noisy latents and conditions (B, T, C, h, w), at one time or (B,) of them."""
        channels, largest = self.config["in_channels"], self.config["max_size"]
        if sample.ndim != 5 or sample.shape[2] != channels:
            raise InputError(
                f"noisy latent and conditions are {tuple(sample.shape)}, expected (B, T, {channels}, h, w)"
            )
        frames, _, *size = sample.shape[1:]
        if any(side % PATCH for side in size) or frames > largest[0] or max(size) > largest[1]:
            raise InputError(
                f"{frames} frames of {size[0]}x{size[1]} latents are not what the network takes",
                f"sides are even and at most {largest[1]}, frames at most {largest[0]}: cut larger videos into tiles",
            )
        times = torch.as_tensor(timestep, device=sample.device).to(sample.dtype).expand(len(sample))
        output = super().forward(
            sample.transpose(1, 2),  # (B, T, C, h, w) -> (B, C, T, h, w)
            times,
            context,  # type: ignore[arg-type]  # folded blocks take none
            fps=FPS,
            padding_mask=sample.new_zeros(1, 1, *size),
            return_dict=False,
        )[0]
        return output.transpose(1, 2)


class CosmosInverseTransformer(_CosmosTransformer):
    """Noisy attribute latents and RGB latents in (16 + 16 channels), the network's output F (16) out."""

    @register_to_config
    def __init__(
        self,
        *,
        num_attention_heads: int = 32,
        attention_head_dim: int = 128,
        num_layers: int = 28,
        mlp_ratio: float = 4.0,
        text_embed_dim: int = 1024,
        adaln_lora_dim: int = 256,
        num_attributes: int = 16,
        folded: bool = False,
    ) -> None:
        self._build(LATENT_CHANNELS, num_attributes, {**self.config})
        if not folded:
            self.context_embedding = nn.Embedding(num_attributes, text_embed_dim)

    def forward(  # type: ignore[override]  # takes an attribute, not a text
        self, sample: Tensor, timestep: Tensor | float, attribute: Tensor
    ) -> Tensor:
        """F (B, T, 16, h, w) for the noisy latents then the RGB latents, (B, T, 32, h, w).

        `timestep` is log(sigma) / 4 with sigma in units of latents of deviation 0.5; `attribute` (B,) are rows (int64).
        """
        if attribute.shape != sample.shape[:1]:
            raise InputError(f"attribute is {tuple(attribute.shape)}, expected one row per clip: ({len(sample)},)")
        folded = self.config["folded"]
        context = attribute if folded else self.context_embedding(attribute).unsqueeze(1).to(sample.dtype)
        return self._predict(sample, timestep, context)


class CosmosForwardTransformer(_CosmosTransformer):
    """Noisy picture latents and eight conditions in (16 + 8 x 17 channels), the network's output F (16) out."""

    @register_to_config
    def __init__(
        self,
        *,
        num_attention_heads: int = 32,
        attention_head_dim: int = 128,
        num_layers: int = 28,
        mlp_ratio: float = 4.0,
        text_embed_dim: int = 1024,
        adaln_lora_dim: int = 256,
        folded: bool = False,
    ) -> None:
        self._build(8 * (LATENT_CHANNELS + 1), 0, {**self.config})

    def forward(  # type: ignore[override]  # takes no text
        self, sample: Tensor, timestep: Tensor | float
    ) -> Tensor:
        """F (B, T, 16, h, w) for the noisy latents then the conditions, (B, T, 152, h, w); `timestep` as the other."""
        context = None if self.config["folded"] else sample.new_zeros(len(sample), 1, self.config["text_embed_dim"])
        return self._predict(sample, timestep, context)


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the folded network that gives the same, out of those of a whole one; others are shared."""
    table = state.get("context_embedding.weight")
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        block = name.split(".norm2.")[0].split(".attn2.")[0]
        if name == "context_embedding.weight" or (table is None and block != name):
            continue
        if block == name or name.endswith(".norm2.linear_1.weight"):
            kept[name] = tensor
        elif name.endswith(".norm2.linear_2.weight"):
            kept[name] = tensor.chunk(3)[2].contiguous()  # shift, scale, gate
        elif name.endswith(".attn2.to_v.weight"):
            assert table is not None
            values = table.float() @ tensor.float().T  # (attributes, width)
            kept[f"{block}.attn2.weight"] = values @ state[f"{block}.attn2.to_out.0.weight"].float().T
    return kept


def folded(network: CosmosInverseTransformer | CosmosForwardTransformer) -> Any:
    """The folded network with the weights of a whole one, in its type; equal but for rounding."""
    with torch.device("meta"):
        small: Any = type(network).from_config({**network.config, "folded": True})
    state = {name: tensor.to(network.dtype) for name, tensor in fold(network.state_dict()).items()}
    small.load_state_dict(state, assign=True)
    return small.eval()
