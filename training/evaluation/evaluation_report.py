"""The report of an evaluation: results.json, report.md and the galleries, all in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from manifests.files import write_bytes
from training.evaluation.acceptance import Bar, bars
from training.evaluation.benchmark import Benchmark
from training.evaluation.evaluation_settings import EvaluationSettings
from training.evaluation.gallery import Strip, worst_gallery
from training.evaluation.scores import HIGHER_IS_BETTER, Score, tables


@dataclass(frozen=True)
class Published:
    """One published line: PSNR in dB, SSIM and LPIPS, or what `figures` says instead."""

    task: str
    method: str
    figures: str


FIGURES = (
    Published("forward, SyntheticObjects", "DiffusionRenderer", "28.3 / .935 / .048"),
    Published("forward, SyntheticObjects", "DiffusionRenderer without environment encoder", "27.8 dB"),
    Published("forward, SyntheticObjects", "RGB<->X", "25.2 / .896 / .077"),
    Published("forward, SyntheticObjects", "SSRT", "29.4 dB"),
    Published("forward, SyntheticScenes", "DiffusionRenderer", "26.0 / .780 / .201"),
    Published("forward, SyntheticScenes", "RGB<->X", "18.5 / .645 / .302"),
    Published("forward and relighting, SyntheticScenes", "DiffusionRenderer on Cosmos", "26.61 / .841 / .222"),
    Published("forward and relighting, SyntheticScenes", "UniRelight", "26.97 / .847 / .190"),
    Published("relighting, SyntheticObjects", "DiffusionRenderer", "27.5 dB"),
    Published("relighting, SyntheticScenes", "DiffusionRenderer", "24.63 / .756 / .257"),
    Published("relighting, SyntheticScenes", "DiLightNet", "18.88 / .576 / .344"),
    Published(
        "inverse, SyntheticScenes",
        "DiffusionRenderer",
        "albedo 26.0 dB; metallic RMSE .039; roughness RMSE .078",
    ),
    Published("inverse, SyntheticScenes", "its image model", "metallic RMSE .066; roughness RMSE .098"),
    Published("inverse, SyntheticScenes", "DiffusionRenderer on Cosmos", "albedo 28.56 dB"),
    Published("inverse, InteriorVerse", "DiffusionRenderer", "albedo 22.4 dB"),
)

COMPARABLE = """\
Comparable: the order of methods on one benchmark, the gap to a baseline that both sides measured (SplitSum stands in
for the rasterised baselines), and how much video adds to single frames (theirs: 41 % on metallic, 20 % on roughness).

Not comparable: the absolute numbers. Their assets are Objaverse's at 512x512 and are not published; ours are this
catalogue's test split at the size given above. Small pictures of plain materials are easier in PSNR, and a network of
this size has seen a thousandth of the data. LPIPS depends on size and backbone, and ST-LPIPS is another scale
altogether. Their base colour figure may be scale-invariant; ours is given both ways. Each clip's exposure is known to
every method here."""


def markdown() -> str:
    """The published figures as a Markdown table, with the note on what may be compared."""
    lines = ["| task | method | PSNR / SSIM / LPIPS, or as said |", "|---|---|---|"]
    lines += [f"| {line.task} | {line.method} | {line.figures} |" for line in FIGURES]
    return "\n".join(lines) + "\n\n" + COMPARABLE


RESULTS, REPORT = "results.json", "report.md"

RANKED_BY = {
    "inverse": ("psnr", "basecolor"),
    "forward": ("surface_psnr", ""),
    "relighting": ("surface_psnr", ""),
    "turn": ("turn_gain", ""),
}
"""The metric and attribute by which a task's worst clips are found."""

_SHOWN_UIDS = 8


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out of an evaluation.

    `strips` are the pictures of the galleries by task; `seen` the uids of assets that the training set shows too, None
    where no training set was given.
    """

    settings: EvaluationSettings
    benchmark: Benchmark
    scores: Sequence[Score]
    strips: Mapping[str, Sequence[Strip]]
    seen: Sequence[str] | None

    @cached_property
    def bars(self) -> list[Bar]:
        """Every bar, judged."""
        return bars(self.scores)

    def seen_line(self) -> str:
        """One line on whether training had seen what is tested."""
        if self.seen is None:
            return "no training set was given: whether the assets are unseen is not checked, averages are left out"
        if not self.seen:
            return "no asset and no place of the benchmark occurs in the training set"
        shown = ", ".join(self.seen[:_SHOWN_UIDS]) + (", ..." if len(self.seen) > _SHOWN_UIDS else "")
        return f"WARNING: {len(self.seen)} assets of the benchmark were seen in training ({shown})"

    def write(self, out: Path) -> Path:
        """Write everything to `out`; returns the path of report.md."""
        for task, strips in self.strips.items():
            sheet = worst_gallery(task, strips, higher_is_better=RANKED_BY[task][0] in HIGHER_IS_BETTER)
            write_bytes(out / f"worst-{task}.webp", sheet)
        write_bytes(out / RESULTS, msgspec.json.format(msgspec.json.encode(self.results()), indent=1) + b"\n")
        write_bytes(out / REPORT, self.markdown().encode())
        return out / REPORT

    def results(self) -> dict[str, Any]:
        """Everything as JSON values, down to the score of every clip."""
        return {
            "settings": self.settings.identity(self.benchmark.path),
            "benchmark": {part: msgspec.structs.asdict(row) | {"clips": clips} for part, row, clips in self._parts()},
            "seen_in_training": self.seen,
            "bars": [msgspec.to_builtins(bar) for bar in self.bars],
            "tables": [msgspec.to_builtins(table) for table in tables(self.scores)],
            "scores": [msgspec.to_builtins(score) for score in self.scores],
        }

    def markdown(self) -> str:
        """The report as Markdown."""
        lines = ["# Evaluation", ""]
        for name in ("inverse", "forward", "lighting", "training"):
            value = getattr(self.settings, name)
            lines += [f"- {name}: {value}"] if value is not None else []
        for part, row, clips in self._parts():
            lines.append(f"- {part}: {clips} clips of {row.frames} frames, {row.width}x{row.height}")
        lines += [f"- {self.seen_line()}", "", "## Bars", "", "```", *(bar.line() for bar in self.bars), "```", ""]
        lines += ["## Tables", "", "Means over clips, pictures in sRGB; `surface` counts surface pixels only, and"]
        lines += ["oracles see the truth.", ""]
        for table in tables(self.scores):
            lines += [f"### {table.title} ({table.clips} clips)", "", table.markdown(), ""]
        lines += ["## Worst clips", "", *(f"![{task}](worst-{task}.webp)" for task in self.strips), ""]
        lines += ["## Published figures", "", markdown(), ""]
        return "\n".join(lines)

    def _parts(self) -> list[tuple[str, _Size, int]]:
        """Name, size of a clip, and number of clips that were measured, by part."""
        measured: dict[str, set[tuple[int, int]]] = {}
        for score in self.scores:
            measured.setdefault(score.part, set()).add((score.scene, score.light))
        return [
            (part.name, _Size(row.recipe, row.frames, row.height, row.width), len(measured.get(part.name, ())))
            for part in self.benchmark.parts
            for row in part.rows[:1]
        ]


class _Size(msgspec.Struct, frozen=True):
    recipe: str
    frames: int
    height: int
    width: int
