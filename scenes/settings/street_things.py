"""What stands and drives in a street: cars, lamps, trees, signs and the like, and things of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scenes.catalogue import Asset
from scenes.distributions import draw_many
from scenes.materials_and_light import draw_material
from scenes.settings.road_meshes import KERB, PAVEMENT
from scenes.settings.setting_layout import SettingDraws
from scenes.settings.street_builder import Street
from scenes.settings.street_meshes import WIRES
from scenes.settings.street_plan import NEAR, StreetPlan
from scenes.settings.vehicle_meshes import PARTS as CAR_PARTS
from scenes.settings.vehicle_meshes import car_size
from scenes.spec import Material, Object, Value

_FROM_KERB = 0.5
_PAINTS = 8
_NEAR_CARS = 20.0
_FENCES = {"hedge": {"soil": "soil", "leaf": "leaf"}, "railings": {"metal": "iron"}, "boards": {"wood": "timber"}}
_CROWN = 0.34  # of a tree's height: its crown's radius


@dataclass(frozen=True)
class _Kind:
    """A kind of street furniture: its parts' materials, heights, half size seen from above, how often it stands."""

    parts: dict[str, str]
    heights: tuple[float, float]
    half: tuple[float, float]
    weight: float
    at_kerb: bool = True


_KINDS = {
    "sign": _Kind({"metal": "zinc", "head": "vivid", "face": "white"}, (2.2, 3.0), (0.4, 0.1), 1.2),
    "bollard": _Kind({"metal": "iron"}, (0.8, 1.1), (0.14, 0.14), 1.5),
    "bin": _Kind({"metal": "vivid", "head": "iron"}, (0.9, 1.15), (0.42, 0.45), 1.5),
    "cabinet": _Kind({"metal": "iron", "head": "dark"}, (1.0, 1.5), (0.98, 0.27), 0.6),
    "hydrant": _Kind({"metal": "vivid", "head": "iron"}, (0.7, 0.9), (0.25, 0.22), 0.6),
    "bench": _Kind({"wood": "timber", "metal": "iron"}, (0.95, 1.05), (1.37, 0.32), 1.2, False),
    "crates": _Kind({"wood": "timber", "head": "carton"}, (0.9, 1.2), (0.8, 0.55), 0.8, False),
    "planter": _Kind({"metal": "trim", "soil": "soil", "leaf": "leaf"}, (0.8, 1.1), (1.82, 0.5), 0.9, False),
    "shelter": _Kind({"metal": "iron", "head": "iron", "face": "pane"}, (2.3, 2.6), (2.3, 0.75), 0.5),
    "cone": _Kind({"head": "orange", "face": "white"}, (0.5, 0.8), (0.22, 0.22), 0.5),
}


def add_furniture(
    street: Street, kind: str, parts: dict[str, str], size: float, seed: int, pose: tuple[float, float, float, float]
) -> int:
    """Add one thing with an instance of its own, which is returned."""
    instance = street.new_instance()
    params: dict[str, Value] = {"kind": kind, "size": size, "seed": seed}
    for part, name in parts.items():
        street.add(f"{kind} {part}", instance, "street_thing", params | {"part": part}, _material(street, name), [pose])
    return instance


def _material(street: Street, name: str) -> Material:
    """Vivid things each have a paint of their own."""
    return street.materials.vivid() if name == "vivid" else street.materials.shared(name)


# --- along the kerb and along the facades ---------------------------------------------------------------------------


def build_things(street: Street, plan: StreetPlan, rng: np.random.Generator) -> None:
    """Lamps, trees, poles, signs, benches and so on, on both pavements near the origin."""
    kerb = plan.half + KERB + _FROM_KERB
    spacing, tree_gap = float(rng.uniform(18, 30)), float(rng.uniform(7, 13))
    lamp_size = round(float(rng.uniform(3.4, 4.6) if plan.quarter == "old" else rng.uniform(5.5, 9.0)), 2)
    lamp_seed, shift = int(rng.integers(1 << 30)), float(rng.uniform(0, 10))
    with_trees, with_wires = rng.random() < plan.style.trees and plan.pavement > 2.2, rng.random() < plan.style.wires
    reach = NEAR + 20.0
    lamp = {"metal": "iron", "head": "iron", "face": "white"}
    for side in (-1, 1):
        for along in np.arange(-reach + shift + (spacing / 2 if side > 0 else 0), reach, spacing).tolist():
            if not plan.at_junction(along, 3.0):
                x, y, yaw = _place(plan, side, along, kerb)
                add_furniture(street, "lamp", lamp, lamp_size, lamp_seed, (x, y, PAVEMENT, yaw))
                street.stand(x, y, 0.12)
                street.take(x, y, 0.0, lamp_size + 0.2, (0.15, 0.15), yaw)
    if with_wires:
        _poles(street, plan, rng, kerb)
    if with_trees:
        _trees(street, plan, rng, kerb, tree_gap, reach)
    for x in plan.inner:
        _traffic_lights(street, plan, x, rng)
    weights = np.array([kind.weight for kind in _KINDS.values()])
    for _ in range(int(rng.integers(14, 34))):
        name = list(_KINDS)[int(rng.choice(len(_KINDS), p=weights / weights.sum()))]
        _put(street, plan, name, rng)
    if plan.setback > 2.5:
        _fences(street, plan, rng)


