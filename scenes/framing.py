"""Finding a camera that keeps the subject in view and out of trouble in every frame.

Candidate views are drawn and checked many at a time. The checks along the camera's path look between the frames as
well: between two checked times the path is taken as straight, and the largest deviation from that, estimated from its
second differences, is added to the margin.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from manifests.contract.camera import intrinsics_from_fov
from scenes.distributions import draw_many
from scenes.motion import carried_at, frame_times, moved_at, object_at, spherical_at, within_fov, zoom_at
from scenes.placement import smallest_distance
from scenes.recipe_sections import FramingRules
from scenes.recipes import Recipe
from scenes.spec import CameraMotion, CameraView, Fall, Object, RenderSettings

_BATCHES = (4, 12, 48, 64)  # most scenes need one view or two
_FEWEST_STEPS = 40
_TOP_ELEVATION = 88.0
_NEAREST = 1e-3
_RING = np.radians(np.arange(0, 360, 30))
_RIM = np.concatenate(
    [np.stack([np.cos(_RING), np.sin(_RING), np.full(len(_RING), top)], axis=-1) for top in (0.0, 1.0)]
)


@dataclass(frozen=True, eq=False)
class BoundingCylinders:
    """The upright bounding cylinders that a camera sees: radii (N,), heights (N,), and at `times` (P,) the centres
    (N, P, 2) and heights of the undersides (N, P).

    Row 0 is the subject. Every `stride`-th time is a frame.
    """

    radii: np.ndarray
    heights: np.ndarray
    centres: np.ndarray
    bottoms: np.ndarray
    times: np.ndarray
    stride: int

    @staticmethod
    def of(objects: tuple[Object, ...], frames: int) -> BoundingCylinders:
        """Cylinders of placed objects at the frames and at enough times between them."""
        stride = -(-_FEWEST_STEPS // max(frames - 1, 1))
        times = frame_times((frames - 1) * stride + 1)
        radii, heights, centres, bottoms = zip(*(_cylinder(obj, times) for obj in objects), strict=True)
        return BoundingCylinders(
            np.array(radii), np.array(heights), np.stack(centres), np.stack(bottoms), times, stride
        )

    @property
    def tops(self) -> np.ndarray:
        """Heights (N, P) of the upper sides."""
        return self.bottoms + self.heights[:, None]


def _cylinder(obj: Object, times: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Radius and height that serve for all times, centres (P, 2) and undersides (P,) of one thing.

    Of a thing that lies or falls it is the cylinder around its own leaning one.
    """
    radius, height = obj.scale * obj.footprint.radius, obj.scale * obj.footprint.height
    if obj.orientation is UNSET and not any(isinstance(motion, Fall) for motion in obj.motions):
        bottom = 0.0 if obj.height is UNSET else obj.height
        return radius, height, np.asarray(obj.position) + moved_at(obj.motions, times), np.full(len(times), bottom)
    poses = object_at(obj, times)
    axis = poses[:, :3, 2] / obj.scale
    middle = poses[:, :3, 3] + height / 2 * axis
    upright = np.minimum(np.abs(axis[:, 2]), 1.0)
    leaning = np.sqrt(1 - upright**2)
    along, across = leaning * height / 2, radius * upright  # the rim's ellipse, shifted by half the axis
    flat = np.maximum(radius**2 - across**2, 1e-12)
    farthest = np.minimum(along * across / flat, 1.0)  # cosine of the rim's farthest point
    wide = np.sqrt((along + across * farthest) ** 2 + radius**2 * (1 - farthest**2)).max()
    tall = 2 * (upright * height / 2 + radius * leaning).max()
    return float(wide), float(tall), middle[:, :2], middle[:, 2] - tall / 2


@dataclass(frozen=True, eq=False)
class CameraPaths:
    """Paths of a batch of cameras: origins (C, P, 3), axes (C, P, 3, 3) with columns right, up, back; elevations (C, P)
    about the target in degrees; fov (C,) of the first frame; zoom (P,) of the focal length, the same for all."""

    origins: np.ndarray
    axes: np.ndarray
    elevations: np.ndarray
    fov: np.ndarray
    zoom: np.ndarray

    def keep(self, mask: np.ndarray) -> CameraPaths:
        """The cameras where `mask` (C,) holds."""
        return CameraPaths(self.origins[mask], self.axes[mask], self.elevations[mask], self.fov[mask], self.zoom)


