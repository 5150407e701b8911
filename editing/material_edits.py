"""`lightloom edit`: a film whose selection is made of another material, window by window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from editing.film import Film, Piece, cross_faded
from editing.output import write_light
from editing.relighting import (
    Settings,
    gbuffers_of,
    generator,
    intrinsics,
    poses,
    resized,
    seen_size,
    stored,
)
from editing.selection import Choice, Selector
from editing.video import VideoWriter
from manifests.contract.color import luminance, srgb_decode, srgb_encode
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers import ForwardRenderer, InverseRenderer
from renderers.lighting_estimator import Estimator
from renderers.modelspace import channels_last, gbuffer_values
from renderers.sampling.windows import plan_windows
from renderers.shading.exposure import matching_exposure

CHANGEABLE = ("basecolor", "roughness", "metallic")
_FLOOR = 0.02
_SOFTNESS = 0.6
_EMPTY = 1e-6


@dataclass(frozen=True, eq=False)
class Material:
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


def rematerial(gbuffers: Mapping[str, np.ndarray], mask: np.ndarray, material: Material) -> dict[str, np.ndarray]:
    """G-buffers (T, H, W, C) whose selection `mask` (T, H, W, 1) in [0, 1] is made of `material`.

    A texture lies on the picture plane and moves and grows with the selection: its middle stays on the selection's
    centre of mass and its size follows the selection's spread.
    """
    edited = dict(gbuffers)
    if material.basecolor is not None:
        colour = material.basecolor.astype(np.float32)
        if colour.ndim == 3:
            colour = np.stack([_laid(colour, frame[..., 0]) for frame in mask])
        edited["basecolor"] = _mixed(gbuffers["basecolor"], colour, mask)
    for name in ("roughness", "metallic"):
        value = getattr(material, name)
        if value is not None:
            edited[name] = _mixed(gbuffers[name], np.array(value, dtype=np.float32), mask)
    return edited


def composite(
    video: np.ndarray,
    unedited: np.ndarray,
    edited: np.ndarray,
    mask: np.ndarray,
    material: Material,
    strength: float = 1.0,
) -> np.ndarray:
    """The edited video (T, H, W, 3), sRGB in [0, 1]; exactly `video` where `mask` (T, H, W, 1) is 0.

    `unedited` and `edited` are renders of the clip before and after the edit, under one light, as large as `video`.
    strength: power of the ratio between them, in [0, 1]: below 1 less is changed, which is closer to the truth where
    the renders come from estimates.
    """
    before, after = srgb_decode(unedited), srgb_decode(edited)
    filled = (srgb_decode(video) + _FLOOR) * ((after + _FLOOR) / (before + _FLOOR)) ** strength - _FLOOR
    if material.moves_highlights:
        change = np.log((luminance(after) + _FLOOR) / (luminance(before) + _FLOOR))[..., None]
        share = 0.5 * strength * np.minimum(np.abs(change), 1.0)
        filled = (1 - share) * np.clip(filled, 0.0, 1.0) + share * after
    filled = np.clip(srgb_encode(filled), 0.0, 1.0)
    return np.where(mask > 0, video + (filled - video) * mask, video).astype(np.float32)


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
    scale = max(texture.shape[:2]) / side  # texels a pixel
    u = (columns - centre[1]) * scale + texture.shape[1] / 2
    v = (rows - centre[0]) * scale + texture.shape[0] / 2
    if scale > 1:
        texture = cv2.GaussianBlur(texture, (0, 0), scale / 2, borderType=cv2.BORDER_REFLECT)
    across, down = np.meshgrid(np.mod(u, texture.shape[1]), np.mod(v, texture.shape[0]))
    laid = cv2.remap(
        texture, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP
    )
    return np.clip(laid, 0.0, 1.0)


ESTIMATED, ESTIMATED_GLOSS = 0.85, 0.5
"""Strength of an edit where the G-buffers are estimates, which exaggerate, and where roughness alone changes, which
small networks hardly know (docs/editing.md has the measurement)."""

_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
_LARGEST = 1 << 26


def parse_material(words: Sequence[str]) -> Material:
    """From `roughness=0.1 metallic=1 basecolor=#c0c0c0` or `basecolor=texture.png`; InputError for anything else."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in CHANGEABLE or name in values:
            raise InputError(
                f"expected each of {', '.join(CHANGEABLE)} at most once, as NAME=VALUE", where=f"--set {word!r}"
            )
        values[name] = _colour(value) if name == "basecolor" else _number(word, value)
    if not values:
        raise InputError("nothing to change", "say --set roughness=0.1, metallic=1, basecolor=#c0c0c0 or a texture")
    return Material(**values)


@dataclass(frozen=True, eq=False)
class Edited:
    """One finished frame: picture (H, W, 3) sRGB in [0, 1], selection (H, W, 1) in [0, 1], and when it is shown."""

    picture: np.ndarray
    selection: np.ndarray
    seconds: float


