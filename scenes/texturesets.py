"""Which file of a folder of PBR textures is which map, by the names in it.

Understands the names of ambientCG (`Bricks075A_1K-JPG_NormalGL.jpg`), Poly Haven (`brick_wall_nor_gl_1k.png`, maps
in `textures/`), cgbookcase, 3dtextures, ShareTextures (`2K-tile_30-normal.jpg`) and plain ones (`BaseColor.png`). The
last words of a name, sizes and formats aside, say what the map is; the words before them name the material.

Materials are called by such words too: `Metal_Roughness.png` is the roughness of a metal, or metalness and roughness
in one. So names are read in all ways that make sense, and the one way that explains the most files of the folder
counts. A picture that is called as the material alone (`Painted_Metal.png`) is its preview.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".exr", ".tif", ".tiff", ".webp", ".tga", ".bmp"})
MAPS_FOLDER = "textures"
"""Folder below a material's own in which Poly Haven has the maps, in any case."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+[A-Za-z]*")
_SIZE = re.compile(r"\d{1,2}k|(?:128|256|512|1024|2048|4096|8192)(?:px|x)?")
_FORMAT = re.compile(r"jpe?g|png|exr|tiff?|webp|tga|(?:8|16|32)bits?")
_BITS = re.compile(r"8|16|32")  # of a map, as in NRM16; the number of a material elsewhere
_VARIANT = re.compile(r"\d{1,2}|1\d\d\d")  # a second look of the material, or a UDIM tile
_VARIANT_WORDS = {"var", "variant", "v"}
_LONGEST_PHRASE = 3
_OTHER = "other"  # a map that no material here uses
_METALLIC = "metallic metalness metal met"
_NORMAL = "normal nor nrm norm normalmap"
_ROLE_OF_PHRASE = {
    phrase: role
    for role, phrases in {
        "basecolor": "color colour col basecolor basecolour albedo diffuse diff",
        "roughness": "roughness rough rgh",
        "gloss": "gloss glossiness smoothness",
        "metallic": _METALLIC,
        "packed": "arm orm occlusionroughnessmetallic " + " ".join(f"{word}roughness" for word in _METALLIC.split()),
        "normal": " ".join(map("".join, product(_NORMAL.split(), ("", "gl", "ogl", "opengl")))),
        "normal_dx": " ".join(map("".join, product(_NORMAL.split(), ("dx", "directx")))),
        "opacity": "opacity alpha",
        "height": "displacement disp height bump",
        _OTHER: "ambientocclusion ao occlusion occ specular spec emission emissive translucent translucency cavity",
    }.items()
    for phrase in phrases.split()
}
_TITLES = {"basecolor": "base colour", "packed": "packed", "normal_dx": "DirectX normal"}


