"""What a recipe may write where a number is drawn: a constant, a range, or a named distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple, assert_never

import numpy as np
from msgspec import Meta

from scenes.spec import Positive, SpecData, Unit

_DIGITS = 6


class LogUniform(SpecData, frozen=True, kw_only=True, tag="log_uniform", tag_field="kind"):
    """Uniform in the logarithm between `low` and `high`: as often in 0.5..1 as in 1..2."""

    low: Positive
    high: Positive


class SquaredUniform(SpecData, frozen=True, kw_only=True, tag="squared_uniform", tag_field="kind"):
    """Square of a uniform number between `low` and `high`."""

    low: Annotated[float, Meta(ge=0.0)]
    high: Annotated[float, Meta(ge=0.0)]


class NearEnds(SpecData, frozen=True, kw_only=True, tag="near_ends", tag_field="kind"):
    """|N(0, deviation)| clipped to [0, 1], or one minus that in a share `ones` of the draws."""

    deviation: Positive
    ones: Unit = 0.5


class OneOf(SpecData, frozen=True, kw_only=True, tag="choice", tag_field="kind"):
    """One of `values`, all equally likely."""

    values: Annotated[tuple[float, ...], Meta(min_length=1)]


Spread = float | tuple[float, float] | LogUniform | SquaredUniform | NearEnds | OneOf
"""A number, [low, high] for a uniform draw, or a mapping with a `kind`."""


class DrawLimits(NamedTuple):
    """Smallest and largest value that a field may ever draw."""

    low: float
    high: float


def support(spread: Spread) -> tuple[float, float]:
    """Smallest and largest value that `draw` can give."""
    match spread:
        case float() | int():
            return float(spread), float(spread)
        case (low, high):
            return low, high
        case LogUniform():
            return spread.low, spread.high
        case SquaredUniform():
            return spread.low**2, spread.high**2
        case NearEnds():
            return 0.0, 1.0
        case OneOf():
            return min(spread.values), max(spread.values)
        case _:
            assert_never(spread)


def fault(spread: Spread) -> str | None:
    """What is wrong with the distribution itself, or None."""
    ends = (spread.low, spread.high) if isinstance(spread, LogUniform | SquaredUniform) else support(spread)
    if not np.isfinite(ends).all():
        return "every number must be finite"
    if ends[0] > ends[1]:
        return f"low {ends[0]:g} is above high {ends[1]:g}"
    return None


def draw_many(spread: Spread, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw `count` numbers (count,), rounded to six decimals so that specs stay short and exact."""
    match spread:
        case float() | int():
            values = np.full(count, float(spread))
        case (low, high):
            values = rng.uniform(low, high, count)
        case LogUniform():
            values = np.exp(rng.uniform(np.log(spread.low), np.log(spread.high), count))
        case SquaredUniform():
            values = rng.uniform(spread.low, spread.high, count) ** 2
        case NearEnds():
            near = np.minimum(np.abs(rng.normal(0.0, spread.deviation, count)), 1.0)
            values = np.where(rng.random(count) < spread.ones, 1 - near, near)
        case OneOf():
            values = np.asarray(spread.values)[rng.integers(len(spread.values), size=count)]
        case _:
            assert_never(spread)
    return np.round(values, _DIGITS)


def draw(spread: Spread, rng: np.random.Generator) -> float:
    """Draw one number."""
    return float(draw_many(spread, rng, 1)[0])


def draw_weighted(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draw a name by its weight (>= 0, not all 0)."""
    shares = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(shares / shares[-1], rng.random(), side="right"))]
