"""The stages of the demo in order: the command lines that a user would type, from a dataset to a relit video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from editing.settings import DEFAULTS
from lightloom.demo.demo_film import FOLDER, SUBJECT, make_footage, read_cast
from lightloom.demo.sizes import Sizes
from lightloom.stages import Stage
from manifests.errors import RunError
from manifests.files import write_bytes

SIZES = "demo.json"
SHIPPED = "shipped"
_WORDS = {"inverse": "inverse renderer", "lighting": "lighting estimator", "forward": "forward renderer"}
FILMS = ("relight", "compare", "edit", "remake", "insert")


@dataclass(frozen=True)
class Chain:
    """The chain of one demo in the folder `out`."""

    out: Path
    sizes: Sizes

    def prepare(self) -> None:
        """Write what the commands read; RunError when the folder holds a demo of other sizes."""
        path, wanted = self.out / SIZES, msgspec.json.format(msgspec.json.encode(self.sizes), indent=1) + b"\n"
        self.out.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() != wanted:
            raise RunError(f"holds a demo of other sizes (see its {SIZES})", "give another --out", where=self.out)
        for name, plain in (
            ("training", self.sizes.training),
            ("dataset", self.sizes.dataset.recipe),
            ("footage", self.sizes.footage.recipe),
            ("scenes", self.sizes.benchmark.scenes.recipe),
            ("turns", self.sizes.benchmark.turns.recipe),
        ):
            write_bytes(self.out / f"{name}.yaml", yaml.safe_dump(plain, sort_keys=False).encode())
        write_bytes(path, wanted)

    def stages(self) -> list[Stage]:
        """All stages in order."""
        return [*self._synthetic(), *self._real(), *self._measured(), *self._films()]

    def _synthetic(self) -> list[Stage]:
        """Stage 1 of the pipeline, and training on it alone."""
        sizes = self.sizes
        return [
            self._stage("dataset", "Render a synthetic dataset", self._rendered("dataset", sizes.dataset.clips)),
            self._stage("verify", "Check every byte of it", ["data", "verify", self.at("dataset")]),
            self._stage("report", "Write the dataset's own page", ["data", "report", self.at("dataset")]),
            self._training("inverse", "inverse", sizes.minutes.inverse),
            self._training("lighting", "lighting", sizes.minutes.lighting),
            self._training("forward", "forward", sizes.minutes.forward),
        ]

    def _real(self) -> list[Stage]:
        """Footage, its labels, and training on both."""
        sizes = self.sizes
        more = ["--real", self.at("labelled"), "--start", self.at("forward/renderer")]
        return [
            self._stage("plates", "Render clips to film", self._rendered("footage", sizes.footage.clips + 1, "plates")),
            Stage("label", "Label the footage", self._label),
            self._training("cotrained", "forward", sizes.minutes.cotraining, more, "Co-train the forward renderer"),
        ]

    def _measured(self) -> list[Stage]:
        """A benchmark of unseen things, and what is measured on it."""
        scenes, turns = self.sizes.benchmark.scenes.clips, self.sizes.benchmark.turns.clips
        return [
            self._stage("scenes", "Render a benchmark", self._rendered("scenes", scenes, "benchmark/scenes")),
            self._stage("turns", "Render turning lights", self._rendered("turns", turns, "benchmark/turns")),
            self._stage(
                "evaluate",
                "Measure the renderers",
                ["evaluate", "run", self.at("benchmark"), self.at("evaluation"), *self.weights("--training")],
            ),
        ]

    def _films(self) -> list[Stage]:
        """What is done to the film, with the weights made here and, where there are any, with the shipped ones."""
        sources = {"": self.weights()}
        if all(DEFAULTS.get(kind) is not None for kind in ("inverse", "forward")):
            sources[SHIPPED] = []
        return [stage for folder, weights in sources.items() for stage in self._edits(folder, weights)]

    def _edits(self, folder: str, weights: list[str]) -> list[Stage]:
        sizes, video = self.sizes, self.at(SUBJECT)
        name = f"{folder}-{{}}" if folder else "{}"
        words = ", shipped weights" if folder else ""

        def film(kind: str) -> list[str]:
            side = ["--side", str(sizes.side)]
            return ["--out", self.at(Path("films", folder, f"{kind}.mp4")), *side, *weights]

        def edit() -> list[str]:
            x, y = read_cast(self.out).pick
            return ["edit", video, "--pick", f"{x},{y}", "--set", *sizes.edit.video, *film("edit")]

        def clip() -> str:
            return f"{self.at('plates')}:{read_cast(self.out).key}"

        def remake() -> list[str]:
            number = read_cast(self.out).instance
            which = ["--select", f"instance={number}", "--truth"]
            return ["edit", clip(), *which, "--set", *sizes.edit.clip, *film("remake")]

        def insert() -> list[str]:
            x, y = read_cast(self.out).stand
            place = ["--at", f"{x},{y}", "--rotate", f"{sizes.insert.rotate:g}"]
            return ["insert", clip(), "--asset", sizes.insert.asset, *place, *film("insert")]

        maps = ["--gbuffers", self.at(Path("films", folder, "gbuffers")), "--show"]
        turn = ["--env", sizes.relight.env, "--rotate", f"{sizes.relight.rotate:g}", *maps]
        return [
            self._stage(
                name.format("relight"), f"Relight the video{words}", ["relight", video, *turn, *film("relight")]
            ),
            self._stage(
                name.format("compare"),
                f"Compare lights{words}",
                ["relight", video, "--env", *sizes.relight.compare, *film("compare")],
            ),
            Stage(name.format("edit"), f"Change a colour in the video{words}", edit),
            Stage(name.format("remake"), f"Change a material in the clip{words}", remake),
            Stage(name.format("insert"), f"Insert an object{words}", insert),
        ]

    def at(self, name: str | Path) -> str:
        """A path below `out`, as it is typed."""
        return str(self.out / name)

    def weights(self, training: str = "") -> list[str]:
        """Options that name the renderers made here."""
        found = [("--inverse", "inverse"), ("--forward", "cotrained"), ("--lighting", "lighting")]
        options = [word for option, name in found for word in (option, self.at(f"{name}/renderer"))]
        return [*options, training, self.at("dataset")] if training else options

    def _rendered(self, recipe: str, clips: int, folder: str = "") -> list[str]:
        out, seed = self.at(folder or recipe), self.sizes.seed + bool(folder)
        file = self.at(f"{recipe}.yaml")
        return ["datagen", "run", out, "--recipe", file, "--clips", str(clips), "--seed", str(seed)]

    def _training(self, name: str, task: str, minutes: float, more: Sequence[str] = (), title: str = "") -> Stage:
        preset = ["--preset", self.at("training.yaml"), "--minutes", f"{minutes:g}", "--seed", str(self.sizes.seed)]
        arguments = ["train", task, self.at("dataset"), self.at(name), *preset, *more, "--resume"]
        return self._stage(name, title or f"Train the {_WORDS[task]}", arguments)

    def _label(self) -> list[str]:
        make_footage(self.out / "plates", self.out)
        weights = [self.at(f"{name}/renderer") for name in ("inverse", "lighting")]
        who = ["--licence", "CC0-1.0", "--author", "Lightloom demo"]
        length = ["--size", str(self.sizes.side), "--length", str(self.sizes.labels.length), *who]
        return [
            "label",
            "run",
            self.at(FOLDER),
            self.at("labelled"),
            "--inverse",
            weights[0],
            "--lighting",
            weights[1],
            *length,
        ]

    @staticmethod
    def _stage(name: str, title: str, arguments: list[str]) -> Stage:
        return Stage(name, title, lambda: arguments)
