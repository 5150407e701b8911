"""The report of an evaluation: results.json, report.md and the galleries, all in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from manifests.files import write_bytes
from manifests.report.templates import render
from training.evaluation.acceptance import Bar, bars
from training.evaluation.benchmark import Benchmark
from training.evaluation.evaluation_settings import EvaluationSettings
from training.evaluation.gallery import Strip, worst_gallery
from training.evaluation.scores import HIGHER_IS_BETTER, Score, tables

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
        named = ("inverse", "forward", "lighting", "training")
        renderers = {name: path for name in named if (path := getattr(self.settings, name)) is not None}
        return render(
            "training.evaluation/evaluation.md",
            renderers=renderers,
            parts=self._parts(),
            seen=self.seen_line(),
            bars=self.bars,
            tables=tables(self.scores),
            tasks=self.strips,
        )

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
