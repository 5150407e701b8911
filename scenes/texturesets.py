"""Which file of a folder of PBR textures is which map, by name alone.

Understands the names of ambientCG (`Bricks075A_1K-JPG_NormalGL.jpg`), Poly Haven (`brick_wall_nor_gl_1k.png`, maps
in `textures/`) and plain ones (`color.png`, `BaseColor.png`). The last word of a name, sizes and formats aside,
says what the map is, so `metal_plate_diff_1k.jpg` is a colour and `Leather.png` (a preview) is nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".exr", ".tif", ".tiff", ".webp", ".tga", ".bmp"})

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+[A-Za-z]*")
_SIZE_OR_FORMAT = re.compile(r"\d+k?|\d+px|jpe?g|png|exr|tiff?|webp")
_ROLE_OF_WORD = {
    word: role
    for role, words in {
        "basecolor": "color colour col basecolor basecolour albedo diffuse diff",
        "roughness": "roughness rough rgh",
        "gloss": "gloss glossiness smoothness",
        "metallic": "metallic metalness metal",
        "packed": "arm orm metallicroughness",
        "normal": "normal nor nrm norm",
        "opacity": "opacity alpha",
        "height": "displacement disp height bump",
    }.items()
    for word in words.split()
}
_NORMAL_KINDS = {"gl": "normal", "ogl": "normal", "opengl": "normal", "dx": "normal_dx", "directx": "normal_dx"}


@dataclass(frozen=True)
class TextureMaps:
    """The maps of one material, absent ones None. `basecolor` is sRGB-encoded (EXR: linear), all others are data.

    `gloss` is 1 - roughness. `packed` holds roughness in green and metalness in blue (AO-roughness-metalness or
    glTF's metallic-roughness). `normal_dx` is a normal map whose green points down (DirectX), `normal` one whose
    green points up (OpenGL).
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

    @property
    def usable(self) -> bool:
        """True with a base colour and some source of roughness: less is not a PBR material."""
        return self.basecolor is not None and any((self.roughness, self.gloss, self.packed))


def role(name: str) -> str | None:
    """The field of `TextureMaps` that a file called `name` fills, or None."""
    path = Path(name)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    words = [word.lower() for word in _WORDS.findall(path.stem)]
    while words and _SIZE_OR_FORMAT.fullmatch(words[-1]):
        words.pop()
    if not words:
        return None
    last = words.pop()
    if last in _NORMAL_KINDS:
        return _NORMAL_KINDS[last] if words and _ROLE_OF_WORD.get(words[-1]) == "normal" else None
    found = _ROLE_OF_WORD.get(last)
    if found == "roughness" and words and _ROLE_OF_WORD.get(words[-1]) == "metallic" and last == "roughness":
        return "packed"
    return found


def find_maps(folder: Path) -> TextureMaps:
    """The maps in `folder`, or in its `textures` subfolder when it has none; of several of a kind the first by name."""
    for place in (folder, folder / "textures"):
        if not place.is_dir():
            continue
        found: dict[str, Path] = {}
        for path in sorted(place.iterdir()):
            kind = role(path.name) if path.is_file() else None
            if kind is not None:
                found.setdefault(kind, path)
        if found:
            return TextureMaps(**found)
    return TextureMaps()
