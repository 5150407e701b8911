"""Charts as inline SVG and HTML: no library, no request, and they follow the page's light or dark colours."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

_WIDTH, _HEIGHT, _FLOOR = 360.0, 132.0, 108.0


def histogram(shares: Sequence[float], ticks: Sequence[tuple[float, str]], bins: Sequence[str]) -> str:
    """A histogram as SVG: bar heights in proportion to `shares`, `ticks` as (position in [0, 1], label) below.

    `bins` says in words what each bar covers; it shows with the share when the pointer rests on the bar.
    """
    top = max([*shares, 1e-12])
    step = _WIDTH / max(len(shares), 1)
    parts = [f'<line class="axis" x1="0" x2="{_WIDTH:g}" y1="{_FLOOR:g}" y2="{_FLOOR:g}"/>']
    for index, (share, label) in enumerate(zip(shares, bins, strict=True)):
        height = share / top * (_FLOOR - 8)
        height = max(height, 1.0) if share > 0 else 0.0
        parts.append(
            f'<g class="bin"><rect class="hit" x="{index * step:.2f}" y="0" width="{step:.2f}" height="{_FLOOR:g}"/>'
            f'<rect class="bar" x="{index * step + 1:.2f}" y="{_FLOOR - height:.2f}" width="{step - 2:.2f}" '
            f'height="{height:.2f}" rx="1.5"/><title>{escape(label)}: {_share(share)}</title></g>'
        )
    for position, label in ticks:
        anchor = "start" if position <= 0.02 else "end" if position >= 0.98 else "middle"
        x = position * _WIDTH
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_FLOOR:g}" y2="{_FLOOR + 4:g}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_FLOOR + 18:g}" text-anchor="{anchor}">{escape(label)}</text>')
    return f'<svg class="histogram" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">{"".join(parts)}</svg>'


def value_histogram(values: np.ndarray, unit: str, high: float | None = None) -> str:
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


def bars(counts: Mapping[str, float], most: int = 10, unit: str = "", warn: Sequence[str] = ()) -> str:
    """Horizontal bars, one a name, in the order given; what is beyond `most` is added up in the last."""
    shown = list(counts.items())[:most]
    rest = list(counts.items())[most:]
    if rest:
        shown.append((f"{len(rest)} more", sum(value for _, value in rest)))
    top = max([value for _, value in shown], default=1.0) or 1.0
    rows = []
    for name, value in shown:
        tone = ' class="warn"' if name in warn else ""
        rows.append(
            f'<li{tone}><span class="name" title="{escape(name)}">{escape(name)}</span>'
            f'<span class="track"><i style="width:{100 * value / top:.2f}%"></i></span>'
            f'<span class="value">{number(value)}{escape(unit)}</span></li>'
        )
    return f'<ol class="bars">{"".join(rows)}</ol>' if rows else '<p class="none">none</p>'


def number(value: float) -> str:
    """A number as people read it: 1,234 or 0.0512 or 3.4."""
    value = float(value)
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


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
