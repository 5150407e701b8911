"""Texture images of untrusted assets: judged by their header first, decoded only within the limits."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from datagen.assets.asset_file import AssetError, AssetLimits, file_size, shown

# Pillow has more decoders than textures need; fewer of them means less that a hostile file can reach.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF", "GIF", "DDS", "PSD")
_SAMPLE = 512


def check_header(data: bytes | Path, name: str, limits: AssetLimits) -> tuple[int, int]:
    """(width, height) from the header, nothing decoded. AssetError: bad-texture, too-large, missing-file."""
    with _opened(data, name, limits) as image:
        return image.size


def constant_channels(data: bytes | Path, name: str, limits: AssetLimits, tolerance: int = 4) -> tuple[bool, ...]:
    """Decode the whole image; for each of R, G, B, A, whether it is one value but for noise.

    Constant: the 1st and the 99th percentile of the 8-bit values are at most `tolerance` apart. An image without
    alpha has A = 255. Raises AssetError as `check_header`, and bad-texture for data that ends early.
    """
    with _opened(data, name, limits) as image:
        try:
            image.draft("RGB", (_SAMPLE, _SAMPLE))
            small = image.convert("RGBA")
        except (OSError, ValueError, SyntaxError, IndexError, MemoryError) as error:
            raise AssetError("bad-texture", f"{shown(name)} cannot be decoded: {error}") from None
    step = max(1, max(small.size) // _SAMPLE)
    pixels = np.asarray(small)[::step, ::step].reshape(-1, 4)
    low, high = np.percentile(pixels, [1, 99], axis=0)
    return tuple(bool(spread <= tolerance) for spread in high - low)


def _opened(data: bytes | Path, name: str, limits: AssetLimits) -> Image.Image:
    """Image with its header read and its dimensions within the limits."""
    size = len(data) if isinstance(data, bytes) else file_size(data, shown(name))
    if size > limits.file_bytes:
        raise AssetError("too-large", f"{shown(name)} has {size} bytes", f"the limit is {limits.file_bytes}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS)
    except Image.DecompressionBombError:
        raise AssetError("too-large", f"{shown(name)} declares far too many pixels") from None
    except (OSError, ValueError, SyntaxError, IndexError) as error:
        raise AssetError(
            "bad-texture", f"{shown(name)} is not an image that we read ({type(error).__name__})"
        ) from None
    width, height = image.size
    if max(width, height) > limits.image_side or width * height > limits.image_pixels:
        image.close()
        raise AssetError("too-large", f"{shown(name)} is {width}x{height} pixels")
    return image
