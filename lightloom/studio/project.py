"""A clip that is open in the studio: what its first frame shows, and what is known of it.

What is tried out is tried on the first frame, because selections and objects start there and a frame takes little time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from editing.film import Film, VideoWriter, open_film, resized
from editing.relighting import estimated
from editing.settings import FilmRenderers, FilmSettings
from manifests.contract.attributes import GBUFFERS
from manifests.contract.camera import fitted
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers.modelspace import channels_last, gbuffer_values

_PLAYED_SIDE = 960


@dataclass(frozen=True, eq=False)
class Project:
    """An open clip. The film itself stays on disk.

    Attributes:
        name: for people.
        source: what `open_film` takes.
        folder: of the project's own files; goes with it.
        size: (H, W), frames: T, fps: of the film.
        first: the first frame alone, with all that is known of it.
        seen: (1, h, w, 3) that frame as networks see it, sRGB in [0, 1].
        gbuffers: of that frame, (1, h, w, C) by name, depth relative: the film's own or estimated.
        known: whether the film knows its G-buffers, camera and light.
        playable: an mp4 of the film that browsers play, perhaps smaller.
        said: what its reader has to say of it, a line each.
    """

    name: str
    source: str
    folder: Path
    size: tuple[int, int]
    frames: int
    fps: float
    first: Clip
    seen: np.ndarray
    gbuffers: Mapping[str, np.ndarray]
    known: bool
    playable: Path
    said: tuple[str, ...] = ()

    def film(self, *, whole: bool = True) -> Film:
        """The film, or its first frame alone."""
        return open_film(self.source) if whole else Film(self.name, self.first)

    @property
    def told(self) -> str:
        """What was opened, and what is to be known of it, in a line."""
        height, width = self.size
        seen = "its own G-buffers, camera and light" if self.known else "G-buffers estimated"
        opened = f"{self.name} · {width} x {height} · {self.frames} frames at {self.fps:.4g}/s · {seen}"
        return " · ".join([opened, *self.said])

    def close(self) -> None:
        """Remove the project's files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def open_project(
    source: str, folder: Path, most_frames: int, settings: FilmSettings, renderers: FilmRenderers
) -> Project:
    """Open what `open_film` calls `source`; the project's files go to `folder`. LightloomError says what is wrong.

    renderers: estimate G-buffers where the film does not know its own.
    """
    name = Path(source).name
    with open_film(source) as film:
        if film.frames > most_frames:
            raise InputError(f"{film.frames} frames, at most {most_frames} are taken here", "cut it first", where=name)
        playable = folder / "input.mp4"
        size = fitted(film.size, _PLAYED_SIDE)
        with VideoWriter(playable, size, film.fps) as video, tqdm(total=film.frames, desc="read", leave=False) as bar:
            for frame, (rgb, seconds) in enumerate(film.read()):
                if frame == 0:
                    first = rgb[None]
                video.write(resized(rgb[None], size)[0], seconds)
                bar.update()
        clip = film.clip
        known = clip is not None and _knows_all(clip)
        still = Clip("still", {"rgb": srgb_decode(first)}, fps=film.fps) if clip is None else _first_frame(clip)
        if known:
            seen = first
            gbuffers = {name: channels_last(value) for name, value in gbuffer_values(still).items()}
        else:
            seen = resized(first, renderers.seen_size(film))
            gbuffers = estimated(seen, renderers.inverse, settings)
        size, said = film.size, tuple(film.problems)
        return Project(name, source, folder, size, film.frames, film.fps, still, seen, gbuffers, known, playable, said)


def _knows_all(clip: Clip) -> bool:
    complete = all(name in clip.arrays for name in GBUFFERS)
    measured = clip.meta.get("depth") != "relative"
    return complete and measured and clip.camera is not None and clip.environment is not None


def _first_frame(clip: Clip) -> Clip:
    camera, light = clip.camera, clip.environment
    return replace(
        clip,
        arrays={name: array[:1] for name, array in clip.arrays.items()},
        camera=None if camera is None else camera.at(slice(1)),
        environment=None if light is None else Environment(light.image, light.rotation[:1]),
    )
