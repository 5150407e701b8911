"""Baselines of the inverse renderer: what the picture itself, averages and the ground plane say about G-buffers.

Those marked `oracle` look at the truth (a gain fitted to the clip, the true camera's ground plane): upper bounds of
their kind, not competitors.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom

from manifests.attributes import GBUFFERS
from renderers.modelspace import channels_last, planar, relative_depth
from training.baselines.averages import Averages
from training.evaluation.benchmark import Shot
from training.evaluation.errors import EvaluationError
from training.evaluation.metrics import best_gain

Maps = dict[str, np.ndarray]

RGB = "RGB"
RGB_GAIN = "RGB x global gain"
RGB_ORACLE = "RGB x clip's gain (oracle)"
FACING = "constant (facing)"
MEAN = "training mean"
MEAN_MAP = "training mean map"
PLANE = "ground plane (training)"
PLANE_ORACLE = "ground plane (oracle camera)"


def inverse_baselines(shot: Shot, averages: Averages | None) -> dict[str, Maps]:
    """G-buffers (T, H, W, C), as values, by baseline; each gives the attributes that it can say something about.

    Without `averages` of a training set the baselines that need them are left out. Base colour may exceed 1 after a
    gain; the metrics clip it.
    """
    seen = np.clip(shot.clip.arrays["rgb"] * shot.clip.exposure, 0.0, 1.0)
    gain = best_gain(seen, shot.clip.arrays["basecolor"], shot.surface)
    found: dict[str, Maps] = {
        RGB: {"basecolor": seen},
        RGB_ORACLE: {"basecolor": seen * gain},
        FACING: {"normal": np.broadcast_to(np.array([0.0, 0.0, 1.0], dtype=np.float32), seen.shape)},
        PLANE_ORACLE: _oracle_plane(shot),
    }
    if averages is None:
        return found
    frames, (height, width) = shot.clip.frames, shot.clip.size
    found[RGB_GAIN] = {"basecolor": seen * averages.gain}
    found[MEAN] = {
        name: np.broadcast_to(averages.constants[name], (frames, height, width, len(averages.constants[name])))
        for name in GBUFFERS
    }
    found[MEAN_MAP] = {
        name: np.broadcast_to(resized(averages.maps[name], height, width, name), found[MEAN][name].shape)
        for name in GBUFFERS
    }
    normal = np.broadcast_to(averages.ground_normal.astype(np.float32), (frames, 3))
    found[PLANE] = plane(normal, np.ones(frames), rays_of(shot))
    return found


def plane(normals: np.ndarray, heights: np.ndarray, rays: np.ndarray) -> Maps:
    """G-buffers of an endless plane, seen by a camera at `heights` (T,) above it: unit normal and relative depth.

    normals: (T, 3) unit, camera frame; rays: (H, W, 3) with z = -1. Depth is 1 above the horizon.
    """
    falling = -np.einsum("hwi,ti->thw", rays, normals)[..., None]  # (T, H, W, 1)
    depth = np.where(falling > 1e-6, heights[:, None, None, None] / np.maximum(falling, 1e-6), np.inf)
    relative = channels_last(relative_depth(planar(depth))[0])
    shape = (len(normals), *rays.shape[:2], 3)
    return {"normal": np.broadcast_to(normals[:, None, None].astype(np.float32), shape), "depth": relative}


def rays_of(shot: Shot) -> np.ndarray:
    """Camera-frame directions (H, W, 3) with z = -1 of a clip's pixels."""
    if shot.clip.camera is None:
        raise EvaluationError(f"clip {shot.clip.key}: has no camera")
    return shot.clip.camera.rays(*shot.clip.size)


def resized(mean: np.ndarray, height: int, width: int, name: str) -> np.ndarray:
    """A mean map (h, w, C) at another size, linearly; normals stay of unit length."""
    if mean.shape[:2] == (height, width):
        return mean
    factors = (height / mean.shape[0], width / mean.shape[1], 1)
    large = zoom(mean, factors, order=1, mode="nearest", grid_mode=True)
    if name == "normal":
        large = large / np.maximum(np.linalg.norm(large, axis=-1, keepdims=True), 1e-9)
    return large.astype(np.float32)


def _oracle_plane(shot: Shot) -> Maps:
    """The world's ground z = 0 as the true camera sees it."""
    rays = rays_of(shot)
    assert shot.clip.camera is not None
    poses = shot.clip.camera.camera_to_world
    normals = poses[:, 2, :3]  # R^T (0, 0, 1): the world's up in each camera
    return plane(normals, np.maximum(poses[:, 2, 3], 1e-3), rays)
