"""Starting a renderer from the weights of Stable Video Diffusion's UNet, or of another renderer.

Tensors of the same name and shape are copied. Only the first and the last convolution may differ in channels: new
input channels start at zero, so that at the first step the network behaves as if the new conditions were not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from renderers.errors import CheckpointError


def widen_conv_in(weight: Tensor, channels: int, places: Sequence[int] | None = None) -> Tensor:
    """Weights (O, I, k, k) of a convolution for `channels` inputs, (O, channels, k, k); new inputs have weight zero.

    Old input i goes to input `places[i]`, by default to i. Joint inverse prediction (20 noisy + 4 RGB channels) starts
    from SVD's 4 + 4 with places (0, 1, 2, 3, 20, 21, 22, 23).
    """
    places = range(weight.shape[1]) if places is None else places
    if len(places) != weight.shape[1] or len(set(places)) != len(places) or not set(places) <= set(range(channels)):
        raise CheckpointError(
            f"{weight.shape[1]} input channels cannot be placed at {tuple(places)} of {channels}; "
            "give every old channel a place of its own"
        )
    wide = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    wide[:, list(places)] = weight
    return wide


def start_from(network: nn.Module, weights: Mapping[str, Tensor], places: Sequence[int] | None = None) -> list[str]:
    """Copy `weights` into `network` where names fit, in place; returns the names that keep their random values.

    `conv_in` is widened (`places` as in `widen_conv_in`); an output convolution with n times as many channels starts as
    n copies. Tensors that are missing, or of another shape (keys and values of a new condition's width), stay as they
    are. Raises CheckpointError if fewer than half of the network's tensors are found: these are other weights.
    """
    state = network.state_dict()
    fresh = []
    for name, tensor in state.items():
        given = weights.get(name)
        if given is not None and name == "conv_in.weight" and given.shape[1] < tensor.shape[1]:
            given = widen_conv_in(given, tensor.shape[1], places)
        elif given is not None and name.startswith("conv_out.") and tensor.shape[0] % given.shape[0] == 0:
            given = given.repeat(tensor.shape[0] // given.shape[0], *[1] * (given.ndim - 1))
        if given is None or given.shape != tensor.shape:
            fresh.append(name)
        else:
            state[name] = given.to(tensor)
    if 2 * len(fresh) > len(state):
        raise CheckpointError(
            f"only {len(state) - len(fresh)} of {len(state)} tensors of {type(network).__name__} are in these weights; "
            "start from a UNet of the same widths"
        )
    with torch.no_grad():
        network.load_state_dict(state)
    return fresh
