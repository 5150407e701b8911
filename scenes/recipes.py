"""Recipes: what scenes are drawn from, read from YAML and checked. docs/recipes.md explains every field.

`tiny` and `paper` come with the package. A user's YAML starts from one of them (`base: paper`), says only what
differs, and is checked field by field: an unknown field, a value of the wrong type, a range the wrong way round
and a value outside its limits are errors that name the field.
"""

from __future__ import annotations

import math
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from manifests.errors import SpecError
from manifests.yaml_presets import Layered
from scenes.distributions import DrawLimits, fault, support
from scenes.licences import LicencePolicy
from scenes.recipe_sections import (
    SUITED_MOTIONS,
    ArrangementRules,
    CameraRules,
    Count,
    FramingRules,
    GroundRules,
    LightRules,
    MaterialRules,
    MotionRules,
    ObjectRules,
    PlacementRules,
    PrimitiveRules,
    SettingWeights,
)
from scenes.spec import Positive, RenderSettings, SpecData

BUILTIN_RECIPES = ("tiny", "train-tiny", "train-objects", "train-world", "demo", "paper", "world")
BENCHMARK_RECIPES = tuple(
    f"synthetic-{part}{size}" for size in ("", "-small", "-tiny") for part in ("objects", "scenes", "turns")
)
"""What `lightloom evaluate build` renders: test-split assets and places only."""


_FILES = Layered(
    "recipe",
    Path(__file__).parent / "data" / "recipes",
    (*BUILTIN_RECIPES, *BENCHMARK_RECIPES),
    BUILTIN_RECIPES,
    "docs/recipes.md",
    SpecError,
    whole=lambda _, below, above: "kind" in below or "kind" in above,  # a distribution replaces a distribution
)


class Recipe(SpecData, frozen=True, kw_only=True):
    """Everything that scenes are drawn from. `fps` is what a player should use."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    split: Literal["train", "val", "test", "all"] = "all"
    frames: Annotated[int, Meta(ge=1, le=100_000)]
    fps: Positive = 24.0
    render: RenderSettings
    licences: LicencePolicy = LicencePolicy()
    objects: ObjectRules = ObjectRules()
    primitives: PrimitiveRules = PrimitiveRules()
    materials: MaterialRules = MaterialRules()
    ground: GroundRules = GroundRules()
    lights: LightRules = LightRules()
    camera: CameraRules = CameraRules()
    motions: MotionRules = MotionRules()
    placement: PlacementRules = PlacementRules()
    framing: FramingRules = FramingRules()
    settings: SettingWeights | UnsetType = UNSET
    arrangements: ArrangementRules | UnsetType = UNSET


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a recipe that comes with the package ("tiny", "paper") or a YAML file.

    A file may say `base:` with the name of a shipped recipe or a path relative to itself. Mappings are merged
    field by field, except distributions (mappings with a `kind`), which replace what was there. Without a `name` the
    recipe is called after its file. Raises SpecError, naming the field.
    """
    label = str(name_or_path)
    return make_recipe(_FILES.read(label), label)


def make_recipe(plain: Any, label: str = "recipe") -> Recipe:
    """Turn plain data into a checked recipe; SpecError says `label` and the field."""
    recipe = _FILES.convert(plain, Recipe, label)
    _check_spreads(recipe, "", label)
    _check_together(recipe, label)
    return recipe


def _check_spreads(section: msgspec.Struct, path: str, label: str) -> None:
    """Ranges the right way round and within the limits that their annotations state."""
    for name, annotation in typing.get_type_hints(type(section), include_extras=True).items():
        value = getattr(section, name)
        limits = next(
            (extra for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, DrawLimits)), None
        )
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"{path}{name}: {value} is not a finite number", where=label)
        if annotation == Count and value[0] > value[1]:
            raise SpecError(f"{path}{name}: fewest {value[0]} is above most {value[1]}", where=label)
        if limits is not None:
            low, high = support(value)
            if problem := fault(value):
                raise SpecError(f"{path}{name}: {problem}", where=label)
            if low < limits.low or high > limits.high:
                raise SpecError(
                    f"{path}{name}: draws {low:g} to {high:g}, allowed is {limits.low:g} to {limits.high:g}",
                    where=label,
                )
        elif isinstance(value, msgspec.Struct):
            _check_spreads(value, f"{path}{name}.", label)


def _check_together(recipe: Recipe, label: str) -> None:
    """What no single field can show."""
    if recipe.objects.count[1] + recipe.primitives.count[1] == 0:
        raise SpecError("objects.count, primitives.count: both 0, but a scene needs a subject", where=label)
    if recipe.settings is not UNSET and not any(msgspec.structs.astuple(recipe.settings)):
        raise SpecError("settings: every weight is 0", "give at least one setting a weight", where=label)
    for name in set(MotionRules.__struct_fields__) - SUITED_MOTIONS["table"]:
        if recipe.settings is UNSET and getattr(recipe.motions, name) is not UNSET:
            raise SpecError(
                f"motions.{name}: nothing of it happens on a table-top",
                "give the recipe `settings`, or leave it out",
                where=label,
            )
    if recipe.arrangements is not UNSET:
        rules = recipe.arrangements
        if not any((rules.standing, rules.heap, rules.spill, rules.stack, rules.fallen)):
            raise SpecError("arrangements: every weight is 0", "give at least one arrangement a weight", where=label)
        if 0 in (rules.count[0], rules.stack_count[0]):
            raise SpecError("arrangements.count, arrangements.stack_count: a heap of nothing", where=label)
    kinds = recipe.lights.kinds
    if kinds.hdri + kinds.sky + kinds.studio == 0:
        raise SpecError("lights.kinds: every weight is 0", "give at least one kind of light a weight", where=label)
