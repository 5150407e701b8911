"""The published Cosmos transformers in plain torch, one clip at a time, from their formulas and by their own names.

Slow and literal on purpose: nothing of diffusers, nothing of `renderers.cosmos`. Arithmetic is float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

PATCH = 2


def transformer(
    tensors: Mapping[str, Tensor], noisy: Tensor, condition: Tensor, time: float, context: Tensor, heads: int
) -> Tensor:
    """F (16, T, h, w) of noisy latents (16, T, h, w), already scaled, conditions (C, T, h, w), context (n, width)."""
    net = {name.removeprefix("net."): tensor.double() for name, tensor in tensors.items()}
    padding = torch.zeros(1, *noisy.shape[1:])
    x = torch.cat([noisy, condition, padding]).double()
    frames, rows, columns = x.shape[1], x.shape[2] // PATCH, x.shape[3] // PATCH
    cells = [(t, i, j) for t in range(frames) for i in range(rows) for j in range(columns)]
    patches = [x[:, t, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1) for t, i, j in cells]  # channel, row, column
    hidden = torch.stack(patches) @ net["x_embedder.proj.1.weight"].T
    width = hidden.shape[1]
    angles = torch.tensor([time * 10_000 ** (-i / (width // 2)) for i in range(width // 2)], dtype=torch.float64)
    sines = torch.cat([angles.cos(), angles.sin()])
    shared = net["t_embedder.1.linear_2.weight"] @ silu(net["t_embedder.1.linear_1.weight"] @ sines)
    embedded = rms(sines) * net["affline_norm.weight"]
    positions = torch.stack([sincos(cell, width) for cell in cells])
    turn = torch.stack([rotary(cell, width // heads) for cell in cells])  # angles (n, head / 2)

    def norm(name: str, parts: int) -> list[Tensor]:
        two = net[f"{name}.adaLN_modulation.2.weight"] @ (net[f"{name}.adaLN_modulation.1.weight"] @ silu(embedded))
        return list((two + shared[: parts * width]).chunk(parts))

    for block in range(sum(name.endswith("blocks.2.block.layer1.weight") for name in net)):
        hidden = hidden + positions
        for stage in range(3):
            at = f"blocks.block{block}.blocks.{stage}"
            shift, scale, gate = norm(at, 3)
            seen = layer_norm(hidden) * (1 + scale) + shift
            if stage == 2:
                wide = gelu(seen @ net[f"{at}.block.layer1.weight"].T)
                answer = wide @ net[f"{at}.block.layer2.weight"].T
            else:
                source = seen if stage == 0 else context.double()
                q, k, v = (
                    (what @ net[f"{at}.block.attn.to_{letter}.0.weight"].T).unflatten(1, (heads, -1)).transpose(0, 1)
                    for letter, what in (("q", seen), ("k", source), ("v", source))
                )  # (heads, n, head)
                q, k = (rms(one) * net[f"{at}.block.attn.to_{letter}.1.weight"] for letter, one in (("q", q), ("k", k)))
                if stage == 0:
                    q, k = turned(q, turn), turned(k, turn)
                shares = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
                mixed = (shares @ v).transpose(0, 1).flatten(1)
                answer = mixed @ net[f"{at}.block.attn.to_out.0.weight"].T
            hidden = hidden + gate * answer
    shift, scale = norm("final_layer", 2)
    pixels = (layer_norm(hidden) * (1 + scale) + shift) @ net["final_layer.linear.weight"].T
    output = torch.zeros(16, *x.shape[1:], dtype=torch.float64)
    for (t, i, j), patch in zip(cells, pixels, strict=True):  # row, column, then channel
        output[:, t, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = patch.view(2, 2, 16).permute(2, 0, 1)
    return output


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()


def layer_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()


def sincos(cell: tuple[int, ...], width: int) -> Tensor:
    side = width // 6 * 2
    parts = []
    for index, size in zip(cell, (width - 2 * side, side, side), strict=True):
        angles = [index * 10_000 ** (-i / (size / 2)) for i in range(size // 2)]
        parts += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    return torch.tensor(parts, dtype=torch.float64)


def rotary(cell: tuple[int, ...], head: int) -> Tensor:
    side = head // 6 * 2
    sizes = zip(cell, (head - 2 * side, side, side), strict=True)
    angles = [index * 10_000 ** (-2 * j / size) for index, size in sizes for j in range(size // 2)]
    return torch.tensor(angles, dtype=torch.float64)


def turned(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )
