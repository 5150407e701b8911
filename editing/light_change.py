"""What another light does to a film, at the size that networks see it: a gain for every pixel of the picture.

The picture under the new light is a geometric mean of two. One is the picture itself times the ratio of new to old
shading, which keeps all that networks do not know; the old shading is base colour times the nine spherical harmonics
of irradiance (Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001) that
explain the picture best. The other is the render under the new light, in which old shadows and highlights are gone.
The gain is on the picture as a screen shows it, so that it can be laid over a larger one without decoding it.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch

from editing.full_size import LIFT
from manifests.contract.color import luminance, srgb_decode, srgb_encode
from manifests.contract.environment import Environment
from renderers.light.panoramas import given_light
from renderers.modelspace import channels_last, gbuffer_values, planar
from renderers.shading.hints import harmonics, surface_radiance
from renderers.shading.view_geometry import pinhole, surface_coverage

FLOOR = 0.02
"""Linear light added to both parts of a ratio of pictures, so that darkness stays calm."""

RENDERED = 0.5
"""Weight of the render in the geometric mean, where nothing is metal (docs/editing.md has the measurement)."""

_SHADOWS = 0.4
"""Of the shadows that estimated depth throws; many are not there."""
_RATIO = 0.1, 6.0
_FAINT = 0.1
_BALANCED = 0.5
"""Of a new light's colour that a camera's white balance would take away."""
_MOST_EXCESS = 1.0
_GAIN = 0.3, 2.3
"""Least and most on the encoded picture: about `_RATIO`."""
_SHOULDER = 0.75
_PANORAMA = 32, 64
_SAMPLES, _ROUNDS = 20_000, 6
_RIDGE, _LEAST = 1e-3, 0.12
_HUE, _MOST_HUE = 0.02, 0.4
_EVEN = np.full(3, 1 / 3, dtype=np.float32)
_TRUST, _ALIKE = 0.95, 0.04


def covered(gbuffers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Coverage (n, h, w, 1) in [0, 1] of estimated G-buffers: the network's own, or a guess where it gives none."""
    if "mask" in gbuffers:
        return gbuffers["mask"]
    values = gbuffer_values(gbuffers)
    return channels_last(surface_coverage(values["depth"], values["basecolor"], values["normal"]))


