"""Which way of running the published cosmos networks fits a card: computed from their shapes, nothing is loaded.

Weights are counted on torch's meta device, in bfloat16. Activations are those of one block, as many tokens wide as it
holds at its peak; what the autoencoder needs for a picture, and beside it, others have measured on an RTX 4090. Nothing
was measured here: leave a card some room.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch

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


@dataclass(frozen=True)
class MemoryNeed:
    """What one way of running takes of a card, in gigabytes."""

    way: str
    gigabytes: float


def needs(kind: Literal["inverse", "forward"], frames: int, height: int, width: int) -> list[MemoryNeed]:
    """Ways of running a folded network on windows of `frames` pictures, the fastest first."""
    whole, block, wide = _sizes(kind)
    autoencoder = _autoencoder()
    cells = CosmosBackbone().cells(frames) * (height // (8 * PATCH)) * (width // (8 * PATCH))
    block_pass = _WIDTHS * _HALF * cells * wide
    pictures = _PASS + _FRAME * frames * height * width / (TRAINED[0] * TRAINED[1])
    tiles = _PASS + _FRAME * frames * min(_SLICE, height * width) / (TRAINED[0] * TRAINED[1])
    ways = {
        "all on the GPU": whole + autoencoder + max(block_pass, pictures),
        "enable_vae_slicing()": whole + autoencoder + max(block_pass, tiles),
        "enable_model_cpu_offload(), enable_vae_slicing()": max(whole + block_pass, autoencoder + tiles),
        "enable_group_offload() by block, enable_vae_slicing()": max(2 * block + block_pass, autoencoder + tiles),
    }
    return [MemoryNeed(way, size / 1e9) for way, size in ways.items()]


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
