"""What a metallic-roughness surface does with its energy, as one small table: the second factor of the split sum.

The surface is Cycles' Principled BSDF with IOR 1.5 and alpha = roughness squared: dielectric Fresnel for the insulating
share, Schlick's curve from the base colour for the metal share; energy lost to multiple scattering given back after
Kulla and Conty ("Revisiting Physically Based Shading at Imageworks", 2017), which Cycles does by scaling the
single-scattering lobe; the diffuse base gets what the insulating layer lets through. The table is integrated once a
process, without random numbers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from renderers import lobes
from renderers.microfacets import fresnel, reflect

_SIZE = 32
_SCHLICK_AVERAGE = 1 / 21
"""Share of 1 - F0 in the hemispherical average of Schlick's Fresnel."""


@dataclass(frozen=True)
class Response:
    """How a pixel reflects; every field is (N, 1, H, W).

    `scale`, `bias`: directional albedo of a metal of base colour F0 is F0 scale + bias before multiple scattering;
    `missing`: what single scattering loses, over what it keeps; `average`: hemispherical albedo for Fresnel 1;
    `dielectric`: directional albedo of the insulating layer, multiple scattering included;
    `bend`, `roughness`, `wide`: the lobe's shape, see `renderers.lobes`.
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
    return np.stack([*albedos, *lobes.fit(reflection, cosine, roughness)])


def _dielectric_average() -> float:
    """Hemispherical average of the dielectric's Fresnel reflectance."""
    cosine = (np.arange(1024) + 0.5) / 1024
    return float((2 * cosine * fresnel(cosine)).mean())