def old_shading(seen: np.ndarray, gbuffers: Mapping[str, np.ndarray], coverage: np.ndarray) -> np.ndarray:
    """Linear radiance (n, h, w, 3) of surfaces under the film's own light, as smooth as irradiance is.

    seen: (n, h, w, 3) sRGB. Shadows, highlights and wrong base colours are outliers of a robust fit (Cauchy weights).
    """
    step = max(1, coverage.size // _SAMPLES)
    basis = harmonics(torch.from_numpy(gbuffers["normal"].reshape(-1, 3))).numpy()  # (N, 9)
    colour, weight = gbuffers["basecolor"].reshape(-1, 3), coverage.reshape(-1)
    light = np.empty_like(colour)
    for channel in range(3):
        known, bright = colour[::step, channel], seen.reshape(-1, 3)[::step, channel]
        target = srgb_decode(bright)
        importance = weight[::step] * (bright < 0.99) * (known > 0.02) / (target + 0.05)
        rows, trusted = known[:, None] * basis[::step], importance
        for _ in range(_ROUNDS):
            gram = rows.T @ (trusted[:, None] * rows)
            gram[np.diag_indices(9)] += _RIDGE * np.trace(gram) / 9 + 1e-6
            found = np.linalg.solve(gram, rows.T @ (trusted * target))
            residual = np.abs(target - rows @ found) * np.sqrt(1 / (target + 0.05))
            typical = np.median(residual[importance > 0]) if (importance > 0).any() else 0.0
            trusted = importance / (1 + (residual / (2.2 * typical + 1e-4)) ** 2)
        irradiance = basis @ found.astype(np.float32)
        mean = float(np.average(irradiance, weights=weight + 1e-6))
        light[:, channel] = np.maximum(irradiance, _LEAST * max(mean, 1e-2))
    return (colour * light).reshape(seen.shape)


def analytic_render(
    gbuffers: Mapping[str, np.ndarray],
    coverage: np.ndarray,
    *,
    environment: np.ndarray | Environment,
    exposure: float = 1.0,
    camera_to_world: np.ndarray | None = None,
    fov_degrees: float = 45.0,
    intrinsics: np.ndarray | None = None,
) -> np.ndarray:
    """Linear radiance (n, h, w, 3) of the surfaces under a light, shaded without a network, with traced shadows.

    coverage: (n, h, w, 1). The other arguments as the forward renderer takes them.
    """
    frames, height, width, _ = coverage.shape
    lens = pinhole(fov_degrees, intrinsics, height, width, frames)
    light = given_light(environment, frames, camera_to_world, exposure).panorama(*_PANORAMA)
    values = gbuffer_values(gbuffers)
    light = light.expand(1, frames, -1, -1, -1)
    return channels_last(surface_radiance(values, light, lens, planar(coverage), shadows=_SHADOWS))


def relit(seen: np.ndarray, old: np.ndarray, new: np.ndarray, rendered: np.ndarray | float = RENDERED) -> np.ndarray:
    """The picture under the new light, linear (n, h, w, 3), unbounded: the mean that the module describes.

    seen: sRGB. old, new: linear radiance of the surfaces. rendered: weight of the render, 0 to 1.
    """
    picture = np.log(srgb_decode(seen) + FLOOR)
    before = np.log(old + FLOOR)
    ratio = np.clip(np.log(new + FLOOR) - before, *np.log(_RATIO))
    excess = ((picture - before) @ _EVEN)[..., None]  # its colour is base colour's error, more often than not
    excess = np.clip(excess, -_MOST_EXCESS, _MOST_EXCESS)
    return np.exp(picture + ratio - rendered * excess) - FLOOR


def balance(seen: np.ndarray, made: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Factors (3,) on `made` (linear) that a camera would choose: its surfaces get the mean luminance that they have
    in `seen` (sRGB), and half of what their mean colour has changed is taken back."""
    before, after = ((coverage * np.clip(part, 0.0, 4.0)).mean(axis=(0, 1, 2)) for part in (srgb_decode(seen), made))
    if min(before.min(), after.min()) < 1e-6:
        return np.ones(3, dtype=np.float32)
    factors = (before / after) ** _BALANCED
    return np.asarray(factors * (luminance(before) / luminance(factors * after)), dtype=np.float32)


def gains(seen: np.ndarray, made: np.ndarray, coverage: np.ndarray, *, graded: bool) -> np.ndarray:
    """Gains (n, h, w, 3) on the encoded picture plus `LIFT`, from the picture under the new light, linear.

    Light that the old picture does not have rolls off towards white. What is no surface gets the gain of surfaces
    nearby, so that none bleeds in at silhouettes; with `graded` the mean colour of the change, never brighter.
    """
    old = srgb_decode(seen)
    peak, before = (part.max(axis=-1, keepdims=True) for part in (made, old))
    soft = np.maximum(rolled_off(peak, _SHOULDER), np.minimum(peak, before))
    encoded = srgb_encode(np.maximum(made * (soft / np.maximum(peak, 1e-6)), 0.0))  # all channels alike: hue stays
    gain = _calm((encoded.astype(np.float32) + LIFT) / (seen + LIFT))
    if graded:
        mean = np.exp(np.average(np.log(gain), axis=(0, 1, 2), weights=np.broadcast_to(coverage + 1e-6, gain.shape)))
        mean = (mean / max(float(mean.mean()), 1.0)).astype(np.float32)  # a sky is bright already
        return coverage * gain + (1 - coverage) * mean
    for frame, share in zip(gain, coverage, strict=True):
        frame[:] = share * frame + (1 - share) * _nearby(frame, share)
    return gain


def rolled_off(peak: np.ndarray, shoulder: float) -> np.ndarray:
    """Linear light that beyond the shoulder nears 1 and never reaches it."""
    over = np.maximum(peak - shoulder, 0.0)
    return np.asarray(np.minimum(peak, shoulder) + (1 - shoulder) * over / (over + 1 - shoulder))


def _calm(gain: np.ndarray) -> np.ndarray:
    """Gains (n, h, w, 3) whose hue changes slowly over the picture, as light's does; mistakes in base colour do not."""
    side = 2 * round(_HUE * max(gain.shape[1:3]) / 2) + 1
    logs = np.log(gain)
    bright = logs @ _EVEN  # (n, h, w)
    hue = logs - bright[..., None]
    hue = np.stack([cv2.blur(cv2.blur(frame, (side, side)), (side, side)) for frame in hue])
    return np.clip(np.exp(bright[..., None] + np.clip(hue, -_MOST_HUE, _MOST_HUE)), *_GAIN)


def _nearby(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Means of (h, w, C) over what is covered, close by where there is some, else from farther away."""
    sure = share**4  # pixels of a silhouette are mixtures
    found, known = values * sure, sure
    result, done = np.zeros_like(values), np.zeros_like(share)
    for side in (5, 15, 61, 241):
        total = cv2.blur(found, (side, side), borderType=cv2.BORDER_REFLECT)
        weight = cv2.blur(known, (side, side), borderType=cv2.BORDER_REFLECT)[..., None]
        part = (1 - done) * np.clip(weight / 0.05, 0.0, 1.0)
        result += part * total / np.maximum(weight, 1e-6)
        done += part
    return result + (1 - done)


def steadied(maps: Mapping[str, np.ndarray], seen: np.ndarray) -> dict[str, np.ndarray]:
    """Maps (n, h, w, C) by name averaged over time along the optical flow (DIS) of `seen` (n, h, w, 3), both ways.

    What does not look alike where the flow leads is left out. A window starts anew: its depth has its own scale.
    """
    frames, height, width, _ = seen.shape
    if frames < 2 or min(height, width) < 32:
        return dict(maps)
    names = list(maps)
    stacked = np.concatenate([maps[name] for name in names], axis=-1).astype(np.float32)
    grey = [cv2.cvtColor((255 * frame).astype(np.uint8), cv2.COLOR_RGB2GRAY) for frame in seen]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    total = np.zeros_like(stacked)
    for order in (range(frames), range(frames - 1, -1, -1)):
        mean = before = None
        for frame in order:
            values = stacked[frame]
            if mean is not None and before is not None:
                moved = flow.calc(grey[frame], grey[before], np.zeros((height, width, 2), dtype=np.float32))
                at = columns + moved[..., 0], rows + moved[..., 1]
                led = cv2.remap(grey[before], *at, cv2.INTER_LINEAR, borderValue=255)
                apart = cv2.absdiff(led, grey[frame]).astype(np.float32) / 255
                trust = (_TRUST * np.exp(-((apart / _ALIKE) ** 2)))[..., None]
                carried = [
                    cv2.remap(mean[..., channel], *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                    for channel in range(mean.shape[-1])
                ]
                there = np.stack(carried, axis=-1)
                values = values + trust * (there - values)
            mean, before = values, frame
            total[frame] += values
    total /= 2
    parts = np.split(total, np.cumsum([maps[name].shape[-1] for name in names])[:-1], axis=-1)
    made = dict(zip(names, parts, strict=True))
    if "normal" in made:
        made["normal"] /= np.maximum(np.linalg.norm(made["normal"], axis=-1, keepdims=True), 1e-6)
    return made
