"""What a setting hands over to sampling: its pieces, the things in it, the space that is taken, and where to look from.

A setting is a module with a function `(SettingDraws) -> SettingLayout | None`, pure in its draws; with None this draw
did not work out and another attempt is due. Lengths are metres, z is up, and the ground near the origin is about z = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scenes.catalogue import Asset
from scenes.generators import generator
from scenes.materials_and_light import AssetPools
from scenes.recipes import Recipe
from scenes.spec import Object, Setting


@dataclass(frozen=True)
class SettingDraws:
    """Where a setting's draws come from: one attempt at one scene of a recipe."""

    recipe: Recipe
    pools: AssetPools
    seed: int
    index: int
    attempt: int

    def rng(self, subsystem: str) -> np.random.Generator:
        """Generator of a subsystem, whose name should begin with the setting's."""
        return generator(self.seed, self.index, subsystem, self.attempt)


@dataclass(frozen=True, eq=False)
class TakenSpace:
    """What a camera may not enter: boxes that stand upright, the ground, and the outside of `bounds`.

    Attributes:
        centres: (N, 3) of the boxes.
        halves: (N, 3) half sizes.
        yaws: (N,) degrees about z.
        ground: height (...) of the ground at (..., 2); None where there is none.
        bounds: lowest and highest corner (2, 3) of where the camera may be; None for everywhere.
    """

    centres: np.ndarray
    halves: np.ndarray
    yaws: np.ndarray
    ground: Callable[[np.ndarray], np.ndarray] | None = None
    bounds: np.ndarray | None = None

    def local(self, points: np.ndarray, boxes: slice | np.ndarray) -> np.ndarray:
        """Points (..., B, 3) in the frames of `boxes`, B of them: turned, from their centres."""
        yaws = np.radians(self.yaws[boxes])
        cos, sin = np.cos(yaws), np.sin(yaws)
        x, y, z = np.moveaxis(points - self.centres[boxes], -1, 0)
        return np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1)

    def distances(self, points: np.ndarray, boxes: slice | np.ndarray) -> np.ndarray:
        """Distances (..., B) from points (..., B, 3) or (..., 1, 3) to `boxes`, each to its own; negative inside."""
        beyond = np.abs(self.local(points, boxes)) - self.halves[boxes]
        outside = np.sqrt((np.maximum(beyond, 0.0) ** 2).sum(axis=-1))
        return outside + np.minimum(beyond.max(axis=-1), 0.0)

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance (...) from points (..., 3) to what is nearest; negative inside of something or out of bounds.

        To the ground the distance is the height above it.
        """
        nearest = np.full(points.shape[:-1], np.inf)
        for box in range(len(self.centres)):  # one by one: there may be many points
            nearest = np.minimum(nearest, self.distances(points[..., None, :], slice(box, box + 1))[..., 0])
        if self.ground is not None:
            nearest = np.minimum(nearest, points[..., 2] - self.ground(points[..., :2]))
        return np.minimum(nearest, self.to_bounds(points))

    def to_bounds(self, points: np.ndarray) -> np.ndarray:
        """Distance (...) from points (..., 3) to the edge of `bounds`; negative outside, infinite without bounds."""
        if self.bounds is None:
            return np.full(points.shape[:-1], np.inf)
        low, high = self.bounds
        return np.minimum(points - low, high - points).min(axis=-1)


@dataclass(frozen=True, eq=False)
class Viewpoints:
    """Candidate views, one row each: eye (C, 3), point looked at (C, 3), field of view (C,) in degrees."""

    eyes: np.ndarray
    targets: np.ndarray
    fov: np.ndarray


@dataclass(frozen=True, eq=False)
class SettingLayout:
    """A setting that has been laid out.

    Attributes:
        setting: its pieces and portals, materials included.
        assets: catalogue assets of `objects`, in their order.
        objects: catalogue things in it, materials included; they may have a height.
        taken: where no camera may be.
        viewpoints: draws that many candidate views from a generator.
        subject: (centre (3,), radius) of what the camera shows, or None where it shows the setting itself.
    """

    setting: Setting
    assets: tuple[Asset, ...]
    objects: tuple[Object, ...]
    taken: TakenSpace
    viewpoints: Callable[[np.random.Generator, int], Viewpoints]
    subject: tuple[np.ndarray, float] | None = None
