"""How a metallic-roughness surface reflects, as one small table: the second factor of the split sum.

The surface is Cycles' Principled BSDF with IOR 1.5 and alpha = roughness squared: dielectric Fresnel for the insulating
share, Schlick's curve from the base colour for the metal share; energy lost to multiple scattering given back after
Kulla and Conty ("Revisiting Physically Based Shading at Imageworks", 2017), which Cycles does by scaling the
single-scattering lobe; the diffuse base gets what the insulating layer lets through. The table (`response`) is
integrated once per process, without random numbers, from the GGX microfacet model (`reflect`). Directions are in the
frame of the normal (z), with the viewer at (sine, 0, cosine) of the angle to it.

The table also says which prefiltered light stands for the true lobe (`fit`). Karis' split sum puts the upright lobe of
the surface's roughness at the mirror direction. True lobes are clipped by the horizon, lean toward the normal, and have
a sharp core on a wide foot; on a rough metal that costs 10 dB. Here light is

    (1 - wide) upright(about n + bend (r - n), roughness') + wide widest(about n)

with bend, roughness' and wide fitted for every angle and roughness: least squares over the sphere, in Legendre bands
that weigh as in natural light, where a coefficient's amplitude falls about as 1 / (1 + band).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.polynomial import legendre
from numpy.polynomial.polynomial import polyvander
from torch import Tensor

IOR = 1.5
_SIZE = 32
"""Angles, and roughnesses, of the table."""
_STRATA = 32
"""Per axis of the sampled half vectors."""
_SCHLICK_AVERAGE = 1 / 21
"""Share of 1 - F0 in the hemispherical average of Schlick's Fresnel."""
_BANDS = 13
_GRID, _ZOOMS = 9, 5
"""Of the search for bend and roughness': steps per axis, and how often it looks closer."""


@dataclass(frozen=True)
class Response:
    """How a pixel reflects; every field is (N, 1, H, W).

    `scale`, `bias`: directional albedo of a metal of base colour F0 is F0 scale + bias before multiple scattering;
    `missing`: what single scattering loses, over what it keeps; `average`: hemispherical albedo for Fresnel 1;
    `dielectric`: directional albedo of the insulating layer, multiple scattering included;
    `bend`, `roughness`, `wide`: the lobe's shape, as the module says.
    """

    scale: Tensor
    bias: Tensor
    missing: Tensor
    average: Tensor
    dielectric: Tensor
    bend: Tensor
    roughness: Tensor
    wide: Tensor

    def metal(self, basecolor: Tensor) -> Tensor:
        """Directional albedo (N, 3, H, W) of a metal with `basecolor` (N, 3, H, W), multiple scattering included."""
        mean = basecolor + (1 - basecolor) * _SCHLICK_AVERAGE
        again = mean * self.average / (1 - mean * (1 - self.average))
        return (basecolor * self.scale + self.bias) * (1 + again * self.missing)


def response(cosine: Tensor, roughness: Tensor) -> Response:
    """Table lookup for n.v and perceptual roughness, both (N, 1, H, W) in [0, 1]; differentiable in both."""
    grid = torch.stack([2 * cosine - 1, 2 * roughness - 1], dim=-1)
    table = torch.from_numpy(_table()).to(cosine)[None]
    found = F.grid_sample(table, grid.view(1, 1, -1, 2), padding_mode="border", align_corners=True)
    return Response(*found.view(-1, *cosine.shape))  # (1, 8, 1, N) -> 8 x (N, 1, H, W)


@functools.cache
def _table() -> np.ndarray:
    """(8, roughness, n.v) float32: the fields of `Response`."""
    cosine = np.linspace(0, 1, _SIZE)
    rows = [_integrate(np.maximum(cosine, 1e-3), roughness) for roughness in np.linspace(0, 1, _SIZE)]
    albedo, schlick, dielectric, *shape = np.moveaxis(np.array(rows), 0, 1)
    average = np.trapezoid(2 * cosine * albedo, cosine, axis=1)[:, None] + np.zeros_like(albedo)
    missing = (1 - albedo) / albedo
    mean = _dielectric_average()
    again = mean * average / (1 - mean * (1 - average))
    fields = [albedo - schlick, schlick, missing, average, dielectric * (1 + again * missing), *shape]
    return np.stack(fields).astype(np.float32)


def _integrate(cosine: np.ndarray, roughness: float) -> np.ndarray:
    """(6, n.v): albedo for Fresnel 1, for (1 - v.h)^5 and for IOR 1.5; bend, roughness and wide of the lobe."""
    reflection = reflect(cosine, max(roughness**2, 1e-4))
    curves = (np.ones_like(reflection.overlap), (1 - reflection.overlap) ** 5, fresnel(reflection.overlap))
    albedos = [(reflection.weight * curve).mean(axis=1) for curve in curves]
    return np.stack([*albedos, *fit(reflection, cosine, roughness)])


def _dielectric_average() -> float:
    """Hemispherical average of the dielectric's Fresnel reflectance."""
    cosine = (np.arange(1024) + 0.5) / 1024
    return float((2 * cosine * fresnel(cosine)).mean())


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