@dataclass(frozen=True)
class TextureMaps:
    """The maps of one material, absent ones None. `basecolor` is sRGB-encoded (EXR: linear), all others are data.

    `gloss` is 1 - roughness. `packed` holds roughness in green and metalness in blue (AO-roughness-metalness or
    glTF's metallic-roughness). `normal_dx` is a normal map whose green points down (DirectX), `normal` one whose
    green points up (OpenGL). `problem` says why a folder of maps is no material.
    """

    basecolor: Path | None = None
    roughness: Path | None = None
    gloss: Path | None = None
    metallic: Path | None = None
    packed: Path | None = None
    normal: Path | None = None
    normal_dx: Path | None = None
    opacity: Path | None = None
    height: Path | None = None
    problem: str = ""

    @property
    def files(self) -> dict[str, Path]:
        """The maps that are there, by field."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Path)}

    @property
    def usable(self) -> bool:
        """True with a base colour and some source of roughness: less is not a PBR material."""
        return not self.problem and self.basecolor is not None and any((self.roughness, self.gloss, self.packed))


class _Reading(NamedTuple):
    """One way to read a file's name: the material's, what the map is and in which words, and which of several it is."""

    material: str
    role: str
    phrase: str
    variant: str


def role(name: str) -> str | None:
    """The field of `TextureMaps` that a file called `name` would fill if nothing lay beside it, or None."""
    found = next(_readings(name), None)
    return None if found is None or found.variant or found.role == _OTHER else found.role


def is_map(name: str) -> bool:
    """Whether a file of that name is some map of a material, one that is not used here included."""
    return any(not reading.variant for reading in _readings(name))


def find_maps(folder: Path) -> TextureMaps:
    """The maps in `folder`, or in its `textures` subfolder where it has no base colour itself.

    Of a map in several sizes or formats the first by name. What can be read in two ways, and maps that are no whole
    material, are a `problem`. Links that leave the folder are passed over. Raises OSError where it cannot be read.
    """
    first = _maps_in(folder)
    if first.basecolor is not None or first.problem or not folder.is_dir():
        return first
    inner = [path for path in sorted(folder.iterdir()) if path.name.lower() == MAPS_FOLDER and path.is_dir()]
    return next((maps for maps in map(_maps_in, inner) if maps != TextureMaps()), first)


def _maps_in(folder: Path) -> TextureMaps:
    if not folder.is_dir():
        return TextureMaps()
    real = folder.resolve()
    named = {
        path: readings
        for path in sorted(folder.iterdir())
        if (readings := list(_readings(path.name)))
        and path.is_file()
        and (not path.is_symlink() or path.resolve().is_relative_to(real))
    }
    material = _material(named)
    if material is None:
        several = {one[0].role for one in named.values()} - {_OTHER}
        return TextureMaps(problem="maps without a base colour" if len(several) > 1 else "")
    chosen: dict[str, list[tuple[_Reading, Path]]] = {}
    strangers = []
    for path, readings in named.items():
        if _whole(path.name) == material:
            continue  # a preview
        reading = next((one for one in readings if one.material == material), None)
        reading = reading or next((one for one in readings if not one.material), None)
        if reading is not None:
            chosen.setdefault(reading.role, []).append((reading, path))
        elif readings[0].role != _OTHER:
            strangers.append(path.name)
    chosen.pop(_OTHER, None)
    if strangers:
        first = chosen["basecolor"][0][1].name
        return TextureMaps(problem=f"maps of several materials in one folder ({', '.join([first, *strangers[:3]])})")
    for kind, found in chosen.items():
        if len({reading for reading, _ in found}) > 1:
            names = ", ".join(path.name for _, path in found[:3])
            return TextureMaps(problem=f"several {_TITLES.get(kind, kind)} maps ({names}); keep one")
    files = {kind: found[0][1] for kind, found in chosen.items()}
    rough = files.keys() & {"roughness", "gloss", "packed"}
    lone = len(files) == 1  # any picture may be called "color"
    return TextureMaps(**files, problem="" if rough or lone else "maps without roughness (or gloss, or ARM)")


def _material(named: dict[Path, list[_Reading]]) -> str | None:
    """The name of the material that explains the most files; None without a base colour. The longest of equals."""
    names = {one.material for readings in named.values() for one in readings if one.role == "basecolor"}

    def explained(name: str) -> tuple[int, int, str]:
        return sum(any(one.material == name for one in readings) for readings in named.values()), len(name), name

    return max(names, key=explained, default=None)


def _readings(name: str) -> Iterator[_Reading]:
    """All ways to read a file's name, the longest words for a role first, those with a variant last."""
    words = _words(name)
    if words and _BITS.fullmatch(words[-1]):
        words = _without_size(words[:-1])
    for body, variant in _variants(words):
        for length in range(_LONGEST_PHRASE, 0, -1):
            phrase = "".join(body[-length:])
            if length <= len(body) and phrase in _ROLE_OF_PHRASE:
                yield _Reading("".join(_without_size(body[:-length])), _ROLE_OF_PHRASE[phrase], phrase, variant)


def _variants(words: list[str]) -> Iterable[tuple[list[str], str]]:
    yield words, ""
    if words and _VARIANT.fullmatch(words[-1]):
        yield words[: -2 if words[-2:-1] and words[-2] in _VARIANT_WORDS else -1], words[-1]


def _words(name: str) -> list[str]:
    path = Path(name)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return []
    return _without_size([word.lower() for word in _WORDS.findall(path.stem)])


def _without_size(words: list[str]) -> list[str]:
    while words and (_SIZE.fullmatch(words[-1]) or _FORMAT.fullmatch(words[-1])):
        words = words[:-1]
    return words[1:] if words and _SIZE.fullmatch(words[0]) else words


def _whole(name: str) -> str:
    return "".join(_words(name))
