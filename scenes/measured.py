"""The 110 measured material constants of the PhysicallyBased database (CC0), as metallic-roughness constants.

`scenes/data/measured_materials.json` says where the figures come from; `benchmarks/make_measured_materials.py`
regenerates it. Colours are linear Rec.709 and used as published, save that values above 1 (gold's red, 1.059, is
outside the Rec.709 gamut) are clipped to 1, because a base colour must be a reflectance.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Literal

import msgspec

from scenes.spec import Data, Principled

_METAL_IOR = 1.5  # Principled's default; a metal's reflectance is its base colour


class Measured(Data, frozen=True, kw_only=True):
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


class _Document(msgspec.Struct):
    source: dict[str, str]
    materials: tuple[Measured, ...]


@functools.cache
def _document() -> _Document:
    data = resources.files("scenes").joinpath("data/measured_materials.json").read_bytes()
    return msgspec.json.decode(data, type=_Document)


def measured_materials() -> tuple[Measured, ...]:
    """All entries in the order of the database."""
    return _document().materials


def provenance() -> dict[str, str]:
    """Where the figures come from: database, url, licence, package, version, sha256."""
    return dict(_document().source)
