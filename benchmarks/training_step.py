"""A step of `training/loop.py` beside a plain training script's step: same network, losses, batch and optimizer.

    python -m benchmarks.training_step out/set --steps 40

The plain loop is what diffusers' training scripts do: forward, backward, clip, AdamW, averaged weights and `.item()` of
the loss; its batches are ready in a list. Steps take turns, and what counts is the median of their ratios, so that
other work on the machine falls on both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch.nn.utils import clip_grad_norm_

from training.config import Task, load_config
from training.loop import Trainer
from training.run import TrainRequest, make_loader, make_objective


@dataclass(frozen=True)
class Settings:
    """What to measure: `steps` steps of each loop of `task` with `preset` on `dataset`."""

    dataset: tyro.conf.Positional[str]
    task: Task = "inverse"
    preset: str = "tiny"
    steps: int = 40


_WARM = 5
"""Steps that are not counted."""


def main(settings: Settings) -> None:
    """Measure and print one line."""
    changes = {"optimise": {"ema": 0.999, "optimizer": "adamw"}, "data": {"coarse": 0}}
    config = load_config(settings.preset, settings.task, changes)
    with tempfile.TemporaryDirectory() as folder:
        request = TrainRequest(settings.task, config, (settings.dataset,), Path(folder))
        accelerator = Accelerator(cpu=not torch.cuda.is_available())
        ours, plain = make_objective(request), make_objective(request)
        loader = make_loader(request, "main", ours.needs, accelerator, 0)
        batches = [next(loader).to(accelerator.device) for _ in range(8)]
        trainer = Trainer(ours, {"main": loader}, config, accelerator=accelerator, out=request.out, record={})
        network = plain.network.to(accelerator.device).train()
        optimizer = torch.optim.AdamW(plain.groups(), lr=1e-4)
        average = EMAModel(network.parameters(), decay=0.999, foreach=True)
        average.to(accelerator.device)

        def plain_step(index: int) -> float:
            loss = plain.losses(network, batches[index % len(batches)]).total.mean()
            loss.backward()
            clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.step(network.parameters())
            return loss.item()

        def our_step(_: int) -> float:
            return trainer.advance(1e-4)["loss"]

        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        waited = loader.waited
        for index in range(-_WARM, settings.steps):
            for name, step in (("plain", plain_step), ("ours", our_step)):
                started = time.perf_counter()
                step(index)
                if index >= 0:
                    seconds[name].append(time.perf_counter() - started)
        loader.close()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(ours / plain for ours, plain in zip(seconds["ours"], seconds["plain"], strict=True))
    share = (loader.waited - waited) / sum(seconds["ours"])
    print(
        f"{settings.task}: plain {1e3 * medians['plain']:.1f} ms, ours {1e3 * medians['ours']:.1f} ms, "
        f"ratio {ratio:.3f}, waiting for data {100 * share:.1f} %"
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
