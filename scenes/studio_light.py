"""Procedural photo studios as lat-long environments: a backdrop and one to five lamps of widely varied size.

Small lamps of thousands of times the backdrop's radiance give the sharp highlights that tell rough from smooth
surfaces; large softboxes and windows give soft shading. The image follows `manifests.contract.environment` (z up,
centre column +x). Everything is drawn from the seed; the height only changes the resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from manifests.contract.environment import HALF_MAX, latlong_directions
from manifests.errors import InputError
from scenes.spec import Value

_XYZ_TO_REC709 = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
_LARGEST_RADIANCE = 30_000.0


def studio_image(params: Mapping[str, Value], height: int) -> np.ndarray:
    """Radiance (height, 2 height, 3) float32, >= 0, of the studio with `params` = {"seed": int}.

    Backdrops are about 0.01 to 1, softboxes 1 to 100, small lamps up to 30,000. InputError names a bad parameter.
    """
    seed = params.get("seed")
    if set(params) != {"seed"} or not isinstance(seed, int) or seed < 0:
        raise InputError(f"studio: expected one parameter, seed >= 0, got {dict(params)}")
    rng = np.random.default_rng(seed)
    directions = latlong_directions(height, 2 * height)
    image = _BACKDROPS[int(rng.random() * len(_BACKDROPS))](rng, directions)
    for _ in range(1 + int(rng.random() * 5)):
        _LAMPS[int(rng.choice(len(_LAMPS), p=_LAMP_SHARES))](rng, image, directions)
    return np.minimum(image, HALF_MAX).astype(np.float32)


def black_body(kelvin: float) -> np.ndarray:
    """Linear Rec.709 colour (3,) of a black body of 1,667 to 25,000 K, luminance 1, negative parts cut.

    Cubic fit of the Planckian locus by Kim et al., US patent 7,024,034 (2002).
    """
    t = 1000.0 / kelvin
    if kelvin <= 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin <= 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin <= 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    return np.maximum(_XYZ_TO_REC709 @ [x / y, 1.0, (1 - x - y) / y], 0.0)


# --- backdrops --------------------------------------------------------------------------------------------------


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    return np.exp(rng.uniform(-spread, spread, 3))


def _gradient(rng: np.random.Generator, directions: np.ndarray) -> np.ndarray:
    """Floor, horizon and ceiling colours blended by height, brighter to one side."""
    floor, horizon, ceiling = (np.exp(rng.uniform(-4.0, -0.3)) * _tint(rng, 0.15) for _ in range(3))
    z = directions[..., 2:]
    image = horizon + (np.where(z < 0, floor, ceiling) - horizon) * np.abs(z) ** 0.6
    azimuth = rng.uniform(0, 2 * np.pi)
    side = directions[..., 0] * np.cos(azimuth) + directions[..., 1] * np.sin(azimuth)
    return image * (1 + rng.uniform(0, 0.7) * side[..., None])


def _dark(rng: np.random.Generator, directions: np.ndarray) -> np.ndarray:
    """Black studio: only a faint glow."""
    glow = np.exp(rng.uniform(-5.5, -3.5)) * _tint(rng, 0.2)
    return glow * (1.2 + 0.8 * directions[..., 2:])


def _room(rng: np.random.Generator, directions: np.ndarray) -> np.ndarray:
    """Box room with walls, floor and ceiling of their own colours, darker toward the edges."""
    half = np.array([rng.uniform(2, 5), rng.uniform(2, 5), rng.uniform(1.2, 2.0)])
    azimuth = rng.uniform(0, np.pi / 2)
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    turned = directions @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    reach = np.abs(turned) / half
    wall = np.argmax(reach, axis=-1)
    hit = turned / reach.max(axis=-1, keepdims=True) / half
    side = np.take_along_axis(hit, wall[..., None], axis=-1)[..., 0] > 0
    albedo = np.exp(rng.uniform(-2.2, -0.1, (6, 1))) * np.exp(rng.uniform(-0.25, 0.25, (6, 3)))
    ambient = np.exp(rng.uniform(-2.0, 0.0)) * black_body(rng.uniform(3000, 8000))
    edge = (np.sort(np.abs(hit), axis=-1)[..., :2] ** 4).sum(axis=-1)
    return albedo[wall + 3 * side] * ambient * (1 - 0.3 * edge)[..., None]


_BACKDROPS: tuple[Callable[[np.random.Generator, np.ndarray], np.ndarray], ...] = (_gradient, _gradient, _dark, _room)


# --- lamps ------------------------------------------------------------------------------------------------------


def _softbox(rng: np.random.Generator, image: np.ndarray, directions: np.ndarray) -> None:
    size = np.exp(rng.uniform(np.log(0.12), np.log(0.8)))
    half = size * np.array([1.0, rng.uniform(0.5, 1.0)])
    falloff = rng.uniform(0.0, 0.7)
    _add_lamp(rng, image, directions, half, lambda x, y: (1 - falloff * (x**2 + y**2) / 2) * _inside(x, y))


def _strip(rng: np.random.Generator, image: np.ndarray, directions: np.ndarray) -> None:
    half = np.array([rng.uniform(0.3, 1.2), rng.uniform(0.02, 0.1)])
    _add_lamp(rng, image, directions, half, _inside)


def _umbrella(rng: np.random.Generator, image: np.ndarray, directions: np.ndarray) -> None:
    half = np.full(2, np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
    hole = rng.uniform(0.5, 0.8) if rng.random() < 0.3 else 0.0
    _add_lamp(rng, image, directions, half, lambda x, y: (x**2 + y**2 < 1) & (x**2 + y**2 >= hole**2))


def _bulb(rng: np.random.Generator, image: np.ndarray, directions: np.ndarray) -> None:
    half = np.full(2, np.exp(rng.uniform(np.log(0.006), np.log(0.05))))
    _add_lamp(rng, image, directions, half, lambda x, y: x**2 + y**2 < 1)


def _window(rng: np.random.Generator, image: np.ndarray, directions: np.ndarray) -> None:
    half = rng.uniform(0.2, 0.6, 2)
    panes = 1 + (rng.random(2) * 4).astype(int)
    bar = rng.uniform(0.03, 0.08)

    def shape(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        cells = np.stack([(x + 1) / 2 * panes[0] % 1, (y + 1) / 2 * panes[1] % 1])
        glass = (np.abs(cells - 0.5) < 0.5 - bar * panes[:, None]).all(axis=0)
        return _inside(x, y) * glass * (0.65 + 0.35 * y)

    _add_lamp(rng, image, directions, half, shape, upright=True)


def _inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.abs(x) < 1) & (np.abs(y) < 1)


_LAMPS: tuple[Callable[[np.random.Generator, np.ndarray, np.ndarray], None], ...] = (
    _softbox,
    _strip,
    _umbrella,
    _bulb,
    _window,
)
_LAMP_SHARES = (0.25, 0.15, 0.15, 0.3, 0.15)


def _lamp_colour(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.1:  # a coloured gel
        colour = np.exp(rng.uniform(-2.0, 0.0, 3))
        return colour / colour.max()
    return black_body(np.exp(rng.uniform(np.log(2200), np.log(11_000))))


def _add_lamp(
    rng: np.random.Generator,
    image: np.ndarray,
    directions: np.ndarray,
    half: np.ndarray,
    shape: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    upright: bool = False,
) -> None:
    """Lay a flat lamp over the image, facing the origin at distance 1 with half sides `half` (tangents of angles).

    `shape` gives its relative radiance at (x, y) in [-1, 1]^2. Its irradiance at the origin is drawn, so small lamps
    become bright. Pixels are averaged over as many directions as the lamp's size asks for.
    """
    elevation, azimuth = np.radians(rng.uniform(-5, 30) if upright else rng.uniform(-10, 85)), rng.uniform(0, 2 * np.pi)
    toward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.cross(toward, right)
    up *= 1 if up[2] >= 0 else -1
    roll = 0.0 if upright else rng.uniform(-np.pi, np.pi)
    x_axis, y_axis = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right

    irradiance = np.exp(rng.uniform(np.log(0.3), np.log(5.0)))
    radiance = min(irradiance / float(4 * half[0] * half[1]), _LARGEST_RADIANCE) * _lamp_colour(rng)

    height = len(image)
    pixel = np.pi / height
    reach = np.arctan(np.hypot(*half)) + pixel
    rows, columns = np.nonzero(directions @ toward > np.cos(min(reach, np.pi / 2)))
    steps = int(np.clip(np.ceil(4 * pixel / np.arctan(half.min())), 3, 24))
    sub = (np.arange(steps) + 0.5) / steps
    theta = (rows[:, None, None] + sub[:, None]) * pixel
    phi = (0.5 - (columns[:, None, None] + sub) / (2 * height)) * 2 * np.pi
    ring = np.sin(theta)
    rays = np.stack(np.broadcast_arrays(ring * np.cos(phi), ring * np.sin(phi), np.cos(theta)), axis=-1)
    ahead = np.maximum(rays @ toward, 1e-6)
    value = shape((rays @ x_axis / ahead / half[0]).ravel(), (rays @ y_axis / ahead / half[1]).ravel())
    cover = value.reshape(len(rows), -1).mean(axis=1)[:, None]
    image[rows, columns] = image[rows, columns] * np.maximum(1 - cover, 0) + cover * radiance
