"""Land as a height field: a pure function of a kind, a seed and a place, in metres, from a lawn to the far mountains.

The height is a sum of octaves of gradient noise, each with a steepness by its wavelength, and of what makes the kind: a
shore, dunes, ridges far away. All that is seen of it is a polar grid about the origin whose cells grow with the
distance (`rings`, `SECTORS`). An octave fades out where that grid becomes too coarse to show it, so mesh and field
agree everywhere, and what stands on the field stands on the mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

LAND_KINDS = ("meadow", "hills", "dunes", "mountains", "coast", "lake", "river")
REACH = 45_000.0
"""Radius of the land. From 100 m up, its rim rises above the eye's level in all directions: no sky below it."""
SECTORS = 360

_GROWTH = 0.024
_FINEST = 0.06
_SHOWN = 14.0  # wavelengths to the distance at which the grid has three cells to one
_WAVELENGTHS = 6000.0 / 2.0 ** np.arange(14)
_CHUNK = 4096
_TURN = 2.399963 * np.arange(len(_WAVELENGTHS))  # golden angle: no two octaves share their lattice's directions
_TURNS = np.array([[np.cos(_TURN), np.sin(_TURN)], [-np.sin(_TURN), np.cos(_TURN)]]).transpose(2, 0, 1)
_DIRECTIONS = np.stack([np.cos(np.arange(256) * np.pi / 128), np.sin(np.arange(256) * np.pi / 128)], axis=1)
_RIDGES = 4000.0 / 2.0 ** np.arange(5)
# steepness (height by wavelength) of the octaves, by wavelength in metres
_STEEPNESS: dict[str, dict[float, float]] = {
    "meadow": {0.5: 0.02, 4.0: 0.014, 60.0: 0.018, 600.0: 0.035, 6000.0: 0.035},
    "hills": {0.5: 0.022, 4.0: 0.018, 60.0: 0.04, 400.0: 0.11, 1500.0: 0.1, 6000.0: 0.05},
    "dunes": {0.5: 0.002, 4.0: 0.003, 60.0: 0.01, 300.0: 0.025, 6000.0: 0.02},
    "mountains": {0.5: 0.03, 4.0: 0.025, 60.0: 0.05, 400.0: 0.07, 6000.0: 0.04},
}


