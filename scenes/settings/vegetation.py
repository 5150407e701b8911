"""What grows and lies on open land: groups of plants, stones and wood, each with its meshes, colours and spread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from scenes.palettes import Colour, near, shade
from scenes.settings.height_field import Land
from scenes.spec import Builtin, Material, Procedural, SettingPiece, Value

_FRESH: tuple[Colour, ...] = ((0.075, 0.115, 0.025), (0.105, 0.145, 0.04), (0.06, 0.09, 0.03))
_DRY: tuple[Colour, ...] = ((0.30, 0.235, 0.11), (0.22, 0.18, 0.075), (0.17, 0.16, 0.065))
_AUTUMN: tuple[Colour, ...] = ((0.30, 0.13, 0.025), (0.36, 0.24, 0.04), (0.22, 0.06, 0.025), (0.13, 0.12, 0.03))
_NEEDLES: tuple[Colour, ...] = ((0.032, 0.058, 0.024), (0.045, 0.075, 0.04), (0.05, 0.068, 0.028))
_BARK: tuple[Colour, ...] = ((0.115, 0.085, 0.06), (0.19, 0.165, 0.14), (0.075, 0.055, 0.04), (0.42, 0.40, 0.37))
_PETALS: tuple[Colour, ...] = (
    *((0.8, 0.8, 0.76), (0.72, 0.55, 0.03), (0.55, 0.04, 0.03), (0.30, 0.13, 0.45), (0.12, 0.16, 0.55)),
    (0.70, 0.28, 0.36),
)
SEASONS = ("fresh", "dry", "autumn")

Parts = tuple[tuple[str, dict[str, Value], Material], ...]
"""What stands in one place: mesh generators with their parameters and materials."""


@dataclass(frozen=True, eq=False)
class Growth:
    """A group of copies.

    Attributes:
        name: what it is.
        variants: its meshes, the parts of each.
        spread: parameters of `scattering.scatter` but for the land.
        body: half width and height of a copy of scale 1 that a camera must not enter; None for what it may.
    """

    name: str
    variants: tuple[Parts, ...]
    spread: dict[str, Value]
    body: tuple[float, float] | None = None

    def avoiding(self, circles: Iterable[tuple[float, float, float]]) -> Growth:
        """The same with none in `circles` (x, y, radius), those that are wide keeping off by their own half width."""
        size = self.spread["size"]
        assert isinstance(size, tuple)
        room = 0.0 if self.body is None else self.body[0] * size[1]
        clear = tuple(round(value, 3) for x, y, radius in circles for value in (x, y, radius + room))
        return replace(self, spread=self.spread | {"clear": clear})

    def copies(self, place: Land, part: tuple[float, ...] = (0, 1)) -> dict[str, Value]:
        """Parameters of `scattering.scatter` for every `part[1]`-th copy on that land."""
        return {"kind": place.kind, "seed": place.seed, **self.spread, "part": part}

    def pieces(self, place: Land, instance: int) -> list[SettingPiece]:
        """A piece for each part of each variant, all of one instance."""
        found = []
        for number, parts in enumerate(self.variants):
            copies = Builtin(
                uid=f"terrain/spread/{self.name}",
                generator="scatter",
                params=self.copies(place, (float(number), float(len(self.variants)))),
            )
            for generator, params, material in parts:
                mesh = Builtin(uid=f"terrain/{generator}", generator=generator, params=params)
                found.append(
                    SettingPiece(name=self.name, instance=instance, mesh=mesh, material=material, copies=copies)
                )
        return found


def leaf_colours(season: str, rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Two colours of grass or leaves in a season."""
    anchors = {"fresh": _FRESH, "dry": _DRY, "autumn": _AUTUMN}[season]
    return near(rng, anchors), near(rng, anchors)


def mottled(
    rng: np.random.Generator, name: str, colours: tuple[Colour, Colour, Colour], size: float, **changes: float
) -> Procedural:
    """Material of the family `mottled`; `colours` are its two and the stray one, `size` its grain in metres."""
    first, second, third = colours
    x, y, z = rng.uniform(0.0, 64.0, 3).round(3).tolist()
    numbers: dict[str, Value] = {"streak": 1.0, "share": 0.4, "tone": 0.2, "roughness": 0.8, "depth": 0.5}
    params = numbers | changes | {"first": first, "second": second, "third": third, "offset": (x, y, z)}
    return Procedural(uid=f"terrain/{name}", family="mottled", size=size, params=params)


