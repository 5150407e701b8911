"""docs/recipes.md is held to what the code does: its examples load, its table has every field, value and limit."""

import re
import typing
from pathlib import Path

import msgspec
import pytest
import yaml

import scenes
from scenes.catalogue import Catalogue
from scenes.distributions import DrawLimits
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import Recipe, load_recipe, make_recipe
from scenes.sampling import sample_scene

TEXT = (Path(scenes.__file__).parents[1] / "docs" / "recipes.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ROWS = re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return builtin_catalogue()


def leaves(section, value, path=""):
    """(path, annotation, value) of every field that is not a section; an absent field is "left out"."""
    for name, hint in typing.get_type_hints(section, include_extras=True).items():
        given, annotation = getattr(value, name), hint
        if msgspec.UnsetType in typing.get_args(hint):
            annotation = typing.get_args(hint)[0]
            given = given if given is not msgspec.UNSET or is_section(annotation) else "left out"
        if is_section(annotation):
            yield from leaves(annotation, annotation() if given is msgspec.UNSET else given, f"{path}{name}.")
        else:
            yield f"{path}{name}", annotation, given


def is_section(annotation):
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def test_the_table_has_every_field_once_with_the_default_of_paper():
    fields = {path: msgspec.to_builtins(value) for path, _, value in leaves(Recipe, load_recipe("paper"))}
    assert [row[0] for row in ROWS] == list(fields)
    documented = {path: yaml.safe_load(default) for path, default, _, _ in ROWS}
    for path, value in fields.items():
        plain = list(value) if isinstance(value, tuple) else value
        assert documented[path] == plain, path


def test_the_table_states_the_limits_that_are_enforced():
    for (_, annotation, _), (path, _, allowed, _) in zip(leaves(Recipe, load_recipe("paper")), ROWS, strict=True):
        limits = [extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, DrawLimits)]
        for low, high in limits:
            assert allowed == f"spread, {low} to {high}", path
        meta = [extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, msgspec.Meta)]
        if meta and meta[0].ge is not None:
            expected = f"{meta[0].ge:g} or more" if meta[0].le is None else f"{meta[0].ge:g} to {meta[0].le}"
            assert allowed.replace(".0", "") == expected.replace(".0", ""), path


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_load_and_give_scenes(tmp_path, catalogue, example):
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    recipe = load_recipe(path)
    spec = sample_scene(catalogue, recipe, 0, 0)
    assert len(spec.lights) == recipe.lights.per_scene
    assert spec.recipe == yaml.safe_load(example).get("name", "mine")


def test_there_are_two_examples_and_they_do_what_the_text_says(tmp_path):
    assert len(EXAMPLES) == 2
    (tmp_path / "first.yaml").write_text(EXAMPLES[0])
    first = load_recipe(tmp_path / "first.yaml")
    assert (first.name, first.frames, first.lights.per_scene, first.render.width) == ("relighting", 16, 4, 256)
    assert first.motions.light_rotation.probability == 0.0
    assert first.objects == load_recipe("paper").objects


def test_every_kind_of_distribution_in_the_table_is_accepted():
    section = TEXT.split("## Numbers that are drawn")[1].split("## Every field")[0]
    written = re.findall(r"^\| `(.*?)` \|", section, re.MULTILINE)
    assert len(written) == 6
    plain = msgspec.to_builtins(load_recipe("paper"))
    for spread in written:
        plain["motions"]["object_translation"]["distance"] = yaml.safe_load(spread)
        assert make_recipe(plain).motions.object_translation.distance is not None
