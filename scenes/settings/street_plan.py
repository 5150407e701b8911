"""The plan of a street before anything stands in it: its kind, the roads' widths and lines, the blocks between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scenes.settings.quad_shapes import bent
from scenes.settings.road_meshes import KERB

NEAR = 48.0
"""Cameras and things stay within this distance along the road from the origin."""
CORNER = 3.0


@dataclass(frozen=True, kw_only=True)
class Quarter:
    """What a kind of town looks like; pairs are lowest and highest."""

    floors: tuple[int, int]
    storey: tuple[float, float]
    ground: tuple[float, float]
    frontage: tuple[float, float]
    bay: tuple[float, float]
    gap: tuple[float, float]
    setback: tuple[float, float]
    pavement: tuple[float, float]
    lanes: tuple[int, ...]
    walls: tuple[str, ...]
    bases: tuple[str, ...]
    windows: tuple[str, ...]
    fronts: tuple[str, ...]
    roofs: tuple[str, ...]
    trees: float
    wires: float


QUARTERS = {
    "city": Quarter(
        floors=(4, 12),
        storey=(3.0, 3.7),
        ground=(3.8, 5.2),
        frontage=(13.0, 28.0),
        bay=(1.8, 4.2),
        gap=(0.0, 0.0),
        setback=(0.0, 0.0),
        pavement=(3.4, 5.6),
        lanes=(1, 1, 2),
        walls=("stone", "concrete", "sheet", "brick", "plaster"),
        bases=("stone", "stone", "concrete", "sheet"),
        windows=("curtain", "ribbon", "casement", "tall", "casement"),
        fronts=("shops", "shops", "lobby"),
        roofs=("flat",),
        trees=0.5,
        wires=0.0,
    ),
    "old": Quarter(
        floors=(2, 6),
        storey=(2.8, 3.6),
        ground=(3.2, 4.4),
        frontage=(7.0, 15.0),
        bay=(2.0, 3.2),
        gap=(0.0, 0.0),
        setback=(0.0, 0.0),
        pavement=(1.8, 3.6),
        lanes=(1,),
        walls=("plaster", "plaster", "plaster", "brick", "stone"),
        bases=("plaster", "stone", "stone", "brick"),
        windows=("casement", "tall"),
        fronts=("shops", "shops", "homes"),
        roofs=("gable", "gable", "gable", "flat", "hip"),
        trees=0.4,
        wires=0.1,
    ),
    "suburb": Quarter(
        floors=(1, 3),
        storey=(2.6, 3.0),
        ground=(2.7, 3.1),
        frontage=(9.0, 15.0),
        bay=(2.4, 3.6),
        gap=(3.0, 7.0),
        setback=(4.0, 7.5),
        pavement=(1.6, 2.4),
        lanes=(1,),
        walls=("brick", "plaster", "wood", "brick", "plaster"),
        bases=("brick", "plaster", "stone"),
        windows=("casement", "casement", "tall"),
        fronts=("homes",),
        roofs=("gable", "gable", "hip"),
        trees=0.8,
        wires=0.6,
    ),
    "works": Quarter(
        floors=(1, 3),
        storey=(3.4, 4.4),
        ground=(4.4, 6.0),
        frontage=(18.0, 36.0),
        bay=(3.6, 6.0),
        gap=(2.0, 9.0),
        setback=(3.0, 9.0),
        pavement=(1.6, 2.6),
        lanes=(1, 1, 2),
        walls=("sheet", "sheet", "brick", "concrete"),
        bases=("concrete", "brick", "sheet"),
        windows=("ribbon", "casement"),
        fronts=("sheds", "sheds", "lobby"),
        roofs=("flat", "flat", "gable"),
        trees=0.3,
        wires=0.6,
    ),
}
_SHARES = {"city": 0.35, "old": 0.3, "suburb": 0.2, "works": 0.15}


@dataclass(frozen=True)
class Line:
    """A road's centre line: it leaves (x, y) towards `heading` degrees with curvature `bend` (1/m, > 0: left)."""

    x: float
    y: float
    heading: float
    bend: float = 0.0

    def at(self, along: np.ndarray | float, aside: np.ndarray | float) -> np.ndarray:
        """Points (..., 2) at arc lengths and offsets to the left."""
        local = bent(np.asarray(along, float), np.asarray(aside, float), self.bend)
        turn = np.radians(self.heading)
        x = np.cos(turn) * local[..., 0] - np.sin(turn) * local[..., 1]
        y = np.sin(turn) * local[..., 0] + np.cos(turn) * local[..., 1]
        return np.stack([self.x + x, self.y + y], axis=-1)

    def yaw(self, along: float) -> float:
        """Direction of the road in degrees."""
        return self.heading + float(np.degrees(along * self.bend))


