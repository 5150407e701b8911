"""Things from a lathe (vases, bottles, bowls, goblets, pieces of a board game) and from an extruder."""

from __future__ import annotations

import numpy as np

from scenes.meshgen.curves import superellipse
from scenes.meshgen.solids import rounded
from scenes.meshgen.surface import MeshData, circle, facets, grid, join, polygon, revolve

LATHE_STYLES = ("vase", "bottle", "bowl", "goblet", "piece", "baluster")
_TAU = 2 * np.pi


def spline(knots: np.ndarray, steps: int = 8) -> np.ndarray:
    """Catmull-Rom curve through knots (n, 2); `steps` points for each span."""
    ends = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    spans = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(ends[:-3], ends[1:-2], ends[2:-1], ends[3:], strict=True)
    ]
    return np.concatenate([*spans, knots[-1:]])


def lathe(seed: int, style: str) -> MeshData:
    """Surface of revolution of the given style (see `LATHE_STYLES`)."""
    if style not in LATHE_STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(LATHE_STYLES)}")
    rng = np.random.default_rng(seed)
    if style in ("piece", "baluster"):
        return revolve(_solid_profile(rng, style), 48, crease=50)
    outside, floor = _vessel(rng, style)
    outside[:, 0] = np.maximum(outside[:, 0], 0.04)
    return revolve(_hollow(outside, floor, rng.uniform(0.015, 0.03)), 64, crease=50)


def _vessel(rng: np.random.Generator, style: str) -> tuple[np.ndarray, float]:
    """Outer profile (n, 2) from the foot to the rim, and the height where the hollow begins."""
    u = rng.uniform
    if style == "vase":
        foot, belly, neck, rim = u(0.15, 0.4), u(0.3, 0.55), u(0.1, 0.35), u(0.15, 0.5)
        low, high = u(0.25, 0.5), u(0.65, 0.85)
        return spline(np.array([[foot, 0.0], [belly, low], [neck, high], [rim, 1.0]]), 14), 0.05
    if style == "bottle":
        belly, neck, shoulder = u(0.16, 0.32), u(0.05, 0.1), u(0.45, 0.72)
        body = [[0.9 * belly, 0.0], [belly, 0.04], [belly * u(0.8, 1.05), shoulder * 0.6], [belly, shoulder]]
        throat = [[neck, shoulder + u(0.1, 0.2)], [neck, 0.94], [neck * 1.25, 0.95], [neck * 1.25, 1.0]]
        return rounded(np.array([*body, *throat]), 0.08, 6), 0.03
    if style == "bowl":
        t = np.linspace(0, 1, 24)
        rim, flare = u(0.5, 0.8), u(0.35, 0.9)
        bowl = np.stack([0.2 + (rim - 0.2) * t**flare, 0.08 + u(0.25, 0.6) * t ** u(1.2, 2.2)], axis=1)
        return np.concatenate([[[0.22, 0.0], [0.2, 0.06]], bowl]), 0.11
    stem, cup = u(0.03, 0.06), u(0.2, 0.32)
    knots = [[0.28, 0.03], [0.12, 0.06], [stem, 0.15], [stem * u(1, 2), 0.3], [stem, 0.45]]
    knots += [[cup * 0.75, 0.56], [cup, 0.75], [cup * u(0.75, 1.1), 1.0]]
    return np.concatenate([[[0.28, 0.0]], spline(np.array(knots), 8)]), 0.58


def _hollow(outside: np.ndarray, floor: float, wall: float) -> np.ndarray:
    """Closed profile of a vessel: foot, outside, a round rim, and the inside down to the height `floor`."""
    inside = outside - [wall, 0.0]
    inside = inside[inside[:, 1] > floor]
    rim = np.array([[outside[-1, 0] - wall / 2, outside[-1, 1] + wall / 2]])
    return np.concatenate([[[0.0, 0.0]], outside, rim, inside[::-1], [[0.0, inside[0, 1]]]])


