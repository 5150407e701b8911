"""Analytic shading of G-buffers under a panorama: the split sum. Light arrives unoccluded and nothing reflects twice.

It is a baseline, the forward renderer's physical hint, what the weight-free light solver differentiates, and by what
`automatic_exposure` says how bright a relit clip should be. Radiance =
diffuse + specular + background, where (Karis, "Real Shading in Unreal Engine 4", 2013)

    diffuse  = (1 - metallic) basecolor (1 - layer) mean of light under the cosine lobe about n
    specular = ((1 - metallic) layer + metallic metal) mean of light under the GGX lobe

with `layer` and `metal` the directional albedos of `renderers.shading.brdf`, which also says what stands for the GGX
lobe.

The means are looked up in panoramas that are blurred once for every roughness (`prefilter`). A filter that depends only
on the angle between directions is, on a lat-long grid, a circular convolution along the azimuth with one kernel for
each pair of rows. The Fourier transform along the azimuth makes of it one small real matrix per frequency: exact, a few
million operations for all levels of a clip, and at full resolution for every level.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifests.contract.color import TARGET, srgb_decode, surface_level
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers.light.panoramas import (
    framed,
    given_light,
    lookup,
    lookup_framed,
    panorama_position,
    row_edges,
    shrink_panorama,
)
from renderers.modelspace import channels_last, gbuffer_values
from renderers.shading.brdf import Response, response, upright, widest
from renderers.shading.view_geometry import by_frame, camera_rays, pinhole

LEVELS = 8
"""GGX levels above the mirror: level i has roughness i / LEVELS."""

MAX_HEIGHT, MAX_WIDTH = 64, 128
"""Largest panorama that is filtered; larger ones are averaged down to it first."""

BACKGROUND = 0.999
"""Relative depth from which a pixel shows no surface."""

_EXPOSURE_FRAMES = 4
_EXPOSURE_GRID = (32, 64)
_LEAST_COSINE = 1e-3
_NEEDED = ("basecolor", "normal", "roughness", "metallic")


@dataclass(frozen=True)
class Shading:
    """Linear radiance (B, T, 3, H, W) by origin. `diffuse` and `specular` are weighted with the pixel's coverage,
    `background` with the rest, so that the three add up."""

    diffuse: Tensor
    specular: Tensor
    background: Tensor

    @property
    def radiance(self) -> Tensor:
        """What the camera sees (B, T, 3, H, W)."""
        return self.diffuse + self.specular + self.background


def split_sum(gbuffers: Mapping[str, Tensor], panorama: Tensor, rays: Tensor) -> Shading:
    """Shade G-buffers, values (B, T, C, H, W), under panoramas (B, T, 3, h, w) of linear radiance.

    gbuffers: basecolor, normal, roughness, metallic, and `mask` (coverage) or, without it, metric `depth` (+inf is
    background; relative depth cannot tell). rays: `camera_rays`, (3, H, W), (B, 3, H, W) or (B, T, 3, H, W). Panoramas
    above 64x128 are filtered at that size, but mirrors and the background show them as they are. Differentiable in all.
    """
    missing = [name for name in _NEEDED if name not in gbuffers]
    if missing or not {"mask", "depth"} & set(gbuffers):
        raise InputError(
            f"split-sum shading lacks {', '.join(missing) or 'mask or depth'}", f"it has {', '.join(gbuffers)}"
        )
    if panorama.ndim != 5 or panorama.shape[:3] != gbuffers["normal"].shape[:3]:
        shapes = f"{tuple(panorama.shape)} for G-buffers {tuple(gbuffers['normal'].shape)}"
        raise InputError(f"panoramas of shape {shapes}, expected (B, T, 3, h, w) with the same B and T")
    batch, frames = panorama.shape[:2]
    basecolor, normal, roughness, metallic = (gbuffers[name].flatten(0, 1) for name in _NEEDED)  # (N, C, H, W)
    light = panorama.flatten(0, 1)
    each = rays if rays.ndim == 3 else by_frame(rays).expand(batch, frames, *rays.shape[-3:])
    view = each if rays.ndim == 3 else each.flatten(0, 1)  # (3, H, W) or (N, 3, H, W)

    facing = -(normal * view).sum(dim=1, keepdim=True)  # n.v, (N, 1, H, W)
    mirror = view + 2 * facing * normal
    surface = response(facing.clamp(_LEAST_COSINE, 1.0), roughness)
    irradiance, glossy = _gather(light, normal, mirror, surface)
    seen = lookup(light, *panorama_position(view.movedim(-3, 0).reshape(3, -1, *view.shape[-2:]), *light.shape[-2:]))

    reflected = torch.lerp(surface.dielectric.expand_as(basecolor), surface.metal(basecolor), metallic)
    scattered = (1 - metallic) * (1 - surface.dielectric) * basecolor
    covered = gbuffers["mask"] if "mask" in gbuffers else gbuffers["depth"].isfinite().to(light)
    covered = covered.flatten(0, 1)
    parts = (covered * scattered * irradiance, covered * reflected * glossy, (1 - covered) * seen)
    return Shading(*(part.unflatten(0, (batch, frames)) for part in parts))  # (N, 3, H, W) -> (B, T, 3, H, W)


def _gather(light: Tensor, normal: Tensor, mirror: Tensor, surface: Response) -> tuple[Tensor, Tensor]:
    """Mean light (N, 3, H, W) under the cosine lobe about `normal` and under the surface's GGX lobe."""
    filtered = prefilter(light)
    direction = normal + surface.bend * (mirror - normal)  # (N, 3, H, W)
    column, row = panorama_position(torch.stack([normal, direction]).movedim(2, 0), *filtered.size)  # (2, N, H, W)
    irradiance, foot = lookup_framed(filtered.broad, column[0], row[0]).split(3, dim=1)
    level = surface.roughness[:, 0] * LEVELS  # (N, H, W)
    lower = level.detach().floor().clamp(0, LEVELS - 1)
    rows = torch.stack(
        [filtered.glossy_row(row[1], lower), filtered.glossy_row(row[1], lower + 1)], dim=1
    )  # (N, 2, H, W)
    columns = column[1].unsqueeze(1).expand_as(rows)
    sharper, blunter = lookup_framed(filtered.glossy, columns, rows).unbind(2)  # (N, 3, 2, H, W) -> 2 x (N, 3, H, W)
    if light.shape[-2:] != filtered.size:
        exact = lookup(light, *panorama_position(direction.movedim(1, 0), *light.shape[-2:]))
        sharper = torch.where(lower[:, None] == 0, exact, sharper)
    core = torch.lerp(sharper, blunter, (level - lower)[:, None])
    return irradiance, torch.lerp(core, foot, surface.wide)


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


