"""Weights of the svd networks: starting from Stable Video Diffusion, saving and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel
from torch import Tensor

from manifests.errors import CheckpointError
from renderers.svd.unet import ForwardUNet, InverseUNet
from tests.renderers import narrow
from training.objectives.starting_networks import start_from, widen_conv_in

torch.set_num_threads(1)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def light_of(batch: int, frames: int, size: int = 8) -> list[Tensor]:
    sides = [size // 2**level for level in range(4)]
    return [seeded(batch * frames, side**2, width) for side, width in zip(sides, narrow.WIDTHS, strict=True)]


@torch.no_grad()
def test_new_input_channels_start_at_zero_so_new_conditions_do_nothing_yet() -> None:
    svd = narrow.narrow_inverse(seed=4)
    wide = ForwardUNet(in_channels=24, **narrow.UNET).eval()
    fresh = start_from(wide, svd.state_dict())
    assert wide.conv_in.weight.shape[1] == 24
    assert torch.equal(wide.conv_in.weight[:, :8], svd.conv_in.weight)
    assert not wide.conv_in.weight[:, 8:].any()
    assert fresh  # keys and values of light are as wide as a level, not as the token
    assert all(".attn2.to_" in name for name in fresh)
    sample, light = seeded(1, 2, 24, 8, 8), light_of(1, 2)
    changed = sample.clone()
    changed[:, :, 8:] += 1.0
    assert torch.equal(wide(sample, 0.3, light), wide(changed, 0.3, light))


@torch.no_grad()
def test_joint_prediction_starts_as_one_attribute_five_times() -> None:
    svd = narrow.narrow_inverse(seed=4)
    joint = InverseUNet(cross_attention_dim=64, **narrow.JOINT, **narrow.UNET).eval()
    fresh = start_from(joint, svd.state_dict(), places=(0, 1, 2, 3, 20, 21, 22, 23))
    assert fresh == []
    sample, row = seeded(1, 2, 24, 8, 8), torch.tensor([2])
    single = svd(torch.cat([sample[:, :, :4], sample[:, :, 20:]], dim=2), 0.3, row)
    torch.testing.assert_close(joint(sample, 0.3, row), single.repeat(1, 1, 5, 1, 1), atol=2e-5, rtol=0)


def test_weights_of_another_network_are_refused_as_a_start() -> None:
    with pytest.raises(CheckpointError, match=r"only \d+ of \d+ tensors of ForwardUNet"):
        start_from(narrow.narrow_forward(), narrow.narrow_encoder().state_dict())
    with pytest.raises(CheckpointError, match="place of its own"):
        widen_conv_in(torch.ones(2, 3, 1, 1), 4, places=(0, 1, 1))
    with pytest.raises(CheckpointError, match="place of its own"):
        widen_conv_in(torch.ones(2, 3, 1, 1), 2)


@torch.no_grad()
def test_saved_networks_load_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    networks: list[Any] = [narrow.narrow_inverse(1), narrow.narrow_forward(2), narrow.narrow_encoder(3)]
    networks.append(narrow.narrow_decoder(4))
    for network in networks:
        network.save_pretrained(tmp_path / type(network).__name__)
        again = type(network).from_pretrained(tmp_path / type(network).__name__).state_dict()
        assert all(torch.equal(tensor, again[name]) for name, tensor in network.state_dict().items())
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@torch.no_grad()
def test_a_config_of_diffusers_own_class_builds_ours(tmp_path: Path) -> None:
    """Published configurations name block types, frames and a cross-attention width for each level."""
    theirs = UNetSpatioTemporalConditionModel(
        in_channels=24, cross_attention_dim=narrow.WIDTHS, num_frames=24, sample_size=64, **narrow.UNET
    )
    ours = ForwardUNet.from_config(theirs.config)
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in narrow.narrow_forward().state_dict().items()
    }
