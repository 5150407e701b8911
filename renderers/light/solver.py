"""Light from a video and its G-buffers without weights: a non-negative panorama, fitted by inverting the shading.

Unshadowed shading is linear in the light: a pixel is (diffuse albedo x cosine lobe + specular albedo x GGX lobe) over
the panorama, and a background pixel looks straight at it. So light is a least-squares problem in a few hundred
unknowns, made honest by three things: light is not negative, pixels lie (shadows, interreflection, wrong G-buffers),
and clipped pixels only say "at least this bright".

The result is what lights the picture as shown: radiance times the exposure that made the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from manifests.errors import InputError
from renderers.light.panoramas import panorama_directions, panorama_pixels, solid_angles
from renderers.modelspace import planar, srgb_decode
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays, pinhole, surface_coverage


@dataclass(frozen=True)
class Fit:
    """How light is fitted. The defaults were chosen on rendered clips (tests/renderers/test_solver.py).

    Attributes:
        pixels: how many pixels of the video are used, evenly drawn.
        rounds: reweighted least-squares rounds.
        steps: projected gradient steps per round.
        smoothness: weight of differences between neighbouring panorama pixels, against the data's.
        grayness: weight of the pull toward even light, against the data's: decides what no pixel says.
        huber: residual, in robust standard deviations, from which a pixel counts less.
        clipped: encoded value from which a pixel is a lower bound only.
    """

    pixels: int = 2000
    rounds: int = 4
    steps: int = 120
    smoothness: float = 0.1
    grayness: float = 1e-3
    huber: float = 1.5
    clipped: float = 0.99


@torch.no_grad()
def solve_light(
    rgb: np.ndarray,
    gbuffers: Mapping[str, np.ndarray],
    *,
    fov_degrees: float = 45.0,
    intrinsics: np.ndarray | None = None,
    camera_rotations: np.ndarray | None = None,
    height: int = 16,
    linear: bool = False,
    fit: Fit = Fit(),
) -> np.ndarray:
    """Fit the light of one video.

    Args:
        rgb: (T, H, W, 3) sRGB in [0, 1], or with `linear` linear and exposed, in which nothing is clipped.
        gbuffers: basecolor, normal, depth, roughness, metallic (T, H, W, C) as values, depth relative or true; `mask`
            where coverage is known.
        fov_degrees: angle of the larger image side, where no intrinsics are given.
        intrinsics: (3, 3) in pixels, or (T, 3, 3) where the camera zooms.
        camera_rotations: (T, 3, 3) from each camera's frame to the first one's; None where the camera does not turn.
        height: rows of the panorama.
        linear: whether rgb is linear.
        fit: weights and lengths.

    Returns:
        Panorama (height, 2 * height, 3) float32, linear HDR >= 0, in the first camera's frame, on the grid of
        `manifests.contract.environment.camera_directions`.

    Raises:
        InputError: shapes that do not fit, or values that are not finite.
    """
    samples = _draw(
        rgb,
        gbuffers,
        fov_degrees=fov_degrees,
        intrinsics=intrinsics,
        camera_rotations=camera_rotations,
        linear=linear,
        fit=fit,
    )
    diffuse, glossy, direct = _operators(samples, height)
    penalty = _differences(height)
    light = torch.stack(
        [
            _solve(
                samples.diffuse[channel, :, None] * diffuse
                + samples.specular[channel, :, None] * glossy
                + samples.background[:, None] * direct,
                samples.radiance[channel],
                samples.clipped[channel],
                penalty,
                fit,
            )
            for channel in range(3)
        ],
        dim=-1,
    )  # (E, 3)
    return light.reshape(height, 2 * height, 3).float().numpy()


@dataclass(frozen=True)
class _Samples:
    """N pixels in the first camera's frame: radiance, diffuse, specular (3, N); clipped (3, N) bool; normal, view
    (3, N), view away from the camera; roughness, background (N,), background the part that is no surface."""

    radiance: Tensor
    clipped: Tensor
    diffuse: Tensor
    specular: Tensor
    normal: Tensor
    view: Tensor
    roughness: Tensor
    background: Tensor


def _draw(
    rgb: np.ndarray,
    gbuffers: Mapping[str, np.ndarray],
    *,
    fov_degrees: float,
    intrinsics: np.ndarray | None,
    camera_rotations: np.ndarray | None,
    linear: bool,
    fit: Fit,
) -> _Samples:
    """Check the input and take pixels from it, always the same ones."""
    frames, height, width = _check(rgb, gbuffers, camera_rotations)
    rays = camera_rays(height, width, pinhole(fov_degrees, intrinsics, height, width, frames))
    rays = rays.expand(1, frames, 3, height, width)
    maps = {name: planar(gbuffers[name]) for name in (*GBUFFERS, "mask") if name in gbuffers}
    if "mask" not in maps:
        finite = torch.isfinite(maps["depth"])
        relative = torch.where(finite, maps["depth"], 1.0)
        known = bool((~finite).any()) or float(relative.max()) > 1
        guess = surface_coverage(relative, maps["basecolor"], maps["normal"])
        maps["mask"] = finite.float() if known else guess
    total = frames * height * width
    chosen = np.random.default_rng(0).choice(total, size=min(fit.pixels, total), replace=False)
    index = torch.from_numpy(np.sort(chosen))

    def pick(video: Tensor) -> Tensor:
        """(1, T, C, H, W) -> (C, N)."""
        return video[0].transpose(0, 1).flatten(1)[:, index]

    view = pick(rays)  # (3, N)
    points = {name: pick(values)[None, None, :, None] for name, values in maps.items() if name != "depth"}
    white = split_sum(points, torch.ones(1, 1, 3, 16, 32), view[:, None])  # the N pixels as one row
    picture = pick(planar(rgb))
    normal = points["normal"][0, 0, :, 0]
    if camera_rotations is not None:
        turn = torch.as_tensor(np.asarray(camera_rotations), dtype=torch.float32)[index // (height * width)]
        normal, view = (torch.einsum("nij,jn->in", turn, vectors) for vectors in (normal, view))
    return _Samples(
        radiance=(picture if linear else srgb_decode(picture)).double(),
        clipped=torch.zeros_like(picture, dtype=torch.bool) if linear else picture >= fit.clipped,
        diffuse=white.diffuse[0, 0, :, 0].double(),
        specular=white.specular[0, 0, :, 0].double(),
        normal=normal.double(),
        view=view.double(),
        roughness=points["roughness"].reshape(-1).double(),
        background=1 - points["mask"].reshape(-1).double(),
    )


def _check(
    rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray], camera_rotations: np.ndarray | None
) -> tuple[int, int, int]:
    """(T, H, W) of a video and G-buffers that fit together."""
    missing = [name for name in GBUFFERS if name not in gbuffers]
    if missing:
        raise InputError(f"light cannot be solved without G-buffers: {', '.join(missing)} missing", "give all of them")
    if rgb.ndim != 4 or rgb.shape[-1] != 3 or 0 in rgb.shape:
        raise InputError(f"rgb has shape {rgb.shape}, expected (T, H, W, 3)")
    if not np.isfinite(rgb).all():
        raise InputError("rgb holds NaN or infinite values", "clean it first")
    for name in GBUFFERS:
        if gbuffers[name].shape[:3] != rgb.shape[:3]:
            raise InputError(f"{name} has frames of shape {gbuffers[name].shape[:3]}, rgb has {rgb.shape[:3]}")
        if name != "depth" and not np.isfinite(gbuffers[name]).all():
            raise InputError(f"{name} holds NaN or infinite values", "clean it first")
    if camera_rotations is not None and np.shape(camera_rotations) != (len(rgb), 3, 3):
        raise InputError(f"camera_rotations has shape {np.shape(camera_rotations)}, expected ({len(rgb)}, 3, 3)")
    return rgb.shape[0], rgb.shape[1], rgb.shape[2]


def _operators(samples: _Samples, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three (N, E) matrices that take a panorama of E pixels to the mean light under the cosine lobe, the mean light
    under the GGX lobe, and the light seen along the viewing ray."""
    width = 2 * height
    directions = panorama_directions(height, width).double().flatten(1)  # (3, E)
    solid_angle = solid_angles(height, width).double().expand(-1, width).reshape(-1)  # (E,)
    cosine = (samples.normal.T @ directions).clamp(min=0)
    diffuse = cosine * solid_angle
    diffuse = diffuse / diffuse.sum(1, keepdim=True).clamp(min=1e-9)

    least = math.pi / height  # a lobe narrower than a pixel of the panorama would fall between two
    alpha = torch.hypot(samples.roughness.square(), torch.tensor(0.5 * least, dtype=torch.float64))[:, None]
    half = directions[None] - samples.view.T[:, :, None]  # (N, 3, E): towards the light plus towards the viewer
    length = half.square().sum(1).sqrt().clamp(min=1e-6)
    facing = torch.einsum("in,nie->ne", samples.normal, half) / length
    lobe = alpha.square() / (facing.square() * (alpha.square() - 1) + 1).square()
    glossy = torch.where(facing > 0, lobe * cosine, 0.0) * solid_angle
    glossy = glossy / glossy.sum(1, keepdim=True).clamp(min=1e-9)

    column, row = panorama_pixels(samples.view, height, width)
    direct = torch.zeros_like(diffuse)
    left, top = column.floor(), row.floor()
    for side in (0, 1):
        for below in (0, 1):
            share = (1 - (column - left - side).abs()) * (1 - (row - top - below).abs())
            pixel = (top + below).clamp(max=height - 1) * width + (left + side) % width
            direct.scatter_add_(1, pixel.long()[:, None], share[:, None])
    return diffuse, glossy, direct


