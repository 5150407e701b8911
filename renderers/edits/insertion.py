"""Insertion: where an object stands in a picture, its G-buffers among the clip's, and the picture with it.

The forward renderer shows the clip twice, without the object and with it. On the object the second picture is taken.
Beside it the video itself is multiplied by the ratio of the two, so that the object's shadows and reflections appear
while the video keeps every detail that the networks do not reproduce. Frames are those of docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from manifests.attributes import ATTRIBUTES
from manifests.camera import Camera
from manifests.environment import srgb_decode, srgb_encode
from renderers.errors import InputError

SHARE = 0.25
"""Without a scale, the object's longest side would span this share of the picture's smaller side, where it stands."""

STILL = 0.03
"""Changes of light below this part are the network's own unrest; they leave the video as it is."""

_FLOOR = 0.02
_STRONGEST = 4.0
_TILT = np.cos(np.radians(60.0))
_PATCH = 2
_WHOLE = 0.99
_CLOSE = 3.0


@dataclass(frozen=True, eq=False)
class Stand:
    """Where an object stands: `object_to_world` (4, 4) with its scale, its foot `position` (3,) and `up` (3,)."""

    object_to_world: np.ndarray
    position: np.ndarray
    up: np.ndarray
    scale: float


def stand(
    camera: Camera,
    depth: np.ndarray,
    pixel: tuple[int, int],
    up: np.ndarray,
    *,
    scale: float | None = None,
    rotate: float = 0.0,
    distance: float | None = None,
) -> Stand:
    """Stand an object on the surface that the first frame shows at `pixel`.

    Args:
        camera: of the clip.
        depth: (H, W) planar depth of the first frame in the units of the camera's poses, +inf for background.
        pixel: (x, y), x to the right and y down from the top-left pixel (0, 0).
        up: (3,) world direction that the object's z axis takes.
        scale: longest side in scene units; None is a `SHARE` of the picture at that depth.
        rotate: degrees about `up`.
        distance: planar depth to stand at, in place of what is seen at the pixel.

    Raises InputError for a pixel outside the picture or without surface, and for sizes that are not positive.
    """
    height, width = depth.shape
    x, y = pixel
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel {x},{y} is outside of the picture of {width}x{height} pixels")
    seen = float(depth[y, x]) if distance is None else distance
    if not np.isfinite(seen):
        raise InputError(f"no surface is seen at pixel {x},{y}: choose another, or say how far with a depth")
    if seen <= 0 or (scale is not None and not (np.isfinite(scale) and scale > 0)):
        raise InputError(f"depth {seen:g} and scale {scale} must be positive numbers")
    pose = camera.camera_to_world[0]
    position = pose[:3, :3] @ (camera.rays(height, width)[y, x] * seen) + pose[:3, 3]
    if scale is None:
        scale = SHARE * min(height, width) / camera.intrinsics[0, 0] * seen
    matrix = np.eye(4)
    matrix[:3, :3] = scale * _turned(up / np.linalg.norm(up), np.radians(rotate))
    matrix[:3, 3] = position
    return Stand(matrix, position, matrix[:3, 2] / scale, float(scale))


