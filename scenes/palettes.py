"""Colours that materials are drawn from: linear Rec.709 reflectances of real surfaces, and how far a draw may stray.

Dielectric base colours stay within [0.02, 0.9]; metals are bright: their strongest channel is at least 0.5.
"""

from __future__ import annotations

import colorsys

import numpy as np

from manifests.contract.color import srgb_decode

Colour = tuple[float, float, float]

DIELECTRIC_LOW, DIELECTRIC_HIGH = 0.02, 0.9
METAL_LOW = 0.15

METALS: tuple[Colour, ...] = (
    (0.916, 0.923, 0.924),  # aluminium
    (0.910, 0.778, 0.423),  # brass
    (0.932, 0.623, 0.522),  # copper
    (1.000, 0.773, 0.307),  # gold
    (0.654, 0.685, 0.701),  # chromium
    (0.530, 0.513, 0.494),  # iron
    (0.697, 0.641, 0.563),  # nickel
    (0.991, 0.985, 0.974),  # silver
    (0.669, 0.639, 0.598),  # stainless steel
    (0.620, 0.560, 0.505),  # titanium, polished
    (0.808, 0.844, 0.865),  # zinc
    (0.750, 0.500, 0.280),  # bronze
)
WOODS: tuple[Colour, ...] = (
    (0.560, 0.360, 0.190),  # pine
    (0.430, 0.250, 0.120),  # oak
    (0.250, 0.115, 0.055),  # cherry
    (0.135, 0.070, 0.038),  # walnut
    (0.600, 0.460, 0.310),  # birch
    (0.190, 0.060, 0.035),  # mahogany
    (0.330, 0.290, 0.250),  # weathered grey
    (0.060, 0.042, 0.034),  # wenge
)
STONES: tuple[Colour, ...] = (
    (0.800, 0.780, 0.740),  # white marble
    (0.620, 0.540, 0.430),  # cream
    (0.400, 0.390, 0.380),  # grey granite
    (0.080, 0.080, 0.085),  # black
    (0.110, 0.170, 0.130),  # verde
    (0.420, 0.230, 0.170),  # rosso
    (0.230, 0.250, 0.290),  # blue slate
    (0.350, 0.270, 0.180),  # sandstone
)
EARTHS: tuple[Colour, ...] = (
    (0.440, 0.386, 0.231),  # sand
    (0.180, 0.120, 0.070),  # loam
    (0.300, 0.280, 0.250),  # grey gravel
    (0.262, 0.095, 0.061),  # brick
    (0.100, 0.085, 0.070),  # wet soil
    (0.105, 0.133, 0.041),  # moss
    (0.555, 0.212, 0.110),  # terracotta
)
LEATHERS: tuple[Colour, ...] = (
    (0.240, 0.110, 0.050),  # tan
    (0.090, 0.040, 0.022),  # brown
    (0.035, 0.032, 0.031),  # black
    (0.280, 0.035, 0.030),  # oxblood
    (0.480, 0.390, 0.300),  # cream
    (0.045, 0.085, 0.060),  # bottle green
)


def _rounded(values: np.ndarray) -> Colour:
    red, green, blue = (round(float(value), 4) for value in values)
    return red, green, blue


def near(rng: np.random.Generator, anchors: tuple[Colour, ...], spread: float = 0.18) -> Colour:
    """A dielectric colour near a random anchor: brightness strays by `spread` (log), hue by a third of it."""
    anchor = np.asarray(anchors[rng.integers(len(anchors))])
    stray = np.exp(rng.normal(0.0, spread) + rng.normal(0.0, spread / 3, 3))
    return _rounded(np.clip(anchor * stray, DIELECTRIC_LOW, DIELECTRIC_HIGH))


def metal(rng: np.random.Generator, spread: float = 0.06) -> Colour:
    """A metal's reflectance near a measured one."""
    anchor = np.asarray(METALS[rng.integers(len(METALS))])
    values = np.clip(anchor * np.exp(rng.normal(0.0, spread / 2, 3) + rng.normal(0.0, spread)), METAL_LOW, 1.0)
    return _rounded(np.clip(values * max(1.0, 0.5 / values.max()), METAL_LOW, 1.0))


def paint(rng: np.random.Generator) -> Colour:
    """Any paint, dye or plastic: a quarter greys, the rest of any hue, chosen in sRGB where steps look even."""
    value = rng.uniform(0.2, 0.95)
    saturation = rng.uniform(0.0, 0.06) if rng.random() < 0.25 else 0.9 * rng.beta(2.0, 2.0)
    encoded = np.asarray(colorsys.hsv_to_rgb(rng.random(), saturation, value))
    return _rounded(np.clip(srgb_decode(encoded), DIELECTRIC_LOW, DIELECTRIC_HIGH))


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker or lighter, kept within the dielectric range."""
    return _rounded(np.clip(np.asarray(colour) * factor, DIELECTRIC_LOW, DIELECTRIC_HIGH))


def contrasting(rng: np.random.Generator, colour: Colour) -> Colour:
    """A second colour that can be told from the first: another paint, or the same one much lighter or darker."""
    if rng.random() < 0.4:
        bright = float(np.mean(colour)) > 0.25
        return shade(colour, rng.uniform(0.12, 0.4) if bright else rng.uniform(2.5, 5.0))
    return max((paint(rng) for _ in range(3)), key=lambda c: float(np.abs(np.sqrt(c) - np.sqrt(colour)).sum()))
