"""`lightloom relight`: a film under another light. Open, estimate, light, compose, write; window by window.

Networks see the film small, and what a window gives is as small: a gain for every pixel (`light_change.py`). Gains of
neighbouring windows are cross-faded, and each is laid over its frame at the film's own size, edges from the picture
(`full_size.py`). A light from a file has no scale that means anything, so by default surfaces stay as bright as they
are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from tqdm import tqdm

from editing.film import Film, Piece, Waiting, film_writer, open_film
from editing.full_size import Background, lay
from editing.light_change import analytic_render, balance, covered, gains, old_shading, relit, steadied
from editing.lights import NamedLight, backdrop, find_light
from editing.output import GbufferFiles, Sheet, stored_light, write_light
from editing.settings import DEFAULT, FilmRenderers, FilmSettings
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import fitted, intrinsics_from_fov
from manifests.contract.color import on_screen, srgb_decode
from manifests.errors import InputError
from renderers import InverseRenderer
from renderers.inverse import InverseOutput
from renderers.sampling.windows import WindowPlan, stream
from renderers.shading.split_sum import automatic_exposure

Behind = Literal["keep", "light", "blur"]

_BACKDROP_SIDE = 960
_BLUR = 0.015


def relight(
    film: str | Path | Film,
    light: str | Path | NamedLight | Sequence[str | Path | NamedLight],
    out: str | Path,
    *,
    rotate: float = 0.0,
    background: Behind = "keep",
    gbuffers: str | Path | None = None,
    exr: bool = False,
    show: bool = False,
    settings: FilmSettings = DEFAULT,
    renderers: FilmRenderers | None = None,
) -> list[Path]:
    """Show a film under another light; under several at once, as a comparison sheet. Keeps frame rate and size.

        relight("cat.mp4", "courtyard", "out/cat.mp4", rotate=360)

    Args:
        film: video file, picture, folder of frames, clip as "DATASET:KEY", or an open Film, which is read to its end.
        light: .hdr or .exr file, or built-in light such as "courtyard" or "studio/0007"; several make a sheet.
        out: the .mp4 to write; of one frame, a .png or .jpg too.
        rotate: degrees that the light turns over the film.
        background: what is seen where there is no surface: the film's own, graded as the surfaces are ("keep"), the
            light itself ("light"), or the light out of focus ("blur").
        gbuffers: folder for the G-buffers, as a video and a still each.
        exr: write their exact values too, an EXR per frame.
        show: write the film's own light, estimated from its beginning, beside `out` (.light.exr, .light.png).
        settings: which renderers, and how.
        renderers: loaded ones, to be used again; those of `settings` if not given.

    Returns:
        The paths of what was written, `out` first.

    Raises:
        InputError: for what cannot be read, is not known, or cannot be written.
        CheckpointError: for renderers that cannot be had.
        DiskFull: nothing half-written stays behind.
    """
    several = _checked(light, rotate, background, exr=exr and gbuffers is None)
    renderers = renderers or FilmRenderers(settings)
    renderers.require("inverse", *(() if settings.shading == "analytic" else ("forward",)))  # before anything is read
    lights = [find_light(each) for each in several]
    written = [out := Path(out)]
    with open_film(film) as opened, ExitStack() as files:
        opened.find_camera(settings.camera, settings.fov, out)
        sheet = Sheet(["input", *(named.name for named in lights)], opened.size) if len(lights) > 1 else None
        size = opened.size if sheet is None else sheet.size
        video = files.enter_context(film_writer(out, opened, size))
        bar = files.enter_context(
            tqdm(total=opened.frames, desc="relight", unit="frame", unit_scale=True, leave=False, mininterval=0.5)
        )
        share = 1 / (3 + len(lights))  # of the work on a frame: reading, estimating, each light, composing and writing

        def advance(frames: float = 1) -> None:
            bar.update(min(share * frames, opened.frames - bar.n))  # thirds do not add up to one

        seen_size = renderers.seen_size(opened)
        plan = settings.plan(renderers.inverse.backbone, opened.frames, opened.size, seen_size)
        changes = [_Change(named, rotate, opened, settings, renderers, seen_size) for named in lights]
        waiting: Waiting = deque()
        buffers = None
        if gbuffers is not None:
            buffers = GbufferFiles(Path(gbuffers), seen_size, opened.fps, exact=exr)
            files.enter_context(buffers)

        def windows() -> Iterator[list[np.ndarray]]:
            """Each window's gain under every light, its coverage and, where wanted, its G-buffers; (n, h, w, C)."""
            done = 0
            for piece in opened.pieces(plan, seen_size, waiting, advance):
                fresh, done = piece.window.stop - done, piece.window.stop
                maps = estimated(piece.seen, renderers.inverse, settings)
                advance(fresh)
                if show and piece.window.start == 0:
                    lens: Any = {"fov_degrees": settings.fov, "intrinsics": opened.intrinsics(seen_size, piece.window)}
                    found = renderers.estimator(piece.seen, maps, **lens).environment
                    written.extend(write_light(stored_light(np.asarray(found)), out.with_suffix("")))
                maps = steadied(maps, piece.seen)
                coverage = covered(maps)
                old = old_shading(piece.seen, maps, coverage)
                made = []
                for change in changes:
                    made.append(change.gains(piece, maps, coverage, old, graded=background == "keep"))
                    advance(fresh)
                yield [*made, coverage, *(maps[name] for name in (GBUFFERS if gbuffers else ()))]

        for index, values in enumerate(cross_faded(plan, windows())):
            frame, seconds = waiting.popleft()
            coverage, maps = values[len(lights)], values[len(lights) + 1 :]
            pictures = []
            for change, gain in zip(changes, values, strict=False):
                behind = None if background == "keep" else change.behind(index, blurred=background == "blur")
                pictures.append(lay(frame, gain, None if behind is None else Background(behind, coverage)))
            video.write(pictures[0] if sheet is None else sheet.lay([frame, *pictures]), seconds)
            if buffers is not None:
                buffers.write(dict(zip(GBUFFERS, maps, strict=True)), seconds)
            advance()
    return [*written, *([Path(gbuffers)] if gbuffers is not None else [])]


