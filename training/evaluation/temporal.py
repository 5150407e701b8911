"""Temporal consistency along the true motion: what changes from frame to frame and should not.

Depth and camera say where each surface point of one frame was in the frame before. Only what stands still is followed;
things that the scene moves by themselves do not count. The error is that of the prediction's *error*: a highlight that
rightly travels costs nothing, a picture that is wrong in the same way in every frame costs nothing (the other metrics
see it), but whatever flickers, swims or pops does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from manifests.contract.clip import Clip
from manifests.errors import InputError

_DEPTH_AGREES = 0.03
_LEAST_PIXELS = 16


@dataclass(frozen=True, eq=False)
class Flow:
    """Where each pixel of frames 1 .. T-1 was in the frame before.

    source: (T - 1, 2, H, W) float64, row and column of array indices in frame t; valid: (T - 1, H, W) bool, pixels
    whose surface point is seen in both frames.
    """

    source: np.ndarray
    valid: np.ndarray

    def warp(self, frames: np.ndarray) -> np.ndarray:
        """Frames (T, H, W, C) moved along the flow: (T - 1, H, W, C), entry t made of frame t and aligned to t + 1."""
        warped = np.empty((len(frames) - 1, *frames.shape[1:]), dtype=np.float32)
        for t in range(len(frames) - 1):
            for channel in range(frames.shape[-1]):
                map_coordinates(frames[t, ..., channel], self.source[t], warped[t, ..., channel], 1, mode="nearest")
        return warped


def true_flow(clip: Clip, moving: frozenset[int] = frozenset()) -> Flow:
    """Flow of a clip with depth, instance and camera; instances in `moving` are never valid.

    A point counts where the frame before shows the same instance at the depth that the motion predicts, to 3 %.
    """
    if clip.camera is None:
        raise InputError("has no camera", "its motion is not known", where=f"clip {clip.key}")
    depth = clip.arrays["depth"][..., 0].astype(np.float64)
    instance = clip.arrays["instance"][..., 0]
    (height, width), poses = clip.size, clip.camera.camera_to_world
    rays = clip.camera.rays(height, width)  # (H, W, 3)
    still = np.isfinite(depth) & (instance > 0) & ~np.isin(instance, list(moving))
    source = np.zeros((clip.frames - 1, 2, height, width))
    valid = np.zeros((clip.frames - 1, height, width), dtype=bool)
    matrix = clip.camera.intrinsics
    for t in range(clip.frames - 1):
        points = rays * np.where(still[t + 1], depth[t + 1], 1.0)[..., None]
        world = points @ poses[t + 1, :3, :3].T + poses[t + 1, :3, 3]
        local = (world - poses[t, :3, 3]) @ poses[t, :3, :3]
        ahead = np.maximum(-local[..., 2], 1e-6)
        column = matrix[0, 2] + matrix[0, 0] * local[..., 0] / ahead - 0.5  # array index, not pixel coordinate
        row = matrix[1, 2] - matrix[1, 1] * local[..., 1] / ahead - 0.5
        inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
        near = np.clip(row.round().astype(int), 0, height - 1), np.clip(column.round().astype(int), 0, width - 1)
        before = np.where(np.isfinite(depth[t][near]), depth[t][near], 0.0)
        same = (instance[t][near] == instance[t + 1]) & (np.abs(before - ahead) < _DEPTH_AGREES * ahead)
        source[t], valid[t] = (row, column), still[t + 1] & inside & same
    return Flow(source, valid)


def temporal_error(prediction: np.ndarray, truth: np.ndarray, flow: Flow) -> float | None:
    """Mean absolute change, along the motion, of the error of (T, H, W, C) values; None where hardly anything is seen.

    0 for the truth, and for any prediction whose error moves with the surfaces.
    """
    if prediction.shape != truth.shape:
        raise InputError(f"prediction of shape {prediction.shape} against {truth.shape}")
    if flow.valid.sum() < _LEAST_PIXELS:
        return None
    error = prediction.astype(np.float32) - truth
    return float(np.abs(error[1:] - flow.warp(error))[flow.valid].mean())
