"""Baselines of editing: what can be done to the picture alone, in two dimensions, where the edited thing is known.

All take and give videos (T, H, W, 3), sRGB in [0, 1], and change only the pixels of `mask` (T, H, W, 1) in [0, 1].
"""

from __future__ import annotations

import numpy as np
import torch

from manifests.contract.color import TARGET, luminance, on_screen, srgb_decode, srgb_encode, surface_level
from renderers.modelspace import channels_last, planar
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays, pinhole

UNCHANGED = "input unchanged"
RATIO = "2D recolour, base colours known"
RATIO_ORACLE = "2D recolour, base colours known (oracle)"
TINT = "2D recolour, mean taken to the colour"
CHROMA = "2D recolour, luminance kept"
BEST_GAIN = "input x best gain (oracle)"
PASTE = "2D paste"

_LEAST = 1e-4
_GRID = (8, 16)


def repainted(video: np.ndarray, mask: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The region times the ratio of two base colours (3,), linear, both encoded: what a multiply layer does.

    `old` is what the old base colour is held to be: the true one, or `mean_colour` where only the picture is known.
    """
    return _laid(video, video * (srgb_encode(new) / np.maximum(srgb_encode(old), _LEAST)), mask)


def mean_colour(video: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The region's mean (3,), linear, of the encoded picture."""
    return srgb_decode((video * mask).sum(axis=(0, 1, 2)) / max(float(mask.sum()), _LEAST))


def chroma(video: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The region in the hue and saturation of `colour` (3,), linear, with the luminance that each pixel had.

    What a layer in "colour" mode does.
    """
    light = srgb_decode(video)
    tone = colour / max(float(luminance(colour)), _LEAST)
    return _laid(video, on_screen(luminance(light)[..., None] * tone), mask)


def best_gain(video: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """An oracle: the region times the factors, one per channel in linear light, that bring it nearest to the truth."""
    where = mask[..., 0] > 0.5
    seen, wanted = srgb_decode(video)[where], srgb_decode(truth)[where]  # (N, 3)
    gains = np.geomspace(1 / 32, 32, 161)[:, None, None]
    errors = np.square(on_screen(seen * gains) - on_screen(wanted)).mean(axis=1)  # (G, 3)
    best = gains[errors.argmin(axis=0), 0, 0]
    return _laid(video, on_screen(srgb_decode(video) * best), mask)


def paste(video: np.ndarray, arrays: dict[str, np.ndarray], coverage: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """The object, rendered without shadows under light that is the same from everywhere, pasted into the video.

    arrays: G-buffers (T, H, W, C) that show the object where `coverage` (T, H, W, 1) says. Its brightness is chosen as
    the datasets choose theirs: the 95th percentile of its luminance goes to 0.7.
    """
    height, width = coverage.shape[1:3]
    names = ("basecolor", "normal", "roughness", "metallic")
    values = {name: planar(arrays[name].astype(np.float32)) for name in names}
    values["mask"] = torch.ones_like(values["roughness"])
    frames = values["mask"].shape[1]
    light = torch.ones(1, frames, 3, *_GRID)
    rays = camera_rays(height, width, pinhole(0.0, intrinsics, height, width, frames))
    shaded = channels_last(split_sum(values, light, rays).radiance)
    level = surface_level(shaded, coverage[..., 0] > 0.5) or TARGET
    return _laid(video, on_screen(shaded * (TARGET / max(level, _LEAST))), coverage)


def _laid(video: np.ndarray, changed: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (video + (np.clip(changed, 0.0, 1.0) - video) * mask).astype(np.float32)