def _place(plan: StreetPlan, side: int, along: float, aside: float) -> tuple[float, float, float]:
    """x, y, and the yaw of what faces (-y of its own) the road from there."""
    x, y = plan.line.at(along, side * aside).tolist()
    return x, y, plan.line.yaw(along) + (0.0 if side > 0 else 180.0)


def _put(street: Street, plan: StreetPlan, name: str, rng: np.random.Generator) -> None:
    """Try a few places for one thing."""
    kind = _KINDS[name]
    size, seed = round(float(rng.uniform(*kind.heights)), 2), int(rng.integers(1 << 30))
    radius = float(np.hypot(*kind.half))
    for _ in range(6):
        side, along = int(rng.choice([-1, 1])), float(rng.uniform(-NEAR - 6, NEAR + 6))
        lowest = plan.half + KERB + kind.half[1] + 0.12
        highest = plan.half + plan.pavement - kind.half[1] - 0.1
        if highest < lowest or plan.at_junction(along, 4.0 + kind.half[0]):
            continue
        aside = lowest + 0.15 if kind.at_kerb else highest
        x, y, yaw = _place(plan, side, along, min(aside, highest))
        if not street.is_free(x, y, radius):
            continue
        turn = 180.0 if name in ("bench",) and rng.random() < 0.2 else 0.0
        if name in ("sign",):  # faces the traffic of its side
            turn = 90.0 if (side == plan.keep) == (side > 0) else -90.0
        turned = yaw + turn + (float(rng.normal(0, 4)) if kind.half[0] < 1.0 else 0.0)
        add_furniture(street, name, kind.parts, size, seed, (x, y, PAVEMENT, turned))
        street.stand(x, y, radius)
        street.take(x, y, 0.0, PAVEMENT + size * 1.1 + 0.1, kind.half, turned)
        return


def _traffic_lights(street: Street, plan: StreetPlan, x: float, rng: np.random.Generator) -> None:
    size, out = round(float(rng.uniform(3.0, 3.6)), 2), plan.cross_half + KERB + 2.2
    for sign, side in ((-1, plan.keep), (1, -plan.keep)):
        px, py = x + sign * out, side * (plan.half + KERB + 0.45)
        yaw = 90.0 if sign > 0 else -90.0
        if street.is_free(px, py, 0.2):
            add_furniture(
                street,
                "light",
                {"metal": "iron", "head": "dark", "face": "vivid"},
                size,
                int(rng.integers(99)),
                (px, py, PAVEMENT, yaw),
            )
            street.stand(px, py, 0.2)
            street.take(px, py, 0.0, size + 0.2, (0.2, 0.3), yaw)


def _poles(street: Street, plan: StreetPlan, rng: np.random.Generator, kerb: float) -> None:
    """Poles on one side with wires from one to the next."""
    side, span, size = int(rng.choice([-1, 1])), float(rng.uniform(24, 34)), round(float(rng.uniform(7.5, 9.5)), 2)
    first = -3 * span + float(rng.uniform(0, span))
    spots = [first + span * number for number in range(7)]
    spots = [along + 8.0 if plan.at_junction(along, 2.5) else along for along in spots]
    places = []
    for along in spots:
        x, y, _ = _place(plan, side, along, kerb + 0.1)
        yaw = plan.line.yaw(along)
        add_furniture(street, "pole", {"wood": "timber", "head": "white"}, size, 0, (x, y, PAVEMENT, yaw))
        street.stand(x, y, 0.18)
        street.take(x, y, 0.0, size, (0.16, 0.16), yaw)
        places.append((x, y))
    instance, high = street.new_instance(), PAVEMENT + size - 0.2
    for (x, y), (x2, y2) in pairwise(places):
        length, yaw = float(np.hypot(x2 - x, y2 - y)), float(np.degrees(np.arctan2(y2 - y, x2 - x)))
        params: dict[str, Value] = {"part": "metal", "kind": "wires", "size": round(length, 3), "seed": 1}
        street.add("wires", instance, "street_thing", params, _material(street, "dark"), [(x, y, high, yaw)])
        street.take((x + x2) / 2, (y + y2) / 2, high - 2.2, high + 0.2, (length / 2, max(WIRES) + 0.1), yaw)


