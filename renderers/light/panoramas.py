"""Environment light in torch: a clip's stored map as the panoramas that the networks and the shading see, and back.

Two kinds of lat-long image of `manifests` meet here, and every function says which it takes:

- a *stored image* (h, w, 3) or planar (3, h, w): z up, pixel centres, `contract.environment.latlong_directions`;
- a *panorama* (3, h, w): camera frame, y up, centre column +z (behind the camera), on the grid of
  `contract.environment.camera_directions`, whose rows run over linspace(1/h, 1 - 1/h, h) pi and are no pixel centres.

Both hold linear HDR radiance. The encodings are those of DiffusionRenderer (arXiv 2501.18590, section 4.2), with the
constants and formulas of `contract.environment`; decoding fuses the two as LuxDiT (arXiv 2509.03680) does. Constants
are cached, and made outside inference mode, whose tensors training could not use afterwards.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from manifests.contract import environment as stored
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers.modelspace import check_finite, checked_array, planar, srgb_decode, srgb_encode
from renderers.shading.view_geometry import camera_rays

WHITE_POINT = stored.WHITE_POINT
LOG_MAXIMUM = stored.LOG_MAXIMUM
_BLEND = (1.0, 8.0)
"""Radiance over which `decode_hdr` goes from E_ldr to E_log: E_ldr is finer below about 2.5, and flat at 16."""

_TEXELS, _SAMPLES = 2, 4
"""Per pixel and axis of a panorama that a larger map shrinks to: texels of the map once averaged, lookups in those.
Two lookups per texel and axis keep the energy of a light of one texel, wherever it falls, to about 1 %."""

_TOGETHER = 1 << 19
"""Directions that are looked up at a time."""


def encode_ldr(radiance: Tensor) -> Tensor:
    """E_ldr in [0, 1] of linear radiance >= 0: sRGB of extended Reinhard with white point 16."""
    return srgb_encode((radiance * (1 + radiance / WHITE_POINT**2) / (1 + radiance)).clamp(0.0, 1.0))


def encode_log(radiance: Tensor) -> Tensor:
    """E_log in [0, 1] of linear radiance >= 0: clamped sRGB of log1p(radiance) / log1p(10,000)."""
    return srgb_encode(torch.log1p(radiance) / math.log1p(LOG_MAXIMUM)).clamp(0.0, 1.0)


def encode_directions(height: int, width: int) -> Tensor:
    """E_dir (3, height, width) in [0, 1]: 0.5 d + 0.5 of the panorama's directions."""
    return 0.5 * panorama_directions(height, width) + 0.5


def decode_hdr(ldr: Tensor, log: Tensor) -> Tensor:
    """Linear radiance in [0, 10,000] from E_ldr and E_log, of one shape, in [0, 1] (values outside are clamped).

    Both are inverted; E_log decides where the light is bright, E_ldr, which is finer there, where it is dark.
    """
    mapped = srgb_decode(ldr.clamp(0.0, 1.0))
    rest = 1 - mapped
    dark = 2 * mapped / (rest + torch.sqrt(rest**2 + 4 * mapped / WHITE_POINT**2))  # root of the quadratic
    bright = torch.expm1(srgb_decode(log.clamp(0.0, 1.0)) * math.log1p(LOG_MAXIMUM))
    low, high = math.log(_BLEND[0]), math.log(_BLEND[1])
    share = ((bright.clamp_min(1e-6).log() - low) / (high - low)).clamp(0.0, 1.0)
    return torch.lerp(dark, bright, share)


@functools.cache
@torch.inference_mode(False)
def panorama_directions(height: int, width: int) -> Tensor:
    """Unit directions (3, height, width), float32, of a panorama's pixels in the camera frame. Do not write to it."""
    return _planar(stored.camera_directions(height, width))


@functools.cache
@torch.inference_mode(False)
def solid_angles(height: int, width: int) -> Tensor:
    """Steradians (height, 1), float32, of a panorama's pixels by row; all pixels together cover 4 pi.

    Rows meet half-way between their centres; the first and the last reach the poles.
    """
    bands = np.diff(-np.cos(row_edges(height))) * 2 * np.pi / width
    return torch.from_numpy(bands.astype(np.float32))[:, None]


