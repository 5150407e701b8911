"""Scenes of every setting go all the way: drawn, rendered, encoded, written as a work item and read back whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from datagen.blender.render import render_scene
from datagen.render_stage import samples_of
from datagen.resolver import Resolver, cache_folder
from manifests.codec.codecs import decode_clip
from manifests.store.shards import read_item, write_item
from manifests.untrusted import gunzip
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import SettingWeights
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.spec import from_json, to_json
from tests.datagen import analytic

pytestmark = pytest.mark.usefixtures("cpu")
CATALOGUE = builtin_catalogue()


@pytest.mark.parametrize("kind", ["table", "room", "terrain", "street"])
def test_a_scene_of_every_setting_becomes_an_item(kind: str, tmp_path: Path) -> None:
    settings = SettingWeights(**{kind: 1.0})
    recipe = msgspec.structs.replace(load_recipe("train-world"), settings=settings, frames=2)
    spec = sample_scene(CATALOGUE, recipe, 1, 4)
    spec = msgspec.structs.replace(spec, render=analytic.settings(width=48, height=32, samples=4, flow=True))
    rendered = render_scene(spec, Resolver(CATALOGUE.roots, cache_folder(tmp_path)), tmp_path)
    samples = samples_of(spec, rendered, CATALOGUE, "compact")
    write_item(tmp_path / "00000004.tar", samples)
    (read,) = read_item(tmp_path / "00000004.tar")
    assert read.row.setting == kind
    assert ("spec.json.gz" in read.files) == (kind == "street")
    (document,) = {"spec.json", "spec.json.gz"} & read.files.keys()
    packed = read.files[document]
    assert from_json(gunzip(packed, len(to_json(spec))) if kind == "street" else packed) == spec
    assert sum(use.area for use in read.row.materials) == pytest.approx(1.0, abs=0.02)
    clip = decode_clip(read.key, read.files)
    assert clip.arrays["flow"].shape == (2, 32, 48, 4)
    assert set(clip.arrays) == set(read.row.attributes)
