"""`python -m benchmarks.weights build`: the command lines that make the shipped weights, from nothing to cards."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from editing.settings import SHIPPED
from lightloom import cli
from lightloom.demo.demo_film import FOLDER, make_footage
from lightloom.stages import StageCommand
from manifests.errors import CheckpointError
from manifests.files import write_bytes

RECIPES = {"dataset": ("train-tiny", 1.0), "objects": ("train-objects", 1 / 3), "unseen": ("train-tiny", 1 / 6)}
"""Datasets by folder: recipe, and share of the clips. Renderers learn from the first two, their judge from the last."""

SHARES = {"inverse": 0.3, "continued": 0.3, "lighting": 0.1, "forward": 0.2, "cotrained": 0.1}
"""How the minutes of training are divided."""

STAGE = (sys.executable, "-c", "from benchmarks.weights.rebuilding import run_stage; run_stage()")
"""What takes a stage's arguments: those of `lightloom`, or a module of `benchmarks` and its arguments."""

_PHOTO_SHARES = {"inverse": 0.5, "forward": 0.2, "selection": 0.3}
_FOOTAGE = {"base": "tiny", "name": "footage", "split": "train", "frames": 24, "render": {"denoiser": "balanced"}}
_OURS = ("--licence", "Apache-2.0")
_TITLES = {"inverse": "inverse renderer", "lighting": "lighting estimator", "forward": "forward renderer"}


