"""Inverse rendering: pictures in, G-buffers out (DiffusionRenderer, section 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from manifests.contract.attributes import GBUFFERS
from manifests.errors import InputError, TrainingError
from renderers import modelspace
from renderers.backbone import RenderInputs
from renderers.backbones import JOINT, attribute_rows
from renderers.inverse import COVERAGE, InverseRenderer
from renderers.shading.view_geometry import plane_rays, points
from training.config import TrainConfig
from training.data.batch import Batch
from training.data.photographic import in_other_shadows, photographed, under_other_skies
from training.objectives.objective import (
    Called,
    Losses,
    Needs,
    Objective,
    denoising,
    grid,
    kept,
    one_step,
    surface_weight,
)
from training.objectives.starting_networks import Networks


class InverseObjective(Objective):
    """Predicts G-buffers jointly, or one attribute per clip, as the network's channels say.

    With one attribute per pass, every clip of a batch is asked for one, drawn from its seed. With `rerender`, a frozen
    forward renderer shows what all predictions together look like under the true light, and `rgb` has losses too: the
    five then agree with each other and with the picture, where each by itself would only be likely.
    """

    pipeline = InverseRenderer

    def __init__(self, config: TrainConfig, networks: Networks) -> None:
        super().__init__(config, networks)
        self._channels = {name: self.space.channels(name) for name in self._given}
        self.joint = self.backbone.out_channels(self.network) == sum(self._channels.values())
        if config.rerender and not self.joint:
            raise InputError("rerender: needs a network that predicts all attributes at once", where=config.name)

    @property
    def known(self) -> tuple[str, ...]:
        """What the network gives, and the picture where it is rendered again."""
        return (*self._given, "rgb") if self.config.rerender else self._given

    @property
    def _given(self) -> tuple[str, ...]:
        return (*GBUFFERS, COVERAGE) if self.backbone.coverage else GBUFFERS

    @property
    def needs(self) -> Needs:
        """All G-buffers, or some where they are asked for one by one; the light where the picture is rendered again."""
        lit = self.config.rerender is not None
        return Needs(panorama=lit, background=lit, multiple=self.multiple, partial=not self.joint)

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """See `Objective`."""
        asked = [JOINT] * batch.size if self.joint else self._drawn(batch)
        true = self._true(batch)
        if self.config.sampler == "diffusion":
            with torch.no_grad():
                clean = self._latents(asked, true)
            return denoising(self._bound(network, batch, asked), clean, batch)
        weight = surface_weight(batch, self.config.background_weight)
        if self.joint:
            predicted = self._predicted(network, batch, asked)
            if batch.panorama is not None and self.networks.forward is not None:
                predicted["rgb"], true["rgb"] = self._rerendered(predicted, batch), batch.rgb
            return self.parts(predicted, true, weight)
        losses = [
            self.parts({name: predicted}, {name: true[name][index : index + 1]}, weight[index : index + 1])
            for index, (name, predicted) in enumerate(self._one_by_one(network, batch, asked))
        ]
        parts: dict[str, list[Tensor]] = {}
        for loss in losses:
            for name, value in loss.parts.items():
                parts.setdefault(name, []).append(value)
        return Losses(
            torch.cat([loss.total for loss in losses]), {name: torch.cat(values) for name, values in parts.items()}
        )

    def _true(self, batch: Batch) -> dict[str, Tensor]:
        """What the network is to give, in model space."""
        values = dict(batch.gbuffers)
        if self.backbone.inverse_depth:
            values["depth"] = modelspace.inverse_depth(values["depth"], batch.mask, batch.depth_range)
        if self.backbone.coverage:
            values[COVERAGE] = batch.mask
        return {name: modelspace.to_model(name, value) for name, value in values.items()}

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """The middle frame of some clips: the picture, then prediction and truth of each attribute side by side."""
        frame = batch.rgb.shape[1] // 2
        if self.config.sampler == "diffusion":
            return {}
        predicted, true, rows = self._all(batch), self._true(batch), []
        for clip in range(batch.size):
            row = [modelspace.display(batch.rgb[clip, frame])]
            for name in true:
                row += [
                    modelspace.display(video[clip, frame]) for video in (predicted[name].to(true[name]), true[name])
                ]
            rows.append(row)
        return {"inverse": grid(rows)}

    def components(self) -> dict[str, Any]:
        """An `InverseRenderer` has no encoder of light."""
        return {name: part for name, part in super().components().items() if name != "env_encoder"}

    def _weights(self) -> dict[str, float]:
        """The preset's losses; of pictures that are rendered again, `rgb.l1` where it names none."""
        weights = super()._weights()
        named = any(name.startswith("rgb.") for name in weights)
        return weights if named or not self.config.rerender else {**weights, "rgb.l1": 1.0}

    def _drawn(self, batch: Batch) -> list[str]:
        """One attribute per clip, of those that have a loss and that the clip has."""
        names = list(dict.fromkeys(name.partition(".")[0] for name in self.weights)) or list(GBUFFERS)
        drawn = []
        for clip, seed in enumerate(batch.seeds.tolist()):
            known = [name for name in names if name in batch.gbuffers and not batch.lacks(name, clip)]
            if not known:
                raise TrainingError(f"has none of {', '.join(names)}", "leave it out", where=f"clip {batch.keys[clip]}")
            drawn.append(known[(seed >> 8) % len(known)])
        return drawn

    def _bound(self, network: nn.Module, batch: Batch, asked: list[str]) -> Any:
        """The network with the pictures and the attributes bound."""
        called, rows = Called(network, self.network), attribute_rows(asked).to(batch.rgb.device)
        with torch.no_grad():
            shown = batch.rgb
            if self.config.data.skies:
                shown = under_other_skies(shown, batch.mask, batch.seeds, self.config.data.skies)
            if self.config.data.shadows and {"depth", "normal"} <= set(batch.gbuffers):
                seen = _points(batch), batch.gbuffers["normal"], batch.mask
                shown = in_other_shadows(shown, *seen, batch.seeds, self.config.data.shadows)
            if share := self.config.data.photographic:
                shown = photographed(shown, batch.seeds, share)
            rgb = kept(self.space.encode(shown), batch.unconditional)
        return lambda noisy, timestep: self.backbone.inverse(called, noisy, timestep, rgb, rows)

    def _sampled(self, network: nn.Module, batch: Batch, asked: list[str]) -> Tensor:
        factor, channels = self.space.factor, self.backbone.out_channels(self.network)
        frames, _, height, width = batch.rgb.shape[1:]
        shape = (batch.size, self.backbone.cells(frames), channels, height // factor, width // factor)
        return one_step(self._bound(network, batch, asked), shape, self.config, batch.rgb)

    def _predicted(self, network: nn.Module, batch: Batch, asked: list[str]) -> dict[str, Tensor]:
        """All G-buffers in model space from a joint pass."""
        pieces = self._sampled(network, batch, asked).split(list(self._channels.values()), dim=2)
        return {name: self.space.decode(name, piece) for name, piece in zip(self._given, pieces, strict=True)}

    def _rerendered(self, predicted: dict[str, Tensor], batch: Batch) -> Tensor:
        """The picture (B, T, 3, H, W), in model space, of predictions in model space under the clip's light."""
        assert batch.panorama is not None
        values = {name: modelspace.from_model(name, predicted[name]) for name in GBUFFERS}
        if self.backbone.inverse_depth:
            values["depth"] = modelspace.depth_from_inverse(values["depth"], batch.mask)
        inputs = RenderInputs(values, batch.panorama, batch.intrinsics, batch.mask, lambda: batch.background)
        condition, light = self.backbone.forward_inputs(self.space, None, inputs, lambda x: x)

        def render(noisy: Tensor, timestep: Tensor) -> Tensor:
            return self.backbone.forward(self.networks.forward, noisy, timestep, condition, light)

        return one_step(render, batch.rgb.shape, self.config, batch.rgb)

    def _one_by_one(self, network: nn.Module, batch: Batch, asked: list[str]) -> list[tuple[str, Tensor]]:
        """(attribute, its model space (1, T, C, H, W)) of every clip, from a pass with one attribute per clip."""
        sampled = self._sampled(network, batch, asked)
        clips: dict[int, Tensor] = {}
        for name in dict.fromkeys(asked):  # clips of one attribute are decoded together
            which = [index for index, other in enumerate(asked) if other == name]
            clips |= zip(which, self.space.decode(name, sampled[which]).split(1), strict=True)
        return [(name, clips[index]) for index, name in enumerate(asked)]

    def _all(self, batch: Batch) -> dict[str, Tensor]:
        if self.joint:
            return self._predicted(self.network, batch, [JOINT] * batch.size)
        passes = {name: self._one_by_one(self.network, batch, [name] * batch.size) for name in batch.gbuffers}
        return {name: torch.cat([clip for _, clip in clips]) for name, clips in passes.items()}

    def _latents(self, asked: list[str], true: dict[str, Tensor]) -> Tensor:
        """What a network is to denoise: scaled latents of each clip's attribute, or of all five side by side."""
        if self.joint:
            return torch.cat([self.space.encode(true[name]) for name in self._given], dim=2) * self.space.scaling
        clips = [modelspace.replicate(true[name][index]) for index, name in enumerate(asked)]
        return self.space.encode(torch.stack(clips)) * self.space.scaling


def _points(batch: Batch) -> Tensor:
    """Camera-frame points (B, T, 3, H, W) of what is seen, in scene units."""
    near, far = (limit.view(-1, 1, 1, 1, 1) for limit in batch.depth_range.unbind(dim=1))
    depth = near + batch.gbuffers["depth"] * (far - near)
    height, width = depth.shape[-2:]
    return points(depth, plane_rays(height, width, batch.intrinsics))
