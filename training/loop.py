"""The training loop, one for every renderer: batches in, averaged weights and checkpoints out.

The order of things in a step is that of any diffusers training script; what is added is that a step depends on nothing
but (configuration, step, data): batches, noise and rates can be computed anew, so a resumed run goes on as if it had
never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from manifests.errors import TrainingError
from pipeline.signals import StopSignals
from training import run_state
from training.config import Optimise, TrainConfig
from training.data.batch import Batch
from training.data.loader import Loader
from training.muon import Muon
from training.objectives.objective import Objective
from training.run_state import RunState, TrainingProgress
from training.sharding import assembled, shard, whole
from training.tensorboard import Reports

IMAGES = "images"
_SHOWN = 4


@dataclass(frozen=True)
class TrainingOutcome:
    """What a run came to: its last step, how many of them were made now, seconds of training, last loss, and the share
    of time it waited for data."""

    step: int
    made: int
    seconds: float
    loss: float
    waiting: float


class Trainer:
    """One run of one objective over its loaders, by stream name."""

    def __init__(
        self,
        objective: Objective,
        loaders: Mapping[str, Loader],
        config: TrainConfig,
        *,
        accelerator: Accelerator,
        out: Path,
        record: Mapping[str, Any],
    ) -> None:
        self.objective, self.loaders, self.config = objective, loaders, config
        self.accelerator, self.out, self.record = accelerator, out, record
        optimise = config.optimise
        network = objective.network.train()
        spread = optimise.sharded is True and accelerator.num_processes > 1
        self._plain = shard(network, accelerator.device, accelerator.num_processes) if spread else None
        if not spread:
            network.to(accelerator.device)
        for part in objective.networks.frozen():
            part.to(accelerator.device)
        if optimise.checkpointing:
            _recompute(network)
        kind = Muon if optimise.optimizer == "muon" else torch.optim.AdamW
        self.optimizer = kind(objective.groups(), lr=optimise.learning_rate, betas=optimise.betas)
        average = None
        if optimise.ema:
            average = EMAModel(run_state.trained(network).values(), decay=optimise.ema, foreach=not spread)
            average.to(accelerator.device)
        self.state = RunState(network, self.optimizer, average)
        self.wrapped = accelerator.prepare_model(network, evaluation_mode=spread)  # else it averages gradients itself
        self.step, self.seconds = 0, 0.0

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint. Loaders must have been opened at its positions."""
        done = run_state.load(folder, self.state)
        self.step, self.seconds = done.step, done.seconds

    def run(self, reports: Reports, stop: StopSignals) -> TrainingOutcome:
        """Train to the end of the schedule; writes a checkpoint at its end, and when it is interrupted.

        Raises TrainingError, naming the clips, as soon as a loss or a gradient is not finite, and KeyboardInterrupt
        after the step in which it was asked to stop.
        """
        keep = self.config.keep
        before, waited, last, first = self.seconds, self._waited(), float("nan"), self.step
        started = time.perf_counter()
        while (done := self._agreed(progress(self.config.optimise, self.step, self.seconds))) < 1:
            rate = learning_rate(self.config.optimise, self.step, done)
            values = self.advance(rate, coarse=done < self.config.data.coarse)
            self.step += 1
            self.seconds = before + time.perf_counter() - started
            last = values["loss"]
            reports.step(self.step, done, values | {"rate": rate}, self._waited() - waited, self.seconds - before)
            if self.step % keep.pictures == 0:
                self._picture(reports)
            stopping = bool(self._agreed(float(stop.count > 0)))
            if stopping or self.step % keep.checkpoint == 0:
                self.save()
            if stopping:
                raise KeyboardInterrupt
        if run_state.checkpoints(self.out)[-1:] != [self._folder()]:
            self.save()
        self._picture(reports)
        spent = self.seconds - before
        waiting = (self._waited() - waited) / spent if spent else 0.0
        return TrainingOutcome(self.step, self.step - first, self.seconds, last, waiting)

    def save(self) -> None:
        """Write a checkpoint from the first worker; the others wait for it, or give their slices."""
        main = self.accelerator.is_main_process
        if main or self._plain is not None:
            content = run_state.gathered(self.state, keep=main)
        with self._saveable() as network:
            if main:
                positions = {name: loader.position for name, loader in self.loaders.items()}
                done = TrainingProgress(self.step, self.seconds, positions)
                keep = self.config.keep
                half = None if keep.half is None else Path(keep.half)
                run_state.save(self.out, content, done, self._writer(network), keep.checkpoints, half)
        self.accelerator.wait_for_everyone()

    def _folder(self) -> Path:
        return self.out / run_state.FOLDER / f"{self.step:08d}"

    def write_renderer(self, folder: Path) -> None:
        """Write the result, with averaged weights, in the renderers' layout; all workers call it, the first writes."""
        with self._saveable() as network:
            if self.accelerator.is_main_process:
                self._writer(network)(folder)

    @contextmanager
    def _saveable(self) -> Iterator[torch.nn.Module]:
        """The network with its averaged weights, whole."""
        main = self.accelerator.is_main_process
        with run_state.averaged(self.state):
            if self._plain is None:
                yield self.state.network
            else:
                yield assembled(self.state.network, self._plain, keep=main)
                self._plain.to("meta")

    def _writer(self, network: torch.nn.Module) -> Callable[[Path], None]:
        record = {**self.record, "step": self.step, "seconds": round(self.seconds, 1)}
        return lambda folder: self.objective.save(folder, record, network)

    def advance(self, rate: float, *, coarse: bool = False) -> dict[str, float]:
        """One optimizer step, at half size where `coarse`; returns the means of its losses on this worker."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        streams = streams_of(self.config, self.step, self.objective.streams, "images" in self.loaders)
        share = 1 / self.config.optimise.accumulation
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        keys: list[str] = []
        for index, stream in enumerate(streams):
            batch = next(self.loaders[stream]).to(self.accelerator.device)
            batch = batch.halved() if coarse else batch
            keys += batch.keys
            last = index == len(streams) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                parts, loss = self._backward(batch, share)
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums[name] + value if name in sums else value
                counts[name] = counts.get(name, 0) + 1
        norm = whole(clip_grad_norm_(self.state.network.parameters(), self.config.optimise.clip))
        self._check(norm, keys, "the gradient")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.state.average is not None:
            self.state.average.step(run_state.trained(self.state.network).values())
        return {name: float(value) / counts[name] for name, value in sums.items()} | {"norm": float(norm)}

    def _backward(self, batch: Batch, share: float) -> tuple[dict[str, Tensor], Tensor]:
        """Add the gradients of one part of a step."""
        losses = self.objective.losses(self.wrapped, batch)
        total = losses.total.mean()
        self._check(total, batch.keys, "the loss")
        self.accelerator.backward(total * share)
        return {name: value.mean() for name, value in losses.parts.items()}, total.detach()

    def _check(self, value: Tensor, keys: list[str] | tuple[str, ...], what: str) -> None:
        """Stop before a value that is not finite can reach the weights; every worker stops, one says why."""
        bad = self._agreed(0.0 if bool(torch.isfinite(value.detach())) else 1.0)
        if not bad:
            return
        found = run_state.checkpoints(self.out)
        where = f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written yet"
        raise TrainingError(
            f"{what} is {float(value.detach()):g} on clips {', '.join(keys)}",
            f"{where}. Look at these clips, or resume with a lower learning rate",
            where=f"step {self.step}",
        )

    def _agreed(self, number: float) -> float:
        """The largest `number` of all workers, so that they take the same turn."""
        if self.accelerator.num_processes == 1:
            return number
        return float(self.accelerator.gather(torch.tensor([number], device=self.accelerator.device)).max())

    def _waited(self) -> float:
        return sum(loader.waited for loader in self.loaders.values())

    @torch.no_grad()
    def _picture(self, reports: Reports) -> None:
        """Sample grids of the averaged weights on the run's first clips."""
        if not self.accelerator.is_main_process and self._plain is None:
            return
        network = self.state.network.eval()
        with run_state.averaged(self.state), self.accelerator.autocast():
            batch = self.loaders["main"].sample(_SHOWN).to(self.accelerator.device)
            pictures = self.objective.pictures(batch)
            if self.accelerator.is_main_process:
                reports.pictures(self.step, pictures)
        network.train()


