"""The built-in materials as pure data: drawn from the procedural families, drawn constants, and measured constants.

The list is the same on every machine and for every release that does not change a family: each material is drawn from
a generator seeded with its family's name and its number, so asking for more of them never changes the first ones.

The measured constants are the 110 of the PhysicallyBased database (CC0), as metallic-roughness constants;
`benchmarks/make_measured_materials.py` regenerates `scenes/data/measured_materials.json`. Colours are linear Rec.709
and used as published, save that values above 1 (gold's red, 1.059, is outside the Rec.709 gamut) are clipped to 1,
because a base colour must be a reflectance.
"""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import msgspec
import numpy as np

from manifests.errors import SpecError
from scenes.palettes import metal, paint
from scenes.procedural_materials import MATERIAL_FAMILIES, draw_procedural
from scenes.spec import Principled, Procedural, SpecData

PER_FAMILY = 200
CONSTANTS = 200
_METAL_IOR = 1.5  # Principled's default; a metal's reflectance is its base colour
_INVISIBLE_IOR = 1.0  # the database's soap bubble: without its film's interference there is nothing to see


@dataclass(frozen=True)
class BuiltinMaterial:
    """One entry of the built-in list.

    `roles` says what it may cover: "any" (objects, primitives and the ground) or "object" and "primitive" only.
    `flags`: "constant" (does not vary over the surface), "transmission" (light passes through it).
    """

    material: Principled | Procedural
    licence: str = "Apache-2.0"
    author: str = "Lightloom contributors"
    url: str = ""
    roles: tuple[str, ...] = ("any",)
    flags: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """The material's uid."""
        return self.material.uid


def builtin_materials(per_family: int = PER_FAMILY, constants: int = CONSTANTS) -> tuple[BuiltinMaterial, ...]:
    """The list: `per_family` materials of every family, `constants` random constants, and the measured constants.

    The soap bubble of the measured database is left out: as a plain surface of IOR 1 it cannot be seen.
    """
    entries: list[BuiltinMaterial] = []
    for family, kind in MATERIAL_FAMILIES.items():
        roles = ("any",) if kind.ground else ("object", "primitive")
        for number in range(per_family):
            material = sample_procedural(family, _generator(family, number), f"builtin/{family}/{number:04d}")
            entries.append(BuiltinMaterial(material, roles=roles))
    for number in range(constants):
        constant = sample_constant(_generator("constant", number), f"builtin/constant/{number:04d}")
        entries.append(BuiltinMaterial(constant, flags=("constant",)))
    for measured in measured_materials():
        if measured.transmission and measured.ior == _INVISIBLE_IOR:
            continue
        clear = measured.transmission > 0
        entries.append(
            BuiltinMaterial(
                measured.material(),
                licence="CC0-1.0",
                author="Anton Palmqvist (PhysicallyBased)",
                url="https://physicallybased.info",
                roles=("object", "primitive") if clear else ("any",),
                flags=("constant", "transmission") if clear else ("constant",),
            )
        )
    return tuple(entries)


def sample_procedural(family: str, rng: np.random.Generator, uid: str) -> Procedural:
    """A random material of `family`; SpecError names the families when it is none of them."""
    if family not in MATERIAL_FAMILIES:
        raise SpecError(f"no material family {family!r}", f"there are {', '.join(MATERIAL_FAMILIES)}")
    size, params = draw_procedural(family, rng)
    return Procedural(uid=uid, family=family, size=size, params=params)


def sample_constant(rng: np.random.Generator, uid: str) -> Principled:
    """A constant material: one third metals, roughness U(0, 1)^2-like so that glossy ones are frequent."""
    is_metal = bool(rng.random() < 1 / 3)
    return Principled(
        uid=uid,
        basecolor=metal(rng) if is_metal else paint(rng),
        roughness=round(float(0.03 + 0.92 * rng.random() ** 1.5), 4),
        metallic=float(is_metal),
    )


def _generator(name: str, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), number])


# --- measured constants ------------------------------------------------------------------------------------------


class MeasuredMaterial(SpecData, frozen=True, kw_only=True):
    """One entry of the database: colour linear Rec.709, scalars as published; `ior` is absent for metals."""

    name: str
    category: Literal["Metal", "Manmade", "Liquid", "Organic", "Human", "Crystal", "Plastic"]
    color: tuple[float, float, float]
    metalness: float
    roughness: float
    ior: float | None
    transmission: float

    @property
    def uid(self) -> str:
        """Stable identifier made from the name."""
        return "builtin/measured/" + re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def material(self) -> Principled:
        """The entry as a material of a scene."""
        red, green, blue = (min(max(value, 0.0), 1.0) for value in self.color)
        return Principled(
            uid=self.uid,
            basecolor=(red, green, blue),
            roughness=self.roughness,
            metallic=self.metalness,
            ior=self.ior or _METAL_IOR,
            transmission=self.transmission,
        )


class _Database(msgspec.Struct):
    materials: tuple[MeasuredMaterial, ...]


@functools.cache
def measured_materials() -> tuple[MeasuredMaterial, ...]:
    """All entries in the order of the database; the file's `source` says where the figures come from."""
    data = resources.files("scenes").joinpath("data/measured_materials.json").read_bytes()
    return msgspec.json.decode(data, type=_Database).materials
