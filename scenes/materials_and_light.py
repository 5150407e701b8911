"""Surfaces and light of a scene: which materials cover its things and which environments light it."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np

from manifests.contract.color import srgb_decode
from manifests.errors import SpecError
from scenes.catalogue import Asset, Catalogue, Kind
from scenes.distributions import draw
from scenes.recipe_sections import LightRules, MaterialRules
from scenes.recipes import Recipe
from scenes.spec import Builtin, File, Material, Native, Principled, Procedural, SceneLight, TextureSet

_DULL, _VIVID = (0.0, 0.35), (0.35, 0.95)
_DARK, _BRIGHT = 0.12, 0.95
_TRIES_FOR_ANOTHER_MAP = 32
_INDOORS = frozenset({"hotel_room", "studio_small_01", "courtyard"})  # places of captured maps with a ceiling


@dataclass(frozen=True)
class AssetPools:
    """The assets of a catalogue that a recipe may use."""

    objects: tuple[Asset, ...]
    primitives: tuple[Asset, ...]
    surfaces: tuple[Asset, ...]
    grounds: tuple[Asset, ...]
    lights: dict[str, tuple[Asset, ...]]


@lru_cache(maxsize=8)
def asset_pools(catalogue: Catalogue, recipe: Recipe) -> AssetPools:
    """Select once for many scenes. SpecError names what the recipe needs and the catalogue does not have."""

    def select(kind: Kind, role: str | None, needed: bool, field: str) -> tuple[Asset, ...]:
        found = catalogue.select(kind, recipe.split, recipe.licences, role)
        if role == "object" and kind == "mesh":
            found = tuple(asset for asset in found if asset.score >= recipe.objects.min_score)
        if needed and not found:
            what = f"{kind} for {role}" if role else kind
            raise SpecError(
                (
                    f"{field} needs assets ({what}), but the catalogue has none in split {recipe.split} that the "
                    "licence policy allows"
                ),
                "add assets, or relax `split` or `licences`",
                where=f"recipe {recipe.name}",
            )
        return found

    weights = msgspec.structs.asdict(recipe.lights.kinds)
    lights: dict[str, tuple[Asset, ...]] = {}
    for asset in select("environment", None, True, "lights"):
        kind = light_kind(asset)
        if weights[kind] > 0:
            lights[kind] = (*lights.get(kind, ()), asset)
    if not lights:
        raise SpecError(
            f"lights.kinds gives no weight to any environment of split {recipe.split} in the catalogue",
            "give weight to another kind or add assets",
            where=f"recipe {recipe.name}",
        )
    objects = select("mesh", "object", recipe.objects.count[1] > 0, "objects.count")
    primitives = select("mesh", "primitive", recipe.primitives.count[1] > 0, "primitives.count")
    shown = (objects if recipe.objects.count[1] > 0 else ()) + (primitives if recipe.primitives.count[1] > 0 else ())
    furnished = recipe.settings is not msgspec.UNSET
    bare = furnished or recipe.materials.native < 1 or any(not isinstance(mesh.mesh, File) for mesh in shown)
    return AssetPools(
        objects=objects,
        primitives=primitives,
        surfaces=select("material", "object", recipe.materials.constant < 1 and bare, "materials.constant"),
        grounds=select("material", "ground", recipe.ground.probability > 0, "ground.probability"),
        lights=lights,
    )


def light_kind(asset: Asset) -> str:
    """Which of `hdri`, `sky` and `studio` an environment asset is."""
    source = asset.environment
    generator = source.generator if isinstance(source, Builtin) else ""
    return generator if generator in ("sky", "studio") else "hdri"


def outdoor_lights(choices: dict[str, tuple[Asset, ...]]) -> dict[str, tuple[Asset, ...]]:
    """Those of `choices` that show the open sky, for scenes that reach the horizon; all where there are none."""
    kinds = {kind: tuple(asset for asset in assets if asset.place not in _INDOORS) for kind, assets in choices.items()}
    return {kind: assets for kind, assets in kinds.items() if assets and kind != "studio"} or choices


def draw_material(rules: MaterialRules, mesh: Asset, surfaces: tuple[Asset, ...], rng: np.random.Generator) -> Material:
    """Material of a mesh: its own if it has one, drawn constants, or one of `surfaces`."""
    native, constant = rng.random(2)
    if isinstance(mesh.mesh, File) and native < rules.native:
        return Native()
    if constant < rules.constant:
        return constant_material(rules, rng)
    return draw_surface(rules, surfaces, rng)


def draw_surface(rules: MaterialRules, surfaces: tuple[Asset, ...], rng: np.random.Generator) -> Material:
    """One of `surfaces`, its pattern drawn larger or smaller by `texture_scale`."""
    material = surfaces[int(rng.integers(len(surfaces)))].material
    scale = draw(rules.texture_scale, rng)
    if isinstance(material, Procedural | TextureSet):
        return msgspec.structs.replace(material, size=round(material.size * scale, 6))
    assert material is not None
    return material


def constant_material(rules: MaterialRules, rng: np.random.Generator) -> Principled:
    """A plain material: a third of them dull, the others vivid; roughness and metalness as the recipe says."""
    saturation = rng.uniform(*(_DULL if rng.random() < 1 / 3 else _VIVID))
    encoded = colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(_DARK, _BRIGHT))
    red, green, blue = (round(float(value), 6) for value in srgb_decode(np.array(encoded)))
    roughness, metallic = draw(rules.roughness, rng), draw(rules.metallic, rng)
    codes = "".join(f"{round(value * 255):02x}" for value in (*encoded, roughness, metallic))
    return Principled(uid=f"constant/{codes}", basecolor=(red, green, blue), roughness=roughness, metallic=metallic)


def draw_lights(
    rules: LightRules, choices: dict[str, tuple[Asset, ...]], rng: np.random.Generator
) -> tuple[SceneLight, ...]:
    """`per_scene` lights: first the kind by weight, then an environment of it; all different as far as there are."""
    kinds = sorted(choices)
    weights = np.array([getattr(rules.kinds, kind) for kind in kinds])
    weights /= weights.sum()
    chosen: list[Asset] = []
    for _ in range(rules.per_scene):
        for _ in range(_TRIES_FOR_ANOTHER_MAP):
            kind = choices[kinds[int(np.searchsorted(weights.cumsum(), rng.random() * (1 - 1e-12)))]]
            asset = kind[int(rng.integers(len(kind)))]
            if asset not in chosen:
                break
        chosen.append(asset)
    return tuple(
        SceneLight(
            map=asset.environment,
            yaw=draw(rules.yaw, rng),
            mirror=bool(rng.random() < rules.mirror),
            strength=draw(rules.strength, rng),
        )
        for asset in chosen
        if asset.environment is not None
    )
