"""`lightloom edit`: a film whose selection is made of another material, window by window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lightloom.films import Film, Piece, cross_faded
from lightloom.footage import VideoWriter
from lightloom.relighting import Settings, gbuffers_of, generator, intrinsics, poses, seen_size, stored
from lightloom.selecting import Choice, Selector
from lightloom.sheets import write_light
from manifests.environment import Environment, srgb_decode
from manifests.errors import LightloomError
from renderers import ForwardRenderer, InverseRenderer
from renderers.edits.relight import matching_exposure, resized
from renderers.edits.rematerial import CHANGEABLE, Material, composite, rematerial, softened
from renderers.inputs import gbuffer_values
from renderers.lighting_estimator import Estimator
from renderers.modelspace import channels_last
from renderers.windows import plan_windows

ESTIMATED, ESTIMATED_GLOSS = 0.85, 0.5
"""Strength of an edit where the G-buffers are estimates, which exaggerate, and where roughness alone changes, which
small networks hardly know (docs/editing.md has the measurement)."""

_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
_LARGEST = 1 << 26


class EditError(LightloomError):
    """An edit that is not understood."""


def parse_material(words: Sequence[str]) -> Material:
    """From `roughness=0.1 metallic=1 basecolor=#c0c0c0` or `basecolor=texture.png`; EditError for anything else."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in CHANGEABLE or name in values:
            raise EditError(f"--set {word!r}: expected each of {', '.join(CHANGEABLE)} at most once, as NAME=VALUE")
        values[name] = _colour(value) if name == "basecolor" else _number(word, value)
    if not values:
        raise EditError("nothing to change; say --set roughness=0.1, metallic=1, basecolor=#c0c0c0 or a texture")
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
    the one of the beginning (h, w, 3), stored, goes to `shown_light`. Raises EditError for a strength out of range.
    """
    plan = plan_windows(film.frames, settings.window, settings.overlap)
    small = film.size if inverse is None else seen_size(film.size, settings.side)
    lens: Any = {"fov_degrees": settings.fov_degrees, "intrinsics": intrinsics(film, small)}
    selector = Selector(choice, film, plan, small)
    strength = _strength(material, known=inverse is None) if settings.strength is None else settings.strength
    if not 0 <= strength <= 1:
        raise EditError(f"--strength is {strength:g}, expected a number from 0 to 1")
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
    """The clip's own G-buffers (T, H, W, C) and mask, depth relative; EditError where it lacks something."""
    clip = film.clip
    if clip is None or clip.environment is None or clip.camera is None:
        raise EditError(f"{film.name}: only a synthetic dataset's clip knows its true G-buffers, camera and light")
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
        raise EditError(f"--set {word!r}: {value!r} is no number; expected one in [0, 1]") from None


def _colour(value: str) -> np.ndarray:
    """Linear base colour: (3,) of `#rrggbb`, or (h, w, 3) of a picture file, both sRGB."""
    if (code := _COLOUR.fullmatch(value)) is not None:
        return srgb_decode(np.array(list(bytes.fromhex(code[1]))) / 255).astype(np.float32)
    path = Path(value)
    if value.startswith("#") or not path.suffix:
        raise EditError(f"--set basecolor={value}: expected #rrggbb or a picture file")
    try:
        with Image.open(path) as image:
            if image.width * image.height > _LARGEST:
                raise EditError(f"{path}: a texture of {image.width}x{image.height} pixels is too large")
            return srgb_decode(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).astype(np.float32)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise EditError(f"{path}: cannot be read as a texture: {error}") from None
