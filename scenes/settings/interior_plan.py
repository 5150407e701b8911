"""A room's plan: corners, height, and the openings through which the environment lights it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scenes.settings.interior_meshes import edge_frames

_LEAST_LIGHT = 0.14
"""Least area of the openings, as a share of the floor's."""
_DOOR = (0.82, 2.04)


@dataclass(frozen=True)
class Opening:
    """A rectangle of a wall: `edge` of the plan, `start` and `stop` along it, `sill` and `top` above the floor."""

    edge: int
    start: float
    stop: float
    sill: float
    top: float
    kind: Literal["window", "doorway", "open", "door"]


@dataclass(frozen=True)
class RoomPlan:
    """A right-angled room with its bounding box's centre over the origin; lengths are metres.

    Attributes:
        corners: x0, y0, x1, y1, ... of the walls' inner faces, counter-clockwise.
        notch: x0, y0, x1, y1 of what an L-shaped plan lacks of its bounding box, or None.
        openings: holes in the walls; `door` is a closed door on a wall, or None.
    """

    corners: tuple[float, ...]
    notch: tuple[float, float, float, float] | None
    height: float
    thickness: float
    loft: bool
    openings: tuple[Opening, ...]
    door: Opening | None

    @property
    def bounds(self) -> np.ndarray:
        """Lowest and highest corner (2, 3) of the bounding box."""
        points = np.reshape(self.corners, (-1, 2))
        return np.array([[*points.min(axis=0), 0.0], [*points.max(axis=0), self.height]])

    @property
    def floor_area(self) -> float:
        """Square metres."""
        x, y = np.reshape(self.corners, (-1, 2)).T
        return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)

    def holds(self, box: np.ndarray, gap: float = 0.0) -> bool:
        """Whether a box (x0, y0, x1, y1, ...) lies inside the walls and `gap` away from them."""
        low, high = self.bounds[:, :2]
        inside = (box[:2] >= low + gap - 1e-9).all() and (box[2:4] <= high - gap + 1e-9).all()
        if not inside or self.notch is None:
            return bool(inside)
        x0, y0, x1, y1 = self.notch
        return bool(
            box[2] <= x0 - gap + 1e-9
            or box[0] >= x1 + gap - 1e-9
            or box[3] <= y0 - gap + 1e-9
            or box[1] >= y1 + gap - 1e-9
        )


def draw_plan(rng: np.random.Generator) -> RoomPlan | None:
    """Draw a room; None where its walls had no place for enough light."""
    loft = rng.random() < 0.18
    wide, deep = np.exp(rng.uniform(np.log(5.5), np.log(10.0), 2) if loft else rng.uniform(np.log(2.9), np.log(6.5), 2))
    height = rng.uniform(3.6, 5.0) if loft else rng.uniform(2.3, 3.5)
    corners, notch = _draw_corners(rng, round(float(wide), 2), round(float(deep), 2))
    plan = RoomPlan(
        corners=corners,
        notch=notch,
        height=round(float(height), 2),
        thickness=round(float(rng.uniform(0.12, 0.34)), 3),
        loft=loft,
        openings=(),
        door=None,
    )
    lengths = edge_frames(corners)[3]
    openings: list[Opening] = []
    lit, most = 0.0, int(rng.integers(1, 4))
    walls = rng.permutation(len(lengths)).tolist()
    for used, edge in enumerate(walls):
        enough = lit >= _LEAST_LIGHT * plan.floor_area
        if enough and (used >= most or used >= len(walls) - 1):
            break
        openings += _draw_openings(rng, plan, int(edge), float(lengths[edge]))
        lit = sum((o.stop - o.start) * (o.top - o.sill) for o in openings)
    if lit < _LEAST_LIGHT * plan.floor_area:
        return None
    door = _draw_door(rng, plan, openings, lengths)
    return RoomPlan(**{**plan.__dict__, "openings": tuple(openings), "door": door})


def _draw_corners(
    rng: np.random.Generator, wide: float, deep: float
) -> tuple[tuple[float, ...], tuple[float, float, float, float] | None]:
    x, y = wide / 2, deep / 2
    if rng.random() < 0.7 or min(wide, deep) < 3.6:
        return (-x, -y, x, -y, x, y, -x, y), None
    a, b = (round(side * float(rng.uniform(0.05, 0.2)), 2) for side in (wide, deep))
    points = np.array([(-x, -y), (x, -y), (x, b), (a, b), (a, y), (-x, y)])
    notch = np.array([a, b, x, y])
    flips = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    points, notch = points * flips, notch.reshape(2, 2) * flips
    if flips.prod() < 0:
        points = points[::-1]
    low, high = notch.min(axis=0).tolist(), notch.max(axis=0).tolist()
    return tuple(points.ravel().tolist()), (low[0], low[1], high[0], high[1])


def _draw_openings(rng: np.random.Generator, plan: RoomPlan, edge: int, length: float) -> list[Opening]:
    """A row of windows, a large window, a doorway to the outside, or an open side, if the wall is long enough."""
    margin, under = 0.3, plan.height - (0.5 if plan.loft else 0.22)
    room = length - 2 * margin
    if room < 0.7:
        return []
    kind = rng.random()
    if kind < 0.15:
        return [Opening(edge, 0.3, round(length - 0.3, 3), 0.0, round(under, 3), "open")]
    if kind < 0.3 and room > 1.2:
        wide = float(rng.uniform(0.9, min(2.4, room)))
        start = margin + float(rng.uniform(0, room - wide))
        top = min(under, float(rng.uniform(2.0, 2.4)))
        return [Opening(edge, round(start, 3), round(start + wide, 3), 0.0, round(top, 3), "doorway")]
    if kind < 0.48:
        wide = float(rng.uniform(0.6, 1.0)) * room
        count = 1
    else:
        wide = float(rng.uniform(0.7, 1.5))
        count = int(rng.integers(1, max(1, int(room / (wide + 0.35))) + 1))
        wide = min(wide, room)
    sill = float(rng.uniform(0.25, 1.0))
    top = (
        float(rng.uniform(max(sill + 0.9, 0.75 * under), under))
        if plan.loft
        else min(under, float(rng.uniform(2.0, 2.6)))
    )
    free = (room - count * wide) / count
    return [
        Opening(edge, round(left, 3), round(left + wide, 3), round(sill, 3), round(top, 3), "window")
        for left in (margin + free / 2 + np.arange(count) * (wide + free)).tolist()
    ]


def _draw_door(
    rng: np.random.Generator, plan: RoomPlan, openings: list[Opening], lengths: np.ndarray
) -> Opening | None:
    wide, high = _DOOR
    for _ in range(12):
        edge = int(rng.integers(len(lengths)))
        start = float(rng.uniform(0.15, max(0.16, lengths[edge] - wide - 0.15)))
        near = [o for o in openings if o.edge == edge and o.start < start + wide + 0.25 and o.stop > start - 0.25]
        if not near and start + wide + 0.15 <= lengths[edge] and high + 0.12 < plan.height:
            return Opening(edge, round(start, 3), round(start + wide, 3), 0.0, high, "door")
    return None
