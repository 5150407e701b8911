"""A Wavefront OBJ and its MTL libraries checked without importing them, and Phong shininess as roughness.

Blender's importer opens whatever path a library or a map names, and turns shininess into `1 - sqrt(Ns / 1000)`, which
makes nearly everything dull. Sources: Wavefront OBJ/MTL format descriptions (Alias, appendices B1 and B2); the
exponent of Blinn-Phong as GGX width: Walter et al. 2007, section 5.2, `alpha = sqrt(2 / (Ns + 2))`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
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
_SUSPECT = re.compile(
    rb"^[ \t]*v[ \t][^\r\n]*(?:nan|in[fd]|e\+?0*(?:3[89]|[4-9]\d|[1-9]\d\d)|[1-9]\d{38})[^\r\n]*",
    re.MULTILINE | re.IGNORECASE,
)
_COLOURED = re.compile(rb"^[ \t]*v(?:[ \t]+[-+.\deE]+){6,7}[ \t]*\r?$|^#MRGB ", re.MULTILINE)
_DISPLAY = re.compile(rb"^#.*\b(?:blender|meshlab|cloudcompare)\b", re.MULTILINE | re.IGNORECASE)
_BLENDER = re.compile(r"# Blender \d+\.\d+.* MTL File")
_HEAD = 4096
_LONGEST_NUMBER = 400
_LARGEST = 3.4028235e38  # of single precision; the importer would put such a vertex at the origin
_METAL = (3, 6)  # illum of Blender's exporter: reflects
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
    """A material of an MTL library. `shininess` is Ns, `specular` Ks, `ambient` Ka; None where the file does not say.

    `from_blender`: written by the exporter of Blender 3.1 or later, which means its own roughness and metallic by
    them. `opacity` is `d` where the file has it (`dissolves`), else 1 - `Tr`; a `Tr` of 1 alone means opaque, as
    exporters of scans write it.
    """

    name: str
    shininess: float | None = None
    specular: tuple[float, ...] | None = None
    ambient: tuple[float, ...] | None = None
    illumination: int | None = None
    roughness: float | None = None
    metallic: float | None = None
    opacity: float = 1.0
    dissolves: bool = False
    from_blender: bool = False
    maps: tuple[tuple[str, str], ...] = ()

    @property
    def perceptual_roughness(self) -> float:
        """Roughness in [0, 1] as metallic-roughness means it, that is sqrt(alpha).

        `Pr` where the file has it. Otherwise alpha = sqrt(2 / (Ns + 2)) of the Blinn-Phong exponent, so Ns = 0 is 1,
        Ns = 96 (Blender's old default) 0.38 and Ns = 1000 0.21. Without a highlight (illum below 2, Ks black, or no
        Ns) it is 1: the surface shows none. Blender's exporter writes Ns = 1000 (1 - roughness)^2.
        """
        if self.roughness is not None:
            return min(max(self.roughness, 0.0), 1.0)
        if self.from_blender and self.shininess is not None:
            return 1.0 - math.sqrt(min(max(self.shininess, 0.0), 1000.0) / 1000.0)
        dull = self.illumination in (0, 1) or (self.specular is not None and max(self.specular, default=0.0) <= 0.0)
        if dull or self.shininess is None:
            return 1.0
        return (2.0 / (min(max(self.shininess, 0.0), 1e6) + 2.0)) ** 0.25

    @property
    def metalness(self) -> float:
        """`Pm`, or of a file of Blender's that reflects Ka, in [0, 1]; else 0: illum 3 is any varnish elsewhere."""
        if self.metallic is None and self.from_blender and self.illumination in _METAL and self.ambient:
            return min(max(sum(self.ambient) / len(self.ambient), 0.0), 1.0)
        return min(max(self.metallic or 0.0, 0.0), 1.0)


@dataclass(frozen=True)
class Wavefront:
    """A checked .obj: `materials` are those of its libraries, in order; `used` the names of those that faces have.

    `vertex_colours`: its `v` lines have some. `display_colours`: they are sRGB, as Blender and MeshLab write them;
    those of others are taken as linear, like Kd.
    """

    path: Path
    materials: tuple[Phong, ...]
    used: frozenset[str]
    vertex_colours: bool
    display_colours: bool
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
        block = limits.line_bytes
        if any(data.find(b"\n", at, at + block) < 0 for at in range(0, len(data) - block, block)):
            raise AssetError("too-large", f"{path.name} has a line of over {block} bytes")
        faces = sum(1 for _ in _FACE.finditer(data))
        if faces == 0:
            raise AssetError("no-geometry", f"{path.name} has no faces")
        if faces > limits.polygons:
            raise AssetError("too-large", f"{path.name} has {faces} faces", f"the limit is {limits.polygons}")
        if not _is_finite(data):
            raise AssetError("bad-geometry", "has coordinates that are not finite numbers", where=path.name)
        used = frozenset(name.strip().decode("utf-8", "replace") for name in _USED.findall(data))
        materials = _materials(_libraries(data, path.parent, limits), limits)
        coloured, display = bool(_COLOURED.search(data)), bool(_DISPLAY.search(data[:_HEAD]))
        return Wavefront(path, materials, used, coloured, display, limits)

    def inspection(self, *, decode: bool = False) -> Inspection:
        """What the file says about itself. `decode` also decodes every map: slower, finds broken ones.

        Raises AssetError: escapes-folder, missing-texture, bad-texture, too-large.
        """
        materials = [material for material in self.materials if material.name in self.used]
        for reference in dict.fromkeys(name for material in materials for _, name in material.maps):
            target = inside(self.path.parent, reference, "missing-texture")
            check_header(target, reference, self.limits)
            if decode:
                constant_channels(target, reference, self.limits)
        kinds = {kind for material in materials for kind, _ in material.maps}
        specular = {(material.perceptual_roughness, material.metalness) for material in materials}
        return Inspection(
            format="obj",
            textured="map_kd" in kinds,
            constant_specular=len(specular) <= 1 and not kinds & {"map_ns", "map_pr", "map_pm"},
            vertex_colours=self.vertex_colours,
            animated=False,
            skinned=False,
            alpha="map_d" in kinds or any(material.opacity < 1.0 for material in materials),
        )


