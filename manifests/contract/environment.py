"""Environment light of a clip: one HDR lat-long image, one rotation per frame, and the networks' three encodings.

The image is stored in its own frame, which is the world frame when the rotation is the identity. Direction
(x, y, z), z up, is found at u = 0.5 - atan2(y, x) / 2 pi (left to right) and v = acos(z) / pi (top to bottom):
the centre column looks along +x and the left edge along -x. With rotation R_t the radiance that arrives from
world direction d in frame t is image(R_t^T d).

The encodings follow DiffusionRenderer (arXiv 2501.18590, section 4.2, with the conventions of its released
models): camera frame, y up, centre column +z (behind the camera), white point 16, log maximum 10,000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifests.contract.color import srgb_encode

HALF_MAX = 65504.0
WHITE_POINT = 16.0
LOG_MAXIMUM = 10_000.0


@dataclass(frozen=True, eq=False)
class Environment:
    """image: (h, w, 3) float32 linear radiance >= 0; rotation: (T, 3, 3) float64, environment frame to world frame."""

    image: np.ndarray
    rotation: np.ndarray

    def radiance(self, directions: np.ndarray, frame: int) -> np.ndarray:
        """Radiance (..., 3) that arrives from world-frame unit `directions` (..., 3) in `frame`."""
        return sample_latlong(self.image, directions @ self.rotation[frame])

    def in_camera(self, camera_to_world: np.ndarray, frame: int, height: int, width: int) -> np.ndarray:
        """Radiance (height, width, 3) along `camera_directions`, for the camera pose (4, 4) of `frame`."""
        return self.radiance(camera_directions(height, width) @ camera_to_world[:3, :3].T, frame)


def sanitize(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return (image, count): NaN becomes 0, the rest is clamped to [0, 65504]; count is how many values changed."""
    bad = ~(image >= 0) | (image > HALF_MAX)
    clean = np.clip(np.nan_to_num(image, nan=0.0, posinf=HALF_MAX, neginf=0.0), 0.0, HALF_MAX).astype(np.float32)
    return clean, int(bad.sum())


def latlong_directions(height: int, width: int) -> np.ndarray:
    """Unit directions (height, width, 3) of the pixel centres of a stored lat-long image, z up."""
    theta = (np.arange(height) + 0.5) / height * np.pi
    phi = (0.5 - (np.arange(width) + 0.5) / width) * 2 * np.pi
    sin_theta, cos_theta = np.sin(theta)[:, None], np.cos(theta)[:, None]
    x, y = sin_theta * np.cos(phi), sin_theta * np.sin(phi)
    return np.stack([x, y, np.broadcast_to(cos_theta, x.shape)], axis=-1)


def sample_latlong(image: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Bilinear lookup of a stored lat-long image (h, w, c) along unit directions (..., 3); wraps in azimuth."""
    height, width = image.shape[:2]
    u = (0.5 - np.arctan2(directions[..., 1], directions[..., 0]) / (2 * np.pi)) * width - 0.5
    v = np.arccos(np.clip(directions[..., 2], -1.0, 1.0)) / np.pi * height - 0.5
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    fraction_u, fraction_v = (u - left)[..., None], (v - top)[..., None]
    columns = left % width, (left + 1) % width
    rows = np.clip(top, 0, height - 1), np.clip(top + 1, 0, height - 1)
    upper = image[rows[0], columns[0]] * (1 - fraction_u) + image[rows[0], columns[1]] * fraction_u
    lower = image[rows[1], columns[0]] * (1 - fraction_u) + image[rows[1], columns[1]] * fraction_u
    return upper * (1 - fraction_v) + lower * fraction_v


def cell_overlaps(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Share (new cells, old cells) of each new cell that each old cell covers, from the edges of both, ascending."""
    shared = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
    return (np.maximum(shared, 0.0) / np.diff(new)[:, None]).astype(np.float32)


def camera_directions(height: int, width: int) -> np.ndarray:
    """Camera-frame unit directions (height, width, 3) of the released models' lat-long images.

    Theta runs over linspace(1/H, 1 - 1/H, H) * pi from the top (not pixel centres), phi over
    linspace(-1 + 1/W, 1 - 1/W, W) * pi; (x, y, z) = (sin t sin p, cos t, sin t cos p).
    """
    theta = np.linspace(1 / height, 1 - 1 / height, height)[:, None] * np.pi
    phi = np.linspace(-1 + 1 / width, 1 - 1 / width, width)[None] * np.pi
    x, z = np.sin(theta) * np.sin(phi), np.sin(theta) * np.cos(phi)
    return np.stack([x, np.broadcast_to(np.cos(theta), x.shape), z], axis=-1)


def encode_ldr(radiance: np.ndarray) -> np.ndarray:
    """E_ldr in [0, 1]: sRGB of extended Reinhard with white point 16."""
    return srgb_encode(np.clip(radiance * (1 + radiance / WHITE_POINT**2) / (1 + radiance), 0.0, 1.0))


def encode_log(radiance: np.ndarray) -> np.ndarray:
    """E_log in [0, 1]: clamped sRGB of log1p(radiance) / log1p(10,000)."""
    return np.clip(srgb_encode(np.log1p(radiance) / np.log1p(LOG_MAXIMUM)), 0.0, 1.0)


def encode_directions(height: int, width: int) -> np.ndarray:
    """E_dir in [0, 1]: 0.5 d + 0.5 of `camera_directions`."""
    return 0.5 * camera_directions(height, width) + 0.5
