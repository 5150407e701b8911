"""The report of scored edits: edits.json, edits.md, and a sheet with every case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from editing.benchmark.cases import EDITS, FRAMES, SAMPLES, Edit
from editing.benchmark.edit_videos import ASSUMED, MODES, OURS
from manifests.display import PAPER, eight_bits, tile, webp
from manifests.files import write_bytes
from manifests.report.templates import render
from training.baselines import edit_baselines
from training.evaluation.acceptance import Bar, judged
from training.evaluation.scores import Score, Table, mean, select, tables

RESULTS, REPORT, SHEET = "edits.json", "edits.md", "edits.webp"
NAIVE = {
    "colour": (edit_baselines.UNCHANGED, edit_baselines.RATIO, edit_baselines.TINT, edit_baselines.CHROMA),
    "gloss": (edit_baselines.UNCHANGED,),
    "metal": (edit_baselines.UNCHANGED,),
    "insert": (edit_baselines.UNCHANGED, edit_baselines.PASTE),
    "insert, camera moves": (edit_baselines.UNCHANGED, edit_baselines.PASTE),
}
"""What each edit has to beat; oracles are shown but do not compete."""

TITLES = {"truth": "true G-buffers, camera and light", "pixels": "from pixels: estimated G-buffers and light"}
_TILE, _GAP, _LABEL = 128, 4, 16
_INK = (236, 236, 232)


@dataclass(frozen=True, eq=False)
class Row:
    """One case on the sheet: pictures (H, W, 3) by caption."""

    name: str
    pictures: Mapping[str, np.ndarray]


@dataclass(eq=False)
class Findings:
    """What was measured: `settings` as JSON values, scores, rows of the sheet, and what could not be done.

    feet: pixels by which the feet of inserted things are off, frame after frame of all scenes, by mode and edit.
    """

    settings: dict[str, Any]
    scores: list[Score] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    feet: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def bars(self) -> list[Bar]:
        """Ours against the best naive edit in the region, by edit and mode; and what must hold where cameras move."""
        moving: Edit = "insert, camera moves"
        box = [mean(select(self.scores, "pixels", "box_psnr", method=of, part=moving)) for of in (OURS, ASSUMED)]
        feet = self.feet.get(("pixels", moving))
        sticks = f"{moving}, {TITLES['pixels']}"
        return [
            judged(
                f"{edit}, {TITLES[mode]}",
                "dB over the best naive edit in the region",
                _lead(self.scores, mode, edit),
                ">",
                0.0,
            )
            for mode in MODES
            for edit in EDITS
        ] + [
            judged(
                sticks,
                "dB over a camera assumed to stand still, in a box twice the thing's size",
                None if box[0] is None or box[1] is None else box[0] - box[1],
                ">=",
                3.0,
            ),
            judged(
                sticks,
                "pixels by which the foot is off in a frame, 95th percentile",
                None if feet is None else float(np.percentile(feet, 95)),
                "<=",
                1.0,
            ),
        ]

    def write(self, out: Path) -> Path:
        """Write everything to `out`; returns the path of edits.md."""
        plain = {
            "settings": self.settings,
            "bars": [msgspec.to_builtins(bar) for bar in self.bars()],
            "tables": [msgspec.to_builtins(table) for table in self._tables()],
            "problems": self.problems,
            "feet": {f"{edit}, {mode}": off for (mode, edit), off in self.feet.items()},
            "scores": [msgspec.to_builtins(score) for score in self.scores],
        }
        write_bytes(out / RESULTS, msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")
        write_bytes(out / SHEET, sheet(self.rows))
        write_bytes(out / REPORT, self.markdown().encode())
        return out / REPORT

    def markdown(self) -> str:
        """The report as Markdown."""
        return render(
            "editing.benchmark/edits.md",
            settings=self.settings,
            frames=FRAMES,
            samples=SAMPLES,
            bars=self.bars(),
            tables=self._tables(),
            problems=self.problems,
            sheet=SHEET,
        )

    def _tables(self) -> list[Table]:
        order: list[tuple[str, str]] = [(mode, edit) for mode in MODES for edit in EDITS]
        return tables(sorted(self.scores, key=lambda score: order.index((score.task, score.part))))


def _lead(scores: Sequence[Score], mode: str, edit: str) -> float | None:
    def of(method: str) -> float | None:
        return mean(select(scores, mode, "region_psnr", method=method, part=edit))

    ours, others = of(OURS), [value for method in NAIVE[edit] if (value := of(method)) is not None]
    return None if ours is None or not others else ours - max(others)


def sheet(rows: Sequence[Row]) -> bytes:
    """All rows under each other, as WebP."""
    columns = max((len(row.pictures) for row in rows), default=1)
    step = _TILE + 2 * _LABEL + _GAP
    image = Image.new("RGB", (columns * (_TILE + _GAP), max(1, len(rows)) * step), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(11)
    for index, row in enumerate(rows):
        top = index * step
        draw.text((_GAP, top), row.name, _INK, font)
        for column, (caption, picture) in enumerate(row.pictures.items()):
            left = column * (_TILE + _GAP)
            draw.text((left, top + _LABEL), caption[:24], _INK, font)
            image.paste(tile(eight_bits(picture), _TILE), (left, top + 2 * _LABEL))
    return webp(image, 92, method=2)
