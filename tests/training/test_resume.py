"""A run that is cut and resumed ends bit for bit where the uncut one ends."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.sets import make_set
from tests.training.test_loop import request_of
from training import run_state
from training.run import train

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
VARIED = {"mirror": True, "permute": True, "reverse": True, "exposure_stops": [-0.5, 0.5], "frames": 2, "threads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("resume") / "set")


def _state(out: Path) -> dict[str, torch.Tensor]:
    last = run_state.checkpoints(out)[-1]
    parts = ("weights", "average", "optimizer")
    tensors = {
        part: load_file(last / f"{part}.safetensors") for part in parts if (last / f"{part}.safetensors").exists()
    }
    # cloned, because a loaded tensor is a view of its file
    return {f"{part}/{name}": value.clone() for part, named in tensors.items() for name, value in named.items()}


def _same(one: Path, other: Path) -> None:
    a, b = _state(one), _state(other)
    assert a.keys() == b.keys() and len(a) > 20
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, different[:3]


def _stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ask the run to stop after `step` steps, as Ctrl-C does."""
    from training import loop

    plain = loop.Trainer.advance

    def counted(self: Any, rate: float, **options: bool) -> Any:
        if self.step + 1 == step:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, rate, **options)

    monkeypatch.setattr(loop.Trainer, "advance", counted)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """Mid-epoch, with averaged weights, accumulation and every augmentation; 7 clips, so epochs end inside batches."""
    steps = {"steps": 7, "batch": 4, "accumulation": 2, "ema": 0.9, "optimizer": optimizer}
    whole = request_of(folder, tmp_path / "whole", optimise=steps, keep={"checkpoint": 50}, data=VARIED)
    train(whole)
    cut = request_of(folder, tmp_path / "cut", optimise=steps, keep={"checkpoint": 50}, data=VARIED)
    with monkeypatch.context() as patched:
        _stop_at(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            train(cut)
    assert [path.name for path in run_state.checkpoints(cut.out)] == ["00000003"]
    train(dataclasses.replace(cut, resume=True))
    _same(whole.out, cut.out)


def test_checkpoints_and_pictures_on_the_way_change_nothing(folder: Path, tmp_path: Path) -> None:
    plain = request_of(folder, tmp_path / "plain", keep={"checkpoint": 50})
    busy = request_of(folder, tmp_path / "busy", keep={"checkpoint": 1, "pictures": 1, "log": 1})
    train(plain)
    train(busy)
    _same(plain.out, busy.out)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_still_resumes(folder: Path, tmp_path: Path) -> None:
    request = request_of(folder, tmp_path / "run", keep={"checkpoint": 2})
    train(request)
    expected = _state(request.out)
    last = run_state.checkpoints(request.out)[-1]
    weights = last / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(Exception, match="does not fit this run"):
        train(dataclasses.replace(request, resume=True))
    for path in last.iterdir():
        if path.is_file():
            path.unlink()
    assert [path.name for path in run_state.checkpoints(request.out)] == ["00000002"]
    train(dataclasses.replace(request, resume=True))
    found = _state(request.out)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_goes_on(folder: Path, tmp_path: Path) -> None:
    """SIGKILL, four times, at moments that have nothing to do with steps."""
    whole = request_of(folder, tmp_path / "whole", optimise={"steps": 40}, keep={"checkpoint": 3})
    train(whole)
    code = (
        "import sys; from pathlib import Path; from tests.training.test_loop import request_of; "
        "from training.run import train; "
        "folder, out = map(Path, sys.argv[1:]); "
        "train(request_of(folder, out, resume=True, optimise={'steps': 40}, keep={'checkpoint': 3}))"
    )
    out = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(folder), str(out)]
    for pause in (0.3, 0.8, 1.5, 0.5):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        count = len(run_state.checkpoints(out))
        deadline = time.monotonic() + 120
        while len(run_state.checkpoints(out)) <= min(count, 1) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(pause)
        process.kill()
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    _same(whole.out, out)
