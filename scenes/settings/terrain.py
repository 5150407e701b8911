"""Open land under the sky: a height field to the horizon, what grows on it, and things that stand on it.

The camera is a walker's or a drone's. What is near the origin is what a clip shows; everything else is far away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from scenes.catalogue import Asset
from scenes.materials_and_light import draw_material
from scenes.palettes import Colour, near, shade
from scenes.settings import vegetation
from scenes.settings.height_field import Land, land
from scenes.settings.scattering import scatter
from scenes.settings.setting_layout import SettingDraws, SettingLayout, TakenSpace, Viewpoints
from scenes.settings.vegetation import SEASONS, Growth, leaf_colours
from scenes.spec import Builtin, Object, Procedural, Setting, SettingPiece, Value

_KINDS = {"meadow": 0.2, "hills": 0.2, "mountains": 0.17, "coast": 0.14, "dunes": 0.1, "lake": 0.11, "river": 0.08}
_SAME_KIND = 10  # draws for which a scene keeps its kind of land, as sampling keeps its plan
_ROCKS: tuple[Colour, ...] = ((0.27, 0.26, 0.245), (0.36, 0.33, 0.28), (0.19, 0.185, 0.18), (0.34, 0.25, 0.19))
_SANDS: tuple[Colour, ...] = ((0.46, 0.37, 0.24), (0.55, 0.49, 0.39), (0.42, 0.24, 0.12), (0.36, 0.31, 0.24))
_SOILS: tuple[Colour, ...] = ((0.14, 0.09, 0.055), (0.095, 0.07, 0.05), (0.2, 0.15, 0.1))
_WATERS: tuple[Colour, ...] = ((0.02, 0.045, 0.05), (0.02, 0.035, 0.03), (0.045, 0.05, 0.03), (0.02, 0.06, 0.065))
_NO_SNOW = 10_000.0
_BASE = np.array([[0.0, 0.0], *([np.cos(a), np.sin(a)] for a in np.arange(8) * np.pi / 4)])
_LARGE = 0.5  # metres: cameras keep clear of copies that are taller
_NEAR = 120.0  # metres from the origin within which they do


def terrain(draws: SettingDraws) -> SettingLayout | None:
    """Lay out open land; None where its things found no dry, level place."""
    plan = replace(draws, attempt=draws.attempt // _SAME_KIND).rng("terrain plan")
    kind = str(plan.choice(list(_KINDS), p=np.array(list(_KINDS.values())) / sum(_KINDS.values())))
    with_things, shown = plan.random() < 0.85, plan.random() < 0.7
    rng = draws.rng("terrain")
    place = land(kind, int(rng.integers(2**31)))
    season = "dry" if kind == "dunes" else SEASONS[int(rng.choice(3, p=(0.6, 0.22, 0.18)))]
    grass, leaves = leaf_colours("dry" if season == "autumn" else season, rng), leaf_colours(season, rng)
    rock = near(rng, _ROCKS)
    pieces = [_ground(place, grass, rock, rng)]
    instance = 2
    assets: tuple[Asset, ...] = ()
    objects: tuple[Object, ...] = ()
    if with_things:
        assets, objects = _things(draws, place, instance)
        if not objects:
            return None
    instance += len(objects)
    if place.has_water:
        pieces.append(_water(place, instance, rng))
        instance += 1
    clear = [(*thing.position, thing.scale * thing.footprint.radius + 0.1) for thing in objects]
    growths = [growth.avoiding(clear) for growth in _growths(kind, grass, leaves, rock, rng)]
    for number, growth in enumerate(growths):
        pieces += growth.pieces(place, instance + number)
    subject = _around(objects) if objects and shown else None
    taken = _taken(place, objects, growths)
    return SettingLayout(
        setting=Setting(kind="terrain", pieces=tuple(pieces)),
        assets=assets,
        objects=objects,
        taken=taken,
        viewpoints=lambda rng, count: _viewpoints(place, taken, subject, rng, count),
        subject=subject,
    )


# --- ground, water and what grows -------------------------------------------------------------------------------


def _ground(place: Land, grass: tuple[Colour, Colour], rock: Colour, rng: np.random.Generator) -> SettingPiece:
    sand = near(rng, _SANDS)
    cover = (shade(grass[0], 0.62), shade(grass[1], 0.62))  # as dark as blades are that shade each other
    if place.kind == "dunes":
        cover = (sand, shade(sand, 0.85))
    soil = sand if place.kind == "dunes" else near(rng, _SOILS)
    snow = {"mountains": float(rng.uniform(150.0, 500.0))}.get(place.kind, _NO_SNOW)
    if place.kind in ("mountains", "hills") and rng.random() < 0.12:
        snow = float(rng.uniform(-25.0, 5.0))  # winter: snow in patches all around
    beach = {"coast": 0.9, "lake": 0.35, "river": 0.3}.get(place.kind, 0.0)
    x, y, _ = rng.uniform(0.0, 64.0, 3).round(3).tolist()
    params: dict[str, Value] = {
        "first": cover[0],
        "second": cover[1],
        "soil": soil,
        "rock": rock,
        "shore": sand if place.kind == "coast" or rng.random() < 0.4 else shade(rock, 0.8),
        "patch": round(float(rng.uniform(0.75, 0.9)), 3),
        "bald": 0.05 if place.kind == "dunes" else round(float(rng.uniform(0.0, 0.15)), 3),
        "rocky": 0.9 if place.kind == "dunes" else round(float(rng.uniform(0.08, 0.2)), 3),
        "relief": 0.4 if place.kind == "dunes" else round(float(rng.uniform(2.0, 4.0)), 3),
        "ripple": round(float(rng.uniform(0.4, 1.0)), 3) if place.kind == "dunes" else 0.0,
        "beach": beach,
        "water": round(place.water_level, 4),
        "snow": round(snow, 2),
        "depth": 0.5,
        "offset": (x, y, 0.0),
    }
    mesh = Builtin(uid=f"terrain/land/{place.kind}", generator="land_surface", params=_named(place))
    material = Procedural(uid=f"terrain/{place.kind}", family="land", size=1.0, params=params)
    return SettingPiece(name="land", instance=1, mesh=mesh, material=material)


def _water(place: Land, instance: int, rng: np.random.Generator) -> SettingPiece:
    longest = {"coast": 9.0, "lake": 2.5}.get(place.kind, 1.2) * float(rng.uniform(0.5, 1.5))
    waves: dict[str, Value] = {
        "height": round(longest * float(rng.uniform(0.005, 0.045)), 4),
        "length": round(longest, 4),
    }
    look: dict[str, Value] = {
        "colour": near(rng, _WATERS),
        "roughness": round(float(rng.uniform(0.02, 0.08)), 3),
        "depth": round(float(rng.uniform(0.05, 0.5)), 3),
        "offset": (0.0, 0.0, 0.0),
    }
    mesh = Builtin(uid="terrain/water", generator="water_surface", params=_named(place) | waves)
    material = Procedural(uid="terrain/water", family="water", size=1.0, params=look)
    return SettingPiece(name="water", instance=instance, mesh=mesh, material=material)


def _named(place: Land) -> dict[str, Value]:
    return {"kind": place.kind, "seed": place.seed}


def _growths(
    kind: str, blade: tuple[Colour, Colour], leaf: tuple[Colour, Colour], rock: Colour, rng: np.random.Generator
) -> list[Growth]:
    """What grows and lies on a land of that kind, in the order of its instances."""
    found: list[Growth] = []

    def often(share: float) -> bool:
        return bool(rng.random() < share)

    if kind == "dunes":
        if often(0.7):
            found.append(vegetation.grass(rng, blade, int(rng.integers(40, 260)), 0.5))
        if often(0.4):
            found.append(vegetation.bushes(rng, leaf, int(rng.integers(8, 30)), bare=often(0.6)))
        if often(0.4):
            found.append(vegetation.stones(rng, rock, 60, 0.8))
        return found
    found.append(vegetation.grass(rng, blade, int(rng.integers(600, 1800)), float(rng.uniform(0.12, 0.5))))
    found.append(vegetation.stones(rng, rock, int(rng.integers(30, 150)), 2.4 if kind == "mountains" else 1.2))
    if often(0.5):
        found.append(vegetation.flowers(rng))
    if often(0.6):
        found.append(vegetation.bushes(rng, leaf, int(rng.integers(10, 50))))
    if often({"mountains": 0.35, "coast": 0.45}.get(kind, 0.75)):
        found.append(vegetation.broadleaf_trees(rng, leaf, int(rng.integers(60, 260)), float(rng.uniform(-0.4, 0.3))))
    if often({"mountains": 0.75, "coast": 0.2}.get(kind, 0.4)):
        found.append(vegetation.conifers(rng, int(rng.integers(60, 260)), float(rng.uniform(-0.4, 0.3))))
    if kind in ("lake", "river") and often(0.7):
        found.append(vegetation.reeds(rng))
    if often(0.3):
        found.append(vegetation.fallen_wood(rng))
    return found


# --- things -----------------------------------------------------------------------------------------------------


def _things(draws: SettingDraws, place: Land, first: int) -> tuple[tuple[Asset, ...], tuple[Object, ...]]:
    """Catalogue things near the origin, as many as the recipe says or as find a dry place."""
    rng, surfaces = draws.rng("terrain things"), draws.rng("terrain surfaces")
    assets: list[Asset] = []
    objects: list[Object] = []
    roles: list[Literal["object", "primitive"]] = []
    for role, rules in (("object", draws.recipe.objects), ("primitive", draws.recipe.primitives)):
        roles += [role] * int(rng.integers(rules.count[0], rules.count[1] + 1))  # type: ignore[list-item]
    for role in roles or ["object"]:
        pool = draws.pools.objects if role == "object" else draws.pools.primitives
        if not pool:
            continue
        asset = pool[int(rng.integers(len(pool)))]
        assert asset.mesh is not None
        assert asset.footprint is not None
        scale = float(np.exp(rng.uniform(np.log(0.35), np.log(1.8 if role == "object" else 0.9))))
        radius = scale * asset.footprint.radius
        yaw, spots = float(rng.uniform(0, 360)), rng.normal(0.0, 1.3, (12, 2))
        if not objects:
            spots[0] = 0.0
        under = place.height(spots[:, None] + radius * _BASE)
        for spot, heights in zip(spots, under, strict=True):
            gaps = [np.hypot(*(spot - o.position)) - radius - o.scale * o.footprint.radius for o in objects]
            if heights.min() < place.water_level + 0.1 or np.ptp(heights) > 0.6 * radius or min(gaps, default=1) < 0.05:
                continue
            thing = Object(
                name=f"{role}-{first + len(objects)}",
                instance=first + len(objects),
                role=role,
                mesh=asset.mesh,
                material=draw_material(draws.recipe.materials, asset, draws.pools.surfaces, surfaces),
                scale=scale,
                yaw=yaw,
                position=(float(spot[0]), float(spot[1])),
                footprint=asset.footprint,
                height=float(heights.min()),  # on a slope it digs in, as heavy things do, rather than float
            )
            assets.append(asset)
            objects.append(thing)
            break
    return tuple(assets), tuple(objects)


def _around(objects: tuple[Object, ...]) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of the first thing: what the camera shows."""
    thing = objects[0]
    height = thing.scale * thing.footprint.height
    centre = np.array([*thing.position, float(thing.height or 0.0) + height / 2])
    return centre, float(np.hypot(thing.scale * thing.footprint.radius, height / 2))


