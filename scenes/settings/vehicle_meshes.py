"""Cars and vans: a body lofted along its length with real wheel arches, a cabin of paint and glass, and wheels.

A car stands on z = 0, centred on the origin, its nose towards +x. `car` makes one part of it: paint (body, roof and
pillars), glass, dark (underside, grille, seams, tyres, mirrors' feet), rim, lamp (front) and tail (rear lamps).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scenes.meshgen.solids import rounded_box
from scenes.meshgen.surface import MeshData, grid, join, place, polygon, rotation
from scenes.settings.quad_shapes import box, quad_mesh, turned_profile

PARTS = ("paint", "glass", "dark", "rim", "lamp", "tail")


@dataclass(frozen=True)
class _Shape:
    """A kind of car: sizes in metres; lines are (share of the length from the rear, height) as polylines."""

    length: float
    width: float
    wheel: float
    axles: tuple[float, float]
    deck: tuple[tuple[float, float], ...]
    roof: tuple[tuple[float, float], ...]
    side_glass: tuple[float, float]
    lean: float


KINDS = {
    "hatch": _Shape(
        *(4.1, 1.76, 0.31, (0.19, 0.80)),
        ((0, 0.62), (0.015, 0.86), (0.06, 0.93), (0.3, 0.93), (0.68, 0.90), (0.86, 0.82), (0.96, 0.70), (1, 0.52)),
        ((0.015, 0.88), (0.06, 1.2), (0.12, 1.40), (0.25, 1.48), (0.42, 1.49), (0.55, 1.42), (0.74, 0.86)),
        *((0.14, 0.66), 0.24),
    ),
    "sedan": _Shape(
        *(4.7, 1.82, 0.33, (0.20, 0.80)),
        ((0, 0.66), (0.02, 0.93), (0.13, 0.98), (0.3, 0.95), (0.66, 0.91), (0.85, 0.83), (0.96, 0.70), (1, 0.52)),
        ((0.11, 0.94), (0.17, 1.12), (0.25, 1.33), (0.36, 1.43), (0.47, 1.43), (0.56, 1.37), (0.73, 0.87)),
        *((0.22, 0.66), 0.26),
    ),
    "suv": _Shape(
        *(4.6, 1.88, 0.36, (0.19, 0.80)),
        ((0, 0.75), (0.012, 1.0), (0.05, 1.07), (0.3, 1.07), (0.68, 1.05), (0.87, 0.98), (0.97, 0.84), (1, 0.6)),
        ((0.01, 1.0), (0.04, 1.4), (0.08, 1.62), (0.2, 1.71), (0.45, 1.70), (0.58, 1.62), (0.74, 1.0)),
        *((0.10, 0.66), 0.2),
    ),
    "van": _Shape(
        *(5.2, 1.98, 0.34, (0.19, 0.83)),
        ((0, 0.8), (0.008, 1.05), (0.05, 1.10), (0.4, 1.10), (0.80, 1.10), (0.9, 1.02), (0.98, 0.82), (1, 0.6)),
        ((0.006, 1.0), (0.014, 1.8), (0.03, 2.12), (0.2, 2.2), (0.55, 2.2), (0.68, 2.12), (0.75, 1.96), (0.905, 1.0)),
        *((0.52, 0.84), 0.12),
    ),
    "minibus": _Shape(
        *(5.0, 1.92, 0.34, (0.19, 0.82)),
        ((0, 0.75), (0.008, 1.0), (0.05, 1.06), (0.4, 1.06), (0.78, 1.05), (0.89, 0.98), (0.98, 0.8), (1, 0.58)),
        ((0.006, 1.0), (0.016, 1.6), (0.035, 1.85), (0.2, 1.93), (0.55, 1.92), (0.66, 1.83), (0.88, 0.98)),
        *((0.05, 0.8), 0.16),
    ),
}


def car(part: str, kind: str, stretch: float = 1.0, detail: int = 2) -> MeshData:
    """One part of a car of that kind; its length is scaled by `stretch`. `detail` is 2 near the camera, 1 afar."""
    return _parts(kind, stretch, detail)[part]


def car_size(kind: str, stretch: float = 1.0) -> tuple[float, float, float]:
    """Length, width and height in metres."""
    shape = KINDS[kind]
    return shape.length * stretch, shape.width + 0.24, max(height for _, height in shape.roof) + 0.02


@lru_cache(maxsize=32)
def _parts(kind: str, stretch: float, detail: int) -> dict[str, MeshData]:
    shape = KINDS[kind]
    body, under = _body(shape, detail)
    roof, glass = _cabin(shape, detail)
    wheels = [_wheel(shape, axle, side, 5 + 6 * detail) for axle in shape.axles for side in (-1.0, 1.0)]
    lamp, tail, dark, mirrors = _fittings(shape)
    parts = {
        "paint": join([body, roof, *mirrors]),
        "glass": glass,
        "dark": join([under, *(tyre for tyre, _ in wheels), dark]),
        "rim": join([rim for _, rim in wheels]),
        "lamp": lamp,
        "tail": tail,
    }
    return {name: place(mesh, scale=(stretch, 1.0, 1.0)) for name, mesh in parts.items()}


def _along(shape: _Shape, line: tuple[tuple[float, float], ...], share: np.ndarray) -> np.ndarray:
    """Heights of a polyline, its corners smoothed, at shares (n,) of the length."""
    x, z = np.array(line, float).T
    reach = 0.012
    return np.mean([np.interp(share + shift * reach, x, z) for shift in (-1.5, -0.75, 0.0, 0.75, 1.5)], axis=0)


def _body(shape: _Shape, detail: int) -> tuple[MeshData, MeshData]:
    """The painted shell below the windows, cut out around the wheels, and the dark underside."""
    arch = shape.wheel * 1.2
    stations = [np.linspace(0, 1, 1 + 14 * detail), np.array([0.002, 0.005, 0.995, 0.998])]
    around = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 1 + 5 * detail)) * arch / shape.length
    stations += [axle + around for axle in shape.axles]
    share = np.unique(np.concatenate(stations).clip(0, 1).round(5))
    x = (share - 0.5) * shape.length
    top = _along(shape, shape.deck, share)
    bottom = np.interp(share, [0, 0.05, 0.95, 1], [0.36, 0.24, 0.22, 0.3])
    for axle in shape.axles:
        offset = np.abs(x - (axle - 0.5) * shape.length)
        rise = shape.wheel + np.sqrt(np.maximum(arch**2 - offset**2, 0.0))
        bottom = np.where(offset < arch, np.maximum(bottom, rise), bottom)
    bottom = np.minimum(bottom, top - 0.06)
    half = shape.width / 2 * _plan(share)
    angle = np.linspace(0, np.pi, 1 + 10 * detail)
    across, up = _superellipse(angle, 7.0)
    height = bottom[:, None] + (top - bottom)[:, None] * up[None]
    waist = 1 - 0.07 * np.maximum(0.62 - height, 0.0) - 0.10 * np.maximum(height - 0.62, 0.0) ** 1.5
    points = np.stack(np.broadcast_arrays(x[:, None], half[:, None] * across[None] * waist, height), axis=-1)
    shell = grid(points)
    caps = [polygon(points[0], upward=False), polygon(points[-1])]
    floor = points[:, [-1, 0]].copy()
    return join([shell, *caps]), grid(floor, smooth=False)


def _plan(share: np.ndarray) -> np.ndarray:
    """Half width (n,) along the length, seen from above, as a share of the greatest."""
    return (1 - 0.24 * np.abs(2 * share - 1) ** 8) * (1 - 0.03 * np.abs(2 * share - 1) ** 2)


def _superellipse(angle: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Upper half of a rounded rectangle: across in [-1, 1], from +1, and up in [0, 1]."""
    cosine, sine = np.cos(angle), np.maximum(np.sin(angle), 0.0)
    return np.sign(cosine) * np.abs(cosine) ** (2 / power), sine ** (2 / power)


