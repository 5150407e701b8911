"""`lightloom edit`: a film whose selection is made of another material, window by window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ImageColor
from tqdm import tqdm

from editing.film import Film, Piece, Waiting, film_writer, open_film, picture_of
from editing.full_size import LIFT, lay
from editing.light_change import FLOOR
from editing.output import stored_light, write_light
from editing.relighting import cross_faded, estimated, rendered
from editing.selection import TOLERANCE, Pixel, SelectionRequest, Selector, pixels
from editing.settings import DEFAULT, FilmRenderers, FilmSettings
from manifests.contract.color import luminance, on_screen, srgb_decode
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers.modelspace import channels_last, gbuffer_values
from renderers.shading.split_sum import matching_exposure

CHANGEABLE = ("basecolor", "roughness", "metallic")

ESTIMATED, ESTIMATED_GLOSS = 0.85, 0.5
"""Strength of an edit where the G-buffers are estimates, which exaggerate, and where roughness alone changes, which
small networks hardly know (docs/editing.md has the measurement)."""

_SOFTNESS = 0.6
_EMPTY = 1e-6


@dataclass(frozen=True, eq=False)
class MaterialChange:
    """New values of a selection; None keeps what is there.

    Attributes:
        basecolor: linear colour (3,), or a texture (h, w, 3) of linear colours, in [0, 1].
        roughness: in [0, 1].
        metallic: in [0, 1].
    """

    basecolor: np.ndarray | None = None
    roughness: float | None = None
    metallic: float | None = None

    def __post_init__(self) -> None:
        for name in ("roughness", "metallic"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} is {value}, expected a number in [0, 1]")
        colour = self.basecolor
        if colour is not None and (colour.ndim not in (1, 3) or colour.shape[-1] != 3):
            raise InputError(f"basecolor has shape {colour.shape}, expected (3,), or (h, w, 3) for a texture")
        if colour is not None and not ((colour >= 0) & (colour <= 1)).all():
            raise InputError("basecolor lies outside [0, 1]")

    @property
    def moves_highlights(self) -> bool:
        """Whether more than the colour changes."""
        return self.roughness is not None or self.metallic is not None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> MaterialChange:
        """From roughness and metallic as numbers or their text, basecolor as a colour, a picture file or an array."""
        if unknown := [name for name in values if name not in CHANGEABLE]:
            raise _not_changeable(f"{unknown[0]}={values[unknown[0]]}")
        if not values:
            raise InputError(
                "nothing to change",
                "say `change` roughness=0.1, metallic=1, basecolor=#c0c0c0 or a texture",
                fields=("change",),
            )
        numbers = {name: _number(name, value) for name, value in values.items() if name != "basecolor"}
        return cls(_colour(values["basecolor"]) if "basecolor" in values else None, **numbers)


def parse_change(words: Sequence[str]) -> MaterialChange:
    """From `roughness=0.1 metallic=1 basecolor=#c0c0c0` or `basecolor=texture.png`; InputError for anything else."""
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name in values:
            raise _not_changeable(word)
        values[name] = value
    return MaterialChange.of(values)


def edit(
    film: str | Path | Film,
    change: MaterialChange | Mapping[str, Any],
    out: str | Path,
    *,
    instance: int | None = None,
    mask: str | Path | None = None,
    pick: Pixel | Sequence[Pixel] = (),
    exclude: Pixel | Sequence[Pixel] = (),
    tolerance: float = TOLERANCE,
    strength: float | None = None,
    truth: bool = False,
    mask_out: str | Path | None = None,
    show: bool = False,
    settings: FilmSettings = DEFAULT,
    renderers: FilmRenderers | None = None,
) -> list[Path]:
    """Make something in a film of another material. Give exactly one of `instance`, `mask` and `pick`.

        edit("cat.mp4", {"basecolor": "#c0c0c0", "roughness": 0.1, "metallic": 1}, "out/cat.mp4", pick=(320, 240))

    Args:
        film: video file, picture, folder of frames, clip as "DATASET:KEY", or an open Film, which is read to its end.
        change: new `roughness` and `metallic` in [0, 1], and `basecolor`: "#rrggbb" or a CSS name, a picture file, or
            linear colours in [0, 1] as an array (3,) or (h, w, 3).
        out: the .mp4 to write; of one frame, a .png or .jpg too.
        instance: number of an object of a synthetic clip.
        mask: what to edit in white: a picture for the first frame, or a video for all of them.
        pick: pixel (x, y) of the first frame, from its top left, or several: what they lie on is selected.
        exclude: pixel, or several, on what does not belong to it.
        tolerance: how much is taken, above 0 (the surest) to 1 (nearly everything).
        strength: how much of the change is made, 0 to 1. By default 1 with `truth`; without, 0.85, and 0.5 where only
            roughness changes, since estimates exaggerate.
        truth: use the true G-buffers, camera and light of a synthetic clip in place of estimated ones.
        mask_out: write the selection to this .mp4 too.
        show: write the light, estimated from the beginning, beside `out` (.light.exr, .light.png).
        settings: which renderers, and how.
        renderers: loaded ones, to be used again; those of `settings` if not given.

    Returns:
        The paths of what was written, `out` first.

    Raises:
        InputError: for what cannot be read, selected, changed or written.
        CheckpointError: for renderers that cannot be had.
        DiskFull: nothing half-written stays behind.
    """
    request = SelectionRequest(instance, None if mask is None else Path(mask), pixels(pick), pixels(exclude), tolerance)
    change = change if isinstance(change, MaterialChange) else MaterialChange.of(change)
    renderers = renderers or FilmRenderers(settings)
    renderers.require("forward", *(() if truth else ("inverse",)))  # before anything is read
    out = Path(out)
    written = [out, *([Path(mask_out)] if mask_out is not None else [])]

    def keep(light: np.ndarray) -> None:
        written.extend(write_light(light, out.with_suffix("")))

    with open_film(film) as opened, ExitStack() as files:
        opened.find_camera(settings.camera, settings.fov, out)
        frames = edited_frames(
            opened,
            request,
            change,
            renderers.without_lora() if truth else renderers,
            truth=truth,
            strength=strength,
            settings=settings,
            shown_light=keep if show else None,
        )
        video = files.enter_context(film_writer(out, opened))
        masks = None
        if mask_out is not None:
            masks = files.enter_context(film_writer(Path(mask_out), opened, sound=False))
        for made in tqdm(frames, total=opened.frames, desc="edit", unit="frame", leave=False):
            video.write(made.picture, made.seconds)
            if masks is not None:
                masks.write(np.broadcast_to(made.selection, made.picture.shape), made.seconds)
    return written


@dataclass(frozen=True, eq=False)
class Edited:
    """One finished frame: picture (H, W, 3) uint8 sRGB, selection (H, W, 1) in [0, 1], and when it is shown."""

    picture: np.ndarray
    selection: np.ndarray
    seconds: float


def edited_frames(
    film: Film,
    request: SelectionRequest,
    change: MaterialChange,
    renderers: FilmRenderers,
    *,
    truth: bool = False,
    strength: float | None = None,
    settings: FilmSettings,
    shown_light: Callable[[np.ndarray], None] | None = None,
) -> Iterator[Edited]:
    """The frames of `film` with the change made, in order; a bad request raises before the first.

    truth: take the true G-buffers, camera and light of a dataset's clip. Otherwise they are estimated, and the light of
    the beginning (h, w, 3), stored, goes to `shown_light`. Raises InputError for a strength out of range.
    """
    seen_size = film.size if truth else renderers.seen_size(film)
    family = (renderers.forward if truth else renderers.inverse).backbone
    plan = settings.plan(family, film.frames, film.size, seen_size)
    selector = Selector(request, film, plan, seen_size)
    strength = _strength(change, known=truth) if strength is None else strength
    if not 0 <= strength <= 1:
        raise InputError(f"`strength` is {strength:g}, expected a number from 0 to 1", fields=("strength",))
    true_gbuffers = _truth(film) if truth else None

    waiting: Waiting = deque()

    def windows() -> Iterator[list[np.ndarray]]:
        """Each window's gain (n, h, w, 3) where it is edited, and selection (n, h, w, 1)."""
        for piece in film.pieces(plan, seen_size, waiting):
            lens: Any = {"fov_degrees": settings.fov, "intrinsics": film.intrinsics(seen_size, piece.window)}
            seen = piece.seen
            if true_gbuffers is not None:
                maps = {name: value[piece.window.start : piece.window.stop] for name, value in true_gbuffers.items()}
                light = _true_light(film, piece)
            else:
                maps = estimated(seen, renderers.inverse, settings)
                panorama = np.asarray(renderers.estimator(seen, maps, **lens).environment)
                panorama = panorama * np.float32(matching_exposure(seen, maps, panorama, **lens))
                light = {"environment": panorama, "exposure": settings.exposure or 1.0}
                if shown_light is not None and piece.window.start == 0:
                    shown_light(stored_light(panorama))
            selected = selector.window(piece.window, seen, waiting[0][0])
            renders = [
                rendered(values, renderers, settings, whole=seen_size == film.size, **light, **lens)
                for values in (maps, rematerial(maps, selected, change))
            ]
            made = changed(seen, renders[0], renders[1], change, strength)
            yield [(made + LIFT) / (seen + LIFT), selected]

    def composed() -> Iterator[Edited]:
        for gain, selected in cross_faded(plan, windows()):
            frame, seconds = waiting.popleft()
            selection = softened(selector.enlarged(selected, frame)[None])[0]
            made = frame.copy()
            rows, columns = (_extent(selection, axis) for axis in (1, 0))
            inside = selection[rows, columns]
            old = frame[rows, columns]
            made[rows, columns] = old + (lay(frame, gain)[rows, columns] - old.astype(np.float32)) * inside + 0.5
            yield Edited(made, selection, seconds)

    return composed()


