"""The built-in provider: what needs no download. Blender's own CC0 environment maps (they come with bpy), physical
skies, photo studios, procedural meshes and the built-in materials.

The list depends on the code and on the installed bpy alone. Rows of a family are numbered and each is drawn from
its own number, so a longer list never changes the rows before.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scenes.builtin_materials import builtin_materials
from scenes.catalogue import Asset, Catalogue, Kind, Split, assign_split, installed_roots
from scenes.meshes import SUZANNE, footprints
from scenes.meshgen.composites import COMPOSITES
from scenes.meshgen.rocks import ROCK_STYLES
from scenes.meshgen.turned import LATHE_STYLES
from scenes.spec import Builtin, File, Value

SKIES = 192
STUDIOS = 256
_MAPS = "studiolights/world"
# File name in bpy: the place's name at Poly Haven, which is what the split goes by (bpy's license.txt).
_PLACES = {
    "city": "portland_landing_pad",
    "courtyard": "courtyard",
    "forest": "ninomaru_teien",
    "interior": "hotel_room",
    "night": "moonless_golf",
    "studio": "studio_small_01",
    "sunrise": "spruit_sunrise",
    "sunset": "venice_sunset",
}
# Shapes that everybody knows: every split may use them.
_PLAIN: dict[str, tuple[str, dict[str, Value]]] = {
    "cube": ("box", {"x": 1.0, "y": 1.0, "z": 1.0}),
    "rounded_cube": ("rounded_box", {"x": 1.0, "y": 1.0, "z": 1.0, "radius": 0.08}),
    "sphere": ("ellipsoid", {"x": 1.0, "y": 1.0, "z": 1.0, "segments": 64}),
    "cylinder": ("frustum", {"low": 0.5, "high": 0.5, "height": 1.0}),
    "cone": ("frustum", {"low": 0.5, "high": 0.0, "height": 1.0}),
    "torus": ("torus", {"major": 0.35, "minor": 0.15}),
    "capsule": ("capsule", {"radius": 0.25, "height": 1.0}),
    "prism": ("regular_prism", {"sides": 6, "radius": 0.5, "height": 0.9}),
    "pyramid": ("pyramid", {"sides": 4, "radius": 0.7, "height": 0.9}),
    "wedge": ("wedge", {"x": 1.0, "y": 0.7, "z": 0.6}),
}
_VARIANTS = 6
_SIDES: dict[str, float | tuple[float, float]] = {"x": (0.4, 1.0), "y": (0.4, 1.0), "z": (0.3, 1.0)}
# Parameters of their variants: a number, or the range it is drawn from.
_VARIED: dict[str, dict[str, float | tuple[float, float]]] = {
    "cube": _SIDES,
    "rounded_cube": _SIDES | {"radius": (0.02, 0.2), "segments": 4},
    "sphere": _SIDES | {"segments": 64},
    "cylinder": {"low": 0.5, "high": 0.5, "height": (0.2, 2.5), "bevel": (0.01, 0.08)},
    "cone": {"low": 0.5, "high": (0.0, 0.4), "height": (0.4, 1.8), "bevel": (0.01, 0.05)},
    "torus": {"major": 0.5, "minor": (0.06, 0.24)},
    "capsule": {"radius": 0.25, "height": (0.6, 2.0)},
    "prism": {"sides": (3, 10), "radius": 0.5, "height": (0.2, 1.8)},
    "pyramid": {"sides": (3, 7), "radius": 0.6, "height": (0.4, 1.4)},
    "wedge": _SIDES,
}
_ROWS = {
    "superquadric": 40,
    "supertoroid": 24,
    "knot": 32,
    "tube": 24,
    "spring": 16,
    "shell": 24,
    "extrusion": 40,
    "crystal": 20,
    "gear": 28,
    "bolt": 20,
    "fitting": 24,
}
_STYLED_ROWS = {"lathe": (16, LATHE_STYLES), "rock": (12, ROCK_STYLES), "composite": (14, tuple(COMPOSITES))}


def builtin_catalogue() -> Catalogue:
    """Everything that needs no download; the maps are left out where bpy is not installed."""
    roots = installed_roots()
    return Catalogue((*_environments(roots.get("bpy")), *_meshes(), *_materials()), roots)


def builtin_environments() -> Catalogue:
    """The lights of that alone, which cost no time to list."""
    roots = installed_roots()
    return Catalogue(tuple(_environments(roots.get("bpy"))), roots)


def mesh_sources() -> Iterator[tuple[Builtin, str, Split]]:
    """Source, role and split of every built-in mesh that numpy builds, in a fixed order."""
    for name, (generator, params) in _PLAIN.items():
        yield Builtin(uid=f"builtin/mesh/{name}", generator=generator, params=params), "primitive", "all"
    for name, (generator, _) in _PLAIN.items():
        for number in range(_VARIANTS):
            uid = f"builtin/mesh/{name}/{number:04d}"
            params = _variant(name, np.random.default_rng([zlib.crc32(name.encode()), number]))
            yield Builtin(uid=uid, generator=generator, params=params), "primitive", assign_split(uid)
    for family, count in _ROWS.items():
        for number in range(count):
            uid = f"builtin/mesh/{family}/{number:04d}"
            yield Builtin(uid=uid, generator=family, params={"seed": number}), "object", assign_split(uid)
    for family, (count, styles) in _STYLED_ROWS.items():
        for style in styles:
            for number in range(count):
                uid = f"builtin/mesh/{family}/{style}/{number:04d}"
                source = Builtin(uid=uid, generator=family, params={"seed": number, "style": style})
                yield source, "object", assign_split(uid)


def _variant(name: str, rng: np.random.Generator) -> dict[str, Value]:
    """Parameters of a stretched, flattened or differently rounded plain shape."""
    made: dict[str, Value] = {}
    for field, value in _VARIED[name].items():
        low, high = value if isinstance(value, tuple) else (value, value)
        drawn = low + (high - low) * float(rng.random())
        made[field] = int(drawn) if field in ("sides", "segments") else round(drawn, 3)
    return made


def _ours(uid: str, kind: Kind, **facts: Any) -> Asset:
    """An asset that our own code makes, unless `facts` say otherwise."""
    plain = {"provider": "builtin", "licence": "Apache-2.0", "author": "Lightloom contributors"}
    return Asset(**(plain | {"uid": uid, "kind": kind, "split": assign_split(uid)} | facts))


@lru_cache(maxsize=1)
def _meshes() -> tuple[Asset, ...]:
    measured = footprints()
    uid = "builtin/mesh/suzanne"
    suzanne = _ours(
        uid,
        "mesh",
        licence="GPL-2.0-or-later",  # its vertices are part of Blender's source
        author="Willem-Paul van Overbruggen",
        url="https://www.blender.org",
        roles=("object",),
        mesh=Builtin(uid=uid, generator=SUZANNE),
        footprint=measured[uid],
    )
    made = (
        _ours(source.uid, "mesh", split=split, roles=(role,), mesh=source, footprint=measured[source.uid])
        for source, role, split in mesh_sources()
    )
    return (suzanne, *made)


@lru_cache(maxsize=1)
def _materials() -> tuple[Asset, ...]:
    return tuple(
        _ours(
            entry.uid,
            "material",
            licence=entry.licence,
            author=entry.author,
            url=entry.url,
            roles=entry.roles,
            material=entry.material,
            flags=entry.flags,
        )
        for entry in builtin_materials()
    )


def _environments(bpy_root: Path | None) -> Iterator[Asset]:
    if bpy_root is not None:
        yield from _maps(bpy_root)
    for number in range(SKIES):
        rng = np.random.default_rng([zlib.crc32(b"sky"), number])
        yield _generated("sky", number, _sky(rng))
    for number in range(STUDIOS):
        yield _generated("studio", number, {"seed": number})


def _generated(generator: str, number: int, params: dict[str, Value]) -> Asset:
    uid = f"builtin/environment/{generator}/{number:04d}"
    return _ours(uid, "environment", place=uid, environment=Builtin(uid=uid, generator=generator, params=params))


def _sky(rng: np.random.Generator) -> dict[str, Value]:
    """Parameters of Blender's multiple-scattering sky: all times of day, thin to hazy air, a few veiled suns."""

    def draw(low: float, high: float, power: float = 1.0) -> float:
        return round(low + (high - low) * float(rng.random()) ** power, 3)

    veiled = rng.random() < 0.2
    return {
        "sun_elevation": draw(1.0, 80.0, 1.3),
        "sun_size": draw(1.0, 8.0, 2.0) if veiled else 0.545,
        "sun_intensity": draw(0.02, 0.3) if veiled else draw(0.4, 1.0),
        "altitude": draw(0.0, 4000.0, 3.0),
        "air_density": draw(0.5, 2.5),
        "aerosol_density": draw(0.1, 6.0, 2.0),
        "ozone_density": draw(0.3, 3.0),
    }


def _maps(root: Path) -> Iterator[Asset]:
    for name, place in _PLACES.items():
        path = root / _MAPS / f"{name}.exr"
        if not path.is_file():
            continue
        uid, sha256 = f"builtin/environment/{place}", hashlib.sha256(path.read_bytes()).hexdigest()
        yield _ours(
            uid,
            "environment",
            licence="CC0-1.0",
            author="Greg Zaal (Poly Haven)",
            url=f"https://polyhaven.com/a/{place}",
            sha256=sha256,
            place=place,
            split=assign_split(place),
            environment=File(uid=uid, provider="bpy", path=f"{_MAPS}/{name}.exr", sha256=sha256),
        )