def _taken(place: Land, objects: tuple[Object, ...], growths: list[Growth]) -> TakenSpace:
    boxes = [
        (
            (*thing.position, float(thing.height or 0.0) + thing.scale * thing.footprint.height / 2),
            (thing.scale * thing.footprint.radius,) * 2 + (thing.scale * thing.footprint.height / 2,),
        )
        for thing in objects
    ]
    for growth in growths:
        if growth.body is None:
            continue
        width, height = growth.body
        for pose in scatter(**growth.copies(place), within=_NEAR):  # type: ignore[arg-type]
            scale, foot = float(np.linalg.norm(pose[:3, 0])), pose[:3, 3]
            if scale * height > _LARGE:
                half = scale * np.array([width, width, height / 2])
                boxes.append((tuple(foot + np.array([0.0, 0.0, half[2]])), tuple(half)))
    level = place.water_level + 0.15

    def ground(points: np.ndarray) -> np.ndarray:
        return np.maximum(place.height(points), level)

    centres, halves = (np.array([box[side] for box in boxes]).reshape(-1, 3) for side in (0, 1))
    return TakenSpace(centres=centres, halves=halves, yaws=np.zeros(len(boxes)), ground=ground)


# --- cameras ----------------------------------------------------------------------------------------------------


def _viewpoints(
    place: Land, taken: TakenSpace, subject: tuple[np.ndarray, float] | None, rng: np.random.Generator, draws: int
) -> Viewpoints:
    """Views of the subject, or of the land; those that look through a hill or a tree come last."""
    drone = rng.random(draws) < 0.35
    fov = np.exp(rng.uniform(np.log(25.0), np.log(90.0), draws))
    azimuth = rng.uniform(-np.pi, np.pi, draws)
    away = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
    above = np.where(drone, np.exp(rng.uniform(np.log(5.0), np.log(30.0 if subject else 80.0), draws)), 0.0)
    above = np.where(drone, above, rng.uniform(1.2, 2.0, draws))
    if subject is not None:
        centre, radius = subject
        share = rng.uniform(0.12, 0.42, draws)
        wanted = np.maximum(radius / (share * np.tan(np.radians(fov / 2))), radius + 1.0)
        level = np.where(drone, above / np.tan(np.radians(rng.uniform(15.0, 60.0, draws))), np.minimum(wanted, 25.0))
        fov = np.where(drone, np.clip(fov, 25.0, 50.0), fov)
        targets = np.broadcast_to(centre, (draws, 3)) + rng.normal(0.0, 0.15 * radius, (draws, 3))
        targets[:, 2] += rng.uniform(0.0, 0.6, draws) * np.tan(np.radians(fov / 2)) * level  # horizon into the picture
        feet = centre[:2] + level[:, None] * away
    else:
        if place.has_water:  # the water lies along the heading; most look that way
            azimuth = np.where(rng.random(draws) < 0.6, place.heading + np.pi + rng.normal(0.0, 0.7, draws), azimuth)
            away = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
        feet = rng.normal(0.0, np.where(drone, 25.0, 6.0)[:, None], (draws, 2))
        level = np.where(drone, rng.uniform(25.0, 90.0, draws), rng.uniform(5.0, 12.0, draws))
        pitch = np.where(drone, -rng.uniform(4.0, 35.0, draws), rng.uniform(-9.0, 5.0, draws))
        targets = np.column_stack([feet - level[:, None] * away, level * np.tan(np.radians(pitch))])
    eyes = np.column_stack([feet, taken.ground(feet) + above])  # type: ignore[misc]
    if subject is None:
        targets[:, 2] += eyes[:, 2]
    step = np.linspace(0.0, 0.8, 10)[:, None, None]
    line = taken.clearance(eyes + step * (targets - eyes))
    order = np.argsort(line.min(axis=0) <= 0.02, kind="stable")
    return Viewpoints(eyes=eyes[order], targets=targets[order], fov=fov[order])
