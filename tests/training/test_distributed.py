"""Workers that share a batch take the steps of one worker: over gloo directly, and under Ray Train."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from manifests.errors import TrainingError
from tests.training.sets import make_set
from tests.training.test_loop import request_of
from training import run_state
from training.distributed import train_distributed
from training.run import TrainRequest, train

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
STEPS = {"steps": 3, "batch": 4, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("distributed") / "set")


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(run_state.checkpoints(out)[-1] / "weights.safetensors")


def close(one: TrainRequest, other: TrainRequest) -> None:
    a, b = _weights(one.out), _weights(other.out)
    moved = 0.0
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=0, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
        moved = max(moved, float(value.abs().max()))
    assert moved > 0


def test_two_gloo_workers_equal_one_with_the_same_global_batch(folder: Path, tmp_path: Path) -> None:
    alone = request_of(folder, tmp_path / "alone", optimise=STEPS)
    train(alone)
    shared = request_of(folder, tmp_path / "shared", optimise=STEPS)
    two_workers(
        "from tests.training.test_distributed import STEPS; from tests.training.test_loop import request_of; "
        "from training.run import train; train(request_of(Path(sys.argv[1]), Path(sys.argv[2]), optimise=STEPS))",
        folder,
        shared.out,
    )
    close(alone, shared)


def two_workers(code: str, *paths: Path) -> None:
    """Run `code` in two processes that share a batch over gloo; it finds `paths` in sys.argv."""
    code = "import sys; from pathlib import Path; import torch; torch.set_num_threads(1); " + code
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, paths)],
            cwd=ROOT,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors


@pytest.mark.slow
def test_ray_train_runs_the_same_loop_with_relative_paths(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = request_of(folder, tmp_path / "alone", optimise=STEPS)
    train(alone)
    monkeypatch.chdir(folder.parent)
    shared = request_of(Path(folder.name), tmp_path / "shared", optimise=STEPS)
    train_distributed(shared, workers=2)
    close(alone, shared)
    with pytest.raises(TrainingError, match="holds a run already"):
        train_distributed(shared, workers=2)
