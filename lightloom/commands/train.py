"""`lightloom train`: inverse, lighting and forward renderers, the environment encoder of forward ones, and judges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from lightloom.saying import say

if TYPE_CHECKING:
    from training.config import Task
    from training.loop import TrainingOutcome

app = SubcommandApp()
Dataset = Annotated[str, tyro.conf.arg(metavar="DATASET")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        preset: `tiny` (minutes on a laptop's CPU), `tiny-continued` (with --start), `photo` (inverse, hours, on an
            encoder of photographs), `tiny-large` (inverse, minutes on a GPU), `svd` (the published size, a GPU),
            `debug`, or a YAML file.
        more: further datasets, as one set with the first.
        minutes: wall time; the learning rate is spread over it.
        steps: optimizer steps.
        batch: clips a step.
        seed: another seed gives another run.
        start: checkpoint whose weights training starts from.
        keep: folder that always has the newest weights in half precision; another run can --start from it.
        licence: licence of the weights, as an SPDX id or LicenseRef-...; it is recorded, not checked.
        resume: go on from the last checkpoint in OUT.
        workers: processes that share a batch, each with a GPU where there are GPUs, run by Ray.
        ray_address: a Ray cluster's address; this machine if not given.
    """

    preset: str = "tiny"
    more: tuple[str, ...] = ()
    minutes: float | None = None
    steps: int | None = None
    batch: int | None = None
    seed: int | None = None
    start: str | None = None
    keep: Path | None = None
    licence: str | None = None
    resume: bool = False
    workers: int = 1
    ray_address: str | None = None


Flags = Annotated[TrainOptions, tyro.conf.arg(name="")]
_DEFAULT = TrainOptions()


@app.command
def inverse(
    dataset: Positional[Dataset],
    out: Positional[Out],
    /,
    *,
    images: tuple[str, ...] = (),
    rerender: str | None = None,
    options: Flags = _DEFAULT,
) -> int:
    """Train an inverse renderer: video in, G-buffers out.

    Example: lightloom train inverse out/set out/inverse --preset tiny --minutes 40

    Args:
        dataset: dataset folder or URL.
        out: folder of the run; the result is OUT/renderer.
        images: datasets or folders of single images that co-train as one-frame videos.
        rerender: small forward renderer that shows what is predicted; its picture has to be that of the clip, too.
        options: how to train.
    """
    return _train("inverse", dataset, out, options, images=images, changes={"rerender": rerender} if rerender else {})


@app.command
def lighting(dataset: Positional[Dataset], out: Positional[Out], /, *, options: Flags = _DEFAULT) -> int:
    """Train a lighting estimator: video in, HDR environment out.

    Example: lightloom train lighting out/set out/lighting --preset tiny --minutes 40

    Args:
        dataset: dataset folder or URL.
        out: folder of the run; the result is OUT/renderer.
        options: how to train.
    """
    return _train("lighting", dataset, out, options)


@app.command
def forward(
    dataset: Positional[Dataset],
    out: Positional[Out],
    /,
    *,
    real: tuple[str, ...] = (),
    encoder: str | None = None,
    options: Flags = _DEFAULT,
) -> int:
    """Train a forward renderer: G-buffers and light in, video out; with --real also the LoRA that footage trains.

    Example: lightloom train forward out/set out/forward --preset tiny --minutes 40

    Args:
        dataset: dataset folder or URL.
        out: folder of the run; the result is OUT/renderer.
        real: datasets of footage with automatic labels (`lightloom label`).
        encoder: result of `lightloom train environment`, for backbones with an environment encoder.
        options: how to train.
    """
    return _train("forward", dataset, out, options, real=real, changes={"encoder": encoder} if encoder else {})


@app.command
def environment(dataset: Positional[Dataset], out: Positional[Out], /, *, options: Flags = _DEFAULT) -> int:
    """Pre-train the environment encoder of an `svd` forward renderer as an autoencoder of light.

    Example: lightloom train environment out/set out/encoder --preset svd --start CHECKPOINT

    Args:
        dataset: dataset folder or URL.
        out: folder of the run; the result is OUT/renderer.
        options: how to train.
    """
    return _train("environment", dataset, out, options)


@app.command
def judge(dataset: Positional[Dataset], out: Positional[Out], /, *, inverse: str, options: Flags = _DEFAULT) -> int:
    """Train what says how wrong an inverse renderer's labels are; the result is that renderer with its judge.

    Example: lightloom train judge out/set out/judge --inverse out/inverse/renderer --minutes 5

    Args:
        dataset: dataset folder or URL, of rendered clips.
        out: folder of the run; the result is OUT/renderer.
        inverse: checkpoint of the inverse renderer.
        options: how to train.
    """
    return _train("judge", dataset, out, options, changes={"start": inverse})


def _train(
    task: Task,
    dataset: str,
    out: Path,
    options: TrainOptions,
    *,
    images: tuple[str, ...] = (),
    real: tuple[str, ...] = (),
    changes: dict[str, Any] | None = None,
) -> int:
    from training.config import load_config
    from training.run import TrainRequest, train

    given = {name: getattr(options, name) for name in ("minutes", "steps", "batch")}
    optimise = {name: value for name, value in given.items() if value is not None}
    top = {name: value for name in ("seed", "start", "licence") if (value := getattr(options, name)) is not None}
    keep = {} if options.keep is None else {"half": str(options.keep)}
    config = load_config(options.preset, task, {**top, **(changes or {}), "optimise": optimise, "keep": keep})
    request = TrainRequest(task, config, (dataset, *options.more), out, images, real, options.resume)
    if options.workers > 1 or options.ray_address is not None:
        from training.distributed import train_distributed

        train_distributed(request, options.workers, options.ray_address)
    else:
        try:
            done = train(request)
        except KeyboardInterrupt:
            say("lightloom: interrupted; the same command with --resume goes on from here", error=True)
            return 1
        if not done.made:
            say(f"has its {done.step} steps; nothing to do")
        else:
            say(_summary(done))
    say(f"{out / 'renderer'}")
    return 0


def _summary(done: TrainingOutcome) -> str:
    return (
        f"{done.step} steps in {done.seconds / 60:.1f} minutes, loss {done.loss:.4g}, "
        f"waited for data {100 * done.waiting:.1f} % of the time"
    )
