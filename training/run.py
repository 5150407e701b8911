"""A training run from request to renderer: data, networks, loop, and the folder in which all of it lives.

OUT/run.json        what is trained on what; a resumed run must want the same
OUT/checkpoints/    full states (`training/run_state.py`)
OUT/logs/           TensorBoard
OUT/cache/          clips of datasets in buckets, shards of those behind URLs
OUT/renderer/       the result, once the schedule has ended
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from manifests.errors import TrainingError
from manifests.files import FolderLock, write_bytes
from manifests.store.header import first_difference, short
from pipeline.signals import StopSignals
from renderers.checkpoints.reading import check_replaceable
from training import run_state
from training.config import DataConfig, Task, TrainConfig, to_plain
from training.data.augment import Augmentation
from training.data.clip_sources import ClipSource, JoinedSources, open_source
from training.data.loader import Loader, LoaderOptions
from training.data.training_sizes import training_sizes
from training.loop import IMAGES, Trainer, TrainingOutcome
from training.objectives.objective import Needs, Objective
from training.objectives.starting_networks import make_networks
from training.tensorboard import Reports

IDENTITY = "run.json"
_MAY_CHANGE = ("steps", "minutes", "precision", "checkpointing", "sharded")
"""Fields of `optimise` that a resumed run may change; `keep`, the licence and how data is read may change too."""

_READING = ("threads", "ahead", "cache_gib", "disk_gib")


@dataclass(frozen=True)
class TrainRequest:
    """What to train, on what, into which folder.

    Attributes:
        task: what is trained.
        config: how.
        datasets: dataset folders, URLs, or image folders, as one set.
        out: the run's folder.
        images: datasets of single images that co-train as one-frame videos.
        real: auto-labelled footage, for a forward renderer's LoRA.
        resume: go on from the newest checkpoint of `out`.
    """

    task: Task
    config: TrainConfig
    datasets: tuple[str, ...]
    out: Path
    images: tuple[str, ...] = ()
    real: tuple[str, ...] = ()
    resume: bool = False

    def identity(self) -> dict[str, Any]:
        """What decides the run's numbers, as plain JSON values."""
        config = to_plain(self.config)
        del config["keep"], config["licence"]
        for section, fields in (("optimise", _MAY_CHANGE), ("data", _READING)):
            config[section] = {name: value for name, value in config[section].items() if name not in fields}
        sets = {"datasets": list(self.datasets), "images": list(self.images), "real": list(self.real)}
        return {"task": self.task, "config": config, **sets}


def train(request: TrainRequest) -> TrainingOutcome:
    """Train on this machine, or as one worker of a distributed run. Raises LightloomError, one line each."""
    if request.config.keep.half is not None:
        check_replaceable(Path(request.config.keep.half))  # before any work
    accelerator = _accelerator(request.config)
    with ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(_claimed(request))
        accelerator.wait_for_everyone()
        found = run_state.checkpoints(request.out) if request.resume else []
        positions = _positions(found[-1]) if found else {}
        objective = make_objective(request)
        loaders = {
            name: stack.enter_context(make_loader(request, name, objective.needs, accelerator, positions.get(name, 0)))
            for name in _streams(request, objective)
        }
        record = _record(request, loaders)
        trainer = Trainer(objective, loaders, request.config, accelerator=accelerator, out=request.out, record=record)
        if found:
            trainer.resume(found[-1])
        if accelerator.is_main_process:  # only now is it known that the run can begin
            write_bytes(request.out / IDENTITY, (json.dumps(request.identity(), indent=1) + "\n").encode())
        silent = not accelerator.is_main_process
        logs = request.out / "logs"
        reports = stack.enter_context(Reports(logs, trainer.step, request.config.keep.log, silent=silent))
        for name, loader in loaders.items():
            if loader.clips < request.config.optimise.batch:
                reports.say(f"{name}: a step takes {request.config.optimise.batch} clips, the set has {loader.clips}")
            if loader.left_out:
                reports.say(f"{name}: {loader.left_out} clips are left out: too few frames, or smaller than the run's")
        outcome = trainer.run(reports, stack.enter_context(StopSignals(patience=1)))
        trainer.write_renderer(request.out / run_state.RENDERER)
        accelerator.wait_for_everyone()
        return outcome


