"""Which way of running the published cosmos networks fits a card: computed from their shapes, nothing is loaded.

Weights are counted on torch's meta device, in bfloat16. Activations are those of one block, as many tokens wide as it
holds at its peak; what the autoencoder needs for a picture, and beside it, others have measured on an RTX 4090. Nothing
was measured here: leave a card some room.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from renderers.backbones import BACKBONES
from renderers.base import Renderer
from renderers.checkpoints import reading
from renderers.cosmos.cosmos_autoencoder import CosmosAutoencoder
from renderers.cosmos.cosmos_backbone import TRAINED, CosmosBackbone
from renderers.cosmos.cosmos_transformer import PATCH, CosmosForwardTransformer, CosmosInverseTransformer

CARDS = (16, 24, 48, 80)
"""Gigabytes of common cards."""
RESERVED = 1.0
"""Gigabytes that driver, libraries and other windows take."""

_HALF = 2  # bytes
_WIDTHS = 15  # tokens held at once at a block's peak: input, positions, norm, gate, and the MLP's two of four widths
_PASS, _FRAME = 0.7e9, 0.105e9  # bytes that the autoencoder takes for a clip, and for each picture of the trained size
_SLICE = 512 * 512  # pixels that go through it at a time under `enable_vae_slicing()`
_WHOLE, _SLICED = "all on the GPU", "enable_vae_slicing()"
_BY_MODEL = "enable_model_cpu_offload(), enable_vae_slicing()"
_BY_BLOCK = "enable_group_offload() by block, enable_vae_slicing()"


@dataclass(frozen=True)
class MemoryNeed:
    """What one way of running takes of a card, in gigabytes; `stays` of it do so between two calls."""

    way: str
    gigabytes: float
    stays: float


def needs(kind: Literal["inverse", "forward"], frames: int, height: int, width: int) -> list[MemoryNeed]:
    """Ways of running a folded network on windows of `frames` pictures, the fastest first."""
    whole, block, wide = _sizes(kind)
    autoencoder = _autoencoder()
    cells = CosmosBackbone().cells(frames) * (height // (8 * PATCH)) * (width // (8 * PATCH))
    block_pass = _WIDTHS * _HALF * cells * wide
    pictures = _PASS + _FRAME * frames * height * width / (TRAINED[0] * TRAINED[1])
    tiles = _PASS + _FRAME * frames * min(_SLICE, height * width) / (TRAINED[0] * TRAINED[1])
    held = whole + autoencoder
    ways = (
        (_WHOLE, held + max(block_pass, pictures), held),
        (_SLICED, held + max(block_pass, tiles), held),
        (_BY_MODEL, max(whole + block_pass, autoencoder + tiles), 0),
        (_BY_BLOCK, max(2 * block + block_pass, autoencoder + tiles), 0),
    )
    return [MemoryNeed(way, size / 1e9, stays / 1e9) for way, size, stays in ways]


def advice(gigabytes: float) -> list[str]:
    """A line for each kind and length that says how it runs on a card of so many gigabytes."""
    lines = []
    for kind in ("inverse", "forward"):
        for frames in (1, CosmosBackbone.window):
            found = needs(kind, frames, *TRAINED)
            fits = next((need for need in found if need.gigabytes + RESERVED <= gigabytes), None)
            how = f"{fits.way}: {fits.gigabytes:.1f} GB" if fits else f"does not fit: {found[-1].gigabytes:.1f} GB"
            lines.append(f"{kind}, {frames} of {TRAINED[0]}x{TRAINED[1]}: {how}")
    return lines


def load_placed[R: Renderer](
    pipeline: type[R], source: str | Path, device: str | torch.device, dtype: torch.dtype | None = None
) -> R:
    """A checkpoint on `device`; one of `cosmos` on a GPU is loaded in bfloat16, and shares the GPU as it has to.

    Raises CheckpointError.
    """
    device = torch.device(device)
    root = reading.locate(source)
    family = BACKBONES.get(str(reading.read_json(root, reading.INDEX).get("backbone")))
    if family is None or not family.half or device.type != "cuda":
        return pipeline.from_pretrained(root, torch_dtype=dtype).to(device)
    renderer = pipeline.from_pretrained(root, torch_dtype=dtype or torch.bfloat16)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    place(renderer, device, free / 1e9)
    return renderer


def place(renderer: Any, device: torch.device, gigabytes: float) -> str:
    """Run `renderer` on `device` the fastest way that fits with another of its size; returns that way.

    Windows and pictures are as large as they were trained on. Where none fits, it is the smallest.
    """
    found = needs(renderer.kind, CosmosBackbone.window, *TRAINED)
    fitting = (need.way for need in found if need.gigabytes + need.stays + RESERVED <= gigabytes)
    way = next(fitting, _BY_BLOCK)
    if way != _WHOLE:
        renderer.enable_vae_slicing()
    if way == _BY_MODEL:
        renderer.enable_model_cpu_offload(device=device)
    elif way == _BY_BLOCK:
        renderer.enable_group_offload(onload_device=device, offload_type="block_level", num_blocks_per_group=1)
    else:
        renderer.to(device)
    return way


@functools.cache
def _sizes(kind: Literal["inverse", "forward"]) -> tuple[int, int, int]:
    """Bytes of the whole network and of one block, and its width."""
    with torch.device("meta"):
        network = (CosmosInverseTransformer if kind == "inverse" else CosmosForwardTransformer)(folded=True)
    whole = sum(parameter.numel() for parameter in network.parameters())
    block = sum(parameter.numel() for parameter in network.transformer_blocks[0].parameters())
    return _HALF * whole, _HALF * block, network.proj_out.in_features


@functools.cache
def _autoencoder() -> int:
    """Its bytes."""
    with torch.device("meta"):
        return _HALF * sum(parameter.numel() for parameter in CosmosAutoencoder().parameters())