def fit(reflection: Reflection, cosine: np.ndarray, roughness: float) -> np.ndarray:
    """(3, M): bend, roughness' and wide of the lobes seen at `cosine` (M,) to the normal."""
    if roughness == 0.0:
        return np.stack([np.ones_like(cosine), np.zeros_like(cosine), np.zeros_like(cosine)])
    moments = _moments(reflection)
    tilt = np.arccos(cosine)
    bend, share = np.full_like(tilt, 0.75), np.full_like(tilt, 0.75)
    for zoom in range(_ZOOMS):
        steps = np.linspace(-1, 1, _GRID) / 3**zoom
        bends = np.clip(bend[:, None] + 0.35 * steps, 0.4, 1.1)
        shares = np.clip(share[:, None] + 0.25 * steps, 0.5, 1.0)
        errors, wides = _errors(moments, tilt, bends, roughness * shares)
        best = errors.reshape(len(tilt), -1).argmin(axis=1)
        cell = np.arange(len(tilt))
        bend, share = bends[cell, best // _GRID], shares[cell, best % _GRID]
    bend[cosine == 1.0] = bend[np.argmax(np.where(cosine < 1.0, cosine, 0.0))]  # n = r: any bend is the same direction
    return np.stack([bend, roughness * share, wides.reshape(len(tilt), -1)[cell, best]])


def _errors(
    moments: np.ndarray, tilt: np.ndarray, bends: np.ndarray, roughness: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors (M, bends, roughness) of the best mixtures, up to a constant of each M, and their `wide`."""
    weights = (2 * np.arange(_BANDS) + 1) / (1 + np.arange(_BANDS)) ** 2
    angle = np.arctan2(bends * np.sin(tilt)[:, None], 1 - bends + bends * np.cos(tilt)[:, None])
    core, foot = _core_bands(roughness), _foot_bands()  # (M, roughness, bands), (bands)
    core_true = np.einsum("mqk,mbk,k->mbq", core, _bands_along(moments, angle), weights)
    core_foot = np.einsum("mqk,mbk,k->mbq", core, legendre.legvander(np.cos(angle), _BANDS - 1), weights * foot)
    core_core = np.einsum("mqk,mqk,k->mq", core, core, weights)[:, None]
    foot_true = (_bands_along(moments, np.zeros((len(tilt), 1)))[:, 0] @ (weights * foot))[:, None, None]
    between = (weights * foot**2).sum() - 2 * core_foot + core_core  # squared distance of foot and core
    along = foot_true - core_true - core_foot + core_core
    wide = np.clip(along / np.maximum(between, 1e-9), 0.0, 1.0)
    return core_core - 2 * core_true - 2 * wide * along + wide**2 * between, wide


def _moments(reflection: Reflection) -> np.ndarray:
    """(M, _BANDS, _BANDS): means of x^i z^j over the lobes."""
    weight = reflection.weight / reflection.weight.sum(axis=1, keepdims=True)
    x = weight[..., None] * polyvander(reflection.x, _BANDS - 1)  # (M, S, i)
    return np.swapaxes(x, 1, 2) @ polyvander(reflection.z, _BANDS - 1)


def _bands_along(moments: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Means (M, A, _BANDS) of the Legendre polynomials of the cosine to the directions at `angle` (M, A) beyond n."""
    order = np.arange(_BANDS)
    total = order[:, None] + order
    ways = np.array([[math.comb(i + j, i) if i + j < _BANDS else 0 for j in order] for i in order])
    x, z = polyvander(-np.sin(angle), _BANDS - 1), polyvander(np.cos(angle), _BANDS - 1)
    terms = x[..., :, None] * z[..., None, :] * (ways * moments)[:, None]  # (M, A, i, j)
    powers = terms.reshape(*angle.shape, -1) @ np.eye(2 * _BANDS)[total.ravel()][:, :_BANDS]  # means of the cosine^n
    return powers @ _polynomials().T


@functools.cache
def _polynomials() -> np.ndarray:
    """(_BANDS, _BANDS): coefficients of the powers in each Legendre polynomial."""
    return np.array(
        [np.pad(legendre.leg2poly(row[: n + 1]), (0, _BANDS - 1 - n)) for n, row in enumerate(np.eye(_BANDS))]
    )


def _core_bands(roughness: np.ndarray) -> np.ndarray:
    """Legendre bands (..., _BANDS) of the upright lobes of `roughness` (...), linear between known ones."""
    known = _known_bands()
    at = np.minimum(roughness * (len(known) - 1), len(known) - 1 - 1e-6)
    lower = at.astype(int)
    return known[lower] + (at - lower)[..., None] * (known[lower + 1] - known[lower])


@functools.cache
def _known_bands() -> np.ndarray:
    """Legendre bands (65, _BANDS) of the upright lobes of 65 roughnesses from 0 to 1."""
    return np.array([_bands(functools.partial(upright, alpha=max(r**2, 1e-3))) for r in np.linspace(0, 1, 65)])


@functools.cache
def _foot_bands() -> np.ndarray:
    """Legendre bands (_BANDS,) of the wide lobe."""
    return _bands(widest)


def _bands(lobe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Legendre bands (_BANDS,) of an upright lobe, a function of the cosine; the first is 1."""
    cosine = 1 - np.linspace(0, 1, 2001)[1:] ** 3  # from 1 to 0, dense where sharp lobes are
    weighted = lobe(cosine) * np.gradient(-cosine)
    return weighted @ legendre.legvander(cosine, _BANDS - 1) / weighted.sum()
