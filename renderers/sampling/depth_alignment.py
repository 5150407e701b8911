"""Relative depth predicted piece by piece: every piece has its own near and far, and they must become one.

A network that predicts depth relative to what it sees gives each window of a long video, and each tile of a large
picture, another scale and shift. Blending such pieces as they are makes the depth breathe, or bend at tile borders.
Here each piece is fitted to the one before it on what they share, then all are cross-faded and the result is
normalised once, as `modelspace.relative_depth` normalises a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from renderers.modelspace import relative_depth
from renderers.sampling.tiles import Canvas
from renderers.sampling.windows import WindowPlan, blend

FAR = 0.98
"""At and above this relative depth a pixel counts as background: the far end, where scale and shift mean nothing."""
_PIXELS = 65_536
_ROUNDS = 10


def blend_depth(plan: WindowPlan, outputs: Iterable[Tensor]) -> Tensor:
    """Windows of relative depth, each (B, size, 1, H, W) in [0, 1], as one clip's relative depth (B, T, 1, H, W).

    Background (1 in most windows that see it) stays 1. A plan of one window returns it as it is.
    """
    if len(plan.windows) == 1:
        return blend(plan, outputs)
    return _normalised(blend(plan, align(plan, map(_marked, outputs))))


def blend_depth_tiles(canvas: Canvas, outputs: Iterable[Tensor]) -> Tensor:
    """Tiles of relative depth (B, T, 1, h, w) in reading order as one padded picture (B, T, 1, H', W').

    As `blend_depth`, along columns and then along rows.
    """
    if len(canvas.tiles) == 1:
        return canvas.blend(outputs)
    return _normalised(canvas.blend(map(_marked, outputs), align))


def align(plan: WindowPlan, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Bring each piece to the scale and shift of the first, by way of what it shares with the one before.

    Pieces are (B, size, 2, ., .): along dimension 1 runs what the plan cuts (frames, rows or columns), the channels
    are depth and the share of background. Yields the same shapes; aligned depth may leave [0, 1]. Holds one piece.
    """
    before: Tensor | None = None
    for index, (window, piece) in enumerate(zip(plan.windows, pieces, strict=True)):
        shared = plan.windows[index - 1].stop - window.start if before is not None else 0
        aligned = piece
        if before is not None and shared:
            scale, shift = _fit(piece[:, :shared], before[:, -shared:])
            aligned = torch.cat([piece[:, :, :1] * scale + shift, piece[:, :, 1:]], dim=2)
        before = aligned[:, : window.stop - window.start]  # repeated frames tell nothing
        yield aligned


def _marked(depth: Tensor) -> Tensor:
    """Relative depth (B, n, 1, H, W) with its background beside it: (B, n, 2, H, W)."""
    return torch.cat([depth, (depth >= FAR).to(depth.dtype)], dim=2)


def _normalised(marked: Tensor) -> Tensor:
    """Aligned depth and background (B, T, 2, H, W) as relative depth (B, T, 1, H, W) in [0, 1], background 1."""
    depth, background = marked.split(1, dim=2)
    return relative_depth(depth.masked_fill(background > 0.5, torch.inf))[0]


def _fit(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (B, 1, 1, 1, 1) that take our side of what is shared (B, n, 2, H, W) to theirs, robustly.

    The slope is the ratio of weighted spreads (reduced major axis), weights are Cauchy's on the residuals. Ordinary
    least squares would shrink the slope wherever both sides are noisy, and over a hundred windows to nothing.
    """
    scale, shift = ours.new_ones(len(ours)), ours.new_zeros(len(ours))
    for clip in range(len(ours)):
        surface = (ours[clip, :, 1] < 0.5) & (theirs[clip, :, 1] < 0.5)  # (n, H, W)
        x, y = ours[clip, :, 0][surface].float(), theirs[clip, :, 0][surface].float()
        step = max(1, len(x) // _PIXELS)
        x, y = x[::step], y[::step]
        if len(x) < 2:
            continue  # nothing but background is shared: nothing to fit, nothing to see
        slope, offset = _line(x, y, torch.ones_like(x))
        for _ in range(_ROUNDS):
            residual = y - (slope * x + offset)
            width = 2.0 * residual.abs().median() + 1e-6
            slope, offset = _line(x, y, 1.0 / (1.0 + (residual / width).square()))
        scale[clip], shift[clip] = slope, offset
    return scale.view(-1, 1, 1, 1, 1), shift.view(-1, 1, 1, 1, 1)


def _line(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of y over x; the slope is 1 where either is flat."""
    weights = weights / weights.sum()
    x_mean, y_mean = (weights * x).sum(), (weights * y).sum()
    x_spread, y_spread = (weights * (x - x_mean).square()).sum().sqrt(), (weights * (y - y_mean).square()).sum().sqrt()
    slope = y_spread / x_spread if x_spread > 1e-4 and y_spread > 1e-4 else torch.ones_like(x_spread)
    return slope, y_mean - slope * x_mean
