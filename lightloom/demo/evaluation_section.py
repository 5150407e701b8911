"""The evaluation on the page: bars, our method beside the baselines, all tables, and the worst clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from lightloom.demo.demo_commands import Chain
from lightloom.demo.page_videos import data
from lightloom.stages import Record
from manifests.errors import RunError
from manifests.report.charts import bars
from training.evaluation.scores import HIGHER_IS_BETTER, heading

_CHARTS = (
    ("forward · SyntheticScenes", "surface_psnr", "Forward rendering", "PSNR of surfaces in dB, more is better"),
    ("relighting · SyntheticScenes", "surface_psnr", "Relighting", "PSNR of surfaces in dB, more is better"),
    ("inverse · basecolor · SyntheticScenes", "psnr", "Base colour", "PSNR in dB, more is better"),
    ("inverse · normal · SyntheticScenes", "mean_angle", "Normals", "mean error in degrees, less is better"),
)
_STATES = {True: ("holds", "holds"), False: ("fails", "fails"), None: ("open", "reported")}


def evaluation(chain: Chain, records: Sequence[Record]) -> str:
    """The section on the benchmark."""
    path = chain.out / "evaluation" / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"cannot be read ({error})", "delete it and stages/evaluate.json, and run again", where=path
        ) from None
    sizes = chain.sizes.benchmark
    seen = found["seen_in_training"]
    unseen = "None of it was seen in training" if not seen else f"{len(seen)} of its assets were seen in training"
    text = (
        f"A benchmark of {sizes.scenes.clips} clips, each scene under several lights, and {sizes.turns.clips} under a "
        f"turning one, from things and places of the test split. {unseen}. Each number stands beside what simple "
        "methods reach; a bar is what a well trained renderer must pass. After minutes of training some do not hold, "
        "and so few scenes measure roughly: --preset small trains longer and measures more."
    )
    line = next((record.line for record in records if record.name == "evaluate"), "")
    return (
        f'<p class="lead">{escape(text)}</p><pre class="line">$ {escape(line)}</pre>'
        f'<div class="charts four">{"".join(_chart(found["tables"], *chart) for chart in _CHARTS)}</div>'
        f"{_bars(found['bars'])}{_tables(found['tables'])}{_galleries(chain)}"
    )


def _chart(tables: Sequence[dict[str, Any]], title: str, metric: str, words: str, note: str) -> str:
    table = next((table for table in tables if table["title"] == title), None)
    if table is None or metric not in table["columns"]:
        return ""
    column = table["columns"].index(metric)
    values = {
        method: round(cells[column], 2)
        for method, cells in zip(table["rows"], table["cells"], strict=True)
        if cells[column] is not None
    }
    ours = [method for method in values if method.startswith("ours")]
    order = sorted(values, key=lambda method: values[method], reverse=metric in HIGHER_IS_BETTER)
    drawn = bars({method: values[method] for method in order}, most=len(order), warn=ours)
    caption = f"<b>{escape(words)}</b> {escape(note)}; ours in colour, {table['clips']} clips"
    return f'<figure class="chart"><figcaption>{caption}</figcaption>{drawn}</figure>'


def _bars(found: Sequence[dict[str, Any]]) -> str:
    rows = []
    for bar in found:
        kind, words = _STATES[bar["holds"]] if bar["measured"] is not None else ("open", "not measured")
        cells = (bar["name"], bar["rule"], _number(bar["measured"]), _number(bar["needed"]))
        rows.append(
            f'<tr><td class="{kind}">{words}</td>'
            + "".join(
                f"<td{' class=number' if index > 1 else ''}>{escape(cell)}</td>" for index, cell in enumerate(cells)
            )
            + "</tr>"
        )
    words = "<th></th><th>bar</th><th>what is compared</th>"
    head = f"<tr>{words}<th class=number>measured</th><th class=number>needed</th></tr>"
    return f'<div class="table"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _tables(tables: Sequence[dict[str, Any]]) -> str:
    shown = "".join(
        f'<h3 class="words">{escape(table["title"])} ({table["clips"]} clips)</h3>{_table(table)}' for table in tables
    )
    return f"<details><summary>All {len(tables)} tables</summary>{shown}</details>"


def _table(table: dict[str, Any]) -> str:
    head = "".join(f"<th class=number>{escape(heading(column))}</th>" for column in table["columns"])
    best = [_best(table, index, column) for index, column in enumerate(table["columns"])]
    rows = ""
    for method, cells in zip(table["rows"], table["cells"], strict=True):
        shown = (
            f"<td class=number>{f'<b>{_number(cell)}</b>' if _fair(method) and cell == top else _number(cell)}</td>"
            for cell, top in zip(cells, best, strict=True)
        )
        rows += f"<tr><td>{escape(method)}</td>{''.join(shown)}</tr>"
    return f'<div class="table"><table><thead><tr><th>method</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _best(table: dict[str, Any], index: int, column: str) -> float | None:
    """The best value of a column, of methods that do not see the truth."""
    rows = zip(table["rows"], table["cells"], strict=True)
    known = [cells[index] for method, cells in rows if cells[index] is not None and _fair(method)]
    return (max if column in HIGHER_IS_BETTER else min)(known, default=None)


def _fair(method: str) -> bool:
    return "oracle" not in method


def _galleries(chain: Chain) -> str:
    found = sorted((chain.out / "evaluation").glob("worst-*.webp"))
    return "".join(
        f"<details><summary>Worst clips: {escape(path.stem.removeprefix('worst-'))}</summary>"
        f'<img alt="worst clips" loading="lazy" src="{data("image/webp", path.read_bytes())}"></details>'
        for path in found
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
