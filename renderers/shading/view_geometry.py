"""View-space geometry from what the networks see: relative depth and normals.

The networks' depth is known up to a scale and an offset per clip. Light does not care about the scale of a scene,
so only the offset is missing before shadows can be traced: with `rel = (z - near) / (far - near)` the points are
`(far - near) * (rel + offset) * ray`, where `offset = near / (far - near)`. A surface's normal is at right angles to
the step from one pixel to the next, which says what the offset is, in closed form and for every pair of pixels.

Axes are those of docs/conventions.md: camera frame, x right, y up, z toward the viewer; depth is planar z.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manifests.contract.camera import intrinsics_from_fov
from manifests.errors import InputError

_CLAMPED = 1e-3
"""Relative depth this close to 0 or 1 may have been clamped, and says nothing of the surface."""

_EDGE = 0.12
"""Step of relative depth between neighbours, in units of the offset depth, above which an edge is likely."""

_BASELINE = 2
"""Pixels between the two points whose step is compared with the normals."""

PRIOR_OFFSET = 0.35
"""Median of near / (far - near) over rendered training clips: the answer where the picture has none."""

_PRIOR_WEIGHT = 2e-3
"""Share of a clip's pixels that the prior counts for."""

LEAST_OFFSET = 0.02
"""The near plane is never closer than this part of the depth range; keeps points in front of the camera."""


def plane_rays(
    height: int, width: int, intrinsics: Tensor | None = None, *, fov_degrees: float | None = None
) -> Tensor:
    """Camera-frame directions through the pixel centres, scaled to planar depth 1 (z is -1).

    Args:
        height: H.
        width: W.
        intrinsics: (3, 3), (B, 3, 3) or, where a clip zooms, (B, T, 3, 3) in pixels; or
        fov_degrees: angle of the larger image side, for a centred pinhole with square pixels.

    Returns:
        (B, 3, H, W) float32, or (B, T, 3, H, W); B is 1 for (3, 3) intrinsics and for a field of view.
    """
    if (intrinsics is None) == (fov_degrees is None):
        raise InputError("viewing rays need either intrinsics or fov_degrees")
    if intrinsics is None:
        assert fov_degrees is not None
        intrinsics = torch.from_numpy(intrinsics_from_fov(fov_degrees, height, width))
    matrix = intrinsics.to(torch.float32)
    matrix = matrix[None] if matrix.ndim == 2 else matrix  # (B, 3, 3) or (B, T, 3, 3)
    column = torch.arange(width, device=matrix.device) + 0.5
    row = torch.arange(height, device=matrix.device) + 0.5
    x = (column - matrix[..., 0, 2, None]) / matrix[..., 0, 0, None]  # (..., W)
    y = -(row - matrix[..., 1, 2, None]) / matrix[..., 1, 1, None]  # (..., H)
    x, y = torch.broadcast_tensors(x[..., None, :], y[..., :, None])  # (..., H, W)
    return torch.stack([x, y, -torch.ones_like(x)], dim=-3)


def by_frame(rays: Tensor) -> Tensor:
    """Rays (B, 3, H, W) that serve all frames as (B, 1, 3, H, W); those of a zoom, (B, T, 3, H, W), as they are."""
    return rays if rays.ndim == 5 else rays[:, None]


def points(depth: Tensor, rays: Tensor) -> Tensor:
    """Camera-frame points (B, T, 3, H, W) of planar `depth` (B, T, 1, H, W) along `plane_rays`."""
    return depth * by_frame(rays)