def ground_up(camera: Camera, normal: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    """World direction (3,) that is up at `pixel` (x, y) of the first frame, where the world's own is not known.

    The mean normal around the pixel (`normal` is (H, W, 3), camera frame), if it lies within 60 degrees of the camera's
    up, as a floor's does; else the camera's up.
    """
    x, y = pixel
    rows, columns = (slice(max(value - _PATCH, 0), value + _PATCH + 1) for value in (y, x))
    mean = normal[rows, columns].reshape(-1, 3).mean(axis=0)  # (n, n, 3) -> (3,)
    length = float(np.linalg.norm(mean))
    local = mean / length if length > 1e-3 and mean[1] / length >= _TILT else np.array([0.0, 1.0, 0.0])
    return np.asarray(camera.camera_to_world[0, :3, :3] @ local)


def composite(
    scene: Mapping[str, np.ndarray], asset: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Put the asset's G-buffers among the scene's, nearer ones in front.

    Both are (T, H, W, C) by name in the attribute table's conventions, depth in the same units with +inf for
    background. `mask` and `instance` of the scene may be missing: then all is surface, and of one instance, 0.
    At a soft edge filtered values are averages over surface, weighted by coverage; depth and instance are those of the
    surface at the pixel centre. The asset's instance is one more than the scene's largest, at least 2.

    Returns:
        (the scene's attributes with the asset, `mask` and `instance` added; the asset's visible coverage (T, H, W, 1)).
    """
    if asset["depth"].shape != scene["depth"].shape:
        raise InputError(f"asset of {asset['depth'].shape}, scene of {scene['depth'].shape}; they must have one size")
    behind = scene["depth"]
    covered = scene.get("mask", np.ones_like(behind))
    front = _widened(asset["depth"]) < behind  # a soft edge reaches beyond the centres that hit the surface
    visible = np.where(front, asset["mask"], 0.0).astype(np.float32)
    rest = (1 - visible) * covered
    total = visible + rest
    result = {}
    for name, values in scene.items():
        if name in asset and ATTRIBUTES[name].sampling == "filtered" and name != "mask":
            mixed = (visible * asset[name] + rest * values) / np.maximum(total, 1e-6)
            mixed = _unit(mixed, values) if ATTRIBUTES[name].is_vector else mixed
            result[name] = np.where(visible > 0, mixed, values).astype(np.float32)
        else:
            result[name] = values
    hit = asset["depth"] < behind
    index = scene.get("instance", np.zeros(behind.shape, dtype=np.uint16))
    result["depth"] = np.where(hit, asset["depth"], behind)
    result["instance"] = np.where(hit, max(2, int(index.max()) + 1), index).astype(np.uint16)
    result["mask"] = np.clip(total, 0.0, 1.0).astype(np.float32)
    return result, visible


def blend(
    video: np.ndarray, before: np.ndarray, after: np.ndarray, coverage: np.ndarray, surface: np.ndarray
) -> np.ndarray:
    """The video with the object in it.

    Args:
        video: (T, H, W, 3) sRGB in [0, 1].
        before: the forward renderer's picture of the clip, same shape.
        after: its picture with the object.
        coverage: (T, H, W, 1) of the object, as `composite` returns it.
        surface: (T, H, W, 1) coverage of the clip's own surfaces; the background throws no shadow.

    Returns:
        (T, H, W, 3) sRGB: `after` on the object; beside it the video times after / before in linear light, where that
        is more than `STILL` away from 1; exactly the video elsewhere.
    """
    old, new, seen = srgb_decode(before), srgb_decode(after), srgb_decode(video)
    change = np.log((new + _FLOOR) / (old + _FLOOR))
    change = np.sign(change) * np.clip(np.abs(change) - STILL, 0.0, np.log(_STRONGEST)) * surface
    # At a soft edge the rendered pixel is a mixture already: each part comes from where it is seen alone.
    change = _spread(change, coverage[..., 0] == 0)
    new = _spread(new, coverage[..., 0] > _WHOLE)
    around = (seen + _FLOOR) * np.exp(change) - _FLOOR
    mixed = srgb_encode(np.clip(coverage * new + (1 - coverage) * around, 0.0, 1.0))
    same = (coverage == 0) & (change == 0)
    return np.where(same, video, mixed).astype(np.float32)


def _turned(up: np.ndarray, angle: float) -> np.ndarray:
    """Rotation (3, 3) that takes z to `up` by the shortest way, after a turn by `angle` about z."""
    cosine, sine = np.cos(angle), np.sin(angle)
    about = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    if up[2] < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0]) @ about
    axis = np.array([-up[1], up[0], 0.0])  # z x up
    cross = np.array([[0.0, 0.0, axis[1]], [0.0, 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.asarray((np.eye(3) + cross + cross @ cross / (1 + up[2])) @ about)


def _widened(depth: np.ndarray) -> np.ndarray:
    """Depth (T, H, W, 1) whose background pixels take the nearest of their eight neighbours."""
    around = ndimage.minimum_filter(depth, size=(1, 3, 3, 1), mode="nearest")
    return np.where(np.isfinite(depth), depth, around)


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (T, H, W, C) that are not `known` (T, H, W), from the nearest pixel that is, if one is close by."""
    result = values.copy()
    for frame, there in enumerate(known):
        if there.any():
            away, (row, column) = ndimage.distance_transform_edt(~there, return_indices=True)
            result[frame] = np.where((away <= _CLOSE)[..., None], values[frame][row, column], values[frame])
    return result


def _unit(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) at unit length; `otherwise` where opposite ones cancel out."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), otherwise)
