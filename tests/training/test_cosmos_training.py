"""Published cosmos weights, narrow, through the whole chain: converted, trained by LoRA, resumed, evaluated."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file

from manifests.codec.codecs import encode_clip
from manifests.contract.row import Sample
from manifests.errors import DatasetError, InputError
from renderers import ForwardRenderer, InverseRenderer
from renderers.cosmos.published_weights import LICENCE, convert_cosmos
from renderers.svd import lora
from tests.manifests.clips import clip_sample, make_dataset, row, sphere_clip
from tests.renderers.narrow_cosmos import NETWORK, published_folder
from tests.training.analytic_benchmark import write_part
from tests.training.test_distributed import close, two_workers
from training import run_state
from training.config import Task, load_config
from training.data.batch import Batch
from training.evaluation.acceptance import OURS
from training.evaluation.evaluation_run import evaluate
from training.evaluation.evaluation_settings import EvaluationSettings
from training.run import TrainRequest, _accelerator, make_loader, make_objective, train

torch.set_num_threads(1)
FRAMES, SIZE = 9, 32
RENDERER = "renderer/unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of clips of nine frames, and a converted checkpoint of each kind."""
    root = tmp_path_factory.mktemp("cosmos")
    make_dataset(root / "set", sample=lambda scene, light: clip_sample(scene, light, size=SIZE, frames=FRAMES))
    for kind in ("inverse", "forward"):
        convert_cosmos(published_folder(root / "published" / kind, kind), root / kind)
    return root


def request_of(folder: Path, task: Task, out: Path, *, resume: bool = False, **changes: Any) -> TrainRequest:
    plain: dict[str, Any] = {
        "start": str(folder / task),
        "data": {"panorama": [16, 32], "threads": 1, "cache_gib": 1, **changes.pop("data", {})},
        "optimise": {"steps": 4, "batch": 2, "warmup": 1, **changes.pop("optimise", {})},
        "lora": changes.pop("lora", {"rank": 4, "only": True}),
        "keep": {"log": 2, "pictures": 1000, "checkpoint": 1000, **changes.pop("keep", {})},
    }
    config = load_config("cosmos-narrow", task, plain | changes)
    return TrainRequest(task, config, (str(folder / "set"),), out, resume=resume)


def trained(request: TrainRequest) -> Any:
    """The renderer of a run, of which only a LoRA has learned, under the licence of what it started from."""
    task, start = request.task, Path(str(request.config.start))
    base = load_file(start / "unet" / "diffusion_pytorch_model.safetensors")
    kept = load_file(request.out / "renderer" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(kept[name].float(), tensor.float()) for name, tensor in base.items())
    weights = load_file(run_state.checkpoints(request.out)[-1] / "weights.safetensors")
    assert weights and all(".lora_" in name for name in weights)
    pipeline: Any = {"inverse": InverseRenderer, "forward": ForwardRenderer}[task]
    renderer = pipeline.from_pretrained(request.out / "renderer")
    assert lora.has_lora(renderer.unet) and renderer.config.licence == LICENCE
    assert (request.out / "renderer" / "NOTICE.txt").is_file()
    return renderer


@pytest.mark.parametrize("steps", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_lora_learns_and_goes_on_where_it_stopped(folder: Path, tmp_path: Path, steps: int) -> None:
    optimise = {"steps": steps, "learning_rate": 3e-3, "ema": 0.0, "schedule": "constant"}
    keep = {"keep": {"log": 10, "pictures": 1000, "checkpoint": steps - 2}}
    whole = request_of(folder, "inverse", tmp_path / "whole", optimise=optimise, **keep)
    assert train(whole).step == steps
    trained(whole)
    stopped = dataclasses.replace(whole, out=tmp_path / "stopped", resume=True)
    shutil.copytree(whole.out, stopped.out)
    shutil.rmtree(stopped.out / "renderer")
    shutil.rmtree(run_state.checkpoints(stopped.out)[-1])
    assert train(stopped).made == 2
    adapters = [load_file(run.out / "renderer" / "lora" / lora.FILE) for run in (whole, stopped)]
    assert adapters[0].keys() == adapters[1].keys() and len(adapters[0]) == 2 * 2 * 4
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, atol=1e-6, rtol=0)
    if steps == 50:
        assert mean_loss(folder, "inverse", whole.out) < 0.98 * mean_loss(folder, "inverse", None)


