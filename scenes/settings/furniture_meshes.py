"""Furniture by formula, in metres: each style draws its details from a seed and fills a box of given size.

A piece stands on z = 0 with its middle over the origin, its back at -y and its front at +y. A style returns one mesh
for each part that has a material of its own; every solid in it is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np

from scenes.meshgen.solids import ellipsoid, frustum, rounded, rounded_box
from scenes.meshgen.surface import MeshData, circle, grid, join, place, revolve, rotation
from scenes.meshgen.turned import spline
from scenes.settings.interior_meshes import bevelled_boxes, flat_faces

_Rng = np.random.Generator
_Parts = dict[str, list[MeshData]]
_BOARD = 0.022


def furniture(style: str, part: str, width: float, depth: float, height: float, seed: int) -> MeshData:
    """One part of a piece of furniture that fills the box `width` x `depth` x `height`."""
    return _built(style, width, depth, height, seed).get(part) or _NOTHING


@lru_cache(maxsize=8)
def _built(style: str, width: float, depth: float, height: float, seed: int) -> dict[str, MeshData]:
    more = {"seed": seed} if style == "bookshelf" else {}
    parts = STYLES[style](np.random.default_rng(seed), width, depth, height, **more)
    return {name: join(meshes) for name, meshes in parts.items() if meshes}


_NOTHING = flat_faces(np.zeros((0, 3)), np.zeros(0, int))


def _soft(x: float, y: float, z: float, at: tuple[float, float, float], radius: float) -> MeshData:
    return place(rounded_box(x, y, z, min(radius, 0.45 * min(x, y, z)), segments=3), at)


def _rod(radius: float, low: float, high: float, x: float = 0.0, y: float = 0.0, top: float | None = None) -> MeshData:
    body = frustum(radius, radius if top is None else top, high - low, 0.15 * radius, segments=20)
    return place(body, [x, y, (low + high) / 2])


def _posts(x: float, y: float, thick: float, high: float) -> list[list[float]]:
    """Rows of four square posts at (+-x, +-y), from the floor up."""
    return [[thick, thick, high, s * x, t * y, high / 2] for s in (-1, 1) for t in (-1, 1)]


def _legs(rng: _Rng, width: float, depth: float, high: float, thick: float) -> list[MeshData]:
    """Four legs within width x depth: square, or round and tapered."""
    x, y = (width - thick) / 2, (depth - thick) / 2
    if rng.random() < 0.5:
        return [bevelled_boxes(_posts(x, y, thick, high))]
    return [_rod(0.3 * thick, 0.0, high, s * x, t * y, 0.5 * thick) for s in (-1, 1) for t in (-1, 1)]


def table(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Table, desk or stool: a top on four legs with an apron, on two panels, or on a frame."""
    thick, leg = min(rng.uniform(0.022, 0.05), 0.2 * height), rng.uniform(0.045, 0.08)
    top, under = bevelled_boxes([[width, depth, thick, 0, 0, height - thick / 2]], 0.006), height - thick
    kind = rng.random()
    if kind < 0.6:
        inset = rng.uniform(0.0, 0.06)
        wide, deep = width - 2 * inset, depth - 2 * inset
        legs = _legs(rng, wide, deep, under, leg)
        apron = min(0.09, 0.25 * under)
        rails = [[wide - leg, 0.02, apron, 0, s * (deep / 2 - 0.5 * leg), under - apron / 2] for s in (-1, 1)]
        rails += [[0.02, deep - leg, apron, s * (wide / 2 - 0.5 * leg), 0, under - apron / 2] for s in (-1, 1)]
        return {"top": [top], "legs": [*legs, bevelled_boxes(rails)]}
    if kind < 0.8:
        sides = [[0.03, depth - 0.04, under, s * (width / 2 - 0.05), 0, under / 2] for s in (-1, 1)]
        sides.append([width - 0.13, _BOARD, 0.2 * under, 0, 0, under * 0.85])
        return {"top": [top, bevelled_boxes(sides)], "legs": []}
    bar = 0.5 * leg
    x = width / 2 - bar
    frame = _posts(x, depth / 2 - bar, bar, under)
    frame += [[bar, depth - 3 * bar, bar, s * x, 0, z] for s in (-1, 1) for z in (bar / 2, under - bar / 2)]
    return {"top": [top], "legs": [bevelled_boxes(frame)]}


