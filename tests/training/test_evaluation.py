"""The evaluation on analytic benchmarks: reading, judging, reporting, going on; with untrained networks."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.lora import lora_bars
from manifests.errors import InputError
from manifests.report.templates import render
from manifests.store.dataset import open_dataset
from renderers.forward import ForwardRenderer
from renderers.inverse import InverseRenderer
from renderers.tiny.tiny_renderers import TinyForward, TinyInverse
from tests.training.analytic_benchmark import FRAMES, SIZE, write_catalogue, write_part
from training.baselines import forward_baselines, inverse_baselines
from training.evaluation import acceptance
from training.evaluation.benchmark import open_benchmark, seen_in_training
from training.evaluation.evaluation_report import RESULTS
from training.evaluation.evaluation_run import evaluate
from training.evaluation.evaluation_settings import EvaluationSettings
from training.evaluation.gallery import Strip, video_strip, worst_gallery
from training.evaluation.scores import Score, Table, mean, select, tables

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    write_part(folder / "objects", scenes=1)
    write_part(folder / "scenes", scenes=1)
    write_part(folder / "turns", scenes=1, lights=1, moving_light=True, frames=4)
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    narrow = {"widths": (16, 32), "depths": (1, 1), "embedding": 16}
    InverseRenderer(TinyInverse(**narrow)).save_pretrained(folder / "inverse")
    ForwardRenderer(TinyForward(**narrow)).save_pretrained(folder / "forward")
    return folder


@pytest.fixture(scope="module")
def settings(folder, checkpoints):
    training = write_part(folder / "training", scenes=2, uids=("mesh/b",))
    return EvaluationSettings(str(checkpoints / "inverse"), str(checkpoints / "forward"), training=training)


@pytest.fixture(scope="module")
def evaluated(folder, settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated")
    return evaluate(folder, settings, out), out


def score(method, metric, value, *, task="forward", attribute="", part="scenes", scene=0):
    return Score(part, scene, 0, task, method, attribute, metric, value)


def bar(found, name):
    return next(bar for bar in found if bar.name == name)


# --- reading ---------------------------------------------------------------------------------------------------


def test_the_clips_of_a_scene_share_g_buffers_and_differ_in_light(folder):
    part = open_benchmark(folder).parts[1]
    shots = part.shots(0)
    assert [shot.light for shot in shots] == [0, 1]
    assert shots[0].clip.arrays["normal"] is shots[1].clip.arrays["normal"]
    assert np.abs(shots[0].video - shots[1].video).max() > 0.1
    assert shots[0].panorama.shape == (FRAMES, 32, 64, 3)
    assert (shots[0].panorama[0, 16, 16], shots[1].panorama[0, 16, 16]) == (
        pytest.approx([0.8, 0.6, 0.4], abs=1e-3),
        pytest.approx([0.3, 0.4, 0.8], abs=1e-3),
    )
    assert shots[0].ground.sum() < shots[0].surface.sum() < shots[0].surface.size


def test_a_folder_without_a_benchmark_and_an_unfinished_one_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no benchmark here"):
        open_benchmark(tmp_path)
    write_part(tmp_path / "objects", scenes=1)
    (tmp_path / "objects" / "manifest" / "000000.parquet").unlink()
    with pytest.raises(InputError, match="not complete"):
        open_benchmark(tmp_path)


def test_assets_and_places_that_training_saw_are_found(tmp_path):
    tested = write_part(tmp_path / "bench" / "scenes", scenes=1, uids=("mesh/new", "mesh/old", "hdri/1", "cube"))
    trained = write_part(tmp_path / "training", scenes=1, uids=("mesh/old", "hdri/2", "cube"))
    write_catalogue(
        tested,
        [("mesh/new", "", "test"), ("mesh/old", "", "test"), ("hdri/1", "a square", "test"), ("cube", "", "all")],
    )
    write_catalogue(trained, [("mesh/old", "", "train"), ("hdri/2", "a square", "train"), ("cube", "", "all")])
    assert seen_in_training(open_benchmark(tmp_path / "bench"), open_dataset(trained)) == ["hdri/1", "mesh/old"]


# --- scores and bars -------------------------------------------------------------------------------------------


def test_tables_hold_means_over_clips_with_the_best_fair_method_in_bold():
    scores = [
        score("ours", "psnr", 20.0),
        score("ours", "psnr", 30.0, scene=1),
        score("plain", "psnr", 10.0),
        score("with the truth (oracle)", "psnr", 50.0),
    ]
    (table,) = tables(scores)
    assert table == Table(
        "forward · SyntheticScenes",
        ("ours", "plain", "with the truth (oracle)"),
        ("psnr",),
        ((25.0,), (10.0,), (50.0,)),
        2,
    )
    assert "| ours | **25.00** |" in table.markdown()
    assert "| with the truth (oracle) | 50.00 |" in table.markdown()
    assert mean(select(scores, "forward", "psnr", method="nobody")) is None


def test_bars_hold_exactly_from_their_limits_on():
    def judged(ours):
        return acceptance.bars(
            [score(acceptance.OURS, "surface_psnr", ours), score(forward_baselines.SPLIT_SUM, "surface_psnr", 20.0)]
        )

    assert bar(judged(22.0), "forward").holds is True
    assert bar(judged(21.99), "forward").holds is False


def test_forward_is_judged_on_scenes_alone():
    scores = [
        score(acceptance.OURS, "surface_psnr", 21.0),
        score(acceptance.OURS, "surface_psnr", 90.0, part="objects"),
        score(forward_baselines.SPLIT_SUM, "surface_psnr", 20.0),
    ]
    assert bar(acceptance.bars(scores), "forward").measured == pytest.approx(1.0)


def test_bars_without_scores_are_not_measured_and_never_hold():
    found = acceptance.bars([])
    assert len(found) > 15
    assert all(one.holds is None and one.line().startswith("not measured") for one in found)


def test_the_inverse_bars_compare_with_the_best_baseline():
    def angle(method, value):
        return score(method, "mean_angle", value, task="inverse", attribute="normal")

    scores = [
        angle(acceptance.OURS, 13.0),
        angle(inverse_baselines.PLANE, 30.0),
        angle(inverse_baselines.MEAN, 40.0),
        angle(inverse_baselines.MEAN_MAP, 20.0),
    ]
    found = bar(acceptance.bars(scores), "normals")
    assert (found.measured, found.holds) == (pytest.approx(0.65), True)
    assert bar(acceptance.bars(scores[:-1]), "normals").holds is None  # a baseline is missing: not judged


def test_roughness_has_to_beat_the_mean_not_to_match_it():
    def rough(method, value):
        return score(method, "rmse", value, task="inverse", attribute="roughness")

    for ours, holds in ((0.199, True), (0.2, False)):
        scores = [
            rough(acceptance.OURS, ours),
            rough(inverse_baselines.MEAN, 0.2),
            rough(inverse_baselines.MEAN_MAP, 0.21),
        ]
        assert bar(acceptance.bars(scores), "roughness").holds is holds
    scores = [rough(acceptance.OURS, 0.15), rough(acceptance.ONE_FRAME, 0.2)]
    video = bar(acceptance.bars(scores), "roughness, video against one frame")
    assert (video.measured, video.holds) == (pytest.approx(0.25), None)


def test_relighting_has_to_beat_both_of_its_baselines():
    def lit(method, value):
        return score(method, "surface_psnr", value, task="relighting")

    scores = [
        lit(acceptance.OURS, 20.0),
        lit(forward_baselines.UNCHANGED, 15.0),
        lit(forward_baselines.LIGHT_RATIO, 21.0),
    ]
    assert [one.holds for one in acceptance.bars(scores) if one.name == "relighting"] == [True, False]


def test_lora_bars():
    assert [one.holds for one in lora_bars(25.0, 20.0, 30.1, 30.0)] == [True, True]
    assert [one.holds for one in lora_bars(20.0, 20.0, 29.5, 30.0)] == [False, False]


# --- galleries and published figures ---------------------------------------------------------------------------


def test_the_worst_clips_come_first_on_a_gallery():
    truth = np.zeros((2, 8, 8, 3), dtype=np.float32)
    strips = [video_strip(f"clip {value}", value, {"ours": truth + value}, truth) for value in (0.1, 0.9, 0.5)]
    sheet = Image.open(io.BytesIO(worst_gallery("test", strips, higher_is_better=False)))
    assert sheet.height > 3 * 96
    rows = [sheet.crop((110, 32 + 115 * row + 40, 180, 32 + 115 * row + 100)) for row in range(3)]
    brightness = [np.asarray(row).mean() for row in rows]
    assert brightness[0] > brightness[1] > brightness[2]
    with pytest.raises(InputError, match="no strip"):
        worst_gallery("test", [], higher_is_better=True)
    assert isinstance(strips[0], Strip)


def test_published_figures_come_with_what_may_be_compared():
    text = render("training.evaluation/published.md")
    assert "28.3 / .935 / .048" in text
    assert "24.63 / .756 / .257" in text
    assert "Not comparable" in text


# --- the whole of it -------------------------------------------------------------------------------------------


def test_an_untrained_forward_network_scores_like_the_shading_that_it_starts_from(evaluated):
    evaluation, _ = evaluated
    values = {
        method: mean(select(evaluation.scores, "forward", "surface_psnr", method=method))
        for method in (acceptance.OURS, forward_baselines.TRACED)
    }
    assert values[acceptance.OURS] == pytest.approx(values[forward_baselines.TRACED], abs=0.1)
    assert bar(evaluation.bars, "another light").measured > 1


def test_every_task_and_every_bar_that_can_be_is_measured(evaluated):
    evaluation, _ = evaluated
    assert {score.task for score in evaluation.scores} == {"inverse", "forward", "relighting", "turn"}
    assert all(np.isfinite(score.value) for score in evaluation.scores)
    assert all(one.measured is not None for one in evaluation.bars)
    assert evaluation.seen == []
    attributes = {score.attribute for score in evaluation.scores if score.task == "inverse"}
    assert attributes == {"basecolor", "normal", "depth", "roughness", "metallic"}


def test_the_report_has_tables_bars_galleries_and_published_figures(evaluated):
    evaluation, out = evaluated
    text = (out / "report.md").read_text()
    for part in ("## Bars", "SyntheticObjects", "SyntheticScenes", "turning light", "SplitSum", "worst-turn.webp"):
        assert part in text
    results = json.loads((out / RESULTS).read_text())
    assert len(results["scores"]) == len(evaluation.scores)
    assert results["benchmark"]["scenes"] == {
        "recipe": "analytic",
        "frames": FRAMES,
        "height": SIZE,
        "width": SIZE,
        "clips": 2,
    }
    for task in ("inverse", "forward", "relighting", "turn"):
        assert (out / f"worst-{task}.webp").stat().st_size > 1000


def test_an_interrupted_evaluation_goes_on_and_another_one_is_refused(folder, settings, evaluated):
    evaluation, out = evaluated
    kept = out / "work" / "objects-000000.json"
    before = kept.stat().st_mtime_ns
    (out / "work" / "turns-000000.json").unlink()  # as if it had been stopped before the last scene
    again = evaluate(folder, settings, out)
    assert kept.stat().st_mtime_ns == before
    assert [s for s in again.scores if s.task == "turn"] == [s for s in evaluation.scores if s.task == "turn"]
    with pytest.raises(InputError, match="another evaluation"):
        evaluate(folder, replace(settings, seed=1), out)


def test_settings_that_ask_for_nothing_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate(folder, EvaluationSettings(), tmp_path)
    with pytest.raises(InputError, match="`steps` is 0"):
        EvaluationSettings(inverse="x", steps=0)