def make_objective(request: TrainRequest) -> Objective:
    """The objective of a request, with its networks."""
    from training.objectives.environment_autoencoder import EnvironmentObjective, light_networks
    from training.objectives.forward_rendering import ForwardObjective
    from training.objectives.inverse_rendering import InverseObjective
    from training.objectives.label_error_training import JudgeObjective
    from training.objectives.light_estimation import LightingObjective

    config = request.config
    if request.real and request.task != "forward":
        raise TrainingError(f"footage with automatic labels trains forward renderers only, not {request.task}")
    if request.images and request.task != "inverse":
        raise TrainingError(f"single images have no light and train inverse renderers only, not {request.task}")
    match request.task:
        case "inverse":
            return InverseObjective(config, make_networks(config, "inverse"))
        case "lighting":
            return LightingObjective(config, make_networks(config, "lighting"))
        case "forward":
            return ForwardObjective(config, make_networks(config, "forward"), cotrain=bool(request.real))
        case "environment":
            return EnvironmentObjective(config, light_networks(config))
        case "judge":
            return JudgeObjective.of(config)


def _accelerator(config: TrainConfig) -> Accelerator:
    precision = "bf16" if config.optimise.precision == "bfloat16" else "no"
    AcceleratorState._reset_state()  # else an earlier run of this process would decide the precision of this one
    return Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())


def _streams(request: TrainRequest, objective: Objective) -> list[str]:
    return [*objective.streams, *([IMAGES] if request.images else [])]


def make_loader(request: TrainRequest, stream: str, needs: Needs, accelerator: Accelerator, position: int) -> Loader:
    """The loader of one stream, as this worker's share of the global batch."""
    config, data = request.config, request.config.data
    paths = {"real": request.real, IMAGES: request.images}.get(stream, request.datasets)
    parts, world = config.optimise.accumulation, accelerator.num_processes
    if config.optimise.batch % (parts * world):
        raise TrainingError(
            (
                f"optimise.batch: {config.optimise.batch} clips cannot be shared evenly by {world} workers and "
                f"{parts} parts"
            ),
            f"give a multiple of {parts * world}",
        )
    augmentation = Augmentation(
        frames=1 if stream == IMAGES else data.frames,
        strides=(1,) if stream == IMAGES else data.strides,
        mirror=data.mirror,
        permute=data.permute,
        reverse=data.reverse,
        exposure_stops=data.exposure_stops,
        dropout=data.dropout,
        enlarge=data.enlarge,
    )
    cache = request.out / "cache"
    source = open_all(paths, cache, data)
    main = source if paths == request.datasets else open_all(request.datasets, cache, data)
    options = LoaderOptions(
        augmentation,
        sizes=training_sizes(config, main.entries, needs.multiple, () if source is main else source.entries),
        batch=config.optimise.batch // (parts * world),
        attributes=needs.attributes,
        panorama=data.panorama if needs.panorama and stream != IMAGES else None,
        background=needs.background and stream != IMAGES,
        seed=config.seed,
        mixed=data.mixed,
        threads=data.threads,
        ahead=data.ahead * parts,
        cache_bytes=int(data.cache_gib * 2**30),
        rank=accelerator.process_index,
        world=world,
        pin=accelerator.device.type == "cuda",
        partial=needs.partial,
        real=stream == "real",
    )
    return Loader(source, options, position)


def open_all(paths: tuple[str, ...], cache: Path, data: DataConfig) -> ClipSource:
    """Datasets, URLs and image folders as one source."""
    keep = max(1, 2 * data.mixed)  # the shards in use, and those that come next
    sources = [open_source(path, cache, keep, int(data.disk_gib * 2**30)) for path in paths]
    return sources[0] if len(sources) == 1 else JoinedSources(sources)


def _positions(checkpoint: Path) -> dict[str, int]:
    return dict(run_state.read_progress(checkpoint).positions)


def _record(request: TrainRequest, loaders: dict[str, Loader]) -> dict[str, Any]:
    """What the renderer's model_index.json says of its training."""
    clips = {name: loader.clips for name, loader in loaders.items()}
    sizes = [list(size) for size, _ in loaders["main"].sizes]
    return {"task": request.task, "config": to_plain(request.config), "clips": clips, "sizes": sizes}


@contextmanager
def _claimed(request: TrainRequest) -> Iterator[None]:
    """The run's folder, locked, holding no run or one with an identity that fits; raises TrainingError otherwise."""
    out, wanted = request.out, request.identity()
    out.mkdir(parents=True, exist_ok=True)
    path = out / IDENTITY
    with FolderLock(
        out / ".lock",
        lambda holder: TrainingError(f"another run trains here ({holder})", "wait for it or stop it", where=out),
    ):
        if path.is_file() and not request.resume:
            raise TrainingError(
                "holds a run already",
                "add `resume` to go on with it, or give another folder",
                where=out,
                fields=("resume",),
            )
        if path.is_file():
            different = first_difference(json.loads(path.read_text(encoding="utf-8")), wanted)
            if different:
                field, before, now = different
                raise TrainingError(
                    f"{field} was {short(before)} and is {short(now)} now",
                    "resume with what the run began with, or give another folder",
                    where=out,
                )
        yield
