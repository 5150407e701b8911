"""What a training run left behind: its loss over the steps, and the last picture of it, from TensorBoard's files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

_WIDTH, _HEIGHT, _LEFT, _FLOOR, _TOP = 360.0, 168.0, 40.0, 142.0, 8.0
_SMOOTH = 0.12
_ENLARGED = 640


@dataclass(frozen=True)
class Curve:
    """steps (n,), losses (n,), and a sample grid as WebP, where there is one."""

    steps: np.ndarray
    losses: np.ndarray
    picture: bytes | None


def read_curve(logs: Path, tag: str = "loss") -> Curve:
    """The run whose logs lie in this folder, of one of its losses; empty where nothing was logged."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(logs), size_guidance={"scalars": 0, "images": 1})
    found.Reload()
    tags = found.Tags()
    points = found.Scalars(tag) if tag in tags["scalars"] else []
    pictures = [found.Images(name)[-1].encoded_image_string for name in tags["images"]]
    steps = np.array([point.step for point in points])
    losses = np.array([point.value for point in points])
    return Curve(steps, losses, _webp(pictures[0]) if pictures else None)


def loss_chart(curve: Curve) -> str:
    """The curve as SVG, on a logarithmic scale, as measured and smoothed."""
    if len(curve.losses) < 2:
        return '<p class="none">The run was too short for a curve.</p>'
    logs = np.log(np.maximum(curve.losses, 1e-9))
    low, high = float(logs.min()), float(logs.max())
    span, last = max(high - low, 1e-6), float(curve.steps[-1])

    def line(values: np.ndarray, kind: str) -> str:
        points = " ".join(
            f"{_LEFT + (_WIDTH - _LEFT) * step / last:.1f},{_FLOOR - (_FLOOR - _TOP) * (value - low) / span:.1f}"
            for step, value in zip(curve.steps, values, strict=True)
        )
        return f'<polyline class="{kind}" points="{points}"/>'

    marks = "".join(
        f'<text x="{_LEFT - 6:g}" y="{_FLOOR - (_FLOOR - _TOP) * share + 4:.1f}" text-anchor="end">'
        f"{np.exp(low + share * span):.2g}</text>"
        for share in (0.0, 0.5, 1.0)
    )
    ends = [(_LEFT, "start", "0"), (_WIDTH, "end", f"{last:.0f} steps")]
    below = "".join(
        f'<text x="{x:g}" y="{_FLOOR + 18:g}" text-anchor="{anchor}">{escape(text)}</text>' for x, anchor, text in ends
    )
    axis = f'<line class="axis" x1="{_LEFT:g}" x2="{_WIDTH:g}" y1="{_FLOOR:g}" y2="{_FLOOR:g}"/>'
    drawn = line(logs, "raw") + line(_smoothed(logs), "smooth")
    box = f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"'
    return f'<svg class="histogram curve" {box} role="img">{axis}{marks}{below}{drawn}</svg>'


def _smoothed(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Exponential mean from both ends, so that it does not lag."""

    def run(sequence: np.ndarray) -> np.ndarray:
        out = np.empty(len(sequence))
        mean = float(sequence[0])
        for index, value in enumerate(sequence):
            mean += _SMOOTH * (float(value) - mean)
            out[index] = mean
        return out

    array = np.asarray(values, dtype=np.float64)
    return (run(array) + run(array[::-1])[::-1]) / 2


def _webp(png: bytes) -> bytes:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    factor = max(1, _ENLARGED // image.width)
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()
