"""The families of procedural materials: which parameters each has and from which ranges they are drawn.

A family's graph is built in `datagen/blender/graphs` from exactly these parameters. Lengths inside a family are in
pattern units, 1 unit being the material's `size`; `depth` is the height of the relief in the same units. Every
material varies in base colour, roughness and normal over the surface, and in metalness where the real thing does.
About a third of the draws are glossy, because roughness can only be learnt where highlights are seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from scenes.palettes import EARTHS, LEATHERS, STONES, WOODS, Colour, contrasting, metal, near, paint, shade
from scenes.spec import Value

Params = dict[str, Value]
Draw = Callable[[np.random.Generator], Params]


@dataclass(frozen=True)
class MaterialFamily:
    """One kind of material: `draw` draws its parameters, `sizes` bounds the pattern's length.

    Lengths are in scene units, drawn log-uniformly. `ground`: whether a ground may be made of it.
    """

    draw: Draw
    sizes: tuple[float, float]
    ground: bool = True


# Figures of the built-in list have four digits; `distributions.draw` would round to six.


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 4)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), 4)


def _pick(rng: np.random.Generator, *names: str) -> str:
    return names[int(rng.integers(len(names)))]


def _finish(rng: np.random.Generator, glossy: float = 0.35) -> float:
    """A roughness: polished with probability `glossy`, else satin or matte with equal odds."""
    if rng.random() < glossy:
        return _uniform(rng, 0.03, 0.25)
    return _uniform(rng, 0.25, 0.55) if rng.random() < 0.5 else _uniform(rng, 0.55, 0.95)


def _either(rng: np.random.Generator, share: float) -> tuple[Colour, float]:
    """Colour and metalness of a metal with probability `share`, of a paint otherwise."""
    return (metal(rng), 1.0) if rng.random() < share else (paint(rng), 0.0)


def _wood(rng: np.random.Generator) -> Params:
    light = near(rng, WOODS)
    finish = _finish(rng, 0.4)
    return {
        "style": _pick(rng, "solid", "planks"),
        "light": light,
        "dark": shade(light, _uniform(rng, 0.25, 0.6)),
        "rings": _uniform(rng, 2.5, 7.0),
        "wobble": _uniform(rng, 0.15, 0.6),
        "grain": _uniform(rng, 0.2, 0.7),
        "tone": _uniform(rng, 0.15, 0.6),
        "length": _uniform(rng, 3.0, 8.0),
        "gap": _uniform(rng, 0.012, 0.035),
        "roughness": finish,
        "grain_roughness": min(1.0, round(finish + _uniform(rng, 0.08, 0.3), 4)),
        "depth": _uniform(rng, 0.01, 0.04),
    }


def _rust(rng: np.random.Generator) -> Params:
    painted = rng.random() < 0.7
    rust = near(rng, ((0.28, 0.085, 0.03), (0.16, 0.05, 0.025), (0.36, 0.14, 0.05)), 0.15)
    return {
        "painted": float(painted),
        "paint": paint(rng),
        "metal": metal(rng),
        "rust": rust,
        "rust_dark": shade(rust, _uniform(rng, 0.25, 0.5)),
        "amount": _uniform(rng, 0.3, 0.6),
        "chipped": _uniform(rng, 0.03, 0.1),
        "paint_roughness": _finish(rng, 0.5),
        "metal_roughness": _uniform(rng, 0.12, 0.45),
        "rust_roughness": _uniform(rng, 0.75, 0.98),
        "depth": _uniform(rng, 0.01, 0.035),
    }


def _tiles(rng: np.random.Generator) -> Params:
    colour, metallic = _either(rng, 0.15)
    other = metal(rng) if metallic else (contrasting(rng, colour) if rng.random() < 0.5 else colour)
    finish = _finish(rng, 0.6)
    return {
        "layout": _pick(rng, "grid", "brick", "hex"),
        "first": colour,
        "second": other,
        "grout": near(rng, ((0.45, 0.43, 0.4), (0.12, 0.12, 0.12), (0.6, 0.58, 0.55)), 0.2),
        "metallic": metallic,
        "tone": _uniform(rng, 0.05, 0.4),
        "gap": _uniform(rng, 0.02, 0.05),
        "bevel": _uniform(rng, 0.03, 0.09),
        "mottle": _uniform(rng, 0.0, 0.5),
        "roughness": finish,
        "roughness_spread": _uniform(rng, 0.02, 0.25),
        "grout_roughness": _uniform(rng, 0.7, 0.95),
        "depth": _uniform(rng, 0.03, 0.08),
    }


def _brushed(rng: np.random.Generator) -> Params:
    low = _uniform(rng, 0.1, 0.35)
    return {
        "metal": metal(rng),
        "tarnish": _uniform(rng, 0.5, 0.85),
        "smudge": _uniform(rng, 0.0, 0.25),
        "stretch": _uniform(rng, 30.0, 90.0),
        "roughness": low,
        "streak_roughness": round(low + _uniform(rng, 0.1, 0.35), 4),
        "depth": _uniform(rng, 0.002, 0.008),
    }


def _scratched(rng: np.random.Generator) -> Params:
    colour, metallic = _either(rng, 0.4)
    finish = _uniform(rng, 0.04, 0.35)
    return {
        "coat": colour,
        "coat_metallic": metallic,
        "bare": metal(rng),
        "angle": _uniform(rng, 0.0, 180.0),
        "width": _uniform(rng, 0.008, 0.03),
        "wear": _uniform(rng, 0.4, 0.9),
        "roughness": finish,
        "smudge": _uniform(rng, 0.05, 0.3),
        "bare_roughness": _uniform(rng, 0.15, 0.5),
        "depth": _uniform(rng, 0.006, 0.02),
    }


def _marble(rng: np.random.Generator) -> Params:
    stone = near(rng, STONES)
    gilded = rng.random() < 0.2
    bright = float(np.mean(stone)) > 0.25
    return {
        "stone": stone,
        "cloud": shade(stone, _uniform(rng, 0.5, 0.85) if bright else _uniform(rng, 1.3, 2.5)),
        "vein": metal(rng) if gilded else shade(stone, _uniform(rng, 0.12, 0.4) if bright else _uniform(rng, 3, 8)),
        "vein_metallic": float(gilded),
        "warp": _uniform(rng, 0.5, 1.6),
        "width": _uniform(rng, 0.02, 0.07),
        "roughness": _finish(rng, 0.65),
        "vein_roughness": _uniform(rng, 0.15, 0.6),
        "depth": _uniform(rng, 0.02, 0.06),
    }


def _terrazzo(rng: np.random.Generator) -> Params:
    chips = tuple(near(rng, STONES, 0.3) if rng.random() < 0.6 else paint(rng) for _ in range(2))
    return {
        "binder": near(rng, STONES, 0.25),
        "first": chips[0],
        "second": chips[1],
        "third": metal(rng),
        "metal_share": _uniform(rng, 0.05, 0.35) if rng.random() < 0.5 else 0.0,
        "fill": _uniform(rng, 0.35, 0.8),
        "roughness": _finish(rng, 0.6),
        "binder_roughness": _uniform(rng, 0.25, 0.7),
        "depth": _uniform(rng, 0.01, 0.04),
    }


def _fabric(rng: np.random.Generator) -> Params:
    warp = paint(rng)
    lame = rng.random() < 0.15
    return {
        "weave": _pick(rng, "plain", "twill", "knit"),
        "warp": warp,
        "weft": metal(rng) if lame else (contrasting(rng, warp) if rng.random() < 0.5 else shade(warp, 0.75)),
        "weft_metallic": float(lame),
        "fuzz": _uniform(rng, 0.15, 0.5),
        "gap_shade": _uniform(rng, 0.2, 0.5),
        "roughness": _uniform(rng, 0.55, 0.85) if rng.random() < 0.7 else _uniform(rng, 0.25, 0.45),
        "weft_roughness": _uniform(rng, 0.2, 0.4) if lame else _uniform(rng, 0.5, 0.95),
        "depth": _uniform(rng, 0.08, 0.22),
    }


def _concrete(rng: np.random.Generator) -> Params:
    base = near(rng, ((0.51, 0.51, 0.51), (0.36, 0.35, 0.33), (0.62, 0.58, 0.5), (0.75, 0.73, 0.7), (0.5, 0.33, 0.23)))
    polished = rng.random() < 0.3
    low = _uniform(rng, 0.12, 0.35) if polished else _uniform(rng, 0.5, 0.75)
    return {
        "base": base,
        "stain": shade(base, _uniform(rng, 0.45, 0.75)),
        "pit": shade(base, _uniform(rng, 0.2, 0.5)),
        "pits": _uniform(rng, 0.05, 0.28),
        "stain_amount": _uniform(rng, 0.4, 1.0),
        "roughness": low,
        "stain_roughness": round(min(0.98, low + _uniform(rng, 0.1, 0.3)), 4),
        "depth": _uniform(rng, 0.005, 0.015) if polished else _uniform(rng, 0.015, 0.05),
    }


def _leather(rng: np.random.Generator) -> Params:
    base = near(rng, LEATHERS, 0.2) if rng.random() < 0.7 else paint(rng)
    finish = _uniform(rng, 0.18, 0.6)
    return {
        "base": base,
        "crease": shade(base, _uniform(rng, 0.25, 0.6)),
        "worn": shade(base, _uniform(rng, 1.3, 2.2)),
        "wear": _uniform(rng, 0.1, 0.7),
        "roughness": finish,
        "crease_roughness": round(min(0.98, finish + _uniform(rng, 0.15, 0.35)), 4),
        "depth": _uniform(rng, 0.05, 0.16),
    }


def _flakes(rng: np.random.Generator) -> Params:
    base = paint(rng)
    return {
        "base": base,
        "flake": metal(rng, 0.12),
        "share": _uniform(rng, 0.15, 0.6),
        "roughness": _uniform(rng, 0.05, 0.3),
        "flake_roughness": _uniform(rng, 0.08, 0.35),
        "peel": _uniform(rng, 0.0, 0.3),
        "depth": _uniform(rng, 0.4, 1.2),
    }


def _gravel(rng: np.random.Generator) -> Params:
    wet = rng.random() < 0.35
    return {
        "soil": near(rng, EARTHS, 0.25),
        "first": near(rng, STONES + EARTHS, 0.25),
        "second": near(rng, STONES + EARTHS, 0.25),
        "fill": _uniform(rng, 0.35, 0.75),
        "wet": _uniform(rng, 0.3, 0.6) if wet else 0.0,
        "roughness": _uniform(rng, 0.5, 0.85),
        "soil_roughness": _uniform(rng, 0.05, 0.2) if wet else _uniform(rng, 0.8, 0.97),
        "depth": _uniform(rng, 0.08, 0.25),
    }


def _pattern(rng: np.random.Generator) -> Params:
    (first, first_metallic), (second, second_metallic) = _either(rng, 0.4), _either(rng, 0.4)
    if first_metallic == second_metallic == 0.0:
        second = contrasting(rng, first)
    return {
        "layout": _pick(rng, "checker", "stripes", "dots", "diamonds"),
        "first": first,
        "second": second,
        "first_metallic": first_metallic,
        "second_metallic": second_metallic,
        "share": _uniform(rng, 0.3, 0.6),
        "first_roughness": _finish(rng, 0.45),
        "second_roughness": _finish(rng, 0.3),
        "smudge": _uniform(rng, 0.0, 0.2),
        "depth": _uniform(rng, 0.02, 0.06),
    }


def _ceramic(rng: np.random.Generator) -> Params:
    glaze = paint(rng)
    return {
        "glaze": glaze,
        "pool": shade(glaze, _uniform(rng, 0.35, 0.75)),
        "crack": shade(glaze, _uniform(rng, 0.08, 0.3)),
        "crackle": _uniform(rng, 0.015, 0.05),
        "roughness": _uniform(rng, 0.02, 0.12),
        "pool_roughness": _uniform(rng, 0.12, 0.35),
        "crack_roughness": _uniform(rng, 0.5, 0.8),
        "depth": _uniform(rng, 0.02, 0.08),
    }


def _plastic(rng: np.random.Generator) -> Params:
    base = paint(rng)
    finish = _uniform(rng, 0.05, 0.5)
    return {
        "relief": _pick(rng, "grain", "pebbles", "ribs"),
        "base": base,
        "scuff": shade(base, _uniform(rng, 0.6, 0.85) if rng.random() < 0.5 else _uniform(rng, 1.2, 1.6)),
        "scuffs": _uniform(rng, 0.2, 0.8),
        "roughness": finish,
        "scuff_roughness": round(finish + _uniform(rng, 0.1, 0.4), 4),
        "depth": _uniform(rng, 0.04, 0.16),
    }


def _hammered(rng: np.random.Generator) -> Params:
    patina = near(rng, ((0.16, 0.42, 0.34), (0.08, 0.06, 0.05), (0.22, 0.12, 0.06), (0.3, 0.42, 0.4)), 0.2)
    return {
        "metal": metal(rng),
        "patina": patina,
        "amount": _uniform(rng, 0.15, 0.6) if rng.random() < 0.7 else 0.0,
        "roughness": _uniform(rng, 0.06, 0.35),
        "patina_roughness": _uniform(rng, 0.55, 0.9),
        "smudge": _uniform(rng, 0.05, 0.25),
        "depth": _uniform(rng, 0.1, 0.3),
    }


MATERIAL_FAMILIES: Mapping[str, MaterialFamily] = MappingProxyType(
    {
        "wood": MaterialFamily(_wood, (0.15, 0.5)),
        "rust": MaterialFamily(_rust, (0.25, 1.0)),
        "tiles": MaterialFamily(_tiles, (0.12, 0.6)),
        "brushed": MaterialFamily(_brushed, (0.2, 0.6)),
        "scratched": MaterialFamily(_scratched, (0.25, 0.8)),
        "marble": MaterialFamily(_marble, (0.35, 1.2)),
        "terrazzo": MaterialFamily(_terrazzo, (0.06, 0.3)),
        "fabric": MaterialFamily(_fabric, (0.03, 0.12)),
        "concrete": MaterialFamily(_concrete, (0.3, 1.0)),
        "leather": MaterialFamily(_leather, (0.04, 0.15), ground=False),
        "flakes": MaterialFamily(_flakes, (0.012, 0.04), ground=False),
        "gravel": MaterialFamily(_gravel, (0.06, 0.25)),
        "pattern": MaterialFamily(_pattern, (0.12, 0.6)),
        "ceramic": MaterialFamily(_ceramic, (0.08, 0.35)),
        "plastic": MaterialFamily(_plastic, (0.05, 0.2), ground=False),
        "hammered": MaterialFamily(_hammered, (0.08, 0.3), ground=False),
    }
)
"""Every family by name."""


def draw_procedural(family: str, rng: np.random.Generator) -> tuple[float, Params]:
    """Draw (size in scene units, parameters); `offset` moves the pattern, so that no two materials show one patch."""
    kind = MATERIAL_FAMILIES[family]
    params = kind.draw(rng)
    x, y, z = (round(float(value), 3) for value in rng.uniform(0.0, 64.0, 3))
    params["offset"] = (x, y, z)
    return _log_uniform(rng, *kind.sizes), params