def find_view(
    cylinders: BoundingCylinders, motions: tuple[CameraMotion, ...], recipe: Recipe, rng: np.random.Generator
) -> tuple[CameraView | None, Counter[str]]:
    """Draw views until one passes all checks; at most 128.

    Returns (view or None, how many views each check turned down: "near", "framing" or "hidden").
    """
    choice, framing = recipe.camera, recipe.framing
    at_subject = rng.random() < choice.look_at_subject
    middle = cylinders.centres[0].mean(axis=0) if at_subject else np.zeros(2)
    waist = float(cylinders.bottoms[0].mean() + cylinders.heights[0] / 2)
    target = (round(float(middle[0]), 6), round(float(middle[1]), 6), round(waist, 6))
    refused: Counter[str] = Counter()
    for batch in _BATCHES:
        drawn = np.stack(
            [draw_many(s, rng, batch) for s in (choice.distance, choice.azimuth, choice.elevation, choice.fov)]
        )
        paths = _camera_paths(target, drawn, motions, cylinders.times)
        left = np.arange(batch)
        for name, passed in (
            ("near", lambda paths: _keeps_clear(paths, cylinders, recipe.placement.camera_margin)),
            ("framing", lambda paths: within_fov(paths.fov, motions, choice)),
            ("framing", lambda paths: _in_view(paths, cylinders, framing, recipe.render)),
            ("hidden", lambda paths: _hidden_share(paths, cylinders) <= framing.hidden),
        ):
            good = passed(paths)
            refused[name] += int((~good).sum())
            paths, left = paths.keep(good), left[good]
            if not len(left):
                break
        else:
            distance, azimuth, elevation, fov = drawn[:, left[0]].tolist()
            return CameraView(
                target=target, distance=distance, azimuth=azimuth, elevation=elevation, fov=fov, motions=motions
            ), refused
    return None, refused


def _camera_paths(
    target: tuple[float, float, float], drawn: np.ndarray, motions: tuple[CameraMotion, ...], times: np.ndarray
) -> CameraPaths:
    """Paths of the candidates `drawn` (4, C): rows distance, azimuth, elevation, fov.

    Camera motions add to the angles and scale the distance, so those of a camera at zero angles serve all.
    """
    distance, azimuth, elevation, fov = drawn
    unmoved = CameraView(target=target, distance=1.0, azimuth=0.0, elevation=0.0, fov=45.0, motions=motions)
    turned, raised, factor = spherical_at(unmoved, times)
    a = np.radians(azimuth)[:, None] + turned
    e = np.radians(elevation)[:, None] + raised
    origins, axes = carried_at(
        np.asarray(target), np.radians(azimuth)[:, None], a, e, distance[:, None] * factor, motions, times
    )
    return CameraPaths(origins, axes, np.degrees(e), fov, zoom_at(motions, times))


def _keeps_clear(paths: CameraPaths, cylinders: BoundingCylinders, margin: float) -> np.ndarray:
    """(C,): at all times above the ground and outside every cylinder, each by `margin`, and not straight above."""
    low = paths.origins[..., 2].min(axis=1) >= margin
    steep = paths.elevations.max(axis=1) <= _TOP_ELEVATION
    path = paths.origins[:, None, :, :2] - cylinders.centres[None]  # (C, N, P, 2) relative to each axis
    if path.shape[2] > 2:
        bend = np.abs(path[:, :, 2:] - 2 * path[:, :, 1:-1] + path[:, :, :-2]).max(axis=(2, 3)) / 4
    else:
        bend = np.zeros(path.shape[:2])
    if path.shape[2] > 1:
        sideways = smallest_distance(path[:, :, :-1], path[:, :, 1:] - path[:, :, :-1])
        height = np.minimum(paths.origins[:, :-1, 2], paths.origins[:, 1:, 2])
    else:
        sideways = smallest_distance(path, np.zeros_like(path))
        height = paths.origins[..., 2]
    beside = sideways >= (cylinders.radii + margin + bend)[..., None]
    above = height[:, None] >= (cylinders.tops.max(axis=1) + margin + bend)[..., None]
    return low & steep & (beside | above).all(axis=(1, 2))