def panorama_position(directions: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(column, row) (...) for `lookup` in a panorama, in pixels from the centre of the first; directions (3, ...).

    The poles lie beyond the first and the last row. Components come first because arc tangents of strided memory are
    many times slower.
    """
    x, y, z = directions
    flat = x * x + z * z
    z = torch.where(flat < 1e-12, torch.full_like(z, 1e-6), z)  # at the poles, where atan2 has no derivative
    column = (torch.atan2(x, z) / math.pi + 1) * (width / 2) - 0.5
    theta = torch.atan2(flat.clamp_min(1e-12).sqrt(), y) / math.pi
    return column, (theta * height - 1) * ((height - 1) / (height - 2))


def panorama_pixels(directions: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """`panorama_position` with the row kept within the panorama's pixels, [0, height - 1]."""
    column, row = panorama_position(directions, height, width)
    return column, row.clamp(0.0, height - 1.0)


def lookup(images: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Bilinear values (B, C, ...) of lat-long images (B, C, h, w) at pixels (B, ...); the B of either may be 1.

    column: [-0.5, w - 0.5], wrapping; row: [-1, h], what is beyond counts as that. At a pole stands the mean of the row
    next to it.
    """
    return lookup_framed(framed(images), column, row)


def framed(images: Tensor) -> Tensor:
    """Lat-long images (..., h, w) with what lies beyond their edges: (..., h + 2, w + 2), poles and seam."""
    poles = images[..., :: images.shape[-2] - 1, :].mean(dim=-1, keepdim=True)  # (..., 2, 1)
    top, bottom = poles.expand(*images.shape[:-2], 2, images.shape[-1]).split(1, dim=-2)
    tall = torch.cat([top, images, bottom], dim=-2)
    return torch.cat([tall[..., -1:], tall, tall[..., :1]], dim=-1)


def lookup_framed(images: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """`lookup` in images (B, C, h + 2, w + 2) that are `framed`, or in several of them below each other."""
    batch = max(len(images), len(column))
    x, y = (column + 1) * (2 / (images.shape[-1] - 1)) - 1, (row + 1) * (2 / (images.shape[-2] - 1)) - 1
    grid = torch.stack([x, y], dim=-1).flatten(1, -2).unsqueeze(1)  # (B, ..., 2) -> (B, 1, N, 2)
    found = F.grid_sample(
        images.expand(batch, -1, -1, -1), grid.expand(batch, -1, -1, -1), padding_mode="border", align_corners=True
    )
    return found.reshape(batch, images.shape[1], *column.shape[1:])  # (B, C, 1, N) -> (B, C, ...)


def rotate(panorama: Tensor, rotation: Tensor) -> Tensor:
    """Panoramas (B, 3, h, w) turned by rotations (3, 3) or (B, 3, 3): light from d then comes from rotation @ d."""
    directions = panorama_directions(*panorama.shape[-2:]).to(panorama)
    turned = torch.einsum("...ij,ihw->j...hw", rotation.to(panorama), directions)  # rotation^T d: (3, [B,] h, w)
    return lookup(panorama, *panorama_position(turned.reshape(3, -1, *turned.shape[-2:]), *panorama.shape[-2:]))


def panoramas(
    image: Tensor | np.ndarray,
    environment_rotation: Tensor | np.ndarray,
    camera_to_world: Tensor | np.ndarray,
    height: int,
    width: int,
) -> Tensor:
    """Panoramas (T, 3, height, width) of a clip: what arrives at each frame's camera, in that camera's frame.

    image: stored image (h, w, 3); environment_rotation: (T, 3, 3) environment to world; camera_to_world: (T, 4, 4).
    A map that shrinks is averaged over each pixel's solid angle, so that small bright lights keep their energy;
    otherwise it is sampled exactly along the pixels' directions, as `Environment.in_camera` does.
    """
    return stored_to_panorama(image, camera_to_environment(environment_rotation, camera_to_world), height, width)


def stored_to_panorama(image: Tensor | np.ndarray, camera_to_environment: Tensor, height: int, width: int) -> Tensor:
    """Panoramas (T, 3, height, width) of a stored image (h, w, 3) for rotations (T, 3, 3) camera to environment."""
    source = torch.as_tensor(image, dtype=torch.float32)
    if source.ndim != 3 or source.shape[-1] != 3:
        raise InputError(f"environment image has shape {tuple(source.shape)}, expected (h, w, 3)")
    _check_size(height, width)
    source = source.permute(2, 0, 1)  # (h, w, 3) -> (3, h, w)
    shrinks = source.shape[1] > height or source.shape[2] > width
    if shrinks:
        rows = min(source.shape[1], _TEXELS * height)
        edges = np.linspace(0, np.pi, source.shape[1] + 1), np.linspace(0, np.pi, rows + 1)
        source = _widened(_widened(_averaged(source, *edges, _TEXELS * width)))
    finer = _SAMPLES if shrinks else 1
    directions = _subdirections(height, width, finer).to(source.device)
    return torch.cat([F.avg_pool2d(seen, finer) for seen in _stored_lookups(source, camera_to_environment, directions)])


def backgrounds(
    image: Tensor | np.ndarray,
    environment_rotation: Tensor | np.ndarray,
    camera_to_world: Tensor | np.ndarray,
    rays: np.ndarray,
) -> Tensor:
    """What each frame's camera would see if nothing stood before the environment: (T, 3, H, W), bilinear.

    As `panoramas`, along `rays` (H, W, 3) or (T, H, W, 3) of the camera frame, of any length (`Camera.rays`).
    """
    source = torch.as_tensor(image, dtype=torch.float32)
    turns = camera_to_environment(environment_rotation, camera_to_world)
    return stored_to_background(source, turns, _planar(rays).to(source.device))


def stored_to_background(image: Tensor, camera_to_environment: Tensor, rays: Tensor) -> Tensor:
    """`backgrounds` (T, 3, H, W) of a stored image (h, w, 3) for rotations (T, 3, 3), along rays (3, H, W) or
    (T, 3, H, W) on its device."""
    source = image.float().permute(2, 0, 1)  # (h, w, 3) -> (3, h, w)
    return torch.cat(list(_stored_lookups(source, camera_to_environment, rays)))


def panorama_to_stored(panorama: Tensor, camera_to_environment: Tensor, height: int, width: int) -> Tensor:
    """Stored image (height, width, 3) of one panorama (3, h, w); camera_to_environment: (3, 3) or a pose (4, 4).

    With the first camera's pose the result is in the world frame: its environment rotation is the identity there.
    """
    directions = _planar(stored.latlong_directions(height, width)).to(panorama)
    turned = torch.tensordot(camera_to_environment[:3, :3].T.to(panorama), directions, 1)  # environment to camera
    column, row = panorama_position(turned, *panorama.shape[-2:])
    return lookup(panorama[None], column[None], row[None])[0].permute(1, 2, 0)  # (3, h, w) -> (h, w, 3)


def shrink_panorama(panorama: Tensor, height: int, width: int) -> Tensor:
    """Panoramas (..., h, w) averaged over the solid angles of a coarser grid (..., height, width); energy is kept."""
    _check_size(height, width)
    return _averaged(panorama, row_edges(panorama.shape[-2]), row_edges(height), width)


def resize_panorama(panorama: Tensor, height: int, width: int) -> Tensor:
    """Panoramas (T, 3, h, w) on the grid (height, width): averaged over solid angles if coarser, else sampled."""
    _check_size(height, width)
    if tuple(panorama.shape[-2:]) == (height, width):
        return panorama
    if panorama.shape[-2] >= height and panorama.shape[-1] >= width:
        return shrink_panorama(panorama, height, width)
    column, row = panorama_position(panorama_directions(height, width), *panorama.shape[-2:])
    return lookup(panorama, column[None], row[None])


def _check_size(height: int, width: int) -> None:
    if height < 4 or width < 4:
        raise InputError(f"a panorama of {width}x{height} pixels", "at least 4x4 are needed")


def _planar(directions: np.ndarray) -> Tensor:
    """Directions (..., h, w, 3) as float32 (..., 3, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(directions, -1, -3), dtype=np.float32))


def row_edges(height: int) -> np.ndarray:
    """Polar angles (height + 1,) between a panorama's rows."""
    centres = np.linspace(1 / height, 1 - 1 / height, height) * np.pi
    return np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [np.pi]])


