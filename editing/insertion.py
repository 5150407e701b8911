"""`lightloom insert`: things put into a film, lit by its light, throwing their shadows.

Read what is known of the film or estimate it, stand the things there, and make the picture in one of two ways: Cycles
path traces them with a surface that catches their shadows, under the film's light, and that is laid over the film; or
their G-buffers are put among the film's, the forward renderer shows both, and the ratio is laid over the film.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from datagen.insert_render import (
    Catcher,
    Insert,
    LitPicture,
    PlacedAsset,
    find_asset,
    render_insert,
    render_lit,
    told_materials,
)
from editing.anchoring import anchored, floor_of_corners
from editing.compositing import PlateLook, blend, composite, lay_lit, widened
from editing.film import Film, Waiting, film_writer, floats, open_film, resized
from editing.film_scene import FilmScene, read_scene, relative
from editing.scene_mesh import scene_mesh
from editing.settings import DEFAULT, FilmRenderers, FilmSettings
from editing.support import Passers, Stand, floor_up, hiding, reached, stand, upright
from manifests.codec.codecs import encode_clip
from manifests.contract.clip import Clip
from manifests.contract.color import luminance, srgb_decode
from manifests.contract.environment import latlong_directions
from manifests.errors import InputError
from manifests.files import Scratch, write_bytes
from scenes.catalogue import Catalogue
from scenes.providers.builtin import builtin_catalogue

Way = Literal["cycles", "network"]
Scale = float | str | None

_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
_WIDE, _NARROW = 60.0, 12.0
"""Sides of the surface that catches a thing's shadow, in lengths of the thing: of all on one surface, and of one of
several surfaces."""
_BESIDE = 1.25
"""How much farther or nearer than the network's depth a floor of corners may be: else it lies below what is picked."""
_LEVELS = 0.2, 2.0
_SAMPLES = 64, 16
"""Per pixel, where one frame is rendered and where all are."""


@dataclass(frozen=True, eq=False)
class Thing:
    """What is put in, and where.

    Attributes:
        asset: mesh file (.glb, .gltf, .obj, .fbx, .ply, .stl, .usd), or uid of a mesh of the catalogue.
        at: pixel (x, y) of the film's first frame, from the top left.
        scale: length of the longest side in scene units, or "30%" of the picture's smaller side, where it stands; if
            not given, a quarter, or half the camera's height above the place if that is less.
        rotate: degrees about the upright axis.
        spin: degrees that it turns over the film.
        depth: distance along the viewing axis to stand at, in place of what is seen at the pixel.
    """

    asset: str | Path | Insert
    at: tuple[int, int]
    scale: Scale = None
    rotate: float = 0.0
    spin: float = 0.0
    depth: float | None = None


@dataclass(frozen=True, eq=False)
class InsertionReport:
    """What `insert` made.

    Attributes:
        written: paths, the film first.
        said: lines for people: what was known of the film and what was assumed.
        placed: for each thing what stands where, and how large, for people.
        stands: where each stands.
    """

    written: list[Path]
    said: tuple[str, ...]
    placed: tuple[str, ...]
    stands: tuple[Stand, ...]


