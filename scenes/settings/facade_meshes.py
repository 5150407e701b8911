"""Buildings: walls with recessed windows, frames and panes, ground floors with doors and shops, balconies and roofs.

A building stands on z = 0 in a frame of its own: centred on the origin, `width` along x, `depth` along y, its front
towards -y. `building` makes one `part` of it; the parts of equal parameters fit together. A part is what one material
covers: wall, base (the ground floor's wall), trim (stone or sheet: ledges, sills, copings), frame, glass, blind
(panes with something pale behind them), door (also shop fronts, shutters, awnings), roof and gear (what stands on it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from scenes.meshgen.surface import MeshData, join
from scenes.settings.quad_shapes import boxes, openings_in, quad_mesh

PARTS = ("wall", "base", "trim", "frame", "glass", "blind", "door", "roof", "gear")
FRONT, RIGHT, BACK, LEFT = range(4)
_UNDER = -0.3
_OVERHANG = 0.45


@dataclass(frozen=True, kw_only=True)
class _House:
    """The parameters of a building in metres.

    `window` is casement, tall, ribbon or curtain; `front` (of the ground floor) homes, shops, lobby or sheds; `roof`
    flat, gable or hip, `rise` above the walls (a parapet's height for flat). `bare` has a bit for each side without
    windows, `detail` for each side with frames, sills and the like; the front is bit 0, then counter-clockwise.
    `balconies` is the share of the front's bays that have one.
    """

    width: float
    depth: float
    floors: int
    storey: float
    ground: float
    bay: float
    window: str
    front: str
    roof: str
    rise: float
    bare: int
    detail: int
    balconies: float
    seed: int

    @property
    def height(self) -> float:
        return self.ground + self.storey * (self.floors - 1)


def building(part: str, **params: object) -> MeshData:
    """One part of a building, or several joined by "+", possibly empty; TypeError for parameters not of `_House`."""
    made = _parts(_House(**params))  # type: ignore[arg-type]
    return join(made[name] for name in part.split("+"))


@lru_cache(maxsize=8)
def _parts(house: _House) -> dict[str, MeshData]:
    rng = np.random.default_rng(house.seed)
    style = _Style.drawn(house, rng)
    quads: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    for side in range(4):
        _facade(house, style, side, rng, quads)
    _bands(house, style, quads)
    {"flat": _flat_roof, "gable": _gable_roof, "hip": _hip_roof}[house.roof](house, rng, quads)
    return {part: quad_mesh(parts) for part, parts in quads.items()}


@dataclass(frozen=True, kw_only=True)
class _Style:
    """What is drawn once for a building."""

    sill: float
    head: float
    share: float
    recess: float
    frame: float
    mullions: int
    transom: bool
    surround: bool
    ledges: bool
    fins: bool
    shutters: bool
    balconies: np.ndarray = field(repr=False)
    blinds: float

    @classmethod
    def drawn(cls, house: _House, rng: np.random.Generator) -> _Style:
        low, high, share = {
            "casement": (rng.uniform(0.75, 1.0), house.storey - rng.uniform(0.35, 0.55), rng.uniform(0.36, 0.55)),
            "tall": (rng.uniform(0.12, 0.35), house.storey - rng.uniform(0.4, 0.6), rng.uniform(0.36, 0.5)),
            "ribbon": (rng.uniform(0.8, 1.1), house.storey - rng.uniform(0.3, 0.5), rng.uniform(0.86, 0.97)),
            "curtain": (0.1, house.storey - 0.1, 0.965),
        }[house.window]
        classic = house.window in ("casement", "tall")
        bays = max(int(house.width / house.bay), 1)
        return cls(
            sill=low,
            head=high,
            share=share,
            recess=rng.uniform(0.1, 0.28) if house.window != "curtain" else rng.uniform(0.04, 0.12),
            frame=rng.uniform(0.05, 0.09),
            mullions=int(rng.integers(1, 3)) if house.window != "casement" else int(rng.integers(0, 2)),
            transom=bool(rng.random() < 0.5),
            surround=classic and bool(rng.random() < 0.5),
            ledges=classic and bool(rng.random() < 0.45),
            fins=not classic and bool(rng.random() < 0.6),
            shutters=house.window != "ribbon" and classic and bool(rng.random() < 0.25),
            balconies=rng.random(bays) < house.balconies,
            blinds=rng.uniform(0.05, 0.35),
        )


@dataclass(frozen=True)
class _Wall:
    """One side's frame: u to the right as seen from outside, v up, n outward; `at` takes these to the building."""

    width: float
    detailed: bool
    origin: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, house: _House, side: int) -> _Wall:
        turn = np.pi / 2 * side
        across = np.round([np.cos(turn), np.sin(turn), 0.0])
        out = np.array([across[1], -across[0], 0.0])
        width, away = (house.width, house.depth) if side % 2 == 0 else (house.depth, house.width)
        return cls(
            width,
            bool(house.detail >> side & 1),
            -across * width / 2 + out * away / 2,
            np.stack([across, [0.0, 0.0, 1.0], out]),
        )

    def at(self, points: np.ndarray) -> np.ndarray:
        return self.origin + points @ self.axes

    def boxes(
        self, u0: ArrayLike, u1: ArrayLike, v0: ArrayLike, v1: ArrayLike, n0: ArrayLike, n1: ArrayLike
    ) -> np.ndarray:
        """Boxes open to the wall; each bound is a number or (N,)."""
        low, high = (
            np.stack(np.broadcast_arrays(*bounds), axis=-1).astype(float) for bounds in ((u0, v0, n0), (u1, v1, n1))
        )
        return self.at(boxes(low, high, closed=False))

    def sheets(self, rectangles: np.ndarray, depth: float | np.ndarray = 0.0) -> np.ndarray:
        """Quads over rectangles (N, 4) at n = `depth`."""
        u, v = rectangles[:, [0, 1, 1, 0]], rectangles[:, [2, 2, 3, 3]]
        n = np.broadcast_to(np.asarray(depth, float).reshape(-1, 1), u.shape)
        return self.at(np.stack([u, v, n], axis=-1))


