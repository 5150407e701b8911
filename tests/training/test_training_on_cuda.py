"""Training on a GPU: every task, the batch that is made there, a run that goes on. Skipped without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from renderers import load
from tests.renderers.narrow import narrow_checkpoint
from tests.training.sets import make_set
from training.config import load_config, make_config
from training.data.augment import Augmentation
from training.data.clip_sources import open_source
from training.data.loader import Loader, LoaderOptions
from training.run import TrainRequest, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SMALL = {"widths": [16, 16, 16, 64], "depths": [1, 1, 1, 1], "embedding": 16}
ONE_STEP = {"basecolor.l1": 1.0, "normal.cosine": 1.0, "depth.l1": 1.0, "roughness.l1": 1.0, "metallic.l1": 1.0}
KEEP = {"log": 1, "pictures": 2, "checkpoint": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("cuda") / "set", size=64)


@pytest.mark.parametrize("task", ["inverse", "lighting", "forward"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tiny_trains_and_leaves_a_renderer(task: Any, precision: str, folder: Path, tmp_path: Path) -> None:
    optimise = {"steps": 4, "batch": 2, "warmup": 1, "precision": precision}
    plain = {"network": SMALL, "data": {"frames": 2, "cache_gib": 1}, "optimise": optimise, "keep": KEEP}
    done = train(TrainRequest(task, load_config("tiny", task, plain), (str(folder),), tmp_path / "run"))
    assert done.step == 4 and np.isfinite(done.loss)
    renderer: Any = load(tmp_path / "run" / "renderer")
    assert all(torch.isfinite(tensor).all() for tensor in renderer.unet.state_dict().values())


@pytest.mark.parametrize("sampler", ["diffusion", "one-step"])
def test_svd_trains_from_a_checkpoint_and_resumes(sampler: str, folder: Path, tmp_path: Path) -> None:
    start = narrow_checkpoint(tmp_path / "start", "inverse")
    losses = {} if sampler == "diffusion" else {"losses": ONE_STEP}
    for steps in (2, 4):
        optimise = {"steps": steps, "batch": 2, "ema": 0.9, "precision": "bfloat16", "checkpointing": True}
        plain: dict[str, Any] = {"name": "narrow", "backbone": "svd", "start": str(start), "sampler": sampler}
        plain |= {"prediction": "v", "data": {"frames": 2}, "optimise": optimise | {"schedule": "constant"}}
        config = make_config(plain | losses | {"keep": KEEP})
        done = train(TrainRequest("inverse", config, (str(folder),), tmp_path / "run", resume=steps > 2))
        assert done.step == steps and np.isfinite(done.loss)


def test_a_batch_made_on_the_device_is_the_one_made_on_the_cpu(folder: Path) -> None:
    options = LoaderOptions(Augmentation(2, exposure_stops=(-1, 1)), 3, panorama=(8, 16), background=True, pin=True)
    made = []
    for device in ("cpu", "cuda"):
        with Loader(open_source(folder, folder, 1), options) as loader:
            made.append(next(loader).to(device))
    cpu, cuda = made
    assert cuda.rgb.is_cuda and cpu.keys == cuda.keys
    pairs = [(getattr(cpu, name), getattr(cuda, name)) for name in ("rgb", "mask", "panorama", "background")]
    for one, other in (*pairs[:2], *((cpu.gbuffers[name], cuda.gbuffers[name]) for name in cpu.gbuffers)):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-5, atol=1e-5)
    for one, other in pairs[2:]:  # turned there, and rounded to half precision
        torch.testing.assert_close(other.cpu(), one, rtol=2e-3, atol=1e-3)
