"""The camera of a shot, from its frames alone: still, turning in its place, or moving; or unsolved.

The simplest motion that explains the tracks is taken: none, then rotations (and zoom), then places. Each must explain
most of the picture, part by part, so that what moves by itself in a corner does not decide; a moving camera must
explain it clearly better than a turning one, with rays that meet at an angle, and be found again from half the corners.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from labeling.cameras.bundle import Adjusted, Bundle, adjust, bearings
from labeling.cameras.feature_tracks import FeatureTracks, track_features
from labeling.cameras.moving_camera import fit_moving
from labeling.cameras.turning_camera import fit_turning
from labeling.cameras.upright import level_up, seen_up
from manifests.contract.camera import Camera, intrinsics_from_fov

CameraKind = Literal["still", "turning", "moving", "unsolved"]
LensKind = Literal["solved", "rough", "assumed"]

_NOISE = 0.15
"""Pixels by which corners are off."""
_FITS = 0.6
"""Pixels, the median over its frames, within which a motion explains a corner."""
_RESTS = 0.5
"""Pixels within which a corner rests."""
_MOST = {"still": 0.6, "turning": 0.65, "moving": 0.6}
"""Share of the picture that a motion must explain."""
_SURELY = 0.98
"""Share that turning explains without a second look."""
_BETTER = 0.7
"""A moving camera leaves at most this much of a turning one's error."""
_MORE = 0.05
"""Share of the picture by which a moving camera must explain more for a turning one not to be believed."""
_LEAST_CORNERS = 15
"""Corners that every frame must show."""
_ANGLE = 0.4
"""Degrees at which rays to the median corner must meet."""
_AGREE = {"rotation": 0.3, "place": 0.03, "focal": 0.15}
"""Degrees, share of the path, and share, by which two answers may differ (median over frames)."""
_ROUGHLY = 3.0
"""Times as far as they may, up to which an answer is a rough one."""
_DOUBT = 0.05, 0.3
"""Standard deviation of the logarithm of a focal length up to which it is solved, and roughly so."""
_LONG = 2.0
"""Times the usual focal length from which on a turn may as well be a flat surface that passes by: without the curves
that a turn draws at the sides of a wide picture, the two look alike."""
_SHORT = 0.38
"""The same for lenses that are shorter than most: a moving camera need not be clearly better than those."""
_SAME_LENS = 0.05
"""Share by which focal lengths from halves of the corners may differ to count as solved."""
_TRACKS = 400
"""Corners that are adjusted together."""
_NEAR = 0.05
"""Nearness, in that of the median corner, from which on a corner has a place."""
_ZOOMS = (0.015, 0.9), (0.005, 0.7)
"""Changes of the logarithm of the focal length that are a zoom, where at most this much of the cost is left."""


@dataclass(frozen=True, eq=False)
class CameraSolution:
    """What was found of a shot's camera.

    Attributes:
        kind: the kind of motion; "unsolved" where nothing can be believed.
        camera: intrinsics in pixels of the frames and poses, world z up, the first frame looking along +y from the
            origin; of a moving camera one unit is the median distance of corners from there. None where unsolved.
        lens: whether the focal length was solved, roughly so, or assumed because nothing shows it.
        up: whether upright edges say where up is, or the camera is taken to be held level.
        error: median reprojection error in pixels of pictures of at most 960 pixels.
        share: of the picture that the motion explains, in [0, 1].
        reason: why it is unsolved, or solved roughly only: good enough to follow a film, and no truth to learn from.
        points: (N, 3) corners in the camera's world, of a moving camera.
    """

    kind: CameraKind
    camera: Camera | None
    lens: LensKind = "assumed"
    up: Literal["seen", "assumed"] = "assumed"
    error: float = 0.0
    share: float = 0.0
    reason: str = ""
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def sure(self) -> CameraSolution:
        """Itself, or an unsolved camera where it is a rough one."""
        return CameraSolution("unsolved", None, reason=self.reason) if self.reason else self