@functools.cache
@torch.inference_mode(False)
def _subdirections(height: int, width: int, finer: int) -> Tensor:
    """Directions (3, finer height, finer width) that share each pixel's solid angle evenly; 1 is the grid itself."""
    if finer == 1:
        return panorama_directions(height, width)
    steps = (np.arange(finer) + 0.5) / finer
    heights = np.cos(row_edges(height))
    cosine = (heights[:-1, None] * (1 - steps) + heights[1:, None] * steps).reshape(-1, 1)  # (h, finer) -> (h finer, 1)
    phi = ((np.arange(finer * width) + 0.5) / (finer * width) * 2 - 1) * np.pi
    sine = np.sqrt(1 - cosine**2)
    parts = [sine * np.sin(phi), np.broadcast_to(cosine, (len(cosine), len(phi))), sine * np.cos(phi)]
    return torch.from_numpy(np.stack(parts).astype(np.float32))


def camera_to_environment(environment_rotation: Tensor | np.ndarray, camera_to_world: Tensor | np.ndarray) -> Tensor:
    """Rotations (T, 3, 3) float64 of rotations (T, 3, 3) environment to world and poses (T, 4, 4)."""
    to_world = torch.as_tensor(camera_to_world, dtype=torch.float64)[:, :3, :3]
    return torch.as_tensor(environment_rotation, dtype=torch.float64).transpose(1, 2) @ to_world


