"""Backbones: what an entry of the table brings is all that pipelines and checkpoints ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from manifests.contract.environment import Environment
from manifests.errors import CheckpointError
from renderers import ForwardRenderer, InverseRenderer, Renderer
from renderers.backbone import Backbone, LightFeatures, LightingInputs, LightingModel, RenderInputs
from renderers.backbones import BACKBONES, component_class
from renderers.checkpoints.summary import Kind
from renderers.modelspace import PixelSpace, Space
from tests.renderers import narrow

BUFFERS = {
    "basecolor": np.full((2, 64, 64, 3), 0.5, np.float32),
    "normal": np.broadcast_to(np.float32([0, 0, 1]), (2, 64, 64, 3)).copy(),
    "depth": np.linspace(0, 1, 2 * 64 * 64, dtype=np.float32).reshape(2, 64, 64, 1),
    "roughness": np.full((2, 64, 64, 1), 0.5, np.float32),
    "metallic": np.zeros((2, 64, 64, 1), np.float32),
}


class PhotoInverse(ModelMixin, ConfigMixin):
    """Gives the picture back as everything that is asked for."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, picture: Tensor) -> Tensor:
        return self.gain * torch.cat([picture] * 3, dim=2)


class PhotoBackbone(Backbone):
    """A third family, as another folder would bring it."""

    name = "photo"
    networks: ClassVar[Mapping[Kind, str]] = {"inverse": "PhotoInverse"}
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {"PhotoInverse": (__name__, ("unet",))}
    sampler = "one-step"
    prediction = "sample"
    latent = False
    hints = False
    environment_size = (16, 32)

    def space(self, vae: Any, frames: int = 1, decoder: Any = None) -> Space:
        return PixelSpace()

    def multiple(self, network: Any) -> int:
        return 5

    def out_channels(self, network: Any) -> int:
        return 9

    def inverse(self, network: Any, noisy: Tensor, timestep: Tensor, rgb: Tensor, rows: Tensor) -> Tensor:
        assert rgb.shape[-1] % 5 == rgb.shape[-2] % 5 == 0
        return network(rgb)

    def forward_inputs(
        self, space: Space, encoder: Any | None, inputs: RenderInputs, pad: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, LightFeatures]:
        raise NotImplementedError

    def forward(self, network: Any, noisy: Tensor, timestep: Tensor, condition: Tensor, light: LightFeatures) -> Tensor:
        raise NotImplementedError

    def lighting(self, space: Space, network: Any, encoder: Any | None, inputs: LightingInputs) -> LightingModel:
        raise NotImplementedError


def test_an_entry_in_the_table_is_all_that_another_backbone_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "photo", PhotoBackbone())
    renderer = InverseRenderer(PhotoInverse())
    renderer.set_progress_bar_config(disable=True)
    assert renderer.config["backbone"] == "photo"
    assert renderer.config["sampler"] == "one-step"
    video = np.full((2, 7, 11, 3), 0.75, np.float32)
    found = renderer(video).gbuffers
    assert {name: values.shape for name, values in found.items()} == {
        name: (2, 7, 11, values.shape[-1]) for name, values in BUFFERS.items()
    }
    np.testing.assert_allclose(found["roughness"], 0.75, atol=1e-6)


def test_every_network_of_a_backbone_is_a_class_that_checkpoints_may_name() -> None:
    for known in BACKBONES.values():
        for kind, name in known.networks.items():
            assert component_class("unet", name, kind, published=False).__name__ == name
        with pytest.raises(CheckpointError, match="no upscaling network"):
            known.create("upscaling")  # type: ignore[arg-type]  # no such kind


def test_light_along_every_ray_is_made_only_for_networks_that_are_shown_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nobody looks at this")

    monkeypatch.setattr(Environment, "radiance", refuse)
    light = Environment(np.ones((16, 32, 3), np.float32), np.broadcast_to(np.eye(3), (2, 3, 3)).copy())
    poses = np.broadcast_to(np.eye(4), (2, 4, 4)).copy()
    parts = {"vae": narrow.narrow_vae(), "env_encoder": narrow.narrow_encoder(), "environment_size": (64, 64)}
    latent = ForwardRenderer(narrow.narrow_forward(), **parts)
    small = ForwardRenderer(BACKBONES["tiny"].create("forward", widths=(32, 32), depths=(1, 1), embedding=16))
    for renderer in (latent, small):
        renderer.set_progress_bar_config(disable=True)
    latent(BUFFERS, light, camera_to_world=poses, steps=1)
    with pytest.raises(AssertionError, match="nobody looks"):
        small(BUFFERS, light, camera_to_world=poses)


def test_the_base_of_all_pipelines_says_which_one_a_checkpoint_needs(tmp_path: Any) -> None:
    folder = narrow.narrow_checkpoint(tmp_path / "forward", "forward")
    with pytest.raises(CheckpointError, match=r"holds weights of kind forward.*load it with ForwardRenderer"):
        Renderer.from_pretrained(folder)
