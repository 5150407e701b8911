"""The GGX microfacet model in numbers: what Cycles' Principled BSDF does with light at one roughness and IOR 1.5.

Directions are in the frame of the normal (z), with the viewer at (sine, 0, cosine) of the angle to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IOR = 1.5
_STRATA = 32


@dataclass(frozen=True, eq=False)
class Reflection:
    """Light directions of one roughness, for M view angles and S samples; their mean is the BRDF times the cosine.

    x, z: (M, S) components of the directions (symmetric in y); weight: (M, S) share of the light that is not masked;
    overlap: (M, S) cosine between viewer and half vector.
    """

    x: np.ndarray
    z: np.ndarray
    weight: np.ndarray
    overlap: np.ndarray


def reflect(cosine: np.ndarray, alpha: float) -> Reflection:
    """Light that reaches a viewer at `cosine` (M,) > 0 to the normal, sampled without random numbers.

    Half vectors are the visible normals of GGX (Dupuy and Benyoub, "Sampling Visible GGX Normals with Spherical Caps",
    2023) at the centres of strata; masking is the height-correlated Smith term.
    """
    cosine = cosine[:, None]
    sine = np.sqrt(1 - cosine**2)
    u, v = (part.ravel() for part in np.meshgrid(*[(np.arange(_STRATA) + 0.5) / _STRATA] * 2))
    length = np.hypot(alpha * sine, cosine)
    across, along = alpha * sine / length, cosine / length  # the viewer where GGX is a hemisphere
    height = (1 - v) * (1 + along) - along
    ring = np.sqrt(np.maximum(1 - height**2, 0.0))
    half_x = alpha * (ring * np.cos(np.pi * u) + across)  # u spans half a turn: the rest is its mirror image
    half_y = alpha * (ring * np.sin(np.pi * u))
    half_z = height + along
    norm = np.sqrt(half_x**2 + half_y**2 + half_z**2)
    half_x, half_z = half_x / norm, half_z / norm
    overlap = sine * half_x + cosine * half_z
    x, z = 2 * overlap * half_x - sine, 2 * overlap * half_z - cosine
    viewer, light = smith(cosine, alpha), smith(z, alpha)
    return Reflection(x, z, np.where(z > 0, (1 + viewer) / (1 + viewer + light), 0.0), overlap)


def smith(cosine: np.ndarray, alpha: float) -> np.ndarray:
    """Smith's Lambda for GGX at `cosine` to the normal."""
    squared = np.maximum(cosine, 1e-6) ** 2
    return 0.5 * (np.sqrt(1 + alpha**2 * (1 - squared) / squared) - 1)


def fresnel(cosine: np.ndarray) -> np.ndarray:
    """Unpolarised reflectance of a dielectric of IOR 1.5 seen from air."""
    g = np.sqrt(IOR**2 - 1 + cosine**2)
    ratio = (cosine * (g + cosine) - 1) / (cosine * (g - cosine) + 1)
    return 0.5 * ((g - cosine) / (g + cosine)) ** 2 * (1 + ratio**2)


def upright(cosine: np.ndarray, alpha: float) -> np.ndarray:
    """GGX lobe for n = v = r at `cosine` of the angle to it, unnormalised: D of the half angle times n.l.

    The prefilter of Karis, "Real Shading in Unreal Engine 4" (2013).
    """
    sine = (1 - cosine) / 2  # squared sine of the half angle
    return np.maximum(cosine, 0.0) / (sine + alpha**2 * (1 - sine)) ** 2


def widest(cosine: np.ndarray) -> np.ndarray:
    """The true lobe of roughness 1 for n = v, at `cosine` to n, unnormalised."""
    lit = np.maximum(cosine, 0.0)
    return lit / (1 + lit)
