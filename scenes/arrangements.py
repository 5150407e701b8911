"""Table-tops whose things do not stand side by side: heaps, spills, stacks and things fallen over.

Each is a way of letting things go; rigid-body simulation does the rest (`scenes.physics.rigid_bodies`). What does not
come to rest, or rolls away, or is a stack no longer, is a draw that did not work out. The spec keeps the poses where
things rest, or those of every frame where the fall itself is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from msgspec import UNSET

from manifests.errors import SpecError
from scenes.catalogue import Asset, Catalogue
from scenes.distributions import draw, draw_many
from scenes.materials_and_light import asset_pools
from scenes.meshes import collision_shapes, true_surface
from scenes.motion import rotation_matrix
from scenes.physics.convex_parts import CollisionShape
from scenes.physics.rigid_bodies import STILL, Body, RigidBodies
from scenes.physics.surface_contact import PlacedSurface, gaps_and_depths, sampled_surface
from scenes.placement import ThingsToPlace, place
from scenes.recipe_sections import ArrangementRules, ObjectRules, PrimitiveRules
from scenes.recipes import Recipe
from scenes.spec import Builtin, Fall, Native, Object

KINDS = ("standing", "heap", "spill", "stack", "fallen")
_OBJECTS = 0.6  # share of objects, beside primitives, in heaps, spills and stacks
_LYING = 0.6  # share of the fallen that do not stand
_FARTHEST = 3.5  # from the middle, in scene units
_GAP = 0.01
_FENCED = 0.8  # seconds
_LEVEL = 0.35  # least width of a flat top or bottom, of the thing's own
_DIGITS = 6
_TOUCHES = 0.008  # of a thing's size: the greatest gap and depth
_SPACING = 0.02


@dataclass(frozen=True)
class BodyAsset:
    """An asset that can be simulated; others can be stacked on it if it is `level`."""

    asset: Asset
    role: Literal["object", "primitive"]
    shape: CollisionShape
    level: bool


@dataclass(frozen=True, eq=False)
class LetGo:
    """Things as they are let go: the assets, scales (N,), and of each body where it is and how it moves.

    positions: (N, 3) of the middles of the bounding boxes, orientations: (N, 4), velocities: (N, 3), fence: radius of
    walls around them that are taken away once they lie in there; 0 for none.
    """

    things: list[BodyAsset]
    scales: np.ndarray
    positions: np.ndarray
    orientations: np.ndarray
    velocities: np.ndarray
    fence: float = 0.0


@dataclass(frozen=True)
class Arranged:
    """Things that were let go: their assets, and what the spec says of them; the first one is the subject."""

    assets: tuple[Asset, ...]
    objects: tuple[Object, ...]


@lru_cache(maxsize=8)
def body_assets(catalogue: Catalogue, recipe: Recipe) -> tuple[BodyAsset, ...]:
    """The recipe's objects and primitives that have collision shapes; SpecError if there are none."""
    pools = asset_pools(catalogue, recipe)
    shipped = collision_shapes()
    found = []
    roles: tuple[tuple[Literal["object", "primitive"], tuple[Asset, ...]], ...] = (
        ("object", pools.objects),
        ("primitive", pools.primitives),
    )
    for role, assets in roles:
        for asset in assets:
            shape = asset.collision if asset.collision is not UNSET else shipped.get(asset.uid)
            if shape is not None:
                found.append(BodyAsset(asset, role, shape, _level(shape)))
    if not found:
        raise SpecError(
            f"recipe {recipe.name}: arrangements needs meshes with collision shapes, and the catalogue has none",
            "score its mesh files again, with `again`",
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class ArrangementDraw:
    """What one draw goes by. `counts` are the numbers of objects and primitives that would stand there, which only
    "fallen" follows; `falling` says whether the fall itself is shown."""

    pool: tuple[BodyAsset, ...]
    recipe: Recipe
    counts: tuple[int, int]
    falling: bool
    rng: np.random.Generator

    @property
    def rules(self) -> ArrangementRules:
        """The recipe's section."""
        assert self.recipe.arrangements is not UNSET
        return self.recipe.arrangements

    def body_assets(self, role: str) -> list[BodyAsset]:
        """Those of the pool that have a role."""
        return [thing for thing in self.pool if thing.role == role]


def arrange(kind: str, draws: ArrangementDraw) -> Arranged | None:
    """One draw of an arrangement of `kind`, at rest or with the motion `Fall`; None if it did not work out."""
    recipe, falling, rng = draws.recipe, draws.falling, draws.rng
    let_go = _WAYS[kind](draws)
    if let_go is None:
        return None
    bodies = _bodies(let_go)
    simulation = RigidBodies(bodies, recipe.fps, let_go.fence)
    if let_go.fence:
        simulation.run(_FENCED)
        simulation.open_fence()
    if kind == "stack" and not (simulation.settle() and _stands(let_go, simulation.poses)):
        return None
    if falling:
        assert recipe.motions.fall is not UNSET
        if kind == "stack":
            simulation.push(int(rng.integers(1, len(let_go.things))), _flat_direction(rng) * rng.uniform(2.0, 5.0))
        simulation.run(draw(recipe.motions.fall.start, rng))
        frames = simulation.frames(recipe.frames)
    else:
        if not simulation.settle():
            return None
        frames = simulation.poses[None]
    if kind != "fallen":
        frames[..., :2] -= frames[-1, :, :2].mean(axis=0)
    frames = frames.round(_DIGITS)
    away = np.hypot(frames[..., 0], frames[..., 1]).max() > _FARTHEST
    stands = kind == "fallen" and not falling and not _lies(frames[-1]).any()
    order = sorted(range(len(bodies)), key=lambda row: (let_go.things[row].role != "object", -frames[-1, row, 2]))
    if away or stands or not (falling or _stay([bodies[row] for row in order], frames[-1, order], recipe.fps)):
        return None
    arranged = _arranged(let_go, order, frames, falling)
    return arranged if falling or _rests([let_go.things[row] for row in order], arranged.objects) else None


def _rests(things: Sequence[BodyAsset], objects: Sequence[Object]) -> bool:
    """Whether each thing's own surface touches something and is in nothing, where the spec puts it.

    Collision shapes cover a little air, and gaps of a few per cent of it are seen. Meshes that are not built here are
    taken as their shapes.
    """
    placed = []
    for thing, obj in zip(things, objects, strict=True):
        if isinstance(obj.mesh, Builtin):
            surface = true_surface(obj.mesh, _SPACING)
        else:
            surface = sampled_surface(thing.shape.triangles(), _SPACING)
        assert obj.orientation is not UNSET
        assert obj.height is not UNSET
        position = np.array([*obj.position, obj.height])
        placed.append(PlacedSurface(surface, obj.scale, rotation_matrix(np.array(obj.orientation)), position))
    gaps, depths = gaps_and_depths(placed)
    return bool(max(gaps.max(), depths.max()) < _TOUCHES)


def _stay(bodies: list[Body], poses: np.ndarray, fps: float) -> bool:
    """Whether the bodies, put down as the spec will say, are there a second later; what only balances is not."""
    still = []
    for body, pose in zip(bodies, poses, strict=True):
        turn = pose[3:] / np.linalg.norm(pose[3:])
        still.append(replace(body, position=pose[:3], orientation=turn, velocity=np.zeros(3)))
    return bool(RigidBodies(still, fps).unrest(1.0).max() < STILL)


def _arranged(let_go: LetGo, order: list[int], frames: np.ndarray, falling: bool) -> Arranged:
    """Things with poses (T, N, 7), in an order in which the object that ends up highest is the subject."""
    objects = []
    for number, row in enumerate(order):
        thing, pose = let_go.things[row], frames[0, row].tolist()
        assert thing.asset.mesh is not None
        assert thing.asset.footprint is not None
        objects.append(
            Object(
                name=f"{thing.role}-{number + 2}",
                instance=number + 2,
                role=thing.role,
                mesh=thing.asset.mesh,
                material=Native(),
                scale=float(let_go.scales[row]),
                yaw=0.0,
                position=(pose[0], pose[1]),
                height=pose[2],
                orientation=tuple(pose[3:]),
                footprint=thing.asset.footprint,
                motions=(Fall(poses=tuple(map(tuple, frames[:, row].tolist()))),) if falling else (),
            )
        )
    return Arranged(tuple(let_go.things[row].asset for row in order), tuple(objects))


# --- ways of letting go ---------------------------------------------------------------------------------------


def _heap(draws: ArrangementDraw) -> LetGo | None:
    """Dropped from as low as they fit, turned any way; where the fall is not shown, a fence keeps them together."""
    rng = draws.rng
    things, scales = _drawn(draws)
    radii = scales * np.array([_bounding_radius(thing.shape) for thing in things])
    fence = max(0.5 * np.sqrt(len(things)) * radii.mean(), 1.2 * radii.max())
    positions = _piled(radii, fence - radii.max(), rng)
    positions[:, 2] += rng.uniform(0.2, 0.8) if draws.falling else 0.0
    turns = _any_turns(len(things), rng)
    return LetGo(things, scales, positions, turns, 0 * positions, 0.0 if draws.falling else fence)


def _spill(draws: ArrangementDraw) -> LetGo | None:
    """Thrown out sideways, the upper ones faster, as from a box that tips over."""
    rng = draws.rng
    things, scales = _drawn(draws)
    radii = scales * np.array([_bounding_radius(thing.shape) for thing in things])
    positions = _piled(radii, 0.4 * np.sqrt(len(things)) * radii.mean(), rng)
    speeds = rng.uniform(1.5, 3.5) * (0.3 + 0.7 * positions[:, 2] / positions[:, 2].max())
    return LetGo(things, scales, positions, _any_turns(len(things), rng), speeds[:, None] * _flat_direction(rng))


def _stack(draws: ArrangementDraw) -> LetGo | None:
    """Things with level tops and bottoms set on each other, the wider ones below."""
    rng, (low, high) = draws.rng, draws.rules.stack_count
    level = [thing for thing in draws.pool if thing.level]
    if not level:
        return None
    things = [level[i] for i in rng.integers(len(level), size=rng.integers(low, high + 1))]
    scales = draw_many(draws.rules.scale, rng, len(things))
    widths = scales * np.array([_bottom(thing.shape) for thing in things])
    order = np.argsort(-widths, kind="stable")
    things, scales = [things[row] for row in order], scales[order]
    heights = scales * np.array([_box(thing.shape)[1][2] for thing in things])
    positions = np.zeros((len(things), 3))
    positions[:, :2] = rng.uniform(-0.08, 0.08, (len(things), 2)) * widths[order][:, None]
    positions[:, 2] = np.cumsum(heights + _GAP) - heights / 2
    angles = rng.uniform(0.0, np.pi, len(things))
    turns = np.stack([np.cos(angles), 0 * angles, 0 * angles, np.sin(angles)], axis=1)
    return LetGo(things, scales, positions, turns, np.zeros((len(things), 3)))


def _fallen(draws: ArrangementDraw) -> LetGo | None:
    """The things that would stand there, apart, most of them tilted over and let go near the ground."""
    recipe, rng = draws.recipe, draws.rng
    things, scales, areas = [], [], []
    sections: tuple[ObjectRules | PrimitiveRules, ...] = (recipe.objects, recipe.primitives)
    for role, count, rules in zip(("object", "primitive"), draws.counts, sections, strict=True):
        group = draws.body_assets(role)
        if group:
            things += [group[i] for i in rng.integers(len(group), size=count)]
            scales += draw_many(rules.scale, rng, count).tolist()
            areas += [1.5 * rules.area] * count
    if not things:
        return None
    sizes = np.array(scales)
    radii = sizes * np.array([_bounding_radius(thing.shape) for thing in things])
    found = place(ThingsToPlace(radii, np.array(areas), 0 * radii), recipe.placement.margin, rng, rng)
    if found is None:
        return None
    lying = rng.random(len(things)) < _LYING
    lying[0] |= not lying.any()
    tilts = np.radians(rng.uniform(60.0, 130.0, len(things))) * lying
    turns = np.array([_tilted(tilt, *rng.uniform(0.0, 2 * np.pi, 2)) for tilt in tilts])
    positions = np.column_stack([found[0], np.zeros(len(things))])
    for row, thing in enumerate(things):
        lowest = (sizes[row] * _centred(thing.shape) @ rotation_matrix(turns[row]).T)[:, 2].min()
        drop = rng.uniform(0.2, 0.6) if draws.falling and lying[row] else _GAP
        positions[row, 2] = drop - lowest
    return LetGo(things, sizes, positions, turns, np.zeros((len(things), 3)))


_WAYS: dict[str, Callable[[ArrangementDraw], LetGo | None]] = {
    "heap": _heap,
    "spill": _spill,
    "stack": _stack,
    "fallen": _fallen,
}


def _drawn(draws: ArrangementDraw) -> tuple[list[BodyAsset], np.ndarray]:
    """Things of a heap, and their scales; at least one is an object where there are any."""
    rng, (low, high) = draws.rng, draws.rules.count
    count = int(rng.integers(low, high + 1))
    groups = [draws.body_assets(role) for role in ("object", "primitive")]
    chosen = (rng.random(count) >= _OBJECTS).astype(int)
    chosen[0] = 0
    things = []
    for wanted in chosen:
        group = groups[wanted] or groups[1 - wanted]
        things.append(group[int(rng.integers(len(group)))])
    return things, draw_many(draws.rules.scale, rng, count)


def _piled(radii: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Middles (N, 3) of spheres within `spread` of the axis, each as low as the ones before let it be."""
    middles = np.zeros((len(radii), 3))
    for row, radius in enumerate(radii):
        middles[row, :2] = _flat_direction(rng)[:2] * spread * np.sqrt(rng.random())
        apart = np.hypot(*(middles[:row, :2] - middles[row, :2]).T)
        reach = radius + radii[:row] + _GAP
        over = apart < reach
        levels = middles[:row, 2][over] + np.sqrt(reach[over] ** 2 - apart[over] ** 2)
        middles[row, 2] = max(radius + _GAP, levels.max(initial=0.0))
    return middles


def _bodies(let_go: LetGo) -> list[Body]:
    bodies = []
    for row, thing in enumerate(let_go.things):
        scale, turn = float(let_go.scales[row]), let_go.orientations[row]
        origin = let_go.positions[row] - rotation_matrix(turn) @ (scale * _middle(thing.shape))
        bodies.append(Body(thing.shape, scale, origin, turn, let_go.velocities[row], np.zeros(3)))
    return bodies


# --- what things are like --------------------------------------------------------------------------------------


def _box(shape: CollisionShape) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the bounding box."""
    points = np.concatenate(shape.points())
    return points.min(axis=0), points.max(axis=0)


def _middle(shape: CollisionShape) -> np.ndarray:
    return np.mean(_box(shape), axis=0)


def _centred(shape: CollisionShape) -> np.ndarray:
    return np.concatenate(shape.points()) - _middle(shape)


def _bounding_radius(shape: CollisionShape) -> float:
    return float(np.linalg.norm(_centred(shape), axis=1).max())


def _flat_width(shape: CollisionShape, top: bool) -> float:
    """Least side of the box around the points at the very top or bottom, and 0 if it is off the middle."""
    points = _centred(shape)
    level = points[:, 2].max() if top else points[:, 2].min()
    flat = points[np.abs(points[:, 2] - level) < 0.005, :2]
    centred = np.abs((flat.min(axis=0) + flat.max(axis=0)) / 2).max() < 0.1
    return float(np.ptp(flat, axis=0).min()) if centred and len(flat) > 2 else 0.0


def _bottom(shape: CollisionShape) -> float:
    return _flat_width(shape, top=False)


def _level(shape: CollisionShape) -> bool:
    low, high = _box(shape)
    x, y, z = high - low
    return min(_flat_width(shape, top=True), _bottom(shape)) > _LEVEL * max(min(x, y), z / 2)


def _stands(let_go: LetGo, poses: np.ndarray) -> bool:
    """Whether each thing of a stack still stands upright on the one below."""
    heights = let_go.scales * np.array([_box(thing.shape)[1][2] for thing in let_go.things])
    rises = np.diff(poses[:, 2])
    upright = np.array([rotation_matrix(pose[3:])[2, 2] for pose in poses])
    return bool((rises > 0.9 * heights[:-1]).all() and (upright > 0.98).all())


def _lies(poses: np.ndarray) -> np.ndarray:
    """Which things (N,) do not stand upright."""
    return np.array([abs(rotation_matrix(pose[3:])[2, 2]) < 0.7 for pose in poses])


def _any_turns(count: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform rotations (count, 4)."""
    turns = rng.normal(size=(count, 4))
    return turns / np.linalg.norm(turns, axis=1, keepdims=True)


def _tilted(tilt: float, heading: float, yaw: float) -> np.ndarray:
    """Quaternion (4,) of a turn by `yaw` about z and then by `tilt` about a level axis; radians."""
    c, s = np.cos(tilt / 2), np.sin(tilt / 2)
    a, b = np.cos(yaw / 2), np.sin(yaw / 2)
    x, y = np.cos(heading), np.sin(heading)
    return np.array([c * a, s * (x * a + y * b), s * (y * a - x * b), c * b])


def _flat_direction(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle), 0.0])
