"""Bundle adjustment of tracks: rotations, places and focal lengths of all frames at once, and where corners are.

A corner is a direction and a nearness (one over its distance), seen from the first camera: what is very far, or seen by
a camera that only turns, has nearness 0 and needs no case of its own. Steps are Levenberg's and Marquardt's with
Cauchy's weights, so that what moves by itself counts little; corners are eliminated (Schur complement), so that a step
costs as much as there are frames. Camera frames are OpenCV's here: x right, y down, z ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from labeling.cameras.feature_tracks import FeatureTracks

_BELIEF = 0.4
"""How far the logarithm of a focal length lies from the usual (standard deviation): for what shows nothing."""
_ALIKE = 20.0
"""Sightings of a corner that are off alike, since it is followed from frame to frame: together they say one thing."""
_SMOOTH = 0.02
"""How far it changes by itself in a frame beyond going on as before."""
_CAMERA, _POINT = 7, 3
"""Unknowns of a frame (rotation, translation, log focal length) and of a corner (across its direction, nearness)."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """T cameras and N corners.

    Attributes:
        rotations: (T, 3, 3) world to camera.
        translations: (T, 3), in units in which nearness is one over distance.
        log_focal: (T,) of pixels.
        directions: (N, 3) unit, in the world.
        nearness: (N,).
    """

    rotations: np.ndarray
    translations: np.ndarray
    log_focal: np.ndarray
    directions: np.ndarray
    nearness: np.ndarray

    def from_first(self) -> Bundle:
        """The same with the first camera as the world; only for corners that keep their direction from there."""
        first = self.rotations[0]
        return replace(self, rotations=self.rotations @ first.T, directions=self.directions @ first.T)


@dataclass(frozen=True, eq=False)
class Adjusted:
    """What `adjust` found.

    Attributes:
        bundle: the cameras and corners.
        residuals: (T, N) pixels, NaN where unseen.
        focal_doubt: standard deviation of the logarithm of the first focal length.
        cost: what was minimised.
    """

    bundle: Bundle
    residuals: np.ndarray
    focal_doubt: float
    cost: float

    @property
    def focal(self) -> np.ndarray:
        """Focal length (T,) of every frame, in pixels."""
        return np.exp(self.bundle.log_focal)

    def track_errors(self) -> np.ndarray:
        """Median (N,) of each track's residuals, in pixels."""
        return np.nanmedian(self.residuals, axis=0)


def adjust(
    bundle: Bundle,
    tracks: FeatureTracks,
    *,
    moves: bool,
    zooms: bool,
    noise: float,
    usual: float,
    held: bool = False,
    steps: int = 40,
) -> Adjusted:
    """Let cameras and corners fit the tracks, from `bundle` on.

    Args:
        bundle: where to begin.
        tracks: of its frames and corners.
        moves: whether cameras have places of their own, and corners a nearness.
        zooms: whether every frame has a focal length of its own.
        noise: pixels from which residuals count less and less.
        usual: focal length in pixels that is believed in where the tracks do not show it.
        held: the first focal length stays as it is.
        steps: at most.
    """
    seen, target = tracks.seen, offsets(tracks)
    spread = _spread(len(seen), moves, zooms)
    lenses = len(seen) if zooms else 1
    believed, about = _focal_prior(lenses, np.log(usual), bundle.log_focal[0] if held else None)
    damping, cost, best, state = 1e-3, np.inf, bundle, bundle
    normal = np.eye(spread.shape[1])
    for _ in range(steps):
        residual, camera_part, point_part = _linearised(state, target)
        if not moves:
            point_part = point_part[..., :2]
        square = np.square(residual).sum(axis=-1)
        weight = np.where(seen, 1 / (noise**2 + square), 0.0)
        off = state.log_focal[:lenses] - about
        now = float((np.log1p(square / noise**2) * seen).sum() + off @ believed @ off)
        if now < cost:
            done = cost - now < 1e-8 * cost
            cost, damping, best = now, max(damping / 8, 1e-12), state
            normal, gradient, point_step = _normal_equations(residual, camera_part, point_part, weight, spread)
            normal[-lenses:, -lenses:] += believed
            gradient[-lenses:] += believed @ off
            if done:
                break
        else:
            damping *= 6
            if damping > 1e5:
                break
        step = -np.linalg.solve(normal + np.diag(damping * np.diag(normal) + 1e-9), gradient)
        state = _moved(best, spread @ step, point_step)
    residual = np.linalg.norm(_linearised(best, target)[0], axis=-1)
    doubt = float(np.sqrt(abs(np.linalg.pinv(normal, rcond=1e-12, hermitian=True)[-lenses, -lenses])))
    return Adjusted(best, np.where(seen, residual, np.nan), 0.0 if held else doubt * _ALIKE**0.5, cost)


def offsets(tracks: FeatureTracks) -> np.ndarray:
    """Places (T, N, 2) float64 from the middle of the picture, 0 where unseen."""
    middle = np.array(tracks.size[::-1]) / 2
    return np.where(tracks.seen[..., None], tracks.places - middle, 0.0).astype(np.float64)


