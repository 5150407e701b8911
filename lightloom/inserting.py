"""`lightloom insert`: a film with all that is known or estimated of it, and an object that is put into it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from datagen.insertion import Insert, render_insert
from lightloom.commands.rendering import Rendering
from lightloom.films import Film
from lightloom.footage import VideoWriter
from lightloom.lights import LEVEL_CAMERA
from lightloom.relighting import Settings, generator, seen_size, stored
from lightloom.weights import load_estimator, load_inverse
from manifests.atomic import write_bytes
from manifests.attributes import GBUFFERS
from manifests.camera import Camera, intrinsics_from_fov
from manifests.clip import Clip
from manifests.codecs import encode_clip
from manifests.environment import Environment
from manifests.errors import LightloomError
from renderers import ForwardRenderer
from renderers.edits.insertion import Stand, blend, composite, ground_up, stand
from renderers.edits.relight import matching_exposure, resized
from renderers.geometry import depth_offset, plane_rays, surface_coverage
from renderers.modelspace import channels_last, planar, relative_depth
from renderers.windows import plan_windows

_MOST_PIXELS = 1 << 28
_STILL = 1e-6


class InsertError(LightloomError):
    """An object that cannot be put where it was asked for, or a film that cannot take one."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What a film shows, at the size (h, w) that the networks see.

    Attributes:
        rgb: (T, H, W, 3) the film's own frames, sRGB in [0, 1].
        arrays: (T, h, w, C) by name: the G-buffers, `mask`, and `instance` where it is known; depth is in the units of
            the camera's poses, +inf for background.
        range: depths that the networks see as 0 and 1, the same before and after.
        camera: intrinsics for (h, w), and a pose a frame.
        light: in the camera's world; `exposure` takes it to the film's brightness.
        level: whether the world's z is up; else only the camera's up is known.
        said: lines for people: what was known and what was assumed.
    """

    rgb: np.ndarray
    arrays: Mapping[str, np.ndarray]
    range: tuple[float, float]
    camera: Camera
    light: Environment
    exposure: float
    level: bool
    said: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where and how: `at` is a pixel (x, y) of the film's first frame; see `renderers.edits.insertion.stand`."""

    at: tuple[int, int]
    scale: float | None = None
    rotate: float = 0.0
    distance: float | None = None


@dataclass(frozen=True, eq=False)
class Put:
    """video: (T, H, W, 3) sRGB. arrays: the scene's with the object. coverage: of the object (T, h, w, 1)."""

    video: np.ndarray
    arrays: Mapping[str, np.ndarray]
    coverage: np.ndarray
    stand: Stand


def read_scene(film: Film, settings: Settings, weights: Rendering) -> Scene:
    """The film's frames with its true G-buffers, camera and light where it is a clip that has them, else estimates.

    `weights` has the checkpoints `inverse` and `lighting`, and the `device`. The whole film is held in memory.
    """
    if film.frames * film.size[0] * film.size[1] > _MOST_PIXELS:
        most = _MOST_PIXELS // (film.size[0] * film.size[1])
        raise InsertError(f"{film.name}: {film.frames} frames of this size do not fit in memory; cut it to {most}")
    rgb = next(iter(film.pieces(plan_windows(film.frames, film.frames, 0)))).rgb
    clip = film.clip
    if clip is not None and clip.camera is not None and all(name in clip.arrays for name in GBUFFERS):
        return _known(rgb, clip, clip.camera, weights)
    return _estimated(rgb, film, settings, weights)


