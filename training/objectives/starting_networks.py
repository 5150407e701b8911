"""The networks that a run starts from: new ones, those of a renderer's checkpoint, or Stable Video Diffusion's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from manifests.errors import CheckpointError, InputError
from renderers import load
from renderers.backbones import backbone, named_class
from renderers.checkpoints import reading
from renderers.checkpoints.summary import Kind
from renderers.inverse import InverseRenderer
from renderers.photo.efficientnet_lite import published_encoder
from renderers.svd.environment_encoder import EnvironmentEncoder
from training.config import TrainConfig, adapts


@dataclass
class Networks:
    """The parts of a renderer. Only `unet` is trained unless an objective says otherwise; the rest is frozen.

    `licence` is that of the renderer that they come from, which what is trained from them inherits.
    """

    unet: nn.Module
    vae: Any | None = None
    scheduler: Any | None = None
    env_encoder: Any | None = None
    forward: nn.Module | None = None
    inverse: InverseRenderer | None = None
    licence: str | None = None

    def frozen(self) -> list[nn.Module]:
        """What is used but not trained."""
        return [part for part in (self.vae, self.env_encoder, self.forward) if part is not None]


def make_networks(config: TrainConfig, kind: Kind) -> Networks:
    """The networks of `config`, its random weights drawn from its seed; raises InputError, CheckpointError."""
    family = backbone(config.backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # what diffusers' classes draw from; restored on the way out
        networks = _start(config, kind) if config.start else Networks(family.create(kind, **config.network))
    if config.photographs and not config.start:
        _start_encoder(networks.unet, config)
    if config.encoder:
        root = reading.locate(config.encoder)
        networks.env_encoder = reading.load_model(EnvironmentEncoder, root, "env_encoder", dtype=None, variant=None)
    if config.rerender:
        networks.forward = _small_forward(config)
    if config.estimates:
        networks.inverse = InverseRenderer.from_pretrained(config.estimates)
        networks.inverse.set_progress_bar_config(disable=True)
    if family.latent and networks.vae is None:
        raise InputError(
            f"start: backbone {family.name} needs a vae", "give a checkpoint that has one", where=config.name
        )
    if kind != "inverse" and family.encodes_light and networks.env_encoder is None:
        raise InputError(f"encoder: a {kind} renderer of {family.name} needs one", "train it first", where=config.name)
    for part in networks.frozen():
        part.requires_grad_(False).eval()
    return networks


def _start_encoder(network: Any, config: TrainConfig) -> None:
    """Put the published weights into the network's picture encoder."""
    assert config.photographs is not None
    try:
        network.encoder.load_state_dict(published_encoder(config.photographs, network.config.variant))
    except AttributeError:
        raise InputError("photographs: only `photo` has a picture encoder", where=config.name) from None


def _start(config: TrainConfig, kind: Kind) -> Networks:
    """From a renderer of this kind as it is; from anything else with a UNet and a vae, its weights where they fit."""
    assert config.start is not None
    root = reading.locate(config.start)
    index = reading.read_json(root, Path(reading.INDEX))
    renderers = "backbone" in index or "Renderer" in str(index.get("_class_name"))
    if renderers and index.get("kind", kind) == kind:
        halved = adapts(config) and config.optimise.precision == "bfloat16"
        renderer = load(root, torch_dtype=torch.bfloat16 if halved else None)
        if renderer.kind == kind:
            parts: Mapping[str, Any] = renderer.components
            shared = (parts.get("vae"), parts.get("scheduler"), parts.get("env_encoder"))
            return Networks(parts["unet"], *shared, licence=index.get("licence"))
    family = backbone(config.backbone)
    if renderers and not family.latent:
        raise InputError(
            f"start: {config.start} is a {index.get('kind', 'renderer')} renderer",
            f"give a {kind} renderer",
            where=config.name,
        )
    unet = family.create(kind, **config.network)
    tensors: dict[str, torch.Tensor] = {}
    for path in reading.weight_files(root, "unet"):
        tensors |= load_file(path)
    start_from(unet, tensors)
    return Networks(unet, autoencoder_of(root))


def _small_forward(config: TrainConfig) -> nn.Module:
    """The network of the forward renderer `config.rerender`; InputError when it cannot be one of a training step."""
    assert config.rerender is not None
    renderer = load(reading.locate(config.rerender))
    made: Any = renderer.config
    ours = backbone(config.backbone).hints and made.prediction == config.prediction
    if renderer.kind != "forward" or not made.hints or not ours:
        raise InputError(
            (f"rerender: {config.rerender} is no forward renderer of backbone tiny, or what is trained is of another"),
            "only the small networks render within a training step",
            where=config.name,
        )
    unet: nn.Module = renderer.components["unet"]
    return unet


def autoencoder_of(checkpoint: str | Path) -> Any:
    """The vae of a checkpoint, a folder or a hub id; raises CheckpointError."""
    return reading.load_model(
        named_class("AutoencoderKLTemporalDecoder"), reading.locate(checkpoint), "vae", dtype=None, variant=None
    )


def start_from(network: nn.Module, weights: Mapping[str, Tensor], places: Sequence[int] | None = None) -> list[str]:
    """Copy `weights` into `network` where names fit, in place; returns the names that keep their random values.

    `conv_in` is widened (`places` as in `widen_conv_in`) by channels of weight zero, so that at the first step the
    network behaves as if the new conditions were not there; an output convolution with n times as many channels starts
    as n copies. Tensors that are missing, or of another shape (keys and values of a new condition's width), stay as
    they are. Raises CheckpointError if fewer than half of the network's tensors are found: these are other weights.
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
            (
                f"only {len(state) - len(fresh)} of {len(state)} tensors of {type(network).__name__} are in these "
                "weights"
            ),
            "start from a UNet of the same widths",
        )
    with torch.no_grad():
        network.load_state_dict(state)
    return fresh


def widen_conv_in(weight: Tensor, channels: int, places: Sequence[int] | None = None) -> Tensor:
    """Weights (O, I, k, k) of a convolution for `channels` inputs, (O, channels, k, k); new inputs have weight zero.

    Old input i goes to input `places[i]`, by default to i. Joint inverse prediction (20 noisy + 4 RGB channels) starts
    from SVD's 4 + 4 with places (0, 1, 2, 3, 20, 21, 22, 23).
    """
    places = range(weight.shape[1]) if places is None else places
    if len(places) != weight.shape[1] or len(set(places)) != len(places) or not set(places) <= set(range(channels)):
        raise CheckpointError(
            f"{weight.shape[1]} input channels cannot be placed at {tuple(places)} of {channels}",
            "give every old channel a place of its own",
        )
    wide = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    wide[:, list(places)] = weight
    return wide