def _facade(
    house: _House, style: _Style, side: int, rng: np.random.Generator, quads: dict[str, list[np.ndarray]]
) -> None:
    wall = _Wall.of(house, side)
    bays = max(int(wall.width / house.bay), 1)
    edges = (
        np.linspace(0, wall.width, bays + 1)
        if house.window == "curtain"
        else np.linspace(0.25, wall.width - 0.25, bays + 1)
    )
    middles, bay = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    half = style.share * bay / 2
    if house.window in ("casement", "tall"):
        half = min(half, 0.95)
    upper = np.array(
        [
            (middle - half, middle + half, base + style.sill, base + style.head)
            for base in house.ground + house.storey * np.arange(house.floors - 1)
            for middle in middles
        ]
    ).reshape(-1, 4)
    lower, kinds = _ground_floor(house, side, edges, rng)
    if house.bare >> side & 1:
        upper, lower, kinds = upper[:0], lower[:0], []
    holes = np.concatenate([upper, lower])
    cells = openings_in((0.0, wall.width), (_UNDER, house.height), holes, (house.ground,))
    low = cells[:, 3] <= house.ground + 1e-4
    quads["wall"].append(wall.sheets(cells[~low]))
    quads["base"].append(wall.sheets(cells[low]))
    _windows(wall, upper, style, house, rng, quads, "wall")
    _ground_openings(wall, lower, kinds, style, house, rng, quads)
    if wall.detailed and len(upper):
        if side == FRONT and style.balconies.any():
            _balconies(wall, upper, style, rng, quads)
        if style.fins:
            wide = 0.04 + 0.1 * rng.random()
            quads["frame"].append(
                wall.boxes(edges[1:-1] - wide, edges[1:-1] + wide, house.ground, house.height, 0.0, 0.12)
            )


def _reveals(wall: _Wall, holes: np.ndarray, recess: float) -> np.ndarray:
    """The four inner sides of openings (N, 4), from the wall's face to `recess` behind it."""
    u0, u1, v0, v1 = holes.T
    front, back = np.zeros(len(holes)), np.full(len(holes), -recess)
    corners = [
        ((u0, v0, back), (u0, v0, front), (u0, v1, front), (u0, v1, back)),
        ((u1, v0, front), (u1, v0, back), (u1, v1, back), (u1, v1, front)),
        ((u0, v0, back), (u1, v0, back), (u1, v0, front), (u0, v0, front)),
        ((u0, v1, front), (u1, v1, front), (u1, v1, back), (u0, v1, back)),
    ]
    faces = [np.stack([np.stack(corner, axis=-1) for corner in face], axis=1) for face in corners]
    return wall.at(np.concatenate(faces))[:, ::-1]