def named_libraries(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> list[str]:
    """What the libraries of an OBJ may be called: a line names one, or several. AssetError too-large."""
    return [name for text in _library_lines(path.read_bytes(), limits) for name in dict.fromkeys([text, *text.split()])]


def named_maps(libraries: list[Path], limits: AssetLimits = DEFAULT_LIMITS) -> list[str]:
    """The maps that material libraries name; none where the libraries are larger than they may be."""
    if sum(path.stat().st_size for path in libraries) > limits.library_bytes:
        return []
    return list(dict.fromkeys(name for material in _materials(libraries, limits) for _, name in material.maps))


def _is_finite(data: bytes) -> bool:
    """Whether every `v` line has numbers that single precision holds; only lines that look otherwise are parsed."""
    try:
        return all(
            len(word) <= _LONGEST_NUMBER and abs(float(word)) <= _LARGEST
            for line in _SUSPECT.finditer(data)
            for word in line[0].split()[1:]
        )
    except ValueError:
        return False


def _libraries(data: bytes, folder: Path, limits: AssetLimits) -> list[Path]:
    """MTL files that an OBJ names, checked. Raises AssetError: missing-file, escapes-folder, too-large."""
    found: dict[Path, None] = {}
    for text in _library_lines(data, limits):
        try:
            names = [inside(folder, text, "missing-file")]
        except AssetError as error:
            several = text.split()
            if error.reason != "missing-file" or not 2 <= len(several) <= limits.references:
                raise
            names = [inside(folder, one, "missing-file") for one in several]
        found.update(dict.fromkeys(names))
    if sum(file_size(path, shown(path.name)) for path in found) > limits.library_bytes:
        raise AssetError("too-large", f"its material libraries are over {limits.library_bytes} bytes")
    return list(found)


def _library_lines(data: bytes, limits: AssetLimits) -> list[str]:
    lines = list(dict.fromkeys(_LIBRARY.findall(data)))
    if len(lines) > limits.references or sum(map(len, lines)) > limits.library_bytes:
        raise AssetError("too-large", f"names more than {limits.references} material libraries")
    return [line.decode("utf-8", "replace").strip().strip('"') for line in lines]


def _materials(libraries: list[Path], limits: AssetLimits) -> tuple[Phong, ...]:
    """Materials of all libraries, in order, of one name the last; numbers that do not parse count as absent."""
    materials: dict[str, dict[str, Any]] = {}
    maps: dict[str, dict[tuple[str, str], None]] = {}
    files: set[str] = set()
    for library in libraries:
        current = ""
        text = library.read_text("utf-8", errors="replace")
        from_blender = _BLENDER.match(text) is not None
        for line in text.splitlines():
            keyword, _, rest = line.strip().partition(" ")
            keyword, rest = keyword.split("\t")[0].lower(), rest.strip() or line.strip().partition("\t")[2].strip()
            if keyword == "newmtl":
                current = rest
                materials[current], maps[current] = {"name": rest, "from_blender": from_blender}, {}
            elif current in materials and keyword in _MAPS and (name := _map_name(rest)):
                maps[current][keyword, name] = None
                files.add(name)
                if len(files) > limits.references:
                    raise AssetError("too-large", f"{shown(library.name)} names more than {limits.references} maps")
            elif current in materials:
                _take(materials[current], keyword, rest)
    return tuple(Phong(**fields, maps=tuple(maps[name])) for name, fields in materials.items())


def _take(fields: dict[str, Any], keyword: str, rest: str) -> None:
    """Take one more line of a library into the fields of a `Phong`."""
    numbers = _numbers(rest.removeprefix("-halo "))
    if not numbers:
        return
    if keyword in _NUMBERS:
        fields[_NUMBERS[keyword]] = numbers[0]
        fields["dissolves"] = fields.get("dissolves", False) or keyword == "d"
    elif keyword in ("ks", "ka"):
        fields["specular" if keyword == "ks" else "ambient"] = numbers
    elif keyword == "tr" and not fields.get("dissolves", False):
        fields["opacity"] = 1.0 - numbers[0] if numbers[0] < 1.0 else 1.0
    elif keyword == "illum":
        fields["illumination"] = int(numbers[0])


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