def solve_camera(frames: Iterable[np.ndarray], size: tuple[int, int], fov_degrees: float) -> CameraSolution:
    """Solve the camera of frames (H, W, 3) uint8 of one shot.

    size: (H, W) of the frames. fov_degrees: of the larger image side, where nothing shows it. The same frames give the
    same answer on the same machine.
    """
    return solve_tracks(track_features(frames), size, fov_degrees)


def solve_tracks(tracks: FeatureTracks, size: tuple[int, int], fov_degrees: float) -> CameraSolution:
    """`solve_camera` of tracks: `size` (H, W) is that of the film's frames."""
    frames = len(tracks.places)
    lasting = tracks.some(tracks.seen.sum(axis=0) >= min(frames, 5))
    if frames < 2 or lasting.seen.sum(axis=1).min() < _LEAST_CORNERS:
        return CameraSolution("unsolved", None, reason="too few corners can be followed")
    usual = 0.5 * max(tracks.size) / np.tan(np.radians(fov_degrees) / 2)
    rest = _resting(lasting)
    if (share := float(lasting.weights()[rest < _RESTS].sum())) >= _MOST["still"]:
        return _solution(_still(frames, usual), tracks, size, float(np.median(rest[rest < _RESTS])), share)
    few = lasting.some(lasting.spread(_TRACKS))
    turning = _turning(few, usual)
    share, error = _explained(turning, few)
    moving = _Moving()
    if share < _SURELY or error > _NOISE or turning.focal.min() < _SHORT * usual:
        moving = _moving(few, turning, usual)
    if moving.fit and not moving.reason:
        return _moving_solution(moving.fit, moving, tracks, size)
    lens, reason = _lens(turning), ""
    if share < _MOST["turning"]:
        reason = f"turning explains {share:.0%} of the picture; moving: {moving.reason}"
    elif moving.share > share + _MORE:  # it moves, past a wall perhaps: a zoom would be the wrong answer
        reason = f"moving explains more than turning does, but {moving.reason}"
    elif lens != "assumed" and not _SHORT < turning.focal.min() / usual < _LONG:
        fov = 2 * np.degrees(np.arctan(0.5 * max(tracks.size) / turning.focal.min()))
        reason = f"a lens of {fov:.0f} degrees turns, or a flat surface passes by (--fov says which lens it is)"
    if reason:
        unsolved = CameraSolution("unsolved", None, reason=reason)
        return _moving_solution(moving.fit, moving, tracks, size) if moving.fit else unsolved
    if lens == "assumed":
        turning = fit_turning(few, zooms=bool(np.ptp(turning.focal)), noise=_NOISE, usual=usual, held=True)
        share, error = _explained(turning, few)
    bundle = turning.bundle.from_first()
    if _sweep(bundle, tracks.size) < _RESTS:
        return _solution(_still(frames, usual), tracks, size, error, share)
    found = _Found("turning", bundle.rotations, np.zeros((frames, 3)), turning.focal, lens)
    return _solution(found, tracks, size, float(np.nanmedian(turning.residuals)), share)


def _turning(few: FeatureTracks, usual: float) -> Adjusted:
    """The best camera that turns, or turns and zooms where that is clearly better."""
    turning, zooming = (fit_turning(few, zooms=zooms, noise=_NOISE, usual=usual) for zooms in (False, True))
    change, better = np.ptp(np.log(zooming.focal)), zooming.cost / turning.cost
    return zooming if any(change > least and better < most for least, most in _ZOOMS) else turning


@dataclass(frozen=True, eq=False)
class _Found:
    kind: CameraKind
    rotations: np.ndarray
    translations: np.ndarray
    focal: np.ndarray
    lens: LensKind
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


@dataclass(frozen=True, eq=False)
class _Moving:
    """A moving camera that was tried: `reason` says why it is refused, without a `fit`, or holds roughly, with one.

    share: of the picture that it explains; 0 where a turning one does as well.
    """

    reason: str = "not tried"
    share: float = 0.0
    fit: Adjusted | None = None
    lens: LensKind = "assumed"


def _still(frames: int, focal: float) -> _Found:
    rotations = np.tile(np.eye(3), (frames, 1, 1))
    return _Found("still", rotations, np.zeros((frames, 3)), np.full(frames, focal), "assumed")