def _stored_lookups(image: Tensor, camera_to_environment: Tensor, directions: Tensor) -> Iterator[Tensor]:
    """For rotations (T, 3, 3), a few at a time, bilinear values (N, 3, H, W) of a planar stored image (3, h, w) along
    directions (3, H, W), or (T, 3, H, W), of any length, of the camera frame."""
    height, width = image.shape[1:]
    wide = framed(image[None])
    along = directions.expand(len(camera_to_environment), *directions.shape[-3:])
    together = max(1, _TOGETHER // along[0, 0].numel())
    turns = camera_to_environment.to(directions)[..., None, None]  # (T, 3, 3, 1, 1)
    for turn, rays in zip(turns.split(together), along.split(together), strict=True):
        a, b, c = rays.unbind(1)  # (N, H, W)
        x, y, z = (turn[:, row, 0] * a + turn[:, row, 1] * b + turn[:, row, 2] * c for row in range(3))
        column = (0.5 - torch.atan2(y, x) / (2 * math.pi)) * width - 0.5
        row = torch.atan2(torch.hypot(x, y), z) / math.pi * height - 0.5
        yield lookup_framed(wide, column[None], row[None].clamp_(0.0, height - 1.0))[0].movedim(0, 1)


def _averaged(image: Tensor, old_rows: np.ndarray, new_rows: np.ndarray, width: int) -> Tensor:
    """Image (..., h, w) averaged over the solid angles of cells between `new_rows` (polar angles), `width` a row."""
    old_width = image.shape[-1]
    columns = stored.cell_overlaps(np.linspace(0, 1, old_width + 1), np.linspace(0, 1, 1 + min(old_width, width)))
    rows = stored.cell_overlaps(-np.cos(old_rows), -np.cos(new_rows))
    return torch.from_numpy(rows).to(image) @ (image @ torch.from_numpy(columns).to(image).T)


def _widened(image: Tensor) -> Tensor:
    """Planar stored image (3, h, w) whose texels near the poles are averaged along their row to be as wide as high.

    They are slivers there, and a light on one would fall between the samples of a panorama whose pole is elsewhere.
    """
    height, width = image.shape[1:]
    source, image = image, image.cpu() if image.device.type == "mps" else image  # which knows no doubles
    sine = torch.sin((torch.arange(height, dtype=torch.float64, device=image.device) + 0.5) / height * math.pi)
    reach = (width / (4 * height) / sine).clamp(0.5, width / 2)[:, None]  # half a window, in texels
    sums = F.pad(image.double().repeat(1, 1, 3).cumsum(-1), (1, 0))  # (3, h, 3 w + 1); double: suns beside darkness
    centres = torch.arange(width, device=image.device) + width + 0.5  # in the middle one of the three

    def integral(edges: Tensor) -> Tensor:
        """Sum of the row to the left of edges (h, w), as (3, h, w)."""
        texel = edges.floor().long().expand(3, -1, -1)
        return torch.lerp(sums.gather(2, texel), sums.gather(2, texel + 1), edges - texel)

    return ((integral(centres + reach) - integral(centres - reach)) / (2 * reach)).to(source)


@dataclass(frozen=True, eq=False)
class GivenLight:
    """Light as a user gave it, checked: `panorama` at one size, `behind` the picture that the camera sees of it."""

    source: Environment | Tensor
    poses: np.ndarray | None
    exposure: float

    def panorama(self, height: int, width: int) -> Tensor:
        """Panoramas (1, T, 3, height, width), or (1, 1, ...) where it stays the same, exposed."""
        if isinstance(self.source, Tensor):
            return self.exposure * resize_panorama(self.source, height, width)[None]
        assert self.poses is not None
        return self.exposure * panoramas(self.source.image, self.source.rotation, self.poses, height, width)[None]

    def behind(self, intrinsics: Tensor, height: int, width: int) -> Tensor:
        """The light along every viewing ray, (1, T or 1, 3, height, width), exposed, as finely as it was given.

        intrinsics: (3, 3), or (1, T, 3, 3) where the camera zooms.
        """
        rays = camera_rays(height, width, intrinsics).reshape(-1, 3, height, width)  # (1 or T, 3, H, W)
        if isinstance(self.source, Tensor):
            return (
                self.exposure
                * lookup(self.source, *panorama_position(rays.movedim(1, 0), *self.source.shape[-2:]))[None]
            )
        assert self.poses is not None
        directions = rays.expand(len(self.poses), -1, -1, -1).movedim(1, -1).numpy()  # (T, H, W, 3)
        seen = [
            self.source.radiance(directions[frame] @ pose[:3, :3].T, frame).astype(np.float32)
            for frame, pose in enumerate(self.poses)
        ]
        return self.exposure * planar(np.stack(seen))


def given_light(environment: Any, frames: int, camera_to_world: Any = None, exposure: float = 1.0) -> GivenLight:
    """Check light for T frames, to be multiplied by `exposure`.

    `environment` is a panorama in the camera frame, linear HDR floats (h, w, 3) or one per frame (T, h, w, 3); or an
    `Environment` in the world, with the cameras' poses (T, 4, 4).
    """
    if not (np.isscalar(exposure) and np.isfinite(exposure) and exposure > 0):
        raise InputError(f"exposure is {exposure!r}, expected a positive number")
    if isinstance(environment, Environment):
        return GivenLight(environment, _poses(environment, frames, camera_to_world), float(exposure))
    array = checked_array("environment", environment)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(f"environment has shape {array.shape}, expected a panorama (h, w, 3) or (T, h, w, 3)")
    if array.ndim == 4 and len(array) != frames:
        raise InputError(f"environment has {len(array)} panoramas for {frames} frames", "give one, or one per frame")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"environment has dtype {array.dtype}, expected linear HDR radiance in floats")
    check_finite("environment", array)
    if array.min() < 0:
        raise InputError(
            "environment holds negative radiance", "pass it through manifests.contract.environment.sanitize"
        )
    return GivenLight(planar(array if array.ndim == 4 else array[None])[0], None, float(exposure))


def _poses(environment: Environment, frames: int, camera_to_world: Any) -> np.ndarray:
    if camera_to_world is None:
        raise InputError("an Environment lies in the world", "give camera_to_world (T, 4, 4), or a panorama instead")
    poses = np.asarray(camera_to_world)
    if poses.shape != (frames, 4, 4):
        raise InputError(f"camera_to_world has shape {poses.shape}, expected ({frames}, 4, 4)")
    if environment.rotation.shape != (frames, 3, 3):
        raise InputError(f"the environment has {len(environment.rotation)} rotations for {frames} frames")
    check_finite("environment", environment.image)
    return poses
