"""From what an importer left in a scene to plain meshes in the normalised frame of `scenes.spec.Object`.

Modifiers, skins, shape keys, instances and parents are resolved into vertices as Blender evaluates them without any
animation, that is in the file's own pose: bounds of an unposed skin would be wrong, and a scale in a parent would
scale procedural textures too. Faces that cover another one go (`drop_doubles`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Matrix

from datagen.assets.asset_file import AssetError, AssetLimits
from scenes.spec import Footprint

_SURFACES = {"MESH", "CURVE", "SURFACE", "META", "FONT"}
_COLLISION = re.compile(r"(UCX|UBX|USP|UCP|MCDCX)_|.*[-_.](col|collision|collider)(only)?([._-]\d+)?$", re.IGNORECASE)
_FLAT = 1e-3
_HASH = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
_NGON = 5
_MOST_NGONS = 4000


@dataclass(frozen=True)
class Normalised:
    """Objects with single-user meshes and identity poses, in the normalised frame; `size` was the bounding box."""

    objects: tuple[Any, ...]
    footprint: Footprint
    size: tuple[float, float, float]
    polygons: int


def normalise(scene: Any, name: str, ignored: set[Any], limits: AssetLimits) -> Normalised:
    """Turn the surfaces of `scene` but the `ignored` objects into new objects, linked to no scene.

    Hidden objects and those named as collision shapes do not count; loose vertices and edges neither.
    Raises AssetError: no-geometry, bad-geometry, too-large.
    """
    _hold_still(scene)
    parts = list(_parts(scene, ignored, limits))
    if not parts:
        raise AssetError("no-geometry", "nothing in it has a visible surface", where=name)
    points = [_surface_points(mesh, matrix) for mesh, matrix in parts]
    if not all(np.isfinite(group).all() for group in points):
        raise AssetError("bad-geometry", "has coordinates that are not finite numbers", where=name)
    low = np.min([group.min(axis=0) for group in points], axis=0)
    high = np.max([group.max(axis=0) for group in points], axis=0)
    size = high - low
    longest = float(size.max())
    if not 1e-12 < longest < 1e12:
        raise AssetError("bad-geometry", f"its longest side is {longest:g}", where=name)
    if size[2] < _FLAT * longest:
        raise AssetError("bad-geometry", "it lies flat, with no height", where=name)
    middle = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    frame = np.diag([1 / longest, 1 / longest, 1 / longest, 1.0])
    frame[:3, 3] = -middle / longest
    radius = max(float(np.hypot(*(group - middle)[:, :2].T).max()) for group in points) / longest
    objects = []
    for mesh, matrix in parts:
        _transform(mesh, frame @ matrix)
        objects.append(bpy.data.objects.new(mesh.name, mesh))
    return Normalised(
        tuple(objects),
        Footprint(radius=max(radius, _FLAT), height=float(size[2]) / longest),
        (float(size[0]), float(size[1]), float(size[2])),
        sum(len(mesh.polygons) for mesh, _ in parts),
    )


def _hold_still(scene: Any) -> None:
    """Drop all animation and drivers, so that what is evaluated is the pose that the file itself holds."""
    for obj in scene.objects:
        obj.animation_data_clear()
        if obj.data is not None:
            obj.data.animation_data_clear()
        keys = getattr(obj.data, "shape_keys", None)
        if keys is not None:
            keys.animation_data_clear()


def _parts(scene: Any, ignored: set[Any], limits: AssetLimits) -> Iterator[tuple[Any, np.ndarray]]:
    """(single-user mesh with polygons, its matrix to the world) of every visible surface."""
    graph = bpy.context.evaluated_depsgraph_get()
    # The iterator's items are only valid until it moves on, so what is needed is noted first.
    found: list[tuple[Any, np.ndarray]] = []
    for instance in graph.object_instances:
        obj = instance.object
        original = obj.original
        if obj.type not in _SURFACES or original in ignored or original.hide_render or not instance.show_self:
            continue
        if _COLLISION.match(original.name) or (obj.data is not None and _COLLISION.match(obj.data.name)):
            continue
        found.append((original, np.array(instance.matrix_world)))
    total = 0
    for original, matrix in found:
        mesh = bpy.data.meshes.new_from_object(
            original.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph
        )
        total += len(mesh.polygons)
        if total > limits.polygons or len(found) > limits.nodes:
            raise AssetError("too-large", f"more than {limits.polygons} polygons or {limits.nodes} objects")
        if len(mesh.polygons):
            mesh.name = original.name
            drop_doubles(mesh)
            yield mesh, matrix


def _surface_points(mesh: Any, matrix: np.ndarray) -> np.ndarray:
    """(N, 3) float64 world positions of the vertices that polygons use."""
    points = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    corners = np.empty(len(mesh.loops), dtype=np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[corners] = True
    with np.errstate(all="ignore"):
        return points.reshape(-1, 3)[used].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def _transform(mesh: Any, matrix: np.ndarray) -> None:
    """Move the mesh's vertices by a 4x4 matrix; normals keep standing as they did on the surface.

    `Mesh.transform` keeps custom normals under rotation and uniform scale only, so elsewhere they are set anew from
    the inverse transpose. A mirroring matrix also turns the faces' sides.
    """
    linear = matrix[:3, :3]
    gram = linear.T @ linear
    similar = np.allclose(gram, np.eye(3) * gram[0, 0], rtol=1e-4, atol=1e-4 * gram[0, 0])
    mirrored = np.linalg.det(linear) < 0
    if not mesh.has_custom_normals or (similar and not mirrored):
        mesh.transform(Matrix(matrix.tolist()))
        if mirrored:
            mesh.flip_normals()
        mesh.update()
        return
    normals = np.empty(len(mesh.loops) * 3, dtype=np.float32)
    mesh.corner_normals.foreach_get("vector", normals)
    turned = normals.reshape(-1, 3) @ np.linalg.pinv(linear)
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-20)
    mesh.transform(Matrix(matrix.tolist()))
    if mirrored:
        turned = turned[_reversed_corners(mesh)]
        mesh.flip_normals()
    mesh.normals_split_custom_set(turned.tolist())
    mesh.update()


def _reversed_corners(mesh: Any) -> np.ndarray:
    """Old index of each corner once the faces' sides are turned, which keeps each face's first corner."""
    starts = np.empty(len(mesh.polygons), dtype=np.int32)
    counts = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("loop_start", starts)
    mesh.polygons.foreach_get("loop_total", counts)
    start, count = np.repeat(starts, counts), np.repeat(counts, counts)
    place = np.arange(len(mesh.loops)) - start
    return start + (-place) % count


# --- faces that are there twice ------------------------------------------------------------------------------


def drop_doubles(mesh: Any) -> int:
    """Remove the later one of two faces that cover the same area; return how many went.

    Exporters write such pairs for surfaces with two sides. A path tracer shades them black in patches, since each face
    is in the shadow of the other, while the G-buffers look right. One is enough: Cycles shows both sides of a face.

    Found are faces with the very same corner positions, in any order, and faces of five or more corners with the same
    outline whatever points along it are named.
    """
    doubled = _same_corners(mesh) | _same_outline(mesh)
    if doubled:
        edited = bmesh.new()
        edited.from_mesh(mesh)
        edited.faces.ensure_lookup_table()
        bmesh.ops.delete(edited, geom=[edited.faces[index] for index in sorted(doubled)], context="FACES_ONLY")
        edited.to_mesh(mesh)
        edited.free()
    return len(doubled)


def _same_corners(mesh: Any) -> set[int]:
    """Faces whose set of corner positions an earlier face has, by a 64-bit hash of the positions' bits."""
    points = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    corners = np.empty(len(mesh.loops), dtype=np.int32)
    starts = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.vertices.foreach_get("co", points)
    mesh.loops.foreach_get("vertex_index", corners)
    mesh.polygons.foreach_get("loop_start", starts)
    bits = (points.reshape(-1, 3) + np.float32(0)).view(np.uint32).astype(np.uint64)  # + 0: there are two zeros
    mixed = bits @ _HASH
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _HASH[0]
    keys = np.add.reduceat(mixed[corners], starts)  # a sum, so it does not matter where and which way a face starts
    _, first = np.unique(keys, return_index=True)
    return set(np.setdiff1d(np.arange(len(keys)), first).tolist())


