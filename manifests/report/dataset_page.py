"""`write_report`: one self-contained HTML page about a dataset, for eyes that judge renders for a living."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from markupsafe import Markup

from manifests.audit.attribution import Attribution
from manifests.contract.clip_summary import BINS, RANGES
from manifests.contract.row import ClipRow
from manifests.files import write_bytes
from manifests.object_path import Place
from manifests.report.charts import bars, histogram, value_histogram
from manifests.report.gather import Content, gather
from manifests.report.templates import number, render
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset

CLIPS = 8
_MOST_ASSETS = 400
_UNRESOLVED = ("constant-fallback", "missing-texture", "empty")
_PIXELS = {
    "rgb": ("Brightness", "sRGB luminance of the exposed picture"),
    "depth": ("Depth", "scene units, surface pixels"),
    "roughness": ("Roughness", "surface pixels"),
    "metallic": ("Metallic", "surface pixels"),
}
_VALUES = {
    "mask.coverage": ("Coverage", "share of the picture that shows surfaces, per clip", 1.0),
    "rgb.contrast": ("Contrast", "standard deviation of sRGB luminance, per clip", None),
    "rgb.change": ("Change", "mean difference of successive frames, per clip", None),
    "environment.mean": ("Light level", "mean radiance of the environment, per clip", None),
    "environment.contrast": ("Light contrast", "brightest over mean radiance, per clip", None),
}
_COSTS = {
    "seconds": ("Render time per clip", "s"),
    "encode_seconds": ("Encode time per clip", "s"),
    "steps": ("Samples per pixel", ""),
}

type _Chart = tuple[str, str, Markup]
"""Title, note and the drawing itself."""


def write_report(dataset: Dataset | Place | str, out: Place | None = None, clips: int = CLIPS) -> Place:
    """Write the report of a dataset and return its path: `out`, or report.html in the dataset's folder.

    `clips` is how many clips can be played, spread over the dataset. DatasetError when manifests cannot be read.
    """
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    path = out or dataset.path / layout.REPORTS[0]
    write_bytes(path, page(dataset, clips).encode())
    return path


def page(dataset: Dataset, clips: int = CLIPS) -> str:
    """The report as HTML text."""
    content = gather(dataset, clips, _VALUES)
    errors = content.measured.codec_errors
    return render(
        "manifests.report/dataset.html",
        name=dataset.path.resolve().name,
        content=content,
        bars=bars,
        facts=_facts,
        short_names=_short_names,
        unresolved=_UNRESOLVED,
        render_time=_duration(content.stats.hours * 3600),
        motions={name.replace("_", " "): count for name, count in content.stats.motions.items()},
        pixels=[*_pixels(content)],
        cost=[*_costs(content)],
        codec_errors=[(name, f"{bound.mean:.4g}", f"{bound.worst:.4g}") for name, bound in errors.items()],
        licences=_licences(content.credits, content.stats.licences),
        assets=[
            (one.uid, one.kind, one.licence, one.author or "unknown", number(one.clips))
            for one in content.credits.credits[:_MOST_ASSETS]
        ],
        recipe=msgspec.json.format(msgspec.json.encode(content.recipe), indent=2).decode(),
    )


def _facts(row: ClipRow) -> Iterator[tuple[str, str]]:
    """What the manifest says of a clip, as (name, text)."""
    yield "video", f"{row.frames} frames, {row.width} x {row.height}, {row.fps:g} fps"
    if row.seconds:
        made, unit = ("label", "steps") if row.network else ("render", "samples")
        yield made, f"{number(row.seconds)} s, {number(row.steps)} {unit}, {row.device}"
    pairs = (("depth", "depth.median"), ("roughness", "roughness.mean"), ("metallic", "metallic.mean"))
    parts = [f"{name} {row.statistics[key]:.2f}" for name, key in pairs if key in row.statistics]
    if parts:
        yield "typical", ", ".join(parts)
    for kind, label in (("environment", "light"), ("mesh", "meshes")):
        names = [_short(asset.uid) for asset in row.assets if asset.kind == kind]
        if names:
            yield label, ", ".join(names)
    if row.materials:
        states = ("" if one.status == "resolved" else f" ({one.status})" for one in row.materials)
        names = [_short(one.name) + state for one, state in zip(row.materials, states, strict=True)]
        yield "materials", ", ".join(names[:6])


def _pixels(content: Content) -> Iterator[_Chart]:
    """Histograms over pixels, then over clips."""
    for name, (title, note) in _PIXELS.items():
        if name in content.pixels:
            yield title, note, histogram(content.pixels[name], *_bins(name))
    for name, (title, note, high) in _VALUES.items():
        if name in content.values:
            yield title, note, value_histogram(content.values[name], "", high)


def _bins(name: str) -> tuple[list[tuple[float, str]], list[str]]:
    """Ticks and bin labels of an attribute's pixel histogram."""
    low, high = RANGES[name]
    edges = np.linspace(low, high, BINS + 1)
    if name == "depth":
        powers = range(int(low), int(high) + 1)
        words = [f"1/{2**-power}" if power < 0 else str(2**power) for power in powers]
        ticks = [((power - low) / (high - low), word) for power, word in zip(powers, words, strict=True)]
        edges = 2.0**edges
    else:
        ticks = [(position, f"{position:g}") for position in (0.0, 0.25, 0.5, 0.75, 1.0)]
    labels = [f"{number(edges[index])} to {number(edges[index + 1])}" for index in range(BINS)]
    return ticks, labels


def _costs(content: Content) -> Iterator[_Chart]:
    """Time and samples per clip."""
    for name, (title, unit) in _COSTS.items():
        values = content.values.get(name, np.zeros(0))
        if values.size and values.max() > 0:
            median, largest = (f"{number(value)} {unit}".strip() for value in (np.median(values), values.max()))
            yield title, f"median {median}, largest {largest}", value_histogram(values, unit)


def _licences(credits: Attribution, clips: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Licence, its assets and its clips."""
    assets: dict[str, int] = {}
    for one in credits.credits:
        assets[one.licence or "unknown"] = assets.get(one.licence or "unknown", 0) + 1
    shown = {licence or "unknown": count for licence, count in clips.items()}
    return [(name, number(assets.get(name, 0)), number(shown.get(name, 0))) for name in sorted({*assets, *shown})]


def _short(uid: str) -> str:
    """The last two parts of a uid such as builtin/mesh/lathe/0012."""
    return "/".join(uid.split("/")[-2:])


def _short_names(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts under short names, or under the full ones where the short ones clash."""
    short = {_short(uid): count for uid, count in counts.items()}
    return short if len(short) == len(counts) else dict(counts)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
