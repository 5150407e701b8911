"""The same run on several GPUs or machines: Ray Train's TorchTrainer around `run.train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from manifests.errors import TrainingError
from pipeline.cluster import connect
from pipeline.options import RunOptions
from training.config import make_config, to_plain
from training.loop import TrainingOutcome
from training.run import TrainRequest, train


def train_distributed(request: TrainRequest, workers: int, ray_address: str | None = None) -> None:
    """Train with `workers` processes, each with a GPU where there are GPUs; `request.out` must be shared by all.

    Every worker takes its share of the global batch, so the steps are those of one worker. Raises TrainingError with
    the first worker's reason.
    """
    address = ray_address or os.environ.get("RAY_ADDRESS", "")
    cluster = connect(RunOptions(ray_address=address), show_output=True)
    try:
        use_gpu = ray.cluster_resources().get("GPU", 0) >= workers
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"request": _plain(request), "use_gpu": use_gpu, "folder": str(Path.cwd())},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            run_config=RunConfig(name="ray", storage_path=str(request.out.resolve())),
        )
        trainer.fit()
    except Exception as error:
        raise TrainingError(f"training with {workers} workers failed: {_reason(error)}", where=request.out) from error
    finally:
        cluster.close()


def _worker(config: dict[str, Any]) -> None:
    """One worker: the same run, told its rank by Ray through the environment."""
    os.chdir(config["folder"])  # Ray starts workers elsewhere, and paths may be relative
    if not config["use_gpu"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves GPUs in sight that it has not given to this worker
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    outcome: TrainingOutcome = train(_request(config["request"]))
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"step {outcome.step}, loss {outcome.loss:.4g}, waited {100 * outcome.waiting:.1f} % of the time")


def _plain(request: TrainRequest) -> dict[str, Any]:
    fields = {name: getattr(request, name) for name in ("task", "datasets", "images", "real", "resume")}
    return {**fields, "out": str(request.out.resolve()), "config": to_plain(request.config)}


def _request(plain: dict[str, Any]) -> TrainRequest:

    return TrainRequest(**{**plain, "out": Path(plain["out"]), "config": make_config(plain["config"])})


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: Ray wraps what a worker raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
