"""What a film shows, as far as it is known or can be estimated: what is put into it is placed and lit by that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from editing.film import Film, Waiting
from editing.output import stored_light
from editing.relighting import estimated
from editing.settings import FilmRenderers, FilmSettings
from editing.support import floor_up
from labeling.cameras.clip_depth import clip_depth, scaled_depth
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.color import luminance, srgb_decode
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers.light.key_light import with_key_light
from renderers.lighting_estimator import Estimator
from renderers.modelspace import channels_last, planar, relative_depth
from renderers.sampling.windows import plan_windows
from renderers.shading.split_sum import matching_exposure
from renderers.shading.view_geometry import depth_offset, pinhole, plane_rays, surface_coverage

_MOST_PIXELS = 1 << 28
_MOVES = 1e-6
_COLOURED = 0.6
"""Of the colour that light seems to have."""


@dataclass(frozen=True, eq=False)
class FilmScene:
    """What a film shows, at the size (h, w) that the networks see.

    Attributes:
        frames: the film's own, (H, W, 3) uint8 sRGB, and the seconds at which each is shown.
        arrays: (T, h, w, C) by name: the G-buffers, `mask`, and `instance` where it is known; depth is in the units of
            the camera's poses, +inf for background.
        range: depths that the networks see as 0 and 1, the same before and after.
        camera: intrinsics for (h, w), and a pose per frame.
        light: in the camera's world; `exposure` takes it to the film's brightness.
        level: whether the world's z is up; else only the camera's up is known.
        measured: whether depth and normals are exact, and no estimates.
        said: lines for people: what was known and what was assumed.
        points: (N, 3) corners in the world, of a camera that was solved and moves.
    """

    frames: Waiting
    arrays: Mapping[str, np.ndarray]
    range: tuple[float, float]
    camera: Camera
    light: Environment
    exposure: float
    level: bool
    measured: bool
    said: tuple[str, ...]
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


def read_scene(film: Film, settings: FilmSettings, renderers: FilmRenderers) -> FilmScene:
    """The film's frames with its true G-buffers, camera and light where it is a clip that has them, else estimates.

    The whole film is held in memory.
    """
    if film.frames * film.size[0] * film.size[1] > _MOST_PIXELS:
        most = _MOST_PIXELS // (film.size[0] * film.size[1])
        raise InputError(
            f"{film.frames} frames of this size do not fit in memory", f"cut it to {most}", where=film.name
        )
    clip, frames = film.clip, Waiting()
    known = clip is not None and clip.camera is not None and all(name in clip.arrays for name in GBUFFERS)
    size = film.size if known else renderers.seen_size(film)
    seen = next(iter(film.pieces(plan_windows(film.frames, film.frames, 0), size, frames))).seen
    if known:
        assert clip is not None
        assert clip.camera is not None
        return _known(frames, seen, clip, clip.camera, renderers)
    return _estimated(frames, seen, film, settings, renderers)


def _known(frames: Waiting, seen: np.ndarray, clip: Clip, camera: Camera, renderers: FilmRenderers) -> FilmScene:
    """A clip of a dataset, synthetic or labelled."""
    arrays = {name: clip.arrays[name] for name in (*GBUFFERS, "mask", "instance") if name in clip.arrays}
    moves = float(np.ptp(camera.camera_to_world[:, :3, 3], axis=0).max()) > _MOVES
    measured, own = clip.meta.get("depth") != "relative", clip.depth_range
    if not measured and moves and own is None:
        raise InputError(
            "its depth is relative and its camera moves, so the size of a step is not known", where=clip.key
        )
    said = ["G-buffers  the clip's own" + ("" if measured else ", estimates")]
    known = measured or clip.meta.get("camera") in ("known", "solved")
    said.append("camera     the clip's own poses" if known else "camera     assumed to stand still and level")
    if measured:
        arrays.setdefault("mask", np.isfinite(arrays["depth"]).astype(np.float32))
        near, far = (float(part) for part in relative_depth(planar(arrays["depth"]))[1:])
        scale = near, max(far, near + 1e-6)
    elif own is not None:
        arrays["mask"] = channels_last(_coverage(arrays))
        depth = own[0] + (own[1] - own[0]) * arrays["depth"]
        arrays["depth"] = np.where(arrays["mask"] > 0.5, depth, np.inf).astype(np.float32)
        scale = own
    else:
        arrays, scale = estimates_with_distance(arrays, camera.intrinsics)
    if clip.environment is not None:
        said.append("light      the clip's own")
        return FilmScene(frames, arrays, scale, camera, clip.environment, clip.exposure, known, measured, tuple(said))
    said.append("light      estimated")
    light = _estimated_light(seen, arrays, relative(arrays, scale), camera, known, renderers.estimator)
    return FilmScene(frames, arrays, scale, camera, light, 1.0, known, measured, tuple(said))


def _estimated(
    frames: Waiting, seen: np.ndarray, film: Film, settings: FilmSettings, renderers: FilmRenderers
) -> FilmScene:
    """A video, of which nothing is known."""
    maps = estimated(seen, renderers.inverse, settings)
    size = seen.shape[1], seen.shape[2]
    moving = _in_steps(film, size, maps)
    if moving is None:
        camera, about = film.steadfast_camera(size, settings.fov)
        arrays, scale = estimates_with_distance(maps, camera.intrinsics)
        unit = "the depth of the scene"
    else:
        camera, arrays, scale, about = moving
        unit = "the median distance of corners from the first camera"
    light = _estimated_light(seen, arrays, maps, camera, film.level, renderers.estimator)
    said = (f"G-buffers  estimated; one unit of length is {unit}", f"camera     {about}", "light      estimated")
    points = np.zeros((0, 3)) if moving is None else film.points
    return FilmScene(frames, arrays, scale, camera, light, 1.0, film.level, False, said, points)


def _in_steps(
    film: Film, size: tuple[int, int], maps: Mapping[str, np.ndarray]
) -> tuple[Camera, dict[str, np.ndarray], tuple[float, float], str] | None:
    """A moving camera with its steps, the maps with depth in their unit, its range, and what is known, for people."""
    intrinsics = film.intrinsics(size)
    if film.camera is None or intrinsics is None or not len(film.points):
        return None
    camera = Camera(intrinsics, film.camera.camera_to_world)
    found = clip_depth(maps["depth"][..., 0], camera, film.points)
    if found is None:
        distance = estimates_with_distance(maps, camera.intrinsics)[0]["depth"][..., 0]
        found = scaled_depth(distance, camera, film.points)
    if found is None:
        return None
    depth, error = found
    covered = channels_last(_coverage(maps))
    depth = np.where(covered > 0.5, depth[..., None], np.float32(np.inf))
    near, far = (float(value) for value in np.percentile(depth[np.isfinite(depth)], (0, 100)))
    about = "; ".join(film.camera_said) + f": followed; depth is off by {np.median(error):.0%} at its corners"
    return camera, {**maps, "depth": depth, "mask": covered}, (near, max(far, near + 1e-6)), about


def _coverage(arrays: Mapping[str, np.ndarray]) -> Tensor:
    if "mask" in arrays:
        return planar(arrays["mask"])
    return surface_coverage(*(planar(arrays[name]) for name in ("depth", "basecolor", "normal")))


def estimates_with_distance(
    arrays: Mapping[str, np.ndarray], intrinsics: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[float, float]]:
    """Estimates (T, h, w, C) by name whose relative depth has become distance in units of its range; that range.

    Background is at +inf.
    """
    values = {name: planar(arrays[name]) for name in ("depth", "normal")}
    covered = _coverage(arrays)
    height, width = arrays["depth"].shape[1:3]
    rays = plane_rays(height, width, pinhole(0.0, intrinsics, height, width, len(arrays["depth"])))
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
    video: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray],
    camera: Camera,
    level: bool,
    estimator: Estimator,
) -> Environment:
    """Light of the video (T, h, w, 3), in the camera's world, as bright as the video says.

    arrays: G-buffers and mask with depth as distance; `seen` the same as networks see them.
    """  # fmt: skip
    turns, pose = camera.camera_to_world[:, :3, :3], camera.camera_to_world[0]
    found = estimator(video, seen, intrinsics=camera.intrinsics, camera_rotations=turns[0].T @ turns)
    first = {name: values[0] for name, values in arrays.items()}
    height, width = video.shape[1:3]
    middle = width // 2, 2 * height // 3
    up = np.array([0.0, 0.0, 1.0]) if level else floor_up(camera, first["normal"], first["mask"], middle)
    keyed = with_key_light(
        np.asarray(found.environment), video[0], first, camera.frame_intrinsics[0], pose[:3, :3].T @ up
    )
    image = stored_light(keyed, pose)
    light = Environment(image, np.tile(np.eye(3), (camera.frames, 1, 1)))
    lens = {"camera_to_world": camera.camera_to_world, "intrinsics": camera.intrinsics}
    exposure = np.float32(matching_exposure(video, seen, light, **lens))
    return replace(light, image=image * exposure * _tint(video, seen))


def _tint(video: np.ndarray, gbuffers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Colour (3,) of luminance 1 that light seems to have: of the picture (T, h, w, 3) over its base colour, in part.

    The estimated light has next to none of its own; base colour swallows some of it too.
    """
    seen, own = video[:1].astype(np.float32), gbuffers["basecolor"][:1]
    covered = channels_last(_coverage({name: gbuffers[name][:1] for name in gbuffers}))[..., 0]
    clear = (covered > 0.5) & (seen.max(axis=-1) < 0.97) & (own.min(axis=-1) > 0.03)
    if clear.sum() < 100:
        return np.ones(3, dtype=np.float32)
    colour = np.median(srgb_decode(seen[clear]) / own[clear], axis=0) ** _COLOURED
    return np.asarray(colour / max(float(luminance(colour)), 1e-6), dtype=np.float32)
