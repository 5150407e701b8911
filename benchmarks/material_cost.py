"""What a procedural family costs: CPU seconds of a 64x64 render of a ball on the ground, against a constant.

    python -m benchmarks.material_cost [--samples 64] [--repeats 3]

The first look of each family is taken, with its AOVs; CPU seconds of the whole process (all threads), the smallest
of the repeats, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import bpy

from datagen.blender import session
from datagen.blender.material_nodes import build_material
from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from scenes.builtin_materials import builtin_materials
from scenes.procedural_materials import MATERIAL_FAMILIES
from scenes.spec import (
    Builtin,
    CameraView,
    Footprint,
    Ground,
    Material,
    Object,
    Principled,
    RenderSettings,
    SceneLight,
    SceneSpec,
)

CONSTANT = Principled(uid="constant", basecolor=(0.5, 0.4, 0.3), roughness=0.4, metallic=0.0)
_BALL = Builtin(uid="ball", generator="ellipsoid", params={"x": 1.0, "y": 1.0, "z": 1.0, "segments": 64})


def spec(material: Material, samples: int) -> SceneSpec:
    """A ball on a ground of the same material, four frames."""
    ball = Object(
        name="ball",
        instance=2,
        role="object",
        mesh=_BALL,
        material=material,
        scale=1.0,
        yaw=0.0,
        position=(0.0, 0.0),
        footprint=Footprint(radius=0.71, height=1.0),
    )
    return SceneSpec(
        recipe="benchmark",
        seed=1,
        index=0,
        frames=4,
        fps=24.0,
        ground=Ground(material=material),
        objects=(ball,),
        lights=(SceneLight(map=Builtin(uid="white", generator="constant", params={"colour": (1.0, 1.0, 1.0)})),),
        view=CameraView(target=(0.0, 0.0, 0.4), distance=3.0, azimuth=-60.0, elevation=25.0, fov=40.0),
        render=RenderSettings(
            width=64, height=64, samples=samples, adaptive_threshold=0.0, denoiser="none", environment_height=32
        ),
    )


def cost(material: Material, samples: int, repeats: int, resolver: Resolver) -> float:
    """Smallest CPU seconds of `repeats` renders."""
    seconds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            render_scene(spec(material, samples), resolver, Path(folder))
            seconds.append(time.process_time() - start)
    return min(seconds)


def node_count(material: Material, resolver: Resolver) -> int:
    """Nodes in the material's graph."""
    built = build_material(material, resolver)
    count = len(built.node_tree.nodes)
    bpy.data.materials.remove(built)
    return count


def main() -> None:
    """Print one line a family: nodes, CPU seconds, ratio to the constant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    first = {f"{family}/0000": family for family in MATERIAL_FAMILIES}
    looks = {
        entry.uid.removeprefix("builtin/"): entry.material for entry in builtin_materials(per_family=1, constants=0)
    }
    with tempfile.TemporaryDirectory() as cache:
        resolver = Resolver({}, Path(cache))
        session.start("CPU")
        session.current().warm_up()
        cost(CONSTANT, options.samples, 1, resolver)
        constant = cost(CONSTANT, options.samples, options.repeats, resolver)
        print(f"{'constant':10} {'':4} {constant:6.2f} s")
        for uid, family in first.items():
            seconds = cost(looks[uid], options.samples, options.repeats, resolver)
            print(
                f"{family:10} {node_count(looks[uid], resolver):4} {seconds:6.2f} s  x{seconds / constant:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    session.leave(lambda: main() or 0)
