"""The registry of a setting's pieces: mesh generators in scene units and in place, and generators of copies' poses.

Everything is numpy and depends on the parameters alone. The families of `scenes.meshes` serve too, in their normalised
frame, which suits copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from manifests.errors import SpecError
from scenes.meshes import MESH_FAMILIES, PRIMITIVES, build, by_name
from scenes.meshgen.surface import MeshData
from scenes.settings import facade_meshes, plant_meshes, road_meshes, street_meshes, terrain_meshes, vehicle_meshes
from scenes.settings.copy_poses import fixed_poses, ring_poses
from scenes.settings.furniture_meshes import FURNITURE_PIECES
from scenes.settings.interior_meshes import INTERIOR_PIECES
from scenes.settings.scattering import scatter
from scenes.spec import Value

PIECES: dict[str, Callable[..., MeshData]] = {
    **INTERIOR_PIECES,
    **FURNITURE_PIECES,
    **by_name(terrain_meshes.land_surface, terrain_meshes.water_surface),
    **by_name(plant_meshes.tuft, plant_meshes.stalk, plant_meshes.blossom, plant_meshes.log),
    **by_name(plant_meshes.broadleaf_wood, plant_meshes.broadleaf_leaves),
    **by_name(plant_meshes.conifer_wood, plant_meshes.conifer_needles),
    **by_name(road_meshes.land, road_meshes.road, road_meshes.strips, road_meshes.covers),
    **by_name(road_meshes.pavements, road_meshes.kerbs, road_meshes.markings),
    **by_name(facade_meshes.building, vehicle_meshes.car, street_meshes.street_thing),
}
COPIES: dict[str, Callable[..., np.ndarray]] = by_name(scatter, fixed_poses, ring_poses)


def build_piece(generator: str, params: Mapping[str, Value]) -> MeshData:
    """Mesh of a piece, float32, in scene units and in place; SpecError for an unknown generator or wrong parameters."""
    if generator in PRIMITIVES or generator in MESH_FAMILIES:
        return build(generator, params)
    mesh = _call(PIECES, generator, params)
    return MeshData(
        mesh.vertices.astype(np.float32),
        mesh.corners.astype(np.int32),
        mesh.sizes.astype(np.int32),
        mesh.uvs.astype(np.float32),
        mesh.smooth.astype(bool),
    )


def copy_poses(generator: str, params: Mapping[str, Value]) -> np.ndarray:
    """Poses (N, 4, 4), scale included, of a piece's copies; SpecError as `build_piece`."""
    return np.asarray(_call(COPIES, generator, params), dtype=np.float64)


def _call[T](registry: Mapping[str, Callable[..., T]], generator: str, params: Mapping[str, Value]) -> T:
    function = registry.get(generator)
    if function is None:
        raise SpecError(f"no generator of setting pieces {generator!r}", f"there are {', '.join(registry)}")
    try:
        return function(**params)
    except (TypeError, KeyError, ValueError) as error:
        raise SpecError(f"generator {generator!r} does not take {dict(params)}: {error}") from None