def _sweep(bundle: Bundle, size: tuple[int, int]) -> float:
    """Pixels by which the corners of the first picture ever leave their place."""
    corners = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * size[::-1]
    local = bearings(corners, np.exp(bundle.log_focal[0])) @ bundle.rotations.transpose(0, 2, 1)
    seen = np.exp(bundle.log_focal)[:, None, None] * local[..., :2] / np.maximum(local[..., 2:], 0.02)
    return float(np.linalg.norm(seen - corners, axis=-1).max())


def _resting(tracks: FeatureTracks) -> np.ndarray:
    """How far (N,) each corner ever is from its median place, in pixels."""
    return np.nanmax(np.linalg.norm(tracks.places - np.nanmedian(tracks.places, axis=0), axis=-1), axis=0)


def _explained(fit: Adjusted, tracks: FeatureTracks) -> tuple[float, float]:
    """Share of the picture that a fit explains, and the median error there of its corners."""
    errors, weights = fit.track_errors(), tracks.weights()
    return float(weights[errors < _FITS].sum()), float(np.median(errors))


def _lens(fit: Adjusted) -> LensKind:
    return "solved" if fit.focal_doubt < _DOUBT[0] else "rough" if fit.focal_doubt < _DOUBT[1] else "assumed"


def _moving(few: FeatureTracks, turning: Adjusted, usual: float) -> _Moving:
    """A moving camera, and whether it passed every check."""
    fit = fit_moving(few, noise=_NOISE, focal=usual)
    if (lens := _lens(fit)) == "assumed":
        fit = fit_moving(few, noise=_NOISE, focal=usual, held=True)
    share, error = _explained(fit, few)
    better = error <= _BETTER * np.median(turning.track_errors()) or turning.focal.min() < _SHORT * usual
    angle = _meeting_angle(fit)
    if share < _MOST["moving"] or not better or angle < _ANGLE:
        return _Moving(f"explains {share:.0%} of the picture, rays meet at {angle:.1f} degrees")
    reason = ""
    for half in (0, 1):
        chosen = np.arange(half, few.places.shape[1], 2)
        part, held = few.some(chosen), lens == "assumed"
        kept = replace(fit.bundle, directions=fit.bundle.directions[chosen], nearness=fit.bundle.nearness[chosen])
        alike = adjust(kept, part, moves=True, zooms=False, noise=_NOISE, usual=usual, held=held)
        other = min(fit_moving(part, noise=_NOISE, focal=usual, held=held), alike, key=lambda one: one.cost)
        times, difference = _difference(fit, other)
        if times > 1:
            reason = f"half of the corners say otherwise: {difference}"
        if times > _ROUGHLY:
            return _Moving(reason, share)
        if lens == "solved" and abs(float(np.log(fit.focal[0] / other.focal[0]))) > _SAME_LENS:
            lens = "rough"
    return _Moving(reason, share, fit, lens)


def _corners(fit: Adjusted) -> np.ndarray:
    """Places (N, 3) of the corners that the fit explains and that are not too far to have one."""
    bundle = fit.bundle
    known = (fit.track_errors() < _FITS) & (bundle.nearness > _NEAR)
    return np.asarray(bundle.directions[known] / bundle.nearness[known, None])


def _centres(fit: Adjusted) -> np.ndarray:
    return -np.einsum("tji,tj->ti", fit.bundle.rotations, fit.bundle.translations)


def _meeting_angle(fit: Adjusted) -> float:
    """Widest angle, in degrees, between the rays to a corner; the median over corners."""
    bundle = fit.bundle
    places = bundle.directions / np.maximum(bundle.nearness, 1e-6)[:, None]
    rays = places - _centres(fit)[:, None]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    seen = np.isfinite(fit.residuals)
    first = np.take_along_axis(rays, seen.argmax(axis=0)[None, :, None], axis=0)
    cosine = np.where(seen, (rays * first).sum(axis=-1), 1.0).min(axis=0)
    return float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))