def _same_outline(mesh: Any) -> set[int]:
    """Polygons of five or more corners that share plane, area and the outline's centre with an earlier one."""
    counts = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("loop_total", counts)
    ngons = np.flatnonzero(counts >= _NGON)
    if not 2 <= len(ngons) <= _MOST_NGONS:
        return set()
    centres = np.array([_outline_centre(mesh, mesh.polygons[index]) for index in ngons])
    normals = np.array([mesh.polygons[index].normal for index in ngons])
    areas = np.array([mesh.polygons[index].area for index in ngons])
    found: set[int] = set()
    for index in range(1, len(ngons)):
        near = np.linalg.norm(centres[:index] - centres[index], axis=1) < 1e-4 * np.sqrt(areas[index])
        alike = np.abs(areas[:index] - areas[index]) < 1e-4 * areas[index]
        parallel = np.abs(normals[:index] @ normals[index]) > 0.9999
        if (near & alike & parallel).any():
            found.add(int(ngons[index]))
    return found


def _outline_centre(mesh: Any, polygon: Any) -> np.ndarray:
    """(3,) mean of the outline weighted by length, so that points in the middle of an edge change nothing."""
    points = np.array([mesh.vertices[index].co for index in polygon.vertices])
    following = np.roll(points, -1, axis=0)
    lengths = np.linalg.norm(following - points, axis=1)
    return np.average((points + following) / 2, axis=0, weights=lengths if lengths.any() else None)
