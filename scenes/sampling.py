"""`sample_scene`: from (catalogue, recipe, seed, index) to a scene, a pure function.

Each subsystem (geometry, material, light, camera, motion) draws from a generator of its own, derived from the seed,
the index and the subsystem's name, so the scene does not depend on order or process, and a change of what one
subsystem draws leaves the others' draws alone.

A draw that cannot be placed or framed is thrown away, and geometry, motion and camera are drawn again. How many things
there are and which motions happen is kept for several such draws, so that hard scenes are not quietly replaced by
easy ones. Materials and lights never need a second draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from manifests.errors import SpecError
from scenes.arrangements import KINDS, ArrangementDraw, arrange, body_assets
from scenes.catalogue import Asset, Catalogue
from scenes.distributions import draw, draw_many, draw_weighted
from scenes.framing import BoundingCylinders, find_view
from scenes.generators import generator
from scenes.materials_and_light import AssetPools, asset_pools, draw_lights, draw_material, draw_surface, outdoor_lights
from scenes.motion import clip_seconds, draw_camera, draw_handling, draw_light, draw_names, draw_slides, draw_turns
from scenes.placement import ThingsToPlace, place
from scenes.recipe_sections import MotionRules
from scenes.recipes import Recipe
from scenes.settings.camera_search import find_setting_view
from scenes.settings.layouts import LAYOUTS
from scenes.settings.setting_layout import SettingDraws
from scenes.spec import (
    CameraMotion,
    CameraView,
    Ground,
    LightRotation,
    Native,
    Object,
    ObjectMotion,
    ObjectRotation,
    ObjectTranslation,
    SceneLight,
    SceneSpec,
    Setting,
)

_SAME_PLAN = 10
_CONFLICTS = {
    "placement": "objects.count, objects.scale, objects.area (and the same of primitives), placement.margin and "
    "motions.object_translation.distance do not go together",
    "near": "camera.distance and camera.elevation bring the camera too near to things (placement.camera_margin, "
    "objects.scale, motions.dolly.factor)",
    "framing": "camera.distance, camera.fov, objects.scale and objects.area cannot meet framing.size and"
    " framing.inside",
    "hidden": "objects.count, primitives.count and camera.elevation cannot meet framing.hidden",
    "settling": "things in the arrangements do not come to rest (arrangements.count, arrangements.stack_count)",
}


def sample_scene(catalogue: Catalogue, recipe: Recipe, seed: int, index: int) -> SceneSpec:
    """Draw scene `index` (>= 0) of a dataset with `seed` (>= 0).

    Byte-identical for equal arguments and an equal catalogue digest. `resampled` in the spec counts the draws that
    were thrown away. Raises SpecError when the catalogue lacks something the recipe needs, or when
    `placement.attempts` draws could not be placed or framed; it names the fields that conflict.
    """
    if seed < 0 or index < 0:
        raise SpecError(f"seed {seed}, scene {index}: both must be 0 or more")
    draws = _Draws(catalogue, recipe, asset_pools(catalogue, recipe), seed, index)
    kind = _draw_kind(draws)
    if kind != "table":
        return _sample_setting(draws, kind)
    refused: Counter[str] = Counter()
    for attempt in range(recipe.placement.attempts):
        plan = _draw_plan(draws, attempt // _SAME_PLAN)
        placed = _draw_placed(draws, plan, attempt)
        if isinstance(placed, _PlacedScene):
            return _with_surfaces_and_lights(draws, placed, attempt)
        refused[placed] += 1
    worst = refused.most_common(1)[0][0]
    raise SpecError(
        (
            f"recipe {recipe.name}, seed {seed}, scene {index}: none of {recipe.placement.attempts} draws "
            f"fits; mostly {_CONFLICTS[worst]}"
        ),
        "change one of these or raise placement.attempts",
    )


@dataclass(frozen=True)
class _Draws:
    """Where the draws of one scene come from."""

    catalogue: Catalogue
    recipe: Recipe
    choices: AssetPools
    seed: int
    index: int

    def rng(self, subsystem: str, attempt: int = 0) -> np.random.Generator:
        return generator(self.seed, self.index, subsystem, attempt)


@dataclass(frozen=True)
class _Plan:
    """How many things there are, how they lie, and which motions happen."""

    objects: int
    primitives: int
    arrangement: str
    motions: frozenset[str]


@dataclass(frozen=True)
class _PlacedScene:
    """A scene without surfaces and lights; `objects` still have the materials that they came with."""

    assets: tuple[Asset, ...]
    objects: tuple[Object, ...]
    light_motion: LightRotation | None
    view: CameraView


def _draw_plan(draws: _Draws, number: int) -> _Plan:
    recipe, rng = draws.recipe, draws.rng("geometry plan", number)
    objects, primitives = (
        int(rng.integers(low, high + 1)) for low, high in (recipe.objects.count, recipe.primitives.count)
    )
    if objects + primitives == 0:
        objects, primitives = (1, 0) if recipe.objects.count[1] else (0, 1)
    arrangement = _draw_arrangement(draws)
    rules = _possible_motions(recipe.motions, arrangement)
    return _Plan(objects, primitives, arrangement, draw_names(rules, draws.rng("motion plan", number)))


def _draw_arrangement(draws: _Draws) -> str:
    rules = draws.recipe.arrangements
    if rules is UNSET:
        return "standing"
    return draw_weighted({kind: getattr(rules, kind) for kind in KINDS}, draws.rng("arrangement plan"))


def _possible_motions(rules: MotionRules, arrangement: str) -> MotionRules:
    """Things that stand do not fall; those that lie on each other neither turn nor slide."""
    replace = msgspec.structs.replace
    if arrangement == "standing":
        return replace(rules, fall=UNSET)
    return replace(
        rules,
        object_rotation=replace(rules.object_rotation, probability=0.0),
        object_translation=replace(rules.object_translation, probability=0.0),
    )


def _draw_placed(draws: _Draws, plan: _Plan, attempt: int) -> _PlacedScene | str:
    """One draw of geometry, motion and camera, or what stood in the way (a key of `_CONFLICTS`)."""
    if plan.arrangement != "standing":
        return _draw_arranged(draws, plan, attempt)
    recipe, choices = draws.recipe, draws.choices
    geometry, motion = draws.rng("geometry", attempt), draws.rng("motion", attempt)
    assets = (*_pick(choices.objects, plan.objects, geometry), *_pick(choices.primitives, plan.primitives, geometry))
    scales = np.concatenate(
        [
            draw_many(recipe.objects.scale, geometry, plan.objects),
            draw_many(recipe.primitives.scale, geometry, plan.primitives),
        ]
    )
    yaws = draw_many((0.0, 360.0), geometry, len(assets))
    slides = draw_slides(recipe.motions, plan.motions, len(assets), motion)
    turns = draw_turns(recipe.motions, plan.motions, len(assets), motion)
    there_and_back = bool(motion.random() < recipe.motions.object_translation.there_and_back)
    camera_motions = draw_camera(recipe.motions, plan.motions, motion) + _handling(draws, plan.motions, attempt)
    light_motion = draw_light(recipe.motions, plan.motions, motion)
    things = ThingsToPlace(
        radii=scales * np.array([asset.footprint.radius for asset in assets if asset.footprint]),
        areas=np.repeat([recipe.objects.area, recipe.primitives.area], [plan.objects, plan.primitives]),
        slides=slides,
    )
    found = place(things, recipe.placement.margin, geometry, motion)
    if found is None:
        return "placement"
    starts, offsets = found
    objects = []
    for row, asset in enumerate(assets):
        assert asset.mesh is not None
        assert asset.footprint is not None
        role: Literal["object", "primitive"] = "object" if row < plan.objects else "primitive"
        thing = Object(
            name=f"{role}-{row + 2}",
            instance=row + 2,
            role=role,
            mesh=asset.mesh,
            material=Native(),
            scale=float(scales[row]),
            yaw=float(yaws[row]),
            position=(float(starts[row, 0]), float(starts[row, 1])),
            footprint=asset.footprint,
            motions=_motions(float(turns[row]), offsets[row].tolist(), there_and_back),
        )
        objects.append(thing)
    cylinders = BoundingCylinders.of(tuple(objects), recipe.frames)
    view, refused = find_view(cylinders, camera_motions, recipe, draws.rng("camera", attempt))
    if view is None:
        return refused.most_common(1)[0][0]
    return _PlacedScene(assets, tuple(objects), light_motion, view)


def _handling(draws: _Draws, names: frozenset[str], attempt: int) -> tuple[CameraMotion, ...]:
    recipe = draws.recipe
    seconds = clip_seconds(recipe.frames, recipe.fps)
    return draw_handling(recipe.motions, names, seconds, draws.rng("camera handling", attempt))


def _draw_arranged(draws: _Draws, plan: _Plan, attempt: int) -> _PlacedScene | str:
    recipe, motion = draws.recipe, draws.rng("motion", attempt)
    camera_motions = draw_camera(recipe.motions, plan.motions, motion) + _handling(draws, plan.motions, attempt)
    light_motion = draw_light(recipe.motions, plan.motions, motion)
    pool = body_assets(draws.catalogue, recipe)
    counts, falling = (plan.objects, plan.primitives), "fall" in plan.motions
    one_draw = ArrangementDraw(pool, recipe, counts, falling, draws.rng("arrangement", attempt))
    arranged = arrange(plan.arrangement, one_draw)
    if arranged is None:
        return "settling"
    cylinders = BoundingCylinders.of(arranged.objects, recipe.frames)
    view, refused = find_view(cylinders, camera_motions, recipe, draws.rng("camera", attempt))
    if view is None:
        return refused.most_common(1)[0][0]
    return _PlacedScene(arranged.assets, arranged.objects, light_motion, view)


def _pick(assets: Sequence[Asset], count: int, rng: np.random.Generator) -> list[Asset]:
    """`count` different assets, or with repetition where there are fewer."""
    if count == 0:
        return []
    return [assets[i] for i in rng.choice(len(assets), size=count, replace=len(assets) < count)]


def _motions(turn: float, offset: list[float], there_and_back: bool) -> tuple[ObjectMotion, ...]:
    motions: list[ObjectMotion] = []
    if turn:
        motions.append(ObjectRotation(degrees=turn))
    if any(offset):
        motions.append(ObjectTranslation(offset=(offset[0], offset[1]), there_and_back=there_and_back))
    return tuple(motions)


def _with_surfaces_and_lights(draws: _Draws, placed: _PlacedScene, attempt: int) -> SceneSpec:
    """The scene with its surfaces and lights, whose draws do not depend on the attempt."""
    recipe, choices, rng = draws.recipe, draws.choices, draws.rng("material")
    ground = None
    lying = any(obj.orientation is not UNSET for obj in placed.objects)
    if (rng.random() < recipe.ground.probability) | lying:
        ground = Ground(
            material=draw_surface(recipe.materials, choices.grounds, rng), size=draw(recipe.ground.size, rng)
        )
    objects = tuple(
        msgspec.structs.replace(obj, material=draw_material(recipe.materials, asset, choices.surfaces, rng))
        for obj, asset in zip(placed.objects, placed.assets, strict=True)
    )
    lights = draw_lights(recipe.lights, choices.lights, draws.rng("light"))
    return _scene(draws, attempt, lights, placed, ground=ground, objects=objects)


def _scene(
    draws: _Draws,
    attempt: int,
    lights: tuple[SceneLight, ...],
    seen: _PlacedScene,
    *,
    objects: tuple[Object, ...],
    ground: Ground | None = None,
    setting: Setting | UnsetType = UNSET,
) -> SceneSpec:
    recipe = draws.recipe
    return SceneSpec(
        recipe=recipe.name,
        seed=draws.seed,
        index=draws.index,
        split=recipe.split,
        frames=recipe.frames,
        fps=recipe.fps,
        ground=ground,
        objects=objects,
        lights=lights,
        light_motion=seen.light_motion,
        view=seen.view,
        render=recipe.render,
        resampled=attempt,
        setting=setting,
    )


# --- settings --------------------------------------------------------------------------------------------------


def _draw_kind(draws: _Draws) -> str:
    if draws.recipe.settings is UNSET:
        return "table"
    return draw_weighted(msgspec.structs.asdict(draws.recipe.settings), draws.rng("setting"))


def _sample_setting(draws: _Draws, kind: str) -> SceneSpec:
    """A scene in a setting; like the table-top, drawn again until it can be laid out and a camera finds its place."""
    recipe = draws.recipe
    lights = draws.choices.lights if kind == "room" else outdoor_lights(draws.choices.lights)
    for attempt in range(recipe.placement.attempts):
        layout = LAYOUTS[kind](SettingDraws(recipe, draws.choices, draws.seed, draws.index, attempt))
        if layout is None:
            continue
        names = draw_names(recipe.motions, draws.rng("motion plan", attempt // _SAME_PLAN), kind)
        motion = draws.rng("motion", attempt)
        camera_motions = draw_camera(recipe.motions, names, motion) + _handling(draws, names, attempt)
        light_motion = draw_light(recipe.motions, names, motion)
        view = find_setting_view(layout, camera_motions, recipe, draws.rng("camera", attempt))
        if view is not None:
            placed = _PlacedScene(layout.assets, layout.objects, light_motion, view)
            drawn = draw_lights(recipe.lights, lights, draws.rng("light"))
            return _scene(draws, attempt, drawn, placed, objects=layout.objects, setting=layout.setting.shared())
    raise SpecError(
        f"recipe {recipe.name}, seed {draws.seed}, scene {draws.index}: none of {recipe.placement.attempts} draws of a "
        f"{kind} has a place for the camera",
        "lower placement.camera_margin or the motions' ranges, or raise placement.attempts",
    )
