"""The stages of the demo in order: the command lines that a user would type, from a dataset to a relit video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from editing.settings import DEFAULTS
from lightloom.demo.demo_film import FOLDER, SUBJECT, Cast, make_footage, read_cast
from lightloom.demo.sizes import DemoSizes
from lightloom.stages import StageCommand
from manifests.errors import RunError
from manifests.files import write_bytes

SIZES = "demo.json"
SHIPPED = "shipped"
FILMS = ("relight", "compare", "edit", "remake", "insert")

type _Commands = dict[str, tuple[str, Callable[[], list[str]]]]
"""By the stage's name its title, and what gives the arguments of `lightloom` when it starts."""


@dataclass(frozen=True)
class Chain:
    """The stages of one demo, in the folder `out`."""

    out: Path
    sizes: DemoSizes

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

    def stages(self) -> list[StageCommand]:
        """All stages in order: the synthetic data and what learns from it, footage, measurements, edited videos."""
        at, sizes, minutes = self.at, self.sizes, self.sizes.minutes
        scenes, turns = sizes.benchmark.scenes.clips, sizes.benchmark.turns.clips
        commands: _Commands = {
            "dataset": ("Render a synthetic dataset", lambda: self._render("dataset", sizes.dataset.clips)),
            "verify": ("Check every byte of it", lambda: ["data", "verify", at("dataset")]),
            "report": ("Write the dataset's own page", lambda: ["data", "report", at("dataset")]),
            "inverse": ("Train the inverse renderer", lambda: self._train("inverse", minutes.inverse)),
            "lighting": ("Train the lighting estimator", lambda: self._train("lighting", minutes.lighting)),
            "forward": ("Train the forward renderer", lambda: self._train("forward", minutes.forward)),
            "plates": ("Render clips to film", lambda: self._render("footage", sizes.footage.clips + 1, "plates")),
            "label": ("Label the footage", self._label),
            "cotrained": ("Co-train the forward renderer", self._cotrain),
            "scenes": ("Render a benchmark", lambda: self._render("scenes", scenes, "benchmark/scenes")),
            "turns": ("Render turning lights", lambda: self._render("turns", turns, "benchmark/turns")),
            "evaluate": ("Measure the renderers", self._evaluate),
            **self._edits("", self.weights()),
        }
        if all(DEFAULTS.get(kind) is not None for kind in ("inverse", "forward")):
            commands |= self._edits(SHIPPED, ["--weights", "tiny"])  # its films are as small as theirs
        return [StageCommand(name, title, command) for name, (title, command) in commands.items()]

    def at(self, name: str | Path) -> str:
        """A path below `out`, as it is typed."""
        return str(self.out / name)

    def weights(self) -> list[str]:
        """Options that name the renderers made here."""
        made = {"--inverse": "inverse", "--forward": "cotrained", "--lighting": "lighting"}
        return [word for option, name in made.items() for word in (option, self.at(f"{name}/renderer"))]

    def _render(self, recipe: str, clips: int, folder: str = "") -> list[str]:
        out, seed = self.at(folder or recipe), self.sizes.seed + bool(folder)
        file = self.at(f"{recipe}.yaml")
        return ["datagen", "run", out, "--recipe", file, "--clips", str(clips), "--seed", str(seed)]

    def _train(self, task: str, minutes: float, folder: str = "", more: Sequence[str] = ()) -> list[str]:
        preset = ["--preset", self.at("training.yaml"), "--minutes", f"{minutes:g}", "--seed", str(self.sizes.seed)]
        return ["train", task, self.at("dataset"), self.at(folder or task), *preset, *more, "--resume"]

    def _cotrain(self) -> list[str]:
        more = ["--real", self.at("labelled"), "--start", self.at("forward/renderer")]
        return self._train("forward", self.sizes.minutes.cotraining, "cotrained", more)

    def _label(self) -> list[str]:
        make_footage(self.out / "plates", self.out)
        weights = ["--inverse", self.at("inverse/renderer"), "--lighting", self.at("lighting/renderer")]
        length = ["--size", str(self.sizes.side), "--length", str(self.sizes.labels.length)]
        who = ["--licence", "CC0-1.0", "--author", "Lightloom demo"]
        return ["label", "run", self.at(FOLDER), self.at("labelled"), *weights, *length, *who]

    def _evaluate(self) -> list[str]:
        where = [self.at("benchmark"), self.at("evaluation")]
        return ["evaluate", "run", *where, *self.weights(), "--training", self.at("dataset")]

    def _edits(self, folder: str, weights: Sequence[str]) -> _Commands:
        """What is done to the video; `folder` below films/ is "" for the weights made here."""
        prefix, words = (f"{folder}-", f", {folder} weights") if folder else ("", "")
        sizes, video = self.sizes, self.at(SUBJECT)
        turn = ["--env", sizes.relight.env, "--rotate", f"{sizes.relight.rotate:g}"]
        maps = ["--gbuffers", self.at(Path("films", folder, "gbuffers")), "--show"]

        def film(kind: str) -> list[str]:
            out = self.at(Path("films", folder, f"{kind}.mp4"))
            return ["--out", out, "--side", str(sizes.side), *weights]

        def edit() -> list[str]:
            x, y = read_cast(self.out).pick
            return ["edit", video, "--pick", f"{x},{y}", "--set", *sizes.edit.video, *film("edit")]

        def remake() -> list[str]:
            cast = read_cast(self.out)
            which = ["--select", f"instance={cast.instance}", "--truth"]
            return ["edit", self._clip(cast), *which, "--set", *sizes.edit.clip, *film("remake")]

        def insert() -> list[str]:
            cast = read_cast(self.out)
            place = ["--at", f"{cast.stand[0]},{cast.stand[1]}", "--rotate", f"{sizes.insert.rotate:g}"]
            how = [] if folder else ["--render", "network"]  # the one that was trained here
            return ["insert", self._clip(cast), "--asset", sizes.insert.asset, *place, *how, *film("insert")]

        commands: _Commands = {
            "relight": ("Relight the video", lambda: ["relight", video, *turn, *maps, *film("relight")]),
            "compare": (
                "Compare lights",
                lambda: ["relight", video, "--env", *sizes.relight.compare, *film("compare")],
            ),
            "edit": ("Change a colour in the video", edit),
            "remake": ("Change a material in the clip", remake),
            "insert": ("Insert an object", insert),
        }
        return {prefix + name: (title + words, command) for name, (title, command) in commands.items()}

    def _clip(self, cast: Cast) -> str:
        """The rendered clip behind the video, as it is typed."""
        return f"{self.at('plates')}:{cast.key}"