def _extent(selection: np.ndarray, axis: int) -> slice:
    """From the first to the last row (axis 1) or column (axis 0) of a selection (H, W, 1) that holds any of it."""
    there = np.flatnonzero(selection[..., 0].any(axis=axis))
    return slice(there[0], there[-1] + 1) if len(there) else slice(0)


def _strength(change: MaterialChange, *, known: bool) -> float:
    if known:
        return 1.0
    return ESTIMATED_GLOSS if change.basecolor is None and change.metallic is None else ESTIMATED


def _truth(film: Film) -> Mapping[str, np.ndarray]:
    """The clip's own G-buffers (T, H, W, C) and mask, depth relative; InputError where it lacks something."""
    clip = film.clip
    if clip is None or clip.environment is None or clip.camera is None:
        raise InputError("only a synthetic dataset's clip knows its true G-buffers, camera and light", where=film.name)
    return {name: channels_last(value) for name, value in gbuffer_values(clip).items()}


def _true_light(film: Film, piece: Piece) -> dict[str, Any]:
    assert film.clip is not None
    assert film.clip.environment is not None
    rotation = film.clip.environment.rotation[piece.window.start : piece.window.stop]
    environment = Environment(film.clip.environment.image, rotation)
    return {"environment": environment, "exposure": film.clip.exposure, "camera_to_world": film.poses(piece.window)}


