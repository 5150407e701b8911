"""The ground of a street: land, roads, pavements with kerbs, and markings as thin slabs on the asphalt.

The road's surface is z = 0 exactly. Land lies a little below it, pavements `PAVEMENT` above it, paint `PAINT`.
"""

from __future__ import annotations

import numpy as np

from scenes.meshgen.surface import MeshData, grid, join, place
from scenes.settings.quad_shapes import box, quad_mesh, ribbons, rounded_rectangle, slab, turned_profile

PAVEMENT = 0.13
KERB = 0.16
PAINT = 0.004
LAND = -0.06


def land(size: float) -> MeshData:
    """A square of `size` metres to the horizon, a little below the roads."""
    half = size / 2
    return quad_mesh(np.array([[(-half, -half, LAND), (half, -half, LAND), (half, half, LAND), (-half, half, LAND)]]))


def road(spans: tuple[float, ...], bend: float = 0.0, crossings: tuple[float, ...] = ()) -> MeshData:
    """Surfaces at z = 0: spans (four numbers each) of the bent road, and (x, half width, length) of straight crossings.

    Crossings end at the main road's edges, so that no two surfaces coincide.
    """
    main = np.array(spans).reshape(-1, 4)
    half = float(main[:, 3].max())
    quads = [ribbons(main, (LAND - 0.1, 0.0), bend)]
    sides = [
        box((x - wide, x + wide), (half, reach) if sign > 0 else (-reach, -half), (LAND - 0.1, 0.0))
        for x, wide, reach in np.array(crossings).reshape(-1, 3)
        for sign in (-1, 1)
    ]
    return join([*quads, quad_mesh(sides)])


def strips(spans: tuple[float, ...], low: float, high: float, bend: float = 0.0) -> MeshData:
    """Slabs over spans (four numbers each: from, to, right, left) along the bent road, between two heights."""
    return ribbons(np.array(spans).reshape(-1, 4), (low, high), bend)


def pavements(blocks: tuple[float, ...], radius: float) -> MeshData:
    """Raised blocks with rounded corners, four numbers each: lowest x and y, highest x and y within the kerb."""
    rows = np.array(blocks).reshape(-1, 4).tolist()
    return join([slab(rounded_rectangle((a, b), (c, d), radius - KERB), LAND - 0.1, PAVEMENT) for a, b, c, d in rows])


def kerbs(blocks: tuple[float, ...], radius: float) -> MeshData:
    """Kerb stones around the same blocks, a little above the paving."""
    return join([_kerb(a, b, c, d, radius) for a, b, c, d in np.array(blocks).reshape(-1, 4).tolist()])


def _kerb(a: float, b: float, c: float, d: float, radius: float) -> MeshData:
    top = PAVEMENT + 0.006
    inner = rounded_rectangle((a, b), (c, d), radius - KERB)
    outer = rounded_rectangle((a - KERB, b - KERB), (c + KERB, d + KERB), radius)
    brim = rounded_rectangle((a - KERB + 0.02, b - KERB + 0.02), (c + KERB - 0.02, d + KERB - 0.02), radius - 0.02)
    rings = [(outer, LAND - 0.1), (outer, top - 0.02), (brim, top), (inner, top), (inner, PAVEMENT - 0.05)]
    points = np.stack([np.column_stack([line, np.full(len(line), z)]) for line, z in rings])
    return grid(points, wrap_columns=True, smooth=False)


def markings(spans: tuple[float, ...], bend: float = 0.0, arrows: tuple[float, ...] = ()) -> MeshData:
    """Painted bars over spans (four numbers each) and arrows (x, y, +1 or -1 for the way they point)."""
    bars = ribbons(np.array(spans).reshape(-1, 4), (-0.02, PAINT), bend)
    heads = [_arrow(x, y, way) for x, y, way in np.array(arrows).reshape(-1, 3)]
    return join([bars, *heads])


def _arrow(x: float, y: float, way: float) -> MeshData:
    stem = box((x - 1.6, x + 0.6), (y - 0.07, y + 0.07), (-0.02, PAINT)) if way > 0 else None
    if stem is None:
        stem = box((x - 0.6, x + 1.6), (y - 0.07, y + 0.07), (-0.02, PAINT))
    tip = np.array([(x + way * 0.6, y - 0.32), (x + way * 1.7, y), (x + way * 0.6, y + 0.32)])
    return join([quad_mesh(stem), slab(tip if way > 0 else tip[::-1], -0.02, PAINT)])


def covers(places: tuple[float, ...]) -> MeshData:
    """Round manhole covers at (x, y) with a rim."""
    profile = [(0.34, -0.05), (0.34, 0.003), (0.30, 0.003), (0.295, 0.0015), (0.06, 0.0015)]
    lid = turned_profile(profile, 24)
    moved = [place(lid, (x, y, 0.0)) for x, y in np.array(places).reshape(-1, 2)]
    return join(moved)