def edited_frames(
    film: Film,
    choice: Choice,
    material: Material,
    inverse: InverseRenderer | None,
    forward: ForwardRenderer,
    estimator: Estimator,
    *,
    settings: Settings,
    shown_light: Callable[[np.ndarray], None] | None = None,
) -> Iterator[Edited]:
    """The frames of `film` with its selection made of `material`, in order; a bad choice raises before the first.

    inverse: None takes the true G-buffers, camera and light of a dataset's clip. estimator: finds the light otherwise;
    the one of the beginning (h, w, 3), stored, goes to `shown_light`. Raises InputError for a strength out of range.
    """
    plan = plan_windows(film.frames, settings.window, settings.overlap)
    small = film.size if inverse is None else seen_size(film.size, settings.side)
    lens: Any = {"fov_degrees": settings.fov_degrees, "intrinsics": intrinsics(film, small)}
    selector = Selector(choice, film, plan, small)
    strength = _strength(material, known=inverse is None) if settings.strength is None else settings.strength
    if not 0 <= strength <= 1:
        raise InputError(f"--strength is {strength:g}, expected a number from 0 to 1")
    truth = _truth(film) if inverse is None else None
    times: list[float] = []

    def windows() -> Iterator[list[np.ndarray]]:
        for piece in film.pieces(plan):
            shown = resized(piece.rgb, small)
            if truth is not None:
                maps = {name: value[piece.window.start : piece.window.stop] for name, value in truth.items()}
                light = _true_light(film, piece)
            else:
                assert inverse is not None
                maps = gbuffers_of(shown, inverse, settings)
                panorama = np.asarray(estimator(shown, maps, **lens).environment)
                panorama = panorama * np.float32(matching_exposure(shown, maps, panorama, **lens))
                light = {"environment": panorama, "exposure": settings.exposure or 1.0}
                if shown_light is not None and piece.window.start == 0:
                    shown_light(stored(panorama))
            selected = selector.window(piece.window, shown, maps)
            renders = []
            for values in (maps, rematerial(maps, selected, material)):
                made = forward(values, steps=settings.steps, generator=generator(settings), **light, **lens)
                renders.append(resized(np.asarray(made.video), film.size))
            mask = softened(resized(selected, film.size))
            times.extend(piece.seconds[len(times) - piece.window.start :])
            yield [composite(piece.rgb, renders[0], renders[1], mask, material, strength), mask]

    def edited() -> Iterator[Edited]:
        frame = 0
        for pictures, selections in cross_faded(plan, windows()):
            for picture, selection in zip(pictures, selections, strict=True):
                yield Edited(picture, selection, times[frame])
                frame += 1

    return edited()


def _strength(material: Material, *, known: bool) -> float:
    if known:
        return 1.0
    return ESTIMATED_GLOSS if material.basecolor is None and material.metallic is None else ESTIMATED


def edit_film(
    film: Film,
    choice: Choice,
    material: Material,
    inverse: InverseRenderer | None,
    forward: ForwardRenderer,
    estimator: Estimator,
    out: Path,
    *,
    settings: Settings,
    mask_out: Path | None = None,
    show: bool = False,
) -> list[Path]:
    """Write `film` with its selection made of `material`. Returns the paths of what was written.

    mask_out: a video of the selection. show: also write the light that was used at the beginning. The rest as in
    `edited_frames`.
    """
    written = [out, *([mask_out] if mask_out else [])]

    def keep(light: np.ndarray) -> None:
        written.extend(write_light(light, out.with_suffix("")))

    frames = edited_frames(
        film, choice, material, inverse, forward, estimator, settings=settings, shown_light=keep if show else None
    )
    with ExitStack() as stack:
        video = stack.enter_context(VideoWriter(out, film.size, film.fps))
        masks = stack.enter_context(VideoWriter(mask_out, film.size, film.fps)) if mask_out else None
        for made in tqdm(frames, total=film.frames, desc="edit", unit="frame", leave=False):
            video.write(made.picture, made.seconds)
            if masks is not None:
                masks.write(np.broadcast_to(made.selection, made.picture.shape), made.seconds)
    return written


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
    return {"environment": environment, "exposure": film.clip.exposure, "camera_to_world": poses(film, piece)}


def _number(word: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{value!r} is no number", "expected one in [0, 1]", where=f"--set {word!r}") from None


def _colour(value: str) -> np.ndarray:
    """Linear base colour: (3,) of `#rrggbb`, or (h, w, 3) of a picture file, both sRGB."""
    if (code := _COLOUR.fullmatch(value)) is not None:
        return srgb_decode(np.array(list(bytes.fromhex(code[1]))) / 255).astype(np.float32)
    path = Path(value)
    if value.startswith("#") or not path.suffix:
        raise InputError("expected #rrggbb or a picture file", where=f"--set basecolor={value}")
    try:
        with Image.open(path) as image:
            if image.width * image.height > _LARGEST:
                raise InputError(f"a texture of {image.width}x{image.height} pixels is too large", where=path)
            return srgb_decode(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).astype(np.float32)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot be read as a texture: {error}", where=path) from None