def rematerial(gbuffers: Mapping[str, np.ndarray], mask: np.ndarray, change: MaterialChange) -> dict[str, np.ndarray]:
    """G-buffers (T, H, W, C) whose selection `mask` (T, H, W, 1) in [0, 1] is made of `change`.

    A texture lies on the picture plane and moves and grows with the selection: its middle stays on the selection's
    centre of mass and its size follows the selection's spread.
    """
    edited = dict(gbuffers)
    if change.basecolor is not None:
        colour = change.basecolor.astype(np.float32)
        if colour.ndim == 3:
            colour = np.stack([_laid(colour, frame[..., 0]) for frame in mask])
        edited["basecolor"] = _mixed(gbuffers["basecolor"], colour, mask)
    for name in ("roughness", "metallic"):
        value = getattr(change, name)
        if value is not None:
            edited[name] = _mixed(gbuffers[name], np.array(value, dtype=np.float32), mask)
    return edited


def composite(
    video: np.ndarray,
    unedited: np.ndarray,
    edited: np.ndarray,
    mask: np.ndarray,
    change: MaterialChange,
    strength: float = 1.0,
) -> np.ndarray:
    """The edited video (T, H, W, 3), sRGB in [0, 1]; exactly `video` where `mask` (T, H, W, 1) is 0."""
    filled = changed(video, srgb_decode(unedited), srgb_decode(edited), change, strength)
    return np.where(mask > 0, video + (filled - video) * mask, video).astype(np.float32)


