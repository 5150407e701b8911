"""Narrow `svd` checkpoints: the published classes, layout and file formats at 1/10 of the width, with random weights.

    folder = narrow_checkpoint(tmp_path / "inverse", "inverse")             # or "forward", "lighting"
    folder = narrow_checkpoint(tmp_path / "bare", "forward", bare=True)     # as published: no entries of our own

Weights come from a seeded generator, scaled so that activations neither vanish nor blow up. One pass over 4 frames of
64 x 64 takes well under a tenth of a second on one core.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import nn

from renderers.sampling.samplers import default_scheduler
from renderers.svd import environment_encoder, lora
from renderers.svd.environment_encoder import EnvironmentEncoder
from renderers.svd.unet import ForwardUNet, InverseUNet

Kind = Literal["inverse", "forward", "lighting"]
WIDTHS = (32, 64, 96, 96)  # 96: three values or more in a norm's group even at 1 x 1, or rounding is blown up
UNET: dict[str, Any] = {
    "block_out_channels": WIDTHS,
    "num_attention_heads": (1, 2, 3, 3),
    "layers_per_block": 1,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 96,
}
JOINT = {"in_channels": 24, "out_channels": 20}
ENCODER: dict[str, Any] = {"block_out_channels": WIDTHS, "layers_per_block": 1}


def randomize(module: nn.Module, seed: int) -> nn.Module:
    """Fill every tensor from a generator seeded with `seed`; norms near 1, biases near 0, weights by fan-in."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(module.named_parameters()):
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim >= 2 and "embedding.weight" not in name:
                tensor.copy_(noise * tensor[0].numel() ** -0.5)
            elif name.endswith("weight") and tensor.ndim == 1:
                tensor.copy_(1.0 + 0.1 * noise)
            else:
                tensor.copy_(noise if tensor.ndim >= 2 else 0.1 * noise)
    return module.eval()


def narrow_inverse(seed: int = 0, *, joint: bool = False) -> InverseUNet:
    """A narrow inverse UNet: 8 channels in, 4 out; 24 in, 20 out where `joint`."""
    return randomize(InverseUNet(cross_attention_dim=64, **(JOINT if joint else {}), **UNET), seed)


def narrow_forward(seed: int = 0) -> ForwardUNet:
    """A narrow forward UNet: 24 channels in, 4 out."""
    return randomize(ForwardUNet(**UNET), seed)


def narrow_lighting(seed: int = 0) -> ForwardUNet:
    """A narrow lighting UNet: noisy E_ldr and E_log (8) and E_dir (4) in, 8 out."""
    return randomize(ForwardUNet(in_channels=12, out_channels=8, **UNET), seed)


def narrow_encoder(seed: int = 0, in_channels: int = 12) -> EnvironmentEncoder:
    """A narrow environment encoder; with 4 channels a direction encoder, or one of a video without G-buffers."""
    return randomize(EnvironmentEncoder(in_channels=in_channels, **ENCODER), seed)


def narrow_decoder(seed: int = 0) -> environment_encoder.EnvironmentDecoder:
    """A narrow environment decoder."""
    return randomize(environment_encoder.EnvironmentDecoder(attention_head_dim=32, **ENCODER), seed)


def narrow_vae(seed: int = 0) -> AutoencoderKLTemporalDecoder:
    """A narrow autoencoder of SVD's class: eight pixels a latent, 4 latent channels."""
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4, block_out_channels=(32,) * 4, layers_per_block=1
    )
    return randomize(vae, seed)


def narrow_lora(unet: Any, seed: int = 0, rank: int = 4) -> None:
    """Give `unet` a LoRA with random A and B, so that its scale shows."""
    lora.add_lora(unet, rank, generator=torch.Generator().manual_seed(seed))
    for index, parameter in enumerate(lora.lora_parameters(unet)):
        generator = torch.Generator().manual_seed(seed + index)
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)


def narrow_checkpoint(
    folder: Path,
    kind: Kind,
    *,
    seed: int = 0,
    joint: bool = False,
    sampler: str = "diffusion",
    with_lora: bool = True,
    with_decoder: bool = False,
    bare: bool = False,
) -> Path:
    """Write a narrow checkpoint in the published layout and return its folder.

    unet, vae, scheduler and model_index.json; env_encoder too for forward and lighting (there it encodes the video
    and its G-buffers, 24 channels); lora for forward; env_decoder and nrm_encoder on request. `bare` writes
    model_index.json and class names as a published folder has them, without any entry of ours.
    """
    unets = {"forward": narrow_forward, "lighting": narrow_lighting}
    unet: Any = narrow_inverse(seed, joint=joint) if kind == "inverse" else unets[kind](seed)
    parts: dict[str, Any] = {"unet": unet, "vae": narrow_vae(seed + 1), "scheduler": default_scheduler()}
    if kind != "inverse":
        parts["env_encoder"] = narrow_encoder(seed + 2, in_channels=12 if kind == "forward" else 24)
    if with_decoder:
        parts["env_decoder"] = narrow_decoder(seed + 3)
        parts["nrm_encoder"] = narrow_encoder(seed + 4, in_channels=4)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    if kind == "forward" and with_lora:
        narrow_lora(unet, seed + 5)
        lora.save_lora(unet, folder / "lora")
    index: dict[str, Any] = {"_class_name": f"{kind.capitalize()}Renderer", "_diffusers_version": "0.42.0"}
    for name, part in parts.items():
        library = "diffusers" if name in ("vae", "scheduler") else type(part).__module__
        index[name] = [library, type(part).__name__]
    if bare:
        _make_bare(folder, index)
    else:
        index |= {"kind": kind, "backbone": "svd", "sampler": sampler, "prediction": "v", "joint": joint}
        index |= {"hints": False, "attributes": ["basecolor", "normal", "depth", "roughness", "metallic"]}
        index |= {"training": {}, "licence": "Apache-2.0"}
        if kind != "inverse":
            index["environment_size"] = [64, 64]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    return folder


def _make_bare(folder: Path, index: dict[str, Any]) -> None:
    """Name classes as a stranger's checkpoint does: of its own code, which nobody else has."""
    index["_class_name"] = "DiffusionRendererPipeline"
    for name in ("unet", "env_encoder", "env_decoder", "nrm_encoder"):
        if name in index:
            index[name] = ["their_code", "Their" + index[name][1]]
            path = folder / name / "config.json"
            config = json.loads(path.read_text()) | {"_class_name": index[name][1]}
            path.write_text(json.dumps(config, indent=2) + "\n")
