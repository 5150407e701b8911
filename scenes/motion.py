"""Motions as functions of the frame: the one place that turns a spec's motions into poses, and draws them.

Placement, framing, the renderer and the manifest all ask here, so what was checked is what is rendered. Time runs
from 0 at the first frame to 1 at the last. The `*_at` functions take any times, so that a check can look between
the frames. Angles in specs are degrees; poses are float64.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
from msgspec import UNSET

from manifests.contract.camera import Camera, intrinsics_from_fov
from scenes.distributions import draw, draw_many, support
from scenes.recipe_sections import SUITED_MOTIONS, CameraRules, MotionRules
from scenes.spec import (
    CameraMotion,
    CameraView,
    Dolly,
    Fall,
    Flight,
    Handheld,
    LightRotation,
    Object,
    ObjectMotion,
    ObjectRotation,
    ObjectTranslation,
    Orbit,
    Oscillation,
    Pan,
    Quaternion,
    RenderSettings,
    SceneLight,
    SceneSpec,
    Tilt,
    Walk,
    Zoom,
)

_WAVES = 24  # sine waves that make up the noise of a shake, spaced evenly in the logarithm of their frequency


def frame_times(frames: int) -> np.ndarray:
    """Times (frames,) in [0, 1]; a single frame is at time 0."""
    return np.linspace(0.0, 1.0, frames)


# --- poses ---------------------------------------------------------------------------------------------------


def camera_to_world(view: CameraView, frames: int) -> np.ndarray:
    """Rigid camera poses (frames, 4, 4); camera frame x right, y up, z toward the viewer."""
    return camera_at(view, frame_times(frames))


def camera_at(view: CameraView, times: np.ndarray) -> np.ndarray:
    """Rigid camera poses (T, 4, 4) at `times` (T,)."""
    about = spherical_at(view, times)
    origins, axes = carried_at(np.asarray(view.target), np.radians(view.azimuth), *about, view.motions, times)
    poses = np.zeros((len(times), 4, 4))
    poses[:, :3, :3], poses[:, :3, 3], poses[:, 3, 3] = axes, origins, 1.0
    return poses


def carried_at(
    target: np.ndarray,
    first_azimuth: float | np.ndarray,
    azimuth: np.ndarray,
    elevation: np.ndarray,
    distance: np.ndarray,
    motions: tuple[CameraMotion, ...],
    times: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Cameras that go about their targets, with what carries, turns and shakes them: origins and axes.

    Args:
        target: (..., 1, 3) or (3,).
        first_azimuth: (..., 1) of the view itself, in radians; paths set out from it.
        azimuth: (..., T) radians about the target at `times` (T,), as `elevation`, and `distance` (..., T).
        motions: those about the target are in these numbers already.
        times: (T,).

    Returns:
        Origins (..., T, 3) and axes (..., T, 3, 3), as `look_axes` has them.
    """
    axes = look_axes(azimuth, elevation)
    origins = target + distance[..., None] * axes[..., 2]
    turned, raised = np.zeros(len(times)), np.zeros(len(times))
    for motion in motions:
        match motion:
            case Walk() | Flight():
                origins = origins + path_at(motion, first_azimuth, times)
                turned += motion.turn * times
            case Pan():
                turned += motion.degrees * (times - 0.5)
            case Tilt():
                raised += motion.degrees * (times - 0.5)
            case Orbit() | Oscillation() | Dolly() | Handheld() | Zoom():
                pass
            case _:
                assert_never(motion)
    if turned.any() or raised.any():
        axes = look_axes(azimuth + np.radians(turned), elevation - np.radians(raised))
    for motion in motions:
        if isinstance(motion, Handheld):
            angles, shift = shake_at(motion, times)
            origins = origins + (axes @ shift[..., None])[..., 0]
            axes = axes @ _small_turns(angles)
    return origins, axes


def path_at(motion: Walk | Flight, azimuth: float | np.ndarray, times: np.ndarray) -> np.ndarray:
    """Offsets (..., T, 3) at `times` (T,) along the arc of a camera whose view has `azimuth` (..., 1) in radians."""
    bent = np.radians(motion.turn) * times / 2  # half of what the path has turned: the direction of its chord
    chord = motion.distance * times * np.sinc(bent / np.pi)
    heading = azimuth + np.pi + np.radians(motion.heading)
    offset = np.empty((*np.broadcast_shapes(np.shape(azimuth), times.shape), 3))
    offset[..., 0], offset[..., 1] = chord * np.cos(heading + bent), chord * np.sin(heading + bent)
    offset[..., 2] = motion.rise * times
    if isinstance(motion, Walk):
        sway = motion.sway * np.sin(np.pi * motion.steps * times)
        offset[..., 0] -= sway * np.sin(heading + 2 * bent)
        offset[..., 1] += sway * np.cos(heading + 2 * bent)
        offset[..., 2] += motion.bob * np.sin(2 * np.pi * motion.steps * times)
    return offset


