"""The true reflection lobe of a rough surface as what prefiltered light can give: a bent upright lobe and a wide one.

Karis' split sum puts the upright lobe of the surface's roughness at the mirror direction. True lobes are clipped by the
horizon, lean toward the normal, and have a sharp core on a wide foot; on a rough metal that costs 10 dB. Here light is

    (1 - wide) upright(about n + bend (r - n), roughness') + wide widest(about n)

with bend, roughness' and wide fitted for every angle and roughness: least squares over the sphere, in Legendre bands
that weigh as in natural light, where a coefficient's amplitude falls about as 1 / (1 + band).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import legendre
from numpy.polynomial.polynomial import polyvander

from renderers.microfacets import Reflection, upright, widest

BANDS = 13
_GRID = 9
_ZOOMS = 5


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
    weights = (2 * np.arange(BANDS) + 1) / (1 + np.arange(BANDS)) ** 2
    angle = np.arctan2(bends * np.sin(tilt)[:, None], 1 - bends + bends * np.cos(tilt)[:, None])
    core, foot = _core_bands(roughness), _foot_bands()  # (M, roughness, bands), (bands)
    core_true = np.einsum("mqk,mbk,k->mbq", core, _bands_along(moments, angle), weights)
    core_foot = np.einsum("mqk,mbk,k->mbq", core, legendre.legvander(np.cos(angle), BANDS - 1), weights * foot)
    core_core = np.einsum("mqk,mqk,k->mq", core, core, weights)[:, None]
    foot_true = (_bands_along(moments, np.zeros((len(tilt), 1)))[:, 0] @ (weights * foot))[:, None, None]
    between = (weights * foot**2).sum() - 2 * core_foot + core_core  # squared distance of foot and core
    along = foot_true - core_true - core_foot + core_core
    wide = np.clip(along / np.maximum(between, 1e-9), 0.0, 1.0)
    return core_core - 2 * core_true - 2 * wide * along + wide**2 * between, wide


def _moments(reflection: Reflection) -> np.ndarray:
    """(M, BANDS, BANDS): means of x^i z^j over the lobes."""
    weight = reflection.weight / reflection.weight.sum(axis=1, keepdims=True)
    x = weight[..., None] * polyvander(reflection.x, BANDS - 1)  # (M, S, i)
    return np.swapaxes(x, 1, 2) @ polyvander(reflection.z, BANDS - 1)


def _bands_along(moments: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Means (M, A, BANDS) of the Legendre polynomials of the cosine to the directions at `angle` (M, A) beyond n."""
    order = np.arange(BANDS)
    total = order[:, None] + order
    ways = np.array([[math.comb(i + j, i) if i + j < BANDS else 0 for j in order] for i in order])
    x, z = polyvander(-np.sin(angle), BANDS - 1), polyvander(np.cos(angle), BANDS - 1)
    terms = x[..., :, None] * z[..., None, :] * (ways * moments)[:, None]  # (M, A, i, j)
    powers = terms.reshape(*angle.shape, -1) @ np.eye(2 * BANDS)[total.ravel()][:, :BANDS]  # means of the cosine^n
    return powers @ _polynomials().T


@functools.cache
def _polynomials() -> np.ndarray:
    """(BANDS, BANDS): coefficients of the powers in each Legendre polynomial."""
    return np.array(
        [np.pad(legendre.leg2poly(row[: n + 1]), (0, BANDS - 1 - n)) for n, row in enumerate(np.eye(BANDS))]
    )


def _core_bands(roughness: np.ndarray) -> np.ndarray:
    """Legendre bands (..., BANDS) of the upright lobes of `roughness` (...), linear between known ones."""
    known = _known_bands()
    at = np.minimum(roughness * (len(known) - 1), len(known) - 1 - 1e-6)
    lower = at.astype(int)
    return known[lower] + (at - lower)[..., None] * (known[lower + 1] - known[lower])


@functools.cache
def _known_bands() -> np.ndarray:
    """Legendre bands (65, BANDS) of the upright lobes of 65 roughnesses from 0 to 1."""
    return np.array([_bands(functools.partial(upright, alpha=max(r**2, 1e-3))) for r in np.linspace(0, 1, 65)])


@functools.cache
def _foot_bands() -> np.ndarray:
    """Legendre bands (BANDS,) of the wide lobe."""
    return _bands(widest)


def _bands(lobe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Legendre bands (BANDS,) of an upright lobe, a function of the cosine; the first is 1."""
    cosine = 1 - np.linspace(0, 1, 2001)[1:] ** 3  # from 1 to 0, dense where sharp lobes are
    weighted = lobe(cosine) * np.gradient(-cosine)
    return weighted @ legendre.legvander(cosine, BANDS - 1) / weighted.sum()
