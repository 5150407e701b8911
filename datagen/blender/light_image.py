"""A light's image: read or made, sanitized, brought to size. The array that is rendered is the array that is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen.blender.sky import sky_image
from datagen.resolver import Resolver
from manifests.codec.light_file import read_light
from manifests.contract.environment import cell_overlaps, latlong_directions, sample_latlong, sanitize
from manifests.errors import InputError, RenderError
from scenes.spec import Builtin, SceneLight
from scenes.studio_light import studio_image


@dataclass(frozen=True, eq=False)
class LightImage:
    """image: (height, 2 height, 3) float32 in [0, 65504], the environment's own frame; `sanitized` counts the
    values that were NaN, negative or too large."""

    image: np.ndarray
    sanitized: int


def light_image(light: SceneLight, height: int, resolver: Resolver) -> LightImage:
    """Make the image of a light: source, sanitize, area average to `height` rows, mirror, strength.

    Raises RenderError: `bad-environment` (unreadable, not a lat-long, nothing but NaN and black),
    `unknown-generator`, and what the resolver raises.
    """
    source, sanitized = sanitize(_source_image(light, height, resolver))
    if not source.max() > 0:
        raise RenderError("bad-environment", "the environment map holds no light (NaN or black)", where=light.map.uid)
    image = resize_latlong(source, height)
    if light.mirror:
        image = image[:, ::-1]
    image, clipped = sanitize(image * np.float32(light.strength))
    return LightImage(np.ascontiguousarray(image), sanitized + clipped)


def resize_latlong(image: np.ndarray, height: int) -> np.ndarray:
    """Resize a lat-long image (h, w, 3) to (height, 2 height, 3) float32.

    Smaller: mean over each new pixel's solid angle, so that no energy is lost. Larger: bilinear.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, 2 * height):
        return image.astype(np.float32)
    if rows < height or columns < 2 * height:
        return sample_latlong(image, latlong_directions(height, 2 * height)).astype(np.float32)
    vertical = cell_overlaps(-np.cos(np.linspace(0, np.pi, rows + 1)), -np.cos(np.linspace(0, np.pi, height + 1)))
    horizontal = cell_overlaps(np.linspace(0, 1, columns + 1), np.linspace(0, 1, 2 * height + 1))
    narrow = np.einsum("jx,yxc->yjc", horizontal, image, optimize=True)
    return np.einsum("iy,yjc->ijc", vertical, narrow, optimize=True).astype(np.float32)


def _source_image(light: SceneLight, height: int, resolver: Resolver) -> np.ndarray:
    source = light.map
    if not isinstance(source, Builtin):
        try:
            return read_light(resolver.path(source))
        except InputError as error:
            raise RenderError("bad-environment", error.what, error.advice, where=error.where) from None
    match source.generator:
        case "sky":
            return sky_image(source.params, height, resolver.cache)
        case "studio":
            return studio_image(source.params, height)
        case "constant":
            colour = np.asarray(source.params.get("colour", (1.0, 1.0, 1.0)), dtype=np.float32)
            return np.broadcast_to(colour, (height, 2 * height, 3)).copy()
        case _:
            raise RenderError("unknown-generator", f"no environment generator {source.generator!r}", where=source.uid)