def shake_at(motion: Handheld, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (T, 3) in radians about, and shifts (T, 3) along the camera's right, up and back at `times` (T,)."""
    phases = np.random.Generator(np.random.PCG64(motion.seed)).uniform(0.0, 2 * np.pi, (6, _WAVES))
    cycles = np.geomspace(motion.slowest, motion.fastest, _WAVES)
    amplitudes = 1 / cycles**0.5  # power as 1 / f^2, in bands that widen with f
    amplitudes *= np.sqrt(2 / (amplitudes**2).sum())
    waves = amplitudes * np.sin(2 * np.pi * cycles * times[:, None, None] + phases)  # (T, 6, waves)
    noise = waves.sum(axis=-1)  # of mean square 1
    return np.radians(motion.degrees) * noise[:, :3], motion.shift * noise[:, 3:]


def _small_turns(angles: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) about the axes `angles` (T, 3) by their lengths in radians."""
    length = np.linalg.norm(angles, axis=-1)[:, None, None]
    cross = np.zeros((len(angles), 3, 3))
    for row, column, axis, sign in ((0, 1, 2, -1), (0, 2, 1, 1), (1, 2, 0, -1)):
        cross[:, row, column], cross[:, column, row] = sign * angles[:, axis], -sign * angles[:, axis]
    return np.eye(3) + np.sinc(length / np.pi) * cross + 0.5 * np.sinc(length / (2 * np.pi)) ** 2 * cross @ cross


def look_axes(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Camera axes (..., 3, 3), columns right, up and back, of a camera at these angles (...) in radians.

    Back points from the target to the camera; right stays level, so nothing is singular at the poles.
    """
    sin_a, cos_a, sin_e, cos_e = np.sin(azimuth), np.cos(azimuth), np.sin(elevation), np.cos(elevation)
    axes = np.empty((*np.shape(azimuth), 3, 3))
    axes[..., 0, 0], axes[..., 1, 0], axes[..., 2, 0] = -sin_a, cos_a, 0.0
    axes[..., 0, 1], axes[..., 1, 1], axes[..., 2, 1] = -sin_e * cos_a, -sin_e * sin_a, cos_e
    axes[..., 0, 2], axes[..., 1, 2], axes[..., 2, 2] = cos_e * cos_a, cos_e * sin_a, sin_e
    return axes


def spherical_at(view: CameraView, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Azimuth and elevation in radians and distance in scene units about the target, each (T,), at `times` (T,)."""
    azimuth = np.full(len(times), view.azimuth)
    elevation = np.full(len(times), view.elevation)
    distance = np.full(len(times), view.distance)
    for motion in view.motions:
        match motion:
            case Orbit():
                azimuth += motion.degrees * times
            case Oscillation():
                swing = np.sin(2 * np.pi * motion.cycles * times)
                azimuth += motion.azimuth * swing
                elevation += motion.elevation * swing
            case Dolly():
                distance *= 1 + (motion.factor - 1) * times
            case Walk() | Flight() | Pan() | Tilt() | Handheld() | Zoom():
                pass
            case _:
                assert_never(motion)
    return np.radians(azimuth), np.radians(elevation), distance


def object_to_world(obj: Object, frames: int) -> np.ndarray:
    """Poses (frames, 4, 4) that take the normalised mesh to the world; the scale is in them."""
    return object_at(obj, frame_times(frames))


def object_at(obj: Object, times: np.ndarray) -> np.ndarray:
    """Poses (T, 4, 4), scale included, at `times` (T,); a turn about z comes after the orientation."""
    fall = next((motion for motion in obj.motions if isinstance(motion, Fall)), None)
    if fall is not None:
        return _falling_at(fall, obj.scale, times)
    angle = np.radians(obj.yaw + turned_at(obj.motions, times))
    poses = np.zeros((len(times), 4, 4))
    poses[:, 0, 0] = poses[:, 1, 1] = obj.scale * np.cos(angle)
    poses[:, 1, 0] = obj.scale * np.sin(angle)
    poses[:, 0, 1] = -poses[:, 1, 0]
    poses[:, 2, 2] = obj.scale
    if obj.orientation is not UNSET:
        poses[:, :3, :3] = poses[:, :3, :3] @ rotation_matrix(obj.orientation)
    poses[:, :2, 3] = np.asarray(obj.position) + moved_at(obj.motions, times)
    poses[:, 2, 3] = 0.0 if obj.height is UNSET else obj.height
    poses[:, 3, 3] = 1.0
    return poses


def _falling_at(fall: Fall, scale: float, times: np.ndarray) -> np.ndarray:
    stored = np.asarray(fall.poses)
    at = np.clip(times, 0.0, 1.0) * (len(stored) - 1)
    before = np.minimum(np.floor(at).astype(int), max(len(stored) - 2, 0))
    start, end = stored[before], stored[np.minimum(before + 1, len(stored) - 1)]
    end[(start[:, 3:] * end[:, 3:]).sum(axis=1) < 0, 3:] *= -1  # both signs are one rotation
    between = start + (at - before)[:, None] * (end - start)
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, :3, :3] = scale * np.stack([rotation_matrix(turn) for turn in between[:, 3:]])
    poses[:, :3, 3] = between[:, :3]
    return poses


def rotation_matrix(quaternion: Quaternion | np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a quaternion (w, x, y, z)."""
    w, x, y, z = np.asarray(quaternion) / np.linalg.norm(quaternion)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def turned_at(motions: tuple[ObjectMotion, ...], times: np.ndarray) -> np.ndarray:
    """Degrees (T,) that the object has turned since the first frame."""
    return sum((m.degrees for m in motions if isinstance(m, ObjectRotation)), 0.0) * times


def moved_at(motions: tuple[ObjectMotion, ...], times: np.ndarray) -> np.ndarray:
    """Offsets (T, 2) that the object has slid since the first frame."""
    offset = np.zeros((len(times), 2))
    for motion in motions:
        if isinstance(motion, ObjectTranslation):
            progress = (1 - np.cos(2 * np.pi * times)) / 2 if motion.there_and_back else times
            offset += progress[:, None] * np.asarray(motion.offset)
    return offset


def light_rotations(light: SceneLight, motion: LightRotation | None, frames: int) -> np.ndarray:
    """Rotations (frames, 3, 3) about z, environment frame to world frame, as `Environment.rotation` holds them."""
    return light_rotations_at(light, motion, frame_times(frames))


def light_rotations_at(light: SceneLight, motion: LightRotation | None, times: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) about z at `times` (T,)."""
    angle = np.radians(light.yaw + (motion.degrees if motion else 0.0) * times)
    rotations = np.zeros((len(times), 3, 3))
    rotations[:, 0, 0] = rotations[:, 1, 1] = np.cos(angle)
    rotations[:, 1, 0] = np.sin(angle)
    rotations[:, 0, 1] = -rotations[:, 1, 0]
    rotations[:, 2, 2] = 1.0
    return rotations


def intrinsics(view: CameraView, render: RenderSettings) -> np.ndarray:
    """Pinhole intrinsics (3, 3) in pixels of the first frame; `view.fov` spans the larger image side."""
    return intrinsics_from_fov(view.fov, render.height, render.width)


def zoom_at(motions: tuple[CameraMotion, ...], times: np.ndarray) -> np.ndarray:
    """Focal length (T,) at `times` (T,), relative to the first frame."""
    gently = times * times * (3 - 2 * times)
    factor = np.ones(len(times))
    for motion in motions:
        if isinstance(motion, Zoom):
            factor *= motion.factor**gently
    return factor


def camera_of(view: CameraView, render: RenderSettings, frames: int) -> Camera:
    """The camera of a clip; its intrinsics are (3, 3), or (frames, 3, 3) where it zooms."""
    lens, zoom = intrinsics(view, render), zoom_at(view.motions, frame_times(frames))
    if np.ptp(zoom) > 0:
        lens = np.repeat(lens[None], frames, axis=0)
        lens[:, [0, 1], [0, 1]] *= zoom[:, None]
    return Camera(lens, camera_to_world(view, frames))


def within_fov(fov: np.ndarray, motions: tuple[CameraMotion, ...], rules: CameraRules) -> np.ndarray:
    """(C,): which fields of view (C,) of a first frame stay within `camera.fov`, where that is a range."""
    low, high = support(rules.fov)
    last = 2 * np.degrees(np.arctan(np.tan(np.radians(fov) / 2) / zoom_at(motions, np.ones(1))))
    return (last >= low) & (last <= high) | (low == high)


def motion_names(spec: SceneSpec) -> tuple[str, ...]:
    """Names of the motions in a scene, sorted, each once: the `motions` of its manifest rows."""
    names = {str(motion.__struct_config__.tag) for motion in spec.view.motions}
    names |= {str(motion.__struct_config__.tag) for obj in spec.objects for motion in obj.motions}
    if spec.light_motion is not None:
        names.add("light_rotation")
    return tuple(sorted(names))


# --- draws ---------------------------------------------------------------------------------------------------


def draw_names(rules: MotionRules, rng: np.random.Generator, setting: str = "table") -> frozenset[str]:
    """Names of the motions that happen: each by its own probability; if none came up, one by the same weights.

    Only those that the recipe has and that suit the setting. Empty only if every probability is 0.
    """
    suited = SUITED_MOTIONS[setting]
    names = [name for name in MotionRules.__struct_fields__ if getattr(rules, name) is not UNSET and name in suited]
    weights = np.array([getattr(rules, name).probability for name in names])
    happens = rng.random(len(names)) < weights
    if not happens.any() and weights.any():
        happens[int(rng.choice(len(names), p=weights / weights.sum()))] = True
    return frozenset(name for name, does in zip(names, happens, strict=True) if does)


def draw_turns(rules: MotionRules, names: frozenset[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Degrees (count,) that each thing turns, either way round; 0 for those that do not."""
    degrees = draw_many(rules.object_rotation.degrees, rng, count) * _signs(rng, count)
    return degrees * _joins(rules.object_rotation.share, "object_rotation" in names, count, rng)


def draw_slides(rules: MotionRules, names: frozenset[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths (count,) that each thing slides; 0 for those that stand still."""
    distance = draw_many(rules.object_translation.distance, rng, count)
    return distance * _joins(rules.object_translation.share, "object_translation" in names, count, rng)


def draw_camera(rules: MotionRules, names: frozenset[str], rng: np.random.Generator) -> tuple[CameraMotion, ...]:
    """Motions of the camera about its target."""
    sign = _signs(rng, 3)
    orbit = Orbit(degrees=draw(rules.orbit.degrees, rng) * sign[0])
    oscillation = Oscillation(
        azimuth=draw(rules.oscillation.azimuth, rng) * sign[1],
        elevation=draw(rules.oscillation.elevation, rng) * sign[2],
        cycles=draw(rules.oscillation.cycles, rng),
    )
    dolly = Dolly(factor=draw(rules.dolly.factor, rng))
    drawn: dict[str, CameraMotion] = {"orbit": orbit, "oscillation": oscillation, "dolly": dolly}
    return tuple(motion for name, motion in drawn.items() if name in names)


def draw_handling(
    rules: MotionRules, names: frozenset[str], seconds: float, rng: np.random.Generator
) -> tuple[CameraMotion, ...]:
    """What carries, turns, shakes and zooms a camera in a clip that lasts `seconds`."""
    drawn: list[CameraMotion] = []
    if rules.walk is not UNSET:
        walk = Walk(
            distance=round(draw(rules.walk.speed, rng) * seconds, 6),
            heading=draw(rules.walk.heading, rng),
            turn=draw(rules.walk.turn, rng) * _signs(rng, 1)[0],
            steps=round(draw(rules.walk.steps, rng) * seconds, 6),
            bob=draw(rules.walk.bob, rng),
            sway=draw(rules.walk.sway, rng) * _signs(rng, 1)[0],
        )
        drawn.append(walk)
    if rules.flight is not UNSET:
        flight = Flight(
            distance=round(draw(rules.flight.speed, rng) * seconds, 6),
            heading=draw(rules.flight.heading, rng) * _signs(rng, 1)[0],
            turn=draw(rules.flight.turn, rng) * _signs(rng, 1)[0],
            rise=round(draw(rules.flight.climb, rng) * seconds, 6),
        )
        drawn.append(flight)
    if rules.pan is not UNSET:
        drawn.append(Pan(degrees=draw(rules.pan.degrees, rng) * _signs(rng, 1)[0]))
    if rules.tilt is not UNSET:
        drawn.append(Tilt(degrees=draw(rules.tilt.degrees, rng) * _signs(rng, 1)[0]))
    if rules.handheld is not UNSET:
        handheld = Handheld(
            seed=int(rng.integers(2**32)),
            degrees=draw(rules.handheld.degrees, rng),
            shift=draw(rules.handheld.shift, rng),
            slowest=round(draw(rules.handheld.slowest, rng) * seconds, 6),
            fastest=round(draw(rules.handheld.fastest, rng) * seconds, 6),
        )
        drawn.append(handheld)
    if rules.zoom is not UNSET:
        drawn.append(Zoom(factor=draw(rules.zoom.factor, rng)))
    return tuple(motion for motion in drawn if str(motion.__struct_config__.tag) in names)


def clip_seconds(frames: int, fps: float) -> float:
    """From the first frame of a clip to its last; a single frame counts as long as it is shown."""
    return max(frames - 1, 1) / fps


def draw_light(rules: MotionRules, names: frozenset[str], rng: np.random.Generator) -> LightRotation | None:
    """Turn of the environment, either way round, or None."""
    motion = LightRotation(degrees=draw(rules.light_rotation.degrees, rng) * _signs(rng, 1)[0])
    return motion if "light_rotation" in names else None


def _signs(rng: np.random.Generator, count: int) -> list[float]:
    return [1.0 if up else -1.0 for up in rng.random(count) < 0.5]


def _joins(share: float, happens: bool, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which things take part: each by `share`, at least the first."""
    joins = rng.random(count) < share
    joins[0] |= not joins.any()
    return joins & happens