def _cabin(shape: _Shape, detail: int) -> tuple[MeshData, MeshData]:
    """What is above the belt: the painted roof, pillars and rails, and the glass between them."""
    start, stop = shape.roof[0][0], shape.roof[-1][0]
    first, last = shape.side_glass
    pillar = 0.022
    middles = [m for m in ((first + last) / 2,) if last - first > 0.2]
    marks = [first, last, *(m + s * pillar / 2 for m in middles for s in (-1, 1))]
    share = np.unique(np.concatenate([np.linspace(start, stop, 12 * detail), marks]).round(5))
    x = (share - 0.5) * shape.length
    top = _along(shape, shape.roof, share)
    belt = np.minimum(np.interp(share, *np.array(shape.deck).T), top - 0.01)
    foot = belt - 0.15  # within the body, below its rounded shoulders
    angle = np.linspace(0, np.pi, 1 + 18 * detail)
    across, up = _superellipse(angle, 4.2)
    height = foot[:, None] + (top - foot)[:, None] * up[None]
    ends = 1 - 0.10 * np.clip((share - 0.62) / 0.3, 0, 1) ** 2 - 0.06 * np.clip((0.12 - share) / 0.12, 0, 1) ** 2
    narrowing = 1 - shape.lean * np.maximum(height - belt[:, None], 0.0) / (1.35 if shape.lean > 0.15 else 1.6)
    half = 0.955 * shape.width / 2 * np.minimum(ends, _plan(share))[:, None] * narrowing
    points = np.stack(np.broadcast_arrays(x[:, None], half * across[None], height), axis=-1)
    middle = (share[:-1] + share[1:]) / 2
    theta = np.degrees((angle[:-1] + angle[1:]) / 2)
    theta = np.minimum(theta, 180 - theta)[None]
    peak = float(top.max())
    slanted = ((top[:-1] + top[1:]) / 2 < peak - 0.075)[:, None]
    level = height[:, :-1] + height[:, 1:]  # twice the cells' mean, and so is the belt
    above = (level[:-1] + level[1:]) / 2 > (belt[:-1] + belt[1:])[:, None] + 0.04
    side = above & (theta < 30) & (middle > first)[:, None] & (middle < last)[:, None]
    for one in middles:
        side &= ~(np.abs(middle - one) < pillar / 2)[:, None]
    screens = above & (theta > 50) & slanted & ((middle > 0.5)[:, None] | (shape.lean > 0.15))
    screens &= ((middle > start + 0.012) & (middle < stop - 0.004))[:, None]
    clear = (side | screens).ravel()
    whole = grid(points)
    return _faces(whole, ~clear), _faces(whole, clear)


