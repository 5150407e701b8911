"""The direct part of a light: a sun, a window or a lamp that smooth light has lost, found again in shading and shadows.

Light that is solved from shading is as smooth as shading allows, and throws next to no shadow. Real light has a main
part that comes from one side. Of directions all over the upper half, the one is taken that explains the picture best
as base colour times (ambient light of two bands of harmonics + a lamp there, with the shadows that depth throws).
Where the picture does not say, it lies where the smooth light comes from, and is as strong as is usual.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from manifests.contract.color import LUMINANCE, srgb_decode
from renderers.light.panoramas import panorama_directions, resize_panorama, solid_angles
from renderers.modelspace import planar
from renderers.shading.view_geometry import depth_noise, plane_rays, points
from renderers.shading.visibility import DepthBuffer, march

HEIGHT = 64
"""Rows of the panorama that is made: a lamp must not be wider than it is."""
_SIDE = 128
"""Pixels of the larger side of the picture that is looked at."""
_WIDTH = np.radians(8.0)
"""Standard deviation of a lamp's angle: wider than a sun, as its direction is not known better."""
_DIRECTIONS = 96
_LOWEST, _HIGHEST = np.sin(np.radians(20.0)), np.sin(np.radians(80.0))
_USUAL = 0.4
"""Share of what a floor receives that comes from the main light, where the picture does not say."""
_SHARES = 0.25, 0.65
_TELLING = 0.1
"""Share of the robust error that the best direction must take away to be believed halfway."""
_ROUNDS = 6
_RIDGE = 0.02


def with_key_light(
    panorama: np.ndarray, rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray], intrinsics: np.ndarray, up: np.ndarray
) -> np.ndarray:
    """The light with a main part of its own; surfaces that look up receive as much as before.

    Args:
        panorama: (h, 2h, 3) linear, in the camera's frame, as estimators give it.
        rgb: one frame (H, W, 3), sRGB.
        gbuffers: of that frame, (H, W, C): `basecolor`, `normal`, `mask`, and `depth` in any unit, +inf for background.
        intrinsics: (3, 3) in pixels.
        up: (3,) in the camera's frame.

    Returns:
        (64, 128, 3) in the same frame.
    """
    wide = resize_panorama(planar(panorama[None])[0], HEIGHT, 2 * HEIGHT)[0].permute(1, 2, 0).numpy().astype(np.float64)
    directions = panorama_directions(HEIGHT, 2 * HEIGHT).permute(1, 2, 0).numpy().astype(np.float64)
    solid = solid_angles(HEIGHT, 2 * HEIGHT).numpy().astype(np.float64)
    power = (wide @ LUMINANCE) * solid
    leaning = (power[..., None] * directions).sum(axis=(0, 1)) / max(float(power.sum()), 1e-9)
    towards, share, trust = _explained(rgb, gbuffers, intrinsics, up)
    usual = _raised(leaning + 0.25 * up, up)
    towards = _raised(trust * towards + (1 - trust) * usual, up)
    share = float(np.clip(trust * share + (1 - trust) * _USUAL, *_SHARES))
    lobe = np.exp((directions @ towards - 1) / _WIDTH**2)
    cosine = np.maximum(directions @ up, 0.0) * solid
    received = (wide * cosine[..., None]).sum(axis=(0, 1))  # (3,)
    lamp = received / max(float((lobe * cosine).sum()), 1e-9)
    return np.asarray((1 - share) * wide + share * lobe[..., None] * lamp, dtype=np.float32)


