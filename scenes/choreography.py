"""What moves in a scene, and how far: the draws behind the `motions` of a recipe."""

from __future__ import annotations

import numpy as np

from scenes.distributions import draw, draw_many
from scenes.rules import Motions
from scenes.spec import CameraMotion, Dolly, LightRotation, Orbit, Oscillation


def draw_names(rules: Motions, rng: np.random.Generator) -> frozenset[str]:
    """Names of the motions that happen: each by its own probability; if none came up, one by the same weights.

    Empty only if every probability is 0.
    """
    names = Motions.__struct_fields__
    weights = np.array([getattr(rules, name).probability for name in names])
    happens = rng.random(len(names)) < weights
    if not happens.any() and weights.any():
        happens[int(rng.choice(len(names), p=weights / weights.sum()))] = True
    return frozenset(name for name, does in zip(names, happens, strict=True) if does)


def draw_turns(rules: Motions, names: frozenset[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Degrees (count,) that each thing turns, either way round; 0 for those that do not."""
    degrees = draw_many(rules.object_rotation.degrees, rng, count) * _signs(rng, count)
    return degrees * _joins(rules.object_rotation.share, "object_rotation" in names, count, rng)


def draw_slides(rules: Motions, names: frozenset[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths (count,) that each thing slides; 0 for those that stand still."""
    distance = draw_many(rules.object_translation.distance, rng, count)
    return distance * _joins(rules.object_translation.share, "object_translation" in names, count, rng)


def draw_camera(rules: Motions, names: frozenset[str], rng: np.random.Generator) -> tuple[CameraMotion, ...]:
    """Motions of the camera, in the order in which they are applied."""
    sign = _signs(rng, 3)
    orbit = Orbit(degrees=draw(rules.orbit.degrees, rng) * sign[0])
    oscillation = Oscillation(
        azimuth=draw(rules.oscillation.azimuth, rng) * sign[1],
        elevation=draw(rules.oscillation.elevation, rng) * sign[2],
        cycles=draw(rules.oscillation.cycles, rng),
    )
    dolly = Dolly(factor=draw(rules.dolly.factor, rng))
    drawn: dict[str, CameraMotion] = {"orbit": orbit, "oscillation": oscillation, "dolly": dolly}
    return tuple(motion for name, motion in drawn.items() if name in names)


def draw_light(rules: Motions, names: frozenset[str], rng: np.random.Generator) -> LightRotation | None:
    """Turn of the environment, either way round, or None."""
    motion = LightRotation(degrees=draw(rules.light_rotation.degrees, rng) * _signs(rng, 1)[0])
    return motion if "light_rotation" in names else None


def _signs(rng: np.random.Generator, count: int) -> list[float]:
    return [1.0 if up else -1.0 for up in rng.random(count) < 0.5]


def _joins(share: float, happens: bool, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which things take part: each by `share`, at least the first."""
    joins = rng.random(count) < share
    joins[0] |= not joins.any()
    return joins & happens