def _differences(height: int) -> Tensor:
    """Differences (D, E) between neighbouring panorama pixels, each weighted as the length of their common border."""
    width = 2 * height
    index = torch.arange(height * width).reshape(height, width)
    polar = torch.sin((torch.arange(height, dtype=torch.float64) + 0.5) / height * math.pi)
    pairs = [(index, index.roll(-1, 1), 1 / polar.clamp(min=0.2)), (index[:-1], index[1:], polar[:-1])]
    rows = []
    for first, second, weight in pairs:
        matrix = torch.zeros(first.numel(), height * width, dtype=torch.float64)
        count = torch.arange(first.numel())
        matrix[count, first.reshape(-1)] = 1
        matrix[count, second.reshape(-1)] = -1
        rows.append(matrix * weight.sqrt().repeat_interleave(width)[:, None])
    return torch.cat(rows)


def _solve(operator: Tensor, target: Tensor, clipped: Tensor, differences: Tensor, fit: Fit) -> Tensor:
    """Non-negative light (E,) with operator (N, E) @ light close to target (N,), in the robust sense of the module."""
    importance = 1 / (target + 0.05)  # errors count as on a screen, where dark tones are spread
    total = operator.sum(1)
    even = float((importance * total * target).sum() / (importance * total.square()).sum().clamp(min=1e-9))
    light = torch.full((operator.shape[1],), even, dtype=torch.float64)
    weight = importance.clone()
    for _ in range(fit.rounds):
        gram = operator.T @ (weight[:, None] * operator)
        scale = gram.diagonal().mean()
        steep = (differences @ light) / max(even, 1e-6)
        edges = fit.smoothness / (1 + steep.square()).sqrt()  # strong edges cost as their height, not its square
        gram = gram + scale * (differences.T @ (edges[:, None] * differences))
        gram.diagonal().add_(scale * fit.grayness)
        aim = operator.T @ (weight * target) + scale * fit.grayness * even
        light = _descend(gram, aim, light, fit.steps)
        residual = target - operator @ light
        spread = residual * importance.sqrt()
        typical = 1.4826 * spread.abs().median().clamp(min=1e-4)
        trust = (fit.huber * typical / spread.abs().clamp(min=1e-9)).clamp(max=1)
        weight = importance * trust * ~(clipped & (residual < 0))
    return light


def _descend(gram: Tensor, aim: Tensor, start: Tensor, steps: int) -> Tensor:
    """Minimise x gram x / 2 - aim x over x >= 0 by accelerated projected gradients (FISTA, Beck and Teboulle 2009),
    in coordinates in which gram has a unit diagonal."""
    unit = gram.diagonal().clamp(min=1e-12).rsqrt()
    matrix, goal = unit[:, None] * gram * unit, aim * unit
    step = 1 / torch.linalg.eigvalsh(matrix)[-1]
    here = start / unit
    ahead, momentum = here, 1.0
    for _ in range(steps):
        there = (ahead - step * (matrix @ ahead - goal)).clamp(min=0)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = there + (momentum - 1) / following * (there - here)
        here, momentum = there, following
    return here * unit