def _windows(
    wall: _Wall,
    holes: np.ndarray,
    style: _Style,
    house: _House,
    rng: np.random.Generator,
    quads: dict[str, list[np.ndarray]],
    around: str,
) -> None:
    """Panes, frames and what is around the windows in openings (N, 4) of a wall whose part is `around`."""
    if not len(holes):
        return
    recess = style.recess
    quads[around].append(_reveals(wall, holes, recess))
    pale = rng.random(len(holes)) < style.blinds
    drop = np.where(
        rng.random(len(holes)) < 0.5,
        holes[:, 2],
        holes[:, 3] - rng.uniform(0.25, 0.8, len(holes)) * (holes[:, 3] - holes[:, 2]),
    )
    split = np.where(pale, drop, holes[:, 3])
    dark = np.column_stack([holes[:, :3], split])[split > holes[:, 2] + 1e-3]
    light = np.column_stack([holes[:, :2], split, holes[:, 3]])[split < holes[:, 3] - 1e-3]
    quads["glass"].append(wall.sheets(dark, -recess))
    quads["blind"].append(wall.sheets(light, -recess))
    u0, u1, v0, v1 = holes.T
    if not wall.detailed:
        return
    _frames(wall, holes, style, quads)
    if style.transom:
        level = v0 + 0.72 * (v1 - v0)
        quads["frame"].append(wall.boxes(u0 + 0.01, u1 - 0.01, level - 0.025, level + 0.025, -recess, -recess + 0.04))
    if house.window == "curtain":
        return
    quads["trim"].append(wall.boxes(u0 - 0.06, u1 + 0.06, v0 - 0.07, v0, -recess, 0.06))
    if style.surround:
        quads["trim"].append(wall.boxes(u0 - 0.14, u0, v0, v1, 0.0, 0.035))
        quads["trim"].append(wall.boxes(u1, u1 + 0.14, v0, v1, 0.0, 0.035))
        quads["trim"].append(wall.boxes(u0 - 0.2, u1 + 0.2, v1, v1 + 0.18, 0.0, 0.06))
    if style.shutters:
        wide = np.minimum((u1 - u0) / 2, 0.45)
        for inner, outer in ((u0 - 0.02, u0 - 0.02 - wide), (u1 + 0.02 + wide, u1 + 0.02)):
            quads["door"].append(wall.boxes(outer, inner, v0, v1, 0.0 if not style.surround else 0.04, 0.085))


def _frames(wall: _Wall, holes: np.ndarray, style: _Style, quads: dict[str, list[np.ndarray]]) -> None:
    u0, u1, v0, v1 = holes.T
    near, far, f = -style.recess + 0.055, -style.recess, style.frame
    bars = [(u0, u0 + f, v0, v1), (u1 - f, u1, v0, v1), (u0 + f, u1 - f, v0, v0 + f), (u0 + f, u1 - f, v1 - f, v1)]
    quads["frame"] += [wall.boxes(*bar, far, near) for bar in bars]
    count = np.maximum(np.round((u1 - u0) / 1.3), 1).astype(int) - 1 + style.mullions * ((u1 - u0) > 0.9)
    for number in range(int(count.max(initial=0))):
        having = count > number
        at = u0 + (u1 - u0) * (number + 1) / (count + 1)
        quads["frame"].append(
            wall.boxes((at - 0.03)[having], (at + 0.03)[having], (v0 + f)[having], (v1 - f)[having], far, near - 0.01)
        )


# --- the ground floor -------------------------------------------------------------------------------------------


