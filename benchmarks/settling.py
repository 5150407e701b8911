"""Whether settled things rest as things do: on something, in nothing, and still.

    python -m benchmarks.settling --scenes 500

Looks at the real meshes, not at their collision shapes: points on each surface, a hundredth of a thing apart, and their
distances to the triangles of its neighbours and to the ground. Then it lets time pass for another second, from the
poses that the spec holds. Lengths are in sizes of the smaller thing of a pair; a size is the longest side.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
from scipy.spatial import cKDTree

from scenes.arrangements import body_assets
from scenes.motion import object_at
from scenes.physics.convex_parts import CollisionShape
from scenes.physics.rigid_bodies import Body, RigidBodies
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import ArrangementRules, SettingWeights
from scenes.recipes import Recipe, load_recipe
from scenes.sampling import sample_scene
from scenes.spec import UNSET, Builtin, Object, SceneSpec, to_json

SPACING = 0.01
_REACH = 0.05  # sizes: beyond it nothing is looked at
_CANDIDATES = 12
HEADER = (
    "| arrangement | scenes | things | gap over 1 % | worst gap | penetration over 1 % | worst penetration "
    "| moving over 0.1 % / s | median ms | 95 % ms | draws thrown away |"
)


@dataclass(frozen=True, eq=False)
class SampledSurface:
    """A mesh: triangles (M, 3, 3), points (N, 3) on it, and the triangle (N,) that each lies on."""

    triangles: np.ndarray
    points: np.ndarray
    owners: np.ndarray


@lru_cache(maxsize=256)
def _surface(source: bytes) -> SampledSurface:
    from scenes.meshes import build

    plain = msgspec.json.decode(source, type=Builtin)
    mesh = build(plain.generator, plain.params)
    triangles = mesh.vertices[mesh.corners[mesh.triangles()]].astype(np.float64)
    points, owners = [], []
    sides = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    parts = np.maximum(np.ceil(sides / SPACING), 1).astype(int)
    for count in np.unique(parts):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
        weights = np.stack([count - i - j, i, j], axis=-1)[i + j <= count] / count
        rows = np.flatnonzero(parts == count)
        points.append((weights @ triangles[rows]).reshape(-1, 3))
        owners.append(np.repeat(rows, len(weights)))
    every = np.concatenate(points)
    _, kept = np.unique(np.round(2 * every / SPACING).astype(int) @ (1, 10**4, 10**8), return_index=True)
    return SampledSurface(triangles, every[kept], np.concatenate(owners)[kept])


def surface(obj: Object, at: float = 0.0) -> SampledSurface:
    """The object's real surface in the world at a time in [0, 1]."""
    assert isinstance(obj.mesh, Builtin)
    found = _surface(msgspec.json.encode(obj.mesh, order="deterministic"))
    pose = object_at(obj, np.array([at]))[0]
    return SampledSurface(
        found.triangles @ pose[:3, :3].T + pose[:3, 3], found.points @ pose[:3, :3].T + pose[:3, 3], found.owners
    )


def contacts(spec: SceneSpec, at: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Of each thing (N,): distance to what is nearest, the ground or another, and how deep it is in anything.

    Both in sizes of the smaller of the two; a distance is at most `_REACH`.
    """
    surfaces = [surface(obj, at) for obj in spec.objects]
    sizes = np.array([obj.scale for obj in spec.objects])
    lowest = np.array([found.points[:, 2].min() for found in surfaces]) / sizes
    gaps, depths = np.clip(lowest, 0.0, _REACH), np.maximum(-lowest, 0.0)
    trees = [cKDTree(found.points) for found in surfaces]
    for i in range(len(surfaces)):
        for j in range(len(surfaces)):
            size = min(sizes[i], sizes[j])
            near = surfaces[i].points[_within(surfaces[i].points, surfaces[j].points, _REACH * size)]
            if i == j or not len(near):
                continue
            gap, depth = _gap_and_depth(near, surfaces[j], trees[j], _REACH * size)
            for one in (i, j):
                gaps[one], depths[one] = min(gaps[one], gap / size), max(depths[one], depth / size)
    return gaps, depths


def _within(points: np.ndarray, others: np.ndarray, reach: float) -> np.ndarray:
    low, high = others.min(axis=0) - reach, others.max(axis=0) + reach
    return ((points >= low) & (points <= high)).all(axis=1)


def _gap_and_depth(points: np.ndarray, other: SampledSurface, tree: cKDTree, reach: float) -> tuple[float, float]:
    """Distance of the nearest point to a surface, and of the one that is deepest inside, as far as `reach`.

    Inside is what the surface surrounds, by its solid angle. Of those behind the nearest triangle the deepest is asked
    first; where it is not inside (parts overlap in some meshes), some sixty others.
    """
    rough, samples = tree.query(points, k=_CANDIDATES, distance_upper_bound=reach)
    near = np.isfinite(rough).all(axis=1)
    if not near.any():
        return reach, 0.0
    distance, front = _nearest(points[near], other.triangles[other.owners[samples[near]]])
    behind = np.flatnonzero(~front)
    for row in behind[np.argsort(-distance[behind])][:: 1 + len(behind) // 60]:
        if _winding(points[near][row], other.triangles) > 0.5:
            return 0.0, float(distance[row])
    return float(distance.min()), 0.0


def _nearest(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (n,) to the nearest of the triangles (n, k, 3, 3) of each point, and whether it is on their front."""
    a, b, c = (triangles[:, :, corner] for corner in range(3))
    p = points[:, None]
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-15)
    height = ((p - a) * normal).sum(axis=-1)
    over = np.ones(height.shape, dtype=bool)
    edges = np.full(height.shape, np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        over &= (np.cross(along, p - start) * normal).sum(axis=-1) >= 0
        share = ((p - start) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-15)
        foot = start + np.clip(share, 0, 1)[..., None] * along
        edges = np.minimum(edges, np.linalg.norm(p - foot, axis=-1))
    distance = np.where(over, np.abs(height), edges)
    least = distance.min(axis=1)
    tied = distance <= least[:, None] + 1e-9
    return least, (np.where(tied, height, np.inf) > -1e-9).all(axis=1)


def _winding(point: np.ndarray, triangles: np.ndarray) -> float:
    """Winding number of a closed surface about a point (van Oosterom and Strackee 1983, solid angles)."""
    a, b, c = np.moveaxis(triangles - point, 1, 0)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    above = (a * np.cross(b, c)).sum(axis=1)
    below = la * lb * lc + (a * b).sum(axis=1) * lc + (b * c).sum(axis=1) * la + (c * a).sum(axis=1) * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))


