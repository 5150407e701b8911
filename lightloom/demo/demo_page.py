"""`write_page`: one self-contained HTML page that tells the demo's story, in the style of the datasets' own pages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from markupsafe import Markup
from PIL import Image

from editing.film import open_video, steady
from lightloom.demo.demo_commands import FILMS, SHIPPED, Chain
from lightloom.demo.demo_film import SUBJECT, read_cast
from lightloom.stages import Record
from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.row import ClipRow
from manifests.display import webp
from manifests.errors import RunError
from manifests.files import write_bytes
from manifests.report.charts import bars
from manifests.report.grids import Grid, clip_grid, tiled
from manifests.report.templates import macro, render
from manifests.store.dataset import open_dataset
from training.evaluation.acceptance import Bar
from training.evaluation.scores import HIGHER_IS_BETTER, Table, cell, heading

PAGE = "index.html"
OURS, PUBLISHED = "trained by this demo", "shipped weights"
_NAMES = {"basecolor": "base colour", "environment": "light"}
_FILM, _SHEET, _SAMPLES = 384, 640, 640
"""Largest sides, in pixels, of a video, of a video that is a sheet of several, and the width of training samples."""

_COMPARED = (
    ("forward · SyntheticScenes", "surface_psnr", "Forward rendering", "PSNR of surfaces in dB, more is better"),
    ("relighting · SyntheticScenes", "surface_psnr", "Relighting", "PSNR of surfaces in dB, more is better"),
    ("inverse · basecolor · SyntheticScenes", "psnr", "Base colour", "PSNR in dB, more is better"),
    ("inverse · normal · SyntheticScenes", "mean_angle", "Normals", "mean error in degrees, less is better"),
)
"""Tables and metrics that are drawn, with title and note."""

_SMOOTH = 0.12


class Results(msgspec.Struct, frozen=True):
    """What the page shows of an evaluation's results.json."""

    seen_in_training: list[str] | None
    bars: list[Bar]
    tables: list[Table]


@dataclass(frozen=True)
class Curve:
    """A training's loss as SVG with a note, and its last sample grid as WebP, where there is one."""

    drawn: Markup
    note: str
    picture: bytes | None


def write_page(chain: Chain, records: Sequence[Record]) -> Path:
    """Write the page of a finished demo to OUT/index.html and return its path."""
    path = chain.out / PAGE
    write_bytes(path, page(chain, records).encode())
    return path


def page(chain: Chain, records: Sequence[Record]) -> str:
    """The page as HTML text."""
    return render(
        "lightloom.demo/demo.html",
        chain=chain,
        sizes=chain.sizes,
        cast=read_cast(chain.out),
        records=records,
        lines={record.name: record.line for record in records},
        bars=bars,
        **_datasets(chain.out),
        **_trainings(chain.out, records),
        **_evaluation(chain.out / "evaluation"),
        **_videos(chain.out),
        time=times(records),
    )


def _datasets(out: Path) -> dict[str, Any]:
    """What was rendered, and what was labelled: all rows, and some clips with their G-buffers."""
    rows = {
        name: open_dataset(out / name).rows()
        for name in ("dataset", "labelled", "plates", "benchmark/scenes", "benchmark/turns")
    }
    return {
        "dataset": rows["dataset"],
        "labelled": rows["labelled"],
        "rendered": [row for name, found in rows.items() if name != "labelled" for row in found],
        "dataset_clips": list(_clips(out / "dataset", rows["dataset"], 4)),
        "labelled_clips": list(_clips(out / "labelled", rows["labelled"], 2)),
        "confidence": _confidence(rows["labelled"]),
    }


def _trainings(out: Path, records: Sequence[Record]) -> dict[str, Any]:
    """Loss curves by name: of the three renderers, and of the two losses of co-training."""
    minutes = {record.name: record.seconds / 60 for record in records}
    parts = {"rendered clips": "rgb.l1", "footage, with the LoRA": "real.rgb.l1"}
    return {
        "trained": {name: _curve(out / name, "loss", minutes[name]) for name in ("inverse", "forward", "lighting")},
        "cotrained": {name: _curve(out / "cotrained", loss, minutes["cotrained"]) for name, loss in parts.items()},
    }


def _evaluation(folder: Path) -> dict[str, Any]:
    """Requirements and tables, our methods beside the others as charts, and the galleries of the worst clips."""
    results = read_results(folder / "results.json")
    sheets = sorted(folder.glob("worst-*.webp"))
    return {
        "evaluation": results,
        "compared": list(_compared(results.tables)),
        "score": cell,
        "heading": heading,
        "worst": {sheet.stem.removeprefix("worst-"): sheet.read_bytes() for sheet in sheets},
    }


