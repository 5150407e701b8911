"""What `lightloom edit` selects: an instance, a mask from a file, or what a picked pixel belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lightloom.films import Film, open_film
from lightloom.footage import VideoError
from manifests.clip import Clip
from manifests.errors import LightloomError
from renderers.edits.relight import resized
from renderers.edits.selection import Tracker, instance_selection, labels, pick
from renderers.windows import Window, WindowPlan

_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_INSTANCE = re.compile(r"instance=(\d+)")
_POINT = re.compile(r"(\d+),(\d+)")
_LARGEST = 1 << 26


class SelectionError(LightloomError):
    """A selection that selects nothing, or that the film cannot answer."""


@dataclass(frozen=True)
class Choice:
    """Exactly one of: `instance` of a dataset's clip, `file` (a still for the first frame, or a video), a `point`.

    point: (x, y) in the film's pixels from the top left of the first frame; `tolerance` says how alike its surroundings
    must be.
    """

    instance: int | None
    file: Path | None
    point: tuple[int, int] | None
    tolerance: float

    @classmethod
    def parse(cls, select: str | None, mask: Path | None, point: str | None, tolerance: float) -> Choice:
        """From the command line's words; SelectionError unless exactly one was given and makes sense."""
        if sum(given is not None for given in (select, mask, point)) != 1:
            raise SelectionError('say what to edit by one of --select "instance=2", --mask FILE or --pick X,Y')
        number = _INSTANCE.fullmatch(select) if select is not None else None
        if select is not None and number is None:
            raise SelectionError(f'--select {select!r} is not understood; it looks like --select "instance=2"')
        place = _POINT.fullmatch(point) if point is not None else None
        if point is not None and place is None:
            raise SelectionError(f"--pick {point!r} is not understood; it looks like --pick 120,80, in pixels")
        if not 0 < tolerance <= 1:
            raise SelectionError(f"--tolerance is {tolerance}, expected a number above 0, at most 1")
        return cls(
            int(number[1]) if number else None, mask, (int(place[1]), int(place[2])) if place else None, tolerance
        )


class Selector:
    """Gives the selection of each window of a film, in order, at the size `seen` by the networks."""

    def __init__(self, choice: Choice, film: Film, plan: WindowPlan, seen: tuple[int, int]) -> None:
        self._choice, self._film, self._seen = choice, film, seen
        self._tracker: Tracker | None = None
        self._video: Iterator[np.ndarray] | None = None
        self._tail, self._start = np.empty((0, *seen, 1), dtype=np.float32), 0
        if choice.instance is not None:
            self._instances = instance_selection(_instances(film), choice.instance)
        if choice.file is not None and choice.file.suffix.lower() in _STILLS:
            self._tracker = Tracker(_filled(resized(_still(choice.file, film.size)[None], seen)[0], choice.file))
        elif choice.file is not None:
            self._video = _masks(choice.file, film, plan, seen)
        if choice.point is not None and not (choice.point[0] < film.size[1] and choice.point[1] < film.size[0]):
            point = f"{choice.point[0]},{choice.point[1]}"
            raise SelectionError(f"--pick {point} lies outside the video of {film.size[1]}x{film.size[0]} pixels")

    def window(self, window: Window, rgb: np.ndarray, gbuffers: Mapping[str, np.ndarray]) -> np.ndarray:
        """The selection (n, h, w, 1) in [0, 1] of the next window; its rgb and G-buffers are at the seen size."""
        if self._choice.instance is not None:
            return resized(self._instances[window.start : window.stop], self._seen)
        if self._video is not None:
            return next(self._video)
        features = labels(rgb, gbuffers)
        if self._tracker is None:
            assert self._choice.point is not None
            scale = self._seen[1] / self._film.size[1]
            x, y = (min(int(c * scale), side - 1) for c, side in zip(self._choice.point, self._seen[::-1], strict=True))
            self._tracker = Tracker(pick(features[0], x, y, self._choice.tolerance))
        known = self._tail[window.start - self._start :]  # frames that the last window had too
        fresh = self._tracker.follow(rgb[len(known) :], features[len(known) :])
        self._tail, self._start = np.concatenate([known, fresh]), window.start
        return self._tail


def _instances(film: Film) -> np.ndarray:
    clip: Clip | None = film.clip
    if clip is None or "instance" not in clip.arrays:
        raise SelectionError(f"{film.name} does not know its instances; use --pick X,Y or --mask FILE")
    return clip.arrays["instance"]


def _still(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W, 1) in [0, 1] from a grey picture, or from the alpha of one that has it."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > _LARGEST:
                raise SelectionError(f"{path}: a mask of {image.width}x{image.height} pixels is too large")
            if (image.height, image.width) != size:
                raise SelectionError(
                    f"{path}: {image.width}x{image.height} pixels, but the video has {size[1]}x{size[0]}"
                )
            grey = image.getchannel("A") if "A" in image.getbands() else image.convert("L")
            return (np.asarray(grey, dtype=np.float32) / 255)[..., None]
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise SelectionError(f"{path}: cannot be read as a mask: {error}") from None


def _filled(mask: np.ndarray, path: Path) -> np.ndarray:
    if not (mask > 0.5).any():
        raise SelectionError(f"{path}: the mask is empty; what is to be edited is white")
    return mask


def _masks(path: Path, film: Film, plan: WindowPlan, seen: tuple[int, int]) -> Iterator[np.ndarray]:
    """Windows (n, h, w, 1) of a mask for every frame, from a video as long and as large as the film."""
    masks = open_film(str(path))
    if masks.frames != film.frames or masks.size != film.size:
        raise VideoError(
            f"{path}: {masks.frames} frames of {masks.size[1]}x{masks.size[0]}, "
            f"but the video has {film.frames} of {film.size[1]}x{film.size[0]}"
        )
    with masks:
        for piece in masks.pieces(plan):
            grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in piece.rgb])
            yield resized(grey[..., None], seen)
