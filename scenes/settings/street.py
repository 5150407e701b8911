"""The street: roads with kerbs and markings between rows of houses, cars, lamps and trees, a town to the horizon."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from scenes.settings.road_meshes import KERB, LAND, PAVEMENT
from scenes.settings.setting_layout import SettingDraws, SettingLayout, Viewpoints
from scenes.settings.street_builder import GROUND_INSTANCE, Street
from scenes.settings.street_houses import build_houses, build_town
from scenes.settings.street_materials import StreetMaterials, constant
from scenes.settings.street_plan import CORNER, NEAR, StreetPlan, draw_plan
from scenes.settings.street_things import build_cars, build_objects, build_things
from scenes.spec import Setting, Value

_HORIZON = 6000.0
_OF_A_THING = 0.4


def lay_out_street(draws: SettingDraws) -> SettingLayout:
    """Draw a street; it always works out."""
    plan = draw_plan(draws.rng("street plan"))
    street = Street(StreetMaterials(draws.pools, draws.rng("street materials")))
    _build_ground(street, plan, draws.rng("street ground"))
    build_objects(street, plan, draws, draws.rng("street objects"))
    build_things(street, plan, draws.rng("street things"))
    build_cars(street, plan, draws.rng("street cars"))
    build_houses(street, plan, draws.rng("street houses"))
    build_town(street, plan, draws.rng("street town"))
    subject = _subject(street, draws.rng("street subject"))
    return SettingLayout(
        setting=Setting(kind="street", pieces=tuple(street.pieces)),
        assets=tuple(street.assets),
        objects=tuple(street.objects),
        taken=street.taken(PAVEMENT + 0.01),
        viewpoints=_viewpoints(plan, subject),
        subject=subject,
    )


def _subject(street: Street, rng: np.random.Generator) -> tuple[np.ndarray, float] | None:
    """A thing of the catalogue or a car near the origin in some streets; the others show themselves."""
    kind, pick = rng.random(), rng.random()
    if kind < 0.7 * _OF_A_THING and street.objects:
        thing = street.objects[int(pick * len(street.objects))]
        size = thing.scale * np.array([thing.footprint.radius, thing.footprint.height / 2])
        return np.array([*thing.position, PAVEMENT + size[1]]).round(4), round(float(np.hypot(*size)), 4)
    cars = [car for car in street.cars if abs(car[0]) < NEAR / 2]
    if kind < _OF_A_THING and cars:
        x, y, z, radius = cars[int(pick * len(cars))]
        return np.array([x, y, z]).round(4), round(radius, 4)
    return None


# --- the ground -----------------------------------------------------------------------------------------------------


def _build_ground(street: Street, plan: StreetPlan, rng: np.random.Generator) -> None:
    make = street.materials
    bend, half = plan.line.bend, plan.half
    ground: list[tuple[str, str, dict[str, Value]]] = [("land", "land", {"size": _HORIZON})]
    length = plan.end + (20.0 if bend else plan.cross_half)
    crossings = tuple(value for x in plan.crossings for value in (x, plan.cross_half, plan.reach + 14.0))
    ground.append(("road", "road", {"spans": (-length, length, -half, half), "bend": bend, "crossings": crossings}))
    if bend:
        lots = plan.front + 24.0
        sides = [
            (sign * (half + a), sign * (half + b)) for sign in (-1, 1) for a, b in ((0.0, KERB), (KERB, lots - half))
        ]
        spans = [(-length, length, min(pair), max(pair)) for pair in sides]
        curbs, walks = _flat(spans[::2]), _flat(spans[1::2])
        ground.append(("kerbs", "strips", {"spans": curbs, "low": LAND - 0.1, "high": PAVEMENT + 0.006, "bend": bend}))
        ground.append(("pavements", "strips", {"spans": walks, "low": LAND - 0.1, "high": PAVEMENT, "bend": bend}))
    else:
        blocks = _flat(plan.blocks())
        ground.append(("pavements", "pavements", {"blocks": blocks, "radius": CORNER}))
        ground.append(("kerbs", "kerbs", {"blocks": blocks, "radius": CORNER}))
    if plan.setback > 1.0:
        ground.append(
            ("lawns", "strips", {"spans": _lawns(plan), "low": PAVEMENT - 0.1, "high": PAVEMENT + 0.03, "bend": bend})
        )
    ground.append(("markings", "markings", {"spans": _markings(plan, rng), "bend": bend, "arrows": _arrows(plan, rng)}))
    spots = rng.uniform([-NEAR, -half * 0.8], [NEAR, half * 0.8], (int(rng.integers(2, 7)), 2))
    spots = spots[[not plan.at_junction(along, 4.0) for along in spots[:, 0]]]
    if len(spots):
        ground.append(("covers", "covers", {"places": tuple(plan.line.at(*spots.T).round(3).ravel().tolist())}))
    yellow, garden = rng.random() < 0.2, plan.quarter == "suburb" or rng.random() < 0.4
    paint = (0.6, 0.4, 0.05) if yellow else (0.62, 0.62, 0.6)
    materials = {
        "land": make.grass() if plan.quarter in ("suburb", "works") else make.concrete(),
        "road": make.road(plan.quarter == "old"),
        "pavements": make.paving(),
        "kerbs": make.trim(),
        "lawns": make.grass() if garden else make.gravel(),
        "markings": constant(paint, 0.6),
        "covers": constant((0.3, 0.28, 0.26), 0.45, 1.0),
    }
    for name, generator, params in ground:
        street.add(name, GROUND_INSTANCE, generator, params, materials[name])


def _flat(rows: list[tuple[float, float, float, float]]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for row in rows for value in row)


def _lawns(plan: StreetPlan) -> tuple[float, ...]:
    """Front gardens or yards, behind the pavement to beyond the houses."""
    low, high = plan.half + plan.pavement + 0.1, plan.front + 22.0
    return _flat(
        [
            (a + 0.5, b - 0.5, side * low if side > 0 else -high, high if side > 0 else -low)
            for a, b in plan.spans()
            for side in (-1, 1)
        ]
    )


def _markings(plan: StreetPlan, rng: np.random.Generator) -> tuple[float, ...]:
    """Bars along and across the road; some quiet streets have none."""
    if plan.quarter == "suburb" and rng.random() < 0.35:
        return ()
    return _flat([*_lane_lines(plan, rng), *_junction_lines(plan)])


def _lane_lines(plan: StreetPlan, rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Dashed lines between lanes and before parking bays, the middle one sometimes double and solid."""
    dash, gap, solid = float(rng.uniform(1.5, 3.5)), float(rng.uniform(2.5, 5.0)), rng.random() < 0.25
    stops = plan.cross_half + 5.5
    dashed = [side * lane * plan.lane for lane in range(1, plan.lanes) for side in (-1, 1)]
    dashed += [side * plan.lanes * plan.lane for side in (-1, 1) if plan.parking]
    through = [side * (plan.half - 0.25) for side in (-1, 1) if not plan.parking]
    if solid:
        through += [-0.12, 0.12]
    else:
        dashed.append(0.0)
    bars = []
    for at in np.arange(-plan.end + 6, plan.end - 6, dash + gap).tolist():
        if not any(abs(at + dash / 2 - x) < stops + dash / 2 for x in plan.crossings):
            bars += [(at, at + dash, offset - 0.06, offset + 0.06) for offset in dashed]
    for a, b in pairwise([-plan.end, *plan.inner, plan.end]):
        bars += [(a + stops, b - stops, offset - 0.05, offset + 0.05) for offset in through]
    return bars


