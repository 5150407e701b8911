"""Every tensor of our svd networks has the published name and shape: none missing, none extra."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from renderers.svd.environment_encoder import EnvironmentDecoder, EnvironmentEncoder, direction_encoder
from renderers.svd.unet import ForwardUNet, InverseUNet

DATA = Path(__file__).parent / "data"
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "inverse_unet": (InverseUNet, 1429, 1_524_639_466),
    "forward_unet": (ForwardUNet, 1316, 1_473_513_642),
    "env_encoder": (EnvironmentEncoder, 76, 161_462_720),
    "env_decoder": (EnvironmentDecoder, 182, 159_757_448),
    "nrm_encoder": (direction_encoder, 76, 161_439_680),
}


def published(name: str) -> dict[str, tuple[int, ...]]:
    lines = (DATA / f"{name}.txt").read_text().splitlines()[1:]
    pairs = (line.split("\t") for line in lines)
    return {tensor: ast.literal_eval(shape) for tensor, shape in pairs}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_has_exactly_the_published_tensors(name: str) -> None:
    build, count, parameters = NETWORKS[name]
    with torch.device("meta"):
        state = build().state_dict()
    shapes = {tensor: tuple(value.shape) for tensor, value in state.items()}
    expected = published(name)
    assert set(shapes) == set(expected)
    assert {tensor: shape for tensor, shape in shapes.items() if shape != expected[tensor]} == {}
    assert len(shapes) == count
    assert sum(value.numel() for value in state.values()) == parameters
