"""`lightloom weights build`: the command lines that make the shipped weights, from an empty folder to model cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lightloom.demo.footage import FOLDER, make_footage
from lightloom.demo.stages import Stage
from lightloom.weights import WeightsError
from manifests.atomic import write_bytes

RECIPE = "train-tiny"
SHARES = {"inverse": 0.45, "lighting": 0.15, "forward": 0.3, "cotrained": 0.1}
"""How the minutes of training are divided."""

_FOOTAGE = {"base": "tiny", "name": "footage", "split": "train", "frames": 24, "render": {"denoiser": "balanced"}}
_TITLES = {"inverse": "inverse renderer", "lighting": "lighting estimator", "forward": "forward renderer"}


@dataclass(frozen=True)
class Rebuild:
    """What to make, and where.

    Attributes:
        out: folder for everything.
        minutes: of all trainings together.
        seed: of the trainings; the dataset's is the next one, that of the footage the one after it.
        clips: of the training set.
        footage: clips that stand for real footage, from which the LoRA learns.
        preset: of the trainings.
        scenes: of each part of the benchmark; None is the benchmark's own size.
    """

    out: Path
    minutes: float
    seed: int
    clips: int
    footage: int
    preset: str
    scenes: int | None = None

    def __post_init__(self) -> None:
        if not self.minutes > 0 or self.clips < 1 or self.footage < 2 or self.seed < 0:
            raise WeightsError(
                "--minutes has to be above 0, --clips at least 1, --footage at least 2, --seed 0 or more"
            )

    def stages(self) -> list[Stage]:
        """All stages in order; each is a command of its own, and goes on where it was."""
        more = ["--real", self.at("labelled"), "--start", self.at("forward/renderer")]
        return [
            _stage("dataset", "Render the training set", self._rendered("dataset", RECIPE, self.clips, self.seed + 1)),
            *(self._training(kind, kind, f"Train the {title}") for kind, title in _TITLES.items()),
            _stage("judge", "Train what says how wrong labels are", self._judging()),
            Stage("scenes", "Render clips to film", self._scenes),
            Stage("label", "Label the footage", self._label),
            self._training("cotrained", "forward", "Co-train the forward renderer", more),
            _stage("benchmark", "Render the benchmark", ["evaluate", "build", self.at("benchmark"), *self._counts()]),
            _stage("evaluate", "Measure the renderers", self._evaluation()),
            _stage("pack", "Pack weights and cards", self._packing()),
        ]

    def at(self, name: str) -> str:
        """A path below `out`, as it is typed."""
        return str(self.out / name)

    def renderers(self) -> list[str]:
        """Options that name the renderers made here."""
        found = [("inverse", "judge"), ("forward", "cotrained"), ("lighting", "lighting")]
        return [word for option, name in found for word in (f"--{option}", self.at(f"{name}/renderer"))]

    def _rendered(self, folder: str, recipe: str, clips: int, seed: int) -> list[str]:
        return ["datagen", "run", self.at(folder), "--recipe", recipe, "--clips", str(clips), "--seed", str(seed)]

    def _training(self, name: str, task: str, title: str, more: Sequence[str] = ()) -> Stage:
        minutes = self.minutes * SHARES[name]
        options = ["--preset", self.preset, "--minutes", f"{minutes:g}", "--seed", str(self.seed), *more, "--resume"]
        return _stage(name, title, ["train", task, self.at("dataset"), self.at(name), *options])

    def _judging(self) -> list[str]:
        options = ["--preset", self.preset, "--seed", str(self.seed), "--resume"]
        inverse = ["--inverse", self.at("inverse/renderer")]
        return ["train", "judge", self.at("dataset"), self.at("judge"), *inverse, *options]

    def _scenes(self) -> list[str]:
        recipe = self.out / "footage.yaml"
        write_bytes(recipe, yaml.safe_dump(_FOOTAGE, sort_keys=False).encode())
        return self._rendered("scenes", str(recipe), self.footage, self.seed + 2)

    def _label(self) -> list[str]:
        make_footage(self.out / "scenes", self.out)
        weights = ["--inverse", self.at("judge/renderer"), "--lighting", self.at("lighting/renderer")]
        who = ["--licence", "CC0-1.0", "--author", "Lightloom", "--length", "12"]
        return ["label", "run", self.at(FOLDER), self.at("labelled"), *weights, *who]

    def _counts(self) -> list[str]:
        if self.scenes is None:
            return []
        return [word for part in ("objects", "scenes", "turns") for word in (f"--{part}", str(self.scenes))]

    def _evaluation(self) -> list[str]:
        folders = [self.at("benchmark"), self.at("evaluation")]
        return ["evaluate", "run", *folders, *self.renderers(), "--training", self.at("dataset")]

    def _packing(self) -> list[str]:
        lora = ["--lora", self.at("cotrained/renderer"), "--evaluation", self.at("evaluation")]
        return ["weights", "pack", *self.renderers(), *lora, "--out", self.at("weights")]


def _stage(name: str, title: str, arguments: list[str]) -> Stage:
    return Stage(name, title, lambda: arguments)
