"""Which light reaches which pixel: a panorama as a few directional lights, and rays marched through the depth buffer.

Split-sum shading knows no shadows. This module says, from the depth buffer alone and in milliseconds on one core, what
part of each light a pixel sees: enough for a small network to place cast shadows and contact shadows, and to turn them
with the light. What the camera does not see cannot cast a shadow here.

Nothing here has gradients: it makes inputs, not outputs, of networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from manifests.contract.color import LUMINANCE
from renderers.light.panoramas import panorama_directions, solid_angles

_NOISE_BIAS = 4.0
"""How many times its typical error a depth has to be passed before it blocks."""
_EVEN_SHARE = 0.1
"""Weight of even light among the real one when parts are made: dark parts of the sky need rays too, for what is lit
there by other surfaces."""


@dataclass(frozen=True)
class DirectionalLights:
    """A panorama as K parts that cover the whole sphere, each seen as one direction.

    Attributes:
        directions: (B, T, K, 3) unit, camera frame: the luminance-weighted mean direction of the part.
        power: (B, T, K, 3) radiance times solid angle, summed over the part.
        solid_angle: (B, T, K) steradians; sums to 4 pi.
        spread: (B, T, K) in [0, 1]: 0 for a point, 1 where the light of the part comes from all sides.
    """

    directions: torch.Tensor
    power: torch.Tensor
    solid_angle: torch.Tensor
    spread: torch.Tensor


def cluster(panorama: torch.Tensor, count: int) -> DirectionalLights:
    """Split a panorama (B, T, 3, h, w) into `count` parts, so that little light is far from the direction of its part.

    The part with the largest scatter of luminance is halved along its principal axis until there are `count` (median
    cut with least variance, Viriyothai and Debevec 2009): a sun gets a part of its own, a dim sky a few large ones.
    Deterministic, and vectorised over frames.
    """
    batch, frames, _, height, width = panorama.shape
    device = panorama.device
    directions = panorama_directions(height, width).to(device).flatten(1).T  # (P, 3)
    solid_angle = solid_angles(height, width).to(device).expand(-1, width).reshape(-1)  # (P,)
    power = panorama.detach().float().reshape(batch * frames, 3, -1) * solid_angle  # (N, 3, P)
    luminance = torch.einsum("c,ncp->np", torch.tensor(LUMINANCE, device=device), power)
    even = solid_angle * (luminance.sum(1, keepdim=True) / (4 * math.pi) + 1e-9)
    luminance = (luminance + _EVEN_SHARE * even).double()  # double: suns beside darkness
    outer = (directions[:, :, None] * directions[:, None, :]).reshape(-1, 9)
    moments = torch.cat([torch.ones_like(directions[:, :1]), directions, outer], dim=1).double()  # (P, 13)
    items = torch.arange(batch * frames, device=device)
    label = torch.zeros(batch * frames, height * width, dtype=torch.long, device=device)
    sums = torch.zeros(batch * frames, count, 13, device=device, dtype=torch.float64)
    sums[:, 0] = luminance @ moments
    for part in range(1, count):
        mass = sums[..., :1].clamp(min=1e-20)
        mean = sums[..., 1:4] / mass  # (N, K, 3)
        second = (sums[..., 4:] / mass).reshape(-1, count, 3, 3)
        values, axes = torch.linalg.eigh(second - mean[..., :, None] * mean[..., None, :])
        widest = (values[..., -1] * sums[..., 0]).argmax(dim=1)  # (N,)
        axis, middle = axes[items, widest, :, -1], mean[items, widest]  # (N, 3)
        beyond = axis @ moments[:, 1:4].T > (axis * middle).sum(1, keepdim=True)
        moved = (label == widest[:, None]) & beyond
        label = torch.where(moved, part, label)
        gained = (luminance * moved) @ moments
        sums[:, part] = gained
        sums[items, widest] -= gained
    member = functional.one_hot(label, count).float()  # (N, P, K)
    mean = (sums[..., 1:4] / sums[..., :1].clamp(min=1e-20)).float()
    length = mean.norm(dim=-1, keepdim=True)
    shape = (batch, frames, count)
    return DirectionalLights(
        directions=(mean / length.clamp(min=1e-6)).reshape(*shape, 3),
        power=torch.einsum("ncp,npk->nkc", power, member).reshape(*shape, 3),
        solid_angle=torch.einsum("p,npk->nk", solid_angle, member).reshape(shape),
        spread=(1 - length[..., 0]).clamp(0, 1).reshape(shape),
    )


@dataclass(frozen=True)
class Marching:
    """How rays go through the depth buffer. Lengths are parts of a pixel's depth, so that scale does not matter.

    Attributes:
        steps: samples along a ray.
        reach: length of a ray.
        growth: sample i lies at reach * (i / steps) ** growth: dense near the surface, where contact shadows are.
        thickness: how far behind the visible surface an object still blocks light.
        bias: how far a sample has to be behind a surface to count as fully blocked.
        lift: pixels by which a ray starts above its own surface.
    """

    steps: int = 16
    reach: float = 0.8
    growth: float = 1.6
    thickness: float = 0.12
    bias: float = 0.003
    lift: float = 0.5


@dataclass(frozen=True)
class Trace:
    """Result of `march`, for N images and K directions.

    Attributes:
        visibility: (N, K, H, W) in [0, 1]; objects are `Marching.thickness` thick.
        least: (N, K, H, W) in [0, 1], at most `visibility`: what would be seen if nothing were behind what is seen
            but solid matter.
        hit: (N, K, H, W, 2) where in the image the blocked rays end, in grid_sample's coordinates; meaningless where
            nothing was hit.
    """

    visibility: torch.Tensor
    least: torch.Tensor
    hit: torch.Tensor


@dataclass(frozen=True)
class DepthBuffer:
    """What the cameras of N images see, as points.

    Attributes:
        points: (N, 3, H, W) camera-frame surface points, in any scale.
        normal: (N, 3, H, W) unit normals.
        coverage: (N, 1, H, W) surface coverage; below 0.5 a pixel blocks nothing.
        intrinsics: (N, 3, 3) in pixels.
        noise: (N,) `geometry.depth_noise` of the points: noisy depth must not shadow itself. None is 0.
    """

    points: torch.Tensor
    normal: torch.Tensor
    coverage: torch.Tensor
    intrinsics: torch.Tensor
    noise: torch.Tensor | None = None

    def images(self, chosen: slice) -> DepthBuffer:
        """Some of the N images."""
        noise = None if self.noise is None else self.noise[chosen]
        return DepthBuffer(
            self.points[chosen], self.normal[chosen], self.coverage[chosen], self.intrinsics[chosen], noise
        )


@torch.no_grad()
def march(buffer: DepthBuffer, directions: torch.Tensor, marching: Marching = Marching()) -> Trace:
    """Follow a ray from every pixel toward every direction, and see whether it passes behind what the camera sees.

    Args:
        buffer: N images.
        directions: (N, K, 3, 1, 1) or, different for every pixel, (N, K, 3, H, W); unit, camera frame.
        marching: steps and thresholds.

    Returns:
        Trace. A direction below a pixel's horizon counts as visible; shading weighs it with 0.
    """
    points, normal, coverage, intrinsics = buffer.points, buffer.normal, buffer.coverage, buffer.intrinsics
    count, _, height, width = points.shape
    lights, device = directions.shape[1], points.device
    depth = -points[:, 2:3]
    inverse = torch.where(coverage > 0.5, 1 / depth.clamp(min=1e-6), 0.0)  # (N, 1, H, W); 0 is infinitely far
    focal = intrinsics[:, [0, 1], [0, 1]].reshape(count, 1, 2, 1, 1)
    centre = intrinsics[:, :2, 2].reshape(count, 1, 2, 1, 1)
    size = torch.tensor([width, height], device=device).reshape(1, 1, 2, 1, 1)
    # grid_sample's coordinates are 2 pixel / size - 1; y points up in the camera and down in the image
    scale = 2 * focal / size * torch.tensor([1.0, -1.0], device=device).reshape(1, 1, 2, 1, 1)
    shift = 2 * centre / size - 1
    noise = torch.zeros(count, device=device) if buffer.noise is None else buffer.noise
    bias = (marching.bias + _NOISE_BIAS * noise).reshape(count, 1, 1, 1)
    thickness = (marching.thickness + 2 * _NOISE_BIAS * noise).reshape(count, 1, 1, 1)
    start = (points + normal * (marching.lift * depth / focal[:, 0, :1]))[:, None]  # (N, 1, 3, H, W)
    along = directions * (marching.reach * depth[:, None])  # (N, K, 3, H, W)
    start = torch.cat([start[:, :, :2] * scale - shift * start[:, :, 2:], -start[:, :, 2:]], dim=2)  # u w, v w, w
    along = torch.cat([along[:, :, :2] * scale - shift * along[:, :, 2:], -along[:, :, 2:]], dim=2)
    shape = (count, lights, height, width)
    blocked, solid, when = (torch.zeros(shape, device=device) for _ in range(3))
    grid = torch.empty(count, 2, lights, height, width, device=device)
    flat = grid.flatten(2, 3).permute(0, 2, 3, 1)  # (N, 2, K, H, W) -> (N, K * H, W, 2)
    for step in range(1, marching.steps + 1):
        time = (step / marching.steps) ** marching.growth
        depth_there = torch.add(start[:, :, 2], along[:, :, 2], alpha=time).clamp_(min=1e-6)
        for axis in (0, 1):
            torch.add(start[:, :, axis], along[:, :, axis], alpha=time, out=grid[:, axis]).div_(depth_there)
        seen = functional.grid_sample(inverse, flat, mode="nearest", align_corners=False).reshape(shape)
        behind = seen.mul_(depth_there).sub_(1)  # how far the sample lies behind the surface, as a part of its depth
        now = torch.add(behind / bias, -1).clamp_(0, 1)
        torch.maximum(solid, now, out=solid)
        now.mul_(behind.mul_(-2 / thickness).add_(3).clamp_(0, 1))
        when.masked_fill_(now > blocked, time)
        torch.maximum(blocked, now, out=blocked)
    above = ((directions * normal[:, None]).sum(2) > 0) & (coverage > 0.5)
    end = start + when[:, :, None] * along  # (N, K, 3, H, W)
    hit = (end[:, :, :2] / end[:, :, 2:].clamp(min=1e-6)).movedim(2, -1)
    return Trace(1 - blocked * above, 1 - solid * above, hit)
