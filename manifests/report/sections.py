"""The sections of the report as HTML. Everything that comes from the dataset goes through `escape`."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import msgspec
import numpy as np

from manifests.audit.stats import human_bytes
from manifests.contract.clip_summary import BINS, RANGES
from manifests.contract.row import ClipRow
from manifests.report.charts import bars, histogram, number, value_histogram
from manifests.report.gather import Content, Shown

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


def summary(content: Content) -> str:
    """One line below the title."""
    stats = content.stats
    state = "complete" if content.measured.complete else f"{stats.shards} of {stats.shards_expected} shards so far"
    sizes = ", ".join(f"{size} px" for size in list(stats.sizes)[:2]) or "no clips yet"
    return escape(f"{stats.stage} · {stats.codec} codec · {sizes} · seed {content.seed} · {state}")


def totals(content: Content) -> str:
    """The large figures."""
    stats = content.stats
    failed = sum(stats.failures.values())
    figures = [
        (number(stats.clips), "clips"),
        (number(stats.items), "scenes"),
        (number(stats.frames), "frames"),
        (human_bytes(stats.bytes), "on disk"),
        (_duration(stats.hours * 3600), "render time, all workers"),
        (number(failed), "failed scenes"),
    ]
    cells = (
        f'<div class="figure{" warn" if label == "failed scenes" and failed else ""}">'
        f"<b>{escape(value)}</b><span>{label}</span></div>"
        for value, label in figures
    )
    return "".join(cells)


def clips(content: Content) -> str:
    """The playable clips."""
    if not content.clips:
        return '<p class="none">No shard is committed yet.</p>'
    return "".join(_clip(shown, content) for shown in content.clips)


def sheets(content: Content) -> str:
    """Contact sheets of some shards."""
    pictures = [
        f"<details{' open' if index == 0 else ''}><summary>Shard {shard:06d}</summary>"
        f'<img alt="contact sheet of shard {shard}" loading="lazy" src="{_data("image/webp", sheet)}"></details>'
        for index, (shard, sheet) in enumerate(content.sheets)
        if sheet
    ]
    left = content.stats.shards - len(content.sheets)
    note = f'<p class="note">{left} more in previews/.</p>' if left > 0 else ""
    return "".join(pictures) + note if pictures else '<p class="none">none</p>'


def scenes(content: Content) -> str:
    """What was drawn: motions, assets, lights, materials, splits."""
    stats = content.stats
    shares = {status: round(100 * share, 1) for status, share in content.materials.items()}
    charts = [
        _chart(
            "Motions",
            "clips by motion; a clip may have several",
            bars({name.replace("_", " "): count for name, count in stats.motions.items()}),
        ),
        _chart("Splits", "clips by split of their assets", bars(stats.splits)),
        _chart("Assets", "distinct assets by kind", bars(stats.assets)),
        _chart("Lights", f"clips by environment, {len(content.lights)} in all", bars(_short_names(content.lights))),
        _chart("Meshes", f"clips by mesh, {len(content.meshes)} in all", bars(_short_names(content.meshes))),
        _chart("Materials", "how parameters were found, share of surface", bars(shares, unit=" %", warn=_UNRESOLVED)),
    ]
    if content.unresolved:
        charts.append(_chart("Material notes", "uses, all clips", bars(content.unresolved)))
    if stats.flags:
        charts.append(_chart("Quality flags", "clips by flag", bars(stats.flags, warn=list(stats.flags))))
    return "".join(charts)


def pixels(content: Content) -> str:
    """Histograms over pixels and over clips."""
    charts = []
    for name, (title, note) in _PIXELS.items():
        if name in content.pixels:
            ticks, labels = _bins(name)
            charts.append(_chart(title, note, histogram(content.pixels[name], ticks, labels)))
    charts += [
        _chart(title, note, value_histogram(content.values[name], "", high))
        for name, (title, note, high) in _VALUES.items()
        if name in content.values
    ]
    return "".join(charts) or '<p class="none">The clips carry no statistics.</p>'


def cost(content: Content) -> str:
    """Time and samples a clip."""
    charts = []
    for name, title, unit in (
        ("seconds", "Render time per clip", "s"),
        ("encode_seconds", "Encode time per clip", "s"),
        ("samples", "Samples per pixel", ""),
    ):
        values = content.values.get(name, np.zeros(0))
        if values.size and values.max() > 0:
            figures = [f"{number(float(value))} {unit}".strip() for value in (np.median(values), values.max())]
            note = f"median {figures[0]}, largest {figures[1]}"
            charts.append(_chart(title, note, value_histogram(values, unit)))
    charts.append(_chart("Devices", "clips by rendering device", bars(content.stats.devices)))
    return "".join(charts)


def codec(content: Content) -> str:
    """Measured codec errors."""
    errors = content.measured.codec_errors
    if not errors:
        text = "The exact codec loses nothing but half-float rounding." if content.stats.codec == "exact" else "none"
        return f'<p class="none">{text}</p>'
    rows = [(name, _error(bound.mean), _error(bound.worst)) for name, bound in errors.items()]
    return _table(("attribute.metric", "mean over clips", "worst clip"), rows, numeric=(1, 2))


def failures(content: Content) -> str:
    """Quarantined scenes by reason, and examples."""
    if not content.stats.failures:
        return '<p class="none">Nothing failed.</p>'
    examples = "".join(
        f"<details><summary><code>{failure.item}</code> <b>{escape(failure.reason)}</b> {escape(failure.message)}"
        f"</summary><pre>{escape(failure.log_tail or 'no log')}</pre></details>"
        for failure in content.failures
    )
    reasons = bars(content.stats.failures, warn=list(content.stats.failures))
    left = sum(content.stats.failures.values()) - len(content.failures)
    note = f'<p class="note">{left} more in failures/.</p>' if left > 0 else ""
    return f'<div class="charts">{_chart("By reason", "scenes", reasons)}</div>{examples}{note}'


def licences(content: Content) -> str:
    """Licences in use, warnings first, and the credits."""
    credits = content.credits.credits
    by_licence: dict[str, list[int]] = {}
    for one in credits:
        entry = by_licence.setdefault(one.licence or "unknown", [0, 0])
        entry[0] += 1
    for licence, count in content.stats.licences.items():
        by_licence.setdefault(licence or "unknown", [0, 0])[1] = count
    rows = [(name, number(assets), number(count)) for name, (assets, count) in sorted(by_licence.items())]
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in content.credits.warnings[:20])
    listing = [(one.uid, one.kind, one.licence, one.author or "unknown", number(one.clips)) for one in credits[:400]]
    return (
        (f'<ul class="warnings">{warnings}</ul>' if warnings else "")
        + _table(("licence", "assets", "clips"), rows, numeric=(1, 2))
        + f"<details><summary>All {len(credits)} assets</summary>"
        + _table(("asset", "kind", "licence", "author", "clips"), listing, numeric=(4,))
        + "</details>"
    )


def recipe(content: Content) -> str:
    """The recipe as JSON."""
    text = msgspec.json.format(msgspec.json.encode(content.recipe), indent=2).decode()
    return f"<pre>{escape(text)}</pre>"


def _clip(shown: Shown, content: Content) -> str:
    row, grid = shown.row, shown.grid
    if grid is None:
        stage = f'<p class="none">Not shown: {escape(shown.problem)}</p>'
    else:
        labels = "".join(f"<li>{escape(name)}</li>" for name in grid.names)
        stage = (
            f'<div class="stage" style="aspect-ratio:{grid.width}/{grid.height};--columns:{grid.columns};'
            f'--rows:{grid.rows}"><video muted loop playsinline preload="auto" data-frames="{row.frames}" '
            f'data-fps="{row.fps:g}" poster="{_data("image/webp", grid.poster)}" '
            f'src="{_data("video/mp4", grid.video)}"></video><ol class="labels">{labels}</ol></div>'
            '<div class="transport"><button type="button" class="play" aria-label="play or pause"></button>'
            f'<input type="range" min="0" max="{row.frames - 1}" value="0" aria-label="frame">'
            f"<output>1 / {row.frames}</output></div>"
        )
    light = (
        f'<figure class="light"><img alt="environment" src="{_data("image/webp", shown.light)}">'
        "<figcaption>environment, lat-long</figcaption></figure>"
        if shown.light
        else ""
    )
    chips = "".join(
        f"<span>{escape(text.replace('_', ' '))}</span>" for text in (row.split, *(row.motions or ("still",)))
    )
    flags = "".join(f'<span class="warn">{escape(flag)}</span>' for flag in row.flags)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in _facts(row))
    return (
        f'<article class="clip">{stage}<div class="about">{light}<div><h3>{escape(row.key)}</h3>'
        f'<p class="chips">{chips}{flags}</p><dl>{facts}</dl></div></div></article>'
    )


def _facts(row: ClipRow) -> list[tuple[str, str]]:
    facts = [("video", f"{row.frames} frames, {row.width} x {row.height}, {row.fps:g} fps")]
    if row.seconds:
        made, unit = ("label", "steps") if row.network else ("render", "samples")
        facts.append((made, f"{number(row.seconds)} s, {number(row.steps)} {unit}, {row.device}"))
    values = row.statistics
    pairs = (("depth", "depth.median"), ("roughness", "roughness.mean"), ("metallic", "metallic.mean"))
    parts = [f"{name} {values[key]:.2f}" for name, key in pairs if key in values]
    if parts:
        facts.append(("typical", ", ".join(parts)))
    for kind, label in (("environment", "light"), ("mesh", "meshes")):
        names = [_short(asset.uid) for asset in row.assets if asset.kind == kind]
        if names:
            facts.append((label, ", ".join(names)))
    if row.materials:
        named = [(_short(one.name), "" if one.status == "resolved" else f" ({one.status})") for one in row.materials]
        facts.append(("materials", ", ".join(name + status for name, status in named[:6])))
    return facts


def _short(uid: str) -> str:
    """The last two parts of a uid such as builtin/mesh/lathe/0012."""
    return "/".join(uid.split("/")[-2:])


def _short_names(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts under short names, or under the full ones where the short ones clash."""
    short = {_short(uid): count for uid, count in counts.items()}
    return short if len(short) == len(counts) else dict(counts)


def _bins(name: str) -> tuple[list[tuple[float, str]], list[str]]:
    """Ticks and bin labels of an attribute's pixel histogram."""
    low, high = RANGES[name]
    edges = np.linspace(low, high, BINS + 1)
    if name == "depth":
        span = range(int(low), int(high) + 1)
        words = [f"1/{2**-power}" if power < 0 else str(2**power) for power in span]
        ticks = [((power - low) / (high - low), word) for power, word in zip(span, words, strict=True)]
        edges = 2.0**edges
    else:
        ticks = [(position, f"{position:g}") for position in (0.0, 0.25, 0.5, 0.75, 1.0)]
    labels = [f"{number(float(edges[i]))} to {number(float(edges[i + 1]))}" for i in range(BINS)]
    return ticks, labels


def _chart(title: str, note: str, chart: str) -> str:
    return f'<figure class="chart"><figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>{chart}</figure>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if index in numeric else ''}>{escape(value)}</{tag}>"
            for index, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{cells("th", head)}</tr></thead><tbody>{body}</tbody></table></div>'


def _error(value: float) -> str:
    return f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