def _in_view(
    paths: CameraPaths, cylinders: BoundingCylinders, rules: FramingRules, render: RenderSettings
) -> np.ndarray:
    """(C,): in every frame the subject's middle is in the image, enough of its extent too, and it is large enough."""
    size = np.array([render.width, render.height], dtype=float)
    rim = _RIM * np.array([cylinders.radii[0], cylinders.radii[0], cylinders.heights[0]])
    points = np.concatenate([rim, [[0.0, 0.0, cylinders.heights[0] / 2]]])  # (K, 3), the middle last
    centre = cylinders.centres[0, :: cylinders.stride]  # (T, 2)
    world = np.broadcast_to(points, (len(centre), *points.shape)).copy()
    world[..., :2] += centre[:, None]
    world[..., 2] += cylinders.bottoms[0, :: cylinders.stride, None]
    origins, axes = paths.origins[:, :: cylinders.stride], paths.axes[:, :: cylinders.stride]
    local = np.matmul(world[None] - origins[:, :, None], axes)  # (C, T, K, 3)
    depth = -local[..., 2]
    first = np.array([intrinsics_from_fov(fov, render.height, render.width)[0, 0] for fov in paths.fov])
    focal = (first[:, None] * paths.zoom[:: cylinders.stride])[..., None, None]  # (C, T, 1, 1)
    visible = (depth > _NEAREST).all(axis=(1, 2))
    pixels = focal * local[..., :2] / np.maximum(depth, _NEAREST)[..., None]
    middle = (np.abs(pixels[:, :, -1]) <= size / 2).all(axis=(1, 2))
    low, high = pixels[:, :, :-1].min(axis=2), pixels[:, :, :-1].max(axis=2)  # (C, T, 2)
    extent = high - low
    inside = np.clip(np.minimum(high, size / 2) - np.maximum(low, -size / 2), 0.0, None)
    share = inside.prod(axis=-1) / np.maximum(extent.prod(axis=-1), _NEAREST)
    large = extent.max(axis=-1) >= rules.size * render.height
    return visible & middle & ((share >= rules.inside) & large).all(axis=1)


def _hidden_share(paths: CameraPaths, cylinders: BoundingCylinders) -> np.ndarray:
    """(C,): share of frames in which another cylinder cuts the line from the camera to the subject's middle."""
    if len(cylinders.radii) == 1:
        return np.zeros(len(paths.fov))
    origins, centres = paths.origins[:, None, :: cylinders.stride], cylinders.centres[:, :: cylinders.stride]
    start = origins[..., :2] - centres[None, 1:]  # (C, N - 1, T, 2)
    step = centres[:1] - origins[..., :2]
    a = (step * step).sum(axis=-1)
    b = (start * step).sum(axis=-1)
    c = (start * start).sum(axis=-1) - cylinders.radii[None, 1:, None] ** 2
    root = b * b - a * c
    half = np.sqrt(np.maximum(root, 0.0))
    enters, leaves = np.clip((-b - half) / a, 0.0, 1.0), np.clip((-b + half) / a, 0.0, 1.0)
    bottoms, tops = cylinders.bottoms[:, :: cylinders.stride], cylinders.tops[:, :: cylinders.stride]
    rise = bottoms[0] + cylinders.heights[0] / 2 - origins[..., 2]
    ends = origins[..., 2] + np.stack([rise * enters, rise * leaves])
    between = (ends.min(axis=0) < tops[None, 1:]) & (ends.max(axis=0) > bottoms[None, 1:])
    cut = (root > 0) & (leaves > enters) & between
    return cut.any(axis=1).mean(axis=-1)
