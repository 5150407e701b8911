"""What the studio does, without a browser: it opens clips and hands them to the editing commands' own code.

One thing is rendered at a time; who calls from several threads takes turns (the app's queue does).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np

from datagen.insert_render import find_asset
from editing.film import Film, open_film
from editing.insertion import Place, insert_into
from editing.lights import LEVEL_CAMERA, NamedLight
from editing.material_edits import edit_film, parse_material
from editing.relighting import Settings, intrinsics, relight_film, stored
from editing.selection import TOLERANCE, Choice, Selector
from editing.settings import Rendering, settings_of
from editing.weights import load_estimator, load_forward, load_inverse
from lightloom.commands.assets import load
from lightloom.studio.limits import Limits
from lightloom.studio.pictures import frame_at
from lightloom.studio.project import Project, open_project
from manifests.errors import InputError
from renderers import ForwardRenderer, InverseRenderer
from renderers.lighting_estimator import Estimator
from renderers.sampling.windows import plan_windows

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Result:
    """video: of the whole clip, or of its first frame (`whole` False). files: to download. told: a line for people."""

    video: Path
    whole: bool
    files: tuple[Path, ...]
    told: str


class Workshop:
    """Opens clips and edits them.

    Args:
        rendering: which renderers, and how.
        limits: of what is opened.
        folder: where projects keep their files.
        sources: clips that may be opened by name, as `open_film` calls them.
    """

    def __init__(self, rendering: Rendering, limits: Limits, folder: Path, sources: Mapping[str, str]) -> None:
        self.rendering, self.limits, self.sources, self._folder = rendering, limits, sources, folder
        self.settings: Settings = settings_of(rendering)
        self._numbers = count(1)
        self._forward: dict[bool, ForwardRenderer] = {}

    @cached_property
    def inverse(self) -> InverseRenderer:
        """The inverse renderer; loaded when it is first needed, as the others."""
        return load_inverse(self.rendering.inverse, self.rendering.device)

    def forward(self, project: Project) -> ForwardRenderer:
        """The forward renderer; the default one's LoRA is for footage, not for rendered clips."""
        lora = not project.known
        if lora not in self._forward:
            self._forward[lora] = load_forward(self.rendering.forward, self.rendering.device, lora=lora)
        return self._forward[lora]

    @cached_property
    def estimator(self) -> Estimator:
        """What finds the light of a clip."""
        return load_estimator(self.rendering.lighting, self.rendering.device)

    def open(self, source: str) -> Project:
        """Open a video file, a folder of frames or DATASET:KEY."""
        folder = Path(tempfile.mkdtemp(prefix="project-", dir=self._folder))
        try:
            return open_project(source, folder, self.limits, self.settings, lambda: self.inverse)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def own_light(self, project: Project) -> NamedLight:
        """The light of the clip's first frame: its own where it is known, else an estimate."""
        name = f"the light of {project.name}"
        still = project.first
        if project.known and still.environment is not None:
            turn = still.environment.rotation[0]
            return NamedLight(name, still.environment.image).turned(
                float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
            )
        film = Film(project.name, still)
        found = self.estimator(
            project.seen,
            project.gbuffers,
            fov_degrees=self.settings.fov_degrees,
            intrinsics=intrinsics(film, project.seen.shape[1:3]),
        )
        pose = LEVEL_CAMERA if still.camera is None else still.camera.camera_to_world[0]
        return NamedLight(name, stored(np.asarray(found.environment), pose))

    def select(
        self, project: Project, point: tuple[int, int], tolerance: float = TOLERANCE
    ) -> tuple[Choice, np.ndarray]:
        """What is at a pixel (x, y) of the first frame: as a choice, and its mask (h, w, 1) in [0, 1].

        A clip that knows its instances answers with the instance, any other with what is connected and looks alike.
        """
        instances = project.first.arrays.get("instance")
        number = 0 if instances is None else int(instances[0, point[1], point[0], 0])
        if instances is not None and number == 0:
            raise InputError("that is the background", "click an object")
        choice = Choice(number or None, None, None if number else point, tolerance)
        film, plan = Film(project.name, project.first), plan_windows(1, 1, 0)
        selector = Selector(choice, film, plan, (project.seen.shape[1], project.seen.shape[2]))
        return choice, selector.window(plan.windows[0], project.seen, project.gbuffers)[0]

    def relight(
        self, project: Project, light: NamedLight, *, turn: float = 0.0, gbuffers: bool = False, whole: bool = True
    ) -> Result:
        """The clip under a light that turns by `turn` degrees over it; `gbuffers` come as a zip file."""
        out = self._out(project, "relit", whole)
        maps = out.with_suffix("") if gbuffers else None
        with project.film(whole=whole) as film:
            relight_film(
                film,
                [light],
                self.inverse,
                self.forward(project),
                out,
                rotate=turn if whole else 0.0,
                settings=self.settings,
                gbuffers=maps,
                exact=gbuffers,
            )
        return Result(out, whole, (out, *_zipped(maps)), f"relit by {light.name}")

    def edit(self, project: Project, choice: Choice, words: Sequence[str], *, whole: bool = True) -> Result:
        """The clip with the choice made of another material, said as `lightloom edit --set` says it."""
        material = parse_material(words)
        out = self._out(project, "edited", whole)
        mask = out.with_name(f"{out.stem}-mask.mp4")
        with project.film(whole=whole) as film:
            inverse = None if project.known else self.inverse
            edit_film(
                film,
                choice,
                material,
                inverse,
                self.forward(project),
                self.estimator,
                out,
                settings=self.settings,
                mask_out=mask,
            )
        return Result(out, whole, (out, mask), "with " + ", ".join(word.replace("=", " ") for word in words))

    def insert(self, project: Project, asset: str, place: Place, *, whole: bool = True) -> Result:
        """The clip with an asset in it: a mesh file, or a uid of the built-in catalogue. G-buffers come zipped."""
        thing = find_asset(asset, load(None))
        out = self._out(project, "inserted", whole)
        maps = out.with_suffix("")
        with project.film(whole=whole) as film:
            lines = insert_into(film, thing, place, self.forward(project), out, self.settings, self.rendering, maps)
        told = next(line for line in lines if line.startswith("object")).removeprefix("object").strip()
        return Result(out, whole, (out, *_zipped(maps)), told)

    def compare(self, project: Project, result: Result, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame `index` of the clip and of the result, both (H, W, 3) sRGB in [0, 1]."""
        with project.film(whole=result.whole) as before, open_film(str(result.video)) as after:
            pair = frame_at(before, index), frame_at(after, index)
        height, width = project.size
        return pair[0], pair[1][:height, :width]  # 4:2:0 has even sides only

    def _out(self, project: Project, what: str, whole: bool) -> Path:
        stem = _UNSAFE.sub("-", Path(project.name).stem).strip("-") or "clip"
        return project.folder / f"{stem}-{what}-{next(self._numbers)}{'' if whole else '-first'}.mp4"


def _zipped(folder: Path | None) -> tuple[Path, ...]:
    """The folder as a zip file beside it, in its place."""
    if folder is None:
        return ()
    archive = shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return (Path(archive),)
