"""A street rendered by Cycles: its instances are there, the road is a plane, the sky is infinitely far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from scenes.materials_and_light import asset_pools
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe
from scenes.settings.setting_layout import SettingDraws, SettingLayout
from scenes.settings.street import lay_out_street
from scenes.spec import CameraView
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")


def straight_street() -> tuple[SettingLayout, float]:
    """A street that does not bend, and the offset of its kerb."""
    recipe = load_recipe("train-world")
    pools = asset_pools(builtin_catalogue(), recipe)
    for index in range(20):
        layout = lay_out_street(SettingDraws(recipe, pools, 1, index, 0))
        road = next(piece.mesh.params for piece in layout.setting.pieces if piece.name == "road")
        if road["bend"] == 0:
            return layout, road["spans"][3]  # type: ignore[index, return-value]
    raise AssertionError("all streets bend")


def test_road_houses_and_sky_are_where_they_are(resolver: Resolver, tmp_path: Path) -> None:
    layout, half = straight_street()
    view = CameraView(target=(0.0, 0.0, 6.0), distance=10.0, azimuth=180.0, elevation=3.0, fov=80.0)
    spec = analytic.scene(
        ground=None, objects=layout.objects, setting=layout.setting, view=view, render=analytic.settings(samples=16)
    )
    clip = render_scene(spec, resolver, tmp_path).clips[0]
    assert clip.camera is not None
    instance, depth, mask = (clip.arrays[name][0, ..., 0] for name in ("instance", "depth", "mask"))

    known = {piece.instance for piece in layout.setting.pieces} | {thing.instance for thing in layout.objects}
    seen = set(np.unique(instance).tolist())
    assert seen <= known | {0}
    assert 1 in seen
    assert len(seen) > 12

    sky = mask == 0
    assert sky.mean() > 0.02
    assert np.isinf(depth[sky]).all()
    assert np.isfinite(depth[mask == 1]).all()

    pose = clip.camera.camera_to_world[0]
    rays = clip.camera.rays(*clip.size) @ pose[:3, :3].T
    expected = -pose[2, 3] / rays[..., 2]
    place = pose[:3, 3] + expected[..., None] * rays
    road = (expected > 0) & (np.abs(place[..., 1]) < half - 0.5) & (np.abs(place[..., 0]) < 40)
    whole = instance == 1
    for shift in (-1, 1):
        whole &= (np.roll(instance, shift, axis=0) == 1) & (np.roll(instance, shift, axis=1) == 1)
    road &= whole
    assert road.sum() > 60
    np.testing.assert_allclose(depth[road], expected[road], rtol=3e-3)
    up = pose[:3, :3].T @ np.array([0.0, 0.0, 1.0])
    assert np.median(analytic.angles(clip.arrays["normal"][0], up)[road]) < 15
