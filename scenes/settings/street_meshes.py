"""What stands in a street, each on z = 0 about the origin, facing -y: `street_thing` makes one part of one kind.

Parts are named by their material: metal (posts, frames), head (what is mounted on them), face (signs' fields, lamps'
lights), wood, leaf, soil.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from scenes.meshgen.solids import ellipsoid, rounded_box
from scenes.meshgen.surface import MeshData, circle, join, place, prism, rotation
from scenes.settings.quad_shapes import box, boxes, pipe, quad_mesh, rod, turned_profile

Parts = dict[str, MeshData]


def street_thing(part: str, kind: str, size: float, seed: int = 0) -> MeshData:
    """One part of a thing of that height in metres (length, of fences and wires); KeyError: no such kind or part."""
    return _made(kind, size, seed)[part]


@lru_cache(maxsize=64)
def _made(kind: str, size: float, seed: int) -> Parts:
    return KINDS[kind](size, np.random.default_rng(seed))


def _lamp(size: float, rng: np.random.Generator) -> Parts:
    """Street lamp: a tapered post, and an arm over the road (towards -y) or a lantern on top."""
    base = turned_profile([(0.11, 0.0), (0.11, 0.5), (0.075, 0.6), (0.075, 0.62)], 10)
    if size < 5:
        post = pipe([(0, 0, 0.5), (0, 0, size - 0.7)], np.array([0.06, 0.045]), 12)
        glass = turned_profile([(0.1, size - 0.68), (0.17, size - 0.25)], 6)
        caps = [
            turned_profile([(0.13, size - 0.74), (0.13, size - 0.68)], 6),
            turned_profile([(0.2, size - 0.25), (0.2, size - 0.22), (0.06, size - 0.08), (0.02, size)], 6),
        ]
        return {"metal": join([base, post, *caps]), "face": glass, "head": _ball(0.03, size + 0.02)}
    arm = rng.uniform(0.8, 2.0)
    bow = [(0, -arm * t, size - 0.6 + 0.6 * np.sin(t * np.pi / 2)) for t in np.linspace(0, 1, 9)]
    post = pipe([(0, 0, 0.5), (0, 0, size - 0.6)], np.array([0.085, 0.055]), 8)
    head = place(rounded_box(0.26, 0.7, 0.11, 0.045, 1), (0, -arm - 0.25, size))
    glass = place(rounded_box(0.2, 0.5, 0.03, 0.012, 1), (0, -arm - 0.25, size - 0.065))
    return {"metal": join([base, post, pipe(bow, 0.04, 6)]), "head": head, "face": glass}


def _ball(radius: float, z: float) -> MeshData:
    return place(ellipsoid(2 * radius, 2 * radius, 2 * radius, 16), (0, 0, z))


def _light(size: float, rng: np.random.Generator) -> Parts:
    """Traffic light: post, a dark box with hoods, one lens of three alight."""
    post = rod(np.array([0, 0, 0.0]), np.array([0, 0, size]), 0.06, 12)
    case = place(rounded_box(0.28, 0.2, 0.86, 0.03), (0, -0.14, size - 0.5))
    heights = [size - 0.5 + 0.27 * step for step in (-1, 0, 1)]
    hoods = [place(rounded_box(0.24, 0.16, 0.03, 0.01), (0, -0.3, z + 0.115)) for z in heights]
    lenses = [place(ellipsoid(0.19, 0.06, 0.19, 20), (0, -0.245, z)) for z in heights]
    lit = lenses.pop(int(rng.integers(3)))
    return {"metal": post, "head": join([case, *hoods, *lenses]), "face": lit}


def _sign(size: float, rng: np.random.Generator) -> Parts:
    """Traffic sign: a disc, triangle, diamond or board with a rim and a field."""
    sides, radius = [(32, 0.3), (3, 0.45), (4, 0.42), (0, 0.0)][int(rng.integers(4))]
    post = rod(np.array([0, 0, 0.0]), np.array([0, 0, size]), 0.035, 10)
    if sides == 0:
        plate = place(quad_mesh(box((-0.45, 0.45), (-0.055, -0.035), (-0.28, 0.28))), (0, 0, size - 0.32))
        field = place(quad_mesh(box((-0.42, 0.42), (-0.058, -0.055), (-0.25, 0.25))), (0, 0, size - 0.32))
        return {"metal": post, "head": plate, "face": field}
    outline = circle(sides) @ rotation("z", 90.0)[:2, :2].T * radius
    upright = rotation("x", 90.0)
    at = (0, -0.035, size - radius)
    plate = place(prism(outline, 0.0, 0.018), at, upright)
    return {"metal": post, "head": plate, "face": place(prism(outline * 0.8, 0.01, 0.022), at, upright)}


def _bollard(size: float, rng: np.random.Generator) -> Parts:
    radius = rng.uniform(0.05, 0.11)
    profile = [
        (radius * 1.25, 0),
        (radius * 1.25, 0.06),
        (radius, 0.1),
        (radius, size * 0.8),
        (radius * 1.15, size * 0.82),
    ]
    profile += [(radius * 1.15, size * 0.88), (radius, size * 0.9), (radius * 0.8, size * 0.97), (radius * 0.3, size)]
    return {"metal": turned_profile(profile)}


def _bench(size: float, rng: np.random.Generator) -> Parts:
    """Slats on two or three cast feet; the back towards +y."""
    length = size * rng.uniform(1.8, 2.6)
    seat = [box((-length / 2, length / 2), (y, y + 0.085), (0.42, 0.455)) for y in (-0.24, -0.14, -0.04, 0.06)]
    back = [
        box((-length / 2, length / 2), (0.17 + 0.03 * i, 0.2 + 0.03 * i), (0.55 + 0.13 * i, 0.65 + 0.13 * i))
        for i in range(3)
    ]
    feet = []
    for x in (-length / 2 + 0.2, length / 2 - 0.25):
        feet += [box((x, x + 0.06), (y, y + 0.05), (0.0, 0.42)) for y in (-0.22, 0.1)]
        feet += [box((x, x + 0.06), (-0.24, 0.17), (0.38, 0.42)), box((x + 0.01, x + 0.05), (0.15, 0.17), (0.38, 0.95))]
    return {"wood": quad_mesh([*seat, *(back if rng.random() < 0.8 else [])]), "metal": quad_mesh(feet)}


def _bin(size: float, rng: np.random.Generator) -> Parts:
    """A round litter bin, or one on wheels with a lid."""
    if rng.random() < 0.5:
        r = size * rng.uniform(0.24, 0.32)
        outer = [(0.8 * r, 0.0), (0.85 * r, 0.03), (r, 0.2 * size), (r, 0.86 * size), (1.05 * r, 0.87 * size)]
        rim = [(1.05 * r, 0.92 * size), (0.9 * r, 0.92 * size), (0.85 * r, 0.6 * size)]
        lid = turned_profile([(0.95 * r, 0.96 * size), (0.9 * r, 0.98 * size), (0.4 * r, size)])
        posts = [
            rod(
                np.array([0.9 * r * c, 0.9 * r * s, 0.85 * size]),
                np.array([0.9 * r * c, 0.9 * r * s, 0.97 * size]),
                0.012,
            )
            for c, s in ((1, 0), (-1, 0))
        ]
        return {"metal": turned_profile(outer + rim, 28), "head": join([lid, *posts])}
    body = place(rounded_box(0.5 * size, 0.6 * size, 0.86 * size, 0.05), (0, 0, 0.05 + 0.43 * size))
    lid = place(rounded_box(0.54 * size, 0.66 * size, 0.08 * size, 0.03), (0, 0, 0.05 + 0.9 * size), rotation("x", 4.0))
    wheels = [
        rod(
            np.array([s * 0.24 * size - 0.02, 0.25 * size, 0.09]),
            np.array([s * 0.24 * size + 0.02, 0.25 * size, 0.09]),
            0.09,
            14,
        )
        for s in (-1, 1)
    ]
    feet = quad_mesh([box((-0.2 * size, 0.2 * size), (-0.26 * size, -0.2 * size), (0.0, 0.08))])
    return {"metal": body, "head": join([lid, *wheels, feet])}


def _cabinet(size: float, rng: np.random.Generator) -> Parts:
    wide = size * rng.uniform(0.6, 1.3)
    body = place(rounded_box(wide, 0.35 * size, size - 0.1, 0.02), (0, 0, 0.1 + (size - 0.1) / 2))
    seams = [box((x - 0.004, x + 0.004), (-0.175 * size - 0.003, -0.17 * size), (0.2, size - 0.1)) for x in (0.0,)]
    foot = quad_mesh([box((-wide / 2 + 0.03, wide / 2 - 0.03), (-0.15 * size, 0.15 * size), (0.0, 0.12)), *seams])
    return {"metal": body, "head": foot}


def _hydrant(size: float, rng: np.random.Generator) -> Parts:
    del rng
    s = size / 0.8
    body = [
        (0.16, 0),
        (0.16, 0.04),
        (0.11, 0.06),
        (0.1, 0.5),
        (0.14, 0.52),
        (0.14, 0.56),
        (0.11, 0.58),
        (0.08, 0.72),
        (0.03, 0.76),
        (0.03, 0.8),
    ]
    arms = [
        rod(np.array([-0.2, 0, 0.4]), np.array([0.2, 0, 0.4]), 0.05, 12),
        rod(np.array([0, -0.19, 0.36]), np.array([0, 0, 0.36]), 0.065, 12),
    ]
    return {
        "metal": place(join([turned_profile(body), *arms]), scale=s),
        "head": place(rod(np.array([-0.215, 0, 0.4]), np.array([-0.195, 0, 0.4]), 0.06, 6), scale=s),
    }


def _cone(size: float, rng: np.random.Generator) -> Parts:
    del rng
    foot = quad_mesh([box((-0.25 * size, 0.25 * size), (-0.25 * size, 0.25 * size), (0.0, 0.05 * size))])
    body = turned_profile([(0.2 * size, 0.05 * size), (0.05 * size, 0.98 * size), (0.03 * size, size)], 20)
    radius = [0.2 - 0.15 * (z - 0.05) / 0.93 + 0.004 for z in (0.45, 0.65)]
    band = turned_profile([(radius[0] * size, 0.45 * size), (radius[1] * size, 0.65 * size)], 20)
    return {"head": join([foot, body]), "face": band}


def _crates(size: float, rng: np.random.Generator) -> Parts:
    """A stack of slatted crates, or of cartons."""
    parts: dict[str, list[np.ndarray]] = {"wood": [], "head": []}
    z = 0.0
    for _ in range(int(rng.integers(1, 4))):
        x, y, h = rng.uniform(0.35, 0.6) * size, rng.uniform(0.3, 0.4) * size, rng.uniform(0.25, 0.45) * size
        shift = rng.uniform(-0.04, 0.04, 2)
        if rng.random() < 0.5:
            parts["head"].append(box((shift[0] - x, shift[0] + x), (shift[1] - y, shift[1] + y), (z, z + h)))
        else:
            for i in range(3):
                low, high = z + h * i / 3, z + h * (i + 0.8) / 3
                parts["wood"] += [
                    box((shift[0] - x, shift[0] + x), (shift[1] + s * y - 0.01, shift[1] + s * y + 0.01), (low, high))
                    for s in (-1, 1)
                ]
                parts["wood"] += [
                    box(
                        (shift[0] + s * x - 0.01, shift[0] + s * x + 0.01),
                        (shift[1] - y + 0.01, shift[1] + y - 0.01),
                        (low, high),
                    )
                    for s in (-1, 1)
                ]
            parts["wood"].append(
                box(
                    (shift[0] - x + 0.01, shift[0] + x - 0.01),
                    (shift[1] - y + 0.01, shift[1] + y - 0.01),
                    (z, z + 0.02),
                )
            )
            parts["wood"].append(
                box(
                    (shift[0] - x + 0.01, shift[0] + x - 0.01),
                    (shift[1] - y + 0.01, shift[1] + y - 0.01),
                    (z + 0.8 * h, z + h),
                )
            )
        z += h
    return {name: quad_mesh(quads) for name, quads in parts.items()}


def _pole(size: float, rng: np.random.Generator) -> Parts:
    """Wooden pole with two cross-arms and insulators; wires run along x."""
    del rng
    post = pipe([(0, 0, 0), (0, 0, size)], np.array([0.15, 0.1]), 14)
    arms = quad_mesh([box((-0.06, 0.06), (-1.1, 1.1), (z, z + 0.11)) for z in (size - 0.45, size - 1.3)])
    pins = [
        place(
            turned_profile([(0.045, 0.0), (0.06, 0.05), (0.035, 0.09), (0.05, 0.14), (0.02, 0.17)], 10),
            (0, y, z + 0.11),
        )
        for z in (size - 0.45, size - 1.3)
        for y in WIRES
    ]
    return {"wood": join([post, arms]), "head": join(pins)}


WIRES = (-0.95, -0.5, 0.5, 0.95)


def _wires(size: float, rng: np.random.Generator) -> Parts:
    """Wires between two poles `size` apart along x, hung at z = 0: eight that sag."""
    share = np.linspace(0, 1, 13)
    lines = []
    for z in (0.0, -0.85):
        for y in WIRES:
            sag = size**2 / 900 * rng.uniform(0.8, 1.3)
            lines.append(pipe([(size * t, y, z - 4 * sag * t * (1 - t)) for t in share], 0.012, 5))
    return {"metal": join(lines)}


def _railings(size: float, rng: np.random.Generator) -> Parts:
    """`size` metres along x of iron bars between posts."""
    return {"metal": _fence(size, rng.uniform(0.9, 1.7), 0.12, (0.009, 0.009), 0.0)}


def _boards(size: float, rng: np.random.Generator) -> Parts:
    """`size` metres along x of upright boards before posts."""
    return {"wood": _fence(size, rng.uniform(0.9, 1.7), 0.13, (0.055, 0.012), -0.031)}


def _fence(size: float, tall: float, step: float, half: tuple[float, float], shift: float) -> MeshData:
    """Posts, two rails, and pales every `step` metres of half sizes `half`, `shift` before the rails."""
    posts = np.linspace(0, size, max(int(size / 2.0), 1) + 1)[:, None] * [1, 0, 0]
    pales = np.arange(step / 2, size, step)[:, None] * [1, 0, 0]
    rails = [box((0, size), (-0.018, 0.018), (z, z + 0.045)) for z in (0.15, tall - 0.16)]
    low, high = [-half[0], shift - half[1], 0.08], [half[0], shift + half[1], tall + 0.06]
    standing = boxes(posts - np.array([0.035, 0.035, 0.0]), posts + np.array([0.035, 0.035, tall]))
    return quad_mesh([standing, *rails, boxes(pales + low, pales + high)])


def _shelter(size: float, rng: np.random.Generator) -> Parts:
    """Bus shelter: posts, a roof, panes of frosted glass behind and at one end, a bench."""
    length, deep = rng.uniform(2.8, 4.2), 1.3
    posts = [
        box((x, x + 0.08), (y, y + 0.08), (0.0, size))
        for x in (-length / 2, length / 2 - 0.08)
        for y in (-0.1, deep / 2 - 0.08)
    ]
    roof = [box((-length / 2 - 0.15, length / 2 + 0.15), (-deep / 2, deep / 2 + 0.05), (size, size + 0.1))]
    rails = [
        box((-length / 2 + 0.08, length / 2 - 0.08), (deep / 2 - 0.06, deep / 2 - 0.02), (z, z + 0.05))
        for z in (0.3, size - 0.25)
    ]
    panes = [box((-length / 2 + 0.1, length / 2 - 0.1), (deep / 2 - 0.05, deep / 2 - 0.035), (0.36, size - 0.26))]
    panes.append(box((length / 2 - 0.05, length / 2 - 0.035), (-0.02, deep / 2 - 0.1), (0.36, size - 0.26)))
    bench = [
        box((-length / 2 + 0.3, length / 2 - 0.3), (0.1, 0.45), (0.44, 0.48)),
        *[box((x, x + 0.05), (0.2, 0.3), (0.0, 0.44)) for x in (-length / 2 + 0.5, length / 2 - 0.6)],
    ]
    return {"metal": quad_mesh([*posts, *rails, *bench]), "head": quad_mesh(roof), "face": quad_mesh(panes)}


def _planter(size: float, rng: np.random.Generator) -> Parts:
    """A trough with a shrub in it."""
    wide = rng.uniform(0.8, 1.6) * size
    t, y = 0.05, 0.4 * size
    walls = [box((-wide, wide), (s * y - t, s * y + t), (0.0, size * 0.6)) for s in (-1, 1)]
    walls += [box((s * wide - t, s * wide + t), (-y + t, y - t), (0.0, size * 0.6)) for s in (-1, 1)]
    soil = quad_mesh([box((-wide + t, wide - t), (-y + t, y - t), (0.0, size * 0.5))])
    count = max(int(2 * wide / 0.45), 1)
    centres = np.column_stack(
        [np.linspace(-wide + 0.25, wide - 0.25, count), np.zeros(count), np.full(count, 0.85 * size)]
    )
    leaf = _leaves(centres, np.full((count, 3), [0.32, 0.9 * y, 0.4 * size]), 140 * count, 0.1, rng)
    return {"metal": quad_mesh(walls), "soil": soil, "leaf": leaf}


def _hedge(size: float, rng: np.random.Generator) -> Parts:
    """A clipped hedge, `size` metres along x."""
    tall, deep = rng.uniform(0.8, 1.9), rng.uniform(0.5, 0.8)
    core = quad_mesh([box((0.04, size - 0.04), (-deep / 2 + 0.05, deep / 2 - 0.05), (0.0, tall - 0.05))])
    area = 2 * tall * size + deep * size + 2 * deep * tall
    count = int(min(area * 110, 5000))
    spots = rng.uniform([0, -deep / 2, 0], [size, deep / 2, tall], (count, 3))
    side = rng.choice(4, count, p=np.array([tall * size, tall * size, deep * size, 2 * deep * tall]) / area)
    spots[:, 1] = np.where(side == 0, -deep / 2, np.where(side == 1, deep / 2, spots[:, 1]))
    spots[:, 2] = np.where(side == 2, tall, spots[:, 2])
    spots[:, 0] = np.where(side == 3, np.where(rng.random(count) < 0.5, 0.0, size), spots[:, 0])
    out = np.select([side == 0, side == 1, side == 2], [0, 1, 2], 3)
    normals = np.array([[0, -1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], float)[out]
    return {"soil": core, "leaf": _leaf_quads(spots + rng.normal(0, 0.025, (count, 3)), normals, 0.1, rng)}


def _tree(size: float, rng: np.random.Generator) -> Parts:
    """A street tree: trunk, boughs, and leaves on a cluster of ellipsoids."""
    bare, spread = rng.uniform(0.28, 0.4) * size, rng.uniform(0.2, 0.34) * size
    radius = 0.016 * size + 0.03
    lean = rng.normal(0, 0.015 * size, 2)
    top = np.array([*lean, 0.8 * size])
    wood = [
        pipe(
            [(0, 0, -0.1), (0, 0, 0.1), (*(lean * 0.3), 0.5 * bare), (*(lean * 0.6), bare), tuple(top)],
            np.array([1.5, 1.1, 0.95, 0.85, 0.15]) * radius,
            10,
        )
    ]
    count = int(rng.integers(7, 12))
    turn = np.arange(count) * 2.4 + rng.uniform(0, 6)
    level = bare + (size - bare) * np.linspace(0.28, 0.9, count)
    reach = spread * np.sqrt(np.maximum(1 - ((level - bare) / (size - bare) - 0.42) ** 2 * 2.6, 0.06)) * 0.62
    centres = np.column_stack([reach * np.cos(turn), reach * np.sin(turn), level])
    halves = np.column_stack([rng.uniform(0.42, 0.62, count) * spread] * 2 + [rng.uniform(0.1, 0.15, count) * size])
    for centre in centres[::2]:
        start = np.array([*(lean * 0.7), bare + 0.45 * (centre[2] - bare)])
        wood.append(
            pipe(
                [tuple(start), tuple((start + centre) / 2 + [0, 0, 0.05 * size]), tuple(centre)],
                np.array([0.4, 0.28, 0.1]) * radius,
                6,
            )
        )
    leaf = _leaves(centres, halves, int(min(900 + 300 * size, 3600)), 0.04 * size**0.5 + 0.05, rng)
    return {"wood": join(wood), "leaf": leaf}


def _leaves(centres: np.ndarray, halves: np.ndarray, count: int, size: float, rng: np.random.Generator) -> MeshData:
    """Leaves about the surfaces of ellipsoids (K, 3)."""
    which = rng.integers(len(centres), size=count)
    out = rng.normal(size=(count, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    spots = centres[which] + halves[which] * out * rng.uniform(0.55, 1.05, (count, 1))
    return _leaf_quads(spots, out, size, rng)


def _leaf_quads(spots: np.ndarray, out: np.ndarray, size: float, rng: np.random.Generator) -> MeshData:
    """Rhombic leaves (N, 3) that roughly face `out`."""
    normal = out + rng.normal(0, 0.55, out.shape) + [0, 0, 0.25]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    along = np.cross(normal, rng.normal(size=out.shape))
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.cross(normal, along)
    length = size * rng.uniform(0.7, 1.3, (len(spots), 1))
    corners = [-along * length, across * 0.55 * length, along * length, -across * 0.55 * length]
    quads = np.stack([spots + corner for corner in corners], axis=1)
    return quad_mesh(quads[:, ::-1])


KINDS: dict[str, Callable[[float, np.random.Generator], Parts]] = {
    **{"lamp": _lamp, "light": _light, "sign": _sign, "bollard": _bollard, "bench": _bench, "bin": _bin},
    **{"cabinet": _cabinet, "hydrant": _hydrant, "cone": _cone, "crates": _crates, "pole": _pole, "wires": _wires},
    **{
        "railings": _railings,
        "boards": _boards,
        "shelter": _shelter,
        "planter": _planter,
        "hedge": _hedge,
        "tree": _tree,
    },
}
