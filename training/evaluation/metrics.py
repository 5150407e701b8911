"""The metrics, on numpy frames (T, H, W, C) of one clip; torchmetrics computes where it has the function.

`where` is always (T, H, W) bool: the pixels that count. A metric of no pixel is an error and never 0 or NaN, so that
an empty mask cannot pass for a perfect score. Numbers are per clip: squared errors are averaged over the clip's pixels
before the logarithm is taken, so that one black frame does not decide (papers often average the PSNR of frames; the
difference is small and docs/evaluation.md says so).

Temporal consistency follows the true motion: depth and camera say where each surface point of one frame was in the
frame before. Only what stands still is followed; things that the scene moves by themselves do not count. The error is
that of the prediction's *error*: a highlight that rightly travels costs nothing, a picture that is wrong in the same
way in every frame costs nothing (the other metrics see it), but whatever flickers, swims or pops does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.image import structural_similarity_index_measure

from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.errors import InputError

HIGHEST_PSNR = 100.0
"""PSNR in dB of equal arrays, so that tables and JSON hold finite numbers."""

_GAINS = (-8.0, 8.0)
_GAIN_TOLERANCE = 1e-4
_DEPTH_AGREES = 0.03
_LEAST_FLOW = 16


@dataclass(frozen=True)
class Angles:
    """Mean and median over pixels of the angle between two unit vectors, in degrees."""

    mean: float
    median: float


def psnr(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """PSNR in dB of values in [0, 1], (T, H, W, C); over the pixels of `where`, or all."""
    first, second = _chosen(prediction, truth, where)
    return decibels(float(mean_squared_error(first, second)))


def decibels(squared_error: float) -> float:
    """PSNR of a mean squared error of values in [0, 1], at most `HIGHEST_PSNR`."""
    return float(min(-10 * np.log10(max(squared_error, 1e-30)), HIGHEST_PSNR))


def ssim(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean SSIM of frames (T, H, W, 3) in [0, 1] with the usual 11-pixel Gaussian (Wang et al. 2004); H, W >= 6."""
    first, second = (_batch(frames) for frames in (prediction, truth))
    _same(prediction, truth)
    similarity = structural_similarity_index_measure(first, second, data_range=1.0)
    assert isinstance(similarity, Tensor)  # a tuple only when the full image is asked for
    return float(similarity)


def best_gain(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """The factor on linear `prediction` whose sRGB encoding comes nearest to that of linear `truth` (both (T,H,W,3)).

    Found numerically between 2^-8 and 2^8, since the curve and its clipping leave no closed form.
    """
    first, second = (values.numpy() for values in _chosen(prediction, truth, where))
    encoded = srgb_encode(second)

    def error(exponent: float) -> float:
        return float(np.square(_encode(first * 2.0**exponent) - encoded).mean())

    found = minimize_scalar(error, bounds=_GAINS, method="bounded", options={"xatol": _GAIN_TOLERANCE})
    return float(2.0**found.x) if found.fun < error(0.0) else 1.0


def basecolor_psnr(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """PSNR in dB of linear base colour (T, H, W, 3) after sRGB encoding: what the published figures measure."""
    return psnr(_encode(prediction), _encode(truth), where)


def si_psnr(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Scale-invariant PSNR in dB of linear base colour: `basecolor_psnr` after the clip's `best_gain`; never less."""
    return basecolor_psnr(prediction * best_gain(prediction, truth, where), truth, where)


def rmse(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Root of the mean squared difference over the pixels of `where`."""
    first, second = _chosen(prediction, truth, where)
    return float(mean_squared_error(first, second, squared=False))


def angular(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> Angles:
    """Angles between unit vectors (T, H, W, 3); from the chord, which keeps small angles exact, unlike arccos."""
    first, second = _chosen(prediction, truth, where)
    chord = torch.linalg.vector_norm(first.double() - second.double(), dim=-1)  # (N,)
    degrees = torch.rad2deg(2 * torch.asin((chord / 2).clamp(0, 1)))
    return Angles(float(degrees.mean()), float(degrees.median()))


def aligned_depth_rmse(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """RMSE of depth (T, H, W, 1) after the scale and shift of the whole clip that fit it best (least squares).

    Give relative depth on both sides: 1 is then the clip's depth range. A prediction without any change is the same as
    the best constant. The scale is kept at 0 or above: depth turned inside out earns nothing.
    """
    first, second = (values.double().reshape(-1) for values in _chosen(prediction, truth, where))
    spread = first - first.mean()
    variance = float(spread.square().mean())
    scale = float((spread * second).mean()) / variance if variance > 1e-12 else 0.0
    residual = max(scale, 0.0) * spread - (second - second.mean())
    return float(residual.square().mean().sqrt())


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
    rays = np.broadcast_to(clip.camera.rays(height, width), (clip.frames, height, width, 3))
    still = np.isfinite(depth) & (instance > 0) & ~np.isin(instance, list(moving))
    source = np.zeros((clip.frames - 1, 2, height, width))
    valid = np.zeros((clip.frames - 1, height, width), dtype=bool)
    for t in range(clip.frames - 1):
        matrix = clip.camera.frame_intrinsics[t]
        points = rays[t + 1] * np.where(still[t + 1], depth[t + 1], 1.0)[..., None]
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
    if flow.valid.sum() < _LEAST_FLOW:
        return None
    error = prediction.astype(np.float32) - truth
    return float(np.abs(error[1:] - flow.warp(error))[flow.valid].mean())


def _encode(linear: np.ndarray) -> np.ndarray:
    return srgb_encode(np.clip(linear, 0.0, 1.0))


def _chosen(prediction: np.ndarray, truth: np.ndarray, where: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """Both arrays as float32 tensors (N, C) of the pixels that count."""
    _same(prediction, truth)
    if where is None:
        where = np.ones(truth.shape[:3], dtype=bool)
    if where.shape != truth.shape[:3]:
        raise InputError(f"mask of shape {where.shape}, expected {truth.shape[:3]}")
    if not where.any():
        raise InputError("a metric was asked for over no pixel at all", "leave the clip out instead")
    first, second = (torch.from_numpy(np.asarray(values[where], dtype=np.float32)) for values in (prediction, truth))
    if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
        raise InputError("a metric met NaN or infinite values among the pixels that count")
    return first, second


def _same(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape or truth.ndim != 4:
        raise InputError(f"prediction of shape {prediction.shape} against {truth.shape}", "both need (T, H, W, C)")


def _batch(frames: np.ndarray) -> Tensor:
    """(T, H, W, C) as (T, C, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2), dtype=np.float32))
