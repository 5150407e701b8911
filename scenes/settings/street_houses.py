"""Rows of houses along a street and across it, what is between them, and the town behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenes.settings.facade_meshes import PARTS
from scenes.settings.road_meshes import PAVEMENT
from scenes.settings.street_builder import Street
from scenes.settings.street_plan import Line, Quarter, StreetPlan
from scenes.spec import Builtin, Material, Value

_LOOKS = 6
_FAR = 80.0
_DEPTHS = (9.0, 13.0)


@dataclass(frozen=True)
class _Row:
    """Houses along one side (+1: left) of a line between two arc lengths, their fronts at `front` from its middle."""

    line: Line
    side: int
    start: float
    stop: float
    front: float
    plain: bool = False


def build_houses(street: Street, plan: StreetPlan, rng: np.random.Generator) -> None:
    """All houses of a street: along it, along the streets across, and where the view ends."""
    street.looks[:] = [_draw_look(street, plan.style, rng) for _ in range(_LOOKS)]
    for start, stop in plan.spans():
        for side in (-1, 1):
            _build_row(street, plan, _Row(plan.line, side, start, stop, plan.front), rng)
    behind = plan.front + _DEPTHS[1] + 4.0
    across = plan.cross_half + plan.cross_pavement
    for x in plan.crossings:
        line, outer = Line(x, 0.0, 90.0), abs(x) >= plan.end
        for side in (-1, 1):
            if outer and side * x < 0:  # the row that closes the view along the street
                _build_row(street, plan, _Row(line, side, -plan.reach + 20, plan.reach - 20, across, True), rng)
            else:
                _build_row(street, plan, _Row(line, side, behind, plan.reach - 8, across), rng)
                _build_row(street, plan, _Row(line, side, -plan.reach + 8, -behind, across), rng)
        for sign in (-1, 1):  # and along the street across
            end = Line(x, sign * (plan.reach + 12.0), 0.0 if sign > 0 else 180.0)
            _build_row(street, plan, _Row(end, 1, -27.0, 27.0, 0.0, True), rng)
    if plan.line.bend:
        for along, heading in ((plan.end + 14.0, 90.0), (-plan.end - 14.0, -90.0)):
            x, y = plan.line.at(along, 0.0).tolist()
            end = Line(x, y, plan.line.yaw(along) + heading)
            _build_row(street, plan, _Row(end, -1, -plan.front - 6, plan.front + 6, 0.0, True), rng)


def _build_row(street: Street, plan: StreetPlan, row: _Row, rng: np.random.Generator) -> None:
    style = plan.style
    at, first = row.start, True
    scale = min(1.0, 1.0 - row.line.bend * row.side * (row.front + _DEPTHS[1]))  # the inner side of a bend is shorter
    while True:
        width = float(rng.uniform(*style.frontage))
        room = (row.stop - at) * scale
        if room < style.frontage[0] * 0.75:
            return
        if room - width < style.frontage[0]:
            width = min(room, style.frontage[1] * 1.3)
        width = round(width, 2)
        middle, gap = at + width / 2 / scale, float(rng.uniform(*style.gap))
        at += (width + gap) / scale
        last = (row.stop - at) * scale < style.frontage[0] * 0.75
        _build_house(street, plan, row, middle, width, (first or gap > 0, last or gap > 0), rng)
        first = False


def _build_house(
    street: Street,
    plan: StreetPlan,
    row: _Row,
    along: float,
    width: float,
    open_ends: tuple[bool, bool],
    rng: np.random.Generator,
) -> None:
    style = plan.style
    depth = round(float(rng.uniform(*_DEPTHS)), 2)
    x, y = row.line.at(along, row.side * (row.front + depth / 2)).tolist()
    yaw = row.line.yaw(along) + (0.0 if row.side > 0 else 180.0)
    near = float(np.hypot(*row.line.at(along, row.side * row.front))) < _FAR and not row.plain
    # On the left the house's own right side (1) is ahead, on the right its left side (3).
    ahead, behind = (1, 3) if row.side > 0 else (3, 1)
    shown = (open_ends[1] << ahead) | (open_ends[0] << behind)
    attached = not (style.gap[1] > 0)
    bare = (~shown & 0b1010) if attached else (0b1010 if rng.random() < 0.3 else 0)
    params = _house_params(style, width, depth, bare, 1 | (shown & ~bare) if near else 0, rng)
    instance = street.new_instance()
    pose = (x, y, PAVEMENT, yaw)
    materials = _house_materials(street, params, rng)
    for part, material in _grouped(materials, near).items():
        street.add(f"house {part}", instance, "building", params | {"part": part}, material, [pose])
    top = PAVEMENT + _height(params) + float(params["rise"]) + (1.0 if params["roof"] != "flat" else 0.3)  # type: ignore[arg-type]
    over = 0.5 if params["roof"] != "flat" or style.setback[1] > 0 else 0.4
    street.take(x, y, 0.0, top, (width / 2 + (over if attached is False else 0.05), depth / 2 + over), yaw)
    if params["balconies"] and near:
        fx, fy = row.line.at(along, row.side * (row.front - 0.65)).tolist()
        street.take(fx, fy, PAVEMENT + float(params["ground"]) - 0.3, top - 1.0, (width / 2, 0.65), yaw)  # type: ignore[arg-type]


def _height(params: dict[str, Value]) -> float:
    floors, ground, storey = (float(params[name]) for name in ("floors", "ground", "storey"))  # type: ignore[arg-type]
    return ground + (floors - 1) * storey


def _grouped(materials: dict[str, Material], near: bool) -> dict[str, Material]:
    """The pieces of a house, "+" joining parts that look the same; from afar, few are told apart."""
    groups = [[part] for part in PARTS] if near else [["wall", "base", "trim", "door"], ["glass", "blind"], ["roof"]]
    if near and materials["base"] is materials["wall"]:
        groups = [["wall", "base"], *groups[2:]]
    return {"+".join(group): materials[group[0]] for group in groups}


def _house_params(
    style: Quarter, width: float, depth: float, bare: int, detail: int, rng: np.random.Generator
) -> dict[str, Value]:
    def one(names: tuple[str, ...]) -> str:
        return names[int(rng.integers(len(names)))]

    low, high = style.floors
    floors = int(rng.integers(low, high + 1))
    window = one(style.windows) if floors > 3 or style.windows[0] != "curtain" else "ribbon"
    roof, front = one(style.roofs), one(style.fronts)
    if window == "curtain":
        front, roof = "lobby", "flat"
    rise = rng.uniform(0.3, 1.1) if roof == "flat" else min(depth / 2 * rng.uniform(0.55, 1.0), 5.5)
    share = {"tall": 0.5, "casement": 0.25, "ribbon": 0.2}.get(window, 0.0) if floors > 2 else 0.0
    return {
        "width": width,
        "depth": depth,
        "floors": floors,
        "storey": round(float(rng.uniform(*style.storey)), 2),
        "ground": round(float(rng.uniform(*style.ground)), 2),
        "bay": round(float(rng.uniform(*style.bay)), 2),
        "window": window,
        "front": front,
        "roof": roof,
        "rise": round(float(rise), 2),
        "bare": bare,
        "detail": detail,
        "balconies": round(float(rng.uniform(0.3, 0.9)), 2) if rng.random() < share else 0.0,
        "seed": int(rng.integers(1 << 30)),
    }


def _draw_look(street: Street, style: Quarter, rng: np.random.Generator) -> dict[str, Material]:
    """Materials by part, and "mirror" for coated panes, "felt" for flat roofs, "cladding" around curtain walls."""
    make = street.materials
    wall = make.wall(style.walls[int(rng.integers(len(style.walls)))])
    return {
        "wall": wall,
        "base": wall if rng.random() < 0.4 else make.wall(style.bases[int(rng.integers(len(style.bases)))]),
        "trim": make.trim(),
        "frame": make.frame(),
        "glass": make.glass(mirror=False),
        "blind": make.shared("blind"),
        "door": make.vivid() if rng.random() < 0.7 else make.timber(),
        "roof": make.roof(flat=False),
        "gear": make.shared("iron"),
        "mirror": make.glass(mirror=True),
        "felt": make.roof(flat=True),
        "cladding": make.wall(("sheet", "stone", "concrete")[int(rng.integers(3))]),
    }


def _house_materials(street: Street, params: dict[str, Value], rng: np.random.Generator) -> dict[str, Material]:
    look = dict(street.looks[int(rng.integers(len(street.looks)))])
    if params["window"] == "curtain":
        look["wall"] = look["base"] = look["cladding"]
        if rng.random() < 0.6:
            look["glass"] = look["mirror"]
    if params["roof"] == "flat":
        look["roof"] = look["felt"]
    return look


def build_town(street: Street, plan: StreetPlan, rng: np.random.Generator) -> None:
    """Houses and trees to the horizon, from a few meshes."""
    style = plan.style
    clear = (plan.end + 48.0, plan.reach + 44.0)
    for number in range(3):
        width, depth = round(float(rng.uniform(14, 34)), 1), round(float(rng.uniform(11, 18)), 1)
        params = _house_params(style, width, depth, 0, 0, rng)
        params["floors"] = int(params["floors"]) + int(rng.integers(0, 5 if style.floors[1] > 6 else 2))  # type: ignore[arg-type]
        materials = _house_materials(street, params, rng)
        instance = street.new_instance()
        ring: dict[str, Value] = {"seed": int(rng.integers(1 << 30)), "count": 60, "clear": clear, "far": 440.0}
        copies = Builtin(
            uid="street/ring_poses", generator="ring_poses", params={**ring, "low": 0.9, "z": 0.0, "cell": 38.0}
        )
        for part, material in _grouped(materials, False).items():
            street.add(f"town {number} {part}", instance, "building", params | {"part": part}, material, copies=copies)
    tree: dict[str, Value] = {"kind": "tree", "size": 11.0, "seed": int(rng.integers(1 << 30))}
    ring = {"seed": int(rng.integers(1 << 30)), "count": 200, "clear": clear, "far": 600.0}
    copies = Builtin(
        uid="street/ring_poses", generator="ring_poses", params={**ring, "low": 0.6, "z": 0.0, "cell": 26.0}
    )
    instance = street.new_instance()
    for part, material in (("leaf", street.materials.leaf()), ("wood", street.materials.timber())):
        street.add(f"far trees {part}", instance, "street_thing", tree | {"part": part}, material, copies=copies)