def _trees(street: Street, plan: StreetPlan, rng: np.random.Generator, kerb: float, gap: float, reach: float) -> None:
    """Rows of trees: two meshes for all, each kind with one instance."""
    size = round(float(min(rng.uniform(4.5, 10.0), 2.2 * plan.pavement + (6.0 if plan.setback else 1.5))), 2)
    poses: dict[int, list[tuple[float, float, float, float]]] = {0: [], 1: []}
    scales: dict[int, list[float]] = {0: [], 1: []}
    for side in (-1, 1):
        for along in np.arange(-reach + float(rng.uniform(0, gap)), reach, gap).tolist():
            x, y, yaw = _place(plan, side, along, kerb + 0.25)
            if plan.at_junction(along, 5.0) or not street.is_free(x, y, 0.9) or rng.random() < 0.1:
                continue
            kind, scale = int(rng.integers(2)), round(float(rng.uniform(0.8, 1.15)), 3)
            poses[kind].append((x, y, PAVEMENT, round(yaw + float(rng.uniform(0, 360)), 2)))
            scales[kind].append(scale)
            street.stand(x, y, 0.35)
            street.take(x, y, 0.0, size * scale, (0.25, 0.25))
            wide = _CROWN * size * scale
            street.take(x, y, 0.3 * size * scale, size * scale * 1.1, (wide, wide))
    leaf, wood = street.materials.shared("leaf"), street.materials.shared("timber")
    for kind, places in poses.items():
        if places:
            params: dict[str, Value] = {"kind": "tree", "size": size, "seed": int(rng.integers(1 << 30))}
            instance = street.new_instance()
            for part, material in (("wood", wood), ("leaf", leaf)):
                street.add(
                    f"tree {part}",
                    instance,
                    "street_thing",
                    params | {"part": part},
                    material,
                    places,
                    scales=scales[kind],
                )


def _fences(street: Street, plan: StreetPlan, rng: np.random.Generator) -> None:
    """Along front gardens and yards: fences or hedges with gaps."""
    kinds = ("hedge", "hedge", "railings", "boards") if plan.quarter == "suburb" else ("railings", "boards")
    kind = kinds[int(rng.integers(len(kinds)))]
    aside = plan.half + plan.pavement + 0.35
    seed = int(rng.integers(1 << 30))
    for start, stop in plan.spans():
        for side in (-1, 1):
            at = max(start, -NEAR - 15) + 1.0
            while at + 3.0 < min(stop, NEAR + 15):
                length = round(float(rng.uniform(3.0, 8.0 if plan.line.bend else 12.0)), 2)
                length = min(length, round(stop - at - 1.0, 2))
                if length < 1.5:
                    break
                end = at + length if side < 0 else at
                begin = at if side < 0 else at + length
                x, y = plan.line.at(begin, side * aside).tolist()
                x2, y2 = plan.line.at(end, side * aside).tolist()
                size, yaw = round(float(np.hypot(x2 - x, y2 - y)), 3), float(np.degrees(np.arctan2(y2 - y, x2 - x)))
                if rng.random() < 0.8:
                    add_furniture(street, kind, _FENCES[kind], size, seed, (x, y, PAVEMENT, yaw))
                    street.take((x + x2) / 2, (y + y2) / 2, 0.0, PAVEMENT + 2.0, (size / 2, 0.45), yaw)
                at += length + float(rng.uniform(1.0, 4.0))


# --- cars -----------------------------------------------------------------------------------------------------------


