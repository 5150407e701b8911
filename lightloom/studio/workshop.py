"""What the studio does, without a browser: it opens clips and hands them to room `editing`, as the commands do.

One thing is rendered at a time; who calls from several threads takes turns (the app's queue does).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from editing.film import Film, VideoWriter, open_film
from editing.insertion import Scale, insert
from editing.lights import NamedLight
from editing.material_edits import MaterialChange, edit
from editing.output import stored_light
from editing.relighting import relight
from editing.selection import TOLERANCE, Pixel, SelectionRequest, instance_selection, picked
from editing.settings import FilmRenderers, FilmSettings
from lightloom.stages import render_clip
from lightloom.studio.project import Project, open_project
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from manifests.store.layout import HEADER

EXAMPLE, PLAIN_EXAMPLE = "example: a rendered clip, all known", "example: the same as a plain video"
"""Clips that every studio offers; they are rendered when one of them is first opened."""

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Result:
    """video: of the whole clip, or of its first frame (`whole` False). files: to download. told: a line for people.
    placed: whether something was put in, which can be moved."""

    video: Path
    whole: bool
    files: tuple[Path, ...]
    told: str
    placed: bool = False


class Workshop:
    """Opens clips and edits them.

    Args:
        settings: which renderers, and how.
        most_frames: longer clips are not opened.
        folder: where projects keep their files.
        sources: clips that may be opened by name, as `open_film` calls them.
    """

    def __init__(self, settings: FilmSettings, most_frames: int, folder: Path, sources: Mapping[str, str]) -> None:
        self.settings, self.sources = settings, {**sources, EXAMPLE: EXAMPLE, PLAIN_EXAMPLE: PLAIN_EXAMPLE}
        self._most_frames, self._folder = most_frames, folder
        self.renderers = FilmRenderers(settings)
        self._numbers = count(1)

    def open(self, source: str) -> Project:
        """Open a video file, a folder of frames, DATASET:KEY, or one of the examples."""
        source = self.found(source)
        folder = Path(tempfile.mkdtemp(prefix="project-", dir=self._folder))
        try:
            return open_project(source, folder, self._most_frames, self.settings, self.renderers)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def found(self, source: str) -> str:
        """A source as `open_film` calls it. An example is rendered, by Blender in its own process, where it is not."""
        if source not in (EXAMPLE, PLAIN_EXAMPLE):
            return source
        dataset, video = self._folder / "example", self._folder / "example.mp4"
        if not (dataset / HEADER).is_file() or not open_dataset(dataset).rows():
            render_clip(dataset, "demo")
        clip = f"{dataset}:{open_dataset(dataset).rows()[0].key}"
        if source == EXAMPLE:
            return clip
        if not video.is_file():
            with open_film(clip) as film, VideoWriter(video, film.size, film.fps) as writer:
                for rgb, seconds in film.read():
                    writer.write(rgb, seconds)
        return str(video)

    def own_light(self, project: Project) -> NamedLight:
        """The light of the clip's first frame: its own where it is known, else an estimate."""
        name = f"the light of {project.name}"
        still = project.first
        if project.known and still.environment is not None:
            turn = still.environment.rotation[0]
            return NamedLight(name, still.environment.image).turned(
                float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
            )
        found = self.renderers.estimator(
            project.seen,
            project.gbuffers,
            fov_degrees=self.settings.fov,
            intrinsics=Film(project.name, still).intrinsics((project.seen.shape[1], project.seen.shape[2])),
        )
        pose = None if still.camera is None else still.camera.camera_to_world[0]
        return NamedLight(name, stored_light(np.asarray(found.environment), pose))

    def select(
        self, project: Project, picks: Sequence[Pixel], excludes: Sequence[Pixel] = (), tolerance: float = TOLERANCE
    ) -> tuple[SelectionRequest, np.ndarray]:
        """What is at pixels (x, y) of the first frame, not at others: as a request, and its mask (H, W, 1) in [0, 1].

        A clip that knows its instances answers a single pick with the instance.
        """
        instances = project.first.arrays.get("instance")
        if instances is not None and len(picks) == 1 and not excludes:
            ((x, y),) = picks
            number = int(instances[0, y, x, 0])
            if number == 0:
                raise InputError("that is the background", "click an object")
            request = SelectionRequest(instance=number)
        else:
            request = SelectionRequest(pick=tuple(picks), exclude=tuple(excludes), tolerance=tolerance)
        with project.film(whole=False) as film:
            first = film.frame(0)
        if instances is not None and request.instance is not None:
            return request, instance_selection(instances, request.instance)[0]
        return request, picked(first, request.pick, request.exclude, tolerance)

    def relight(
        self, project: Project, light: NamedLight, *, turn: float = 0.0, gbuffers: bool = False, whole: bool = True
    ) -> Result:
        """The clip under a light that turns by `turn` degrees over it; `gbuffers` come as a zip file."""
        out = self._out(project, "relit", whole)
        maps = out.with_suffix("") if gbuffers else None
        film, rotate = project.film(whole=whole), turn if whole else 0.0
        relight(film, light, out, rotate=rotate, gbuffers=maps, exr=gbuffers, **self._how(project))
        return Result(out, whole, (out, *_zipped(maps)), _told(f"relit by {light.name}", film, project))

    def edit(
        self, project: Project, request: SelectionRequest, change: Mapping[str, Any], *, whole: bool = True
    ) -> Result:
        """The clip with what is requested made of another material, said as `editing.edit` takes it."""
        material = MaterialChange.of(change)
        out = self._out(project, "edited", whole)
        mask_out = out.with_name(f"{out.stem}-mask.mp4")
        film = project.film(whole=whole)
        edit(
            film,
            material,
            out,
            instance=request.instance,
            pick=request.pick,
            exclude=request.exclude,
            tolerance=request.tolerance,
            truth=project.known,
            mask_out=mask_out,
            **self._how(project),
        )
        told = ", ".join(f"{name} {value}" for name, value in change.items())
        return Result(out, whole, (out, mask_out), _told(f"with {told}", film, project))

    def insert(
        self,
        project: Project,
        asset: str,
        at: tuple[int, int],
        *,
        scale: Scale = None,
        rotate: float = 0.0,
        whole: bool = True,
    ) -> Result:
        """The clip with an asset at a pixel: a mesh file, or a uid of the built-in catalogue.

        G-buffers of the whole clip come zipped.
        """
        out = self._out(project, "inserted", whole)
        maps = out.with_suffix("") if whole else None
        film = project.film(whole=whole)
        made = insert(film, asset, at, out, scale=scale, rotate=rotate, gbuffers=maps, **self._how(project))
        told = _told("; ".join(made.placed), film, project)
        return Result(out, whole, (out, *_zipped(maps)), told, placed=True)

    def compare(self, project: Project, result: Result, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame `index` of the clip and of the result, both (H, W, 3) sRGB in [0, 1]."""
        with project.film(whole=result.whole) as before, open_film(str(result.video)) as after:
            pair = before.frame(index), after.frame(index)
        height, width = project.size
        return pair[0], pair[1][:height, :width]  # 4:2:0 has even sides only

    def _how(self, project: Project) -> dict[str, Any]:
        """Settings and renderers; the default forward renderer's LoRA is for footage, not for rendered clips."""
        renderers = self.renderers.without_lora() if project.known else self.renderers
        return {"settings": self.settings, "renderers": renderers}

    def _out(self, project: Project, what: str, whole: bool) -> Path:
        stem = _UNSAFE.sub("-", Path(project.name).stem).strip("-") or "clip"
        return project.folder / f"{stem}-{what}-{next(self._numbers)}{'' if whole else '-first'}.mp4"


def _told(made: str, film: Film, project: Project) -> str:
    """What was made, and what of the film's problems was not said when it was opened, in a line."""
    return " · ".join([made, *(problem for problem in film.problems if problem not in project.said)])


def _zipped(folder: Path | None) -> tuple[Path, ...]:
    """The folder as a zip file beside it, in its place."""
    if folder is None:
        return ()
    archive = shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return (Path(archive),)