def _checked(
    light: str | Path | NamedLight | Sequence[str | Path | NamedLight], rotate: float, background: str, *, exr: bool
) -> Sequence[str | Path | NamedLight]:
    """The lights, if what was asked for can be; `exr`: without a folder for it."""
    several = light if isinstance(light, Sequence) and not isinstance(light, str) else (light,)
    if not several:
        raise InputError("no light was given", "give `light` FILE or NAME, several for a comparison", fields=("light",))
    if exr:
        raise InputError(
            "`exr` says how G-buffers are written", "give `gbuffers` FOLDER too", fields=("exr", "gbuffers")
        )
    if background not in get_args(Behind):
        raise InputError(
            f"`background` {background!r} is not known", f"give {', '.join(get_args(Behind))}", fields=("background",)
        )
    if not math.isfinite(rotate):
        raise InputError(f"`rotate` {rotate} is no angle", "give degrees", fields=("rotate",))
    return several


class _Change:
    """A film's change to one light: gains window by window, and what is seen of the light itself."""

    def __init__(
        self,
        named: NamedLight,
        rotate: float,
        film: Film,
        settings: FilmSettings,
        renderers: FilmRenderers,
        seen_size: tuple[int, int],
    ) -> None:
        self._named, self._rotate, self._film = named, rotate, film
        self._settings, self._renderers, self._size = settings, renderers, seen_size
        self._exposure, self._gain = settings.exposure, np.ones(3, dtype=np.float32)
        self._found = False
        self._behind: np.ndarray | None = None

    def gains(
        self, piece: Piece, maps: dict[str, np.ndarray], coverage: np.ndarray, old: np.ndarray, *, graded: bool
    ) -> np.ndarray:
        """Gains (n, h, w, 3) of a window; how bright the light is, is decided in the first, or the film would pump."""
        film, window, settings = self._film, piece.window, self._settings
        view: Any = {
            "camera_to_world": film.poses(window),
            "fov_degrees": settings.fov,
            "intrinsics": film.intrinsics(self._size, window),
        }
        if self._exposure is None:
            whole = self._named.turning(len(piece.seen), self._rotate)
            self._exposure = automatic_exposure(maps, whole, **view)
        light = self._named.turning(film.frames, self._rotate, window.start, window.stop)
        new = rendered(
            {**maps, "mask": coverage},
            self._renderers,
            settings,
            environment=light,
            exposure=self._exposure,
            whole=self._size == film.size,
            **view,
        )
        picture = relit(piece.seen, old, new)
        if not self._found and settings.exposure is None:
            self._gain = balance(piece.seen, picture, coverage)
        self._found = True
        found = gains(piece.seen, self._gain * picture, coverage, graded=graded)
        return found if self._rotate else steadied({"gain": found}, piece.seen)["gain"]

    def behind(self, frame: int, *, blurred: bool) -> np.ndarray:
        """The light as frame `frame` shows it where there is no surface, (H, W, 3) uint8 sRGB."""
        film = self._film
        still = self._rotate == 0 and film.clip is None
        if self._behind is None or not still:
            size = fitted(film.size, _BACKDROP_SIDE)
            lens = film.intrinsics(size)
            lens = intrinsics_from_fov(self._settings.fov, *size) if lens is None else lens.reshape(-1, 3, 3)
            lens = lens if lens.ndim == 2 else lens[frame % len(lens)]
            light = self._named.turning(film.frames, self._rotate, frame, frame + 1)
            pose = film.pose(frame)
            seen = backdrop(light, 0, pose, lens, size, _BLUR if blurred else 0.0)
            assert self._exposure is not None
            picture = (255 * on_screen(self._gain * self._exposure * seen) + 0.5).astype(np.uint8)
            self._behind = cv2.resize(picture, film.size[::-1], interpolation=cv2.INTER_CUBIC)
        return self._behind


