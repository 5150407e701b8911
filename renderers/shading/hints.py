"""Analytic pictures of a clip's G-buffers under its light: what the small forward renderer corrects, not invents.

A network of a few million parameters does not learn light transport from pixels. Given split-sum shading, the same with
shadows traced through the depth buffer and one bounce of light between visible surfaces, it only has to learn what
these leave out. The hints are computed from what the networks have anyway: relative depth, the other G-buffers, the
camera's intrinsics and the panorama in the camera frame, so they work on predicted G-buffers too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from renderers.light.panoramas import encode_ldr, encode_log, panorama_directions, solid_angles
from renderers.modelspace import to_model
from renderers.shading.split_sum import Shading, split_sum
from renderers.shading.view_geometry import depth_noise, depth_offset, plane_rays, points, surface_coverage
from renderers.shading.visibility import DepthBuffer, DirectionalLights, cluster, march

IMAGES: tuple[tuple[str, int], ...] = (
    ("shadowed", 3),
    ("radiance", 3),
    ("diffuse", 3),
    ("specular", 3),
    ("background", 3),
    ("sky", 1),
    ("least_sky", 1),
    ("coverage", 1),
)
"""The hint images and their channels, in order. `shadowed` comes first: it is the picture that a network corrects."""

CHANNELS = sum(count for _, count in IMAGES)
"""C of `Hints.image`."""

KEY_LIGHTS = 4
LIGHT_FEATURES = 2 * 27 + 6 * KEY_LIGHTS
"""L of `Hints.light`."""

_CLUSTERS = 8

_PIXELS = 2**17
"""Pixels whose rays are followed at once: bounds the memory that large pictures take."""


@dataclass(frozen=True)
class Hints:
    """Hint images and a light vector for each frame.

    Attributes:
        image: (B, T, C, H, W) in model space [-1, 1], C = CHANNELS: radiances as sRGB of the clipped value, shares
            in [0, 1] stretched to [-1, 1].
        light: (B, T, L), L = LIGHT_FEATURES: spherical harmonics of order 2 of E_log and E_ldr (27 each), then
            direction and colour of the KEY_LIGHTS strongest parts of the panorama.
    """

    image: Tensor
    light: Tensor


def hints(
    gbuffers: Mapping[str, Tensor],
    panorama: Tensor,
    intrinsics: Tensor,
    *,
    mask: Tensor | None = None,
    offset: Tensor | None = None,
    behind: Tensor | None = None,
) -> Hints:
    """Hints of clips from their G-buffers and light.

    Args:
        gbuffers: the five G-buffers (B, T, C, H, W) as values, true or predicted; depth relative, in [0, 1].
        panorama: (B, T, 3, h, w) linear HDR in each frame's camera frame, times the exposure of the pictures.
        intrinsics: (3, 3), (B, 3, 3) or (B, T, 3, 3) in pixels.
        mask: (B, T, 1, H, W) surface coverage where it is known; otherwise it is guessed from the G-buffers.
        offset: (B,) near / (far - near) of each clip where it is known; otherwise it is estimated from the normals.
        behind: (B, T, 3, H, W) the light along every viewing ray, linear and exposed, where it is known more finely
            than the panorama has it: a picture sees far more detail of the environment than shading needs.

    Returns:
        Hints. Shading has gradients, what blocks light has none.
    """
    with torch.autocast(panorama.device.type, enabled=False):  # in training, shading stays float32
        shading, lit, coverage, lights = _lighted(gbuffers, panorama, intrinsics, mask, offset)
        if behind is not None:
            shading = replace(shading, background=(1 - coverage) * behind)
        images = {
            "shadowed": to_model("rgb", lit.diffuse + lit.specular + shading.background),
            "radiance": to_model("rgb", shading.radiance),
            "diffuse": to_model("rgb", shading.diffuse),
            "specular": to_model("rgb", shading.specular),
            "background": to_model("rgb", shading.background),
            "sky": 2 * lit.sky - 1,
            "least_sky": 2 * lit.least_sky - 1,
            "coverage": 2 * coverage - 1,
        }
        stacked = torch.cat([images[name] for name, _ in IMAGES], dim=2)
        return Hints(stacked, light_features(panorama, lights))


@torch.no_grad()
def surface_radiance(
    gbuffers: Mapping[str, Tensor], panorama: Tensor, intrinsics: Tensor, mask: Tensor, *, shadows: float = 1.0
) -> Tensor:
    """Linear radiance (B, T, 3, H, W) of surfaces alone, with shadows and one bounce, also where `mask` has none.

    Arguments as `hints` takes them; where `mask` is below 0.5 a pixel throws no shadow. `shadows`: how much of the
    shadows and the bounce there is, 0 to 1.
    """
    shading, lit, _, _ = _lighted(gbuffers, panorama, intrinsics, mask, None, covered=torch.ones_like(mask))
    return torch.lerp(shading.diffuse + shading.specular, lit.diffuse + lit.specular, shadows)


def _lighted(
    gbuffers: Mapping[str, Tensor],
    panorama: Tensor,
    intrinsics: Tensor,
    mask: Tensor | None,
    offset: Tensor | None,
    covered: Tensor | None = None,
) -> tuple[Shading, Lit, Tensor, DirectionalLights]:
    """Shading without and with transport, coverage, and the parts of the light. `covered` is what is shaded, if not
    the coverage."""
    relative, normal = gbuffers["depth"].float(), gbuffers["normal"].float()
    height, width = relative.shape[-2:]
    rays = plane_rays(height, width, intrinsics).to(relative)
    coverage = surface_coverage(relative, gbuffers["basecolor"], normal) if mask is None else mask.float()
    if offset is None:
        offset = depth_offset(relative, normal, rays, mask)
    surface = points(relative + offset.view(-1, 1, 1, 1, 1), rays)
    shaded = {**gbuffers, "mask": coverage if covered is None else covered}
    view = (rays / rays.norm(dim=-3, keepdim=True)).expand(len(panorama), *rays.shape[1:])
    shading = split_sum(shaded, panorama, view)
    white = split_sum(shaded, torch.ones_like(panorama), view)
    lights = cluster(panorama, _CLUSTERS)
    frames = panorama.shape[1]
    lens = intrinsics.to(relative) if intrinsics.ndim != 3 else intrinsics.to(relative)[:, None]
    buffer = DepthBuffer(  # (B, T, ...) -> (N, ...)
        surface.flatten(0, 1),
        normal.flatten(0, 1),
        coverage.flatten(0, 1),
        lens.expand(len(panorama), frames, 3, 3).flatten(0, 1),
        depth_noise(surface, normal, coverage).repeat_interleave(frames),
    )
    return shading, transport(shading, white, buffer, gbuffers["roughness"], lights), coverage, lights


@dataclass(frozen=True)
class Lit:
    """Shading with shadows and one bounce: `diffuse` and `specular` (B, T, 3, H, W) linear.

    `sky` (B, T, 1, H, W) is the share of each pixel's irradiance that is not blocked; `least_sky` the same, if
    everything behind what the camera sees were solid.
    """

    diffuse: Tensor
    specular: Tensor
    sky: Tensor
    least_sky: Tensor


def transport(
    shading: Shading, white: Shading, buffer: DepthBuffer, roughness: Tensor, lights: DirectionalLights
) -> Lit:
    """Put shadows and one bounce of light into unshadowed shading.

    Diffuse: each light's share of the irradiance comes from the parts of the panorama, the total from the exact
    shading, diffuse * sum_k V_k E_k cos_k / sum_k E_k cos_k. Where a ray is blocked, what blocks it sends its own
    shadowed diffuse light. Specular: one ray along the lobe says whether the reflection is of the environment or of a
    surface, which is then shown; the rougher, the more the diffuse share decides.

    Args:
        shading: split-sum shading under the panorama.
        white: the same under a panorama of ones: the surfaces' diffuse and specular albedo.
        buffer: the N = B * T images, frame by frame.
        roughness: (B, T, 1, H, W).
        lights: K parts of the panorama.
    """
    shape = roughness.shape[:2]
    planes = (shading.diffuse, shading.specular, white.diffuse, white.specular, roughness)
    lamps = (lights.directions, lights.power, lights.solid_angle, lights.spread)
    flat = [values.float().flatten(0, 1) for values in (*planes, *lamps)]  # (B, T, ...) -> (N, ...)
    some = max(1, _PIXELS // math.prod(roughness.shape[-2:]))
    slices = [slice(start, start + some) for start in range(0, len(flat[0]), some)]
    lit = [_lit(buffer.images(part), *(values[part] for values in flat)) for part in slices]
    return Lit(*(torch.cat(values).unflatten(0, shape) for values in zip(*lit, strict=True)))


def _lit(buffer: DepthBuffer, *flat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of `Lit`, (N, C, H, W), of N images."""
    diffuse, specular, albedo, gloss, roughness, directions, power, solid_angle, spread = flat
    trace = march(buffer, directions[..., None, None])
    wide = spread[..., None, None]
    cosine = torch.einsum("nkc,nchw->nkhw", directions, buffer.normal)
    cosine = ((cosine + wide) / (1 + wide)).clamp(min=0)  # a wide part reaches a little beyond the horizon
    total = torch.einsum("nkhw,nkc->nchw", cosine, power).clamp(min=1e-8)
    share = torch.einsum("nkhw,nkc->nchw", cosine * trace.visibility, power) / total
    least = torch.einsum("nkhw,nkc->nchw", cosine * trace.least, power) / total
    direct = diffuse * share
    blocked = cosine * (1 - trace.visibility) * solid_angle[..., None, None] / math.pi
    senders = _look(direct, trace.hit.flatten(1, 2)).unflatten(2, blocked.shape[1:3])  # (N, 3, K, H, W)
    lit = direct + albedo * torch.einsum("nkhw,nckhw->nchw", blocked, senders)

    ray = march(buffer, _lobe_direction(buffer, roughness)[:, None])
    sharp = 1 - roughness
    mirrored = _look(lit + specular * share, ray.hit[:, 0])
    glossy = specular * torch.lerp(share, ray.visibility.expand_as(share), sharp)
    glossy = glossy + gloss * (1 - ray.visibility) * sharp * mirrored
    return lit, glossy, share.mean(1, keepdim=True), least.mean(1, keepdim=True)