def insert(
    film: str | Path | Film,
    asset: str | Path | Insert,
    at: tuple[int, int],
    out: str | Path,
    *,
    scale: Scale = None,
    rotate: float = 0.0,
    spin: float = 0.0,
    depth: float | None = None,
    others: Sequence[Thing] = (),
    camera_height: float | None = None,
    render: Way = "cycles",
    catalogue: str | Path | Catalogue | None = None,
    gbuffers: str | Path | None = None,
    settings: FilmSettings = DEFAULT,
    renderers: FilmRenderers | None = None,
) -> InsertionReport:
    """Put things into a film: they stand on what the first frame shows at a pixel, in the film's own light.

        insert("cat.mp4", "chair.glb", (320, 400), "out/chair.mp4", scale="30%")

    The whole film is held in memory; Blender works in a process of its own.

    Args:
        film: video file, picture, folder of frames, or an open Film, which is read to its end; or a dataset clip as
            "DATASET:KEY", whose true G-buffers, camera and light are used.
        asset: the first thing, as `at`, `scale`, `rotate`, `spin` and `depth` of a `Thing`.
        out: the .mp4 to write; of one frame, a .png or .jpg too.
        others: more things.
        camera_height: metres of the camera above what the things stand on at first; `scale` is in metres then.
        render: who shows them: Cycles, under the film's light, or the forward renderer ("network").
        catalogue: a catalogue, or its Parquet file or URL; the built-in one if not given.
        gbuffers: folder for the G-buffers with the things, as a clip of exact codec.
        settings: which renderers, and how.
        renderers: loaded ones, to be used again; those of `settings` if not given.

    Raises:
        InputError: for what cannot be read or written, and for a place where nothing can stand.
        RenderError: where Blender cannot import or render the asset.
        CheckpointError: for renderers that cannot be had.
        DiskFull: nothing half-written stays behind.
    """
    if render not in get_args(Way):
        raise InputError(f"`render` {render!r} is not known", f"give {', '.join(get_args(Way))}", fields=("render",))
    if camera_height is not None and not 0 < camera_height < float("inf"):
        raise InputError(
            f"`camera_height` {camera_height} is no height", "give metres, such as 1.6", fields=("camera_height",)
        )
    renderers = renderers or FilmRenderers(settings)
    if render == "network":
        renderers.require("forward")  # before anything is read
    if not isinstance(catalogue, Catalogue):
        catalogue = builtin_catalogue() if catalogue is None else Catalogue.load(Path(catalogue))
    things = [Thing(asset, at, scale, rotate, spin, depth), *others]
    things = [
        one if isinstance(one.asset, Insert) else replace(one, asset=find_asset(str(one.asset), catalogue))
        for one in things
    ]
    with open_film(film) as opened:
        how = settings.camera or ("solve" if opened.frames > 1 else "assume")  # or things would not stay where they are
        opened.find_camera(how, settings.fov, Path(out))
        if opened.clip is None:
            renderers.require("inverse")
        else:
            renderers = renderers.without_lora()
        scene = read_scene(opened, settings, renderers)
        with closing(Scratch()) as scratch:
            made = put(
                scene,
                things,
                renderers,
                settings,
                scratch.path,
                render=render,
                gbuffers=gbuffers is not None,
                camera_height=camera_height,
            )
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
    placed = [
        f"{thing.asset.mesh.uid} at ({', '.join(f'{value:.3g}' for value in one.position)}), "  # type: ignore[union-attr]
        f"longest side {one.scale:.3g}"
        for thing, one in zip(things, made.stands, strict=True)
    ]
    return InsertionReport(written, (*scene.said, f"materials  {made.materials}"), tuple(placed), made.stands)


@dataclass(frozen=True, eq=False)
class Put:
    """video: frames (H, W, 3), once. arrays: the scene's with the things and coverage (T, h, w, 1) of those, where
    G-buffers were asked for or needed. materials: how the things' were resolved, in one line."""

    video: Iterator[np.ndarray]
    stands: tuple[Stand, ...]
    arrays: Mapping[str, np.ndarray]
    materials: str
    coverage: np.ndarray | None = None


