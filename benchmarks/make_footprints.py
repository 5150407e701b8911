"""Measure the built-in meshes: footprints and collision shapes, as `scenes/data/` has them.

Run it after a mesh generator or `scenes.physics.convex_parts` has changed; it takes some minutes.

usage: python -m benchmarks.make_footprints
"""

from __future__ import annotations

import json
import lzma

import msgspec

from scenes.meshes import COLLISION_SHAPES, FOOTPRINTS, build, footprint
from scenes.physics.convex_parts import CollisionShape, collision_shape
from scenes.providers.builtin import mesh_sources
from scenes.spec import Builtin, Footprint


def measure() -> dict[str, Footprint]:
    """Build every built-in mesh and measure it; takes some seconds."""
    return {source.uid: footprint(build(source.generator, source.params)) for source, _, _ in mesh_sources()}


def shape(source: Builtin) -> CollisionShape:
    """Collision shape of a built-in mesh; takes about a second."""
    mesh = build(source.generator, source.params)
    return collision_shape(mesh.vertices, mesh.corners[mesh.triangles()])


if __name__ == "__main__":
    lines = (f"{json.dumps(uid)}: [{value.radius}, {value.height}]" for uid, value in measure().items())
    FOOTPRINTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    shapes = {source.uid: shape(source) for source, _, _ in mesh_sources()}
    COLLISION_SHAPES.write_bytes(lzma.compress(msgspec.msgpack.encode(shapes), preset=9))