def unrest(spec: SceneSpec, shapes: dict[str, CollisionShape], seconds: float = 1.0) -> np.ndarray:
    """How far the farthest corner of each thing (N,) moves in the next second, in its own sizes."""
    bodies = [
        Body(
            shapes[obj.mesh.uid],
            obj.scale,
            np.array([*obj.position, 0.0 if obj.height is UNSET else obj.height]),
            np.array(obj.orientation),
            np.zeros(3),
            np.zeros(3),
        )
        for obj in spec.objects
    ]
    simulation = RigidBodies(bodies, spec.fps)
    before = simulation.poses
    simulation.run(seconds)
    moved = []
    for body, old, new in zip(bodies, before, simulation.poses, strict=True):
        points = np.concatenate(body.shape.points()) * body.scale
        placed = [points @ _turn(pose[3:]).T + pose[:3] for pose in (old, new)]
        moved.append(np.linalg.norm(placed[1] - placed[0], axis=1).max() / body.scale / seconds)
    return np.array(moved)


def _turn(quaternion: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(quaternion, scalar_first=True).as_matrix()


def settled_recipe(kind: str, base: str = "world") -> Recipe:
    """The base recipe with table-tops of one arrangement only, and nothing that falls in view."""
    recipe = load_recipe(base)
    rules = msgspec.structs.replace(
        recipe.arrangements or ArrangementRules(),
        **{name: float(name == kind) for name in ("standing", "heap", "spill", "stack", "fallen")},
    )
    return msgspec.structs.replace(
        recipe,
        settings=SettingWeights(table=1.0),
        arrangements=rules,
        motions=msgspec.structs.replace(recipe.motions, fall=UNSET),
    )


def measured(kind: str, scenes: range) -> Iterator[tuple[SceneSpec, float, np.ndarray, np.ndarray, np.ndarray]]:
    """Spec, seconds of sampling, and of its things gaps, depths and movement."""
    catalogue, recipe = builtin_catalogue(), settled_recipe(kind)
    shapes = {body.asset.uid: body.shape for body in body_assets(catalogue, recipe)}
    for index in scenes:
        start = time.thread_time()
        spec = sample_scene(catalogue, recipe, 0, index)
        seconds = time.thread_time() - start
        yield spec, seconds, *contacts(spec), unrest(spec, shapes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=500, help="all together, the same number of each arrangement")
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    print(HEADER)
    print("|" + "---|" * HEADER.count(" |"))
    digest, worst = hashlib.sha256(), defaultdict[str, Counter[str]](Counter)
    for kind in ("heap", "spill", "stack", "fallen"):
        found = list(measured(kind, range(options.first, options.first + options.scenes // 4)))
        gaps, depths, moves = (np.concatenate([one[place] for one in found]) for place in (2, 3, 4))
        median, late = 1e3 * np.quantile([one[1] for one in found], [0.5, 0.95])
        print(
            f"| {kind} | {len(found)} | {len(gaps)} | {(gaps > 0.01).sum()} | {100 * gaps.max():.2f} % "
            f"| {(depths > 0.01).sum()} | {100 * depths.max():.2f} % | {(moves > 0.001).sum()} | {median:.0f} "
            f"| {late:.0f} | {sum(one[0].resampled for one in found)} |",
            flush=True,
        )
        for spec, _, gap, depth, move in found:
            digest.update(to_json(spec))
            for obj, *values in zip(spec.objects, gap, depth, move, strict=True):
                if values[0] > 0.01 or values[1] > 0.01 or values[2] > 0.001:
                    worst[kind][obj.mesh.uid.split("/")[2]] += 1
    for kind, families in worst.items():
        print(f"\n{kind}, things beyond a limit: {families.most_common()}")
    print(f"\nSHA-256 of the scenes: {digest.hexdigest()}")


if __name__ == "__main__":
    main()