def _videos(out: Path) -> dict[str, Any]:
    """The video before and after each edit, by the renderers of this demo and, where there are any, by shipped ones."""
    before, films = out / SUBJECT, out / "films"
    shipped = all((films / SHIPPED / f"{kind}.mp4").is_file() for kind in FILMS)
    by = {OURS: films} | ({PUBLISHED: films / SHIPPED} if shipped else {})
    maps = {_NAMES.get(name, name): f"gbuffers/{name}.mp4" for name in GBUFFERS}
    return {
        "shipped": shipped,
        "gbuffers": {
            title: _grid({"video": before} | {name: folder / file for name, file in maps.items()}, 3)
            for title, folder in by.items()
        },
        "compare": {title: _grid({"": folder / "compare.mp4"}, 1, _SHEET) for title, folder in by.items()},
        "films": {
            kind: _grid({"before": before} | {title: folder / f"{kind}.mp4" for title, folder in by.items()})
            for kind in FILMS
            if kind != "compare"
        },
    }


def times(records: Sequence[Record]) -> Markup:
    """The section with the seconds of every command."""
    seconds = {record.title: round(record.seconds, 1) for record in records}
    return Markup(render("lightloom.demo/time.html", records=records, seconds=seconds, bars=bars))


def read_results(path: Path) -> Results:
    """What an evaluation measured; RunError when the file is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(
            f"cannot be read ({error})", "delete it and stages/evaluate.json, and run again", where=path
        ) from None


def _clips(folder: Path, rows: Sequence[ClipRow], most: int) -> Iterator[tuple[Grid, ClipRow]]:
    """Some clips of a dataset with their G-buffers."""
    dataset = open_dataset(folder)
    for row in rows if len(rows) <= most else [rows[index * len(rows) // most] for index in range(most)]:
        yield clip_grid(decode_clip(row.key, dataset.files(row))), row


def _confidence(rows: Sequence[ClipRow]) -> dict[str, float]:
    """Mean confidence of each label."""
    names = dict.fromkeys(name for row in rows for name in row.confidence)
    return {_NAMES.get(name, name): sum(row.confidence.get(name, 0.0) for row in rows) / len(rows) for name in names}


def _grid(films: Mapping[str, Path], columns: int = 0, largest: int = _FILM) -> Grid:
    """Video files by name as one grid of so many columns; 0: all in a row."""
    videos, fps = {}, 0.0
    for name, path in films.items():
        with open_video(path) as reader:
            videos[name] = np.stack([frame for frame, _ in steady(reader)])
            fps = fps or reader.fps
    return tiled(videos, fps, columns or len(films), largest)


def _compared(tables: Sequence[Table]) -> Iterator[tuple[str, str, Markup]]:
    """Our method beside the others, as bars."""
    by_title = {table.title: table for table in tables}
    for name, metric, title, note in _COMPARED:
        table = by_title.get(name)
        if table is None or metric not in table.columns:
            continue
        column = table.columns.index(metric)
        measured = [(method, cells[column]) for method, cells in zip(table.rows, table.cells, strict=True)]
        values = {method: round(value, 2) for method, value in measured if value is not None}
        values = dict(sorted(values.items(), key=lambda one: one[1], reverse=metric in HIGHER_IS_BETTER))
        ours = [method for method in values if method.startswith("ours")]
        drawn = bars(values, most=len(values), warn=ours)
        yield title, f"{note}; ours in colour, {table.clips} clips", drawn


def _curve(run: Path, tag: str, minutes: float) -> Curve:
    """One of the losses that a training run logged for TensorBoard, and its last picture."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "logs"), size_guidance={"scalars": 0, "images": 1})
    found.Reload()
    tags = found.Tags()
    points = [(point.step, point.value) for point in found.Scalars(tag)] if tag in tags["scalars"] else []
    pictures = [found.Images(name)[-1].encoded_image_string for name in tags["images"]]
    steps = f"{points[-1][0]} steps, " if points else ""
    return Curve(
        _loss_chart(points),
        f"loss; {steps}{minutes:.1f} minutes with start-up",
        _enlarged(pictures[0]) if pictures else None,
    )


def _loss_chart(points: Sequence[tuple[int, float]]) -> Markup:
    """(step, loss) as a curve on a logarithmic scale, as measured and smoothed."""
    if len(points) < 2:
        return Markup('<p class="none">The run was too short for a curve.</p>')
    steps, losses = np.array(points, dtype=np.float64).T
    logs = np.log(np.maximum(losses, 1e-9))
    low, span = logs.min(), max(np.ptp(logs), 1e-6)
    heights = (logs - low) / span
    lines = [
        (kind, list(zip((steps / steps[-1]).tolist(), values.tolist(), strict=True)))
        for kind, values in (("raw", heights), ("smooth", _smoothed(heights)))
    ]
    marks = [(share, f"{np.exp(low + share * span):.2g}") for share in (0.0, 0.5, 1.0)]
    return macro("lightloom.demo/curve.html", "curve", points[-1][0], marks, lines)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Exponential mean from both ends, so that it does not lag."""
    forth, back = (
        np.array(list(accumulate(run, lambda mean, value: mean + _SMOOTH * (value - mean))))
        for run in (values, values[::-1])
    )
    return (forth + back[::-1]) / 2


def _enlarged(png: bytes) -> bytes:
    """A picture enlarged by a whole factor, as WebP."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    factor = max(1, _SAMPLES // image.width)
    return webp(image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST), 85)