def grass(rng: np.random.Generator, colours: tuple[Colour, Colour], count: int, tall: float) -> Growth:
    """Sods of grass all around, thinning out with the distance; `tall` is the height of the tallest."""
    blades = mottled(rng, "grass", (*colours, near(rng, _DRY)), 0.3, tone=0.35, share=0.5, roughness=0.7, depth=0.2)
    spread = round(float(rng.uniform(1.5, 3.5)), 3)
    reach, cover = (0.0, round(float(rng.uniform(18.0, 40.0)), 1)), round(float(rng.uniform(-0.7, 0.0)), 3)
    return Growth(
        "grass",
        tuple((("tuft", _tuft(rng, 90, spread, 0.045), blades),) for _ in range(3)),
        _spread(rng, count, reach, (0.3 * tall, tall), falloff=0.75, clumps=4.0, cover=cover, align=0.6, sink=0.06),
    )


def reeds(rng: np.random.Generator) -> Growth:
    """Tall blades at the water's edge."""
    green = leaf_colours("fresh" if rng.random() < 0.6 else "dry", rng)
    blades = mottled(rng, "reeds", (*green, near(rng, _DRY)), 0.5, tone=0.3, roughness=0.6, depth=0.2)
    return Growth(
        "reeds",
        tuple((("tuft", _tuft(rng, 26, 0.25, 0.018), blades),) for _ in range(2)),
        _spread(rng, 1500, (2.0, 60.0), (0.7, 1.9), falloff=0.6, clumps=9.0, above=(-0.35, 0.18), sink=0.1),
        body=(0.15, 0.9),
    )


def flowers(rng: np.random.Generator) -> Growth:
    """Flowers of one kind, in patches."""
    stem = mottled(rng, "stems", (*leaf_colours("fresh", rng), near(rng, _DRY)), 0.1, depth=0.2)
    colour = near(rng, _PETALS)
    petal = mottled(rng, "petals", (colour, shade(colour, 0.8), shade(colour, 0.6)), 0.05, roughness=0.6, depth=0.2)
    seed, petals = int(rng.integers(2**31)), int(rng.integers(5, 13))
    parts: Parts = (
        ("stalk", {"seed": seed}, stem),
        ("blossom", {"seed": seed, "petals": petals, "width": round(float(rng.uniform(0.12, 0.3)), 3)}, petal),
    )
    spread = _spread(rng, 260, (0.0, 25.0), (0.15, 0.5), falloff=0.8, clumps=6.0, cover=0.1, sink=0.02)
    return Growth("flowers", (parts,), spread)


def bushes(rng: np.random.Generator, colours: tuple[Colour, Colour], count: int, bare: bool = False) -> Growth:
    """Shrubs of half a metre to two metres; `bare` ones are twigs alone."""
    leaf = mottled(rng, "bush", (*colours, near(rng, _DRY)), 0.6, tone=0.3, roughness=0.6, depth=0.15)
    twig = _bark(rng, 0.12)

    def parts(seed: int) -> Parts:
        shape: dict[str, Value] = {"seed": seed, "crown": 0.95, "branches": 22}
        wood = ("broadleaf_wood", shape, twig)
        return (wood,) if bare else (wood, ("broadleaf_leaves", shape | {"leaves": 2200, "size": 0.075}, leaf))

    return Growth(
        "bushes",
        tuple(parts(int(rng.integers(2**31))) for _ in range(2)),
        _spread(rng, count, (4.0, 160.0), (0.5, 2.1), falloff=0.8, clumps=25.0, steep=0.5, spacing=1.2, sink=0.05),
        body=(0.5, 1.0),
    )


