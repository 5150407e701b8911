"""Training of an inverse renderer's judge: its labels of rendered clips beside the truth (`renderers.label_error`)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from manifests.contract.attributes import GBUFFERS
from manifests.errors import InputError
from renderers import modelspace
from renderers.inverse import InverseRenderer
from renderers.label_error import Judge, condition_of, differences, target
from training.config import TrainConfig
from training.data.batch import Batch
from training.objectives.objective import Losses, Needs, Objective
from training.objectives.starting_networks import Networks


class JudgeObjective(Objective):
    """The logarithm of each label's error, from picture and labels. The inverse renderer itself does not change."""

    known = ()

    def __init__(self, config: TrainConfig, judge: Judge, renderer: InverseRenderer) -> None:
        super().__init__(config, Networks(judge))
        self.renderer = renderer
        self._known: dict[bytes, dict[str, Tensor]] = {}
        self._room = int(config.data.cache_gib * 2**30)

    @classmethod
    def of(cls, config: TrainConfig) -> Self:
        """For the inverse renderer `config.start`, which alone `config.network` is about. Raises LightloomError."""
        if config.start is None:
            raise InputError(
                "start: a judge is trained for an inverse renderer", "give its checkpoint", where=config.name
            )
        renderer = InverseRenderer.from_pretrained(config.start)
        if tuple(renderer.config["attributes"]) != GBUFFERS:
            raise InputError("knows only some attributes", "a judge looks at all five", where=config.start)
        renderer.set_progress_bar_config(disable=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            judge = Judge()
        return cls(config, judge, renderer)

    @property
    def needs(self) -> Needs:
        """All G-buffers."""
        return Needs()

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """Smooth L1 distance between the logarithms of expected and true error, clip by clip."""
        labels = self._labels(batch)
        weight = (batch.mask > 0.5).float()
        with torch.no_grad():
            true = target(differences(dict(batch.gbuffers), labels, weight))
        distance = functional.smooth_l1_loss(network(condition_of(batch.rgb, labels)).float(), true, reduction="none")
        parts = {name: distance[:, index].detach() for index, name in enumerate(GBUFFERS)}
        return Losses(distance.mean(dim=1), parts)

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Numbers are nothing to look at."""
        return {}

    def save(self, folder: Path, record: dict[str, Any], network: nn.Module | None = None) -> None:
        """The inverse renderer with its judge, and the record of both trainings."""
        renderer, judge = self.renderer, network or self.network
        own = dict(renderer.config["training"] or {})
        parts = renderer.components | {"judge": judge}
        settings = {name: renderer.config[name] for name in ("sampler", "prediction", "attributes")}
        settings["licence"] = renderer.config["licence"] or self.config.licence or None
        InverseRenderer(**parts, **settings, training={**own, "judge": record}).save_pretrained(folder)

    def _labels(self, batch: Batch) -> dict[str, Tensor]:
        """What the inverse renderer says of the batch, (B, T, C, H, W) as values."""
        made = [self._labelled(clip) for clip in batch.rgb]
        return {name: torch.stack([one[name] for one in made]).to(batch.rgb.device) for name in GBUFFERS}

    @torch.no_grad()
    def _labelled(self, rgb: Tensor) -> dict[str, Tensor]:
        """Labels (T, C, H, W) of one clip (T, 3, H, W), kept for the next epoch as far as `data.cache_gib` goes."""
        shown = modelspace.channels_last(modelspace.display(rgb[None]))  # (T, 3, H, W) -> (T, H, W, 3)
        key = hashlib.sha256(shown.tobytes()).digest()
        if key not in self._known:
            made = self.renderer.to(rgb.device)(shown, output_type="pt")
            assert not isinstance(made, list)
            labels = {name: torch.as_tensor(made.gbuffers[name]).float().cpu() for name in GBUFFERS}
            self._room -= sum(value.nbytes for value in labels.values())
            if self._room < 0:
                return labels
            self._known[key] = labels
        return self._known[key]