def _look(image: Tensor, grid: Tensor) -> Tensor:
    """Nearest pixels of images (N, C, H, W) at grid_sample's coordinates (N, H', W, 2)."""
    return functional.grid_sample(image, grid, mode="nearest", align_corners=False)


def _lobe_direction(buffer: DepthBuffer, roughness: Tensor) -> Tensor:
    """Unit main direction (N, 3, H, W) of GGX lobes: from the mirror direction toward the normal as they widen.

    Lagarde and de Rousiers, "Moving Frostbite to Physically Based Rendering" (2014), section 4.9.3.
    """
    view = functional.normalize(buffer.points, dim=1)
    mirror = view - 2 * (view * buffer.normal).sum(1, keepdim=True) * buffer.normal
    alpha = roughness.square()
    return functional.normalize(torch.lerp(buffer.normal, mirror, (1 - alpha) * ((1 - alpha).sqrt() + alpha)), dim=1)


def light_features(panorama: Tensor, lights: DirectionalLights) -> Tensor:
    """Light vector (B, T, LIGHT_FEATURES) of panoramas (B, T, 3, h, w) and their parts; all entries about [-1, 1]."""
    height, width = panorama.shape[-2:]
    basis = harmonics(panorama_directions(height, width).to(panorama).movedim(0, -1))  # (h, w, 9)
    basis = basis * solid_angles(height, width).to(panorama)[..., None] / (4 * math.pi)
    projected = [
        torch.einsum("btchw,hwk->btck", encode(panorama), basis).flatten(2) for encode in (encode_log, encode_ldr)
    ]
    order = lights.power.sum(-1).topk(KEY_LIGHTS, dim=-1).indices[..., None].expand(-1, -1, -1, 3)  # (B, T, 4, 3)
    directions = lights.directions.gather(2, order).flatten(2)
    colours = (0.25 * torch.log1p(lights.power.gather(2, order))).flatten(2)
    return torch.cat([*projected, directions, colours], dim=-1)


def harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics (..., 9) up to order 2 along unit `directions` (..., 3), scaled so that each has mean
    square 1 over the sphere."""
    x, y, z = directions.unbind(-1)
    third, fifteen = math.sqrt(3), math.sqrt(15)
    return torch.stack(
        [
            torch.ones_like(x),
            third * y,
            third * z,
            third * x,
            fifteen * x * y,
            fifteen * y * z,
            math.sqrt(5) / 2 * (3 * z * z - 1),
            fifteen * x * z,
            fifteen / 2 * (x * x - y * y),
        ],
        dim=-1,
    )
