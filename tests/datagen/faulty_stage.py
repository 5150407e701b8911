"""The datagen stage with scenes that misbehave, for the engine's promises on real work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from datagen.render_stage import RenderStage, RenderWorker
from pipeline.stage import Encode
from scenes.recipes import Recipe, load_recipe, make_recipe
from scenes.spec import File, Object, SceneSpec, to_json


def smallest_recipe() -> Recipe:
    """`tiny` with 4 frames of 32x32 at 2 samples."""
    plain = msgspec.json.decode(to_json(load_recipe("tiny")))
    plain["frames"] = 4
    plain["render"].update(width=32, height=32, samples=2, environment_height=32, importance_width=64)
    return make_recipe(plain)


@dataclass(frozen=True, kw_only=True)
class FaultyStage(RenderStage):
    """`faults` by scene: `segfault` and `hang` while producing; `mesh` and `environment` swap a file in."""

    faults: Mapping[int, str] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)

    def make_worker(self) -> RenderWorker:
        return FaultyWorker(self)

    def spec(self, index: int) -> SceneSpec:
        spec = super().spec(index)
        fault = self.faults.get(index)
        if fault == "mesh":
            broken: Object = msgspec.structs.replace(spec.objects[0], mesh=self.files["mesh"])
            return msgspec.structs.replace(spec, objects=(broken, *spec.objects[1:]))
        if fault == "environment":
            dark = msgspec.structs.replace(spec.lights[0], map=self.files["environment"])
            return msgspec.structs.replace(spec, lights=(dark, *spec.lights[1:]))
        return spec


@dataclass(frozen=True, kw_only=True)
class WeighedStage(RenderStage):
    """Notes the worker's resident memory after each scene, a line "PID SCENE MIB" in the file `notes`."""

    notes: str

    def make_worker(self) -> RenderWorker:
        return WeighedWorker(self)


class WeighedWorker(RenderWorker):
    def __init__(self, stage: WeighedStage) -> None:
        super().__init__(stage)
        self._notes = stage.notes

    def produce(self, index: int) -> Encode:
        finish = super().produce(index)
        with Path(self._notes).open("a") as file:
            file.write(f"{os.getpid()} {index} {psutil.Process().memory_info().rss / 2**20:.1f}\n")
        return finish


class FaultyWorker(RenderWorker):
    def __init__(self, stage: FaultyStage) -> None:
        super().__init__(stage)
        self._faults = stage.faults

    def produce(self, index: int) -> Encode:
        fault = self._faults.get(index)
        if fault == "hang":
            time.sleep(600)
        finish = super().produce(index)
        if fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        return finish
