"""Our edit and the naive ones of one case, as videos, in two modes.

`truth`: with the clip's true G-buffers, camera and light; what the forward renderer can do. `pixels`: from the picture
alone, with the inverse renderer and the estimated light; only the selection and the field of view are given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datagen.insert_render import Insert
from editing.benchmark.cases import Case
from editing.film import Film, open_film
from editing.film_scene import read_scene
from editing.insertion import Thing, Way, put
from editing.material_edits import MaterialChange, edited_frames
from editing.selection import SelectionRequest
from editing.settings import FilmRenderers, FilmSettings
from editing.support import SHARE, facing
from manifests.contract.clip import Clip
from manifests.contract.color import on_screen
from manifests.errors import InputError
from manifests.object_path import Place
from training.baselines import edit_baselines

Mode = Literal["truth", "pixels"]
MODES: tuple[Mode, ...] = ("truth", "pixels")
OURS = "ours"
OTHER = "ours, the other way"
"""What insertion would show with the renderer that is not its default; nothing is judged by it."""
ASSUMED = "ours, camera assumed still"
"""What insertion shows of a film whose camera moves and is not followed."""


@dataclass(frozen=True, eq=False)
class Videos:
    """What was made of a case: (T, H, W, 3) sRGB by method, ours first. Empty where the edit could not be made.

    problem: why not, or what was not as it should be.
    foot: pixels (T, 2), (x, y) from the picture's corner, at which our inserted thing stands in each frame.
    """

    by_method: Mapping[str, np.ndarray]
    problem: str = ""
    foot: np.ndarray | None = None


def shown(clip: Clip, exposure: float) -> np.ndarray:
    """The clip's picture (T, H, W, 3), sRGB in [0, 1], at a given exposure."""
    return on_screen(clip.arrays["rgb"] * exposure)


def run_case(
    case: Case, mode: Mode, before: Clip, after: Clip, renderers: FilmRenderers, roots: Mapping[str, Place]
) -> Videos:
    """Make the edit of `case` on the clip `before`; `after` is the true render, which only oracles look at."""
    settings = FilmSettings(fov=case.before.view.fov)
    if mode == "pixels" and case.before.view.motions and case.inserted is not None:
        made = []
        for how in ("solve", "assume"):
            with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch, _filmed(before, Path(scratch)) as film:
                film.find_camera(how, settings.fov, Path(scratch) / "film.mp4")
                lost = "" if film.points.size or how == "assume" else f"camera not followed: {film.camera_said[0]}"
                made.append(_inserted(case, film, before, renderers, settings, roots, ("cycles",), measured=False))
                made[-1] = replace(made[-1], problem=made[-1].problem or lost)
        followed, assumed = made
        still = {ASSUMED: assumed.by_method[OURS]} if assumed.by_method else {}
        return replace(followed, by_method={**followed.by_method, **still} if followed.by_method else {})
    film = Film(before.key, before if mode == "truth" else _pictures_of(before))
    if case.change is not None:
        return _rematerialed(case, mode, film, shown(after, before.exposure), renderers, settings)
    return _inserted(case, film, before, renderers, settings, roots, ("cycles", "network"), measured=mode == "truth")


def _filmed(clip: Clip, folder: Path) -> Film:
    """The clip's pictures as a folder of frames, opened: what is not said about its camera must be seen."""
    frames = folder / "frames"
    frames.mkdir()
    for index, picture in enumerate(shown(clip, clip.exposure)):
        Image.fromarray((255 * picture + 0.5).astype(np.uint8)).save(frames / f"{index:04d}.png")
    return open_film(frames)


def _rematerialed(
    case: Case, mode: Mode, film: Film, truth: np.ndarray, renderers: FilmRenderers, settings: FilmSettings
) -> Videos:
    change = case.change
    assert change is not None
    assert film.clip is not None
    colour = None if change.basecolor is None else np.array(change.basecolor, dtype=np.float32)
    material = MaterialChange(colour, change.roughness, change.metallic)
    request = SelectionRequest(instance=case.instance)
    made = edited_frames(film, request, material, renderers, truth=mode == "truth", settings=settings)
    video = film.shown
    mask = (film.clip.arrays["instance"] == case.instance).astype(np.float32)
    videos = {OURS: _floats(frame.picture for frame in made), edit_baselines.UNCHANGED: video}
    if colour is not None:
        known = edit_baselines.repainted(video, mask, np.array(change.old), colour)
        videos[edit_baselines.RATIO if mode == "truth" else edit_baselines.RATIO_ORACLE] = known
        videos[edit_baselines.TINT] = edit_baselines.repainted(
            video, mask, edit_baselines.mean_colour(video, mask), colour
        )
        videos[edit_baselines.CHROMA] = edit_baselines.chroma(video, mask, colour)
    videos[edit_baselines.BEST_GAIN] = edit_baselines.best_gain(video, mask, truth)
    return Videos(videos)


def _inserted(
    case: Case,
    film: Film,
    before: Clip,
    renderers: FilmRenderers,
    settings: FilmSettings,
    roots: Mapping[str, Place],
    ways: Sequence[Way],
    *,
    measured: bool,
) -> Videos:
    """The thing put in in each of the `ways`, of which the first is ours."""
    assert case.inserted is not None
    thing = case.inserted.thing
    scene = read_scene(film, settings, renderers)
    assert before.camera is not None
    turn = thing.yaw
    if not measured:  # the same side toward the camera
        where = np.array([*thing.position, 0.0])
        turn -= float(np.degrees(facing(before.camera.camera_to_world[0, :3, 3] - where, np.array([0.0, 0.0, 1.0]))))
    added = Thing(Insert(thing.mesh, thing.material, roots), case.inserted.pixel, f"{100 * SHARE:g}%", turn)
    videos = {}
    for method, way in zip((OURS, OTHER), ways, strict=False):
        try:
            with tempfile.TemporaryDirectory(prefix="lightloom-") as scratch:
                made = put(scene, [added], renderers, settings, Path(scratch), render=way, gbuffers=True)
        except InputError as error:
            return Videos({}, str(error))
        videos[method] = np.stack(list(made.video)).astype(np.float32) / (255 if way == "cycles" else 1)
    assert made.coverage is not None
    video = shown(before, before.exposure)
    videos[edit_baselines.UNCHANGED] = video
    arrays, lens = dict(made.arrays), scene.camera.intrinsics
    videos[edit_baselines.PASTE] = edit_baselines.paste(video, arrays, made.coverage, lens)
    camera = scene.camera.resized(made.coverage.shape[1:3], before.size)
    return Videos(videos, foot=camera.project(made.stands[0].position[None])[0][:, 0])


def _floats(pictures: Iterable[np.ndarray]) -> np.ndarray:
    return np.stack(list(pictures)).astype(np.float32) / 255


def _pictures_of(clip: Clip) -> Clip:
    """The clip with nothing but its pictures, and the instances by which the selection is given."""
    arrays = {name: clip.arrays[name] for name in ("rgb", "instance")}
    return replace(clip, arrays=arrays, camera=None, environment=None)
