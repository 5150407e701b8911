"""Scores as plain records, one number each, and the tables that they are averaged into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

PART_NAMES = {"objects": "SyntheticObjects", "scenes": "SyntheticScenes", "turns": "turning light"}

HIGHER_IS_BETTER = frozenset(
    {"psnr", "surface_psnr", "si_psnr", "ssim", "shadow_psnr", "lit_psnr", "turn_gain", "turn_parting"}
    | {"region_psnr", "outside_psnr", "object_psnr", "box_psnr"}
)
"""Metrics of which more is better; of all others less is."""


@dataclass(frozen=True)
class Score:
    """One number: `metric` of `method` at `task` on clip (`part`, `scene`, `light`); `attribute` is "" for pictures."""

    part: str
    scene: int
    light: int
    task: str
    method: str
    attribute: str
    metric: str
    value: float


@dataclass(frozen=True)
class Table:
    """Means over clips: `cells[row][column]` of `rows` (methods) and `columns` (metrics); None where not measured."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...]
    clips: int

    def shown(self) -> list[tuple[str, list[tuple[str, bool]]]]:
        """For each method (text, best) of its cells: best of the column; methods that see the truth do not compete."""
        fair = ["oracle" not in method for method in self.rows]
        best = [
            _best(metric, [cells[column] for cells, competes in zip(self.cells, fair, strict=True) if competes])
            for column, metric in enumerate(self.columns)
        ]
        return [
            (
                method,
                [
                    (cell(value), competes and value is not None and value == top)
                    for value, top in zip(cells, best, strict=True)
                ],
            )
            for method, cells, competes in zip(self.rows, self.cells, fair, strict=True)
        ]

    def markdown(self) -> str:
        """The table in Markdown, the best of each column in bold."""
        lines = [
            f"| method | {' | '.join(heading(column) for column in self.columns)} |",
            f"|---|{'---:|' * len(self.columns)}",
        ]
        for method, cells in self.shown():
            lines.append(f"| {method} | {' | '.join(f'**{text}**' if best else text for text, best in cells)} |")
        return "\n".join(lines)


def select(
    scores: Iterable[Score],
    task: str,
    metric: str,
    *,
    method: str | None = None,
    attribute: str = "",
    part: str | None = None,
) -> list[Score]:
    """The scores of one metric at one task, of one method and part or of all."""
    return [
        score
        for score in scores
        if (score.task, score.metric, score.attribute) == (task, metric, attribute)
        and method in (None, score.method)
        and part in (None, score.part)
    ]


def mean(scores: Sequence[Score]) -> float | None:
    """Mean value; None of no score."""
    return fmean(score.value for score in scores) if scores else None


def tables(scores: Sequence[Score]) -> list[Table]:
    """One table for each task, attribute and part, in the order in which they first occur."""
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.task, score.attribute, score.part), []).append(score)
    made = []
    for (task, attribute, part), members in groups.items():
        rows, columns = (
            tuple(dict.fromkeys(getattr(score, field) for score in members)) for field in ("method", "metric")
        )
        values: dict[tuple[str, str], list[float]] = {}
        for score in members:
            values.setdefault((score.method, score.metric), []).append(score.value)
        cells = tuple(
            tuple(fmean(values[row, column]) if (row, column) in values else None for column in columns) for row in rows
        )
        clips = len({(score.scene, score.light) for score in members})
        title = f"{task}{f' · {attribute}' if attribute else ''} · {PART_NAMES.get(part, part)}"
        made.append(Table(title, rows, columns, cells, clips))
    return made


def heading(metric: str) -> str:
    """A metric's name with an arrow toward better."""
    return f"{metric.replace('_', ' ')} {'↑' if metric in HIGHER_IS_BETTER else '↓'}"


def _best(metric: str, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return (max if metric in HIGHER_IS_BETTER else min)(known, default=None)


def cell(value: float | None) -> str:
    """A number as tables show it."""
    if value is None:
        return "–"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
