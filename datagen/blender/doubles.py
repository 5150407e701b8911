"""Faces that lie on another face of the same mesh, as exporters write them for surfaces with two sides.

A path tracer shades such a pair black in patches, since each half is in the shadow of the other, while the G-buffers
look right. One of the pair is enough: Cycles shows both sides of a face.
"""

from __future__ import annotations

from typing import Any

import bmesh
import numpy as np

_HASH = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
_NGON = 5
_MOST_NGONS = 4000


def drop_doubles(mesh: Any) -> int:
    """Remove the later one of two faces that cover the same area; return how many went.

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