def gradient_noise_2d(points: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Smooth noise (N,) in about [-1, 1] at points (N, 2) with seeds (N,) uint64; one unit is one lattice cell.

    Perlin 2002's quintic fade over gradients of 256 directions, hashed from the lattice.
    """
    cell = np.floor(points)
    inside = points - cell
    fade = inside**3 * (inside * (inside * 6 - 15) + 10)
    x, y = cell.astype(np.int64).astype(np.uint64).T
    total = np.zeros(len(points))
    for right in (0, 1):
        for up in (0, 1):
            bits = (x + np.uint64(right)) * np.uint64(0x9E3779B97F4A7C15)
            bits ^= (y + np.uint64(up)) * np.uint64(0xC2B2AE3D27D4EB4F) + seeds
            bits = (bits ^ (bits >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
            slope = _DIRECTIONS[(bits >> np.uint64(56)).astype(np.int64)]
            across, along = inside[:, 0] - right, inside[:, 1] - up
            weight = (fade[:, 0] if right else 1 - fade[:, 0]) * (fade[:, 1] if up else 1 - fade[:, 1])
            total += weight * (slope[:, 0] * across + slope[:, 1] * along)
    return 1.5 * total


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 at `low` and below, 1 at `high` and above, smooth between."""
    part = np.clip((value - low) / (high - low), 0.0, 1.0)
    return part * part * (3 - 2 * part)


def rings() -> np.ndarray:
    """Radii of the grid's rings, from 0 to `REACH`: steps of 6 cm near the origin, then of 2.4 % of the radius."""
    inner = np.arange(0.0, _FINEST / _GROWTH, _FINEST)
    count = int(np.ceil(np.log(REACH / inner[-1]) / _GROWTH))
    return np.concatenate([inner, np.geomspace(inner[-1], REACH, count + 1)[1:]])


@dataclass(frozen=True)
class Land:
    """A piece of the earth; see `land`.

    Attributes:
        kind: one of `LAND_KINDS`.
        seed: of its noise.
        steepness: of the octaves, one for each wavelength.
        heading: radians, of the shore's normal (towards the water) or of the dunes' wind.
        size: lake's radius or river's width, or from one dune to the next.
        crest: height of dunes or of mountains.
        shore: distance from the origin to the water's edge, before it winds.
    """

    kind: str
    seed: int
    steepness: tuple[float, ...]
    heading: float
    size: float
    crest: float
    shore: float

    @property
    def has_water(self) -> bool:
        """Whether there is a sea, lake or river."""
        return self.kind in ("coast", "lake", "river")

    @property
    def water_level(self) -> float:
        """Height of the water; far below all land where there is none."""
        return -float(self._site[0]) if self.has_water else -1000.0

    @cached_property
    def _site(self) -> np.ndarray:
        """Height at the origin, and its slopes (2,) there, before the land is moved to height 0 and levelled."""
        start, east, north = self._raw(np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]))
        return np.array([start, 2 * (east - start), 2 * (north - start)])

    def height(self, points: np.ndarray) -> np.ndarray:
        """Height (...) at points (..., 2); 0 at the origin."""
        flat = points.reshape(-1, 2)
        start, *lean = self._site
        height = self._raw(flat) - start
        if not self.has_water:  # a shore is level enough for things to stand on
            height -= flat @ lean * np.exp(-(flat**2).sum(axis=1) / 30.0**2)
        return height.reshape(points.shape[:-1])

    def surface(self, points: np.ndarray, step: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
        """Heights (N,) and upward unit normals (N, 3), by differences over `step` metres, at points (N, 2)."""
        offsets = step * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        height, east, north = self.height(points[None] + offsets[:, None])
        normal = np.stack([height - east, height - north, np.full(len(points), step)], axis=-1)
        return height, normal / np.linalg.norm(normal, axis=-1, keepdims=True)

    def noise(self, points: np.ndarray, wavelength: float, salt: int) -> np.ndarray:
        """One octave (N,) in about [-1, 1] at points (N, 2), another one for each `salt`."""
        seeds = np.full(len(points), _mixed(self.seed, 1000 + salt), np.uint64)
        return gradient_noise_2d(points / wavelength, seeds)

    def from_shore(self, points: np.ndarray) -> np.ndarray:
        """Distance (N,) inland from the water's edge at points (N, 2), about; negative in the water."""
        return self._winding(points) - self._winding_at_origin + self.shore

    @cached_property
    def _winding_at_origin(self) -> float:
        return float(self._winding(np.zeros((1, 2)))[0])

    def _winding(self, points: np.ndarray) -> np.ndarray:
        towards = np.array([np.cos(self.heading), np.sin(self.heading)])
        bends: tuple[tuple[float, float], ...]  # wavelength and width
        if self.kind == "lake":
            inland = np.linalg.norm(points - towards * (self.shore + self.size), axis=1) - self.size
            bends = ((0.9 * self.size, 0.35 * self.size), (40.0, 6.0))
        elif self.kind == "river":
            middle = self.shore + self.size / 2
            along = points @ np.array([-towards[1], towards[0]])
            bend = 60.0 * self.noise(np.stack([along, np.zeros(len(along))], axis=1), 420.0, 3)
            inland = np.abs(points @ towards - middle - bend) - self.size / 2
            bends = ((50.0, 4.0),)
        else:
            inland = -(points @ towards)
            bends = ((3000.0, 500.0), (350.0, 60.0), (60.0, 7.0))
        fade = self._fade(points)
        for number, (wavelength, width) in enumerate(bends):
            inland = inland + width * self.noise(points, wavelength, number) * fade(wavelength)
        return inland

    def _fade(self, points: np.ndarray) -> Callable[[float], np.ndarray]:
        """Share (N,) of an octave, by its wavelength, that is there at points (N, 2)."""
        radius = np.linalg.norm(points, axis=1)
        return lambda wavelength: 1 - smoothstep(radius, 0.5 * _SHOWN * wavelength, _SHOWN * wavelength)

    def _raw(self, points: np.ndarray) -> np.ndarray:
        chunks = [self._raw_chunk(points[start : start + _CHUNK]) for start in range(0, len(points), _CHUNK)]
        return np.concatenate([np.zeros(0), *chunks])

    def _raw_chunk(self, points: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(points, axis=1)
        fade = self._fade(points)
        large, small = self._octaves(points, radius)
        rim = 260.0 * smoothstep(radius, 12_000.0, 40_000.0) * (1 + 0.4 * self.noise(points, 9000.0, 7))
        if self.has_water:
            inland = self.from_shore(points)
            bed = -7.0 * (1 - np.exp(np.minimum(inland, 0.0) / 90.0))
            bank = (2.2 if self.kind == "coast" else 1.2) * (1 - np.exp(-np.maximum(inland, 0.0) / 30.0))
            above = 0.5 * (large + np.hypot(large, 4.0))  # no valley lies under the water
            return bed + bank + rim + smoothstep(inland, 8.0, 500.0) * above + 0.5 * small
        if self.kind == "dunes":
            return large + small + rim + self._dunes(points) * fade(self.size)
        if self.kind == "mountains":
            ridges = np.zeros(len(points))
            for number, wavelength in enumerate(_RIDGES):
                sharp = 1 - 2 * np.abs(self.noise(points, wavelength, 20 + number))
                ridges += 0.45**number * sharp * np.abs(sharp) * fade(wavelength)
            return large + small + rim + self.crest * smoothstep(radius, 900.0, 5000.0) * np.maximum(ridges + 0.3, 0.0)
        return large + small + rim

    def _octaves(self, points: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums (N,) of the octaves of more and of less than 8 m; all at once, as most calls are of few points."""
        shown = 1 - smoothstep(radius / _WAVELENGTHS[:, None], 0.5 * _SHOWN, _SHOWN)
        active = np.flatnonzero(shown.any(axis=1))
        lengths = _WAVELENGTHS[active]
        turned = points @ _TURNS[active] / lengths[:, None, None]
        seeds = np.array([_mixed(self.seed, 2000 + number) for number in active.tolist()], np.uint64)
        noise = gradient_noise_2d(turned.reshape(-1, 2), np.repeat(seeds, len(points))).reshape(-1, len(points))
        noise *= (np.array(self.steepness)[active] * lengths)[:, None] * shown[active]
        return noise[lengths >= 8.0].sum(axis=0), noise[lengths < 8.0].sum(axis=0)

    def _dunes(self, points: np.ndarray) -> np.ndarray:
        """Dunes across the wind: a long rise, a sharp crest and a short slip face."""
        wind = points @ np.array([np.cos(self.heading), np.sin(self.heading)])
        phase = wind / self.size + 1.1 * self.noise(points, 3.5 * self.size, 10)
        part = phase - np.floor(phase)
        rise = np.sin(np.pi / 2 * np.minimum(part / 0.72, 1.0)) ** 2
        fall = smoothstep(1 - part, 0.0, 0.28)
        return self.crest * np.minimum(rise, fall) * (0.6 + 0.5 * self.noise(points, 2.2 * self.size, 11))


@lru_cache(maxsize=4)
def land(kind: str, seed: int) -> Land:
    """The land of that kind and seed; ValueError for a kind that is none of `LAND_KINDS`."""
    if kind not in LAND_KINDS:
        raise ValueError(f"no land {kind!r}; there are {', '.join(LAND_KINDS)}")
    rng = np.random.default_rng([seed, LAND_KINDS.index(kind)])
    shape = {"coast": ("meadow", "hills"), "lake": ("meadow", "hills", "mountains"), "river": ("meadow", "hills")}
    choices = shape.get(kind, (kind,))
    known = _STEEPNESS[choices[int(rng.integers(len(choices)))]]
    steepness = np.interp(np.log(_WAVELENGTHS), np.log(list(known)), list(known.values()))
    size = {"lake": rng.uniform(40.0, 260.0), "river": rng.uniform(9.0, 40.0)}.get(kind, rng.uniform(60.0, 140.0))
    crest = size * rng.uniform(0.07, 0.13) if kind == "dunes" else rng.uniform(450.0, 1300.0)
    return Land(
        kind=kind,
        seed=seed,
        steepness=tuple((steepness * rng.uniform(0.6, 1.3)).tolist()),
        heading=float(rng.uniform(-np.pi, np.pi)),
        size=float(size),
        crest=float(crest),
        shore=float(rng.uniform(4.0, 25.0)),
    )


def _mixed(seed: int, salt: int) -> int:
    return (seed * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03) % 2**64
