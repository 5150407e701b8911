"""The networks that a run starts from: new ones, those of a renderer's checkpoint, or Stable Video Diffusion's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from renderers import loading
from renderers.base import Renderer
from renderers.registry import Kind, backbone, named_class
from renderers.svd.environment_encoder import EnvironmentEncoder
from renderers.svd.starting import start_from
from training.config import TrainConfig
from training.errors import ConfigError

_AUTOENCODER = "AutoencoderKLTemporalDecoder"


@dataclass
class Networks:
    """The parts of a renderer. Only `unet` is trained unless an objective says otherwise; the rest is frozen."""

    unet: nn.Module
    vae: Any | None = None
    scheduler: Any | None = None
    env_encoder: Any | None = None
    forward: nn.Module | None = None

    def frozen(self) -> list[nn.Module]:
        """What is used but not trained."""
        return [part for part in (self.vae, self.env_encoder, self.forward) if part is not None]


def make_networks(config: TrainConfig, kind: Kind) -> Networks:
    """The networks of `config`, its random weights drawn from its seed; raises ConfigError, CheckpointError."""
    family = backbone(config.backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # what diffusers' classes draw from; restored on the way out
        networks = _start(config, kind) if config.start else Networks(family.create(kind, **config.network))
    if config.encoder:
        root = loading.locate(config.encoder)
        networks.env_encoder = loading.load_model(EnvironmentEncoder, root, "env_encoder", dtype=None, variant=None)
    if config.rerender:
        networks.forward = _small_forward(config)
    if family.latent and networks.vae is None:
        raise ConfigError(f"{config.name}: start: backbone {family.name} needs a vae; give a checkpoint that has one")
    if kind != "inverse" and family.latent and networks.env_encoder is None:
        raise ConfigError(f"{config.name}: encoder: a {kind} renderer of {family.name} needs one; train it first")
    for part in networks.frozen():
        part.requires_grad_(False).eval()
    return networks


def _start(config: TrainConfig, kind: Kind) -> Networks:
    """From a renderer of this kind as it is; from anything else with a UNet and a vae, its weights where they fit."""
    assert config.start is not None
    root = loading.locate(config.start)
    index = loading.read_json(root, Path(loading.INDEX))
    renderers = "backbone" in index or "Renderer" in str(index.get("_class_name"))
    if renderers and index.get("kind", kind) == kind:
        renderer = Renderer.from_pretrained(root)
        if renderer.kind == kind:
            parts: Mapping[str, Any] = renderer.components
            return Networks(parts["unet"], parts.get("vae"), parts.get("scheduler"), parts.get("env_encoder"))
    unet = backbone(config.backbone).create(kind, **config.network)
    tensors: dict[str, torch.Tensor] = {}
    for path in loading.weight_files(root, "unet"):
        tensors |= load_file(path)
    start_from(unet, tensors)
    return Networks(unet, autoencoder_of(root))


def _small_forward(config: TrainConfig) -> nn.Module:
    """The network of the forward renderer `config.rerender`; ConfigError when it cannot be one of a training step."""
    assert config.rerender is not None
    renderer = Renderer.from_pretrained(loading.locate(config.rerender))
    made: Any = renderer.config
    ours = made.backbone == config.backbone and made.prediction == config.prediction
    if renderer.kind != "forward" or not made.hints or not ours:
        raise ConfigError(
            f"{config.name}: rerender: {config.rerender} is no forward renderer of backbone tiny, or what is trained "
            "is of another; only the small networks render within a training step"
        )
    unet: nn.Module = renderer.components["unet"]
    return unet


def autoencoder_of(checkpoint: str | Path) -> Any:
    """The vae of a checkpoint, a folder or a hub id; raises CheckpointError."""
    return loading.load_model(named_class(_AUTOENCODER), loading.locate(checkpoint), "vae", dtype=None, variant=None)