def test_a_forward_renderer_learns_a_lora_and_relights_with_it(folder: Path, tmp_path: Path) -> None:
    request = request_of(folder, "forward", tmp_path / "run", optimise={"steps": 3, "learning_rate": 0.1, "ema": 0.0})
    train(request)
    renderer = trained(request)
    renderer.set_progress_bar_config(disable=True)
    buffers = {"depth": np.linspace(0, 1, 9 * 32 * 32, dtype=np.float32).reshape(9, 32, 32, 1)}
    lit = [
        renderer(buffers, np.ones((8, 16, 3), np.float32), steps=1, lora_scale=scale, generator=seeded()).video
        for scale in (None, 1.0, 0.0)
    ]
    np.testing.assert_array_equal(lit[0], lit[1])
    assert np.abs(lit[0] - lit[2]).max() > 1e-3


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


SPREAD = {"steps": 3, "batch": 2, "learning_rate": 1e-3, "ema": 0.5, "checkpointing": True, "sharded": True}
EVERYTHING = {"lora": {"rank": 4, "only": False}, "optimise": SPREAD, "keep": {"checkpoint": 2}}


def spread(folder: Path, out: Path) -> None:
    """A worker's part: a run that is spread over all, and once more from its middle."""
    for resume in (False, True):
        train(request_of(folder, "inverse", out, resume=resume, **EVERYTHING))
        if not resume:
            PartialState().wait_for_everyone()
            if PartialState().is_main_process:
                shutil.rmtree(run_state.checkpoints(out)[-1])
            PartialState().wait_for_everyone()


def test_a_network_spread_over_two_workers_takes_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    alone = request_of(folder, "inverse", tmp_path / "alone", **EVERYTHING)
    train(alone)
    shared = dataclasses.replace(alone, out=tmp_path / "shared")
    code = "from tests.training.test_cosmos_training import spread; spread(Path(sys.argv[1]), Path(sys.argv[2]))"
    two_workers(code, folder, shared.out)
    close(alone, shared)
    renderers = [load_file(run.out / RENDERER) for run in (alone, shared)]
    for name, tensor in renderers[0].items():
        torch.testing.assert_close(renderers[1][name], tensor, rtol=0, atol=1e-4)
    for path in ("optimizer.safetensors", "average.safetensors", "weights.safetensors"):
        ours, theirs = (load_file(run.out / "checkpoints" / "00000002" / path) for run in (alone, shared))
        assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}
    shutil.rmtree(run_state.checkpoints(shared.out)[-1])
    assert train(dataclasses.replace(shared, resume=True)).made == 1, "one worker goes on where two were"
    close(alone, shared)


ONE_STEP: dict[Task, dict[str, Any]] = {
    "inverse": {
        "sampler": "one-step",
        "losses": {"basecolor.l1": 1, "normal.cosine": 1, "depth.l1": 1, "roughness.l1": 1, "metallic.l1": 1},
    },
    "forward": {"sampler": "one-step", "losses": {"rgb.l1": 1}},
}


