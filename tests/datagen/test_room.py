"""A room as rendered: everything has its index, depth ends at its walls, light comes in by the openings alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from manifests.contract.clip import Clip
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import SettingWeights
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.spec import SceneSpec, Setting, SettingPiece
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")


def room(index: int) -> SceneSpec:
    """A room of `train-world` under white light, one frame of 64x64 pixels."""
    recipe = msgspec.structs.replace(load_recipe("train-world"), settings=SettingWeights(room=1.0))
    spec = sample_scene(builtin_catalogue(), recipe, 5, index)
    settings = analytic.settings(width=64, height=64, samples=32)
    return msgspec.structs.replace(spec, frames=1, lights=(analytic.WHITE_LIGHT,), light_motion=None, render=settings)


def rendered(spec: SceneSpec, resolver: Resolver, workdir: Path) -> Clip:
    """Its clip."""
    return render_scene(spec, resolver, workdir).clips[0]


def with_setting(spec: SceneSpec, **changes: object) -> SceneSpec:
    """The scene with fields of its setting replaced."""
    assert isinstance(spec.setting, Setting)
    return msgspec.structs.replace(spec, setting=msgspec.structs.replace(spec.setting, **changes))


def walled_up(piece: SettingPiece) -> SettingPiece:
    """Walls without openings; other pieces as they are."""
    if piece.name != "walls":
        return piece
    mesh = msgspec.structs.replace(piece.mesh, params=piece.mesh.params | {"openings": ()})
    return msgspec.structs.replace(piece, mesh=mesh)


@pytest.mark.parametrize("index", [0, 3])
def test_a_room_shows_its_pieces_at_finite_depth_and_is_lit(index: int, resolver: Resolver, tmp_path: Path) -> None:
    spec = room(index)
    clip = rendered(spec, resolver, tmp_path)
    assert isinstance(spec.setting, Setting)
    known = {0, *(piece.instance for piece in spec.setting.pieces), *(thing.instance for thing in spec.objects)}
    seen = np.unique(clip.arrays["instance"]).tolist()
    walls = next(piece for piece in spec.setting.pieces if piece.name == "walls")
    assert set(seen) <= known
    assert walls.instance in seen
    assert len(seen) >= 3
    covered = clip.arrays["mask"][..., 0] > 0.99
    depth = clip.arrays["depth"][..., 0]
    corners = np.reshape(walls.mesh.params["corners"], (-1, 2))
    assert covered.mean() > 0.5
    assert depth[covered].max() < np.linalg.norm(np.ptp(corners, axis=0)) + 6.0
    light = clip.arrays["rgb"].mean(axis=-1)[covered]
    assert np.median(light) > 0.01
    assert np.mean(light < 1e-3) < 0.05


def test_no_light_comes_in_but_by_the_openings(resolver: Resolver, tmp_path: Path) -> None:
    """Walls, floor and ceiling close: bricked up, a room under a white sky is black."""
    for index in (0, 1):
        spec = room(index)
        assert isinstance(spec.setting, Setting)
        dark = with_setting(spec, pieces=tuple(map(walled_up, spec.setting.pieces)), portals=())
        clip = rendered(dark, resolver, tmp_path)
        assert (clip.arrays["mask"] == 1).all()
        assert clip.arrays["rgb"].max() == 0


def test_portals_change_noise_and_not_the_picture(resolver: Resolver, tmp_path: Path) -> None:
    spec = room(3)
    with_portals = rendered(spec, resolver, tmp_path).arrays["rgb"]
    without = rendered(with_setting(spec, portals=()), resolver, tmp_path).arrays["rgb"]
    assert np.abs(with_portals.mean() / without.mean() - 1) < 0.05