def _explained(
    rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray], intrinsics: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Direction (3,) of the main light, its share of what surfaces that look up receive, and how far to trust both."""
    step = max(1, -(-max(rgb.shape[:2]) // _SIDE))
    buffer, seen, own, clear = _looked_at(rgb, gbuffers, intrinsics, step)
    candidates = _upper(up)
    if clear.sum() < 200:
        return up, _USUAL, 0.0
    lamps = torch.from_numpy(candidates).float()[None, :, :, None, None]
    visible = march(buffer, lamps).visibility[0].numpy()[:, clear]  # (K, N)
    normal = buffer.normal[0].numpy()[:, clear].T.astype(np.float64)  # (N, 3)
    ambient = own[clear, None] * np.concatenate([np.ones((len(normal), 1)), normal], axis=1)
    target = seen[clear]
    importance = 1 / (target + 0.05)
    floor = float(np.median((target / own[clear])[normal @ up > 0.8])) if (normal @ up > 0.8).any() else 0.0
    without, spread = _fitted(ambient, target, importance, None)[1:]
    best = (without, up, 0.0)
    for towards, seen_there in zip(candidates, visible, strict=True):
        lamp = own[clear] * np.maximum(normal @ towards, 0.0) * seen_there
        found, error, _ = _fitted(np.column_stack([ambient, lamp]), target, importance, spread)
        if found[-1] > 0 and error < best[0]:
            even = max(float(found[0] + found[1:4] @ up), 0.0)  # ambient light on what looks up
            strength = float(found[-1] * (towards @ up))
            best = (error, towards, strength / max(even + strength, floor, 1e-6))
    gain = 1 - best[0] / max(without, 1e-12)
    return best[1], best[2], float(gain / (gain + _TELLING))


def _looked_at(
    rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray], intrinsics: np.ndarray, step: int
) -> tuple[DepthBuffer, np.ndarray, np.ndarray, np.ndarray]:
    """Every `step`-th pixel: what light meets there, luminance seen and of base colour (h, w), and what can be used."""
    small = {name: gbuffers[name][None, ::step, ::step] for name in ("basecolor", "normal", "depth", "mask")}
    height, width = small["depth"].shape[1:3]
    lens = np.diag([1 / step, 1 / step, 1.0]) @ intrinsics
    covered = small["mask"][0, ..., 0] * np.isfinite(small["depth"][0, ..., 0])
    depth = np.where(covered[None, ..., None] > 0.5, small["depth"], 1.0).astype(np.float32)
    there = planar(covered[None, ..., None].astype(np.float32))
    rays = plane_rays(height, width, torch.from_numpy(lens).float())
    normal, places = planar(small["normal"]), points(planar(depth), rays)
    noise = depth_noise(places, normal, there).reshape(-1)
    buffer = DepthBuffer(places[0], normal[0], there[0], torch.from_numpy(lens).float()[None], noise)
    picture = rgb[::step, ::step]
    seen, own = srgb_decode(picture) @ LUMINANCE, small["basecolor"][0] @ LUMINANCE
    return buffer, seen, own, (covered > 0.9) & (picture.max(axis=-1) < 0.97) & (own > 0.03)


def _upper(up: np.ndarray) -> np.ndarray:
    """Directions (K, 3) spread evenly over the upper half, without its rim and its pole."""
    height = np.linspace(_LOWEST, _HIGHEST, _DIRECTIONS)
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(_DIRECTIONS)
    first = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    first /= np.linalg.norm(first)
    flat = np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * np.cross(up, first)
    return np.asarray(height[:, None] * up + np.sqrt(1 - height**2)[:, None] * flat)


def _raised(direction: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The direction (3,) at unit length, brought between 20 and 80 degrees above the ground."""
    height = float(direction @ up) / max(float(np.linalg.norm(direction)), 1e-9)
    flat = direction - (direction @ up) * up
    flat /= max(float(np.linalg.norm(flat)), 1e-9)
    height = float(np.clip(height, _LOWEST, _HIGHEST))
    made = height * up + np.sqrt(1 - height**2) * flat
    return np.asarray(made / np.linalg.norm(made))


def _fitted(
    columns: np.ndarray, target: np.ndarray, importance: np.ndarray, spread: float | None
) -> tuple[np.ndarray, float, float]:
    """Weights (C,) of the columns (N, C) that come near to the target (N,), robustly; the error; and its `spread`."""
    weight, found = importance, np.zeros(columns.shape[1])
    typical = spread or 1.0
    for _ in range(_ROUNDS):
        gram = columns.T @ (weight[:, None] * columns)
        gram[np.arange(1, 4), np.arange(1, 4)] += _RIDGE * gram[0, 0]
        gram[np.diag_indices(len(gram))] += 1e-9 * np.trace(gram) + 1e-12
        found = np.linalg.solve(gram, columns.T @ (weight * target))
        residual = np.abs(target - columns @ found) * np.sqrt(importance)
        if spread is None:
            typical = 2.0 * float(np.median(residual)) + 1e-4
        weight = importance / (1 + (residual / typical) ** 2)
    return found, float(np.log1p((residual / typical) ** 2).mean()), typical
