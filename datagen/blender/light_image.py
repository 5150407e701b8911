"""A light's image: read or made, sanitized, brought to size. The array that is rendered is the array that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from datagen.blender.capture import captured
from datagen.blender.sky import sky_image
from datagen.resolver import Resolver
from manifests.codec.exr import read_exr
from manifests.contract.environment import latlong_directions, sample_latlong, sanitize
from manifests.errors import CodecError, RenderError
from scenes.spec import Builtin, SceneLight

_LARGEST_FILE = 1 << 30


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
    vertical = _overlaps(-np.cos(np.linspace(0, np.pi, rows + 1)), -np.cos(np.linspace(0, np.pi, height + 1)))
    horizontal = _overlaps(np.linspace(0, 1, columns + 1), np.linspace(0, 1, 2 * height + 1))
    narrow = np.einsum("jx,yxc->yjc", horizontal, image, optimize=True)
    return np.einsum("iy,yjc->ijc", vertical, narrow, optimize=True).astype(np.float32)


def _overlaps(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Share (new cells, old cells) of each new cell that each old cell covers, from their edges."""
    shared = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
    return (np.maximum(shared, 0.0) / np.diff(new)[:, None]).astype(np.float32)


def _source_image(light: SceneLight, height: int, resolver: Resolver) -> np.ndarray:
    source = light.map
    if not isinstance(source, Builtin):
        return read_environment(resolver.path(source))
    match source.generator:
        case "sky":
            return sky_image(source.params, height, resolver.cache)
        case "studio":
            from scenes.studio_light import studio_image

            return studio_image(source.params, height)
        case "constant":
            colour = np.asarray(source.params.get("colour", (1.0, 1.0, 1.0)), dtype=np.float32)
            return np.broadcast_to(colour, (height, 2 * height, 3)).copy()
        case _:
            raise RenderError("unknown-generator", f"no environment generator {source.generator!r}", where=source.uid)


def read_environment(path: Path) -> np.ndarray:
    """Linear lat-long image (h, w, 3) float32 of an .exr or .hdr file, as it is: NaN and negative values included.

    Raises RenderError (`bad-environment`) when it cannot be read or is not twice as wide as high.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise CodecError(f"larger than {_LARGEST_FILE} bytes")
        image = _read_exr(path) if path.suffix.lower() == ".exr" else _read_hdr(path)
    except (OSError, RuntimeError, CodecError) as error:
        raise RenderError("bad-environment", f"cannot be read as an environment map: {error}", where=path) from None
    height, width = image.shape[:2]
    if not 1.9 < width / height < 2.1:
        raise RenderError("bad-environment", f"{width}x{height} pixels is not a lat-long image (2:1)", where=path)
    return image


def _read_exr(path: Path) -> np.ndarray:
    channels = read_exr(path.read_bytes())
    for names in (("R", "G", "B"), ("Y", "Y", "Y")):
        for prefix in sorted({name.rpartition(".")[0] for name in channels}):
            full = [f"{prefix}.{name}" if prefix else name for name in names]
            if all(name in channels for name in full):
                return np.stack([channels[name] for name in full], axis=-1).astype(np.float32)
    raise CodecError(f"no R, G, B channels, only {', '.join(sorted(channels))}")


def _read_hdr(path: Path) -> np.ndarray:
    with captured() as log:
        block = bpy.data.images.load(str(path), check_existing=False)
        try:
            width, height = block.size
            if not width or not height or not block.is_float:
                raise CodecError(log.errors[0] if log.errors else "not a high dynamic range image")
            pixels = np.empty(width * height * block.channels, dtype=np.float32)
            block.pixels.foreach_get(pixels)
            return pixels.reshape(height, width, block.channels)[::-1, :, :3]
        finally:
            bpy.data.images.remove(block)