def broadleaf_trees(rng: np.random.Generator, colours: tuple[Colour, Colour], count: int, cover: float) -> Growth:
    """Broadleaf trees of one kind; `cover` (-1 to 1) is high for few groves, low for trees everywhere."""
    third = near(rng, _AUTUMN) if rng.random() < 0.4 else shade(colours[0], 1.4)
    leaf = mottled(rng, "leaves", (*colours, third), 1.6, tone=0.3, roughness=0.6, depth=0.15)
    bark = _bark(rng, 0.25)
    crown = round(float(rng.uniform(0.62, 0.84)), 3)

    def parts(seed: int) -> Parts:
        shape: dict[str, Value] = {"seed": seed, "crown": crown, "branches": 30}
        leaves = ("broadleaf_leaves", shape | {"leaves": 6000, "size": 0.036}, leaf)
        return (("broadleaf_wood", shape, bark), leaves)

    tall = float(rng.uniform(6.0, 16.0))
    return Growth(
        "broadleaf trees",
        tuple(parts(int(rng.integers(2**31))) for _ in range(2)),
        _spread(
            rng, count, (9.0, 900.0), (0.45 * tall, tall), falloff=0.9, clumps=90.0, cover=cover, spacing=3.5, sink=0.01
        ),
        body=(0.42, 1.0),
    )


def conifers(rng: np.random.Generator, count: int, cover: float) -> Growth:
    """Conifers of one kind; `cover` as for broadleaf trees."""
    needles = mottled(rng, "needles", (near(rng, _NEEDLES), near(rng, _NEEDLES), near(rng, _FRESH)), 1.5, tone=0.3)
    bark = _bark(rng, 0.25)
    spread = round(float(rng.uniform(0.16, 0.3)), 3)

    def parts(seed: int) -> Parts:
        shape: dict[str, Value] = {"seed": seed, "whorls": int(rng.integers(13, 20)), "spread": spread}
        return (("conifer_wood", shape, bark), ("conifer_needles", shape | {"sprays": 5000, "size": 0.055}, needles))

    tall = float(rng.uniform(7.0, 22.0))
    return Growth(
        "conifers",
        tuple(parts(int(rng.integers(2**31))) for _ in range(2)),
        _spread(
            rng,
            count,
            (9.0, 900.0),
            (0.4 * tall, tall),
            falloff=0.9,
            clumps=110.0,
            cover=cover,
            steep=0.7,
            spacing=3.0,
            sink=0.01,
        ),
        body=(0.24, 1.0),
    )


def stones(rng: np.random.Generator, colour: Colour, count: int, largest: float) -> Growth:
    """Stones of the land's own rock, sunk into the ground, many small ones for each large one."""
    skin = mottled(rng, "stone", (colour, shade(colour, 0.7), shade(colour, 1.35)), 0.3, roughness=0.75, share=0.5)
    styles = ("rock", "rock", "stone" if rng.random() < 0.4 else "rock")
    return Growth(
        "stones",
        tuple((("rock", {"seed": int(rng.integers(2**31)), "style": style, "cells": 14}, skin),) for style in styles),
        _spread(
            rng,
            count,
            (1.5, 220.0),
            (0.07, largest),
            falloff=0.85,
            clumps=14.0,
            steep=1.0,
            above=(-0.5, 10_000.0),
            spacing=0.5,
            sink=0.22,
            align=0.7,
            tip=0.3,
        ),
        body=(0.5, 0.8),
    )


def fallen_wood(rng: np.random.Generator) -> Growth:
    """A few trunks on the ground."""
    bark = _bark(rng, 0.2)
    thickness = round(float(rng.uniform(0.08, 0.16)), 3)
    return Growth(
        "fallen wood",
        tuple((("log", {"seed": int(rng.integers(2**31)), "thickness": thickness}, bark),) for _ in range(2)),
        _spread(rng, int(rng.integers(2, 9)), (4.0, 50.0), (1.2, 4.5), falloff=0.7, spacing=3.0, sink=0.015, align=1.0),
        body=(0.4, 0.3),
    )


def _tuft(rng: np.random.Generator, blades: int, spread: float, width: float) -> dict[str, Value]:
    return {"seed": int(rng.integers(2**31)), "blades": blades, "spread": spread, "width": width}


def _bark(rng: np.random.Generator, size: float) -> Procedural:
    colour = near(rng, _BARK)
    return mottled(rng, "bark", (colour, shade(colour, 0.5), shade(colour, 1.4)), size, streak=4.0, roughness=0.85)


def _spread(
    rng: np.random.Generator, count: int, reach: tuple[float, float], size: tuple[float, float], **others: Value
) -> dict[str, Value]:
    lowest, highest = round(size[0], 3), round(size[1], 3)
    return {"salt": int(rng.integers(2**31)), "count": count, "reach": reach, "size": (lowest, highest), **others}