@pytest.mark.parametrize("steps", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_renderers_are_fine_tuned_end_to_end_to_one_step_resumed_and_evaluated(
    folder: Path, tmp_path: Path, steps: int
) -> None:
    checkpoints = {}
    for task, changes in ONE_STEP.items():
        optimise = {"steps": steps, "learning_rate": 1e-2, "ema": 0.0, "schedule": "constant"}
        keep = {"log": 10, "pictures": 1000, "checkpoint": steps - 2}
        whole = request_of(folder, task, tmp_path / task, optimise=optimise, keep=keep, **changes)
        assert train(whole).step == steps
        adapter = load_file(whole.out / "renderer" / "lora" / lora.FILE)
        assert all(bool(tensor.any()) for tensor in adapter.values()), "gradients came through the autoencoder"
        assert trained(whole).config.sampler == "one-step"
        shutil.rmtree(run_state.checkpoints(whole.out)[-1])
        assert train(dataclasses.replace(whole, resume=True)).made == 2
        again = load_file(whole.out / "renderer" / "lora" / lora.FILE)
        for name, tensor in adapter.items():
            torch.testing.assert_close(again[name], tensor, atol=1e-6, rtol=0)
        if steps == 50:
            assert mean_loss(folder, task, whole.out, **changes) < 0.95 * mean_loss(folder, task, None, **changes)
        checkpoints[task] = str(whole.out / "renderer")
    write_part(tmp_path / "bench" / "scenes", scenes=1)
    settings = EvaluationSettings(**checkpoints, lora_scale=1.0)
    scores = evaluate(tmp_path / "bench", settings, tmp_path / "out").scores
    assert all(np.isfinite(score.value) for score in scores if score.method == OURS)


def mean_loss(folder: Path, task: Task, run: Path | None, **changes: Any) -> float:
    """Of one batch of all clips, at the same noise for both."""
    changes |= {} if run is None else {"start": str(run / "renderer")}
    request = request_of(folder, task, folder / "loss", optimise={"batch": 6}, **changes)
    objective = make_objective(request)
    accelerator = _accelerator(request.config)
    with make_loader(request, "main", objective.needs, accelerator, 0) as loader, torch.no_grad():
        return float(objective.losses(objective.network.eval(), next(loader).to(accelerator.device)).total.mean())


def batch_of(folder: Path) -> Batch:
    request = request_of(folder, "forward", folder / "batch")
    objective = make_objective(request)
    with make_loader(request, "main", objective.needs, _accelerator(request.config), 0) as loader:
        return next(loader).to(torch.device("cpu"))


def test_gbuffers_and_light_are_withheld_one_by_one_and_all_together(folder: Path) -> None:
    batch = batch_of(folder)
    objective: Any = make_objective(request_of(folder, "forward", folder / "x", data={"drop_each": 0.4}))
    many = dataclasses.replace(batch, seeds=torch.arange(200))
    shares = {name: float(gone.float().mean()) for name, gone in objective._dropped(many).items()}
    assert len(shares) == 6 and all(0.3 < share < 0.5 for share in shares.values())
    gone = {name: drawn[: batch.size] for name, drawn in objective._dropped(batch).items()}
    condition, (light,) = objective._inputs(dataclasses.replace(batch, unconditional=torch.tensor([True, False])))
    assert condition.shape == (2, 2, 85, 4, 4) and light.shape == (2, 2, 51, 4, 4)
    assert not condition[0].any() and not light[0].any()
    for index, name in enumerate(("basecolor", "normal", "metallic", "roughness", "depth")):
        part = condition[1, :, 17 * index : 17 * index + 17]
        assert bool(part.any()) is not bool(gone[name][1]), name
        assert bool((part[:, 16] == float(not gone[name][1])).all())
    assert bool(light[1].any()) is not bool(gone["environment"][1])
    inverse: Any = make_objective(request_of(folder, "inverse", folder / "x"))
    seen: list[torch.Tensor] = []
    hook = inverse.network.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, :, 16:]))
    inverse.losses(inverse.network, dataclasses.replace(batch, unconditional=torch.tensor([True, False])))
    hook.remove()
    assert not seen[0][0].any() and seen[0][1].any()


def lacking(source: Path, out: Path, gone: dict[int, tuple[str, ...]]) -> Path:
    """A set whose clips, by their number, lack attributes, or the light."""

    def sample(scene: int, light: int) -> Sample:
        names = gone.get(scene, ())
        clip = sphere_clip(f"{scene:08d}-{light:02d}", frames=FRAMES, size=SIZE, seed=scene)
        arrays = {name: array for name, array in clip.arrays.items() if name not in names}
        known = None if "environment" in names else clip.environment
        clip = dataclasses.replace(clip, arrays=arrays, environment=known)
        files, errors = encode_clip(clip, "compact")
        shape = {"frames": FRAMES, "height": SIZE, "width": SIZE, "attributes": tuple(arrays)}
        return Sample(clip.key, files, row(clip.key, scene, light, codec_errors=errors, **shape))

    make_dataset(out, sample=sample, codec="compact", items=2, per_shard=2)
    return out


