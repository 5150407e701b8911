"""Forward rendering: G-buffers and light in, pictures out (DiffusionRenderer, section 4.2 and 4.3).

Each step of co-training takes a batch of rendered clips and a batch of auto-labelled footage. Rendered clips train the
network alone, footage trains it together with a LoRA that no rendered clip ever sees, its loss weighed by how far
its labels are to be believed.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from manifests.errors import TrainingError
from renderers import modelspace
from renderers.backbones import LightFeatures, RenderInputs
from renderers.forward import ForwardRenderer
from renderers.svd import lora
from training.config import TrainConfig
from training.data.batch import Batch
from training.objectives.objective import (
    Called,
    Losses,
    Needs,
    Objective,
    denoising,
    grid,
    one_step,
    parameter_groups,
    surface_weight,
)
from training.objectives.starting_networks import Networks


class ForwardObjective(Objective):
    """Renders pictures; with `cotrain`, footage takes part in every step."""

    pipeline = ForwardRenderer
    known = ("rgb",)

    def __init__(self, config: TrainConfig, networks: Networks, *, cotrain: bool = False) -> None:
        super().__init__(config, networks)
        self.cotrain = cotrain
        if not cotrain:
            return
        self.streams = ("main", "real")
        unet: Any = networks.unet
        if not lora.has_lora(unet):
            targets = getattr(unet, "lora_targets", lora.TARGETS)
            generator = torch.Generator().manual_seed(config.seed)
            lora.add_lora(unet, config.lora.rank, generator=generator, targets=targets)
        unet.requires_grad_(True)  # adding a LoRA freezes the rest, which is trained here as well

    @property
    def needs(self) -> Needs:
        """All G-buffers and the light; the background too where hints are made of it."""
        return Needs(panorama=True, background=self.backbone.hints, multiple=self.multiple)

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """See `Objective`; a batch is either all rendered or all footage."""
        real = bool(batch.real.any())
        if real and not bool(batch.real.all()):
            raise TrainingError(
                "a batch mixes rendered clips and footage",
                "give footage as `real`, a set of its own",
                fields=("real",),
            )
        with lora.lora_scale(self.network, float(real)) if self.cotrain else nullcontext():
            losses = self._losses(network, batch)
        if not real:
            return losses
        trust = torch.stack([batch.confidence[name] for name in (*batch.gbuffers, "environment")]).mean(dim=0)
        parts = {f"real.{name}": value for name, value in losses.parts.items()}
        return Losses(losses.total * trust.to(losses.total), parts)

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """The middle frame of some clips: base colour, the truth, the prediction."""
        if self.config.sampler == "diffusion":
            return {}
        frame = batch.rgb.shape[1] // 2
        with lora.lora_scale(self.network, 0.0) if self.cotrain else nullcontext():
            predicted = self._predicted(self.network, batch, *self._inputs(batch))
        base = modelspace.to_model("basecolor", batch.gbuffers["basecolor"])
        rows = [
            [modelspace.display(video[clip, frame].float()) for video in (base, batch.rgb, predicted)]
            for clip in range(batch.size)
        ]
        return {"forward": grid(rows)}

    def components(self) -> dict[str, Any]:
        """The size of the light that was trained on goes with them; a LoRA lies beside the network."""
        return super().components() | {"environment_size": self.config.data.panorama}

    def groups(self) -> list[dict[str, Any]]:
        """See `Objective`; a LoRA may have a learning rate of its own, as a factor `scale` on the schedule's."""
        groups = parameter_groups(self.network, self.config)
        rate = self.config.lora.learning_rate
        if not self.cotrain or rate is None:
            return groups
        adapter = {id(parameter) for parameter in lora.lora_parameters(self.network)}
        own = [p for group in groups for p in group["params"] if id(p) in adapter]
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) not in adapter]
        scale = rate / self.config.optimise.learning_rate
        return [*groups, {"params": own, "weight_decay": 0.0, "scale": scale}]

    def _losses(self, network: nn.Module, batch: Batch) -> Losses:
        condition, light = self._inputs(batch)
        if self.config.sampler == "diffusion":
            with torch.no_grad():
                clean = self.space.encode(batch.rgb) * self.space.scaling
            return denoising(self._bound(network, condition, light), clean, batch)
        predicted = self._predicted(network, batch, condition, light)
        return self.parts({"rgb": predicted}, {"rgb": batch.rgb}, surface_weight(batch, self.config.background_weight))

    @torch.no_grad()
    def _inputs(self, batch: Batch) -> tuple[Tensor, LightFeatures]:
        """Condition and light, zero for the clips whose conditions are dropped."""
        assert batch.panorama is not None
        inputs = RenderInputs(batch.gbuffers, batch.panorama, batch.intrinsics, batch.mask, lambda: batch.background)
        condition, light = self.backbone.forward_inputs(self.space, self.networks.env_encoder, inputs, lambda x: x)
        return _kept(condition, batch.unconditional), tuple(_kept(part, batch.unconditional) for part in light)

    def _bound(self, network: nn.Module, condition: Tensor, light: LightFeatures) -> Any:
        called = Called(network, self.network)
        return lambda noisy, timestep: self.backbone.forward(called, noisy, timestep, condition, light)

    def _predicted(self, network: nn.Module, batch: Batch, condition: Tensor, light: LightFeatures) -> Tensor:
        shape = (*batch.rgb.shape[:2], self.space.channels("rgb"), *condition.shape[-2:])
        return self.space.decode("rgb", one_step(self._bound(network, condition, light), shape, self.config, batch.rgb))


def _kept(part: Tensor, unconditional: Tensor) -> Tensor:
    """A condition (B, ...) with zeros for the clips where `unconditional` (B,)."""
    if not bool(unconditional.any()):
        return part
    return part * (~unconditional).to(part).view(-1, *[1] * (part.ndim - 1))  # (B,) -> (B, 1, ...)
