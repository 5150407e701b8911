"""Charts as inline SVG and HTML: no library, no request, and they follow the page's light or dark colours."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from manifests.report.templates import macro, number

_MACROS = "manifests.report/macros.html"


def bars(counts: Mapping[str, float], most: int = 10, unit: str = "", warn: Sequence[str] = ()) -> Markup:
    """Horizontal bars, one per name, in the order given; what is beyond `most` is added up in the last."""
    shown, rest = list(counts.items())[:most], list(counts.values())[most:]
    if rest:
        shown.append((f"{len(rest)} more", sum(rest)))
    top = max([value for _, value in shown], default=1.0) or 1.0
    rows = [(name, number(value) + unit, 100 * value / top, name in warn) for name, value in shown]
    return macro(_MACROS, "bars", rows)


def histogram(shares: Sequence[float], ticks: Sequence[tuple[float, str]], bins: Sequence[str]) -> Markup:
    """A histogram as SVG: bar heights in proportion to `shares`, `ticks` as (position in [0, 1], label) below.

    `bins` says in words what each bar covers; it shows with the share when the pointer rests on the bar.
    """
    top = max([*shares, 1e-12])
    drawn = [(share, share / top, label) for share, label in zip(shares, bins, strict=True)]
    return macro(_MACROS, "histogram", drawn, ticks)


def value_histogram(values: np.ndarray, unit: str, high: float | None = None) -> Markup:
    """Histogram of (N,) values >= 0 from 0 to `high`, or the largest, or logarithmic where they span over 1:50."""
    count = 24 if values.size >= 100 else 12
    smallest, largest = float(values.min()), float(values.max())
    logarithmic = high is None and smallest > 0 and largest / smallest > 50
    if logarithmic:
        edges = np.geomspace(smallest, largest * (1 + 1e-9), count + 1)
    else:
        top = high or (largest if largest > smallest else 1.25 * largest) or 1.0
        edges = np.linspace(0.0, top, count + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    labels = [f"{number(a)} to {number(b)} {unit}".strip() for a, b in itertools.pairwise(edges)]
    scale = np.log if logarithmic else np.positive
    span = scale(edges[-1]) - scale(edges[0])
    ticks = [(float((scale(tick) - scale(edges[0])) / span), number(tick)) for tick in _round_ticks(edges, logarithmic)]
    return histogram(counts / counts.sum(), ticks, labels)


def _round_ticks(edges: np.ndarray, logarithmic: bool) -> list[float]:
    """About five round values between the first and the last edge."""
    low, high = float(edges[0]), float(edges[-1])
    if logarithmic:
        powers = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
        ticks = [10.0**power for power in powers]
        return ticks if len(ticks) > 1 else [low, high]
    raw = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = np.ceil(low / step) * step
    return [float(tick) for tick in np.arange(first, high + step * 1e-6, step)]
