"""Procedural meshes: `build` turns a generator's name and parameters into a mesh in the normalised frame; footprints.

The normalised frame is that of `scenes.spec.Object`: z up, bounding-box centre over the origin, lowest point at
z = 0, longest bounding-box side 1. One UV unit is about one unit of that frame. Everything is numpy and depends on
the parameters alone; only Suzanne, whose vertices belong to Blender, is built by `datagen.blender`.

Footprints and collision shapes are measured once and shipped as data, so that the catalogue opens at once. After a
generator has changed, `python -m benchmarks.make_footprints` measures them again; tests
do so and compare. Suzanne's is a constant: a test measures what Blender builds.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np

from manifests.errors import SpecError
from scenes.meshgen import composites, curves, machined, rocks, solids, turned
from scenes.meshgen.surface import MeshData
from scenes.physics.convex_parts import CollisionShape
from scenes.physics.surface_contact import SampledSurface, sampled_surface
from scenes.spec import Builtin, Footprint, Value

SUZANNE = "suzanne"
FOOTPRINTS = Path(__file__).parent / "data" / "footprints.json"
COLLISION_SHAPES = FOOTPRINTS.with_name("collision_shapes.msgpack.xz")
SUZANNE_FOOTPRINT = Footprint(radius=0.5359, height=0.7195)


def by_name[T](*functions: Callable[..., T]) -> dict[str, Callable[..., T]]:
    """Functions by their own names."""
    return {function.__name__: function for function in functions}


PRIMITIVES = by_name(
    *(solids.box, solids.rounded_box, solids.ellipsoid, solids.frustum, solids.capsule, solids.torus),
    *(solids.regular_prism, solids.pyramid, solids.wedge),
)
MESH_FAMILIES = by_name(
    *(curves.superquadric, curves.supertoroid, curves.knot, curves.tube, curves.spring, curves.shell),
    *(turned.lathe, turned.extrusion, rocks.rock, rocks.crystal),
    *(machined.gear, machined.bolt, machined.fitting, composites.composite),
)


def build(generator: str, params: Mapping[str, Value]) -> MeshData:
    """Mesh of that generator, float32, in the normalised frame; the same arguments give the same bytes.

    Raises SpecError for an unknown generator (Suzanne included) or parameters it does not take.
    """
    function = PRIMITIVES.get(generator) or MESH_FAMILIES.get(generator)
    if function is None:
        raise SpecError(f"no mesh generator {generator!r}", f"there are {', '.join([*PRIMITIVES, *MESH_FAMILIES])}")
    try:
        mesh = function(**params)
    except (TypeError, KeyError, ValueError) as error:
        raise SpecError(f"mesh generator {generator!r} does not take {dict(params)}: {error}") from None
    return normalised(mesh)


def normalised(mesh: MeshData) -> MeshData:
    """Mesh moved and scaled into the normalised frame, as float32 and int32; SpecError if it has no size."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    longest = (high - low).max()
    if not (np.isfinite(longest) and longest > 0):
        raise SpecError(f"a mesh with bounds {low} to {high} cannot be normalised")
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return MeshData(
        ((mesh.vertices - origin) / longest).astype(np.float32),
        mesh.corners.astype(np.int32),
        mesh.sizes.astype(np.int32),
        (mesh.uvs / longest).astype(np.float32),
        mesh.smooth.astype(bool),
    )


def true_surface(source: Builtin, spacing: float) -> SampledSurface:
    """The surface of a mesh that numpy builds, with points at most `spacing` apart to measure distances by."""
    return _true_surface(msgspec.json.encode(source, order="deterministic"), spacing)


@lru_cache(maxsize=32)
def _true_surface(source: bytes, spacing: float) -> SampledSurface:
    plain = msgspec.json.decode(source, type=Builtin)
    mesh = build(plain.generator, plain.params)
    return sampled_surface(mesh.vertices[mesh.corners[mesh.triangles()]].astype(np.float64), spacing)


def footprint(mesh: MeshData) -> Footprint:
    """Upright bounding cylinder of a normalised mesh, rounded up to 1e-4 so that it never cuts into the mesh."""
    points = mesh.vertices.astype(np.float64)
    radius = np.hypot(points[:, 0], points[:, 1]).max()
    return Footprint(radius=_up(radius), height=_up(points[:, 2].max()))


def _up(value: float) -> float:
    return float(np.ceil(value * 1e4 - 1e-3) / 1e4)


@lru_cache(maxsize=1)
def footprints() -> dict[str, Footprint]:
    """Footprint of every built-in mesh by uid."""
    table = json.loads(FOOTPRINTS.read_text("utf-8"))
    shipped = {uid: Footprint(radius=radius, height=height) for uid, (radius, height) in table.items()}
    return shipped | {"builtin/mesh/suzanne": SUZANNE_FOOTPRINT}


@lru_cache(maxsize=1)
def collision_shapes() -> dict[str, CollisionShape]:
    """Collision shape of every built-in mesh that numpy builds, by uid."""
    packed = lzma.decompress(COLLISION_SHAPES.read_bytes())
    return msgspec.msgpack.decode(packed, type=dict[str, CollisionShape])