def _faces(mesh: MeshData, chosen: np.ndarray) -> MeshData:
    """The quads of a mesh that are chosen (F,)."""
    corners = np.repeat(chosen, 4)
    used, index = np.unique(mesh.corners[corners], return_inverse=True)
    return MeshData(mesh.vertices[used], index, mesh.sizes[chosen], mesh.uvs[corners], mesh.smooth[chosen])


def _wheel(shape: _Shape, axle: float, side: float, segments: int) -> tuple[MeshData, MeshData]:
    """Tyre and rim of one wheel; turned about z first, then laid on its side."""
    r, half = shape.wheel, 0.11
    tyre = turned_profile(
        [
            (0.62 * r, -half),
            (0.9 * r, -half),
            (r, -0.07),
            (r, 0.07),
            (0.9 * r, half),
            (0.68 * r, half),
            (0.64 * r, 0.05),
        ],
        segments,
    )
    disc = turned_profile(
        [(0.655 * r, 0.0), (0.67 * r, half - 0.005), (0.6 * r, half - 0.01), (0.55 * r, 0.06), (0.2 * r, 0.055)],
        segments,
    )
    spokes = [
        place(quad_mesh(box((0.06, 0.62 * r), (-0.03, 0.03), (0.05, half - 0.02))), turn=rotation("z", 72.0 * i))
        for i in range(5)
    ]
    rim = join([disc, turned_profile([(0.2 * r, 0.05), (0.17 * r, half - 0.015)], 8), *spokes])
    turn = rotation("x", -90.0 * side)
    at = ((axle - 0.5) * shape.length, side * (shape.width / 2 - half - 0.02), r)
    return place(tyre, at, turn), place(rim, at, turn)


def _fittings(shape: _Shape) -> tuple[MeshData, MeshData, MeshData, list[MeshData]]:
    """Lamps in front and behind, grille, plates' grounds, handles, and mirrors."""
    half, nose = shape.width / 2, shape.length / 2
    deck = np.array(shape.deck)
    front, rear = float(np.interp(0.965, *deck.T)), float(np.interp(0.03, *deck.T))

    def pair(size: tuple[float, float, float], at: tuple[float, float, float]) -> list[MeshData]:
        body = rounded_box(*size, 0.35 * min(size), 1)
        return [place(body, (at[0], sign * at[1], at[2])) for sign in (-1.0, 1.0)]

    lamps = pair((0.24, 0.34, 0.15), (nose - 0.13, 0.5 * half, front - 0.17))
    tails = pair((0.12, 0.2, 0.3 if shape.lean > 0.21 else 0.5), (0.09 - nose, 0.6 * half, rear - 0.17))
    bars = [
        box((nose - 0.1, nose + 0.005), (-0.48 * half, 0.48 * half), (front - 0.25, front - 0.09)),
        box((nose - 0.1, nose + 0.005), (-0.6 * half, 0.6 * half), (0.31, 0.41)),
        box((-nose - 0.005, 0.1 - nose), (-0.6 * half, 0.6 * half), (0.36, 0.48)),
    ]
    last = shape.side_glass[1]
    at = ((last - 0.515) * shape.length, half + 0.02, float(np.interp(last, *deck.T)) + 0.07)
    return join(lamps), join(tails), quad_mesh(bars), pair((0.1, 0.2, 0.14), at)
