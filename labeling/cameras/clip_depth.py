"""One depth for a clip: what a network says of each frame, in the units of a solved camera.

A network's depth has a scale and a shift of its own in every frame. Both are fitted to the corners whose places were
solved with the camera, in all frames together: robustly, since corners may be hidden or move, and smoothly over time.
What is left is bent away around the corners, as far as they agree.
"""

from __future__ import annotations

import cv2
import numpy as np

from manifests.contract.camera import Camera

_LEAST = 8
"""Corners that a frame must show to have a say."""
_STEADY = 0.02
"""Share by which scale and shift change from frame to frame (standard deviation)."""
_ROUNDS = 8
_PAIRS, _AGREES = 1000, 0.05
"""Lines through two corners that are tried, and the share of its depth by which a corner is off one that it is on."""
_REACH = 0.07
"""Larger sides of the picture over which what is left at a corner bends the depth around it."""
_BELIEF = 1.0
"""Corners that it takes to bend it halfway."""
_MOST_BEND = 0.5
_GRID = 32


def clip_depth(relative: np.ndarray, camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Depth (T, H, W) in units of the camera's poses, and how far corners are off in each frame (T,), as a share.

    Args:
        relative: (T, H, W), any scale and shift, farther is more.
        camera: of these frames at this size.
        points: (N, 3) corners in the camera's world.

    None where too few corners are seen, or what the network says contradicts them.
    """
    pixels, depth, seen, inside = _at_corners(relative, camera, points)
    if (inside.sum(axis=1) >= _LEAST).mean() < 0.5:
        return None
    unit = float(np.median(depth[inside]))
    fitted = _scales_and_shifts(np.where(inside, seen, 0.0), np.where(inside, depth / unit, 1.0), inside)
    scale, shift = unit * fitted[:, :1], unit * fitted[:, 1:]  # (T, 1)
    if (scale <= 0).any():
        return None
    nearest = 0.2 * float(depth[inside].min())
    made = np.maximum(scale[..., None] * relative + shift[..., None], nearest)
    off = np.where(inside, np.log(depth.clip(1e-6) / np.maximum(scale * seen + shift, nearest)), 0.0)
    for frame in range(len(made)):
        made[frame] *= np.exp(_bend(pixels[frame], off[frame], inside[frame], relative.shape[1:]))
    return made.astype(np.float32), _median_off(off, inside)


def scaled_depth(distance: np.ndarray, camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """As `clip_depth`, where corners contradict the network, as on mirrors: its distances (T, H, W) by the one scale
    that suits most corners. The steps of the camera are followed all the same."""
    _, depth, seen, inside = _at_corners(distance, camera, points)
    inside &= seen > 0
    if inside.sum() < len(distance):
        return None
    ratio = np.where(inside, depth, 1.0) / np.where(inside, seen, 1.0)
    scale = float(np.median(ratio[inside]))
    return scale * distance, _median_off(np.log(ratio / scale), inside)


def _at_corners(
    seen: np.ndarray, camera: Camera, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (T, N, 2) of the corners, their distances, what a map (T, H, W) has there, and where that can be said."""
    frames, height, width = seen.shape
    pixels, depth = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = (depth > 1e-3) & (pixels >= 0).all(axis=-1) & (pixels < (width, height)).all(axis=-1)
    at = np.where(inside[..., None], pixels, 0.0).astype(int)
    there = seen[np.arange(frames)[:, None], at[..., 1], at[..., 0]]
    return pixels, depth, there, inside & np.isfinite(there)


def _median_off(off: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Of each frame (T,) the median of what is left (T, N) at corners; 1 where there are none."""
    return np.array(
        [np.median(np.abs(one[there])) if there.any() else 1.0 for one, there in zip(off, inside, strict=True)]
    )


def _scales_and_shifts(seen: np.ndarray, depth: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Scale and shift (T, 2) that take what is seen (T, N) to depth, by reweighted least squares over all frames."""
    frames = len(seen)
    steady: np.ndarray = np.zeros((2 * frames, 2 * frames))
    if frames > 1:
        change = np.diff(np.eye(frames), axis=0) / _STEADY
        steady = np.kron(change.T @ change, np.eye(2))
    rows = np.stack([seen, np.ones_like(seen)], axis=-1) / depth[..., None]  # (T, N, 2)
    spread, found = 0.1, np.zeros((frames, 2))
    weight = inside / (1 + (np.abs(rows @ _agreed(seen[inside], depth[inside]) - 1) / spread) ** 2)
    for _ in range(_ROUNDS):
        normal, aim = steady.copy() + 1e-6 * np.eye(2 * frames), np.zeros(2 * frames)
        for frame in range(frames):
            part = slice(2 * frame, 2 * frame + 2)
            normal[part, part] += (rows[frame] * weight[frame, :, None]).T @ rows[frame] / spread**2
            aim[part] += weight[frame] @ rows[frame] / spread**2
        found = np.linalg.solve(normal, aim).reshape(frames, 2)
        residual = np.abs((rows * found[:, None]).sum(axis=-1) - 1)
        spread = max(1.4826 * float(np.median(residual[inside])), 1e-3)
        weight = inside / (1 + (residual / spread) ** 2)
    return found


def _agreed(seen: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Scale and shift on which most corners of all frames agree: what a mirror shows is not where its surface is."""
    one, two = np.random.default_rng(0).integers(0, len(seen), (2, _PAIRS))
    scale = (depth[one] - depth[two]) / np.where(seen[one] == seen[two], np.inf, seen[one] - seen[two])
    tried = np.stack([scale, depth[one] - scale * seen[one]], axis=1)[scale > 0]
    tried = np.concatenate([tried, [[0.0, float(np.median(depth))]]])
    some = np.random.default_rng(1).integers(0, len(seen), min(len(seen), _PAIRS))
    off = (tried[:, :1] * seen[some] + tried[:, 1:]) / depth[some] - 1  # (K, n)
    return np.asarray(tried[(1 / (1 + (off / _AGREES) ** 2)).sum(axis=1).argmax()])


def _bend(pixels: np.ndarray, off: np.ndarray, inside: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """What is left (N,), as a smooth map (H, W) that is 0 far from corners."""
    typical = 1.4826 * np.median(np.abs(off[inside])) if inside.any() else 0.0
    trusted = inside & (np.abs(off) < 3 * typical + 1e-3)
    rows, columns = (max(2, round(_GRID * side / max(size))) for side in size)
    y, x = (np.arange(rows) + 0.5) * size[0] / rows, (np.arange(columns) + 0.5) * size[1] / columns
    reach = 2 * (_REACH * max(size)) ** 2
    down = np.exp(-((y[:, None] - pixels[trusted, 1]) ** 2) / reach)  # (h, n)
    along = np.exp(-((x[:, None] - pixels[trusted, 0]) ** 2) / reach)  # (w, n)
    field = np.clip((down * off[trusted]) @ along.T / (down @ along.T + _BELIEF), -_MOST_BEND, _MOST_BEND)
    return np.asarray(cv2.resize(field, size[::-1], interpolation=cv2.INTER_LINEAR))