@dataclass(frozen=True, kw_only=True)
class StreetPlan:
    """Widths in metres: `half` from the road's middle to its kerb; `crossings` are x of streets across, ends too.

    `keep` is +1 where traffic keeps to the left, -1 to the right: the sign of the offset of a lane that runs along +x.
    """

    quarter: str
    line: Line
    lanes: int
    lane: float
    parking: float
    pavement: float
    setback: float
    reach: float
    end: float
    crossings: tuple[float, ...]
    cross_half: float
    cross_pavement: float
    keep: int

    @property
    def style(self) -> Quarter:
        """What this kind of town looks like."""
        return QUARTERS[self.quarter]

    @property
    def half(self) -> float:
        """From the road's middle to its kerb."""
        return self.lanes * self.lane + self.parking

    @property
    def front(self) -> float:
        """Offset of the facades."""
        return self.half + self.pavement + self.setback

    @property
    def inner(self) -> tuple[float, ...]:
        """Crossings in the middle of the street."""
        return tuple(x for x in self.crossings if abs(x) < self.end)

    def spans(self) -> list[tuple[float, float]]:
        """Stretches of facades along the main road, between the streets across."""
        if self.line.bend:
            return [(-self.end, self.end)]
        aside = self.cross_half + self.cross_pavement
        return [(a + aside, b - aside) for a, b in pairwise(self.crossings)]

    def blocks(self) -> list[tuple[float, float, float, float]]:
        """Lowest and highest corner of every paved block, within its kerb."""
        wide, half = self.cross_half + KERB, self.half + KERB
        edges = [-self.end - 70.0, *self.crossings, self.end + 70.0]
        found = []
        for number, (a, b) in enumerate(pairwise(edges)):
            low, high = a + (wide if number else 0.0), b - (wide if number < len(edges) - 2 else 0.0)
            if number in (0, len(edges) - 2):
                found.append((low, -self.reach, high, self.reach))
            else:
                found += [(low, half, high, self.reach), (low, -self.reach, high, -half)]
        return [tuple(round(value, 3) for value in block) for block in found]  # type: ignore[misc]

    def at_junction(self, along: float, margin: float) -> bool:
        """Whether a place along the main road lies in a junction, or nearer to one than `margin`."""
        return any(abs(along - x) < self.cross_half + margin for x in self.crossings)


def draw_plan(rng: np.random.Generator) -> StreetPlan:
    """Draw one street."""
    quarter = list(_SHARES)[int(rng.choice(len(_SHARES), p=list(_SHARES.values())))]
    style = QUARTERS[quarter]
    lanes = style.lanes[int(rng.integers(len(style.lanes)))]
    lane, parking = _in(rng, (2.8, 3.4)), 2.2 if rng.random() < 0.7 else 0.0
    pavement, setback = _in(rng, style.pavement), _in(rng, style.setback)
    cross_half, cross_pavement = _in(rng, (3.2, 4.8)), _in(rng, (1.8, 3.2))
    bend, end = 0.0, _in(rng, (82.0, 115.0))
    crossings: tuple[float, ...] = ()
    shape = rng.random()
    if shape < 0.3:
        bend = round(float(rng.choice([-1, 1]) / rng.uniform(110.0, 260.0)), 6)
    else:
        middle = []
        if shape > 0.5:
            middle.append(_in(rng, (8.0, 26.0)) * float(rng.choice([-1, 1])))
        crossings = tuple(sorted([-end, end, *middle]))
    return StreetPlan(
        quarter=quarter,
        line=Line(0.0, 0.0, 0.0, bend),
        lanes=lanes,
        lane=lane,
        parking=parking,
        pavement=pavement,
        setback=setback,
        reach=64.0,
        end=end,
        crossings=crossings,
        cross_half=cross_half,
        cross_pavement=cross_pavement,
        keep=int(rng.choice([-1, 1])),
    )


def _in(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return round(float(rng.uniform(*bounds)), 3)
