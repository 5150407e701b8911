"""How far away a place on a surface is, from how it moves through a film whose camera is known.

A network's depth is off, and under a camera that moves what stands there slides. So the floor is first looked for among
the corners that were solved with the camera: the plane around the place that most of them lie on (Fischler and Bolles,
"Random sample consensus", 1981). Then the surface around the place is taken through a row of depths and looked up in
all frames; it lies where the frames agree (plane sweep: Collins, "A Space-Sweep Approach to True Multi-Image Matching",
1996).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from editing.support import Stand
from manifests.contract.camera import Camera

_SIZES = 0.02, 0.04, 0.08
"""Half sides of the patch in larger sides of the picture: the smallest that tells is taken."""
_ACROSS = 25
_FRAMES = 24
_RANGE, _COARSE, _FINE = 0.4, 81, 21
"""Logarithm of depth to each side of the guess, and depths that are tried."""
_LEAST_MATCH, _LEAST_PEAK = 0.6, 0.08
_LEAST_TEXTURE = 2.0
"""Of 255, that the patch varies by."""
_NEAR = 0.2
"""Standard deviation, in larger sides of the picture, of what counts as around the place among corners."""
_UNLIKE = 0.2
"""What a corner counts for on what does not look like a floor."""
_OFF = 0.015
"""Share of its distance by which a corner on the floor may be off it."""
_CLEARLY = 1.15
"""How much more a floor that is not level must have for itself: reflections lie about at random."""
_TILT = np.cos(np.radians(25.0))
_TRIPLES = 400
_LEAST_CORNERS, _LEAST_WEIGHT = 12, 3.0


def floor_of_corners(
    points: np.ndarray, camera: Camera, normal: np.ndarray, up: np.ndarray, pixel: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray] | None:
    """A place (3,) and the direction (3,) of the floor that corners show around a pixel (x, y); None where they do not.

    Args:
        points: (N, 3) corners in the world.
        camera: of the first frame.
        normal: (H, W, 3) of that frame, camera frame.
        up: (3,) where floors look, roughly.
    """
    height, width = normal.shape[:2]
    pixels, away = (found[0] for found in camera.project(points)) if len(points) else (points[:, :2], points[:, 0])
    with np.errstate(invalid="ignore"):
        inside = (away > 1e-6) & (pixels >= 0).all(axis=-1) & (pixels < (width, height)).all(axis=-1)
    points, pixels = points[inside], pixels[inside]
    if len(points) < _LEAST_CORNERS:
        return None
    pose = camera.camera_to_world[0]
    lean = normal[pixels[:, 1].astype(int), pixels[:, 0].astype(int)] @ (pose[:3, :3].T @ up)
    weight = np.exp(-0.5 * (np.linalg.norm(pixels - pixel, axis=-1) / (_NEAR * max(height, width))) ** 2)
    floors, near = lean > 0.5, weight
    weight = weight * np.where(floors, 1.0, _UNLIKE)
    loose = _OFF * np.linalg.norm(points - pose[:3, 3], axis=-1)
    drawn = np.random.default_rng(0).choice(len(points), (_TRIPLES, 3), p=weight / weight.sum())
    first, second, third = points[drawn].transpose(1, 0, 2)
    across = np.cross(second - first, third - first)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    across *= np.where(across @ up < 0, -1.0, 1.0)[:, None]
    level = across @ up > _TILT
    places, ways = np.concatenate([first[level], first]), np.concatenate([across[level], np.tile(up, (len(first), 1))])
    off = (points @ ways.T - (places * ways).sum(axis=-1)) / loose[:, None]  # (N, K), what lies above is positive
    # What does not look like a floor is not below it; what does is not above, and below where the floor mirrors.
    wrong = np.where(floors[:, None], 0.25 * (off < -3) + 0.25 * (off > 3), 0.5 * (off < -3))
    gain = weight @ np.maximum(1 - off**2, 0.0) - near @ wrong
    tilted = np.arange(len(places)) < level.sum()
    gain -= np.where(tilted, (_CLEARLY - 1) * gain.max(), 0.0)
    best = int(np.argmax(gain))
    place, way, on = places[best], ways[best], np.abs(off[:, best]) < 1
    for _ in range(3):
        if on.sum() < _LEAST_CORNERS or weight[on].sum() < _LEAST_WEIGHT:
            return None
        place = np.average(points[on], axis=0, weights=weight[on])
        fitted = np.linalg.svd((points[on] - place) * np.sqrt(weight[on])[:, None])[2][2]
        fitted *= np.sign(fitted @ up)
        way = fitted if tilted[best] and fitted @ up > _TILT else way
        on = np.abs((points - place) @ way) < loose
    return place, way


def anchored(frames: Sequence[np.ndarray], camera: Camera, place: Stand) -> float:
    """The factor on depth that puts a place on the surface that frames show there; 1 where they do not tell.

    Args:
        frames: (H, W, 3) uint8.
        camera: of all frames, at their size.
        place: where something would stand by the depth that is known.
    """
    pixels, planar = camera.at(slice(1)).project(place.position[None])
    pixel, depth, normal = (float(pixels[0, 0, 0]), float(pixels[0, 0, 1])), float(planar[0, 0]), place.normal
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _FRAMES)).round().astype(int))
    grey = [cv2.GaussianBlur(cv2.cvtColor(frames[index], cv2.COLOR_RGB2GRAY), (0, 0), 0.8) for index in chosen]
    views = [camera.at(slice(index, index + 1)) for index in chosen]
    for size in _SIZES:
        half = max(6.0, size * max(grey[0].shape))
        steps = np.linspace(-half, half, _ACROSS)
        patch = np.stack(np.meshgrid(pixel[0] + steps, pixel[1] + steps), axis=-1).reshape(-1, 2)  # (P, 2)
        wanted = _sampled(grey[0], patch)
        if np.nanstd(wanted) < _LEAST_TEXTURE:
            continue
        width, found, score = _RANGE, depth, np.zeros(1)
        for count in (_COARSE, _FINE):
            tried = found * np.exp(np.linspace(-width, width, count))
            scores = _agreement(grey, views, patch, wanted, normal, tried, pixel)
            best = int(np.argmax(scores))
            if count == _COARSE:
                score = scores
            if not 0 < best < count - 1:
                break
            below, peak, above = scores[best - 1 : best + 2]
            step = 2 * width / (count - 1)
            shift = 0.5 * (below - above) / min(below - 2 * peak + above, -1e-9)
            found, width = float(tried[best] * np.exp(step * np.clip(shift, -1, 1))), 2 * step
        else:
            if score.max() > _LEAST_MATCH and score.max() - np.median(score) > _LEAST_PEAK:
                return found / depth
    return 1.0


def _agreement(
    grey: Sequence[np.ndarray],
    views: Sequence[Camera],
    patch: np.ndarray,
    wanted: np.ndarray,
    normal: np.ndarray,
    depths: np.ndarray,
    pixel: tuple[float, float],
) -> np.ndarray:
    """Mean correlation (K,) of the patch with what the frames show of it at each depth."""
    lens, pose = np.linalg.inv(views[0].frame_intrinsics[0]), views[0].camera_to_world[0]
    upright = np.diag([1.0, -1.0, -1.0])  # pixels run down, and the camera looks along -z
    rays = np.column_stack([patch, np.ones(len(patch))]) @ lens.T @ upright @ pose[:3, :3].T  # (P, 3)
    middle = np.array([*pixel, 1.0]) @ lens.T @ upright @ pose[:3, :3].T
    falling = rays @ normal
    ratio = np.clip((middle @ normal) / np.where(np.abs(falling) < 1e-6, 1e-6, falling), 0.5, 2.0)
    places = pose[:3, 3] + (depths[:, None, None] * (ratio[:, None] * rays)).reshape(-1, 3)  # (K * P, 3)
    total, count = np.zeros(len(depths)), np.zeros(len(depths))
    reference = wanted - np.nanmean(wanted)
    for picture, view in zip(grey[1:], views[1:], strict=True):
        pixels, away = view.project(places)
        seen = _sampled(picture, np.where(away[0][:, None] > 1e-6, pixels[0], -1e6)).reshape(len(depths), -1)
        there = np.isfinite(seen) & np.isfinite(reference)
        enough = there.mean(axis=1) > 0.9
        seen = np.where(there, seen, 0.0)
        seen = seen - seen.sum(axis=1, keepdims=True) / there.sum(axis=1, keepdims=True).clip(1)
        both = np.where(there, seen * reference, 0.0).sum(axis=1)
        scale = np.sqrt(np.where(there, seen**2, 0.0).sum(axis=1) * np.where(there, reference**2, 0.0).sum(axis=1))
        total += np.where(enough, both / np.maximum(scale, 1e-6), 0.0)
        count += enough
    return np.where(count >= max(2, 0.3 * (len(grey) - 1)), total / np.maximum(count, 1), -1.0)


def _sampled(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Bilinear values (N,) at pixels (N, 2) measured from the picture's corner; NaN outside."""
    columns, rows = np.asarray(pixels - 0.5, dtype=np.float32).T[..., None]  # (N, 1) each
    inside = (pixels >= 0.5).all(axis=-1) & (pixels <= np.array(picture.shape[::-1]) - 0.5).all(axis=-1)
    source, parts = picture.astype(np.float32), max(1, -(-len(pixels) // 30_000))
    found = [
        cv2.remap(source, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for at in zip(np.array_split(columns, parts), np.array_split(rows, parts), strict=True)
    ]
    return np.where(inside, np.concatenate(found)[:, 0], np.nan)