def put(
    scene: FilmScene,
    things: Sequence[Thing],
    renderers: FilmRenderers,
    settings: FilmSettings,
    scratch: Path,
    *,
    render: Way = "cycles",
    gbuffers: bool = False,
    camera_height: float | None = None,
) -> Put:
    """Put things, whose assets are found, into the scene and render them there; Blender works in `scratch`.

    Raises InputError, RenderError.
    """
    stands = tuple(place(scene, thing, camera_height) for thing in things)
    frames = scene.camera.frames
    placed = [
        PlacedAsset(thing.asset, one.turning(thing.spin, frames))  # type: ignore[arg-type]
        for thing, one in zip(things, stands, strict=True)
    ]
    arrays, coverage = scene.arrays, None
    if gbuffers or render == "network":
        size = scene.arrays["depth"].shape[1:3]
        alone = render_insert(placed, scene.camera, (size[0], size[1]), scratch / "gbuffers")
        if not alone.arrays["mask"].max() > 0:
            raise _transparent(things, told_materials(scratch / "gbuffers", traced=False))
        arrays, coverage = composite(scene.arrays, alone.arrays)
    if render == "network":
        assert coverage is not None
        if not coverage.max() > 0:
            raise _hidden(things)
        told = told_materials(scratch / "gbuffers", traced=False)
        return Put(_rendered(scene, arrays, coverage, renderers, settings), stands, arrays, told, coverage)
    video = _traced(scene, things, stands, placed, scratch)
    return Put(video, stands, arrays, told_materials(scratch / "lit", traced=True), coverage)


def place(scene: FilmScene, thing: Thing, camera_height: float | None = None) -> Stand:
    """Where a thing stands. Raises InputError where it cannot."""
    height, width = scene.arrays["depth"].shape[1:3]
    full = scene.frames[0][0].shape[0], scene.frames[0][0].shape[1]
    x = int((thing.at[0] + 0.5) * width / full[1])  # a pixel of the film as one of the networks' picture
    y = int((thing.at[1] + 0.5) * height / full[0])
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel {thing.at[0]},{thing.at[1]} is outside of the picture of {full[1]}x{full[0]} pixels")
    first = scene.arrays["normal"][0], scene.arrays["mask"][0]
    up = np.array([0.0, 0.0, 1.0]) if scene.level else floor_up(scene.camera, *first, (x, y))
    if not np.isfinite((thing.rotate, thing.spin)).all():
        raise InputError(
            f"`rotate` {thing.rotate} or `spin` {thing.spin} is no angle", "give degrees", fields=("rotate", "spin")
        )
    scale, share = _sizes(thing.scale)

    def standing(factor: float, up: np.ndarray = up, distance: float | None = thing.depth) -> Stand:
        return stand(
            scene.camera,
            {**scene.arrays, "depth": factor * scene.arrays["depth"]},
            (x, y),
            up,
            scale=scale,
            share=share,
            rotate=thing.rotate,
            distance=distance,
            measured=scene.measured,
            called=thing.at,
            camera_height=camera_height,
        )

    made = standing(1.0)
    if scene.measured or thing.depth is not None or not np.ptp(scene.camera.camera_to_world[:, :3, 3], axis=0).any():
        return made
    begun = scene.camera.at(slice(1))
    floor = floor_of_corners(scene.points, begun, scene.arrays["normal"][0], up, (x + 0.5, y + 0.5))
    if floor is not None:
        centre = begun.camera_to_world[0, :3, 3]
        along = float((made.position - centre) @ floor[1])
        reach = float((floor[0] - centre) @ floor[1]) / along if along else 0.0
        if 1 / _BESIDE < reach < _BESIDE:
            if scene.level:
                return standing(reach)
            return standing(1.0, floor[1], reach * float(begun.project(made.position[None])[1][0, 0]))
    return standing(anchored([frame for frame, _ in scene.frames], scene.camera.resized((height, width), full), made))


def _sizes(scale: Scale) -> tuple[float | None, float | None]:
    """Scene units, and share of the picture; at most one is given."""
    if scale is None or isinstance(scale, int | float):
        return scale, None
    found = _SHARE.fullmatch(scale)
    if found is not None:
        return None, float(found[1]) / 100
    try:
        return float(scale), None
    except ValueError:
        raise InputError(
            f"`scale` {scale!r} is no size", "give scene units such as 0.4, or a part of the picture such as 30%",
            fields=("scale",),
        ) from None  # fmt: skip