def _junction_lines(plan: StreetPlan) -> list[tuple[float, float, float, float]]:
    """Zebra crossings, stop lines, and the middle lines of the streets across."""
    bars = []
    for x in plan.inner:
        for sign in (-1, 1):
            near, far = sorted((x + sign * (plan.cross_half + 1.2), x + sign * (plan.cross_half + 4.2)))
            bars += [(near, far, y, y + 0.5) for y in np.arange(-plan.half + 0.35, plan.half - 0.7, 1.0).tolist()]
            stop = x + sign * (plan.cross_half + 5.0)
            side = -sign * plan.keep  # the lanes that come up to the junction here
            low, high = sorted((side * 0.15, side * plan.lanes * plan.lane))
            bars.append((stop - 0.2, stop + 0.2, low, high))
    for x in plan.crossings:
        starts = np.arange(plan.half + 4.0, plan.reach, 6.0).tolist()
        bars += [(x - 0.06, x + 0.06, y, y + 2.5) for y in starts]
        bars += [(x - 0.06, x + 0.06, -y - 2.5, -y) for y in starts]
    return bars


def _arrows(plan: StreetPlan, rng: np.random.Generator) -> tuple[float, ...]:
    """Arrows before junctions, in the lanes that lead there."""
    if rng.random() < 0.5:
        return ()
    places = [
        (x + sign * (plan.cross_half + 12.0), -sign * plan.keep * (lane + 0.5) * plan.lane, -sign)
        for x in plan.inner
        for sign in (-1, 1)
        for lane in range(plan.lanes)
    ]
    return tuple(round(float(value), 3) for place in places for value in place)


