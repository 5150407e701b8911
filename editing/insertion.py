"""`lightloom insert`: an object put into a film, lit by its light, throwing its shadow.

Read what is known of the film or estimate it, stand the object there, let Blender render its G-buffers alone, put them
among the film's, render both with the forward renderer, and blend.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from datagen.insert_render import Insert, find_asset, render_insert
from editing.film import Film, Waiting, film_writer, open_film, resized
from editing.light_change import FLOOR
from editing.output import stored_light
from editing.relighting import estimated
from editing.settings import DEFAULT, FilmRenderers, FilmSettings
from manifests.codec.codecs import encode_clip
from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.contract.environment import Environment
from manifests.errors import InputError
from manifests.files import write_bytes
from renderers.lighting_estimator import Estimator
from renderers.modelspace import channels_last, planar, relative_depth
from renderers.sampling.windows import plan_windows
from renderers.shading.split_sum import matching_exposure
from renderers.shading.view_geometry import depth_offset, pinhole, plane_rays, surface_coverage
from scenes.catalogue import Catalogue
from scenes.providers.builtin import builtin_catalogue

SHARE = 0.25
"""Without a scale, the object's longest side would span this share of the picture's smaller side, where it stands."""

STILL = 0.03
"""Changes of light below this share are the network's own flicker; they leave the video as it is."""

_STRONGEST = 4.0
_TILT = np.cos(np.radians(60.0))
_PATCH = 2
_WHOLE = 0.99
_CLOSE = 3.0
_MOST_PIXELS = 1 << 28
_MOVES = 1e-6


@dataclass(frozen=True, eq=False)
class InsertionReport:
    """What `insert` made.

    Attributes:
        written: paths, the film first.
        said: lines for people: what was known of the film and what was assumed.
        placed: what stands where, how large, and how much of the picture it covers, for people.
        stand: where it stands.
    """

    written: list[Path]
    said: tuple[str, ...]
    placed: str
    stand: Stand


def insert(
    film: str | Path | Film,
    asset: str | Path | Insert,
    at: tuple[int, int],
    out: str | Path,
    *,
    scale: float | None = None,
    rotate: float = 0.0,
    depth: float | None = None,
    catalogue: str | Path | Catalogue | None = None,
    gbuffers: str | Path | None = None,
    settings: FilmSettings = DEFAULT,
    renderers: FilmRenderers | None = None,
) -> InsertionReport:
    """Put an object into a film: it stands on what the first frame shows at a pixel, in the film's own light.

        insert("cat.mp4", "chair.glb", (320, 400), "out/chair.mp4")

    The whole film is held in memory; Blender works in a process of its own.

    Args:
        film: video file, picture, folder of frames, or an open Film, which is read to its end; or a dataset clip as
            "DATASET:KEY", whose true G-buffers, camera and light are used.
        asset: mesh file (.glb, .gltf, .obj, .fbx, .usd), or uid of a mesh of the catalogue.
        at: pixel (x, y) of the first frame, from the top left.
        out: the .mp4 to write; of one frame, a .png or .jpg too.
        scale: length of the longest side in scene units; a quarter of the picture at that depth, if not given.
        rotate: degrees about the upright axis.
        depth: distance along the viewing axis to stand at, in place of what is seen at the pixel.
        catalogue: a catalogue, or its Parquet file; the built-in one if not given.
        gbuffers: folder for the G-buffers with the object, as a clip of exact codec.
        settings: which renderers, and how.
        renderers: loaded ones, to be used again; those of `settings` if not given.

    Raises:
        InputError: for what cannot be read or written, and for a place where nothing can stand.
        RenderError: where Blender cannot import or render the asset.
        CheckpointError: for renderers that cannot be had.
        DiskFull: nothing half-written stays behind.
    """
    renderers = renderers or FilmRenderers(settings)
    renderers.require("forward")  # before anything is read
    if not isinstance(asset, Insert):
        if not isinstance(catalogue, Catalogue):
            catalogue = builtin_catalogue() if catalogue is None else Catalogue.load(Path(catalogue))
        asset = find_asset(str(asset), catalogue)
    with open_film(film) as opened:
        opened.find_camera(settings.camera, settings.fov, Path(out))
        if opened.clip is None:
            renderers.require("inverse")
        else:
            renderers = renderers.without_lora()
        scene = read_scene(opened, settings, renderers)
        with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch:
            made = put(scene, asset, Place(at, scale, rotate, depth), renderers, settings, Path(scratch))
        with film_writer(Path(out), opened) as video:
            for frame, (_, seconds) in zip(made.video, scene.frames, strict=True):
                video.write(frame, seconds)
    written = [Path(out)]
    if gbuffers is not None:
        clip = Clip("inserted", made.arrays, scene.camera, scene.light, opened.fps, scene.exposure)
        Path(gbuffers).mkdir(parents=True, exist_ok=True)
        for suffix, data in encode_clip(clip, "exact")[0].items():
            write_bytes(Path(gbuffers) / f"inserted.{suffix}", data)
        written.append(Path(gbuffers))
    x, y, z = made.stand.position
    covered = 100 * float((made.coverage > 0).any(axis=-1).mean())
    placed = (
        f"{asset.mesh.uid} at ({x:.3g}, {y:.3g}, {z:.3g}), longest side {made.stand.scale:.3g}; "
        f"covers {covered:.1f} % of the picture"
    )
    return InsertionReport(written, scene.said, placed, made.stand)


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
        said: lines for people: what was known and what was assumed.
    """

    frames: Waiting
    arrays: Mapping[str, np.ndarray]
    range: tuple[float, float]
    camera: Camera
    light: Environment
    exposure: float
    level: bool
    said: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where and how: `at` is a pixel (x, y) of the film's first frame; see `editing.insertion.stand`."""

    at: tuple[int, int]
    scale: float | None = None
    rotate: float = 0.0
    distance: float | None = None


