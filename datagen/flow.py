"""Optical flow of a rendered clip, from what Cycles gives exactly: the depth and the instance at the pixel's centre.

Every thing is rigid, so its poses and the camera's say where a point of it is in the next frame and was in the last.
Cycles' own Vector pass averages over the pixel's samples: it mixes surfaces at edges, and holds no sky.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from manifests.contract.attributes import ATTRIBUTES
from manifests.contract.camera import Camera

_NEAREST = 1e-3
"""Depth in the other frame, as a share of the depth in this one, below which a point is beside or behind the camera."""
_SAME_DEPTH = 5e-3
"""Relative difference of the depths at which two pixels may show one surface, beside what it slopes there."""


def optical_flow(
    depth: np.ndarray, instance: np.ndarray, camera: Camera, poses: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """`flow` (T, H, W, 4) and `flow_visible` (T, H, W, 2) of a clip, float32, as the attribute table defines them.

    depth and instance, both (T, H, W, 1), are the clip's own. `poses` has matrices (T, 4, 4) to the world by instance;
    instances that it does not name stand still.
    """
    frames, height, width, _ = depth.shape
    shown = [_shown(*images) for images in zip(depth[..., 0], instance[..., 0], strict=True)]
    to_screen = _to_screen(camera)
    flow = np.zeros((frames, height, width, 4), np.float32)
    visible = np.zeros((frames, height, width, 2), np.float32)
    for here in range(frames):
        from_screen = np.linalg.inv(to_screen[here])
        for direction, there in enumerate((here + 1, here - 1)):
            if not 0 <= there < frames:
                continue
            matrices = {
                number: to_screen[there] @ pose[there] @ np.linalg.inv(pose[here]) @ from_screen
                for number, pose in poses.items()
            }
            moved, ratio = _moved(shown[here], to_screen[there] @ from_screen, matrices)
            flow[here, ..., 2 * direction : 2 * direction + 2] = moved
            visible[here, ..., direction] = _seen(shown[here], shown[there], moved, ratio)
    return flow, visible


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the pixel centres of one frame see, (H, W) each.

    Nearness is 1 / depth: 0 for the sky, and over the pixels of a plane linear. `low` and `high` bound what it may be
    anywhere in the pixel on the same surface.
    """

    instance: np.ndarray
    nearness: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _shown(depth: np.ndarray, instance: np.ndarray) -> _Shown:
    """Bounds are those of the neighbours that show the same instance, and half as far again beside its edge."""
    nearness = np.divide(1, depth, dtype=np.float32)
    height, width = depth.shape
    near, number = np.pad(nearness, 1, mode="edge"), np.pad(instance, 1, mode="edge")
    low, high = nearness.copy(), nearness.copy()
    for row, column in np.ndindex(3, 3):
        window = slice(row, row + height), slice(column, column + width)
        same = number[window] == instance
        np.minimum(low, near[window], out=low, where=same)
        np.maximum(high, near[window], out=high, where=same)
    slack = (high - low) / 2 + np.float32(_SAME_DEPTH) * nearness
    return _Shown(instance, nearness, low - slack, high + slack)


def _to_screen(camera: Camera) -> np.ndarray:
    """Matrices (T, 4, 4) from a world point (x, y, z, 1) to (u d, v d, d, 1): u, v is its pixel and d its depth."""
    lens = np.zeros((camera.frames, 4, 4))
    lens[:, :3, :3] = camera.intrinsics * np.array([1.0, -1.0, -1.0])  # image y is down, depth is -z
    lens[:, 3, 3] = 1.0
    return lens @ np.linalg.inv(camera.camera_to_world)


def _moved(shown: _Shown, still: np.ndarray, matrices: Mapping[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Flow (H, W, 2) in pixels, and (H, W) depth there over depth here; both 0 where it is nowhere to be seen.

    `matrices` (4, 4) by instance take what `_to_screen` gives here to what it gives there; `still` all the others.
    """
    height, width = shown.nearness.shape
    u, v = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    flow, ratio = _project(still, u, v, shown.nearness)
    for number, matrix in matrices.items():
        own = shown.instance == number
        flow[own], ratio[own] = _project(matrix, u[own], v[own], shown.nearness[own])
    nowhere = ~((ratio > _NEAREST) & (np.abs(flow).max(axis=-1) <= ATTRIBUTES["flow"].high))
    flow[nowhere], ratio[nowhere] = 0, 0
    return flow, ratio


def _project(matrix: np.ndarray, u: np.ndarray, v: np.ndarray, nearness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., 2) and (...) of `_moved`: differences from the identity, so that little is lost where little moves."""
    change = (matrix - np.eye(4)).astype(np.float32)
    x, y, depth = (row[0] * u + row[1] * v + row[2] + row[3] * nearness for row in change[:3])
    ratio = 1 + depth
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([(x - u * depth) / ratio, (y - v * depth) / ratio], axis=-1), ratio


def _seen(here: _Shown, there: _Shown, moved: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """(H, W) bool: whether the pixel of the other frame on which a point falls shows its surface."""
    height, width = ratio.shape
    rows, columns = np.indices((height, width), np.float32)
    row, column = (np.floor(start + step + 0.5) for start, step in ((rows, moved[..., 1]), (columns, moved[..., 0])))
    inside = (ratio > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = row[inside].astype(int), column[inside].astype(int)
    near = here.nearness[inside] / ratio[inside]
    same = there.instance[place] == here.instance[inside]
    visible = np.zeros((height, width), bool)
    visible[inside] = same & (there.low[place] <= near) & (near <= there.high[place])
    return visible