def _ground_floor(
    house: _House, side: int, edges: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Openings (N, 4) of the ground floor and what each is: window, door, shop or shed."""
    top = house.ground - rng.uniform(0.5, 0.75)
    openings, kinds = [], []
    bays = len(edges) - 1
    entrance = int(rng.integers(bays)) if side in (FRONT, BACK) else -1
    for number, (left, right) in enumerate(pairwise(edges)):
        middle, room = (left + right) / 2, right - left
        if number == entrance:
            half = min(0.8 if house.front in ("shops", "lobby") else 0.6, 0.45 * room)
            openings.append((middle - half, middle + half, 0.0, min(top, 2.7)))
            kinds.append("door")
        elif (house.front == "shops" and side == FRONT) or house.front == "lobby":
            openings.append((left + 0.14, right - 0.14, 0.0, top))
            kinds.append("shop")
        elif house.front == "sheds" and side == FRONT:
            if rng.random() < 0.5:
                half = min(2.0, 0.42 * room)
                openings.append((middle - half, middle + half, 0.0, min(top, 4.0)))
                kinds.append("shed")
        else:
            half = min(0.7, 0.3 * room)
            openings.append((middle - half, middle + half, min(0.95, top - 0.8), max(top - 0.1, min(1.9, top))))
            kinds.append("window")
    return np.array(openings, float).reshape(-1, 4), kinds


def _ground_openings(
    wall: _Wall,
    holes: np.ndarray,
    kinds: list[str],
    style: _Style,
    house: _House,
    rng: np.random.Generator,
    quads: dict[str, list[np.ndarray]],
) -> None:
    kind = np.array(kinds, dtype=str)
    _windows(wall, holes[kind == "window"], style, house, rng, quads, "base")
    others = holes[kind != "window"]
    if not len(others):
        return
    recess = style.recess + 0.05
    quads["base"].append(_reveals(wall, others, recess))
    quads["glass"].append(wall.sheets(holes[(kind == "shop")], -recess))
    doors, shops, sheds = (holes[kind == one] for one in ("door", "shop", "shed"))
    for u0, u1, v0, v1 in doors:
        leaf = min(v1, 2.15)
        quads["door"].append(wall.boxes(u0, u1, v0, leaf, -recess, -recess + 0.05))
        quads["glass"].append(wall.sheets(np.array([[u0, u1, leaf, v1]]), -recess))
        quads["trim"].append(wall.boxes(u0 - 0.1, u1 + 0.1, -0.05, 0.02, -recess, 0.25))
        if wall.detailed:
            middle = (u0 + u1) / 2
            quads["frame"] += [
                wall.boxes(u0, u1, leaf, leaf + 0.06, -recess, -recess + 0.08),
                wall.boxes(middle - 0.012, middle + 0.012, v0, leaf, -recess, -recess + 0.058),
                wall.boxes(middle + 0.06, middle + 0.1, 0.9, 1.25, -recess, -recess + 0.12),
            ]
            for left, right in ((u0 + 0.12, middle - 0.12), (middle + 0.16, u1 - 0.12)):
                quads["glass"].append(wall.boxes(left, right, 1.15, leaf - 0.15, -recess, -recess + 0.056))
    if len(shops):
        u0, u1, v0, v1 = shops.T
        stall = rng.uniform(0.15, 0.6)
        quads["door"].append(wall.boxes(u0, u1, v0, stall, -recess, -recess + 0.1))
        if wall.detailed:
            raised = shops.copy()
            raised[:, 2] = stall
            _frames(wall, raised, _at_recess(style, recess), quads)
            if house.front == "shops":
                sign = v1 + 0.06
                quads["door"].append(wall.boxes(u0 - 0.1, u1 + 0.1, sign, sign + 0.45, 0.0, 0.12))
                quads["trim"].append(wall.boxes(u0 + 0.5, u1 - 0.5, sign + 0.13, sign + 0.32, 0.0, 0.14))
                awning = rng.random(len(shops)) < 0.35
                quads["blind"] += [_awning(wall, *row) for row in shops[awning]]
    if len(sheds):
        u0, u1, v0, v1 = sheds.T
        quads["door"].append(wall.sheets(sheds, -recess))
        for level in np.arange(0.1, v1.max() - 0.1, 0.24) if wall.detailed else ():
            quads["door"].append(wall.boxes(u0, u1, level, level + 0.18, -recess, -recess + 0.04))


def _at_recess(style: _Style, recess: float) -> _Style:
    return _Style(**{**style.__dict__, "recess": recess})


def _awning(wall: _Wall, u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
    """A sloping cloth over a shop window with a valance."""
    del v0
    top, low, out = v1 + 0.02, v1 - 0.55, 1.1
    profile = [
        (top, 0.01),
        (low, out),
        (low - 0.2, out),
        (low - 0.2, out - 0.02),
        (low - 0.02, out - 0.02),
        (top - 0.04, 0.01),
    ]
    quads = []
    for (va, na), (vb, nb) in pairwise(profile):
        quads.append([(u0, vb, nb), (u1, vb, nb), (u1, va, na), (u0, va, na)])
    return wall.at(np.array(quads))


def _balconies(
    wall: _Wall, windows: np.ndarray, style: _Style, rng: np.random.Generator, quads: dict[str, list[np.ndarray]]
) -> None:
    """Slabs with railings before the windows of some bays."""
    bays = len(style.balconies)
    having = style.balconies[np.arange(len(windows)) % bays]
    if not having.any():
        return
    u0, u1, v0, _ = windows[having].T
    left, right, floor = u0 - 0.35, u1 + 0.35, v0 - style.sill
    out = rng.uniform(0.7, 1.2)
    quads["trim"].append(wall.boxes(left, right, floor - 0.16, floor, 0.0, out))
    rail = floor + 1.02
    if rng.random() < 0.4:  # a solid front
        part = "glass" if rng.random() < 0.5 else "trim"
        quads[part].append(wall.boxes(left, right, floor, rail, out - 0.05, out))
        quads[part].append(wall.boxes(left, left + 0.05, floor, rail, 0.0, out - 0.05))
        quads[part].append(wall.boxes(right - 0.05, right, floor, rail, 0.0, out - 0.05))
        return
    for height in (rail - 0.04, floor + 0.06):
        quads["frame"].append(wall.boxes(left, right, height, height + 0.04, out - 0.06, out - 0.02))
        quads["frame"].append(wall.boxes(left, left + 0.04, height, height + 0.04, 0.0, out - 0.06))
        quads["frame"].append(wall.boxes(right - 0.04, right, height, height + 0.04, 0.0, out - 0.06))
    steps = np.linspace(0, 1, 15)[:, None]
    bars = (left + 0.02 + steps * (right - left - 0.04)).ravel()
    low = np.broadcast_to(floor, (15, len(floor))).ravel()
    quads["frame"].append(wall.boxes(bars - 0.009, bars + 0.009, low + 0.1, low + 0.98, out - 0.05, out - 0.03))


# --- around the house -------------------------------------------------------------------------------------------


def _ring(house: _House, out: float, low: float, high: float, into: float = 0.0) -> np.ndarray:
    """A closed band around the walls, from `into` inside of their faces to `out` outside."""
    x, y = house.width / 2, house.depth / 2
    lows = [(-x - out, -y - out), (-x - out, y - into), (-x - out, -y + into), (x - into, -y + into)]
    highs = [(x + out, -y + into), (x + out, y + out), (-x + into, y - into), (x + out, y - into)]
    return boxes(np.array([(*point, low) for point in lows]), np.array([(*point, high) for point in highs]))


def _bands(house: _House, style: _Style, quads: dict[str, list[np.ndarray]]) -> None:
    if house.window == "curtain":
        return
    quads["trim"].append(_ring(house, 0.05, house.ground - 0.12, house.ground + 0.06))
    quads["base"].append(_ring(house, 0.03, _UNDER, -0.02))
    if house.detail and style.ledges:
        for floor in range(1, house.floors - 1):
            level = house.ground + house.storey * floor
            quads["trim"].append(_ring(house, 0.06, level - 0.06, level + 0.06))
    if style.surround or style.ledges:  # a cornice in three steps
        for out, low, high in ((0.08, -0.42, -0.3), (0.16, -0.3, -0.18), (0.3, -0.18, 0.0)):
            quads["trim"].append(_ring(house, out, house.height + low, house.height + high))


def _flat_roof(house: _House, rng: np.random.Generator, quads: dict[str, list[np.ndarray]]) -> None:
    x, y, top = house.width / 2, house.depth / 2, house.height
    quads["roof"].append(boxes([[-x + 0.2, -y + 0.2, top - 0.1]], [[x - 0.2, y - 0.2, top + 0.03]]))
    quads["wall"].append(_ring(house, 0.0, top, top + house.rise, 0.25))
    quads["trim"].append(_ring(house, 0.04, top + house.rise, top + house.rise + 0.06, 0.29))
    if not house.detail:
        return
    for _ in range(int(rng.integers(1, 5))):
        size = np.array([rng.uniform(0.8, 2.6), rng.uniform(0.8, 1.8), rng.uniform(0.7, 1.6)])
        room = np.maximum([x - 1.2 - size[0] / 2, y - 1.2 - size[1] / 2], 0.0)
        at = rng.uniform(-1, 1, 2) * room
        quads["gear"].append(boxes([[*(at - size[:2] / 2), top]], [[*(at + size[:2] / 2), top + 0.1 + size[2]]]))
    if rng.random() < 0.6:  # the head of the stairs
        at = rng.uniform(-1, 1, 2) * np.maximum([x - 3.0, y - 3.0], 0.0)
        quads["wall"].append(boxes([[*(at - 1.5), top]], [[*(at + 1.5), top + 2.6]]))
        quads["trim"].append(boxes([[*(at - 1.6), top + 2.6]], [[*(at + 1.6), top + 2.75]]))


def _gable_roof(house: _House, rng: np.random.Generator, quads: dict[str, list[np.ndarray]]) -> None:
    """Two thick planes over a ridge along x, and the walls' gables under them."""
    x, y, top, rise, thick = house.width / 2, house.depth / 2, house.height, house.rise, 0.16
    slope = rise / y
    out, end = y + _OVERHANG, x + (0.3 if not house.bare & 0b1010 else 0.02)
    eave, ridge = top - slope * _OVERHANG, top + rise
    for sign in (-1.0, 1.0):
        profile = [(sign * out, eave), (0.0, ridge), (0.0, ridge + thick), (sign * out, eave + thick)]
        quads["roof"].append(_extruded(profile[::-1] if sign > 0 else profile, -end, end))
        gable = np.array([[(sign * x, -y, top), (sign * x, y, top), (sign * x, 0.0, ridge), (sign * x, 0.0, ridge)]])
        quads["wall"].append(gable if sign > 0 else gable[:, [1, 0, 3, 2]])
        gutter = (sign * out, sign * (out + 0.12)) if sign > 0 else (sign * (out + 0.12), sign * out)
        quads["gear"].append(boxes([[-end, gutter[0], eave - 0.04]], [[end, gutter[1], eave + 0.08]]))
    _chimneys(house, rng, quads)


def _extruded(profile: list[tuple[float, float]], start: float, stop: float) -> np.ndarray:
    """Faces of a prism along x over a quadrilateral of (y, z), counter-clockwise as seen from +x."""
    ends = [np.array([(x, *point) for point in profile]) for x in (start, stop)]
    sides = [np.stack([ends[0][i], ends[1][i], ends[1][(i + 1) % 4], ends[0][(i + 1) % 4]]) for i in range(4)]
    return np.stack([ends[1], ends[0][::-1], *(side[::-1] for side in sides)])


def _hip_roof(house: _House, rng: np.random.Generator, quads: dict[str, list[np.ndarray]]) -> None:
    """Four planes; the ridge runs along the longer side."""
    x, y, top = house.width / 2 + _OVERHANG, house.depth / 2 + _OVERHANG, house.height
    run = min(x, y)
    a, b = np.array([-(x - run), -(y - run), top + house.rise]), np.array([x - run, y - run, top + house.rise])
    p = [np.array(point) for point in ((-x, -y, top), (x, -y, top), (x, y, top), (-x, y, top))]
    if x >= y:
        planes = [(p[0], p[1], b, a), (p[1], p[2], b, b), (p[2], p[3], a, b), (p[3], p[0], a, a)]
    else:
        planes = [(p[0], p[1], a, a), (p[1], p[2], b, a), (p[2], p[3], b, b), (p[3], p[0], a, b)]
    quads["roof"].append(np.array([np.stack(plane) for plane in planes]))
    quads["trim"].append(boxes([[-x, -y, top - 0.2]], [[x, y, top]]))
    _chimneys(house, rng, quads)


def _chimneys(house: _House, rng: np.random.Generator, quads: dict[str, list[np.ndarray]]) -> None:
    for _ in range(int(rng.integers(0, 3))):
        at = np.array([rng.uniform(-0.6, 0.6) * house.width / 2, rng.uniform(-0.25, 0.25) * house.depth])
        base, top = house.height + 0.1, house.height + house.rise + rng.uniform(0.3, 1.0)
        quads["base"].append(boxes([[*(at - 0.35), base]], [[*(at + 0.35), top]]))
        quads["trim"].append(boxes([[*(at - 0.41), top]], [[*(at + 0.41), top + 0.1]]))