@dataclass(frozen=True, eq=False)
class Put:
    """video: frames (H, W, 3) sRGB, once. arrays: the scene's with the object. coverage: of the object (T, h, w, 1)."""

    video: Iterator[np.ndarray]
    arrays: Mapping[str, np.ndarray]
    coverage: np.ndarray
    stand: Stand


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


def put(
    scene: FilmScene, asset: Insert, place: Place, renderers: FilmRenderers, settings: FilmSettings, scratch: Path
) -> Put:
    """Put the asset into the scene and render it there; Blender works in `scratch`. Raises InputError, RenderError."""
    height, width = scene.arrays["depth"].shape[1:3]
    full = scene.frames[0][0].shape[:2]
    x = int((place.at[0] + 0.5) * width / full[1])  # a pixel of the film as one of the networks' picture
    y = int((place.at[1] + 0.5) * height / full[0])
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel {place.at[0]},{place.at[1]} is outside of the picture of {full[1]}x{full[0]} pixels")
    depth, normal = scene.arrays["depth"][0, ..., 0], scene.arrays["normal"][0]
    up = np.array([0.0, 0.0, 1.0]) if scene.level else ground_up(scene.camera, normal, (x, y))
    where = stand(scene.camera, depth, (x, y), up, scale=place.scale, rotate=place.rotate, distance=place.distance)
    alone = render_insert(asset, scene.camera, (height, width), where.object_to_world, scratch)
    arrays, coverage = composite(scene.arrays, alone.arrays)
    if not coverage.max() > 0:
        raise InputError(f"the object at {place.at[0]},{place.at[1]} is hidden in every frame", "choose another pixel")
    made = [
        np.asarray(
            renderers.forward(
                relative(values, scene.range),
                scene.light,
                camera_to_world=scene.camera.camera_to_world,
                intrinsics=scene.camera.intrinsics,
                exposure=scene.exposure * (settings.exposure or 1.0),
                **settings.sampling(renderers.forward.backbone),
            ).video
        )
        for values in (scene.arrays, arrays)
    ]
    video = _blended(scene.frames, [*made, coverage, scene.arrays["mask"]])
    return Put(video, arrays, coverage, where)


