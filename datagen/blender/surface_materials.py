"""Materials of a scene in Blender: each built and instrumented once, given to meshes; their shares of the surface."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from datagen.blender.material_aovs import instrument
from datagen.blender.material_nodes import PLAIN, build_material
from datagen.resolver import Resolver
from manifests.contract.row import MaterialUse
from scenes.spec import Material, Native


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