def bearings(target: np.ndarray, focal: np.ndarray | float) -> np.ndarray:
    """Unit directions (..., 3) of offsets from the middle of the picture (..., 2)."""
    rays = np.concatenate([target / focal, np.ones((*target.shape[:-1], 1))], axis=-1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def _spread(frames: int, moves: bool, zooms: bool) -> np.ndarray:
    """(7 T, unknowns): what of every frame's seven numbers is unknown; the focal lengths, or the one, come last."""
    free = np.arange(_CAMERA * frames).reshape(frames, _CAMERA)[:, : 6 if moves else 3].reshape(-1)
    lenses = frames if zooms else 1
    spread = np.zeros((_CAMERA * frames, len(free) + lenses))
    spread[free, np.arange(len(free))] = 1.0
    spread[_CAMERA * np.arange(frames) + 6, len(free) + np.arange(frames) * zooms] = 1.0
    return spread


def _focal_prior(lenses: int, usual: float, held: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Information matrix of the logarithms of focal lengths, and what they are believed to be."""
    information = np.zeros((lenses, lenses))
    information[0, 0] = _ALIKE / _BELIEF**2 if held is None else 1e12
    if lenses > 2:
        bend = np.diff(np.eye(lenses), n=2, axis=0) / _SMOOTH
        information += bend.T @ bend
    return information, np.full(lenses, usual if held is None else held)


def _linearised(bundle: Bundle, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (T, N, 2) and their derivatives by the camera (T, N, 2, 7) and by the corner (T, N, 2, 3)."""
    turned = bundle.directions @ bundle.rotations.transpose(0, 2, 1)  # (T, N, 3)
    local = turned + bundle.nearness[:, None] * bundle.translations[:, None]
    focal = np.exp(bundle.log_focal)[:, None]
    depth = np.maximum(local[..., 2], 0.02)
    made = focal[..., None] * local[..., :2] / depth[..., None]
    by_place = np.zeros((*depth.shape, 2, 3))
    by_place[..., 0, 0] = by_place[..., 1, 1] = focal / depth
    by_place[..., 2] = -made / depth[..., None]
    by_turn = np.zeros((*depth.shape, 3, 3))  # d(w x p)/dw = -[p]x
    by_turn[..., 0, 1], by_turn[..., 0, 2] = turned[..., 2], -turned[..., 1]
    by_turn[..., 1, 0], by_turn[..., 1, 2] = -turned[..., 2], turned[..., 0]
    by_turn[..., 2, 0], by_turn[..., 2, 1] = turned[..., 1], -turned[..., 0]
    shift = by_place * bundle.nearness[:, None, None]
    camera_part = np.concatenate([by_place @ by_turn, shift, made[..., None]], axis=-1)
    across = bundle.rotations[:, None] @ _tangents(bundle.directions)  # (T, N, 3, 2)
    nearer = by_place @ bundle.translations[:, None, :, None]
    return made - target, camera_part, np.concatenate([by_place @ across, nearer], axis=-1)


def _tangents(directions: np.ndarray) -> np.ndarray:
    """Two unit vectors (N, 3, 2) across each direction."""
    axis = np.eye(3)[np.abs(directions).argmin(axis=-1)]
    first = np.cross(directions, axis)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    return np.stack([first, np.cross(directions, first)], axis=-1)


def _normal_equations(
    residual: np.ndarray, camera_part: np.ndarray, point_part: np.ndarray, weight: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Normal matrix and gradient without the corners, and their step (N, 2 or 3) for one of the cameras (7 T,)."""
    frames, points = weight.shape
    unknowns = point_part.shape[-1]
    weighted = (camera_part * weight[..., None, None]).transpose(0, 1, 3, 2)  # (T, N, 7, 2)
    heavy = (point_part * weight[..., None, None]).transpose(0, 1, 3, 2)
    own = (weighted @ camera_part).sum(axis=1)  # (T, 7, 7)
    across = (weighted @ point_part).transpose(0, 2, 1, 3).reshape(_CAMERA * frames, points, unknowns)
    point = (heavy @ point_part).sum(axis=0)
    little = 1e-10 * np.trace(point, axis1=1, axis2=2)[:, None, None] + 1e-12
    inverse = np.linalg.inv(point + little * np.eye(unknowns))
    camera_slope = (weighted @ residual[..., None]).sum(axis=1).reshape(-1)
    point_slope = (heavy @ residual[..., None]).sum(axis=0)[..., 0]
    flat = across.reshape(_CAMERA * frames, -1)
    reduced = (across.transpose(1, 0, 2) @ inverse).transpose(1, 0, 2).reshape(_CAMERA * frames, -1)
    whole = -reduced @ flat.T
    for frame in range(frames):
        place = slice(_CAMERA * frame, _CAMERA * frame + _CAMERA)
        whole[place, place] += own[frame]
    slope = camera_slope - reduced @ point_slope.reshape(-1)

    def point_step(step: np.ndarray) -> np.ndarray:
        right = point_slope + (step @ flat).reshape(points, unknowns)
        return -(inverse @ right[..., None])[..., 0]

    return spread.T @ whole @ spread, spread.T @ slope, point_step


def _moved(bundle: Bundle, step: np.ndarray, point_step: Callable[[np.ndarray], np.ndarray]) -> Bundle:
    corner = point_step(step)
    across = np.clip(corner[:, :2], -0.2, 0.2)
    directions = bundle.directions + (_tangents(bundle.directions) @ across[..., None])[..., 0]
    nearness = bundle.nearness
    if corner.shape[1] > 2:
        nearness = np.maximum(nearness + corner[:, 2], 0.0)
    step = step.reshape(-1, _CAMERA)
    turns = Rotation.from_rotvec(np.clip(step[:, :3], -0.2, 0.2)).as_matrix()
    return Bundle(
        turns @ bundle.rotations,
        bundle.translations + step[:, 3:6],
        bundle.log_focal + np.clip(step[:, 6], -0.3, 0.3),
        directions / np.linalg.norm(directions, axis=-1, keepdims=True),
        nearness,
    )
