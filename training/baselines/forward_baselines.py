"""Baselines of the forward renderer: analytic shading of the true G-buffers, from the crudest to split-sum.

All take the exposed panorama (T, h, w, 3) in the camera frame and give what a screen shows, (T, H, W, 3) sRGB in
[0, 1]. Where no surface is, all show the light itself at its full resolution. "SplitSum with traced shadows" is the
small network's own hint (`shading.hints`): what the network has to correct, so what it has to beat to be worth its
weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manifests.contract.color import TARGET, on_screen, srgb_decode, surface_level
from renderers.light.panoramas import panorama_directions, solid_angles
from renderers.modelspace import channels_last, from_model, planar
from renderers.shading.hints import hints
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays, pinhole
from training.evaluation.benchmark import Shot

MEAN_LIGHT = "base colour x mean light"
IRRADIANCE = "base colour x SH irradiance"
SPLIT_SUM = "SplitSum"
TRACED = "SplitSum with traced shadows"
# Cosine-lobe factors A_l / pi of orders 0, 1, 2 (Ramamoorthi and Hanrahan 2001, equation 8).
_LOBE = np.array([1.0, 2 / 3, 1 / 4])
_ORDER = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
UNCHANGED = "input unchanged"
LIGHT_RATIO = "input x light ratio"
LIGHT_RATIO_METERED = "input x light ratio, metered"


def forward_baselines(shot: Shot, panorama: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Videos (T, H, W, 3) by baseline, from a clip's true G-buffers under `panorama`, or under its own light."""
    planes = planar(shot.panorama if panorama is None else panorama)  # (1, T, 3, h, w)
    coverage = planar(shot.clip.arrays["mask"])
    gbuffers = {name: planar(value) for name, value in shot.gbuffers.items()} | {"mask": coverage}
    lens = pinhole(0.0, shot.camera.intrinsics, *shot.clip.size, shot.clip.frames)
    rays = camera_rays(*shot.clip.size, lens)
    shaded = split_sum(gbuffers, planes, rays)
    mean = mean_radiance(planes[0])[None, :, :, None, None]  # (T, 3) -> (1, T, 3, 1, 1)
    irradiance = sh_irradiance(planes[0], gbuffers["normal"][0])[None]
    behind = planar(shot.background)
    background = (1 - coverage) * behind
    traced = hints(gbuffers, planes, lens, mask=coverage, behind=behind).image[:, :, :3]  # `shadowed`
    radiance = {
        MEAN_LIGHT: coverage * gbuffers["basecolor"] * mean + background,
        IRRADIANCE: coverage * gbuffers["basecolor"] * irradiance + background,
        SPLIT_SUM: shaded.diffuse + shaded.specular + background,
        TRACED: from_model("rgb", traced),
    }
    return {name: on_screen(channels_last(picture)) for name, picture in radiance.items()}


def relighting_baselines(source: Shot, target: Shot) -> dict[str, np.ndarray]:
    """Videos (T, H, W, 3) for "`source` under the light of `target`", both of one scene.

    The light ratio is that of the exposed mean radiances, for each channel and frame; metered, the result is brought
    to the brightness at which the datasets expose surfaces.
    """
    before, after = (
        mean_radiance(torch.from_numpy(np.ascontiguousarray(shot.panorama.transpose(0, 3, 1, 2)))).numpy()
        for shot in (source, target)
    )
    ratio = (after / np.maximum(before, 1e-6))[:, None, None]  # (T, 1, 1, 3)
    scaled = srgb_decode(source.video) * ratio
    level = surface_level(scaled, source.surface)
    return {
        UNCHANGED: source.video,
        LIGHT_RATIO: on_screen(scaled),
        LIGHT_RATIO_METERED: on_screen(scaled * (TARGET / level if level > 0 else 1.0)),
    }


def mean_radiance(panorama: Tensor) -> Tensor:
    """Mean (T, 3) over the sphere of panoramas (T, 3, h, w)."""
    weights = solid_angles(*panorama.shape[-2:]).to(panorama)  # (h, 1)
    return (panorama * weights).sum((-2, -1)) / (weights.sum() * panorama.shape[-1])


def flattened(panorama: np.ndarray) -> np.ndarray:
    """Panoramas (T, h, w, 3) replaced by their mean over the sphere, one colour per frame: light without direction."""
    mean = mean_radiance(torch.from_numpy(np.ascontiguousarray(panorama.transpose(0, 3, 1, 2))))
    return np.ascontiguousarray(np.broadcast_to(mean.numpy()[:, None, None], panorama.shape))


def sh_irradiance(panorama: Tensor, normal: Tensor) -> Tensor:
    """Irradiance over pi, (T, 3, H, W), at camera-frame normals (T, 3, H, W): second-order spherical harmonics.

    Ramamoorthi and Hanrahan 2001, "An efficient representation for irradiance environment maps". Never negative.
    """
    directions = panorama_directions(*panorama.shape[-2:]).to(panorama)  # (3, h, w)
    weights = solid_angles(*panorama.shape[-2:]).to(panorama)
    light = torch.einsum("tchw,khw->tck", panorama * weights, _harmonics(directions))
    lobes = torch.from_numpy(_LOBE[_ORDER]).to(panorama)
    return torch.einsum("tck,tkhw->tchw", light * lobes, _harmonics(normal)).clamp_min(0.0)


def _harmonics(d: Tensor) -> Tensor:
    """Real spherical harmonics of orders 0 to 2, (..., 9, H, W), along unit directions (..., 3, H, W)."""
    x, y, z = d.unbind(-3)
    one = torch.ones_like(x)
    return torch.stack(
        [
            0.282095 * one,
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        dim=-3,
    )
