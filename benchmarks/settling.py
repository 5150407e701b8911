"""Whether settled things rest as things do: on something, in nothing, and still.

    python -m benchmarks.settling --scenes 500

Looks at the real meshes, not at their collision shapes (`scenes.physics.surface_contact`), where the spec puts them.
Then it lets time pass for another second from there.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np

from scenes.arrangements import body_assets
from scenes.meshes import true_surface
from scenes.motion import object_at
from scenes.physics.convex_parts import CollisionShape
from scenes.physics.rigid_bodies import Body, RigidBodies
from scenes.physics.surface_contact import PlacedSurface, gaps_and_depths
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import ArrangementRules, SettingWeights
from scenes.recipes import Recipe, load_recipe
from scenes.sampling import sample_scene
from scenes.spec import UNSET, Builtin, Object, SceneSpec, to_json

SPACING = 0.01
HEADER = (
    "| arrangement | scenes | things | gap over 1 % | worst gap | penetration over 1 % | worst penetration "
    "| moving over 0.1 % / s | median ms | 95 % ms | draws thrown away |"
)


def surface(obj: Object, at: float = 0.0) -> PlacedSurface:
    """The object's real surface in the world at a time in [0, 1]."""
    assert isinstance(obj.mesh, Builtin)
    pose = object_at(obj, np.array([at]))[0]
    return PlacedSurface(true_surface(obj.mesh, SPACING), obj.scale, pose[:3, :3] / obj.scale, pose[:3, 3])


def contacts(spec: SceneSpec, at: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Of each thing (N,): distance to what is nearest, the ground or another, and how deep it is in anything."""
    return gaps_and_depths([surface(obj, at) for obj in spec.objects])


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
