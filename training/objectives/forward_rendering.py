"""Forward rendering: G-buffers and light in, pictures out (DiffusionRenderer, section 4.2 and 4.3).

Each step of co-training takes a batch of rendered clips and a batch of auto-labelled footage. Rendered clips train the
network alone, footage trains it together with a LoRA that no rendered clip ever sees, its loss weighed by how far
its labels are to be believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manifests.contract.attributes import GBUFFERS
from manifests.errors import InputError, TrainingError
from renderers import modelspace
from renderers.backbone import LightFeatures, RenderInputs
from renderers.cosmos.cosmos_backbone import LIGHT
from renderers.forward import ForwardRenderer
from renderers.light.panoramas import resize_panorama
from renderers.svd import lora
from training.config import TrainConfig, adapts
from training.data.batch import Batch
from training.objectives.objective import (
    Called,
    Losses,
    Needs,
    Objective,
    denoising,
    grid,
    kept,
    one_step,
    parameter_groups,
    surface_weight,
)
from training.objectives.starting_networks import Networks

_DROPPED, _ESTIMATED = 0xD209, 0xE571


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
        if adapts(config):
            raise InputError(
                "lora.only: beside footage the network itself learns", "leave `real` out", where=config.name
            )
        unet: Any = networks.unet
        if not lora.has_lora(unet):
            targets = getattr(unet, "lora_targets", lora.TARGETS)
            generator = torch.Generator().manual_seed(config.seed)
            lora.add_lora(unet, config.lora.rank, generator=generator, targets=targets)
        unet.requires_grad_(True)  # adding a LoRA freezes the rest, which is trained here as well

    @property
    def needs(self) -> Needs:
        """All G-buffers and the light, or some of them; the background too where hints are made of it."""
        family = self.backbone
        return Needs(panorama=True, background=family.hints, multiple=self.multiple, partial=family.partial)

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """See `Objective`; a batch is either all rendered or all footage, unless all learn the same, from some maps."""
        real = bool(batch.real.any())
        mixed = real and not bool(batch.real.all())
        if mixed and (self.cotrain or not self.backbone.partial):
            raise TrainingError(
                "a batch mixes rendered clips and footage", "give footage as `real`, a set of its own", fields=("real",)
            )
        with lora.lora_scale(self.network, float(real)) if self.cotrain else nullcontext():
            losses = self._losses(network, batch)
        if not real:
            return losses
        trust = torch.stack([batch.confidence[name] for name in (*batch.gbuffers, "environment")]).mean(dim=0)
        parts = losses.parts if mixed else {f"real.{name}": value for name, value in losses.parts.items()}
        return Losses(losses.total * trust.to(losses.total), parts)

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """The middle frame of some clips: base colour, the truth, the prediction."""
        if self.config.sampler == "diffusion":
            return {}
        frame = batch.rgb.shape[1] // 2
        with lora.lora_scale(self.network, 0.0) if self.cotrain else nullcontext():
            predicted = self._predicted(self.network, batch, *self._inputs(batch))
        known = batch.gbuffers.get("basecolor")
        base = batch.rgb if known is None else modelspace.to_model("basecolor", known)
        rows = [
            [modelspace.display(video[clip, frame].float()) for video in (base, batch.rgb, predicted)]
            for clip in range(batch.size)
        ]
        return {"forward": grid(rows)}

    def components(self) -> dict[str, Any]:
        """The size of the light that was trained on goes with them; a LoRA lies beside the network."""
        size = None if self.backbone.environment_size is None else self.config.data.panorama
        return super().components() | {"environment_size": size}

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
        light = batch.panorama
        if light is not None and self.backbone.environment_size is None:  # the network sees it as large as the picture
            light = resize_panorama(light.flatten(0, 1), *batch.rgb.shape[-2:]).unflatten(0, light.shape[:2])
        surfaces, mask = self._surfaces(batch)
        dropped = self._dropped(batch)
        inputs = RenderInputs(surfaces, light, batch.intrinsics, mask, lambda: batch.background, dropped)
        condition, features = self.backbone.forward_inputs(self.space, self.networks.env_encoder, inputs, lambda x: x)
        return kept(condition, batch.unconditional), tuple(kept(part, batch.unconditional) for part in features)

    def _surfaces(self, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
        """G-buffers and coverage that are rendered: known ones, in some clips those that their picture looks like."""
        renderer, share = self.networks.inverse, self.config.data.estimated
        if renderer is None or not share:
            return batch.gbuffers, batch.mask
        renderer.to(batch.rgb.device)
        values, mask = {name: value.clone() for name, value in batch.gbuffers.items()}, batch.mask.clone()
        for clip, seed in enumerate(batch.seeds.tolist()):
            if np.random.default_rng([seed, _ESTIMATED]).random() < share:
                shown = modelspace.channels_last(modelspace.display(batch.rgb[clip : clip + 1]))
                made = renderer(shown, output_type="pt")
                assert not isinstance(made, list)
                for name, value in values.items():
                    value[clip] = torch.as_tensor(made.gbuffers[name]).to(mask)
                if made.coverage is not None:
                    mask[clip] = torch.as_tensor(made.coverage).to(mask)
        return values, mask

    def _dropped(self, batch: Batch) -> dict[str, Tensor]:
        """Which clips do without which G-buffer, or light: they lack it, or so it was drawn from their seeds."""
        share = self.config.data.drop_each
        if not self.backbone.partial or not share:
            return dict(batch.missing)
        names = (*GBUFFERS, LIGHT)
        draws = [np.random.default_rng([seed, _DROPPED]).random(len(names)) < share for seed in batch.seeds.tolist()]
        drawn = dict(zip(names, torch.from_numpy(np.stack(draws)).to(batch.rgb.device).unbind(dim=1), strict=True))
        return drawn | {name: gone | drawn[name] for name, gone in batch.missing.items()}

    def _bound(self, network: nn.Module, condition: Tensor, light: LightFeatures) -> Any:
        called = Called(network, self.network)
        return lambda noisy, timestep: self.backbone.forward(called, noisy, timestep, condition, light)

    def _predicted(self, network: nn.Module, batch: Batch, condition: Tensor, light: LightFeatures) -> Tensor:
        shape = (batch.size, self.backbone.cells(batch.rgb.shape[1]), self.space.channels("rgb"), *condition.shape[-2:])
        return self.space.decode("rgb", one_step(self._bound(network, condition, light), shape, self.config, batch.rgb))