def put(scene: Scene, asset: Insert, place: Place, forward: ForwardRenderer, settings: Settings, scratch: Path) -> Put:
    """Put the asset into the scene and render it there; Blender works in `scratch`. Raises InsertError, RenderError."""
    height, width = scene.arrays["depth"].shape[1:3]
    x = int((place.at[0] + 0.5) * width / scene.rgb.shape[2])  # a pixel of the film as one of the networks' picture
    y = int((place.at[1] + 0.5) * height / scene.rgb.shape[1])
    if not (0 <= x < width and 0 <= y < height):
        size = f"{scene.rgb.shape[2]}x{scene.rgb.shape[1]}"
        raise InsertError(f"pixel {place.at[0]},{place.at[1]} is outside of the picture of {size} pixels")
    depth, normal = scene.arrays["depth"][0, ..., 0], scene.arrays["normal"][0]
    up = np.array([0.0, 0.0, 1.0]) if scene.level else ground_up(scene.camera, normal, (x, y))
    where = stand(scene.camera, depth, (x, y), up, scale=place.scale, rotate=place.rotate, distance=place.distance)
    alone = render_insert(asset, scene.camera, (height, width), where.object_to_world, scratch)
    arrays, coverage = composite(scene.arrays, alone.arrays)
    if not coverage.max() > 0:
        raise InsertError(f"the object at {place.at[0]},{place.at[1]} is hidden in every frame; choose another pixel")
    made = [
        np.asarray(
            forward(
                relative(values, scene.range),
                scene.light,
                camera_to_world=scene.camera.camera_to_world,
                intrinsics=scene.camera.intrinsics,
                exposure=scene.exposure * (settings.exposure or 1.0),
                steps=settings.steps,
                window=settings.window,
                overlap=settings.overlap,
                generator=generator(settings),
            ).video
        )
        for values in (scene.arrays, arrays)
    ]
    full = (scene.rgb.shape[1], scene.rgb.shape[2])
    before, after, own, surface = (resized(part, full) for part in (*made, coverage, scene.arrays["mask"]))
    return Put(blend(scene.rgb, before, after, own, surface), arrays, coverage, where)


def insert_into(
    film: Film,
    asset: Insert,
    place: Place,
    forward: ForwardRenderer,
    out: Path,
    settings: Settings,
    weights: Rendering,
    gbuffers: Path | None = None,
) -> list[str]:
    """Write the film with the asset in it to `out`, and its G-buffers to the folder `gbuffers`; lines for people."""
    scene = read_scene(film, settings, weights)
    with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch:
        result = put(scene, asset, place, forward, settings, Path(scratch))
    with VideoWriter(out, film.size, film.fps) as video:
        for frame in result.video:
            video.write(frame)
    x, y, z = result.stand.position
    share = 100 * float((result.coverage > 0).any(axis=-1).mean())
    lines = [
        *scene.said,
        f"object     {asset.mesh.uid} at ({x:.3g}, {y:.3g}, {z:.3g}), longest side {result.stand.scale:.3g}; "
        f"covers {share:.1f} % of the picture",
        str(out),
    ]
    if gbuffers is not None:
        clip = Clip("inserted", result.arrays, scene.camera, scene.light, film.fps, scene.exposure)
        for suffix, data in encode_clip(clip, "exact")[0].items():
            gbuffers.mkdir(parents=True, exist_ok=True)
            write_bytes(gbuffers / f"inserted.{suffix}", data)
        lines.append(str(gbuffers))
    return lines


def _known(rgb: np.ndarray, clip: Clip, camera: Camera, weights: Rendering) -> Scene:
    """A clip of a dataset, synthetic or labelled."""
    arrays = {name: clip.arrays[name] for name in (*GBUFFERS, "mask", "instance") if name in clip.arrays}
    moves = float(np.ptp(camera.camera_to_world[:, :3, 3], axis=0).max()) > _STILL
    measured = clip.meta.get("depth") != "relative"
    if not measured and moves:
        raise InsertError(f"{clip.key}: its depth is relative and its camera moves, so the size of a step is not known")
    said = ["G-buffers  the clip's own" + ("" if measured else ", estimates")]
    known = measured or clip.meta.get("camera") == "known"
    said.append("camera     the clip's own poses" if known else "camera     assumed to stand still and level")
    if measured:
        arrays.setdefault("mask", np.isfinite(arrays["depth"]).astype(np.float32))
        near, far = (float(part) for part in relative_depth(planar(arrays["depth"]))[1:])
        scale = near, max(far, near + 1e-6)
    else:
        arrays, scale = _with_distance(arrays, camera.intrinsics)
    if clip.environment is not None:
        said.append("light      the clip's own")
        return Scene(rgb, arrays, scale, camera, clip.environment, clip.exposure, known, tuple(said))
    said.append("light      estimated")
    light = _estimated_light(rgb, relative(arrays, scale), camera, weights)
    return Scene(rgb, arrays, scale, camera, light, 1.0, known, tuple(said))


