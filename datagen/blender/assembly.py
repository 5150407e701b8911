"""From a `SceneSpec` to a Blender scene: ground, objects, their materials, camera, and a world without light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import bmesh
import bpy
import msgspec
import numpy as np

from datagen.blender.importing import import_mesh
from datagen.blender.keyframes import add_camera, pose
from datagen.blender.material_aovs import instrument
from datagen.blender.material_nodes import PLAIN, build_material
from datagen.blender.world import World
from datagen.resolver import Resolver
from manifests.contract.camera import Camera
from manifests.contract.row import MaterialUse
from scenes import motion
from scenes.meshes import build
from scenes.meshgen.surface import MeshData
from scenes.spec import Builtin, Material, Native, SceneSpec, Source

GROUND_INSTANCE = 1
_SUZANNE_LEVELS = 2


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
    camera = Camera(motion.intrinsics(view, render), motion.camera_to_world(view, spec.frames))
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
    return assembled


def make_object(source: Source, name: str, resolver: Resolver) -> Any:
    """Root object of a mesh in its normalised frame; its own pose is the identity, ready to be replaced."""
    if not isinstance(source, Builtin):
        return import_mesh(resolver.path(source)).root
    if source.generator == "suzanne":
        return suzanne()
    return build_mesh(build(source.generator, source.params), name)


# --- materials -------------------------------------------------------------------------------------------------


class BlenderMaterials:
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


def set_materials(
    meshes: list[Any], material: Material, materials: BlenderMaterials, instance: int
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
                    slots[number] = materials.build(PLAIN)
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


# --- meshes ----------------------------------------------------------------------------------------------------


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
