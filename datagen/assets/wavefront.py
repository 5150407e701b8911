"""A Wavefront OBJ and its MTL libraries checked without importing them, and Phong shininess as roughness.

Blender's importer opens whatever path a library or a map names, and turns shininess into `1 - sqrt(Ns / 1000)`, which
makes nearly everything dull. Sources: Wavefront OBJ/MTL format descriptions (Alias, appendices B1 and B2); the
exponent of Blinn-Phong as GGX width: Walter et al. 2007, section 5.2, `alpha = sqrt(2 / (Ns + 2))`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datagen.assets.asset_file import (
    DEFAULT_LIMITS,
    AssetError,
    AssetLimits,
    Inspection,
    check_file,
    file_size,
    inside,
    shown,
)
from datagen.assets.texture_images import check_header, constant_channels

_LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE)
_NOT_FINITE = re.compile(rb"^[ \t]*v[ \t][^\r\n]*(?:nan|inf)", re.MULTILINE | re.IGNORECASE)
_FACE = re.compile(rb"^[ \t]*f[ \t]", re.MULTILINE)
_USED = re.compile(rb"^[ \t]*usemtl[ \t]+([^\r\n]*)", re.MULTILINE)
_OPTION_VALUES = {"-bm": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3}
_NUMBERS = {"ns": "shininess", "pr": "roughness", "pm": "metallic", "d": "opacity"}
_MAPS = {  # the statements whose files Blender's importer opens
    *("map_kd", "map_ks", "map_ns", "map_d", "map_ke", "map_bump", "map_refl", "map_pr", "map_pm", "map_ps"),
    *("bump", "refl", "norm"),
}


@dataclass(frozen=True)
class Phong:
    """A material of an MTL library. `shininess` is Ns, `specular` Ks; None where the file does not say.

    `opacity` is `d` where the file has it (`dissolves`), else 1 - `Tr`; a `Tr` of 1 alone means opaque, as exporters
    of scans write it.
    """

    name: str
    shininess: float | None = None
    specular: tuple[float, ...] | None = None
    illumination: int | None = None
    roughness: float | None = None
    metallic: float | None = None
    opacity: float = 1.0
    dissolves: bool = False
    maps: tuple[tuple[str, str], ...] = ()

    @property
    def perceptual_roughness(self) -> float:
        """Roughness in [0, 1] as metallic-roughness means it, that is sqrt(alpha).

        `Pr` where the file has it. Otherwise alpha = sqrt(2 / (Ns + 2)) of the Blinn-Phong exponent, so Ns = 0 is 1,
        Ns = 96 (Blender's old default) 0.38 and Ns = 1000 0.21. Without a highlight (illum below 2, Ks black, or no
        Ns) it is 1: the surface shows none.
        """
        if self.roughness is not None:
            return min(max(self.roughness, 0.0), 1.0)
        dull = self.illumination in (0, 1) or (self.specular is not None and max(self.specular, default=0.0) <= 0.0)
        if dull or self.shininess is None:
            return 1.0
        return (2.0 / (min(max(self.shininess, 0.0), 1e6) + 2.0)) ** 0.25


@dataclass(frozen=True)
class Wavefront:
    """A checked .obj: `materials` are those of its libraries, in order; `used` the names of those that faces have."""

    path: Path
    materials: tuple[Phong, ...]
    used: frozenset[str]
    limits: AssetLimits

    @staticmethod
    def read(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> Wavefront:
        """Read the file and its libraries, and check everything but the maps.

        Raises AssetError with the first problem: unsupported-format, too-large, malformed, escapes-folder,
        missing-file, bad-geometry, no-geometry.
        """
        check_file(path, limits)
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            raise AssetError("malformed", "not a text file in an encoding of single bytes", where=path.name)
        faces = sum(1 for _ in _FACE.finditer(data))
        if faces == 0:
            raise AssetError("no-geometry", f"{path.name} has no faces")
        if faces > limits.polygons:
            raise AssetError("too-large", f"{path.name} has {faces} faces", f"the limit is {limits.polygons}")
        if _NOT_FINITE.search(data):
            raise AssetError("bad-geometry", "has coordinates that are not finite numbers", where=path.name)
        used = frozenset(name.strip().decode("utf-8", "replace") for name in _USED.findall(data))
        return Wavefront(path, _materials(_libraries(data, path.parent, limits)), used, limits)

    def inspection(self, *, decode: bool = False) -> Inspection:
        """What the file says about itself. `decode` also decodes every map: slower, finds broken ones.

        Raises AssetError: escapes-folder, missing-texture, bad-texture, too-large.
        """
        materials = [material for material in self.materials if material.name in self.used]
        for material in materials:
            for _, reference in material.maps:
                target = inside(self.path.parent, reference, "missing-texture")
                check_header(target, reference, self.limits)
                if decode:
                    constant_channels(target, reference, self.limits)
        kinds = {kind for material in materials for kind, _ in material.maps}
        specular = {(material.perceptual_roughness, material.metallic) for material in materials}
        return Inspection(
            format="obj",
            textured="map_kd" in kinds,
            constant_specular=len(specular) <= 1 and not kinds & {"map_ns", "map_pr", "map_pm"},
            animated=False,
            skinned=False,
            alpha="map_d" in kinds or any(material.opacity < 1.0 for material in materials),
        )


def _libraries(data: bytes, folder: Path, limits: AssetLimits) -> list[Path]:
    """MTL files that an OBJ names, checked. Raises AssetError: missing-file, escapes-folder, too-large."""
    found: dict[Path, None] = {}
    for line in _LIBRARY.findall(data):
        text = line.decode("utf-8", "replace").strip().strip('"')
        try:
            names = [inside(folder, text, "missing-file")]
        except AssetError as error:
            if error.reason != "missing-file" or len(text.split()) < 2:
                raise
            names = [inside(folder, one, "missing-file") for one in text.split()]
        for name in names:
            if file_size(name, shown(name.name)) > limits.json_bytes:
                raise AssetError("too-large", f"{shown(name.name)} is over {limits.json_bytes} bytes")
            found[name] = None
    return list(found)


def _materials(libraries: list[Path]) -> tuple[Phong, ...]:
    """Materials of all libraries, in order; numbers that do not parse count as absent."""
    materials: dict[str, Phong] = {}
    for library in libraries:
        current: Phong | None = None
        for line in library.read_text("utf-8", errors="replace").splitlines():
            keyword, _, rest = line.strip().partition(" ")
            keyword, rest = keyword.split("\t")[0].lower(), rest.strip() or line.strip().partition("\t")[2].strip()
            if keyword == "newmtl":
                current = Phong(rest)
            elif current is not None:
                current = _with(current, keyword, rest)
            if current is not None:
                materials[current.name] = current
    return tuple(materials.values())


def _with(material: Phong, keyword: str, rest: str) -> Phong:
    """Material with one more line of the library taken in."""
    if keyword in _MAPS:
        name = _map_name(rest)
        return replace(material, maps=(*material.maps, (keyword, name))) if name else material
    numbers = _numbers(rest.removeprefix("-halo "))
    changed: dict[str, Any] = {}
    if numbers and keyword in _NUMBERS:
        changed[_NUMBERS[keyword]] = numbers[0]
        changed["dissolves"] = material.dissolves or keyword == "d"
    elif numbers and keyword == "ks":
        changed["specular"] = numbers
    elif numbers and keyword == "tr" and not material.dissolves:
        changed["opacity"] = 1.0 - numbers[0] if numbers[0] < 1.0 else 1.0
    elif numbers and keyword == "illum":
        changed["illumination"] = int(numbers[0])
    return replace(material, **changed)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(number for number in map(float, text.split()) if abs(number) < 1e9)
    except ValueError:
        return ()


def _map_name(text: str) -> str:
    """File name of a map statement: what is left after its options (which may have fewer values than allowed)."""
    words = text.split(" ")
    while words and (words[0] == "" or words[0].startswith("-")):
        option = words.pop(0)
        for taken in range(_OPTION_VALUES.get(option, 1) if option else 0):
            if not words or (taken and not _numbers(words[0])):
                break
            words.pop(0)
    return " ".join(words).strip().strip('"')