def _estimated(rgb: np.ndarray, film: Film, settings: Settings, weights: Rendering) -> Scene:
    """A video, of which nothing is known."""
    size = seen_size(film.size, settings.side)
    shown = resized(rgb, size)
    inverse = load_inverse(weights.inverse, weights.device)
    found = inverse(
        shown, steps=settings.steps, window=settings.window, overlap=settings.overlap, generator=generator(settings)
    )
    assert not isinstance(found, list)
    poses = np.repeat(LEVEL_CAMERA[None], film.frames, axis=0)
    camera = Camera(intrinsics_from_fov(settings.fov_degrees, *size), poses)
    maps = {name: np.asarray(value) for name, value in found.gbuffers.items()}
    light = _estimated_light(shown, maps, camera, weights)
    arrays, scale = _with_distance(maps, camera.intrinsics)
    said = (
        "G-buffers  estimated; one unit of length is the depth of the scene",
        f"camera     assumed to stand still, with a field of view of {settings.fov_degrees:g} degrees (--fov): "
        "where it moves, the object does not move along",
        "light      estimated",
    )
    return Scene(rgb, arrays, scale, camera, light, 1.0, False, said)


def _with_distance(
    arrays: Mapping[str, np.ndarray], intrinsics: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[float, float]]:
    """Relative depth as distance, in units of its own range, and that range; background is at +inf."""
    values = {name: planar(arrays[name]) for name in ("depth", "normal", "basecolor")}
    covered = (
        planar(arrays["mask"])
        if "mask" in arrays
        else surface_coverage(values["depth"], values["basecolor"], values["normal"])
    )
    height, width = arrays["depth"].shape[1:3]
    rays = plane_rays(height, width, torch.from_numpy(intrinsics))
    offset = float(depth_offset(values["depth"], values["normal"], rays, covered)[0])
    mask = channels_last(covered)
    depth = np.where(mask > 0.5, arrays["depth"] + np.float32(offset), np.float32(np.inf))
    return {**arrays, "depth": depth.astype(np.float32), "mask": mask}, (offset, offset + 1.0)


def relative(arrays: Mapping[str, np.ndarray], range_: tuple[float, float]) -> dict[str, np.ndarray]:
    """G-buffers and mask as the forward renderer takes them, depth within the range as [0, 1]."""
    near, far = range_
    depth = np.clip((arrays["depth"] - near) / (far - near), 0.0, 1.0).astype(np.float32)
    return {**{name: arrays[name] for name in (*GBUFFERS, "mask")}, "depth": depth}


def _estimated_light(
    video: np.ndarray, gbuffers: Mapping[str, np.ndarray], camera: Camera, weights: Rendering
) -> Environment:
    """Light of the video (T, h, w, 3), in the camera's world, as bright as the video says."""
    turns = camera.camera_to_world[:, :3, :3]
    found = load_estimator(weights.lighting, weights.device)(
        video, gbuffers, intrinsics=camera.intrinsics, camera_rotations=turns[0].T @ turns
    )
    image = stored(np.asarray(found.environment), camera.camera_to_world[0])
    light = Environment(image, np.tile(np.eye(3), (camera.frames, 1, 1)))
    lens = {"camera_to_world": camera.camera_to_world, "intrinsics": camera.intrinsics}
    return replace(light, image=image * np.float32(matching_exposure(video, gbuffers, light, **lens)))