def _solid_profile(rng: np.random.Generator, style: str) -> np.ndarray:
    """Profile (n, 2) of a turned piece: a foot, a body with beads and coves, and a head."""
    u = rng.uniform
    base = u(0.25, 0.36)
    profile = [[0.0, 0.0], [base, 0.0], [base, 0.05], [0.85 * base, 0.09]]
    z, width = 0.12, 0.7 * base
    for _ in range(int(u(2, 4)) if style == "piece" else int(u(4, 7))):
        step = u(0.1, 0.2)
        swell = width * u(0.55, 1.15)
        profile += [[width, z], [swell, z + 0.5 * step], [width * u(0.6, 1.0), z + step]]
        z, width = z + step, max(0.6 * width, 0.08)
    body = rounded(np.array(profile), 0.05, 5)
    head, t = u(0.1, 0.2), np.linspace(-0.85, np.pi / 2, 16)
    ball = np.stack([head * np.cos(t), z + head * u(0.8, 1.5) * (np.sin(t) + np.sin(0.85)) + 0.02], axis=1)
    if style == "piece" and u() < 0.4:
        ball = np.array([[head, z + 0.02], [1.2 * head, z + 0.25], [0.7 * head, z + 0.25], [0.7 * head, z + 0.2]])
        return np.concatenate([body, ball, [[0.0, z + 0.2]]])
    ball[-1, 0] = 0.0
    return np.concatenate([body, ball])


def extrusion(seed: int) -> MeshData:
    """An outline pulled upward while it twists, tapers and swells; sides smooth along round outlines only."""
    rng = np.random.default_rng(seed)
    outline, round_outline = _outline(rng)
    twist = rng.uniform(-200, 200) if rng.random() < 0.7 else 0.0
    taper, swell = rng.uniform(0.3, 1.1), rng.uniform(-0.25, 0.35)
    height = rng.uniform(0.6, 3.0)
    t = np.linspace(0, 1, 2 if not twist and abs(swell) < 0.1 else 33)
    width = 1 + (taper - 1) * t + swell * np.sin(np.pi * t)
    angle = np.radians(twist) * t
    cosine, sine = width * np.cos(angle), width * np.sin(angle)
    levels = np.empty((len(t), len(outline), 3))
    levels[..., 0] = cosine[:, None] * outline[:, 0] - sine[:, None] * outline[:, 1]
    levels[..., 1] = sine[:, None] * outline[:, 0] + cosine[:, None] * outline[:, 1]
    levels[..., 2] = height * t[:, None]
    caps = [polygon(levels[0], upward=False), polygon(levels[-1])]
    return join([grid(levels, wrap_columns=True) if round_outline else facets(levels), *caps])


def _outline(rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """A random counter-clockwise outline (n, 2) and whether it is smooth."""
    angle = np.arange(72) / 72 * _TAU
    kind = rng.random()
    if kind < 0.25:
        return circle(int(rng.uniform(3, 9))), False
    if kind < 0.45:
        points = circle(2 * int(rng.uniform(3, 9)))
        points[1::2] *= rng.uniform(0.4, 0.75)
        return points, False
    if kind < 0.65:
        petals = 1 + rng.uniform(0.1, 0.35) * np.cos(int(rng.uniform(2, 9)) * angle)
        return circle(72) * petals[:, None], True
    if kind < 0.8:
        return superellipse(angle, rng.uniform(0.3, 1.6)) * [1.0, rng.uniform(0.4, 1.0)], True
    thick = rng.uniform(0.25, 0.45)
    if kind < 0.9:
        cross = [[1, -thick], [1, thick], [thick, thick], [thick, 1], [-thick, 1], [-thick, thick]]
        return np.array([*cross, *[[-x, -y] for x, y in cross]], float), False
    return np.array(
        [[-1, -1], [1, -1], [1, -1 + thick * 2], [-1 + thick * 2, -1 + thick * 2], [-1 + thick * 2, 1], [-1, 1]], float
    ), False
