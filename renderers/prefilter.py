"""Panoramas blurred once for every roughness, so that shading a pixel is a lookup: the first factor of the split sum.

A filter that depends only on the angle between directions is, on a lat-long grid, a circular convolution along the
azimuth with one kernel for each pair of rows. The Fourier transform along the azimuth makes of it one small real matrix
a frequency: exact, a few million operations for all levels of a clip, and at full resolution for every level.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from renderers.environment import framed, row_edges, shrink_panorama
from renderers.microfacets import upright, widest

LEVELS = 8
"""GGX levels above the mirror: level i has roughness i / LEVELS."""

MAX_HEIGHT, MAX_WIDTH = 64, 128
"""Largest panorama that is filtered; larger ones are averaged down to it first."""


@dataclass(frozen=True)
class Prefiltered:
    """Mean light by direction, from panoramas (N, 3, ., .) of which at most 64x128 pixels (h, w) were kept.

    glossy: (N, 3, (LEVELS + 1) (h + 2), w + 2), levels below each other: the panorama, then its mean under upright GGX
    lobes; broad: (N, 6, h + 2, w + 2), mean under the cosine lobe (irradiance over pi), then under the lobe of
    roughness 1. All are `framed`.
    """

    glossy: Tensor
    broad: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.broad.shape[-2] - 2, self.broad.shape[-1] - 2

    def glossy_row(self, row: Tensor, level: Tensor) -> Tensor:
        """Row in `glossy` of a panorama's `row`, on an integral `level`."""
        height = self.size[0]
        return row.clamp(-1.0, height) + level * (height + 2)


def prefilter(panorama: Tensor) -> Prefiltered:
    """Filter panoramas (N, 3, h, w) of linear radiance; differentiable."""
    height, width = min(panorama.shape[-2], MAX_HEIGHT), min(panorama.shape[-1], MAX_WIDTH)
    if panorama.shape[-2:] != (height, width):
        panorama = shrink_panorama(panorama, height, width)
    count = len(panorama)
    with torch.autocast(panorama.device.type, enabled=False):
        spectrum = torch.view_as_real(torch.fft.rfft(panorama.float(), dim=-1))  # (N, 3, h, f, 2)
        columns = spectrum.permute(3, 2, 0, 1, 4).reshape(spectrum.shape[3], height, -1)  # (f, h, N 3 2)
        filtered = _filters(height, width).to(columns) @ columns  # (f, lobes h, N 3 2)
        filtered = filtered.view(*filtered.shape[:2], count, 3, 2).permute(2, 3, 1, 0, 4).contiguous()
        mean = torch.fft.irfft(torch.view_as_complex(filtered), n=width, dim=-1).clamp_min(0.0).to(panorama)
    mean = framed(mean.unflatten(-2, (LEVELS + 2, height)))  # (N, 3, lobes, h + 2, w + 2)
    glossy = torch.cat([framed(panorama).unsqueeze(2), mean[:, :, :LEVELS]], dim=2).flatten(2, 3)
    broad = mean[:, :, LEVELS:].transpose(1, 2).flatten(1, 2)  # (N, 3, 2, h + 2, w + 2) -> (N, 6, h + 2, w + 2)
    return Prefiltered(glossy, broad)


@functools.cache
@torch.inference_mode(False)
def _filters(height: int, width: int) -> Tensor:
    """Real spectra (width // 2 + 1, (LEVELS + 2) height, height) of the filters: glossy, cosine, roughness 1."""
    alphas = [(level / LEVELS) ** 2 for level in range(1, LEVELS + 1)]
    lobes: list[Callable[[np.ndarray], np.ndarray]] = [functools.partial(upright, alpha=alpha) for alpha in alphas]
    finest = [int(np.clip(np.ceil(2 * np.pi / height / alpha), 2, 8)) for alpha in alphas]
    lobes += [lambda cosine: np.maximum(cosine, 0.0), widest]
    kernels = [_kernel(height, width, shape, finer) for shape, finer in zip(lobes, [*finest, 2, 2], strict=True)]
    spectra = np.fft.rfft(np.concatenate(kernels), axis=-1).real  # real, for kernels are even in the azimuth
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(spectra, -1, 0), dtype=np.float32))


def _kernel(height: int, width: int, shape: Callable[[np.ndarray], np.ndarray], finer: int) -> np.ndarray:
    """Weights (row out, row in, columns between), 1 in sum for every row out, of a lobe `shape` of the cosine.

    Each pixel of the input is a cell of constant radiance, integrated with `finer` squared points.
    """
    centres = np.linspace(1 / height, 1 - 1 / height, height) * np.pi
    steps = (np.arange(finer) + 0.5) / finer
    heights = np.cos(row_edges(height))
    cosine = heights[:-1, None] * (1 - steps) + heights[1:, None] * steps  # (h, finer): points of equal solid angle
    area = (heights[:-1] - heights[1:])[:, None]
    azimuth = (np.arange(width)[:, None] + steps - 0.5) / width * 2 * np.pi  # (w, finer)
    kernel = np.empty((height, height, width))
    across, along = np.sqrt(1 - cosine**2)[..., None, None], np.cos(azimuth)
    for row, centre in enumerate(centres):
        angles = np.cos(centre) * cosine[..., None, None] + np.sin(centre) * across * along
        kernel[row] = shape(angles).mean(axis=(1, 3)) * area
    return kernel / kernel.sum(axis=(1, 2), keepdims=True)