@dataclass(frozen=True)
class Rebuild:
    """What to make, and where.

    Attributes:
        out: folder for everything.
        minutes: of all trainings together.
        seed: of the trainings; the datasets and the footage have the next ones.
        clips: of the training set's larger part; the others are in proportion.
        footage: clips that stand for real footage, from which the LoRA learns.
        preset: of the trainings from random weights.
        continued: preset of the inverse renderer's second training.
        scenes: of each part of the benchmark; None is the benchmark's own size.
    """

    out: Path
    minutes: float
    seed: int
    clips: int
    footage: int
    preset: str
    continued: str = "tiny-continued"
    scenes: int | None = None

    def __post_init__(self) -> None:
        if not self.minutes > 0 or self.clips < 1 or self.footage < 2 or self.seed < 0:
            raise CheckpointError(
                "--minutes has to be above 0, --clips at least 1, --footage at least 2, --seed 0 or more"
            )

    def stages(self) -> list[StageCommand]:
        """All stages in order; each is a command of its own, and goes on where it was."""
        more = ["--real", self.at("labelled"), "--start", self.at("forward/renderer")]
        again = ["--start", self.at("inverse/renderer")]
        return [
            *(self._dataset(folder, 1 + number) for number, folder in enumerate(RECIPES)),
            *(self._training(kind, kind, f"Train the {title}") for kind, title in _TITLES.items()),
            self._training("continued", "inverse", "Train the inverse renderer further", again),
            _stage("judge", "Train what says how wrong labels are", _judging(self, "continued/renderer")),
            StageCommand("scenes", "Render clips to film", self._scenes),
            StageCommand("label", "Label the footage", self._label),
            self._training("cotrained", "forward", "Co-train the forward renderer", more),
            _stage("benchmark", "Render the benchmark", _benchmark(self.at("benchmark"), self.scenes)),
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

    def _dataset(self, folder: str, seed: int) -> StageCommand:
        recipe, share = RECIPES[folder]
        line = _rendering(self.at(folder), recipe, max(2, round(self.clips * share)), self.seed + seed)
        return _stage(folder, f"Render clips to learn from: {recipe}", line)

    def _training(self, name: str, task: str, title: str, more: Sequence[str] = ()) -> StageCommand:
        preset = self.continued if name == "continued" else self.preset
        minutes = ["--minutes", f"{self.minutes * SHARES[name]:g}"]
        seed = str(self.seed + (name == "continued"))
        options = [
            "--more",
            self.at("objects"),
            "--preset",
            preset,
            *minutes,
            "--seed",
            seed,
            *more,
            *_OURS,
            "--resume",
        ]
        return _stage(name, title, ["train", task, self.at("dataset"), self.at(name), *options])

    def _scenes(self) -> list[str]:
        recipe = self.out / "footage.yaml"
        write_bytes(recipe, yaml.safe_dump(_FOOTAGE, sort_keys=False).encode())
        return _rendering(self.at("scenes"), str(recipe), self.footage, self.seed + 4)

    def _label(self) -> list[str]:
        make_footage(self.out / "scenes", self.out)
        weights = ["--inverse", self.at("judge/renderer"), "--lighting", self.at("lighting/renderer")]
        who = ["--licence", "CC0-1.0", "--author", "Lightloom", "--length", "12"]
        return ["label", "run", self.at(FOLDER), self.at("labelled"), *weights, *who]

    def _evaluation(self) -> list[str]:
        folders = [self.at("benchmark"), self.at("evaluation")]
        return ["evaluate", "run", *folders, *self.renderers(), "--training", self.at("dataset")]

    def _packing(self) -> list[str]:
        lora = ["--lora", self.at("cotrained/renderer"), "--evaluation", self.at("evaluation")]
        return ["benchmarks.weights", "pack", *self.renderers(), *lora, "--out", self.at("weights")]


@dataclass(frozen=True)
class PhotoRebuild:
    """What sees photographs: the renderers of `photo`, and the network that selects.

    Attributes:
        out, minutes, seed, clips, scenes: as of `Rebuild`; the clips are `train-world`'s.
        preset: of the trainings of renderers.
        narrow: steps of the selection's schedule, 4,000 in earnest.
    """

    out: Path
    minutes: float
    seed: int
    clips: int
    preset: str = "photo"
    scenes: int | None = None
    narrow: int = 4000

    def stages(self) -> list[StageCommand]:
        """All stages in order; each is a command of its own, and goes on where it was."""

        def clips(folder: str, count: int, seed: int) -> list[str]:
            return _rendering(self.at(folder), "train-world", count, self.seed + seed)

        found = ["--inverse", self.at("judge/renderer"), "--forward", self.at("forward/renderer")]
        evaluation = [self.at("benchmark"), self.at("evaluation"), *found, "--training", self.at("dataset")]
        pack = [*found, "--evaluation", self.at("evaluation"), "--out", self.at("weights/photo")]
        selection = [self.at("dataset"), "--out", self.at("selection"), "--minutes", self._minutes("selection")]
        often = ["--steps", str(self.narrow), "--seed", str(self.seed)]
        return [
            _stage("dataset", "Render clips to learn from", clips("dataset", self.clips, 1)),
            _stage("inverse", "Train the inverse renderer", self._training("inverse", [])),
            StageCommand("forward", "Train the forward renderer", self._forward),
            _stage("unseen", "Render clips for the judge", clips("unseen", max(2, self.clips // 8), 2)),
            _stage("judge", "Train what says how wrong labels are", _judging(self, "inverse/renderer")),
            _stage("benchmark", "Render the benchmark", _benchmark(self.at("benchmark"), self.scenes)),
            _stage("evaluate", "Measure the renderers", ["evaluate", "run", *evaluation]),
            _stage("pack", "Pack weights and cards", ["benchmarks.weights", "pack", *pack]),
            _stage("selection", "Train what selects", ["benchmarks.selection_training", *selection, *often]),
        ]

    def at(self, name: str) -> str:
        """A path below `out`, as it is typed."""
        return str(self.out / name)

    def _minutes(self, name: str) -> str:
        return f"{self.minutes * _PHOTO_SHARES[name]:g}"

    def _training(self, task: str, more: Sequence[str], preset: str | None = None) -> list[str]:
        how = ["--preset", preset or self.preset, "--minutes", self._minutes(task), "--seed", str(self.seed)]
        return ["train", task, self.at("dataset"), self.at(task), *how, *more, *_OURS, "--resume"]

    def _forward(self) -> list[str]:
        """It goes on from the one of `tiny`, and learns from what the new inverse renderer estimates as well."""
        preset = self.out / "forward.yaml"
        plain = {"base": self.preset, "forward": {"estimates": self.at("inverse/renderer")}}
        write_bytes(preset, yaml.safe_dump(plain, sort_keys=False).encode())
        return self._training("forward", ["--start", str(SHIPPED / "tiny" / "forward")], str(preset))


def run_stage() -> None:
    """Run a stage's arguments, those of this process."""
    words = sys.argv[1:]
    if words and words[0].startswith("benchmarks."):
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        cli.main()


def _rendering(folder: str, recipe: str, clips: int, seed: int) -> list[str]:
    return ["datagen", "run", folder, "--recipe", recipe, "--clips", str(clips), "--seed", str(seed)]


def _judging(chain: Rebuild | PhotoRebuild, inverse: str) -> list[str]:
    """It learns from clips that the inverse renderer has not seen."""
    options = ["--preset", chain.preset, "--seed", str(chain.seed), *_OURS, "--resume"]
    return ["train", "judge", chain.at("unseen"), chain.at("judge"), "--inverse", chain.at(inverse), *options]


def _benchmark(folder: str, scenes: int | None) -> list[str]:
    """Arguments that build a benchmark whose parts have so many scenes each; None leaves it its own size."""
    counts = [] if scenes is None else [f"--{part}={scenes}" for part in ("objects", "scenes", "turns")]
    return ["evaluate", "build", folder, *counts]


def _stage(name: str, title: str, arguments: list[str]) -> StageCommand:
    return StageCommand(name, title, lambda: arguments)