def build_cars(street: Street, plan: StreetPlan, rng: np.random.Generator) -> None:
    """Parked cars along both kerbs, and a few in the lanes."""
    fullness = float(rng.uniform(0.15, 0.8))
    street.paints[:] = [street.materials.car() for _ in range(_PAINTS)]
    for side in (-1, 1):
        if plan.parking:
            at = -NEAR - 20.0
            while at < NEAR + 20.0:
                kind, stretch = _draw_car(rng)
                length = car_size(kind, stretch)[0]
                middle = at + length / 2
                if rng.random() < fullness and not plan.at_junction(middle, length / 2 + 5.5):
                    ahead = side == plan.keep
                    if rng.random() < 0.06:
                        ahead = not ahead
                    _add_car(street, plan, kind, stretch, middle, side * (plan.half - 1.08), ahead, rng)
                at += length + float(rng.uniform(0.5, 1.6))
    for lane in range(plan.lanes):
        for side in (-1, 1):
            at = -NEAR - 25.0 + float(rng.exponential(25))
            while at < NEAR + 25:
                kind, stretch = _draw_car(rng)
                _add_car(street, plan, kind, stretch, at, side * plan.lane * (lane + 0.5), side == plan.keep, rng)
                at += 7.0 + float(rng.exponential(35))


def _draw_car(rng: np.random.Generator) -> tuple[str, float]:
    kind = ("hatch", "hatch", "sedan", "sedan", "suv", "suv", "van", "minibus")[int(rng.integers(8))]
    return kind, (0.95, 1.0, 1.06)[int(rng.integers(3))]


def _add_car(
    street: Street,
    plan: StreetPlan,
    kind: str,
    stretch: float,
    along: float,
    aside: float,
    ahead: bool,
    rng: np.random.Generator,
) -> None:
    x, y = plan.line.at(along, aside).tolist()
    yaw = plan.line.yaw(along) + (0.0 if ahead else 180.0) + float(rng.normal(0, 0.8))
    instance, make, paints = street.new_instance(), street.materials, street.paints
    materials = {part: make.shared({"glass": "pane"}.get(part, part)) for part in CAR_PARTS if part != "paint"}
    white = kind == "van" and rng.random() < 0.6
    materials["paint"] = make.shared("van") if white else paints[int(rng.integers(len(paints)))]
    detail = 2 if abs(along) < _NEAR_CARS else 1
    for part in CAR_PARTS:
        params: dict[str, Value] = {"part": part, "kind": kind, "stretch": stretch, "detail": detail}
        street.add(f"{kind} {part}", instance, "car", params, materials[part], [(x, y, 0.0, yaw)])
    length, width, height = car_size(kind, stretch)
    street.take(x, y, 0.0, height, (length / 2, width / 2), yaw)
    street.cars.append((x, y, height / 2, float(np.hypot(length, width)) / 2))


# --- things of the catalogue ------------------------------------------------------------------------------------------


def build_objects(street: Street, plan: StreetPlan, draws: SettingDraws, rng: np.random.Generator) -> None:
    """The recipe's numbers of objects and primitives on the pavements, near the origin; the first is the largest."""
    recipe, pools = draws.recipe, draws.pools
    counts = [int(rng.integers(low, high + 1)) for low, high in (recipe.objects.count, recipe.primitives.count)]
    for role, count, pool in (("object", counts[0], pools.objects), ("primitive", counts[1], pools.primitives)):
        if not pool:
            continue
        scales = draw_many((0.35, 1.1) if role == "primitive" else (0.5, 1.6), rng, count)
        for scale in scales.tolist():
            _add_object(street, plan, draws, role, pool[int(rng.integers(len(pool)))], scale, rng)


def _add_object(
    street: Street,
    plan: StreetPlan,
    draws: SettingDraws,
    role: str,
    asset: Asset,
    scale: float,
    rng: np.random.Generator,
) -> None:
    assert asset.mesh is not None
    assert asset.footprint is not None
    radius = scale * asset.footprint.radius
    lowest, highest = plan.half + KERB + radius + 0.1, plan.half + plan.pavement - radius - 0.1
    for _ in range(12):
        side, along = int(rng.choice([-1, 1])), float(rng.uniform(-16, 16))
        aside = float(rng.uniform(lowest, highest)) if highest > lowest else 0.0
        x, y, _ = _place(plan, side, along, aside)
        if highest <= lowest or plan.at_junction(along, 3.5) or not street.is_free(x, y, radius):
            continue
        instance, x, y = street.new_instance(), round(x, 4), round(y, 4)
        material = draw_material(draws.recipe.materials, asset, draws.pools.surfaces, rng)
        thing = Object(
            name=f"{role}-{instance}",
            instance=instance,
            role="object" if role == "object" else "primitive",
            mesh=asset.mesh,
            material=material,
            scale=scale,
            yaw=round(float(rng.uniform(0, 360)), 4),
            position=(x, y),
            footprint=asset.footprint,
            height=PAVEMENT,
        )
        street.objects.append(thing)
        street.assets.append(asset)
        street.stand(x, y, radius)
        street.take(x, y, 0.0, PAVEMENT + scale * asset.footprint.height, (radius, radius))
        return
