"""Which classes a checkpoint may name, and the backbones by name.

A checkpoint's JSON is data from elsewhere: diffusers' own loader imports whatever library and class it names. Here a
name is only looked up in this table; nothing else is ever imported, whatever a file says. Published DiffusionRenderer
checkpoints name classes that exist nowhere but in their own code; those are read by the role of their folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from manifests.errors import CheckpointError

Kind = Literal["inverse", "forward", "lighting"]
Sampler = Literal["diffusion", "one-step"]
Prediction = Literal["v", "sample"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# class name -> (module, folder of a checkpoint where it may stand)
_CLASSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "InverseUNet": ("renderers.svd.unet", ("unet",)),
    "ForwardUNet": ("renderers.svd.unet", ("unet",)),
    "EnvironmentEncoder": ("renderers.svd.environment_encoder", ("env_encoder", "nrm_encoder")),
    "EnvironmentDecoder": ("renderers.svd.environment_encoder", ("env_decoder",)),
    "TinyInverse": ("renderers.tiny", ("unet",)),
    "TinyForward": ("renderers.tiny", ("unet",)),
    "TinyLighting": ("renderers.tiny", ("unet",)),
    "Judge": ("renderers.label_error", ("judge",)),
    "AutoencoderKLTemporalDecoder": ("diffusers", ("vae",)),
    "AutoencoderTiny": ("diffusers", ("decoder",)),
    "EulerDiscreteScheduler": ("diffusers", ("scheduler",)),
}

_PUBLISHED = {
    "vae": "AutoencoderKLTemporalDecoder",
    "env_encoder": "EnvironmentEncoder",
    "env_decoder": "EnvironmentDecoder",
    "nrm_encoder": "EnvironmentEncoder",
    "scheduler": "EulerDiscreteScheduler",
}


@dataclass(frozen=True)
class Backbone:
    """One family of networks: which class plays which kind, and how its checkpoints are sampled by default.

    `networks` maps a kind to the class name of its `unet`. `latent` backbones see the world through an autoencoder;
    with `hints` the forward network takes analytic shading as further condition channels.
    """

    name: str
    networks: Mapping[Kind, str]
    sampler: Sampler
    prediction: Prediction
    latent: bool
    hints: bool

    def create(self, kind: Kind, **config: Any) -> Any:
        """A new network of `kind` with random weights; `config` is that of its class."""
        if kind not in self.networks:
            raise CheckpointError(f"backbone {self.name} has no {kind} network", f"it has {', '.join(self.networks)}")
        return named_class(self.networks[kind])(**config)


BACKBONES: dict[str, Backbone] = {
    "tiny": Backbone(
        "tiny",
        {"inverse": "TinyInverse", "forward": "TinyForward", "lighting": "TinyLighting"},
        sampler="one-step",
        prediction="sample",
        latent=False,
        hints=True,
    ),
    "svd": Backbone(
        "svd",
        {"inverse": "InverseUNet", "forward": "ForwardUNet", "lighting": "ForwardUNet"},
        sampler="diffusion",
        prediction="v",
        latent=True,
        hints=False,
    ),
}
"""Backbones by name. Another family registers here and brings networks with the same call signatures."""


def backbone(name: str) -> Backbone:
    """The backbone called `name`; raises CheckpointError naming the known ones."""
    if name not in BACKBONES:
        raise CheckpointError(f"unknown backbone {name!r}", f"known are {', '.join(BACKBONES)}")
    return BACKBONES[name]


def backbone_of(network: object) -> Backbone:
    """The backbone whose network this is, by its class or a class that it derives from."""
    names = {ancestor.__name__ for ancestor in type(network).__mro__}
    for known in BACKBONES.values():
        if names & set(known.networks.values()):
            return known
    raise CheckpointError(f"{type(network).__name__} is a network of no registered backbone ({', '.join(BACKBONES)})")


def named_class(name: str) -> Any:
    """The class registered as `name`, imported from the module this table gives."""
    module, _ = _CLASSES[name]
    return getattr(importlib.import_module(module), name)


def component_class(folder: str, name: str | None, kind: Kind, *, published: bool) -> Any:
    """The class to build from a checkpoint's `folder` (unet, vae, ...), whose JSON names class `name`.

    With `published` (model_index.json is not ours), a name that the table lacks is replaced by the class that plays
    that role in the published layout. Raises CheckpointError for a name that is unknown or stands in the wrong folder.
    """
    known = name in _CLASSES
    if not known and published and folder != "scheduler":
        name = BACKBONES["svd"].networks[kind] if folder == "unet" else _PUBLISHED.get(folder)
    if name not in _CLASSES:
        raise CheckpointError(
            f"class {name!r} is not one that Lightloom loads", f"known are {', '.join(_CLASSES)}", where=folder
        )
    if folder not in _CLASSES[name][1]:
        raise CheckpointError(f"class {name} belongs in {' or '.join(_CLASSES[name][1])}, not here", where=folder)
    if folder == "unet" and name not in [family.networks.get(kind) for family in BACKBONES.values()]:
        raise CheckpointError(
            f"unet: {name} is not the network of any {kind} renderer", "this checkpoint is of another kind"
        )
    return named_class(name)
