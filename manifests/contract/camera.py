"""Pinhole camera of a clip: intrinsics, one pose a frame, and where it zooms a lens for each (docs/conventions.md).

Pixel coordinates have their origin at the top-left corner of the image, x right and y down, with pixel centres
at half-integers. The camera frame has x right, y up and z toward the viewer (OpenGL, Blender): what is in front
has negative z, and planar depth is -z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Camera:
    """The camera of T frames.

    Attributes:
        intrinsics: (3, 3) float64 in pixels, or (T, 3, 3) where the focal length changes.
        camera_to_world: (T, 4, 4) float64 rigid poses.
    """

    intrinsics: np.ndarray
    camera_to_world: np.ndarray

    @property
    def frames(self) -> int:
        """Number of poses."""
        return int(self.camera_to_world.shape[0])

    @property
    def zooms(self) -> bool:
        """Whether every frame has intrinsics of its own."""
        return self.intrinsics.ndim == 3

    @property
    def frame_intrinsics(self) -> np.ndarray:
        """Intrinsics (T, 3, 3) of every frame, whether they change or not; not to be written to."""
        return np.broadcast_to(self.intrinsics, (self.frames, 3, 3))

    def at(self, frames: Any) -> Camera:
        """The camera at some frames: a slice, or their indices (n,)."""
        lens = self.intrinsics[frames] if self.zooms else self.intrinsics
        return Camera(lens, self.camera_to_world[frames])

    def resized(self, seen: tuple[int, int], size: tuple[int, int]) -> Camera:
        """The camera of pictures (h, w) as that of the same pictures at another size (H, W)."""
        return Camera(np.diag([size[1] / seen[1], size[0] / seen[0], 1.0]) @ self.intrinsics, self.camera_to_world)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project world points (N, 3) in every frame: pixels (T, N, 2) and planar depth (T, N).

        Depth is positive in front of the camera; pixels of points at or behind the camera plane are not finite
        or meaningless, so test the depth.
        """
        rotation = self.camera_to_world[:, :3, :3]
        origin = self.camera_to_world[:, :3, 3]
        local = np.einsum("tij,tni->tnj", rotation, points[None] - origin[:, None])
        depth = -local[..., 2]
        lens = self.frame_intrinsics[:, None]  # (T, 1, 3, 3)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = lens[..., 0, 2] + lens[..., 0, 0] * local[..., 0] / depth
            v = lens[..., 1, 2] - lens[..., 1, 1] * local[..., 1] / depth
        return np.stack([u, v], axis=-1), depth

    def rays(self, height: int, width: int) -> np.ndarray:
        """Camera-frame directions through the pixel centres, scaled so that z is -1 (planar depth 1).

        (H, W, 3) for all frames, or (T, H, W, 3) where the camera zooms.
        """
        lens = self.intrinsics[..., None]  # (..., 3, 3, 1)
        x = (np.arange(width) + 0.5 - lens[..., 0, 2, :]) / lens[..., 0, 0, :]  # (..., W)
        y = -(np.arange(height) + 0.5 - lens[..., 1, 2, :]) / lens[..., 1, 1, :]  # (..., H)
        grid_x, grid_y = np.broadcast_arrays(x[..., None, :], y[..., :, None])
        return np.stack([grid_x, grid_y, -np.ones_like(grid_x)], axis=-1)


def intrinsics_from_fov(fov_degrees: float, height: int, width: int) -> np.ndarray:
    """Intrinsics (3, 3) of a centred pinhole whose LARGER image side spans `fov_degrees`."""
    focal = 0.5 * max(height, width) / np.tan(np.radians(fov_degrees) / 2)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def level_camera(frames: int, toward: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Poses (frames, 4, 4) of a camera that stands level and still at the origin, for footage whose poses are unknown.

    toward: unit direction in the world's x, y that it looks along; +y is the datasets' convention.
    """
    x, y = toward
    pose = np.eye(4)
    pose[:3, :3] = np.array([[y, 0.0, -x], [-x, 0.0, -y], [0.0, 1.0, 0.0]]) + 0.0  # no -0.0
    return np.repeat(pose[None], frames, axis=0)


def fitted(size: tuple[int, int], side: int | None) -> tuple[int, int]:
    """(H, W) shrunk so that the larger side is at most `side`; never enlarged, never below one pixel."""
    larger = max(size)
    if side is None or larger <= side:
        return size
    height, width = (max(1, round(length * side / larger)) for length in size)
    return height, width