def _blended(frames: Waiting, parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """`blend` frame by frame at the film's own size; `parts` (T, h, w, C) are its other arguments."""
    for index, (frame, _) in enumerate(frames):
        large = (resized(part[index : index + 1], frame.shape[:2]) for part in parts)
        yield blend(frame[None].astype(np.float32) / 255, *large)[0]


def _known(frames: Waiting, seen: np.ndarray, clip: Clip, camera: Camera, renderers: FilmRenderers) -> FilmScene:
    """A clip of a dataset, synthetic or labelled."""
    arrays = {name: clip.arrays[name] for name in (*GBUFFERS, "mask", "instance") if name in clip.arrays}
    moves = float(np.ptp(camera.camera_to_world[:, :3, 3], axis=0).max()) > _MOVES
    measured = clip.meta.get("depth") != "relative"
    if not measured and moves:
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
    else:
        arrays, scale = _with_distance(arrays, camera.intrinsics)
    if clip.environment is not None:
        said.append("light      the clip's own")
        return FilmScene(frames, arrays, scale, camera, clip.environment, clip.exposure, known, tuple(said))
    said.append("light      estimated")
    light = _estimated_light(seen, relative(arrays, scale), camera, renderers.estimator)
    return FilmScene(frames, arrays, scale, camera, light, 1.0, known, tuple(said))


def _estimated(
    frames: Waiting, seen: np.ndarray, film: Film, settings: FilmSettings, renderers: FilmRenderers
) -> FilmScene:
    """A video, of which nothing is known."""
    maps = estimated(seen, renderers.inverse, settings)
    camera, about = film.steadfast_camera((seen.shape[1], seen.shape[2]), settings.fov)
    light = _estimated_light(seen, maps, camera, renderers.estimator)
    arrays, scale = _with_distance(maps, camera.intrinsics)
    said = (
        "G-buffers  estimated; one unit of length is the depth of the scene",
        f"camera     {about}",
        "light      estimated",
    )
    return FilmScene(frames, arrays, scale, camera, light, 1.0, False, said)


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
    video: np.ndarray, gbuffers: Mapping[str, np.ndarray], camera: Camera, estimator: Estimator
) -> Environment:
    """Light of the video (T, h, w, 3), in the camera's world, as bright as the video says."""
    turns = camera.camera_to_world[:, :3, :3]
    found = estimator(video, gbuffers, intrinsics=camera.intrinsics, camera_rotations=turns[0].T @ turns)
    image = stored_light(np.asarray(found.environment), camera.camera_to_world[0])
    light = Environment(image, np.tile(np.eye(3), (camera.frames, 1, 1)))
    lens = {"camera_to_world": camera.camera_to_world, "intrinsics": camera.intrinsics}
    return replace(light, image=image * np.float32(matching_exposure(video, gbuffers, light, **lens)))


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
        raise InputError(
            f"no surface is seen at pixel {x},{y}", "choose another, or say how far with `depth`", fields=("depth",)
        )
    if seen <= 0 or (scale is not None and not (np.isfinite(scale) and scale > 0)):
        raise InputError(f"`depth` {seen:g} and `scale` {scale} must be positive numbers", fields=("depth", "scale"))
    pose = camera.camera_to_world[0]
    position = pose[:3, :3] @ (camera.at(slice(1)).rays(height, width)[..., y, x, :].reshape(3) * seen) + pose[:3, 3]
    if scale is None:
        scale = SHARE * min(height, width) / camera.frame_intrinsics[0, 0, 0] * seen
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
        raise InputError(f"asset of {asset['depth'].shape}, scene of {scene['depth'].shape}", "they must have one size")
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
    """The video with the object in it, its shadows and reflections, and every detail that the networks lose.

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
    change = np.log((new + FLOOR) / (old + FLOOR))
    change = np.sign(change) * np.clip(np.abs(change) - STILL, 0.0, np.log(_STRONGEST)) * surface
    # At a soft edge the rendered pixel is a mixture already: each part comes from where it is seen alone.
    change = _spread(change, coverage[..., 0] == 0)
    new = _spread(new, coverage[..., 0] > _WHOLE)
    around = (seen + FLOOR) * np.exp(change) - FLOOR
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