def changed(
    video: np.ndarray, before: np.ndarray, after: np.ndarray, change: MaterialChange, strength: float = 1.0
) -> np.ndarray:
    """The video (T, H, W, 3), sRGB in [0, 1], as if all of it were edited.

    The change is laid over the video as the ratio of two renders, which keeps the video's own detail and light
    (differential rendering, Debevec 1998, section 5, with a ratio in place of a difference). Highlights that move
    cannot come from the video: where gloss or metalness changes, the edited render itself takes part, the more the more
    light it says has changed, up to half. Of the ways that were measured this is the best (tables in docs/editing.md).

    `before` and `after` are linear renders of the clip before and after the edit, under one light.
    strength: power of the ratio between them, in [0, 1]: below 1 less is changed, which is closer to the truth where
    the renders come from estimates.
    """
    filled = (srgb_decode(video) + FLOOR) * ((after + FLOOR) / (before + FLOOR)) ** strength - FLOOR
    if change.moves_highlights:
        relative = np.log((luminance(after) + FLOOR) / (luminance(before) + FLOOR))[..., None]
        share = 0.5 * strength * np.minimum(np.abs(relative), 1.0)
        filled = (1 - share) * np.clip(filled, 0.0, 1.0) + share * after
    return on_screen(filled)


def softened(mask: np.ndarray) -> np.ndarray:
    """A mask (T, H, W, 1) with edges about as soft as a camera's; never beyond the pixels next to it."""
    made = np.stack([cv2.GaussianBlur(np.ascontiguousarray(frame[..., 0]), (3, 3), _SOFTNESS) for frame in mask])
    return made[..., None].astype(np.float32)


def _mixed(old: np.ndarray, new: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (old + (new - old) * mask).astype(np.float32)


def _laid(texture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The texture (h, w, 3), repeated, laid over the selection (H, W) of one frame: (H, W, 3)."""
    height, width = mask.shape
    total = float(mask.sum())
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    if total < _EMPTY:
        return np.zeros((height, width, 3), dtype=np.float32)
    along_y, along_x = mask.sum(axis=1) / total, mask.sum(axis=0) / total
    centre = float(rows @ along_y), float(columns @ along_x)
    spread = np.sqrt(max(float((rows - centre[0]) ** 2 @ along_y), float((columns - centre[1]) ** 2 @ along_x)))
    side = max(float(np.sqrt(12.0) * spread), 1.0)  # the side of an even square with this spread
    scale = max(texture.shape[:2]) / side  # texels per pixel
    u = (columns - centre[1]) * scale + texture.shape[1] / 2
    v = (rows - centre[0]) * scale + texture.shape[0] / 2
    if scale > 1:
        texture = cv2.GaussianBlur(texture, (0, 0), scale / 2, borderType=cv2.BORDER_REFLECT)
    across, down = np.meshgrid(np.mod(u, texture.shape[1]), np.mod(v, texture.shape[0]))
    laid = cv2.remap(
        texture, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP
    )
    return np.clip(laid, 0.0, 1.0)


def _not_changeable(word: str) -> InputError:
    names = ", ".join(CHANGEABLE)
    return InputError(
        f"expected each of {names} at most once, as NAME=VALUE", where=f"`change` {word!r}", fields=("change",)
    )


def _number(name: str, value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"{value!r} is no number", "expected one in [0, 1]", where=f"`change` '{name}={value}'", fields=("change",)
        ) from None


def _colour(value: str | Path | np.ndarray | Sequence[float]) -> np.ndarray:
    """Linear base colour: (3,) of a CSS colour, or (h, w, 3) of a picture file, both sRGB; arrays are linear."""
    if not isinstance(value, str | Path):
        return np.asarray(value, dtype=np.float32)
    with suppress(ValueError):
        colour = np.array(ImageColor.getrgb(str(value))).reshape(3)  # one with opacity is no colour of a surface
        return srgb_decode(colour / 255).astype(np.float32)
    path = Path(value)
    if not path.suffix[1:].isalpha():
        expected = "expected a colour (#rrggbb, or a name such as navy) or a picture file"
        raise InputError(expected, where=f"`change` basecolor={value}", fields=("change",))
    return srgb_decode(picture_of(path, "texture").values).astype(np.float32)
