"""What every objective shares: its networks, its two ways to be asked (many noise levels, or one step), its saving.

Conditions and calls go through `renderers.backbones`, as they do at inference, so what is trained is what is run.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from manifests.contract.attributes import GBUFFERS
from manifests.errors import InputError
from renderers.backbone import Backbone
from renderers.backbones import backbone
from renderers.base import Renderer
from renderers.inverse import COVERAGE
from renderers.modelspace import Space
from renderers.sampling import samplers
from renderers.svd import lora
from training.config import TrainConfig, adapts
from training.data.batch import Batch
from training.muon import orthogonal
from training.objectives.losses import LOSSES
from training.objectives.starting_networks import Networks

Predict = Callable[[Tensor, Tensor], Tensor]
"""`predict(noisy (B, T, c, h, w), timestep ()|(B,)) -> prediction`, a network with its conditions bound."""


@dataclass(frozen=True)
class Needs:
    """What an objective takes from the loader; heights and widths must be multiples of `multiple`.

    `partial`: clips may lack some of the attributes, or the light.
    """

    attributes: tuple[str, ...] = GBUFFERS
    panorama: bool = False
    background: bool = False
    multiple: int = 1
    partial: bool = False


@dataclass(frozen=True)
class Losses:
    """`total` (B,) with gradients, and what it is made of.

    `parts` are by name and without gradients, one number for each clip that has such a part.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class Called:
    """A network as a backbone takes it: called through the wrapper that counts gradients, asked as the bare module.

    Distributed training wraps a module in another that must be the one called, but knows nothing of its attributes.
    """

    def __init__(self, wrapper: nn.Module, bare: nn.Module) -> None:
        self._wrapper, self._bare = wrapper, bare

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the wrapper."""
        return self._wrapper(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bare, name)


class Objective(ABC):
    """A loss over batches for one network, and what it takes to look at the network and to save it.

    Attributes:
        pipeline: the class of renderer that is saved.
        network: what is trained.
        streams: the kinds of clips that a step needs, `main` first; `real` is auto-labelled footage.
    """

    pipeline: ClassVar[Callable[..., Renderer]]
    streams: tuple[str, ...] = ("main",)

    def __init__(self, config: TrainConfig, networks: Networks) -> None:
        self.config, self.networks = config, networks
        self.network: nn.Module = networks.unet
        self.backbone: Backbone = backbone(config.backbone)
        self.space: Space = self.backbone.space(networks.vae)
        if adapts(config):
            _adapt(self.network, config)
        self.weights = self._weights()

    @property
    @abstractmethod
    def known(self) -> tuple[str, ...]:
        """What the preset's losses may be about; nothing where the task has a loss of its own."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What batches must hold."""

    @property
    def multiple(self) -> int:
        """Pixels that heights and widths must be multiples of for the network."""
        return self.backbone.multiple(self.network) * self.space.factor

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """Loss of each clip; `network` is `self.network`, possibly wrapped."""

    @abstractmethod
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Sample grids (3, H, W) in [0, 1] by name, from the bare network; called without gradients."""

    def save(self, folder: Path, record: dict[str, Any], network: nn.Module | None = None) -> None:
        """Write what was trained in the renderers' layout; `record` says how. `network` is its, if it is not whole."""
        config = self.config
        settings = {
            "sampler": config.sampler,
            "prediction": config.prediction,
            "licence": config.licence or self.networks.licence,
        }
        parts = {**self.components(), "unet": network or self.network}
        self.pipeline(**parts, **settings, training=record).save_pretrained(folder)

    def components(self) -> dict[str, Any]:
        """Arguments of the pipeline that is saved: its parts, and settings beyond sampler and prediction."""
        parts = self.networks
        return {"unet": parts.unet, "scheduler": parts.scheduler, "vae": parts.vae, "env_encoder": parts.env_encoder}

    def _weights(self) -> dict[str, float]:
        """The preset's losses, checked against what this objective knows."""
        return loss_weights(self.config, self.known)

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimizer: weight decay on matrices and filters only, as gains and biases need none."""
        return parameter_groups(self.network, self.config)

    def parts(self, predicted: Mapping[str, Tensor], true: Mapping[str, Tensor], weight: Tensor) -> Losses:
        """The preset's pixel losses of what was predicted, by name and in model space; coverage counts everywhere."""
        parts = {
            name: LOSSES[loss](predicted[what], true[what], torch.ones_like(weight) if what == COVERAGE else weight)
            for name in self.weights
            for what, loss in [name.split(".")]
            if what in predicted
        }
        total = torch.stack([self.weights[name] * value for name, value in parts.items()]).sum(dim=0)
        return Losses(total, {name: value.detach() for name, value in parts.items()})


