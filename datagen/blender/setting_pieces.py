"""A scene's setting in Blender: its pieces, copies of which share one datablock, and the portals of a room."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from msgspec import UNSET

from datagen.blender.mesh_objects import build_mesh
from datagen.blender.surface_materials import BlenderMaterials, set_materials
from manifests.contract.row import MaterialUse
from scenes.meshgen.surface import MeshData
from scenes.settings.pieces import build_piece, copy_poses
from scenes.spec import Portal, Setting

Shares = dict[int, list[tuple[MaterialUse, float]]]


def build_setting(scene: Any, setting: Setting, materials: BlenderMaterials, shares: Shares) -> None:
    """Build all pieces and portals in `scene`; add each instance's materials by share of area to `shares`."""
    areas: Shares = {}
    for piece in setting.pieces:
        mesh = build_piece(piece.mesh.generator, piece.mesh.params)
        poses = [np.eye(4)] if piece.copies is UNSET else copy_poses(piece.copies.generator, piece.copies.params)
        if not len(poses) or not len(mesh.sizes):
            continue
        first = build_mesh(mesh, piece.name)
        [(use, _)] = set_materials([first], setting.material_of(piece), materials, piece.instance)
        for number, pose in enumerate(poses):
            copy = first if number == 0 else bpy.data.objects.new(piece.name, first.data)
            copy.pass_index = piece.instance
            copy.matrix_world = Matrix(pose.tolist())
            scene.collection.objects.link(copy)
        scaled = float(sum(abs(np.linalg.det(pose[:3, :3])) ** (2 / 3) for pose in poses))
        areas.setdefault(piece.instance, []).append((use, _area(mesh) * scaled))
    for instance, parts in areas.items():
        total = sum(area for _, area in parts) or 1.0
        shares[instance] = [(use, area / total) for use, area in parts]
    for portal in setting.portals:
        _add_portal(scene, portal)


def _area(mesh: MeshData) -> float:
    corners = mesh.vertices[mesh.corners[mesh.triangles()]].astype(np.float64)
    sides = corners[:, 1:] - corners[:, :1]
    return float(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2)


def _add_portal(scene: Any, portal: Portal) -> None:
    lamp = bpy.data.lights.new("portal", "AREA")
    lamp.shape, (lamp.size, lamp.size_y) = "RECTANGLE", portal.size
    lamp.cycles.is_portal = True
    obj = bpy.data.objects.new("portal", lamp)
    # An area light shines along its own -z; its x stays level.
    turn = np.radians(portal.yaw)
    along, level = np.array([np.cos(turn), np.sin(turn), 0.0]), np.array([-np.sin(turn), np.cos(turn), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = level, np.cross(-along, level), -along, portal.centre
    obj.matrix_world = Matrix(pose.tolist())
    scene.collection.objects.link(obj)
