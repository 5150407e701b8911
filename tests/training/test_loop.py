from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from manifests.errors import CheckpointError, InputError, TrainingError
from pipeline.signals import StopSignals
from renderers import load
from tests.training.sets import make_set
from training import run_state
from training.config import PRESETS, Optimise, load_config, make_config
from training.loop import learning_rate, progress, streams_of
from training.run import TrainRequest, make_objective, train

torch.set_num_threads(1)
SMALL = {"widths": [16, 16, 16, 64], "depths": [1, 1, 1, 1], "embedding": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("loop") / "set")


def request_of(folder: Path, out: Path, *, resume: bool = False, **changes: Any) -> TrainRequest:
    """A few steps of a very small inverse renderer on 16x16 clips."""
    plain: dict[str, Any] = {
        "network": SMALL,
        "data": {"frames": 2, "threads": 1, "cache_gib": 1, **changes.pop("data", {})},
        "optimise": {"steps": 4, "batch": 2, "warmup": 1, **changes.pop("optimise", {})},
        "keep": {"log": 2, "pictures": 100, "checkpoint": 2, **changes.pop("keep", {})},
    }
    return TrainRequest("inverse", load_config("tiny", "inverse", plain | changes), (str(folder),), out, resume=resume)


def test_a_run_ends_in_a_renderer_checkpoints_and_curves(folder: Path, tmp_path: Path) -> None:
    request = request_of(folder, tmp_path / "run", optimise={"steps": 6}, keep={"checkpoint": 2, "checkpoints": 2})
    done = train(request)
    assert done.step == 6 and np.isfinite(done.loss) and 0 <= done.waiting <= 1
    assert [path.name for path in run_state.checkpoints(request.out)] == ["00000004", "00000006"]
    assert not list((request.out / "checkpoints").glob(".*"))
    renderer: Any = load(request.out / "renderer")
    assert renderer.config.licence is None, "nobody said under which licence these weights are"
    record = renderer.config.training
    assert record["step"] == 6 and record["clips"] == {"main": 7} and record["config"]["name"] == "tiny"
    assert record["sizes"] == [[16, 16]] and renderer.side == 16
    video = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    assert renderer(video).gbuffers["normal"].shape == (2, 16, 16, 3)
    events = EventAccumulator(str(request.out / "logs"))
    events.Reload()
    assert {"loss", "normal.cosine", "rate", "norm", "waiting"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [2, 4, 6]
    assert events.Tags()["images"] == ["inverse"]


def test_the_newest_weights_are_kept_in_half_precision_and_start_another_run(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    train(request_of(folder, tmp_path / "run", keep={"half": str(kept)}))
    stored = load_file(next(kept.glob("unet/*.safetensors")))
    halves = sum(tensor.numel() for tensor in stored.values() if tensor.dtype == torch.float16)
    assert halves >= 0.95 * sum(tensor.numel() for tensor in stored.values())
    video = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    whole, half = (load(path)(video).gbuffers for path in (tmp_path / "run" / "renderer", kept))
    assert all(np.abs(whole[name] - half[name]).max() < 2e-3 for name in whole)
    assert train(request_of(folder, tmp_path / "next", start=str(kept))).step == 4

    other = tmp_path / "letters"
    other.mkdir()
    (other / "dear.txt").write_text("keep me")
    with pytest.raises(CheckpointError, match="exists and is no checkpoint"):
        train(request_of(folder, tmp_path / "third", keep={"half": str(other)}))
    assert (other / "dear.txt").read_text() == "keep me" and not (tmp_path / "third").exists()


def test_weights_carry_the_licence_that_was_given_and_a_resumed_run_may_state_it(folder: Path, tmp_path: Path) -> None:
    train(request_of(folder, tmp_path / "run", optimise={"steps": 1}))
    more = request_of(folder, tmp_path / "run", optimise={"steps": 2}, licence="CC-BY-4.0", resume=True)
    train(more)
    assert load(more.out / "renderer").config.licence == "CC-BY-4.0"  # type: ignore[attr-defined]


def test_predictions_are_rendered_again_beside_images_without_light(folder: Path, tmp_path: Path) -> None:
    forward = load_config("tiny", "forward", {"network": SMALL, "optimise": {"steps": 1, "batch": 2}})
    train(TrainRequest("forward", forward, (str(folder),), tmp_path / "forward"))
    again = {"rerender": str(tmp_path / "forward/renderer"), "data": {"images_share": 0.5}}
    request = request_of(folder, tmp_path / "run", optimise={"steps": 6}, keep={"log": 1}, **again)
    assert train(replace(request, images=(str(folder),))).step == 6
    events = EventAccumulator(str(request.out / "logs"))
    events.Reload()
    assert 0 < len(events.Scalars("rgb.l1")) < 6, "images have no light to be rendered under"
    assert not (request.out / "renderer" / "forward").exists()
    with pytest.raises(TrainingError, match="single images have no light"):
        train(TrainRequest("forward", forward, (str(folder),), tmp_path / "lit", images=(str(folder),)))


def test_training_lowers_the_loss(folder: Path, tmp_path: Path) -> None:
    request = request_of(
        folder, tmp_path / "run", optimise={"steps": 60, "batch": 4, "warmup": 5}, keep={"log": 10, "checkpoint": 60}
    )
    train(request)
    events = EventAccumulator(str(request.out / "logs"))
    events.Reload()
    losses = [event.value for event in events.Scalars("loss")]
    assert losses[-1] < 0.75 * losses[0]


def test_a_loss_that_is_not_a_number_stops_and_names_the_clips(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.objectives.inverse_rendering import InverseObjective

    plain, bad = InverseObjective.losses, "00000005-00"

    def poisoned(self: InverseObjective, network: torch.nn.Module, batch: Any) -> Any:
        found = plain(self, network, batch)
        return type(found)(found.total * (float("nan") if bad in batch.keys else 1.0), found.parts)

    monkeypatch.setattr(InverseObjective, "losses", poisoned)
    request = request_of(
        folder, tmp_path / "run", optimise={"steps": 50, "batch": 1}, keep={"checkpoint": 1, "checkpoints": 3}
    )
    with pytest.raises(TrainingError, match=rf"the loss is nan on clips {bad}; the last good checkpoint is .*\d+"):
        train(request)
    last = run_state.checkpoints(request.out)
    for tensor in load(last[-1] / "renderer").unet.state_dict().values():
        assert torch.isfinite(tensor).all()


def test_accumulated_parts_are_one_batch(folder: Path, tmp_path: Path) -> None:
    weights, plan = [], {"steps": 2, "batch": 4, "learning_rate": 1e-4}
    for parts in (1, 2):
        request = request_of(folder, tmp_path / str(parts), optimise={**plan, "accumulation": parts})
        train(request)
        renderer: Any = load(request.out / "renderer")
        weights.append(torch.cat([value.flatten() for value in renderer.unet.state_dict().values()]))
    start = make_objective(request_of(folder, tmp_path)).network.state_dict()
    moved = (torch.cat([value.flatten() for value in start.values()]) - weights[0]).abs().max()
    assert (weights[0] - weights[1]).abs().max() < 0.1 * moved


def test_averaged_weights_are_what_is_saved(folder: Path, tmp_path: Path) -> None:
    request = request_of(folder, tmp_path / "run", optimise={"ema": 0.99})
    train(request)
    (_, last) = run_state.checkpoints(request.out)
    average, raw = load_file(last / "average.safetensors"), load_file(last / "weights.safetensors")
    renderer: Any = load(request.out / "renderer")
    state = renderer.unet.state_dict()
    assert all(torch.equal(state[name], value) for name, value in average.items())
    assert any(not torch.equal(raw[name], value) for name, value in average.items())


def test_an_interrupted_run_keeps_its_last_step(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(StopSignals):
        def __init__(self, patience: int) -> None:
            super().__init__(patience)
            self.count = 1

    monkeypatch.setattr("training.run.StopSignals", Asked)
    request = request_of(folder, tmp_path / "run", optimise={"steps": 9}, keep={"checkpoint": 9})
    with pytest.raises(KeyboardInterrupt):
        train(request)
    assert [path.name for path in run_state.checkpoints(request.out)] == ["00000001"]


def test_a_folder_with_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(request_of(folder, out, optimise={"steps": 1}))
    with pytest.raises(TrainingError, match="holds a run already; add `resume`"):
        train(request_of(folder, out))
    with pytest.raises(TrainingError, match=r"config.seed was 0 and is 5 now"):
        train(request_of(folder, out, resume=True, seed=5))
    longer = request_of(folder, out, resume=True, optimise={"steps": 3})
    assert train(longer).step == 3, "a run may be made longer"


def test_a_time_budget_ends_a_run_and_leads_the_rate() -> None:
    plan = Optimise(steps=1000, minutes=10, warmup=10, schedule="linear", final_rate=0.1, learning_rate=1.0)
    assert progress(plan, 10, 300) == 0.5 and progress(plan, 900, 300) == 0.9 and progress(plan, 10, 6000) == 1
    assert learning_rate(plan, 500, 0.5) == pytest.approx(0.55)
    assert learning_rate(plan, 0, 0.0) == pytest.approx(1 / 11)
    assert learning_rate(plan, 999, 1.0) == pytest.approx(0.1)


def test_images_take_their_share_of_the_steps() -> None:
    config = make_config({"name": "mix", "data": {"images_share": 0.3}, "optimise": {"accumulation": 2, "batch": 2}})
    steps = [streams_of(config, step, ("main", "real"), images=True) for step in range(500)]
    assert all(len(step) == 4 and step[0] == step[1] and step[2:] == ["real", "real"] for step in steps)
    assert 0.22 < np.mean([step[0] == "images" for step in steps]) < 0.38
    assert streams_of(config, 3, ("main",), images=False) == ["main", "main"]


@pytest.mark.parametrize("task", ["inverse", "lighting", "forward"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_for_every_task(preset: str, task: Any) -> None:
    config = load_config(preset, task)
    assert config.name == preset
    cosmos = 0.05 if task == "forward" else 0.1
    published = {("svd", "forward"): 0.1, ("cosmos-lora", task): cosmos, ("cosmos-narrow", task): cosmos}
    assert config.data.dropout == published.get((preset, task), 0.0)
    tiny, debug = load_config("tiny", task), load_config("debug", task)
    assert (debug.losses, debug.data, debug.network) == (tiny.losses, tiny.data, tiny.network), "debug only shortens"


def test_mistakes_in_a_preset_name_the_field(tmp_path: Path) -> None:
    def error(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text("base: tiny\n" + text)
        with pytest.raises(InputError) as caught:
            load_config(path, "inverse")
        return str(caught.value).removeprefix(f"{path}: ")

    assert error("optimise: {bach: 4}").startswith("optimise.bach: no such field; did you mean batch?")
    assert error("optimise: {batch: four}").startswith("optimise.batch: Expected `int`")
    assert error("optimise: {batch: 6, accumulation: 4}").startswith("optimise.accumulation: 4 does not divide")
    assert error("data: {dropout: 1.5}").startswith("data.dropout: Expected `float` <= 1.0")
    assert error("sampler: diffusion").startswith("prediction: diffusion is trained as v prediction")
    assert error("inverse: 3").startswith("inverse: expected a mapping")
    with pytest.raises(InputError, match="did you mean tiny"):
        load_config("tinny", "inverse")
    (tmp_path / "mine.yaml").write_text("base: svd\noptimise: {batch: 8}\n")
    mine = load_config(tmp_path / "mine.yaml", "forward")
    assert (mine.name, mine.optimise.batch, mine.optimise.weight_decay, mine.lora.rank) == ("mine", 8, 0.1, 16)


def test_checkpoints_are_json_and_safetensors_only(folder: Path, tmp_path: Path) -> None:
    request = request_of(folder, tmp_path / "run", optimise={"ema": 0.9})
    train(request)
    files = {path.suffix for path in (request.out / "checkpoints").rglob("*") if path.is_file()}
    assert files == {".json", ".safetensors"}
    for path in (request.out / "checkpoints").rglob("*.json"):
        json.loads(path.read_text())