def estimated(seen: np.ndarray, inverse: InverseRenderer, settings: FilmSettings) -> dict[str, np.ndarray]:
    """G-buffers (n, h, w, C) by name of one window (n, h, w, 3) as networks see it; `mask` where they give coverage."""
    family = inverse.backbone
    made = inverse(seen, tile_pixels=settings.tile_pixels(family), **settings.sampling(family))
    assert isinstance(made, InverseOutput)  # one video in, one out
    maps = {name: np.asarray(value) for name, value in made.gbuffers.items()}
    return maps if made.coverage is None else {**maps, "mask": np.asarray(made.coverage)}


def rendered(
    maps: Mapping[str, np.ndarray], renderers: FilmRenderers, settings: FilmSettings, *, whole: bool, **view: Any
) -> np.ndarray:
    """Linear radiance (n, h, w, 3) of G-buffers by what the settings choose; `view` as the forward renderer takes it.

    whole: they have the film's own size.
    """
    if not settings.shades(whole):
        return analytic_render(maps, covered(maps), **view)
    return srgb_decode(
        np.asarray(renderers.forward(maps, steps=settings.steps, generator=settings.noise(), **view).video)
    )


def cross_faded(plan: WindowPlan, outputs: Iterable[Sequence[np.ndarray]]) -> Iterator[list[np.ndarray]]:
    """`sampling.windows.stream` for several arrays (n, ...) per window, of any shapes: finished frames, one by one."""
    shapes: list[tuple[int, ...]] = []

    def flat() -> Iterator[torch.Tensor]:
        for arrays in outputs:
            shapes[:] = [array.shape[1:] for array in arrays]
            rows = [np.asarray(array, dtype=np.float32).reshape(len(array), -1) for array in arrays]
            yield torch.from_numpy(np.concatenate(rows, axis=1))[None, :, None, None]  # (n, N) -> (1, n, 1, 1, N)

    for block in stream(plan, flat()):
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        for row in block[0, :, 0, 0].numpy():  # (1, n, 1, 1, N) -> n times (N,)
            parts = np.split(row, ends[:-1])
            yield [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
