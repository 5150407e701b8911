"""Materials of a street: families of the catalogue's pools in the colours and sizes of real streets, and paints.

A texture set whose name says what it is (brick, asphalt, ...) is taken as it is; a procedural material is recoloured,
since families draw any colour. Lengths are metres.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np

from manifests.contract.color import srgb_decode
from scenes.builtin_materials import sample_procedural
from scenes.materials_and_light import AssetPools
from scenes.palettes import DIELECTRIC_HIGH, DIELECTRIC_LOW, EARTHS, STONES, WOODS, Colour, near, shade
from scenes.spec import Material, Principled, Procedural, TextureSet, Value

_TEXTURED = 0.5

_BRICKS: tuple[Colour, ...] = (
    (0.262, 0.095, 0.061),
    (0.33, 0.13, 0.08),
    (0.20, 0.07, 0.05),
    (0.42, 0.28, 0.17),
    (0.30, 0.20, 0.14),
    (0.5, 0.42, 0.32),
)
_PLASTERS: tuple[Colour, ...] = (
    *(
        (0.72, 0.68, 0.60),
        (0.70, 0.56, 0.33),
        (0.62, 0.38, 0.22),
        (0.55, 0.25, 0.17),
        (0.40, 0.46, 0.40),
        (0.36, 0.44, 0.52),
    ),
    *((0.76, 0.75, 0.72), (0.55, 0.52, 0.47), (0.66, 0.45, 0.38), (0.48, 0.44, 0.30), (0.30, 0.30, 0.29)),
)
_ASPHALTS: tuple[Colour, ...] = (
    (0.055, 0.055, 0.056),
    (0.085, 0.083, 0.08),
    (0.13, 0.127, 0.12),
    (0.035, 0.036, 0.038),
)
_ROOFS: tuple[Colour, ...] = (
    (0.34, 0.11, 0.06),
    (0.22, 0.08, 0.05),
    (0.09, 0.09, 0.10),
    (0.14, 0.10, 0.08),
    (0.18, 0.17, 0.16),
)
_GRASSES: tuple[Colour, ...] = ((0.055, 0.10, 0.022), (0.08, 0.115, 0.03), (0.11, 0.115, 0.05))
_LEAVES: tuple[Colour, ...] = (
    (0.045, 0.10, 0.02),
    (0.07, 0.13, 0.025),
    (0.03, 0.07, 0.025),
    (0.11, 0.14, 0.03),
    (0.22, 0.10, 0.02),
)
_CARS: tuple[Colour, ...] = (
    *(
        (0.75, 0.75, 0.74),
        (0.75, 0.75, 0.74),
        (0.02, 0.02, 0.021),
        (0.02, 0.02, 0.021),
        (0.09, 0.095, 0.10),
        (0.3, 0.31, 0.32),
    ),
    *(
        (0.35, 0.015, 0.015),
        (0.02, 0.05, 0.22),
        (0.02, 0.10, 0.06),
        (0.55, 0.42, 0.05),
        (0.08, 0.22, 0.35),
        (0.25, 0.18, 0.12),
    ),
)
_FRAMES: tuple[Colour, ...] = (
    (0.8, 0.8, 0.78),
    (0.8, 0.8, 0.78),
    (0.03, 0.03, 0.032),
    (0.12, 0.06, 0.03),
    (0.05, 0.07, 0.06),
    (0.3, 0.3, 0.3),
)
_IRONS: tuple[Colour, ...] = ((0.025, 0.027, 0.028), (0.03, 0.055, 0.04), (0.25, 0.26, 0.27), (0.10, 0.10, 0.105))


def constant(
    colour: Colour, roughness: float, metallic: float = 0.0, ior: float = 1.5, coat: float = 0.0
) -> Principled:
    """A plain material, named by its numbers."""
    codes = "".join(f"{round(value * 255):02x}" for value in (*colour, roughness, metallic, coat))
    return Principled(
        uid=f"constant/{codes}", basecolor=colour, roughness=roughness, metallic=metallic, ior=ior, coat=coat
    )


_PLAIN = {
    "zinc": constant((0.56, 0.57, 0.58), 0.4, 1.0),
    "white": constant((0.78, 0.78, 0.76), 0.35),
    "orange": constant((0.75, 0.16, 0.02), 0.5),
    "carton": constant((0.36, 0.23, 0.12), 0.8),
    "dark": constant((0.03, 0.03, 0.03), 0.6),
    "soil": constant((0.05, 0.035, 0.022), 0.9),
    "pane": constant((0.02, 0.022, 0.024), 0.01, ior=1.55),
    "rim": constant((0.5, 0.5, 0.51), 0.3, 1.0),
    "lamp": constant((0.7, 0.71, 0.72), 0.05, coat=1.0),
    "tail": constant((0.28, 0.01, 0.01), 0.08, coat=1.0),
    "van": constant((0.75, 0.75, 0.74), 0.15, coat=1.0),
}


class StreetMaterials:
    """Draws materials for parts of a street, one after another, from `rng`."""

    def __init__(self, pools: AssetPools, rng: np.random.Generator) -> None:
        self._rng = rng
        self._shared: dict[str, Material] = {}
        self._families: defaultdict[str, list[Procedural]] = defaultdict(list)
        self._textured: list[TextureSet] = []
        for asset in pools.grounds or pools.surfaces:
            if isinstance(asset.material, Procedural):
                self._families[asset.material.family].append(asset.material)
            elif isinstance(asset.material, TextureSet):
                self._textured.append(asset.material)

    def shared(self, name: str) -> Material:
        """The material of that name that is drawn once for the whole street: methods' names and a few constants."""
        if name not in self._shared:
            self._shared[name] = _PLAIN[name] if name in _PLAIN else getattr(self, name)()
        return self._shared[name]

    # --- ground ------------------------------------------------------------------------------------------------

    def road(self, old: bool) -> Material:
        """Asphalt, dry or wet; in old towns often cobbles."""
        if old and self._rng.random() < 0.5:
            return self._paving("grid" if self._rng.random() < 0.5 else "brick", (0.1, 0.16), 0.10, ("cobble", "sett"))
        return self.asphalt()

    def asphalt(self) -> Material:
        """Asphalt with stains; one in five is wet."""
        base, wet = near(self._rng, _ASPHALTS, 0.12), self._rng.random() < 0.2
        low = self._between(0.08, 0.25) if wet else self._between(0.6, 0.85)
        changes: dict[str, Value] = {
            "base": base,
            "stain": shade(base, self._between(0.55, 0.85)),
            "pit": shade(base, 0.6),
        }
        changes |= {"pits": 0.12, "roughness": low, "stain_roughness": round(low + 0.12, 4), "depth": 0.006}
        return self._of("concrete", (1.2, 2.5), changes, ("asphalt", "tarmac", "road"))

    def paving(self) -> Material:
        """Slabs, setts, or plain concrete."""
        if self._rng.random() < 0.25:
            return self.concrete()
        return self._paving(
            ("grid", "brick", "hex")[int(self._rng.integers(3))], (0.22, 0.55), 0.03, ("paving", "pavement", "cobble")
        )

    def _paving(self, layout: str, sizes: tuple[float, float], depth: float, words: Sequence[str]) -> Material:
        first = near(self._rng, STONES[1:4] + STONES[6:] + EARTHS[2:3], 0.12)
        return self._tiles(layout, sizes, first, shade(first, self._between(0.75, 1.2)), words, depth)

    def concrete(self) -> Material:
        """Cast or plain concrete."""
        base = near(self._rng, ((0.42, 0.41, 0.39), (0.32, 0.31, 0.29), (0.52, 0.50, 0.46)), 0.1)
        return self._of(
            "concrete",
            (0.8, 1.6),
            {"base": base, "stain": shade(base, self._between(0.6, 0.85)), "pits": 0.06, "depth": 0.008},
            ("concrete",),
        )

    def grass(self) -> Material:
        """Lawn: fine green grains on soil."""
        first = near(self._rng, _GRASSES, 0.15)
        changes: dict[str, Value] = {
            "soil": shade(first, 0.6),
            "first": first,
            "second": shade(first, self._between(1.2, 1.6)),
            "wet": 0.0,
        }
        changes |= {"fill": 0.75, "roughness": 0.85, "soil_roughness": 0.9, "depth": 0.25}
        return self._of("gravel", (0.04, 0.08), changes, ("grass", "lawn"))

    def gravel(self) -> Material:
        """Gravel of yards."""
        first = near(self._rng, EARTHS[:3] + STONES[2:3], 0.15)
        return self._of(
            "gravel",
            (0.03, 0.06),
            {"soil": shade(first, 0.6), "first": first, "second": shade(first, 1.3), "wet": 0.0},
            ("gravel",),
        )

    # --- houses ------------------------------------------------------------------------------------------------

    def wall(self, kind: str) -> Material:
        """A facade of brick, plaster, stone, wood, concrete or sheet."""
        match kind:
            case "brick":
                first = near(self._rng, _BRICKS, 0.12)
                return self._tiles(
                    "brick", (0.085, 0.1), first, shade(first, self._between(0.65, 1.3)), ("brick",), 0.05, 0.75
                )
            case "plaster":
                return self._plaster()
            case "stone":
                first = near(self._rng, (*STONES[:3], *STONES[7:], (0.55, 0.48, 0.38)), 0.1)
                return self._tiles(
                    "brick", (0.3, 0.5), first, shade(first, self._between(0.85, 1.1)), ("stone",), 0.03, 0.6
                )
            case "wood":
                light = near(self._rng, (*WOODS[:3], WOODS[6], *_PLASTERS[4:7]), 0.15)
                return self._of(
                    "wood",
                    (0.12, 0.2),
                    {
                        "style": "planks",
                        "light": light,
                        "dark": shade(light, 0.6),
                        "roughness": 0.6,
                        "grain_roughness": 0.8,
                    },
                    ("planks", "siding"),
                )
            case "sheet":
                return self._sheet()
            case _:
                return self.concrete()

    def _plaster(self) -> Material:
        base = near(self._rng, _PLASTERS, 0.12)
        changes: dict[str, Value] = {
            "base": base,
            "stain": shade(base, self._between(0.78, 0.95)),
            "pit": shade(base, 0.8),
            "pits": 0.04,
        }
        changes |= {"stain_amount": self._between(0.3, 0.7), "roughness": 0.75, "stain_roughness": 0.88, "depth": 0.006}
        return self._of("concrete", (1.5, 3.5), changes, ("plaster", "stucco"))

    def _sheet(self) -> Material:
        """Metal cladding, bare or painted."""
        if self._rng.random() < 0.5:
            value = self._between(0.45, 0.8)
            return constant((value, value, round(value * 1.02, 4)), self._between(0.18, 0.4), 1.0)
        return constant(
            near(self._rng, (*_PLASTERS[4:6], *_IRONS, (0.7, 0.7, 0.7), (0.3, 0.05, 0.03)), 0.15),
            self._between(0.25, 0.5),
        )

    def roof(self, flat: bool) -> Material:
        """Roof tiles, slates, or felt on flat roofs."""
        if flat:
            return self.asphalt() if self._rng.random() < 0.5 else self.gravel()
        first = near(self._rng, _ROOFS, 0.12)
        return self._tiles(
            "brick", (0.14, 0.2), first, shade(first, self._between(0.7, 1.3)), ("roof", "slate"), 0.12, 0.7
        )

    def trim(self) -> Material:
        """Sills, ledges, copings and kerbs: light stone, concrete, sometimes zinc."""
        if self._rng.random() < 0.15:
            return constant((0.5, 0.52, 0.54), 0.35, 1.0)
        if self._rng.random() < 0.5:
            return self.concrete()
        return constant(near(self._rng, ((0.75, 0.73, 0.68), (0.6, 0.56, 0.48), (0.4, 0.39, 0.37)), 0.1), 0.7)

    def frame(self) -> Principled:
        """Paint of window frames."""
        return constant(near(self._rng, _FRAMES, 0.1), self._between(0.2, 0.5))

    def glass(self, mirror: bool) -> Principled:
        """Panes: glossy over a dark room, or coated like a mirror."""
        if mirror:
            tint = near(self._rng, ((0.55, 0.6, 0.62), (0.4, 0.48, 0.55), (0.5, 0.42, 0.3), (0.35, 0.45, 0.42)), 0.1)
            return constant(tint, self._between(0.0, 0.05), 1.0)
        dark = near(self._rng, ((0.03, 0.035, 0.04), (0.045, 0.04, 0.035), (0.025, 0.032, 0.03)), 0.2)
        return constant(dark, self._between(0.0, 0.06), ior=1.6)

    def blind(self) -> Principled:
        """What hangs behind panes, under the panes' gloss."""
        return constant(
            near(self._rng, ((0.55, 0.53, 0.48), (0.4, 0.33, 0.24), (0.62, 0.62, 0.6), (0.25, 0.25, 0.26)), 0.15),
            self._between(0.03, 0.12),
        )

    # --- things ------------------------------------------------------------------------------------------------

    def car(self) -> Principled:
        """Car paint under clear coat; one in three is metallic."""
        colour = near(self._rng, _CARS, 0.15)
        if self._rng.random() < 0.33:
            return constant(colour, self._between(0.25, 0.4), self._between(0.6, 1.0), coat=1.0)
        return constant(colour, self._between(0.08, 0.35), coat=1.0)

    def iron(self) -> Principled:
        """Painted or galvanised posts."""
        if self._rng.random() < 0.3:
            return constant((0.56, 0.57, 0.58), self._between(0.3, 0.55), 1.0)
        return constant(near(self._rng, _IRONS, 0.15), self._between(0.25, 0.6))

    def vivid(self) -> Principled:
        """Signs, awnings, shop fronts, bins: a strong or a quiet colour."""
        hue, value = self._rng.random(), self._rng.uniform(0.35, 0.85)
        saturation = self._rng.uniform(0.5, 0.9) if self._rng.random() < 0.6 else self._rng.uniform(0.0, 0.3)
        rgb = value * (1 - saturation * np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1))
        red, green, blue = np.clip(srgb_decode(rgb), DIELECTRIC_LOW, DIELECTRIC_HIGH).round(4).tolist()
        return constant((red, green, blue), self._between(0.2, 0.6))

    def leaf(self) -> Principled:
        """Leaves: green, now and then in autumn's colours."""
        return constant(near(self._rng, _LEAVES, 0.15), self._between(0.4, 0.7))

    def timber(self) -> Material:
        """Benches, poles, crates, trunks."""
        light = near(self._rng, (WOODS[0], WOODS[1], WOODS[6], WOODS[3]), 0.15)
        return self._of(
            "wood",
            (0.1, 0.2),
            {"style": "solid", "light": light, "dark": shade(light, 0.55), "roughness": 0.6, "grain_roughness": 0.8},
            (),
        )

    def constant(
        self, colour: Colour, roughness: float, metallic: float = 0.0, ior: float = 1.5, coat: float = 0.0
    ) -> Principled:
        """A plain material, named by its numbers."""
        codes = "".join(f"{round(value * 255):02x}" for value in (*colour, roughness, metallic, coat))
        return Principled(
            uid=f"constant/{codes}", basecolor=colour, roughness=roughness, metallic=metallic, ior=ior, coat=coat
        )

    # --- how they are drawn ----------------------------------------------------------------------------------------

    def _tiles(
        self,
        layout: str,
        sizes: tuple[float, float],
        first: Colour,
        second: Colour,
        words: Sequence[str],
        depth: float,
        finish: float | None = None,
    ) -> Material:
        roughness = finish if finish is not None else self._between(0.45, 0.85)
        grout = near(self._rng, ((0.45, 0.43, 0.4), (0.3, 0.29, 0.27), (0.16, 0.155, 0.15)), 0.15)
        changes: dict[str, Value] = {
            "layout": layout,
            "first": first,
            "second": second,
            "grout": grout,
            "metallic": 0.0,
        }
        changes |= {
            "tone": self._between(0.1, 0.35),
            "mottle": self._between(0.1, 0.45),
            "roughness": roughness,
            "roughness_spread": 0.15,
        }
        changes |= {"depth": depth, "gap": self._between(0.02, 0.05), "bevel": self._between(0.03, 0.08)}
        return self._of("tiles", sizes, changes, words)

    def _of(self, family: str, sizes: tuple[float, float], changes: dict[str, Value], words: Sequence[str]) -> Material:
        """A texture set named by one of `words`, or a procedural of the family with the changes, its size drawn."""
        named = [one for one in self._textured if any(word in one.uid.lower() for word in words)]
        if named and self._rng.random() < _TEXTURED:
            return named[int(self._rng.integers(len(named)))]
        members = self._families[family]
        base = members[int(self._rng.integers(len(members)))] if members else sample_procedural(family, self._rng, "")
        params = base.params | changes
        size = round(float(self._rng.uniform(*sizes)), 4)
        code = hashlib.sha256(msgspec.json.encode([size, params], order="deterministic")).hexdigest()[:12]
        return Procedural(uid=f"street/{family}/{code}", family=family, size=size, params=params)

    def _between(self, low: float, high: float) -> float:
        return round(float(self._rng.uniform(low, high)), 4)
