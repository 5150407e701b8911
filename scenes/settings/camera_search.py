"""Finding a camera in a setting: clear of everything along its path, with the subject in view most of the time.

Candidate views are tried in batches, cheap checks first. As in `scenes.framing`, the checks look between the frames
too: the distance to a box changes by no more than the camera moves, so between two checked places it is at least the
mean of both distances less half of the way between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from scenes.motion import carried_at, frame_times, spherical_at, within_fov, zoom_at
from scenes.recipes import Recipe
from scenes.settings.setting_layout import SettingLayout, TakenSpace, Viewpoints
from scenes.spec import CameraMotion, CameraView, Walk

_BATCHES = (16, 48, 64)
_FEWEST_STEPS = 40
_IN_VIEW = 0.75
"""Least share of frames with the middle of the subject in the image."""
_STEEPEST = 85.0
_STEEP_GROUND = 2.0
"""Height above the ground changes by at most this for each unit of way."""
_SIGHTS = 24
"""Points between camera and subject at which the ground is compared with the line of sight."""


def find_setting_view(
    layout: SettingLayout, motions: tuple[CameraMotion, ...], recipe: Recipe, rng: np.random.Generator
) -> CameraView | None:
    """First of 128 candidate views that keeps clear and shows the subject, or None.

    It stays `placement.camera_margin` away from all that is taken, has the middle of the subject in the image in three
    quarters of the frames, and behind something in no more than `framing.hidden` of them. Walkers keep to the ground:
    the `rise` of their path is that of the ground under its ends.
    """
    stride = -(-_FEWEST_STEPS // max(recipe.frames - 1, 1))
    times = frame_times((recipe.frames - 1) * stride + 1)
    margin = recipe.placement.camera_margin
    for batch in _BATCHES:
        drawn = layout.viewpoints(rng, batch)
        back = drawn.eyes - drawn.targets
        distance = np.linalg.norm(back, axis=1)
        good = (distance > margin) & within_fov(drawn.fov, motions, recipe.camera)
        good &= np.abs(back[:, 2]) <= np.sin(np.radians(_STEEPEST)) * distance
        good &= layout.taken.distances(drawn.eyes[:, None], slice(None)).min(axis=1, initial=np.inf) >= margin
        paths = _Paths.of(_kept(drawn, good), motions, times, layout.taken)
        paths = paths.keep(_keeps_clear(paths.origins, layout.taken, margin))
        if layout.subject is not None:
            shown = _shown(paths, stride, layout.subject[0], recipe)
            paths = paths.keep(shown.mean(axis=1) >= _IN_VIEW)
        for row in range(len(paths.fov)):  # the first one mostly does
            if layout.subject is None or _hidden_share(paths, row, stride, layout) <= recipe.framing.hidden:
                return paths.view(row, motions)
    return None


@dataclass(frozen=True, eq=False)
class _Paths:
    """C candidates: targets (C, 3), `spherical` (C, 3) distance, azimuth and elevation in degrees, fov (C,), rises (C,)
    of walkers; their paths, origins (C, P, 3) and axes (C, P, 3, 3); zoom (P,) of the focal length."""

    targets: np.ndarray
    spherical: np.ndarray
    fov: np.ndarray
    rises: np.ndarray
    origins: np.ndarray
    axes: np.ndarray
    zoom: np.ndarray

    @staticmethod
    def of(drawn: Viewpoints, motions: tuple[CameraMotion, ...], times: np.ndarray, taken: TakenSpace) -> _Paths:
        targets = drawn.targets.round(6)
        back = drawn.eyes - targets
        distance = np.linalg.norm(back, axis=1)
        azimuth = np.degrees(np.arctan2(back[:, 1], back[:, 0]))
        elevation = np.degrees(np.arcsin(back[:, 2] / distance))
        spherical = np.stack([distance, azimuth, elevation], axis=1).round(6)
        unmoved = CameraView(
            target=(0.0, 0.0, 0.0), distance=1.0, azimuth=0.0, elevation=0.0, fov=45.0, motions=motions
        )
        turned, raised, factor = spherical_at(unmoved, times)
        first = np.radians(spherical[:, 1:2])
        about = first + turned, np.radians(spherical[:, 2:]) + raised, spherical[:, :1] * factor
        origins, axes = carried_at(targets[:, None], first, *about, motions, times)
        rises = np.zeros(len(targets))
        if taken.ground is not None and any(isinstance(motion, Walk) for motion in motions):
            rises = (taken.ground(origins[:, -1, :2]) - taken.ground(origins[:, 0, :2])).round(6)
            origins[..., 2] += rises[:, None] * times
        return _Paths(targets, spherical, drawn.fov.round(6), rises, origins, axes, zoom_at(motions, times))

    def keep(self, good: np.ndarray) -> _Paths:
        """The candidates where `good` (C,) holds."""
        return _Paths(
            self.targets[good],
            self.spherical[good],
            self.fov[good],
            self.rises[good],
            self.origins[good],
            self.axes[good],
            self.zoom,
        )

    def view(self, row: int, motions: tuple[CameraMotion, ...]) -> CameraView:
        x, y, z = self.targets[row].tolist()
        distance, azimuth, elevation = self.spherical[row].tolist()
        rise = float(self.rises[row])
        moved = tuple(
            msgspec.structs.replace(motion, rise=motion.rise + rise) if isinstance(motion, Walk) else motion
            for motion in motions
        )
        return CameraView(
            target=(x, y, z),
            distance=distance,
            azimuth=azimuth,
            elevation=elevation,
            fov=float(self.fov[row]),
            motions=moved,
        )


def _kept(drawn: Viewpoints, good: np.ndarray) -> Viewpoints:
    return Viewpoints(drawn.eyes[good], drawn.targets[good], drawn.fov[good])


def _keeps_clear(origins: np.ndarray, taken: TakenSpace, margin: float) -> np.ndarray:
    """(C,): which paths (C, P, 3) stay `margin` clear of all that is taken, between the checked places too."""
    if not len(origins):
        return np.zeros(0, dtype=bool)
    step = np.linalg.norm(np.diff(origins, axis=1), axis=-1)  # (C, P - 1)
    if step.shape[1] > 1:  # the way is longer than its chord where it bends
        step = step + 0.5 * np.abs(np.diff(origins, 2, axis=1)).max(axis=(1, 2))[:, None]
    good = _between(taken.to_bounds(origins), step) >= margin
    if taken.ground is not None:
        above = origins[..., 2] - taken.ground(origins[..., :2])
        good &= _between(above, _STEEP_GROUND * step) >= margin
    middle = (origins.min(axis=1) + origins.max(axis=1)) / 2
    reach = np.linalg.norm(origins - middle[:, None], axis=-1).max(axis=1) + step.max(axis=1, initial=0.0)
    near = taken.distances(middle[:, None], slice(None)) < (reach + margin)[:, None]  # (C, N)
    path, box = np.nonzero(near & good[:, None])
    clear = _between(taken.distances(origins[path].swapaxes(0, 1), box).T, step[path]) >= margin  # of each pair
    good[path[~clear]] = False
    return good


def _between(clearance: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Least clearance (C,) along paths of which it is known (C, P) at places `step` (C, P - 1) apart."""
    least = (clearance[:, 1:] + clearance[:, :-1] - step) / 2
    return np.minimum(least.min(axis=1, initial=np.inf), clearance.min(axis=1))