def depth_offset(relative: Tensor, normal: Tensor, rays: Tensor, mask: Tensor | None = None) -> Tensor:
    """What has to be added to relative depth to make it proportional to depth: near / (far - near) of each clip.

    Neighbouring pixels p and q of one surface with normal n satisfy n . ((rel_q + c) ray_q - (rel_p + c) ray_p) = 0,
    so each pair gives a value of c. The answer is their median, each weighted by how much c matters to it (a surface
    that faces the viewer says nothing). Pairs at depth edges and of clamped depth do not count; a weak prior answers
    where no pair does.

    Args:
        relative: (B, T, 1, H, W) relative depth in [0, 1].
        normal: (B, T, 3, H, W) unit camera-frame normals.
        rays: (B or 1, 3, H, W) or (B or 1, T, 3, H, W) from `plane_rays`.
        mask: (B, T, 1, H, W) surface coverage; pixels below 0.99 do not count. None counts all.

    Returns:
        (B,) offsets, at least LEAST_OFFSET.
    """
    valid = (relative > _CLAMPED) & (relative < 1 - _CLAMPED)
    if mask is not None:
        valid &= mask > 0.99
    candidates, weights = [], []
    for axis in (-1, -2):
        size = relative.shape[axis] - 1
        first, second = (0, size), (1, size)
        rel_p, rel_q = relative.narrow(axis, *first), relative.narrow(axis, *second)
        ray_p, ray_q = (by_frame(rays).narrow(axis, *part) for part in (first, second))
        middle = normal.narrow(axis, *first) + normal.narrow(axis, *second)
        bent = 1 - 0.25 * middle.square().sum(2, keepdim=True)  # 0 where both normals agree
        step = (middle * (rel_q * ray_q - rel_p * ray_p)).sum(2, keepdim=True)
        slope = (middle * (ray_q - ray_p)).sum(2, keepdim=True)
        candidate = -step / torch.where(slope.abs() > 1e-9, slope, torch.full_like(slope, 1e-9))
        both = valid.narrow(axis, *first) & valid.narrow(axis, *second)
        edge = (rel_q - rel_p).abs() / (_EDGE * (torch.minimum(rel_p, rel_q) + PRIOR_OFFSET))
        weight = slope.abs() * both * torch.exp(-edge.square() - bent / 0.05)
        candidates.append(candidate.flatten(1))  # (B, T*H*W)
        weights.append(weight.flatten(1))
    values, weight = torch.cat(candidates, 1), torch.cat(weights, 1)  # (B, N)
    typical = 2.0 / rays.shape[-1]  # slope of a surface seen at 45 degrees or so
    prior = torch.full_like(values[:, :1], PRIOR_OFFSET)
    values = torch.cat([values, prior], 1)
    weight = torch.cat([weight, torch.full_like(prior, _PRIOR_WEIGHT * weight.shape[1] * typical)], 1)
    return _weighted_median(values, weight).clamp(min=LEAST_OFFSET)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Median (B,) of `values` (B, N), each counted `weights` (B, N) times; half the weight lies on either side."""
    ordered, order = values.sort(dim=1)
    total = weights.gather(1, order).cumsum(1)
    middle = torch.searchsorted(total, 0.5 * total[:, -1:].contiguous())
    return ordered.gather(1, middle.clamp(max=values.shape[1] - 1))[:, 0]


def depth_noise(points: Tensor, normal: Tensor, coverage: Tensor) -> Tensor:
    """How much points and normals contradict each other, as a part of depth: about 0.0005 where both are rendered.

    The median over pairs of pixels, two apart, of the distance of one from the other's tangent plane, divided by depth.

    Args:
        points: (B, T, 3, H, W) camera-frame points.
        normal: (B, T, 3, H, W) unit normals.
        coverage: (B, T, 1, H, W); pixels below 0.5 do not count.

    Returns:
        (B,); 0 for clips without surface.
    """
    found = []
    for axis in (-1, -2):
        size = points.shape[axis] - _BASELINE
        if size < 1:
            continue
        parts = [(0, size), (_BASELINE, size)]
        (p, q), (n_p, n_q) = ([values.narrow(axis, *part) for part in parts] for values in (points, normal))
        both = torch.minimum(*(coverage.narrow(axis, *part) for part in parts)) > 0.5
        distance = (0.5 * (n_p + n_q) * (q - p)).sum(2, keepdim=True).abs() / (-p[:, :, 2:]).clamp(min=1e-6)
        found.append(torch.where(both, distance, torch.nan).flatten(1))
    return torch.cat(found, 1).nanmedian(1).values.nan_to_num(0.0) if found else points.new_zeros(len(points))


def surface_coverage(relative: Tensor, basecolor: Tensor, normal: Tensor, *, sharpness: float = 24.0) -> Tensor:
    """How likely each pixel (B, T, 1, H, W) shows a surface, in [0, 1], where no mask is known.

    Background is far (relative depth 1), black and faces the viewer; a clamped far surface is rarely all three. The
    tests are soft, so that predicted G-buffers, which are never exact, keep their horizon.
    """
    far = torch.sigmoid(sharpness * (relative - 0.9))
    dark = torch.sigmoid(sharpness * (0.12 - basecolor.mean(2, keepdim=True).clamp(min=0).sqrt()))
    facing = torch.sigmoid(sharpness * (normal[:, :, 2:3] - 0.8))
    peak = torch.sigmoid(torch.tensor(sharpness * 0.1)) * torch.sigmoid(torch.tensor(sharpness * 0.12))
    peak = peak * torch.sigmoid(torch.tensor(sharpness * 0.2))
    return 1 - (far * dark * facing / peak.to(relative)).clamp(0, 1)


def pinhole(fov_degrees: float, intrinsics: Any, height: int, width: int, frames: int) -> Tensor:
    """Intrinsics of one video of T frames: those given, or a centred pinhole of a field of view.

    `intrinsics` are None, (3, 3) or, where it zooms, (T, 3, 3), in pixels; `fov_degrees` is the angle of the larger
    image side. Gives (3, 3) or (1, T, 3, 3), as `plane_rays` takes them.
    """
    if intrinsics is None:
        if not 0.0 < fov_degrees < 180.0:
            raise InputError(f"fov_degrees is {fov_degrees}, expected an angle between 0 and 180")
        return torch.from_numpy(intrinsics_from_fov(fov_degrees, height, width)).float()
    matrix = torch.as_tensor(intrinsics, dtype=torch.float32)
    if matrix.shape not in ((3, 3), (frames, 3, 3)) or not bool(torch.isfinite(matrix).all()):
        raise InputError(
            f"intrinsics have shape {tuple(matrix.shape)}, expected finite (3, 3) or ({frames}, 3, 3) in pixels"
        )
    return matrix if matrix.ndim == 2 else matrix[None]


def camera_rays(
    height: int, width: int, intrinsics: Tensor | None = None, *, fov_degrees: float | None = None
) -> Tensor:
    """Unit viewing rays through the pixel centres in the camera frame (x right, y up, z toward the viewer).

    intrinsics: (3, 3) gives (3, H, W), (B, 3, 3) gives (B, 3, H, W), (B, T, 3, 3) gives (B, T, 3, H, W); or a field of
    view of the larger image side.
    """
    rays = plane_rays(height, width, intrinsics, fov_degrees=fov_degrees)
    rays = rays / rays.norm(dim=-3, keepdim=True)
    return rays if intrinsics is not None and intrinsics.ndim > 2 else rays[0]
