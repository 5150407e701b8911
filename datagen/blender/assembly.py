"""From a `SceneSpec` to a Blender scene: ground, objects, their materials, camera, and a world without light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec import UNSET

from datagen.blender.keyframes import add_camera, pose
from datagen.blender.mesh_objects import ground_mesh, make_object
from datagen.blender.setting_pieces import build_setting
from datagen.blender.surface_materials import BlenderMaterials, set_materials
from datagen.blender.world import World
from datagen.resolver import Resolver
from manifests.contract.camera import Camera
from manifests.contract.row import MaterialUse
from scenes import motion
from scenes.spec import SceneSpec

GROUND_INSTANCE = 1


@dataclass
class Assembled:
    """A scene that is ready but for its light.

    `shares` says by instance which materials its surface shows and in which shares (of mesh area, adding up to 1);
    `poses` (T, 4, 4) where it is in the world, of every instance that may move.
    """

    camera: Camera
    world: World
    shares: dict[int, list[tuple[MaterialUse, float]]] = field(default_factory=dict)
    poses: dict[int, np.ndarray] = field(default_factory=dict)


def assemble(scene: Any, spec: SceneSpec, resolver: Resolver) -> Assembled:
    """Build ground, objects, camera and an unlit world in `scene`; raises RenderError for assets that are no good."""
    view, render = spec.view, spec.render
    camera = motion.camera_of(view, render, spec.frames)
    add_camera(scene, camera, render.height, render.width)
    assembled = Assembled(camera, World(scene, render.importance_width))
    materials = BlenderMaterials(resolver, render.geometric_normal)
    if spec.ground is not None:
        ground = ground_mesh(spec.ground.size)
        scene.collection.objects.link(ground)
        assembled.shares[GROUND_INSTANCE] = set_materials([ground], spec.ground.material, materials, GROUND_INSTANCE)
    for obj in spec.objects:
        root = make_object(obj.mesh, obj.name, resolver)
        meshes = [part for part in (root, *root.children_recursive) if part.type == "MESH"]
        for part in (root, *root.children_recursive):
            if not part.users_scene:
                scene.collection.objects.link(part)
        assembled.poses[obj.instance] = motion.object_to_world(obj, spec.frames)
        pose(root, assembled.poses[obj.instance])
        assembled.shares[obj.instance] = set_materials(meshes, obj.material, materials, obj.instance)
    if spec.setting is not UNSET:
        build_setting(scene, spec.setting, materials, assembled.shares)
    return assembled