def _shown(paths: _Paths, stride: int, point: np.ndarray, recipe: Recipe) -> np.ndarray:
    """(C, T): in which frames the point (3,) lies inside the image."""
    width, height = recipe.render.width, recipe.render.height
    side = 0.5 * max(width, height)
    focal = side / np.tan(np.radians(paths.fov) / 2)
    local = np.einsum("ctij,cti->ctj", paths.axes[:, ::stride], point - paths.origins[:, ::stride])
    depth = -local[..., 2]
    pixels = (focal[:, None] * paths.zoom[::stride])[..., None] * np.abs(local[..., :2])
    return (depth > 0) & (pixels <= depth[..., None] * np.array([width, height]) / 2).all(axis=-1)


def _hidden_share(paths: _Paths, row: int, stride: int, layout: SettingLayout) -> float:
    """Share of a candidate's frames in which something stands before the subject.

    The line from the camera ends where the subject's sphere begins; what its middle lies in is the subject itself.
    """
    assert layout.subject is not None
    taken, (point, radius) = layout.taken, layout.subject
    eyes = paths.origins[row, ::stride]
    way = point - eyes
    length = np.linalg.norm(way, axis=-1, keepdims=True)
    way = way * np.maximum(1 - radius / length, 0.0)  # (T, 3)
    low, high = np.minimum(eyes.min(axis=0), point), np.maximum(eyes.max(axis=0), point)
    reach = np.linalg.norm(taken.halves, axis=1)[:, None]
    between = ((taken.centres + reach >= low) & (taken.centres - reach <= high)).all(axis=1)
    others = np.flatnonzero(between & (taken.distances(point[None], slice(None)) > 0))
    start, stop = taken.local(eyes[:, None], others), taken.local((eyes + way)[:, None], others)
    step = np.where(np.abs(stop - start) < 1e-12, 1e-12, stop - start)
    one, other = (-taken.halves[others] - start) / step, (taken.halves[others] - start) / step
    enters = np.minimum(one, other).max(axis=-1).clip(0.0)  # (T, N)
    leaves = np.maximum(one, other).min(axis=-1).clip(max=1.0)
    blocked = (enters < leaves).any(axis=-1)
    if taken.ground is not None:
        line = eyes[:, None] + way[:, None] * np.linspace(0.0, 1.0, _SIGHTS)[:, None]  # (T, S, 3)
        blocked |= (line[..., 2] < taken.ground(line[..., :2])).any(axis=-1)
    return float(blocked.mean())