def progress(optimise: Optimise, step: int, seconds: float) -> float:
    """Share of the run that is done: of its steps, or of its minutes where they are further."""
    timed = 0.0 if optimise.minutes is None else seconds / (60 * optimise.minutes)
    return min(1.0, max(step / optimise.steps, timed))


def learning_rate(optimise: Optimise, step: int, done: float) -> float:
    """Rate of step `step` (from 0), when the share `done` of the run is over."""
    risen = min(1.0, (step + 1) / (optimise.warmup + 1))
    match optimise.schedule:
        case "cosine":
            fallen = 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            fallen = 1 - done
        case _:
            return optimise.learning_rate * risen
    return optimise.learning_rate * risen * (optimise.final_rate + (1 - optimise.final_rate) * fallen)


def streams_of(config: TrainConfig, step: int, streams: Sequence[str], images: bool) -> list[str]:
    """The stream of each part of step `step`: `accumulation` parts of each of `streams`.

    Where there are images, the whole main part of a step is taken from them with probability `images_share`.
    """
    rng = np.random.default_rng([config.seed, step, 0x1A6E])
    still = images and rng.random() < config.data.images_share
    chosen = [IMAGES if name == "main" and still else name for name in streams]
    return [name for name in chosen for _ in range(config.optimise.accumulation)]


def _recompute(network: torch.nn.Module) -> None:
    """Turn activation checkpointing on, where the network has it."""
    enable = getattr(network, "enable_gradient_checkpointing", None)
    if enable is None:
        raise TrainingError(
            f"{type(network).__name__} cannot recompute activations", "set optimise.checkpointing to false"
        )
    enable()