def round_table(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Round table of diameter `width` on a pedestal or three legs; `depth` equals the width."""
    thick = rng.uniform(0.02, 0.04)
    top = place(frustum(width / 2, width / 2, thick, 0.008, 64), [0, 0, height - thick / 2])
    if rng.random() < 0.5:
        foot, stem = rng.uniform(0.28, 0.36) * width, rng.uniform(0.035, 0.06)
        base = place(frustum(foot, 0.8 * foot, 0.03, 0.01), [0, 0, 0.015])
        return {"top": [top], "legs": [base, _rod(stem, 0.03, height - thick)]}
    ring = circle(3) * 0.36 * width
    return {"top": [top], "legs": [_rod(0.016, 0.0, height - thick, x, y, 0.024) for x, y in ring]}


def chair(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Chair with a back of slats, rails or one panel, looking along +y; the seat is at 0.45 m."""
    seat, thick, leg = 0.45, rng.uniform(0.025, 0.05), rng.uniform(0.03, 0.042)
    x, y = (width - leg) / 2, (depth - leg) / 2
    posts = [[leg, leg, seat - thick, s * x, y, (seat - thick) / 2] for s in (-1, 1)]
    posts += [[leg, leg, height, s * x, -y, height / 2] for s in (-1, 1)]
    posts += [[0.7 * leg, depth - 2 * leg, 0.03, s * x, 0, 0.2] for s in (-1, 1)]
    inner, kind = width - 2 * leg, rng.random()
    if kind < 0.35:
        posts += [[inner, 0.4 * leg, 0.07, 0, -y, z] for z in np.linspace(seat + 0.14, height - 0.04, 3)]
    elif kind < 0.7:
        posts += [[inner, 0.6 * leg, 0.05, 0, -y, z] for z in (seat + 0.1, height - 0.03)]
        tall = height - seat - 0.18
        posts += [[0.018, 0.018, tall, f * inner, -y, seat + 0.125 + tall / 2] for f in np.linspace(-0.38, 0.38, 5)]
    else:
        tall = 0.55 * (height - seat)
        posts.append([inner, 0.5 * leg, tall, 0, -y, height - 0.02 - tall / 2])
    cushion = bevelled_boxes([[width - 0.002, depth - leg, thick, 0, leg / 2, seat - thick / 2]], 0.01)
    return {"frame": [bevelled_boxes(posts)], "seat": [cushion]}


def sofa(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Sofa or armchair: a base on feet, arms, back, and one seat and back cushion for about 0.7 m each."""
    foot, arm, seat = rng.uniform(0.04, 0.14), rng.uniform(0.1, 0.22), rng.uniform(0.38, 0.44)
    arm_high, back, soft = rng.uniform(0.52, 0.64), rng.uniform(0.14, 0.2), rng.uniform(0.02, 0.06)
    arm_high, inner = min(arm_high, height - 0.02), width - 2 * arm
    base = seat - 0.15
    cloth = [
        _soft(width - 0.02, depth - 0.02, base - foot, (0, 0, (base + foot) / 2), 0.02),
        _soft(inner + 0.04, back, height - foot, (0, (back - depth) / 2, (height + foot) / 2), soft),
    ]
    tall, level = arm_high - foot, (arm_high + foot) / 2
    cloth += [_soft(arm, depth, tall, (s * (width - arm) / 2, 0, level), soft) for s in (-1, 1)]
    count = max(1, round(inner / 0.7))
    wide, deep, cushions = inner / count, depth - back, []
    for x in (np.arange(count) - (count - 1) / 2) * wide:
        cushions.append(_soft(wide - 0.006, deep - 0.02, 0.15, (x, back / 2 - 0.004, base + 0.078), 0.045))
        lean = place(rounded_box(wide - 0.02, 0.15, height - seat - 0.02, 0.06), turn=rotation("x", 8))
        cushions.append(place(lean, [x, -depth / 2 + back + 0.085, (seat + height) / 2]))
    pillows = []
    if rng.random() < 0.6:
        for s in (-1, 1)[: int(rng.integers(1, 3))]:
            turn = rotation("z", 12 * s) @ rotation("x", 20)
            side = min(0.4, 0.9 * (height - seat))
            at = [s * (inner / 2 - 0.24), -depth / 2 + back + 0.27, seat + 0.01 + 0.52 * side]
            pillows.append(place(_pillow(side, 0.14, side), at, turn))
    feet = [bevelled_boxes(_posts(width / 2 - 0.08, depth / 2 - 0.08, 0.05, foot + 0.01))]
    return {"cloth": cloth, "cushions": cushions, "pillows": pillows, "feet": feet}


def _pillow(x: float, y: float, z: float) -> MeshData:
    """Pillow: thick in the middle, thin at the rim, its corners drawn out."""
    ball = ellipsoid(2.0, 2.0, 2.0, 32)
    points = np.sign(ball.vertices) * np.abs(ball.vertices) ** np.array([0.45, 1.0, 0.45])
    points /= np.abs(points).max(axis=0)
    points[:, 1] *= 1 - 0.7 * np.maximum(np.abs(points[:, 0]), np.abs(points[:, 2])) ** 3
    return place(MeshData(points, ball.corners, ball.sizes, ball.uvs, ball.smooth), scale=[x / 2, y / 2, z / 2])


def bed(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Bed with its head at the back: frame, mattress, cover and pillows; `height` is the headboard's."""
    rail, thick, low = rng.uniform(0.24, 0.34), rng.uniform(0.16, 0.22), rng.uniform(0.0, 0.12)
    head = [[width, 0.05, height, 0, 0.025 - depth / 2, height / 2]]
    frame = [[width, depth - 0.05, rail - low, 0, 0.025, (rail + low) / 2]]
    if low > 0.03:
        frame += _posts(width / 2 - 0.08, depth / 2 - 0.12, 0.08, low + 0.01)
    else:
        frame.append([width - 0.1, depth - 0.15, low + 0.01, 0, 0.025, low / 2 + 0.005])
    long = depth - 0.1
    top = rail + thick - 0.02
    sheet = [_soft(width - 0.06, long, thick, (0, 0.02, rail - 0.02 + thick / 2), 0.05)]
    reach = rng.uniform(0.6, 0.78) * long
    cover = [
        _soft(
            width + 0.02 - 0.06,
            reach,
            0.5 * thick + 0.05,
            (0, depth / 2 - 0.02 - reach / 2, top - 0.25 * thick + 0.025),
            0.05,
        )
    ]
    count = 1 if width < 1.2 else 2
    pillows = []
    for x in (np.arange(count) - (count - 1) / 2) * (width / count):
        lying = place(_pillow(min(0.7, 0.85 * width / count), 0.15, 0.42), turn=rotation("x", -82))
        pillows.append(place(lying, [x, -depth / 2 + 0.31, top + 0.055]))
    return {"frame": [bevelled_boxes(head + frame, 0.008)], "sheet": sheet, "cover": cover, "pillows": pillows}


def cabinet(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Nightstand, sideboard, chest, wardrobe or counter: a grid of drawers or doors in a body with a top."""
    tall = height > 1.3
    foot = rng.uniform(0.05, 0.16) if not tall else 0.06
    columns = max(1, round(width / rng.uniform(0.42, 0.62)))
    rows = 1 if tall or rng.random() < 0.35 else max(1, round((height - foot) / rng.uniform(0.18, 0.28)))
    top = rng.uniform(0.02, 0.04)
    body = [[width - 0.01, depth - 0.04, height - foot - top, 0, -0.02, (height - top + foot) / 2]]
    boards = [[width, depth, top, 0, 0, height - top / 2]]
    if rng.random() < 0.5 and not tall:
        feet = _posts(width / 2 - 0.05, depth / 2 - 0.07, 0.045, foot)
    else:
        feet = [[width - 0.04, depth - 0.08, foot, 0, -0.01, foot / 2]]
    wide, high = (width - 0.016) / columns, (height - foot - top - 0.006) / rows
    fronts, handles, bars = [], [], rng.random()
    for column in range(columns):
        for row in range(rows):
            x, z = (column - (columns - 1) / 2) * wide, foot + 0.003 + (row + 0.5) * high
            fronts.append([wide - 0.005, 0.018, high - 0.005, x, depth / 2 - 0.031, z])
            if bars < 0.25:
                continue
            side = 1 if column % 2 == 0 else -1
            at = (
                [x, depth / 2 - 0.014, z]
                if rows > 1
                else [x + side * (wide / 2 - 0.04), depth / 2 - 0.014, min(z + 0.2 * high, 1.1)]
            )
            if bars < 0.6:
                long = [0.012, 0.02, min(0.16, 0.5 * high)] if rows == 1 else [min(0.16, 0.5 * wide), 0.02, 0.012]
                handles.append([*long, *at])
            else:
                handles.append([0.026, 0.026, 0.026, *at])
    return {
        "body": [bevelled_boxes(body + feet)],
        "top": [bevelled_boxes(boards, 0.006)],
        "fronts": [bevelled_boxes(fronts, 0.003)],
        "handles": [bevelled_boxes(handles, 0.006)] if handles else [],
    }


def shelf_grid(width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Of a bookshelf: x of the middles of its columns, z of the upper faces of all boards but the top one."""
    columns, rows = max(1, round(width / 0.8)), max(1, round(height / 0.36))
    wide = (width - _BOARD) / columns
    z = 0.06 + np.arange(rows) * (height - 0.06 - _BOARD) / rows + _BOARD
    return (np.arange(columns) - (columns - 1) / 2) * wide, z


def shelf_is_free(seed: int, column: int, row: int) -> bool:
    """Whether a compartment of a bookshelf holds no books."""
    return bool(np.random.default_rng([seed, column, row]).random() < 0.4)


def bookshelf(rng: _Rng, width: float, depth: float, height: float, seed: int) -> _Parts:
    """Open shelf with a back; books stand in the compartments that are not free (`shelf_is_free`)."""
    columns, boards = shelf_grid(width, height)
    wide, pitch = (width - _BOARD) / len(columns), (height - 0.06 - _BOARD) / len(boards)
    edges = [(width - _BOARD) * (i / len(columns) - 0.5) for i in range(len(columns) + 1)]
    body = [[_BOARD, depth, height, x, 0, height / 2] for x in edges]
    body += [
        [wide - _BOARD, depth - 0.01, _BOARD, x, 0.005, z - _BOARD / 2] for x in columns for z in [*boards, height]
    ]
    body.append([width - _BOARD, 0.008, height - 0.07, 0, 0.004 - depth / 2, height / 2 + 0.03])
    body.append([width - 2 * _BOARD, 0.02, 0.05, 0, depth / 2 - 0.03, 0.025])
    books: list[list[list[float]]] = [[], [], []]
    for column, middle in enumerate(columns):
        for row, z in enumerate(boards):
            if shelf_is_free(seed, column, row):
                continue
            x, end = middle - wide / 2 + 0.016, middle + (rng.uniform(-0.1, 0.5)) * wide - 0.016
            size = rng.uniform(0.6, 0.85) * (pitch - _BOARD)
            while (thick := float(rng.uniform(0.012, 0.05))) + x < end:
                tall, deep = size * rng.uniform(0.85, 1.1), rng.uniform(0.55, 0.8) * depth
                books[int(rng.integers(3))].append(
                    [thick - 0.001, deep, tall, x + thick / 2, (deep - depth) / 2 + 0.02, z + tall / 2]
                )
                x += thick
    return {"body": [bevelled_boxes(body, 0.003)]} | {
        f"books{number}": [bevelled_boxes(rows, 0.003)] if rows else [] for number, rows in enumerate(books)
    }


def _shade(low: float, high: float, z0: float, z1: float) -> MeshData:
    """An open shade, 4 mm thick, radii at its lower and upper end."""
    profile = np.array([[low, z0], [high, z1], [high - 0.004, z1], [low - 0.004, z0], [low, z0]])
    ring = circle(40)
    walls = []
    for a, b in pairwise(profile):
        levels = np.stack([np.column_stack([ring * p[0], np.full(40, p[1])]) for p in (a, b)])
        walls.append(grid(levels, wrap_columns=True))
    return join(walls)


def lamp(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Standing lamp, unlit: foot, pole or turned body, and an open shade of diameter `width` (`depth` the same)."""
    tall = min(rng.uniform(0.9, 1.3) * width, 0.45 * height)
    foot = 0.36 * width
    metal = [place(frustum(foot, foot, 0.02, 0.006), [0, 0, 0.01])]
    if height > 0.9:
        metal.append(_rod(0.011, 0.02, height - 0.3 * tall))
    else:
        high = height - tall
        knots = np.array([[0.3, 0.0], [rng.uniform(0.4, 1.0), 0.3], [rng.uniform(0.25, 0.7), 0.65], [0.12, 1.0]])
        body = spline(knots, 10) * [foot, high - 0.02] + [0, 0.02]
        metal.append(revolve(np.concatenate([[[0, 0.02]], body, [[0, high]]]), 40))
        metal.append(_rod(0.008, high - 0.001, height - 0.3 * tall))
    top = width / 2 * rng.uniform(0.55, 1.0)
    bulb = place(ellipsoid(0.06, 0.06, 0.09, 24), [0, 0, height - 0.3 * tall])
    return {"metal": metal, "shade": [_shade(width / 2, top, height - tall, height), bulb]}


def pendant(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Hanging lamp, unlit, of diameter `width` (`depth` the same): z = 0 is its lower rim, `height` the ceiling."""
    tall = min(rng.uniform(0.4, 0.9) * width, 0.8 * height)
    cord = [_rod(0.004, tall, height), place(frustum(0.05, 0.05, 0.025, 0.004), [0, 0, height - 0.0125])]
    if rng.random() < 0.4:
        ball = place(ellipsoid(width, width, tall * 1.02), [0, 0, tall * 0.51])
        return {"metal": cord, "shade": [ball]}
    bulb = place(ellipsoid(0.07, 0.07, 0.1, 24), [0, 0, 0.6 * tall])
    top = rng.uniform(0.03, 0.2) * width
    cap = place(frustum(top, top, 0.012), [0, 0, tall - 0.006])
    return {"metal": [*cord, cap], "shade": [_shade(width / 2, top, 0.0, tall), bulb]}


def plant(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """A plant in a pot: upright blades, arching leaves, or a bush; leaves stay within the box."""
    pot_high, pot = min(0.45 * height, rng.uniform(0.5, 0.75) * width), rng.uniform(0.5, 0.62) * width / 2
    taper = rng.uniform(0.65, 0.95)
    rim = [[pot, pot_high], [pot - 0.015, pot_high], [pot - 0.02, 0.86 * pot_high], [0.0, 0.86 * pot_high]]
    vessel = revolve(rounded(np.array([[0.0, 0.0], [pot * taper, 0.0], *rim]), 0.006, 2), 40, crease=50)
    soil = [place(frustum(pot - 0.02, pot - 0.016, 0.02), [0, 0, 0.88 * pot_high])]
    base, reach, kind = 0.88 * pot_high, width / 2, int(rng.integers(3))
    leaves: list[MeshData] = []
    stems: list[MeshData] = []
    if kind == 0:
        for turn in rng.uniform(0, 360, 12):
            tall = (height - base) * rng.uniform(0.55, 0.97)
            leaves.append(
                _leaf(
                    tall,
                    0.035 + 0.03 * rng.random(),
                    rng.uniform(0.05, 0.25),
                    reach,
                    turn,
                    0.5 * pot * rng.random(),
                    base,
                )
            )
    elif kind == 1:
        for turn in np.arange(16) * 137.5 + rng.uniform(0, 360):
            tall = (height - base) * rng.uniform(0.55, 0.97)
            leaves.append(
                _leaf(tall, 0.12 * height * rng.uniform(0.4, 0.8), rng.uniform(0.5, 1.0), reach, turn, 0.1 * pot, base)
            )
    else:
        trunk = base + 0.45 * (height - base)
        stems.append(_rod(0.02, base, trunk, top=0.012))
        middle, radius = (trunk + height) / 2 - 0.02, np.array([reach, reach, (height - trunk) / 2]) * 0.8
        for turn in np.arange(70) * 137.5:
            level = rng.uniform(-1, 1)
            side = rotation("z", turn) @ np.array([np.sqrt(1 - level**2), 0, level]) * radius * rng.uniform(0.6, 1.0)
            tilt = rotation("z", turn) @ rotation("y", rng.uniform(-70, 40)) @ rotation("x", rng.uniform(-40, 40))
            leaves.append(place(_blade(0.24 * reach, 0.1 * reach, 0.2), np.add(side, [0, 0, middle]), tilt))
    return {"pot": [vessel], "soil": soil + stems, "leaves": leaves}


def _leaf(tall: float, wide: float, bend: float, reach: float, turn: float, off: float, base: float) -> MeshData:
    """A blade that rises from the pot and leans outward by `bend` (0 upright, 1 arching down to the side)."""
    t = np.linspace(0.0, 1.0, 9)
    out = off + (reach - off - 0.01) * bend * t**1.6
    up = base - 0.01 + tall * (t - 0.55 * bend * t**3)
    spread = wide / 2 * np.sin(np.pi * (0.12 + 0.88 * t)) ** 0.8
    spread[-1] = 0.002
    return place(_strip(out, up, spread), turn=rotation("z", turn))


def _blade(long: float, wide: float, droop: float) -> MeshData:
    t = np.linspace(0.0, 1.0, 5)
    return _strip(long * (t - 0.3), -droop * long * t**2, np.maximum(wide * np.sin(np.pi * (0.1 + 0.86 * t)), 0.002))


def _strip(x: np.ndarray, z: np.ndarray, half: np.ndarray) -> MeshData:
    """A leaf along (x, z) with half widths in y, folded along its middle, 2 mm thick and closed."""
    across = np.array([-1.0, 0.0, 1.0])
    points = np.empty((len(x), 3, 3))
    points[..., 0], points[..., 1] = x[:, None], half[:, None] * across
    points[..., 2] = z[:, None] + 0.25 * half[:, None] * np.abs(across)
    slope = np.gradient(np.stack([x, z], axis=1), axis=0)
    normal = np.stack([-slope[:, 1], np.zeros(len(x)), slope[:, 0]], axis=1)
    normal *= 0.001 / np.linalg.norm(normal, axis=1, keepdims=True)
    front, back = points + normal[:, None], points - normal[:, None]
    ring = np.concatenate([front[:, ::-1], back], axis=1)  # once around each cross-section
    body = grid(ring, wrap_columns=True)
    caps = [grid(np.stack([front[0], back[0]])), grid(np.stack([back[-1], front[-1]]))]
    return join([body, *caps])


def rug(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """A rug with a border of its own colour in some."""
    if rng.random() < 0.4:
        return {"field": [bevelled_boxes([[width, depth, height, 0, 0, height / 2]], 0.004)], "border": []}
    edge = rng.uniform(0.05, 0.14)
    bars = [[width, edge, 0.9 * height, 0, s * (depth - edge) / 2, 0.45 * height] for s in (-1, 1)]
    bars += [[edge, depth - 2 * edge, 0.9 * height, s * (width - edge) / 2, 0, 0.45 * height] for s in (-1, 1)]
    field = [[width - 2 * edge, depth - 2 * edge, height, 0, 0, height / 2]]
    return {"field": [bevelled_boxes(field, 0.004)], "border": [bevelled_boxes(bars, 0.004)]}


def round_rug(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """A round rug of diameter `width` (`depth` the same)."""
    return {"field": [place(frustum(width / 2, width / 2, height, 0.004, 64), [0, 0, height / 2])]}


def picture(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Picture or mirror for a wall at its back: a frame, sometimes a mount, and the image."""
    bar = rng.uniform(0.012, 0.05)
    frame = [[bar, depth, height, s * (width - bar) / 2, 0, height / 2] for s in (-1, 1)]
    frame += [[width - 2 * bar, depth, bar, 0, 0, z] for z in (bar / 2, height - bar / 2)]
    inner = np.array([width - 2 * bar, height - 2 * bar])
    parts: _Parts = {"frame": [bevelled_boxes(frame, 0.003)], "mount": []}
    if rng.random() < 0.5:
        parts["mount"].append(bevelled_boxes([[inner[0], 0.4 * depth, inner[1], 0, -0.3 * depth, height / 2]], 0.0005))
        inner = inner - 0.3 * inner.min()
    parts["image"] = [bevelled_boxes([[inner[0], 0.5 * depth, inner[1], 0, -0.25 * depth, height / 2]], 0.0005)]
    return parts


def screen(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """Television or monitor on a foot, switched off."""
    foot = rng.uniform(0.05, 0.1)
    stand = [[0.4 * width, depth, 0.012, 0, 0, 0.006], [0.08, 0.03, foot, 0, -0.02, foot / 2]]
    panel = [[width, 0.03, height - foot, 0, 0, (height + foot) / 2]]
    glass = [[width - 0.02, 0.006, height - foot - 0.02, 0, 0.013, (height + foot) / 2]]
    return {"body": [bevelled_boxes(stand + panel)], "glass": [bevelled_boxes(glass, 0.001)]}


def plinth(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """A block to show something on, sometimes with a recessed base."""
    low = 0.05 if rng.random() < 0.5 else 0.0
    rows = [[width, depth, height - low, 0, 0, (height + low) / 2]]
    rows += [[width - 0.06, depth - 0.06, low, 0, 0, low / 2]] if low else []
    return {"body": [bevelled_boxes(rows, 0.005)]}


def crate(rng: _Rng, width: float, depth: float, height: float) -> _Parts:
    """An open box of slats."""
    thick, rows = 0.012, max(2, round(height / 0.12))
    pitch = (height - 0.01) / rows
    slats = []
    for z in (np.arange(rows) + 0.5) * pitch + 0.005:
        slats += [[width, thick, pitch - 0.012, 0, s * (depth - thick) / 2, z] for s in (-1, 1)]
        slats += [[thick, depth - 2 * thick, pitch - 0.012, s * (width - thick) / 2, 0, z] for s in (-1, 1)]
    posts = _posts(width / 2 - 0.028, depth / 2 - 0.028, 0.03, height - 0.002)
    floor = [[width - 2 * thick, depth - 2 * thick, 0.01, 0, 0, 0.012]]
    return {"body": [bevelled_boxes(slats + posts + floor, 0.003)]}


STYLES: dict[str, Callable[..., _Parts]] = {
    function.__name__: function
    for function in (
        *(table, round_table, chair, sofa, bed, cabinet, bookshelf, lamp, pendant, plant),
        *(rug, round_rug, picture, screen, plinth, crate),
    )
}
FURNITURE_PIECES: dict[str, Callable[..., MeshData]] = {"furniture": furniture}
