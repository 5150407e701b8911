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

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance (...) from points (..., 3) to what is nearest; negative inside of something or out of bounds.

        To the ground the distance is the height above it.
        """
        yaws = np.radians(self.yaws)
        local = points[..., None, :] - self.centres
        x = np.cos(yaws) * local[..., 0] + np.sin(yaws) * local[..., 1]
        y = -np.sin(yaws) * local[..., 0] + np.cos(yaws) * local[..., 1]
        beyond = np.abs(np.stack([x, y, local[..., 2]], axis=-1)) - self.halves
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
        nearest = (outside + np.minimum(beyond.max(axis=-1), 0.0)).min(axis=-1, initial=np.inf)
        if self.ground is not None:
            nearest = np.minimum(nearest, points[..., 2] - self.ground(points[..., :2]))
        if self.bounds is not None:
            low, high = self.bounds
            nearest = np.minimum(nearest, np.minimum(points - low, high - points).min(axis=-1))
        return nearest


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
