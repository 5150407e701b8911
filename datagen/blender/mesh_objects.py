"""Objects in Blender from a spec's meshes: generated ones, imported ones, the ground, and Blender's monkey."""

from __future__ import annotations

from typing import Any

import bmesh
import bpy
import numpy as np

from datagen.blender.importing import import_mesh
from datagen.resolver import Resolver
from scenes.meshes import build
from scenes.meshgen.surface import MeshData
from scenes.spec import Builtin, Source

_SUZANNE_LEVELS = 2


def make_object(source: Source, name: str, resolver: Resolver) -> Any:
    """Root object of a mesh in its normalised frame; its own pose is the identity, ready to be replaced."""
    if not isinstance(source, Builtin):
        return import_mesh(resolver.path(source)).root
    if source.generator == "suzanne":
        return suzanne()
    return build_mesh(build(source.generator, source.params), name)


def build_mesh(data: MeshData, name: str) -> Any:
    """Object of a `MeshData`, not yet linked to a scene; its UV layer is called "UVMap"."""
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(data.vertices))
    mesh.loops.add(len(data.corners))
    mesh.polygons.add(len(data.sizes))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(data.vertices, dtype=np.float32).ravel())
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(data.corners, dtype=np.int32))
    mesh.polygons.foreach_set("loop_start", data.starts().astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ascontiguousarray(data.smooth, dtype=bool))
    layer = mesh.uv_layers.new(name="UVMap")
    layer.uv.foreach_set("vector", np.ascontiguousarray(data.uvs, dtype=np.float32).ravel())
    mesh.update(calc_edges=True)
    return bpy.data.objects.new(name, mesh)


def ground_mesh(size: float) -> Any:
    """Square plane object at z = 0, `size` scene units per side; one UV unit is one scene unit."""
    half = size / 2
    square = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    data = MeshData(np.pad(square, ((0, 0), (0, 1))), np.arange(4), np.array([4]), square, np.array([False]))
    return build_mesh(data, "ground")


def suzanne() -> Any:
    """Blender's monkey, subdivided and smooth, in the normalised frame of `scenes.spec.Object`, looking along -y."""
    coarse = bpy.data.meshes.new("suzanne")
    shape = bmesh.new()
    bmesh.ops.create_monkey(shape, calc_uvs=True)
    shape.to_mesh(coarse)
    shape.free()
    obj = bpy.data.objects.new("suzanne", coarse)
    obj.modifiers.new("subdivision", "SUBSURF").levels = _SUZANNE_LEVELS
    bpy.context.scene.collection.objects.link(obj)
    obj.data = bpy.data.meshes.new_from_object(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    obj.modifiers.clear()
    bpy.context.scene.collection.objects.unlink(obj)
    obj.data.polygons.foreach_set("use_smooth", np.ones(len(obj.data.polygons), dtype=bool))
    _normalise(obj.data)
    return obj


def _normalise(mesh: Any) -> None:
    flat = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", flat)
    points = flat.reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    mesh.vertices.foreach_set("co", ((points - centre) / (high - low).max()).astype(np.float32).ravel())
    mesh.update()
