"""Things made of several solids that overlap: furniture, robots, towers, toys, and stacks of anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from scenes.meshgen.rocks import rock
from scenes.meshgen.solids import capsule, ellipsoid, frustum, pyramid, rounded_box, torus, wedge
from scenes.meshgen.surface import MeshData, circle, join, place, prism, rotation

_Rng = np.random.Generator


class _Builder:
    """Collects solids; sizes are full lengths, positions are centres."""

    def __init__(self, bevel: float) -> None:
        self.parts: list[MeshData] = []
        self.bevel = bevel

    def add(self, part: MeshData, at: Sequence[float], turn: np.ndarray | None = None) -> None:
        self.parts.append(place(part, at, turn))

    def box(self, size: Sequence[float], at: Sequence[float], turn: np.ndarray | None = None) -> None:
        self.add(rounded_box(size[0], size[1], size[2], min(self.bevel, 0.45 * min(size)), segments=2), at, turn)

    def rod(self, radius: float, height: float, at: Sequence[float], turn: np.ndarray | None = None) -> None:
        self.add(frustum(radius, radius, height, 0.3 * self.bevel, segments=24), at, turn)


def table(rng: _Rng, make: _Builder) -> None:
    """Top on legs or on a pedestal, sometimes with a shelf or drawers."""
    wide, deep, high = rng.uniform(0.8, 1.8), rng.uniform(0.6, 1.0), rng.uniform(0.4, 1.0)
    thick, leg = rng.uniform(0.03, 0.09), rng.uniform(0.03, 0.06)
    if rng.random() < 0.3:
        make.add(frustum(deep * 0.6, deep * 0.6, thick, 0.02), [0, 0, high])
        make.rod(leg * 1.5, high, [0, 0, high / 2])
        make.add(frustum(deep * 0.35, deep * 0.2, 0.06, 0.02), [0, 0, 0.03])
        return
    make.box([wide, deep, thick], [0, 0, high])
    _legs(rng, make, (wide - 3 * leg, deep - 3 * leg), high, leg)
    if rng.random() < 0.5:
        make.box([wide * 0.9, deep * 0.9, thick], [0, 0, high * rng.uniform(0.25, 0.5)])


def _legs(rng: _Rng, make: _Builder, span: tuple[float, float], high: float, leg: float) -> None:
    wide, deep = span
    round_legs, splay = rng.random() < 0.5, rng.uniform(0, 12) if rng.random() < 0.4 else 0.0
    for x in (-0.5, 0.5):
        for y in (-0.5, 0.5):
            turn = rotation("y", -np.sign(x) * splay) @ rotation("x", np.sign(y) * splay)
            at = [x * wide, y * deep, high / 2]
            if round_legs:
                make.rod(leg, high, at, turn)
            else:
                make.box([2 * leg, 2 * leg, high], at, turn)


def chair(rng: _Rng, make: _Builder) -> None:
    """Chair or stool or armchair."""
    wide, deep, seat = rng.uniform(0.45, 0.65), rng.uniform(0.42, 0.6), rng.uniform(0.38, 0.55)
    thick, leg = rng.uniform(0.04, 0.14), rng.uniform(0.02, 0.035)
    make.box([wide, deep, thick], [0, 0, seat])
    _legs(rng, make, (wide - 3 * leg, deep - 3 * leg), seat, leg)
    back, lean = rng.uniform(0.35, 0.7), rotation("x", rng.uniform(0, 12))
    kind = rng.random()
    if kind < 0.4:
        make.box([wide * 0.95, 0.05, back], [0, -deep / 2, seat + back / 2], lean)
    elif kind < 0.8:
        for spindle in np.linspace(-0.45, 0.45, int(rng.uniform(3, 7))):
            make.rod(0.018, back, [spindle * wide, -deep / 2 + 0.03, seat + back / 2], lean)
        make.box([wide, 0.05, 0.1], [0, -deep / 2 - 0.5 * back * lean[2, 1] + 0.03, seat + back], lean)
    if rng.random() < 0.4:
        for x in (-0.5, 0.5):
            make.box([0.05, deep * 0.9, 0.05], [x * wide, 0, seat + 0.22])
            make.box([0.045, 0.05, 0.25], [x * wide, 0.35 * deep, seat + 0.11])
            make.box([0.045, 0.05, 0.25], [x * wide, -0.35 * deep, seat + 0.11])


def shelf(rng: _Rng, make: _Builder) -> None:
    """Open shelf with boards and a few things on them."""
    wide, deep, high, board = rng.uniform(0.6, 1.2), rng.uniform(0.25, 0.4), rng.uniform(0.8, 1.6), 0.035
    for x in (-0.5, 0.5):
        make.box([board, deep, high], [x * wide, 0, high / 2])
    levels = int(rng.uniform(3, 6))
    for z in np.linspace(0.03, high - 0.03, levels):
        make.box([wide, deep, board], [0, 0, z])
        x = float(-0.4 * wide)
        while z < high - 0.1 and x < 0.4 * wide:
            thick, tall = rng.uniform(0.04, 0.14), high / levels * rng.uniform(0.4, 0.8)
            make.box([thick, deep * rng.uniform(0.5, 0.8), tall], [x, 0, z + tall / 2])
            x += float(thick + rng.uniform(0.01, 0.25))


def lamp(rng: _Rng, make: _Builder) -> None:
    """Standing lamp with a shade."""
    high, shade, tall = rng.uniform(0.6, 1.5), rng.uniform(0.18, 0.35), rng.uniform(0.2, 0.4)
    make.add(frustum(rng.uniform(0.15, 0.25), rng.uniform(0.08, 0.15), 0.06, 0.02), [0, 0, 0.03])
    make.rod(0.018, high, [0, 0, high / 2])
    make.add(frustum(shade, shade * rng.uniform(0.3, 1.0), tall, 0.02), [0, 0, high])
    if rng.random() < 0.5:
        make.add(ellipsoid(0.1, 0.1, 0.1), [0, 0, high * rng.uniform(0.2, 0.6)])


def robot(rng: _Rng, make: _Builder) -> None:
    """Toy robot with head, arms and legs or wheels."""
    wide, deep, body = rng.uniform(0.4, 0.7), rng.uniform(0.3, 0.45), rng.uniform(0.45, 0.7)
    low = rng.uniform(0.2, 0.45)
    if rng.random() < 0.6:
        for x in (-0.28, 0.28):
            make.rod(0.07, low + 0.1, [x * wide, 0, low / 2])
            make.box([0.2, 0.34, 0.1], [x * wide, 0.05, 0.05])
    else:
        for x in (-0.5, 0.5):
            for y in (-0.3, 0.3):
                make.rod(low * 0.55, 0.1, [x * wide, y * deep * 2, low * 0.55], rotation("y", 90))
    make.box([wide, deep, body], [0, 0, low + body / 2])
    top, head = low + body, rng.uniform(0.28, 0.42)
    make.rod(0.06, 0.12, [0, 0, top])
    if rng.random() < 0.5:
        make.box([head * 1.2, head, head], [0, 0, top + 0.04 + head / 2])
    else:
        make.add(ellipsoid(head * 1.2, head * 1.1, head), [0, 0, top + 0.04 + head / 2])
    for x in (-0.25, 0.25):
        make.add(ellipsoid(0.09, 0.09, 0.09, 24), [x * head, head / 2, top + 0.04 + 0.6 * head])
        make.add(ellipsoid(0.18, 0.18, 0.18, 24), [np.sign(x) * wide / 2, 0, top - 0.1])
        swing = rotation("x", rng.uniform(-60, 60)) @ rotation("y", np.sign(x) * rng.uniform(-35, -5))
        arm = rng.uniform(0.4, 0.6)
        at = np.array([np.sign(x) * (wide / 2 + 0.06), 0, top - 0.1]) + swing @ [0, 0, -arm / 2]
        make.add(capsule(0.055, arm + 0.1, 24), at, swing)
        make.add(ellipsoid(0.15, 0.15, 0.15, 24), at + swing @ [0, 0, -arm / 2])
    if rng.random() < 0.6:
        make.rod(0.012, 0.25, [0, 0, top + head + 0.12])
        make.add(ellipsoid(0.06, 0.06, 0.06, 24), [0, 0, top + head + 0.25])


def tower(rng: _Rng, make: _Builder) -> None:
    """Storeys of round or square plan that narrow upward, with a roof or battlements."""
    round_plan, wide, z = rng.random() < 0.5, rng.uniform(0.5, 0.8), 0.0
    for _ in range(int(rng.uniform(2, 6))):
        high, narrower = rng.uniform(0.25, 0.7), wide * rng.uniform(0.75, 1.0)
        if round_plan:
            make.add(frustum(wide / 2, narrower / 2, high, 0.01), [0, 0, z + high / 2])
            make.add(torus(wide / 2, 0.03), [0, 0, z + 0.03])
        else:
            make.box([wide, wide, high], [0, 0, z + high / 2])
            make.box([wide + 0.08, wide + 0.08, 0.06], [0, 0, z + high])
        z, wide = z + high, narrower
    if rng.random() < 0.5:
        tall = rng.uniform(0.3, 0.8)
        roof = (
            frustum(wide * 0.65, 0.0, tall)
            if round_plan
            else place(pyramid(4, wide * 0.9, tall), (0, 0, 0), rotation("z", 45))
        )
        make.add(roof, [0, 0, z + tall / 2])
    else:
        make.add(frustum(wide * 0.6, wide * 0.6, 0.08, 0.01), [0, 0, z])
        for x, y in circle(int(rng.uniform(6, 11))) * wide * 0.5:
            make.box([0.1, 0.1, 0.16], [x, y, z + 0.1])


def truck(rng: _Rng, make: _Builder) -> None:
    """Toy car, truck or bus."""
    long, wide, wheel = rng.uniform(1.2, 2.2), rng.uniform(0.6, 0.8), rng.uniform(0.14, 0.2)
    base = wheel * 1.1
    make.box([long, wide, 0.22], [0, 0, base + 0.11])
    cabin, tall = long * rng.uniform(0.25, 0.9), rng.uniform(0.3, 0.5)
    make.box([cabin, wide * 0.92, tall], [(long - cabin) * rng.uniform(-0.4, 0.45), 0, base + 0.2 + tall / 2])
    if rng.random() < 0.4:
        make.add(wedge(long * 0.25, wide * 0.9, 0.2), [long * 0.3, 0, base + 0.3], rotation("z", 180))
    axles = int(rng.uniform(2, 4))
    for x in np.linspace(-0.36, 0.36, axles):
        for y in (-0.5, 0.5):
            make.add(torus(wheel * 0.68, wheel * 0.32, 32, 12), [x * long, y * wide, wheel], rotation("x", 90))
            make.rod(wheel * 0.6, 0.1, [x * long, y * wide, wheel], rotation("x", 90))


def mushroom(rng: _Rng, make: _Builder) -> None:
    """A clump of mushrooms."""
    for i in range(int(rng.uniform(1, 5))):
        size = 1.0 if i == 0 else rng.uniform(0.3, 0.7)
        at = np.zeros(2) if i == 0 else circle(16)[int(rng.random() * 16)] * rng.uniform(0.25, 0.5)
        high, cap = size * rng.uniform(0.5, 0.9), size * rng.uniform(0.35, 0.6)
        make.add(frustum(0.12 * size, 0.07 * size, high, 0.02), [*at, high / 2])
        make.add(ellipsoid(2 * cap, 2 * cap, cap * rng.uniform(0.6, 1.3)), [*at, high])


def cairn(rng: _Rng, make: _Builder) -> None:
    """Stones piled on each other, each smaller than the one below."""
    z, size = 0.0, 1.0
    style = "stone" if rng.random() < 0.4 else "rock"
    for _ in range(int(rng.uniform(3, 6))):
        stone = rock(int(rng.random() * 2**31), style, cells=14)
        stone = place(stone, turn=rotation("z", rng.uniform(0, 360)), scale=[0.5 * size, 0.5 * size, 0.3 * size])
        low, high = stone.vertices[:, 2].min(), stone.vertices[:, 2].max()
        make.add(stone, [*rng.uniform(-0.05, 0.05, 2), z - low])
        z, size = z + 0.9 * (high - low), size * rng.uniform(0.7, 0.9)


def totem(rng: _Rng, make: _Builder) -> None:
    """A random pile of overlapping solids of every kind, each turned at random."""
    z = 0.0
    for _ in range(int(rng.uniform(3, 8))):
        size, tall = rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.6)
        tilt = rotation("x", rng.uniform(-25, 25)) @ rotation("z", rng.uniform(0, 360))
        make.add(_any_solid(int(rng.random() * 5), size, tall), [*rng.uniform(-0.12, 0.12, 2), z + tall / 2], tilt)
        z += 0.75 * tall


def _any_solid(kind: int, size: float, tall: float) -> MeshData:
    solids: tuple[Callable[[], MeshData], ...] = (
        lambda: rounded_box(size, size * 0.8, tall, 0.04),
        lambda: frustum(size / 2, size * 0.35, tall, 0.03),
        lambda: ellipsoid(size, size * 0.9, tall),
        lambda: prism(circle(6) * size / 2, -tall / 2, tall / 2),
        lambda: torus(size / 2, tall * 0.2),
    )
    return solids[kind]()


COMPOSITES: dict[str, Callable[[_Rng, _Builder], None]] = {
    function.__name__: function for function in (table, chair, shelf, lamp, robot, tower, truck, mushroom, cairn, totem)
}


def composite(seed: int, style: str) -> MeshData:
    """A composite of the given style (see `COMPOSITES`); parts overlap, each is closed."""
    rng = np.random.default_rng(seed)
    make = _Builder(rng.uniform(0.008, 0.03))
    COMPOSITES[style](rng, make)
    return join(make.parts)