@torch.no_grad()
def automatic_exposure(
    gbuffers: Mapping[str, np.ndarray],
    environment: np.ndarray | Environment,
    *,
    camera_to_world: np.ndarray | None = None,
    fov_degrees: float = 45.0,
    intrinsics: np.ndarray | None = None,
) -> float:
    """Factor on the light that takes the 95th percentile of the surfaces' luminance to 0.7, as in the datasets.

    Surfaces are shaded by the split sum, without shadows, in at most 4 frames. Arguments as `ForwardRenderer` takes
    them. Without light or surfaces it is 1.
    """
    frames = len(gbuffers["depth"])
    chosen = sorted({round(t) for t in np.linspace(0, frames - 1, _EXPOSURE_FRAMES)})
    values = {name: value[:, chosen] for name, value in gbuffer_values(gbuffers).items()}
    height, width = values["depth"].shape[-2:]
    light = given_light(environment, frames, camera_to_world).panorama(*_EXPOSURE_GRID)
    light = light[:, chosen] if light.shape[1] == frames else light.expand(-1, len(chosen), -1, -1, -1)
    covered = values.pop("mask", (values["depth"] < BACKGROUND).float())
    lens = pinhole(fov_degrees, intrinsics, height, width, frames)
    rays = camera_rays(height, width, lens if lens.ndim == 2 else lens[:, chosen])
    shaded = split_sum({**values, "mask": torch.ones_like(covered)}, light, rays).radiance
    level = surface_level(channels_last(shaded), channels_last(covered)[..., 0] > 0.5)
    return TARGET / level if level > 1e-9 else 1.0


def matching_exposure(
    video: np.ndarray, gbuffers: Mapping[str, np.ndarray], environment: np.ndarray | Environment, **camera: Any
) -> float:
    """Factor on an estimated light under which the surfaces come out as bright as they are in the video.

    Base colour and light are each known up to a factor; together they have to give the picture that they came from.
    video: (T, H, W, 3) sRGB, as large as the G-buffers. The other arguments as `automatic_exposure` takes them.
    """
    level = surface_level(srgb_decode(video), gbuffers["depth"][..., 0] < BACKGROUND)
    return automatic_exposure(gbuffers, environment, **camera) * level / TARGET if level > 1e-9 else 1.0
