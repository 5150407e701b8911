"""What a room's surfaces are made of: materials of the catalogue that suit a role, at natural sizes, and plain ones.

Materials of the catalogue are found by words of their uid, which say what they are ("builtin/wood/0012",
"polyhaven/brick_wall_02"). What a role shares within a room (its wood, its metal, its paint) is mostly one material.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import msgspec
import numpy as np

from manifests.contract.color import srgb_decode
from scenes.catalogue import Asset
from scenes.palettes import EARTHS, LEATHERS, WOODS, Colour, metal, near, paint
from scenes.spec import Material, Principled, Procedural, TextureSet

_TRIES = 240
_REUSED = 0.7
_GARISH = 0.35
"""Difference of a colour's channels above which neither floors nor walls are laid in it."""
_SHARED = ("wood", "metal", "lacquer", "cloth")


class RoomMaterials:
    """Draws the materials of one room from the catalogue's surfaces and from generators handed in."""

    def __init__(self, surfaces: Sequence[Asset], rng: np.random.Generator) -> None:
        self._surfaces = surfaces
        self._rng = rng
        self._drawn: dict[str, Material] = {}

    def draw(self, role: str) -> Material:
        """A material for a role: "floor", "wall", "ceiling" or one of the things that furniture is made of."""
        if role in self._drawn and role in _SHARED and self._rng.random() < _REUSED:
            return self._drawn[role]
        material = getattr(self, f"_{role}")()
        self._drawn.setdefault(role, material)
        return material

    # --- large surfaces ----------------------------------------------------------------------------------------

    def _floor(self) -> Material:
        kind = self._rng.random()
        if kind < 0.46:
            return self._found(("wood", "plank", "parquet"), (0.09, 0.2), ("planks",)) or self._wood()
        if kind < 0.64:
            return self._found(("tile",), (0.15, 0.45), ("grid", "hex", "brick"), calm=True) or self._stone()
        if kind < 0.76:
            return self._found(("fabric", "carpet"), (0.012, 0.024), calm=True) or self._cloth()
        if kind < 0.86:
            return self._plaster() or self._stone()
        return self._stone()

    def _wall(self) -> Material:
        kind = self._rng.random()
        if kind < 0.12:
            return self._brick()
        if kind < 0.22:
            found = self._plaster()
        elif kind < 0.32:
            found = self._found(("pattern", "wallpaper"), (0.08, 0.3), ("stripes", "dots", "diamonds"), calm=True)
        elif kind < 0.37:
            found = self._found(("wood", "panel"), (0.1, 0.25), ("planks",))
        elif kind < 0.41:
            found = self._found(("tile",), (0.1, 0.25), ("grid", "brick"), calm=True)
        else:
            found = None
        return found or self._emulsion()

    def _ceiling(self) -> Material:
        if self._rng.random() < 0.12:
            return self._found(("wood", "plank"), (0.1, 0.2), ("planks",)) or self._white()
        return self._white()

    def _plaster(self) -> Material | None:
        """Plaster or poured concrete, with finer and fewer holes than the catalogue's lumps have."""
        found = self._found(("concrete", "plaster", "stucco"), (0.5, 1.2))
        if not isinstance(found, Procedural):
            return found
        return msgspec.structs.replace(found, params=found.params | {"pits": 0.03})

    def _brick(self) -> Material:
        found = self._found(("brick", "tile"), (0.075, 0.095), ("brick",))
        if not isinstance(found, Procedural):
            return found or self._emulsion()
        first = near(self._rng, (EARTHS[3], EARTHS[6], EARTHS[3], (0.75, 0.73, 0.7)), 0.25)
        second = near(self._rng, (first,), 0.25)
        rough = {"roughness": round(float(self._rng.uniform(0.7, 0.9)), 4), "mottle": 0.4}
        return msgspec.structs.replace(found, params=found.params | {"first": first, "second": second} | rough)

    def _emulsion(self) -> Material:
        """Wall paint: mostly light and dull, sometimes a colour of its own."""
        strong = self._rng.random() < 0.25
        saturation = self._rng.uniform(0.2, 0.6) if strong else self._rng.uniform(0.0, 0.16)
        value = self._rng.uniform(0.45, 0.85) if strong else self._rng.uniform(0.8, 0.94)
        hue = self._rng.random() if strong else self._rng.uniform(0.05, 0.2) + 0.5 * (self._rng.random() < 0.3)
        return _plain(_colour(hue, saturation, value), self._rng.uniform(0.5, 0.95))

    # --- what furniture is made of -------------------------------------------------------------------------------

    def _wood(self) -> Material:
        found = self._found(("wood",), (0.05, 0.14), ("solid",)) if self._rng.random() < 0.8 else None
        return found or _plain(near(self._rng, WOODS), self._rng.uniform(0.2, 0.6))

    def _metal(self) -> Material:
        if self._rng.random() < 0.35:
            return _plain((0.03, 0.03, 0.032), self._rng.uniform(0.25, 0.55))
        return _plain(metal(self._rng), self._rng.uniform(0.15, 0.45), metallic=1.0)

    def _lacquer(self) -> Material:
        colour = paint(self._rng) if self._rng.random() < 0.5 else _colour(0.1, 0.04, self._rng.uniform(0.75, 0.94))
        return _plain(colour, self._rng.uniform(0.08, 0.5))

    def _cloth(self) -> Material:
        kind = self._rng.random()
        if kind < 0.3:
            return self._found(("fabric",), (0.01, 0.02)) or self._linen()
        if kind < 0.42:
            return self._found(("leather",), (0.02, 0.05)) or _plain(near(self._rng, LEATHERS), 0.45)
        return self._linen()

    def _linen(self) -> Material:
        vivid = self._rng.random() < 0.55
        colour = paint(self._rng) if vivid else _colour(0.1, self._rng.uniform(0, 0.2), self._rng.uniform(0.35, 0.92))
        return _plain(colour, self._rng.uniform(0.75, 1.0), sheen=0.2)

    def _carpet(self) -> Material:
        if self._rng.random() < 0.5:
            return self._found(("fabric", "carpet"), (0.015, 0.03)) or self._linen()
        return self._found(("pattern",), (0.12, 0.5)) or self._linen()

    def _stone(self) -> Material:
        kind, size = (
            (("marble", "granite", "stone"), (0.8, 2.0)) if self._rng.random() < 0.6 else (("terrazzo",), (0.02, 0.06))
        )
        return self._found(kind, size) or _plain(_colour(0.1, 0.05, 0.6), 0.3)

    def _art(self) -> Material:
        words = (("pattern",), ("marble",), ("fabric",), ("terrazzo",))[int(self._rng.integers(4))]
        found = self._found(words, (0.06, 0.35)) if self._rng.random() < 0.6 else None
        return found or _plain(paint(self._rng), 0.5)

    def _white(self) -> Material:
        return _plain(
            _colour(0.1, self._rng.uniform(0.0, 0.05), self._rng.uniform(0.85, 0.95)), self._rng.uniform(0.4, 0.9)
        )

    def _mirror(self) -> Material:
        return _plain((0.93, 0.94, 0.94), 0.02, metallic=1.0)

    def _black(self) -> Material:
        return _plain((0.02, 0.02, 0.022), self._rng.uniform(0.05, 0.3))

    def _book(self) -> Material:
        return _plain(paint(self._rng), self._rng.uniform(0.3, 0.8))

    def _pot(self) -> Material:
        kind = self._rng.random()
        if kind < 0.4:
            return _plain(near(self._rng, (EARTHS[6], EARTHS[3])), 0.8)
        return self._found(("ceramic", "concrete"), (0.1, 0.3)) or self._lacquer()

    def _leaf(self) -> Material:
        hue, saturation = self._rng.uniform(0.2, 0.38), self._rng.uniform(0.45, 0.8)
        return _plain(_colour(hue, saturation, self._rng.uniform(0.3, 0.6)), self._rng.uniform(0.25, 0.6))

    def _soil(self) -> Material:
        return _plain(near(self._rng, (EARTHS[4], EARTHS[1])), 0.95)

    def _found(
        self, words: Sequence[str], sizes: tuple[float, float], variants: Sequence[str] = (), calm: bool = False
    ) -> Material | None:
        """A surface of the catalogue whose uid has one of the words and that is no metal; None if none came up.

        The pattern of a procedural one is drawn anew within `sizes` (log-uniform), and its `style` or `layout` is one
        of `variants`; `calm` leaves garish colours out. Texture maps keep their size.
        """
        if not self._surfaces:
            return None
        size = round(float(np.exp(self._rng.uniform(*np.log(sizes)))), 4)
        for number in self._rng.integers(len(self._surfaces), size=_TRIES).tolist():
            material = self._surfaces[number].material
            if material is None or not any(word in material.uid.lower() for word in words):
                continue
            if isinstance(material, TextureSet):
                return material
            if isinstance(material, Procedural) and not _metallic(material):
                kind = material.params.get("style", material.params.get("layout"))
                if (not variants or kind in variants) and not (calm and _garish(material)):
                    return msgspec.structs.replace(material, size=size)
        return None


def _metallic(material: Procedural) -> bool:
    return any("metal" in name and isinstance(value, float) and value > 0 for name, value in material.params.items())


def _garish(material: Procedural) -> bool:
    colours = (value for name, value in material.params.items() if isinstance(value, tuple) and name != "offset")
    return any(max(colour) - min(colour) > _GARISH for colour in colours)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = srgb_decode(np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))).tolist()
    return max(red, 0.02), max(green, 0.02), max(blue, 0.02)


def _plain(colour: Colour, roughness: float, metallic: float = 0.0, sheen: float = 0.0) -> Principled:
    red, green, blue = (round(float(value), 4) for value in colour)
    codes = "".join(f"{round(255 * value):02x}" for value in (red, green, blue, roughness, metallic))
    return Principled(
        uid=f"plain/{codes}",
        basecolor=(red, green, blue),
        roughness=round(float(roughness), 4),
        metallic=metallic,
        sheen=sheen,
    )
