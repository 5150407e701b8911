"""`lightloom relight`: a film under another light. Open, estimate, light, render, write; window by window.

Two things that the forward renderer leaves open are settled here. A light from a file has no scale that means anything,
so its exposure is chosen as the datasets choose theirs. And networks may see the video smaller than it is: the detail
that got lost comes back from the video itself (`enlarged`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from editing.film import Film, VideoWriter, open_film, resized
from editing.lights import NamedLight, find_light
from editing.output import GbufferFiles, Sheet, stored_light, write_light
from editing.settings import DEFAULT, FilmRenderers, FilmSettings
from manifests.contract.attributes import GBUFFERS
from manifests.contract.color import on_screen, srgb_decode
from manifests.errors import InputError
from renderers import InverseRenderer
from renderers.inverse import InverseOutput
from renderers.sampling.windows import WindowPlan, stream
from renderers.shading.split_sum import BACKGROUND, automatic_exposure

FLOOR = 0.02
"""Linear light added to both parts of a ratio of pictures, so that darkness stays calm."""
_DETAIL = 2.0


def relight(
    film: str | Path | Film,
    light: str | Path | NamedLight | Sequence[str | Path | NamedLight],
    out: str | Path,
    *,
    rotate: float = 0.0,
    gbuffers: str | Path | None = None,
    exr: bool = False,
    show: bool = False,
    settings: FilmSettings = DEFAULT,
    renderers: FilmRenderers | None = None,
) -> list[Path]:
    """Show a film under another light; under several at once, as a comparison sheet. Keeps frame rate and size.

        relight("cat.mp4", "courtyard", "out/cat.mp4", rotate=360)

    Args:
        film: video file, folder of frames, dataset clip as "DATASET:KEY", or an open Film, which is read to its end.
        light: .hdr or .exr file, or built-in light such as "courtyard" or "studio/0007"; several make a sheet.
        out: the .mp4 to write.
        rotate: degrees that the light turns over the film.
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
    several = light if isinstance(light, Sequence) and not isinstance(light, str) else (light,)
    if not several:
        raise InputError("no light was given", "give `light` FILE or NAME, several for a comparison", fields=("light",))
    if exr and gbuffers is None:
        raise InputError(
            "`exr` says how G-buffers are written", "give `gbuffers` FOLDER too", fields=("exr", "gbuffers")
        )
    if not math.isfinite(rotate):
        raise InputError(f"`rotate` {rotate} is no angle", "give degrees", fields=("rotate",))
    renderers = renderers or FilmRenderers(settings)
    renderers.require("inverse", "forward")  # before anything is read
    lights = [find_light(each) for each in several]
    out = Path(out)
    written = [out]
    exposures: list[float | None] = [settings.exposure] * len(lights)

    def windows(film: Film, plan: WindowPlan) -> Iterator[list[np.ndarray]]:
        """Each window's input, its picture (n, H, W, 3) under every light and, where wanted, its G-buffers."""
        seen_size = film.seen_size(settings.side)
        for piece in film.pieces(plan):
            lens: Any = {"fov_degrees": settings.fov, "intrinsics": film.intrinsics(seen_size, piece.window)}
            seen = resized(piece.rgb, seen_size)
            maps = estimated(seen, renderers.inverse, settings)
            if show and piece.window.start == 0:
                found = renderers.estimator(seen, maps, **lens).environment
                written.extend(write_light(stored_light(np.asarray(found)), out.with_suffix("")))
            view = {"camera_to_world": film.poses(piece.window), **lens}
            pictures = []
            for index, named in enumerate(lights):
                if exposures[index] is None:  # found once, or the film would pump
                    whole = named.turning(len(piece.rgb), rotate)
                    exposures[index] = automatic_exposure(maps, whole, **view)
                turning = named.turning(film.frames, rotate, piece.window.start, piece.window.stop)
                how: Any = {"exposure": exposures[index], "steps": settings.steps, "generator": settings.noise()}
                rendered = renderers.forward(maps, turning, **how, **view)
                pictures.append(enlarged(np.asarray(rendered.video), piece.rgb, seen, maps))
            yield [piece.rgb, *pictures, *(maps[name] for name in (GBUFFERS if gbuffers else ()))]

    with open_film(film) as opened, ExitStack() as files:
        opened.find_camera(settings.camera, settings.fov, out)
        plan = settings.plan(opened.frames)
        sheet = Sheet(["input", *(named.name for named in lights)], opened.size) if len(lights) > 1 else None
        size = opened.size if sheet is None else sheet.size
        video = files.enter_context(VideoWriter(out, size, opened.fps, sound=opened.sound()))
        buffers = None
        if gbuffers is not None:
            buffers = GbufferFiles(Path(gbuffers), opened.seen_size(settings.side), opened.fps, exact=exr)
            files.enter_context(buffers)
        bar = files.enter_context(tqdm(total=opened.frames, desc="relight", unit="frame", leave=False))
        # A frame's time is known once the frame is: times come second in the zip.
        for values, seconds in zip(cross_faded(plan, windows(opened, plan)), opened.times, strict=True):
            pictures, maps = values[: 1 + len(lights)], values[1 + len(lights) :]
            video.write(pictures[1] if sheet is None else sheet.lay(pictures), seconds)
            if buffers is not None:
                buffers.write(dict(zip(GBUFFERS, maps, strict=True)), seconds)
            bar.update()
    return [*written, *([Path(gbuffers)] if gbuffers is not None else [])]


def estimated(seen: np.ndarray, inverse: InverseRenderer, settings: FilmSettings) -> dict[str, np.ndarray]:
    """G-buffers (n, h, w, C) by name of one window (n, h, w, 3) as networks see it."""
    made = inverse(
        seen, steps=settings.steps, window=settings.window, overlap=settings.overlap, generator=settings.noise()
    )
    assert isinstance(made, InverseOutput)  # one video in, one out
    return {name: np.asarray(value) for name, value in made.gbuffers.items()}


def enlarged(
    rendered: np.ndarray, video: np.ndarray, seen: np.ndarray, gbuffers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """A picture rendered smaller, (T, h, w, 3), at the video's size (T, H, W, 3), with the video's detail; all sRGB.

    `seen` (T, h, w, 3) is the video as the network saw it. What the video has beyond it, as a ratio of linear light,
    is mostly texture, which stays under any light; it is laid over surfaces, but not over the background, whose
    picture is the light's own.
    """
    size = video.shape[1:3]
    if rendered.shape[1:3] == size:
        return rendered
    covered = resized((gbuffers["depth"] < BACKGROUND).astype(np.float32), size)
    detail = (srgb_decode(video) + FLOOR) / (srgb_decode(resized(seen, size)) + FLOOR)
    detail = 1 + covered * (np.clip(detail, 1 / _DETAIL, _DETAIL) - 1)
    light = (srgb_decode(resized(rendered, size)) + FLOOR) * detail - FLOOR
    return on_screen(light)


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
