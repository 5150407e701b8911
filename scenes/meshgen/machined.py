"""Machine parts: gears, bolts, nuts, and flanged fittings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from scenes.meshgen.solids import frustum, rounded
from scenes.meshgen.surface import MeshData, circle, facets, grid, join, place, polygon, prism, revolve, rotation

_TAU = 2 * np.pi


def gear(seed: int) -> MeshData:
    """Spur or helical gear with a bore and sometimes a hub; lying flat or standing on its teeth."""
    rng = np.random.default_rng(seed)
    teeth = int(rng.uniform(8, 33))
    depth = rng.uniform(1.6, 2.4) / teeth
    outer = np.tile([1 - depth, 1 - depth, 1.0, 1.0], teeth)
    share = np.cumsum([0.0, rng.uniform(0.3, 0.4), rng.uniform(0.08, 0.16), rng.uniform(0.25, 0.35)])
    angle = (np.arange(teeth)[:, None] + share).ravel() / teeth * _TAU
    bore, thickness = rng.uniform(0.12, 0.5), rng.uniform(0.12, 0.6)
    twist = rng.uniform(-0.4, 0.4) if rng.random() < 0.4 else 0.0
    levels = np.linspace(0, 1, 9 if twist else 2)
    rim = np.stack([_ring(outer, angle + twist * t, thickness * (t - 0.5)) for t in levels])
    hole = np.stack([_ring(np.full(len(angle), bore), angle + twist * t, thickness * (t - 0.5)) for t in levels])
    parts = [
        facets(rim),
        grid(np.stack([hole[0], rim[0]]), wrap_columns=True, smooth=False),
        grid(np.stack([rim[-1], hole[-1]]), wrap_columns=True, smooth=False),
        grid(hole[::-1], wrap_columns=True),
    ]
    body = join(parts)
    if rng.random() < 0.5:
        body = join([body, _sleeve(bore, bore + rng.uniform(0.06, 0.2), thickness * rng.uniform(1.2, 2.5))])
    return place(body, turn=rotation("x", 90) if rng.random() < 0.5 else None)


def _ring(radius: np.ndarray, angle: np.ndarray, z: float) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(len(angle), z)], axis=1)


def _sleeve(inner: float, outer: float, height: float) -> MeshData:
    """Upright pipe with bevelled rims, centred on the origin."""
    low, high, bevel = -height / 2, height / 2, 0.2 * (outer - inner)
    corners = [[inner, low], [outer - bevel, low], [outer, low + bevel], [outer, high - bevel], [outer - bevel, high]]
    ring = np.array([*corners, [inner, high], [inner, low]])
    return join(
        grid(np.stack([_ring(np.full(48, r), circle_angle(48), z) for r, z in pair]), wrap_columns=True)
        for pair in pairwise(ring)
    )


def circle_angle(segments: int) -> np.ndarray:
    """Angles (segments,) of `circle`."""
    return np.arange(segments) / segments * _TAU


def bolt(seed: int) -> MeshData:
    """Bolt with a real helical thread and a hexagonal, round or countersunk head; standing or lying."""
    rng = np.random.default_rng(seed)
    length, head = rng.uniform(1.2, 4.0), rng.uniform(1.5, 1.9)
    pitch, plain = rng.uniform(0.12, 0.3), rng.uniform(0.0, 0.5) * length
    rows, columns = int((length - plain) / pitch * 8) + 1, 32
    z, angle = np.linspace(0, length - plain, rows), circle_angle(columns)
    phase = z[:, None] / pitch - angle[None] / _TAU
    fade = np.clip(np.minimum(z, z[-1] - z) / pitch, 0, 1)[:, None]
    radius = 0.5 - pitch * 0.35 * fade * np.abs(2 * (phase - np.floor(phase)) - 1)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.repeat(z[:, None], columns, 1)], axis=-1)
    parts = [grid(points, wrap_columns=True), polygon(points[0], upward=False), polygon(points[-1])]
    if plain > 0:
        parts.append(place(frustum(0.5, 0.5, plain, segments=32), offset=[0, 0, length - plain / 2]))
    tall = rng.uniform(0.35, 0.7)
    kind = rng.random()
    if kind < 0.5:
        top = prism(circle(6) * head * 0.58, 0, tall)
    elif kind < 0.75:
        top = place(frustum(head / 2, head / 2, tall, bevel=0.15 * tall), offset=[0, 0, tall / 2])
    else:
        dome = np.array([[0.0, 0.0], [head / 2, 0.0], [head / 2, 0.1], [0.42 * head, 0.8 * tall], [0.0, tall]])
        top = revolve(rounded(dome, 0.5 * tall, 8))
    parts.append(place(top, offset=[0, 0, length]))
    if rng.random() < 0.4:
        parts.append(place(_nut(rng), offset=[0, 0, rng.uniform(0.15, 0.6) * (length - plain)]))
    return place(join(parts), turn=rotation("y", [0.0, 90.0, 180.0][int(rng.random() * 3)]))


def _nut(rng: np.random.Generator) -> MeshData:
    return prism(circle(6) * rng.uniform(0.85, 1.0), 0.0, rng.uniform(0.4, 0.6))


def fitting(seed: int) -> MeshData:
    """Pipe fitting: a body of stepped, bevelled cylinders with flanges, bolt heads and side branches."""
    rng = np.random.default_rng(seed)
    parts, z = [], 0.0
    for _ in range(int(rng.uniform(3, 7))):
        radius, height = rng.uniform(0.3, 1.0), rng.uniform(0.12, 0.6)
        parts.append(
            place(frustum(radius, radius * rng.uniform(0.8, 1.0), height, 0.05), offset=[0, 0, z + height / 2])
        )
        if rng.random() < 0.5 and radius > 0.5:
            count = int(rng.uniform(4, 11))
            for x, y in circle(count) * (radius * 0.7):
                parts.append(place(prism(circle(6) * 0.09, 0, 0.1), offset=[x, y, z + height]))
        z += height
    for _ in range(int(rng.uniform(0, 4))):
        arm, wide = rng.uniform(0.8, 1.4), rng.uniform(0.12, 0.28)
        pipe = join([frustum(wide, wide, arm), place(frustum(1.5 * wide, 1.5 * wide, 0.1, 0.02), [0, 0, arm / 2])])
        sideways = rotation("z", 90 * int(rng.random() * 4)) @ rotation("y", 90)
        parts.append(place(pipe, sideways @ [0, 0, arm / 2] + [0, 0, rng.uniform(0.3, 0.7) * z], sideways))
    return place(join(parts), turn=rotation("y", 90) if rng.random() < 0.3 else None)