# --- where to look from ---------------------------------------------------------------------------------------------


def _viewpoints(
    plan: StreetPlan, subject: tuple[np.ndarray, float] | None
) -> Callable[[np.random.Generator, int], Viewpoints]:
    def draw(rng: np.random.Generator, count: int) -> Viewpoints:
        rows = [_view_of_thing(subject, rng) if subject is not None else _view(plan, rng) for _ in range(count)]
        eyes, targets, fov = (np.array(column) for column in zip(*rows, strict=True))
        return Viewpoints(eyes, targets, fov)

    return draw


_View = tuple[np.ndarray, np.ndarray, float]


def _view_of_thing(subject: tuple[np.ndarray, float], rng: np.random.Generator) -> _View:
    """From somebody's height or a little above, so near that the thing fills a good part of the picture."""
    centre, radius = subject
    fov = float(rng.uniform(28, 75))
    distance = max(radius / np.tan(np.radians(fov / 2)) * rng.uniform(1.6, 5.5), radius + 0.5)
    turn = rng.uniform(0, 2 * np.pi)
    height = rng.uniform(0.5, 1.9) if rng.random() < 0.8 else rng.uniform(1.9, 6.0)
    rise = np.clip(height - centre[2], -0.8 * distance, 0.8 * distance)
    level = np.sqrt(distance**2 - rise**2)
    return centre + np.array([level * np.cos(turn), level * np.sin(turn), rise]), centre, fov


def _view(plan: StreetPlan, rng: np.random.Generator) -> _View:
    """A pedestrian's view, a driver's, one from a window, or one from a drone."""
    kind, along = rng.random(), float(rng.uniform(-NEAR, NEAR) * 0.9)
    way, side = -1 if along > 0 else 1, int(rng.choice([-1, 1]))
    distance = float(np.exp(rng.uniform(np.log(3.0), np.log(35.0))))
    fov = float(rng.uniform(35, 90))
    if kind < 0.45:  # on foot: along the street, across it, or at what is near
        walk = plan.half + KERB + rng.uniform(0.4, max(plan.pavement - 0.5, 0.5))
        aside = side * float(walk if rng.random() < 0.7 else rng.uniform(0, plan.half))
        height, swing, pitch = rng.uniform(1.35, 1.8), rng.normal(0, 28), rng.uniform(-8, 14)
    elif kind < 0.6:  # at a wheel
        aside = way * plan.keep * plan.lane * (float(rng.integers(plan.lanes)) + 0.5)
        height, swing, pitch = rng.uniform(1.1, 1.5), rng.normal(0, 8), rng.uniform(-3, 3)
    elif kind < 0.8:  # from a window or a balcony
        aside = side * (plan.half + plan.pavement + plan.setback * 0.5 - 1.7)
        height, swing, pitch = rng.uniform(3.5, 16.0), rng.normal(0, 25), rng.uniform(-40, 2)
        distance = max(distance, 6.0)
    else:  # a drone
        aside = float(rng.uniform(-1, 1)) * plan.front * 0.8
        height, swing, pitch = rng.uniform(7.0, 42.0), rng.uniform(-70, 70), rng.uniform(-60, -10)
        distance = max(distance, height * 0.9)
    rise = np.sin(np.radians(pitch))
    level = distance * np.sqrt(1 - rise**2)
    heading = np.radians(plan.line.yaw(along) + swing) + (0.0 if way > 0 else np.pi)
    start = np.array([*plan.line.at(along, aside), height])
    target = start + np.array([level * np.cos(heading), level * np.sin(heading), distance * rise])
    target[2] = max(target[2], 0.2)
    return start, target, fov
