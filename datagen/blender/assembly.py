"""From a `SceneSpec` to a Blender scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from datagen.blender.camera import add_camera
from datagen.blender.geometry import build_mesh, ground_mesh, suzanne
from datagen.blender.importing import import_mesh
from datagen.blender.materials import build_material
from datagen.blender.poses import pose
from datagen.blender.walker import instrument
from datagen.blender.world import World
from datagen.resolver import Resolver
from manifests.camera import Camera
from manifests.row import MaterialUse
from scenes import motion
from scenes.meshes import build
from scenes.spec import Builtin, Material, Native, Principled, SceneSpec, Source

GROUND_INSTANCE = 1
_PLAIN = Principled(uid="default", basecolor=(0.8, 0.8, 0.8), roughness=0.5, metallic=0.0)  # of slots without one


@dataclass
class Assembled:
    """A scene that is ready but for its light.

    `shares` says by instance which materials its surface shows and in which shares (of mesh area, adding up to 1).
    """

    camera: Camera
    world: World
    shares: dict[int, list[tuple[MaterialUse, float]]] = field(default_factory=dict)


class Materials:
    """The materials of one scene, each built and instrumented once."""

    def __init__(self, resolver: Resolver, geometric_normal: bool) -> None:
        self._resolver = resolver
        self._geometric_normal = geometric_normal
        self._built: dict[bytes, Any] = {}
        self._uses: dict[int, MaterialUse] = {}

    def build(self, material: Material) -> Any:
        """Blender material of a spec's material."""
        key = msgspec.json.encode(material, order="deterministic")
        if key not in self._built:
            self._built[key] = build_material(material, self._resolver)
        return self._built[key]

    def use(self, block: Any) -> MaterialUse:
        """Give a Blender material its AOV outputs; return how its parameters were resolved."""
        if block.session_uid not in self._uses:
            self._uses[block.session_uid] = instrument(block, want_geometric_normal=self._geometric_normal)
        return self._uses[block.session_uid]


def assemble(scene: Any, spec: SceneSpec, resolver: Resolver) -> Assembled:
    """Build ground, objects, camera and an unlit world in `scene`; raises RenderError for assets that are no good."""
    view, render = spec.view, spec.render
    camera = Camera(motion.intrinsics(view, render), motion.camera_to_world(view, spec.frames))
    add_camera(scene, camera, render.height, render.width)
    assembled = Assembled(camera, World(scene, render.importance_width))
    materials = Materials(resolver, render.geometric_normal)
    if spec.ground is not None:
        ground = ground_mesh(spec.ground.size)
        scene.collection.objects.link(ground)
        assembled.shares[GROUND_INSTANCE] = dress([ground], spec.ground.material, materials, GROUND_INSTANCE)
    for obj in spec.objects:
        root = make_object(obj.mesh, obj.name, resolver)
        meshes = [part for part in (root, *root.children_recursive) if part.type == "MESH"]
        for part in (root, *root.children_recursive):
            if not part.users_scene:
                scene.collection.objects.link(part)
        pose(root, motion.object_to_world(obj, spec.frames))
        assembled.shares[obj.instance] = dress(meshes, obj.material, materials, obj.instance)
    return assembled


def make_object(source: Source, name: str, resolver: Resolver) -> Any:
    """Root object of a mesh in its normalised frame; its own pose is the identity, ready to be replaced."""
    if not isinstance(source, Builtin):
        return import_mesh(resolver.path(source)).root
    if source.generator == "suzanne":
        return suzanne()
    return build_mesh(build(source.generator, source.params), name)


def dress(
    meshes: list[Any], material: Material, materials: Materials, instance: int
) -> list[tuple[MaterialUse, float]]:
    """Give the meshes of one object their index and materials; return the shares of the mesh area by material."""
    areas: dict[str, tuple[MaterialUse, float]] = {}
    for mesh in meshes:
        mesh.pass_index = instance
        slots = mesh.data.materials
        if not isinstance(material, Native):
            slots.clear()
            slots.append(materials.build(material))
        else:
            if not slots:
                slots.append(None)
            for number, block in enumerate(slots):  # faces without a material would have no attributes
                if block is None:
                    slots[number] = materials.build(_PLAIN)
        for block, area in zip(slots, _slot_areas(mesh.data), strict=True):
            use = materials.use(block)
            areas[use.name] = use, areas.get(use.name, (use, 0.0))[1] + area
    total = sum(area for _, area in areas.values()) or 1.0
    return [(use, area / total) for use, area in areas.values()]


def _slot_areas(mesh: Any) -> list[float]:
    """Polygon area, in the mesh's own units, of each material slot; polygons beyond the last slot belong to it."""
    if len(mesh.materials) == 1:
        return [1.0]
    slots = np.zeros(len(mesh.polygons), dtype=np.int32)
    areas = np.zeros(len(mesh.polygons), dtype=np.float32)
    mesh.polygons.foreach_get("material_index", slots)
    mesh.polygons.foreach_get("area", areas)
    count = len(mesh.materials)
    return np.bincount(np.minimum(slots, count - 1), weights=areas, minlength=count).tolist()