def _transparent(things: Sequence[Thing], materials: str) -> InputError:
    return InputError(
        f"nothing solid is seen of {_at(things)} ({materials})",
        "are its materials transparent (alpha below a half, or below their cut-off)?",
    )


def _hidden(things: Sequence[Thing]) -> InputError:
    return InputError(f"{_at(things)} is hidden in every frame", "choose another pixel")


def _at(things: Sequence[Thing]) -> str:
    return "what stands at " + " and ".join(f"{thing.at[0]},{thing.at[1]}" for thing in things)


def _rendered(
    scene: FilmScene,
    arrays: Mapping[str, np.ndarray],
    coverage: np.ndarray,
    renderers: FilmRenderers,
    settings: FilmSettings,
) -> Iterator[np.ndarray]:
    """The forward renderer's ratio, over the film."""
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
    return _blended(scene.frames, [*made, coverage, scene.arrays["mask"]])


def _blended(frames: Waiting, parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """`blend` frame by frame at the film's own size; `parts` (T, h, w, C) are its other arguments."""
    for index, (frame, _) in enumerate(frames):
        large = (resized(part[index : index + 1], frame.shape[:2]) for part in parts)
        yield blend(frame[None].astype(np.float32) / 255, *large)[0]


def _traced(
    scene: FilmScene, things: Sequence[Thing], stands: Sequence[Stand], placed: Sequence[PlacedAsset], scratch: Path
) -> Iterator[np.ndarray]:
    """What Cycles shows, over the film."""
    height, width = scene.frames[0][0].shape[:2]
    seen = scene.arrays["depth"].shape[1:3]
    camera = scene.camera.resized((seen[0], seen[1]), (height, width))
    parts = reached(camera, stands, (height, width))
    if not parts:
        raise InputError("what is inserted lies outside of the picture", "choose another pixel")
    level = 1.0 if scene.measured else float(np.mean([_level(scene, one) for one in stands]))
    light = replace(scene.light, image=scene.light.image * np.float32(scene.exposure * level))
    still = not camera.zooms and np.ptp(camera.camera_to_world, axis=0).max() == 0
    drawn = list(parts)
    moved = [one.object_to_world[drawn] if len(one.object_to_world) > 1 else one.object_to_world for one in placed]
    made = render_lit(
        [replace(one, object_to_world=places) for one, places in zip(placed, moved, strict=True)],
        _catchers(scene, stands), replace(light, rotation=light.rotation[drawn]), camera.at(drawn), (height, width),
        list(parts.values()), scratch / "lit",
        relief=scene_mesh(scene.camera, scene.arrays, stands, measured=scene.measured),
        samples=_SAMPLES[0 if still and not any(thing.spin for thing in things) else 1],
    )  # fmt: skip
    lit = dict(zip(drawn, made if len(made) > 1 else made * len(drawn), strict=True))
    if not max(one.mask.max() for one in made) > 0:
        raise _transparent(things, told_materials(scratch / "lit", traced=True))
    shares = [hiding(scene.camera, scene.arrays, one, measured=scene.measured) for one in stands]
    before = np.min([share[0] for share in shares], axis=0)
    under = np.max([share[1] for share in shares], axis=0)
    if scene.measured:
        before = nearer(scene.arrays["depth"], lit)
    if not _shows(lit, before, (height, width)):
        raise _hidden(things)
    look = PlateLook.of([frame for frame, _ in (scene.frames[0], *list(scene.frames)[1:2])])
    passers = None
    if still and not scene.measured:
        passers = Passers([frame for frame, _ in scene.frames], scene.camera, (seen[0], seen[1]), stands)

    def laid() -> Iterator[np.ndarray]:
        for index, (frame, _) in enumerate(scene.frames):
            if index not in lit:
                yield frame
                continue
            hides, falls = before[index], under[index]
            if passers is not None:
                near = passers.before(frame)
                hides, falls = (resized(part[None], near.shape[:2])[0] for part in (hides, falls))
                hides = np.maximum(hides, near)
            yield lay_lit(frame, index, lit[index], hides, falls, look)[0]

    return laid()


def _level(scene: FilmScene, one: Stand) -> float:
    """How bright the picture is around a thing's foot against what light and base colour say: in the shade of
    something a thing is darker too."""
    image = scene.light.image
    towards = latlong_directions(*image.shape[:2]) @ scene.light.rotation[0].T @ one.normal
    solid = np.sqrt(np.maximum(1 - latlong_directions(*image.shape[:2])[..., 2] ** 2, 0.0))
    received = (image * (np.maximum(towards, 0.0) * solid)[..., None]).sum(axis=(0, 1)) / (solid.sum() / 4)
    patch = _around(scene, one, 0.05)
    seen = srgb_decode(floats(resized(scene.frames[0][0][None], scene.arrays["depth"].shape[1:3])[0][patch]))
    clear = seen.max(axis=-1) < 0.95
    expected = luminance(scene.arrays["basecolor"][0][patch] * received)[clear]
    if not clear.any() or float(np.median(expected)) < 1e-4:
        return 1.0
    return float(np.clip(np.median(luminance(seen[clear]) / np.maximum(expected, 1e-4)), *_LEVELS))


def _around(scene: FilmScene, one: Stand, share: float) -> tuple[slice, slice]:
    """Rows and columns around a thing's foot in the networks' first picture: this share of its larger side each way."""
    height, width = scene.arrays["depth"].shape[1:3]
    pixel, _ = scene.camera.at(slice(1)).project(one.position[None])
    x, y = (int(np.clip(value, 0, limit - 1)) for value, limit in zip(pixel[0, 0], (width, height), strict=True))
    side = max(1, round(share * max(height, width)))
    return slice(max(y - side, 0), y + side + 1), slice(max(x - side, 0), x + side + 1)


def _catchers(scene: FilmScene, stands: Sequence[Stand]) -> list[Catcher]:
    """One for each surface that things stand on, of what the first frame shows around the first thing on it."""
    surfaces: list[Stand] = []
    for one in sorted(stands, key=lambda one: -one.scale):
        same = (
            abs(float(one.normal @ (one.position - other.position))) < 0.05 * other.scale
            and float(one.normal @ other.normal) > np.cos(np.radians(3.0))
            for other in surfaces
        )
        if not any(same):
            surfaces.append(one)
    wide = _WIDE if len(surfaces) == 1 else _NARROW
    made = []
    for one in surfaces:
        plane = np.eye(4)
        plane[:3, :3] = wide * one.scale * upright(one.normal)
        plane[:3, 3] = one.position
        patch = _around(scene, one, 0.03)
        red, green, blue = (float(np.median(scene.arrays["basecolor"][0][patch][..., c])) for c in range(3))
        rough, metal = (float(np.median(scene.arrays[name][0][patch])) for name in ("roughness", "metallic"))
        made.append(Catcher(plane, (red, green, blue), rough, metal if scene.measured else 0.0))
    return made


def nearer(depth: np.ndarray, lit: Mapping[int, LitPicture]) -> np.ndarray:
    """What hides things where depth (T, H, W, 1) is exact: 1 where it is nearer than they are, of the same shape."""
    before = np.zeros_like(depth)
    for frame, one in lit.items():
        top, left, bottom, right = one.part
        nearest = widened(one.depth[None])[0]
        before[frame, top:bottom, left:right] = np.isfinite(nearest) & (nearest >= depth[frame, top:bottom, left:right])
    return before


def _shows(lit: Mapping[int, LitPicture], before: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether any thing is seen in any frame; `before` (T, h, w, 1) hides them, the picture has (H, W) of `size`."""
    for frame, one in lit.items():
        top, left, bottom, right = one.part
        clear = 1 - resized(before[frame][None], size)[0, top:bottom, left:right]
        if (one.mask * clear).max() > 0.05:
            return True
    return False