def _adapt(network: Any, config: TrainConfig) -> None:
    """Give `network` a LoRA, unless it has one, and let nothing else learn."""
    if config.optimise.precision == "bfloat16":
        network.to(torch.bfloat16)
    if not lora.has_lora(network):
        targets = getattr(network, "lora_targets", lora.TARGETS)
        generator = torch.Generator().manual_seed(config.seed)
        lora.add_lora(network, config.lora.rank, generator=generator, targets=targets)
    network.requires_grad_(False)
    for parameter in lora.lora_parameters(network):
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)


def kept(part: Tensor, unconditional: Tensor) -> Tensor:
    """A condition (B, ...) with zeros for the clips where `unconditional` (B,)."""
    if not bool(unconditional.any()):
        return part
    return part * (~unconditional).to(part).view(-1, *[1] * (part.ndim - 1))  # (B,) -> (B, 1, ...)


def loss_weights(config: TrainConfig, known: Sequence[str]) -> dict[str, float]:
    """The preset's losses, checked: pixel losses must be named "what.loss"; a diffusion loss has none."""
    if not known:
        if config.losses:
            raise InputError("losses: this task has one of its own", "leave it empty", where=config.name)
        return {}
    if config.sampler == "diffusion":
        if config.losses:
            raise InputError("losses: diffusion compares latents and takes none", "leave it empty", where=config.name)
        return {}
    for name in config.losses:
        what, _, loss = name.partition(".")
        if what not in known or loss not in LOSSES:
            raise InputError(
                (f"losses.{name}: expected WHAT.LOSS with WHAT of {', '.join(known)} and LOSS of {', '.join(LOSSES)}"),
                where=config.name,
            )
    if not config.losses:
        raise InputError(
            "losses: empty", f"one-step training needs at least one, such as {known[0]}.l1", where=config.name
        )
    return {name: weight for name, weight in config.losses.items() if weight > 0}


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Trainable parameters of `network` for the optimizer, in the order of their names' first use.

    A group's `scale` is a factor on the schedule's rate. What a network names as `slow` was trained already.
    """
    optimise = config.optimise
    known: list[nn.Parameter] = []
    trained: list[nn.Parameter] = []
    slow = getattr(network, "slow", None)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (known if slow and name.startswith(slow) else trained).append(parameter)
    groups: list[dict[str, Any]] = []
    if known:
        groups.append({"params": known, "weight_decay": 0.0, "scale": optimise.slow_rate})
    if optimise.optimizer == "muon":
        turned = [parameter for parameter in trained if orthogonal(parameter)]
        scale = optimise.muon_rate / optimise.learning_rate
        groups += [{"params": turned, "weight_decay": optimise.weight_decay, "orthogonal": True, "scale": scale}]
        trained = [parameter for parameter in trained if not orthogonal(parameter)]
    return [
        *(group for group in groups if group["params"]),
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": optimise.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def one_step(predict: Predict, shape: Sequence[int], config: TrainConfig, like: Tensor) -> Tensor:
    """The clean latents that the one-step sampler makes: zero noise at the highest level (`sampling.samplers`)."""
    timestep = torch.full((), 0.25 * math.log(backbone(config.backbone).sigmas[1]), device=like.device)
    output = predict(torch.zeros(tuple(shape), device=like.device), timestep)
    return -output if config.prediction == "v" else output


def denoising(predict: Predict, clean: Tensor, batch: Batch) -> Losses:
    """EDM's weighted squared error of denoised latents (log-normal noise levels), clean (B, T, c, h, w) scaled.

    Level and noise of a clip come from its seed.
    """
    generators = batch.generators()
    sigma = torch.cat([samplers.training_sigmas(1, generator=generator) for generator in generators])
    noise = batch.noise(tuple(clean.shape[1:]), generators)
    noisy = samplers.add_noise(clean, noise, sigma)
    scales = samplers.coefficients(sigma)
    output = predict(scales.c_in * noisy, scales.c_noise)
    error = (samplers.denoise(output, noisy, sigma) - clean).square()
    total = (samplers.loss_weight(sigma) * error).mean(dim=(1, 2, 3, 4))
    return Losses(total, {"denoising": total.detach()})


def surface_weight(batch: Batch, background: float) -> Tensor:
    """(B, T, 1, H, W): one more than `background` where there is a surface, `background` elsewhere."""
    return (batch.mask > 0.5).float() + background


def grid(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Pictures (3 or 1, H, W) in [0, 1], row by row, as one (3, sum of H, sum of W)."""
    return torch.cat([torch.cat([tile.expand(3, -1, -1) for tile in row], dim=2) for row in rows], dim=1)