def test_clips_that_lack_gbuffers_or_light_train_with_what_they_have(folder: Path, tmp_path: Path) -> None:
    gone = {0: ("depth", "metallic", "environment"), 1: ("basecolor",)}
    source = lacking(folder, tmp_path / "set", gone)
    forward = dataclasses.replace(request_of(folder, "forward", tmp_path / "x"), datasets=(str(source),))
    objective: Any = make_objective(forward)
    with make_loader(forward, "main", objective.needs, _accelerator(forward.config), 0) as loader:
        batch = next(loader).to(torch.device("cpu"))
    clips = [int(key[:8]) for key in batch.keys]
    assert sorted(clips) == [0, 1] and set(batch.missing) == {"depth", "metallic", "environment", "basecolor"}
    condition, (light,) = objective._inputs(batch)
    for index, name in enumerate(("basecolor", "normal", "metallic", "roughness", "depth")):
        for place, clip in enumerate(clips):
            part = condition[place, :, 17 * index : 17 * index + 17]
            has = name not in gone[clip]
            assert bool(part.any()) is has and bool((part[:, 16] == has).all()), (name, clip)
    assert [bool(part.any()) for part in light] == ["environment" not in gone[clip] for clip in clips]
    assert bool(objective.losses(objective.network, batch).total.isfinite().all())
    inverse: Any = make_objective(request_of(folder, "inverse", tmp_path / "y"))
    for seed in range(40):
        asked = inverse._drawn(dataclasses.replace(batch, seeds=torch.tensor([seed << 8, (seed + 1) << 8])))
        assert all(name not in gone[clip] for name, clip in zip(asked, clips, strict=True))
    assert train(dataclasses.replace(forward, out=tmp_path / "run")).step == 4
    real = dataclasses.replace(batch, real=torch.tensor([True, False]))
    doubted = {name: torch.tensor([0.5, 1.0]) for name in batch.confidence}
    losses = objective.losses(objective.network, dataclasses.replace(real, confidence=doubted)).total
    torch.testing.assert_close(losses / objective.losses(objective.network, batch).total, torch.tensor([0.5, 1.0]))


def test_what_a_renderer_cannot_do_without_is_named(folder: Path, tmp_path: Path) -> None:
    source = lacking(folder, tmp_path / "set", {1: ("depth",)})
    config = load_config("tiny", "inverse", {"data": {"frames": 2, "threads": 1}, "optimise": {"steps": 1, "batch": 2}})
    with pytest.raises(DatasetError, match=r"clip 00000001-0.: has no depth; leave such clips out"):
        train(TrainRequest("inverse", config, (str(source),), tmp_path / "run"))


def test_wrong_lengths_and_footage_are_one_clear_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it takes 1, 9, 17"):
        train(request_of(folder, "inverse", tmp_path / "a", data={"frames": 4}))
    request = request_of(folder, "forward", tmp_path / "b")
    with pytest.raises(InputError, match=r"lora\.only"):
        train(dataclasses.replace(request, real=request.datasets))
    without = load_config("cosmos-narrow", "forward", {"network": NETWORK})
    with pytest.raises(InputError, match="needs a vae"):
        train(TrainRequest("forward", without, request.datasets, tmp_path / "c"))


def test_renderers_are_evaluated(folder: Path, tmp_path: Path) -> None:
    write_part(tmp_path / "bench" / "scenes", scenes=1)
    settings = EvaluationSettings(str(folder / "inverse"), str(folder / "forward"), steps=1, window=9)
    scores = evaluate(tmp_path / "bench", settings, tmp_path / "out").scores
    assert {score.task for score in scores} >= {"inverse", "forward"}
    assert all(np.isfinite(score.value) for score in scores if score.method == OURS)
