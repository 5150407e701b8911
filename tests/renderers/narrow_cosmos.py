"""Narrow `cosmos` networks, autoencoder, and files as they are published: the published classes, two blocks of 48."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from renderers.cosmos.cosmos_autoencoder import CosmosAutoencoder
from renderers.cosmos.cosmos_transformer import CosmosForwardTransformer, CosmosInverseTransformer
from tests.renderers.narrow import randomize

HEADS = 2
NETWORK: dict[str, Any] = {
    "num_attention_heads": HEADS,
    "attention_head_dim": 24,
    "num_layers": 2,
    "mlp_ratio": 2.0,
    "text_embed_dim": 16,
    "adaln_lora_dim": 8,
}
VAE: dict[str, Any] = {
    "encoder_block_out_channels": (8, 16, 16, 16),
    "decode_block_out_channels": (16, 16, 16, 16),
    "attention_resolutions": (),
    "resolution": 64,
    "num_layers": 1,
}
_PUBLISHED = (
    (r"patch_embed\.proj\.weight", "x_embedder.proj.1.weight"),
    (r"time_embed\.t_embedder\.(.*)", r"t_embedder.1.\1"),
    (r"time_embed\.norm\.weight", "affline_norm.weight"),
    (r"norm_out\.linear_(.)\.weight", r"final_layer.adaLN_modulation.\1.weight"),
    (r"proj_out\.weight", "final_layer.linear.weight"),
    (r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj\.weight", r"blocks.block\1.blocks.2.block.layer1.weight"),
    (r"transformer_blocks\.(\d+)\.ff\.net\.2\.weight", r"blocks.block\1.blocks.2.block.layer2.weight"),
)


def narrow_cosmos(kind: str, seed: int = 0, *, folded: bool = False, **config: Any) -> Any:
    """A narrow transformer of `kind`; adaptive norms are as strong as the rest, or gates would hide mistakes."""
    classes = {"inverse": CosmosInverseTransformer, "forward": CosmosForwardTransformer}
    return randomize(classes[kind](folded=folded, **NETWORK | config), seed)


def narrow_video_vae(seed: int = 1, *, images: bool = True) -> CosmosAutoencoder:
    """A narrow autoencoder, with statistics of single images unless `images` is false."""
    drawn = torch.randn(2, 16, generator=torch.Generator().manual_seed(seed))
    known = {"image_mean": drawn[0].tolist(), "image_std": drawn[1].exp().tolist()} if images else {}
    vae: CosmosAutoencoder = randomize(CosmosAutoencoder(**VAE, **known), seed)  # type: ignore[assignment]
    return vae


def as_published(network: Any) -> dict[str, Tensor]:
    """The tensors of a whole network by their published names, with what else a published file holds."""
    tensors = {f"net.{published_name(name)}": tensor for name, tensor in network.state_dict().items()}
    extra = {"net.pos_embedder.seq": torch.arange(128.0), "logvar.0.freqs": torch.ones(128)}
    return tensors | extra | {"logvar.0.phases": torch.ones(128), "logvar.1.weight": torch.ones(1, 128)}


def published_name(name: str) -> str:
    for pattern, published in _PUBLISHED:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, published, name)
    inside = re.fullmatch(r"transformer_blocks\.(\d+)\.(attn|norm)(\d)\.(.+)\.weight", name)
    if inside is None:
        return name
    block, what, number, rest = inside.groups()
    stage = int(number) - 1
    if what == "norm":
        return f"blocks.block{block}.blocks.{stage}.adaLN_modulation.{rest[-1]}.weight"
    layer = f"to_{rest[-1]}.1" if rest.startswith("norm_") else rest if rest == "to_out.0" else f"{rest}.0"
    return f"blocks.block{block}.blocks.{stage}.block.attn.{layer}.weight"


def published_folder(folder: Path, kind: str, *, seed: int = 0, images: bool = True) -> Path:
    """`model.pt` with a folder `vae` and, as they are published, the statistics of single images beside it."""
    folder.mkdir(parents=True)
    torch.save(as_published(narrow_cosmos(kind, seed)), folder / "model.pt")
    vae = narrow_video_vae()
    narrow_video_vae(images=False).save_pretrained(folder / "vae")
    if images:
        pair = (torch.tensor(vae.config["image_mean"]), torch.tensor(vae.config["image_std"]))
        torch.save(pair, folder / "image_mean_std.pt")
    return folder
