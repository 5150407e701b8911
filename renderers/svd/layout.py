"""What goes where in the published checkpoints: channel orders, scaled latents, rows of the attribute table, folders.

A network cannot tell a wrong order from bad data, so every order stands here once; pipelines and training take it from
here. All latents are those of the image autoencoder, 4 channels each, as videos (B, T, 4, h, w), and a UNet's input is
the noisy latent, then its conditions:

    inverse     4 noisy + 4 rgb                                                         -> 4
    joint       5 x 4 noisy + 4 rgb                                                     -> 20   our own
    forward     4 noisy + 5 x 4 G-buffers; light: ldr, log, dir through env_encoder     -> 4
    lighting    2 x 4 noisy (ldr, log) + 4 dir; video and, if given, its five G-buffers
                through env_encoder                                                     -> 8    our own

A published folder holds unet, vae, scheduler and model_index.json; forward ones also env_encoder and lora, and for
pre-training env_decoder and nrm_encoder.

The attribute embedding table (16 x 1024) is a tensor of the inverse UNet, the 1,429th of the published list
(`context_embedding.weight`), so a bare published folder needs nothing beside it. The table can also be kept alone in
a small file, `attribute_table.safetensors` with that one tensor, and put into any inverse UNet of the same width: SVD's
own UNet, from which training starts, has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.errors import CheckpointError, InputError
from renderers.svd.unet import InverseUNet

LATENT_CHANNELS = 4
LIGHT = ("ldr", "log", "dir")
"""Order of a frame's light images in the environment encoder's input."""
SCALED: Mapping[str, bool] = {"rgb": False, **dict.fromkeys(GBUFFERS, True), **dict.fromkeys(LIGHT, True)}
"""Whether a condition's latent is multiplied by the autoencoder's scaling factor.

SVD's own convention leaves the RGB latent as it is; the forward renderer scales the G-buffers (both: behaviour of the
released code). For light images that is unknown: scaled here, as the G-buffers are. What is denoised always is.
"""
UNET_CHANNELS: Mapping[str, Mapping[str, int]] = {
    "inverse": {"in_channels": 8, "out_channels": 4},
    "joint": {"in_channels": 24, "out_channels": 20},
    "forward": {"in_channels": 24, "out_channels": 4},
    "lighting": {"in_channels": 12, "out_channels": 8},
}
"""Configuration of the UNet by what it does."""
JOINT_ROW = 15
"""Row of the attribute table that asks for all five G-buffers at once; the published rows end at 5."""
ATTRIBUTE_TABLE = "attribute_table.safetensors"

LORA_FOLDER = "lora"

_TENSOR = "context_embedding.weight"


def condition(name: str, latent: Tensor, scaling: float) -> Tensor:
    """The latent of `name` (rgb, a G-buffer, or one of LIGHT) as a network takes it for a condition."""
    return latent * scaling if SCALED[name] else latent


def inverse_input(noisy: Tensor, rgb: Tensor) -> Tensor:
    """Input of the inverse UNet, (B, T, 8, h, w), or 24 channels for joint prediction: noisy, then RGB."""
    return torch.cat([noisy, rgb], dim=2)


def light_input(light: Mapping[str, Tensor]) -> Tensor:
    """Input of the environment encoder, (B, T, 12, h, w): ldr, log, dir."""
    missing = [name for name in LIGHT if name not in light]
    if missing:
        raise InputError(f"light lacks {', '.join(missing)}", f"all of {', '.join(LIGHT)} are needed")
    return torch.cat([light[name] for name in LIGHT], dim=2)


def attribute_rows(names: Sequence[str]) -> Tensor:
    """Rows of the attribute table for `names`, (len(names),) int64; "joint" is the row of all five at once."""
    rows = []
    for name in names:
        row = JOINT_ROW if name == "joint" else ATTRIBUTES[name].embedding if name in ATTRIBUTES else None
        if row is None:
            known = [entry.name for entry in ATTRIBUTES.values() if entry.embedding is not None]
            raise InputError(f"unknown attribute {name!r}", f"an inverse renderer predicts {', '.join(known)}")
        rows.append(row)
    return torch.tensor(rows, dtype=torch.int64)


def save_attribute_table(unet: InverseUNet, path: Path) -> None:
    """Write the UNet's attribute embedding table alone."""
    save_file({_TENSOR: unet.context_embedding.weight.detach().cpu().contiguous()}, path)


def load_attribute_table(unet: InverseUNet, path: Path) -> None:
    """Put the table of a file into `unet`; raises CheckpointError if the file is not such a table or does not fit."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"not readable as safetensors ({error})", "give a saved attribute table", where=path
        ) from error
    weight = unet.context_embedding.weight
    table = tensors.get(_TENSOR)
    if table is None or table.shape != weight.shape:
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise CheckpointError(f"holds {shapes}, expected {_TENSOR} of shape {tuple(weight.shape)}", where=path)
    with torch.no_grad():
        weight.copy_(table)
