"""A quality that is asked for: what the pilot chooses, what comes of it, and where it is recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.blender.render import RenderedScene, render_scene
from datagen.noise_model import tone_exposure, tone_mapped
from datagen.render_stage import samples_of
from datagen.resolver import Resolver
from manifests.contract.row import ClipRow
from scenes.providers.builtin import builtin_catalogue
from scenes.spec import RenderSettings, SceneLight
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")


def rendered(resolver: Resolver, folder: Path, **changes: object) -> RenderedScene:
    light = SceneLight(map=analytic.environment_file("lobes.exr"))
    return render_scene(analytic.scene(frames=2, lights=(light,), render=settings(**changes)), resolver, folder)


def settings(**changes: object) -> RenderSettings:
    return analytic.settings(**({"width": 64, "height": 48, "samples": 16, "denoiser": "balanced"} | changes))


def decibels(image: np.ndarray, truth: np.ndarray) -> float:
    exposure = tone_exposure(truth)
    return float(-10 * np.log10(np.mean((tone_mapped(image, exposure) - tone_mapped(truth, exposure)) ** 2)))


def test_what_is_asked_for_is_chosen_rendered_and_recorded(resolver: Resolver, tmp_path: Path) -> None:
    truth = rendered(resolver, tmp_path, samples=1024).clips[0].arrays["rgb"]
    low, high, again = (rendered(resolver, tmp_path, quality=asked) for asked in (36.0, 42.0, 42.0))
    reached = [decibels(scene.clips[0].arrays["rgb"], truth) for scene in (low, high)]
    assert 34.5 < reached[0] < reached[1] - 3 and reached[1] > 40.5
    assert low.samplings[0].mean_samples < high.samplings[0].mean_samples
    assert high.samplings == again.samplings
    np.testing.assert_array_equal(high.clips[0].arrays["rgb"], again.clips[0].arrays["rgb"])

    choice = high.clips[0].meta["sampling"]
    assert choice["quality"] >= 42 and "quality-short" not in high.flags[0]
    spec = analytic.scene(frames=2, lights=(SceneLight(map=analytic.environment_file("lobes.exr")),))
    (sample,) = samples_of(spec, high, builtin_catalogue(), "compact")
    assert isinstance(sample.row, ClipRow)
    assert {name: sample.row.statistics[f"sampling.{name}"] for name in choice} == choice
    assert sample.row.steps == pytest.approx(choice["mean_samples"], rel=0.3)

    chosen = {name: choice[name] for name in ("samples", "adaptive_threshold", "adaptive_minimum")}
    repeated = rendered(resolver, tmp_path, **chosen)
    np.testing.assert_array_equal(repeated.clips[0].arrays["rgb"], high.clips[0].arrays["rgb"])
    assert repeated.samplings == [None] and "sampling" not in repeated.clips[0].meta


def test_a_quality_out_of_reach_is_said(resolver: Resolver, tmp_path: Path) -> None:
    scene = rendered(resolver, tmp_path, width=16, height=16, denoiser="none", quality=56.0)
    assert scene.samplings[0].samples == 512 and "quality-short" in scene.flags[0]
