"""Seconds and peak memory of the cosmos networks and their autoencoder at real size, random bfloat16 weights.

    python -m benchmarks.cosmos_cost        # needs CUDA and 24 GB

One pass of each network, folded and whole, for one attribute or picture; a denoising step is one pass. Beside it stands
what `renderers.cosmos.memory_planner` reckons with for all that is on the GPU, autoencoder included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from benchmarks.renderers import created_on, timed
from renderers.cosmos.cosmos_autoencoder import CosmosAutoencoder
from renderers.cosmos.cosmos_backbone import TRAINED, CosmosBackbone
from renderers.cosmos.cosmos_transformer import CosmosForwardTransformer, CosmosInverseTransformer
from renderers.cosmos.memory_planner import needs

SHAPES = ((57, *TRAINED), (25, 512, 512), (1, *TRAINED))
"""Frames, height, width."""
Made = tuple[Literal["inverse", "forward"], bool]


def made(kind: str, folded: bool, device: torch.device, **config: Any) -> Any:
    """A network with random weights; `config` makes it narrower."""
    network = CosmosInverseTransformer if kind == "inverse" else CosmosForwardTransformer
    with created_on(device, torch.bfloat16):
        return network(folded=folded, **config).eval().requires_grad_(False)


def one_pass(network: Any, frames: int, height: int, width: int) -> Callable[[int], object]:
    """What runs the network once on latents of so many pictures, whatever number of steps it is told."""
    place = next(network.parameters())
    shape = (1, CosmosBackbone().cells(frames), network.config.in_channels, height // 8, width // 8)
    sample = torch.randn(shape, device=place.device, dtype=place.dtype)
    rows = (torch.zeros(1, dtype=torch.int64, device=place.device),)
    return lambda _: network(sample, 0.3, *(rows if isinstance(network, CosmosInverseTransformer) else ()))


def coded(vae: Any, frames: int, height: int, width: int) -> Callable[[int], object]:
    """What encodes and decodes a clip."""
    place = next(vae.parameters())
    clip = torch.rand((1, 3, frames, height, width), device=place.device, dtype=place.dtype)
    return lambda _: vae.decode(vae.encode(clip).latent_dist.mode()).sample


@torch.no_grad()
def main() -> None:
    """Print a table."""
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here")
    device = torch.device("cuda")
    properties = torch.cuda.get_device_properties(device)
    print(f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, torch {torch.__version__}, bfloat16")
    print("| what | frames | size | seconds | peak GB | planned GB |\n|---|---|---|---|---|---|")
    wanted: list[Made] = [(kind, folded) for kind in ("inverse", "forward") for folded in (True, False)]
    for kind, folded in wanted:
        network = made(kind, folded, device)
        for shape in SHAPES:
            planned = f"{needs(kind, *shape)[0].gigabytes:.1f}" if folded else ""
            row(f"{kind}, {'folded' if folded else 'whole'}", shape, one_pass(network, *shape), planned)
        del network
        torch.cuda.empty_cache()
    with created_on(device, torch.bfloat16):
        vae = CosmosAutoencoder().eval()
    for shape in SHAPES:
        row("autoencoder, both ways", shape, coded(vae, *shape), "")


def row(what: str, shape: tuple[int, int, int], run: Callable[[int], object], planned: str) -> None:
    """Print one line; running out of memory is a result too."""
    frames, height, width = shape
    try:
        seconds, gib = timed(run, 1, 3)
        cost = f"{seconds:.2f} | {gib * 2**30 / 1e9:.1f}"
    except torch.OutOfMemoryError:
        cost = "out of memory |"
    print(f"| {what} | {frames} | {height}x{width} | {cost} | {planned} |", flush=True)


if __name__ == "__main__":
    main()