def _difference(one: Adjusted, two: Adjusted) -> tuple[float, str]:
    """How many times as far as they may two answers differ, after the best similarity, and in what most."""
    turns = [fit.bundle.rotations.transpose(0, 2, 1) for fit in (one, two)]
    places = [_centres(fit) for fit in (one, two)]
    angle, away = camera_errors(turns[0], places[0], turns[1], places[1])
    focal = abs(float(np.log(one.focal[0] / two.focal[0])))
    found = {"rotation": float(np.median(angle)), "place": float(np.median(away)), "focal": focal}
    return max((value / _AGREE[name], f"{name} by {value:.3g}") for name, value in found.items())


def camera_errors(
    turns: np.ndarray, places: np.ndarray, other_turns: np.ndarray, other_places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Degrees (T,) and shares of the path (T,) by which other cameras are off, after the best similarity.

    turns: (T, 3, 3) camera to world. places: (T, 3); shares are 0 where the camera does not move.
    """
    between = Rotation.from_matrix(turns @ other_turns.transpose(0, 2, 1)).mean().as_matrix()
    angle = np.degrees(Rotation.from_matrix(turns @ (between @ other_turns).transpose(0, 2, 1)).magnitude())
    path = float(np.linalg.norm(np.diff(places, axis=0), axis=-1).sum())
    if path < 1e-9:
        return angle, np.zeros(len(places))
    here, there = places - places.mean(axis=0), (other_places - other_places.mean(axis=0)) @ between.T
    scale = (here * there).sum() / max((there * there).sum(), 1e-12)
    return angle, np.linalg.norm(here - scale * there, axis=-1) / path


def _solution(
    found: _Found, tracks: FeatureTracks, size: tuple[int, int], error: float, share: float
) -> CameraSolution:
    up = seen_up(tracks.edges, found.rotations, found.focal, tracks.size)
    world = world_axes(found.rotations, up)
    camera = Camera(
        _intrinsics(found.focal, tracks.size, size), camera_in_world(found.rotations, found.translations, up)
    )
    first = -world @ found.rotations[0].T @ found.translations[0]
    return CameraSolution(
        found.kind,
        camera,
        found.lens,
        "assumed" if up is None else "seen",
        error,
        share,
        points=found.points @ world.T - first,
    )


def _moving_solution(fit: Adjusted, moving: _Moving, tracks: FeatureTracks, size: tuple[int, int]) -> CameraSolution:
    bundle = fit.bundle
    found = _Found("moving", bundle.rotations, bundle.translations, fit.focal, moving.lens, _corners(fit))
    solution = _solution(found, tracks, size, float(np.nanmedian(fit.residuals)), moving.share)
    return replace(solution, reason=moving.reason)


def _intrinsics(focal: np.ndarray, seen: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(3, 3), or (T, 3, 3) where the focal length changes, at the film's size."""
    lens = np.tile(intrinsics_from_fov(45.0, *size), (len(focal), 1, 1))
    lens[:, 0, 0], lens[:, 1, 1] = focal * size[1] / seen[1], focal * size[0] / seen[0]
    return lens if np.ptp(focal) > 0 else lens[0]


def world_axes(rotations: np.ndarray, up: np.ndarray | None) -> np.ndarray:
    """Axes (3, 3), as rows, of a world with z up in which the first camera looks along +y; see `camera_in_world`."""
    up = level_up(rotations) if up is None else up
    ahead = rotations[0, 2] - (rotations[0, 2] @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead, up])


def camera_in_world(rotations: np.ndarray, translations: np.ndarray, up: np.ndarray | None = None) -> np.ndarray:
    """camera_to_world (T, 4, 4): z up, the first frame at the origin and looking along +y.

    rotations (T, 3, 3), translations (T, 3): world to camera in OpenCV's frames, x right, y down, z ahead. up: (3,)
    unit vector in that world; if not given, the cameras are taken to be held level.
    """
    world = world_axes(rotations, up)
    poses = np.tile(np.eye(4), (len(rotations), 1, 1))
    turns = rotations.transpose(0, 2, 1)
    poses[:, :3, :3] = world @ turns @ np.diag([1.0, -1.0, -1.0])
    poses[:, :3, 3] = -(world @ turns @ translations[..., None])[..., 0]
    poses[:, :3, 3] -= poses[0, :3, 3]
    return poses
