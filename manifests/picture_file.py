"""Pictures as people have them, read in one way for frames, masks and textures: upright, 8 or 16 bits, alpha apart.

Values are sRGB codes as the file has them. Palettes are looked up, bits and few grey levels widened, 16-bit grey keeps
its bits (Pillow's own conversion clips it).
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_ONE_PICTURE = {"PNG", "WEBP", "TIFF", "GIF"}  # formats in which several pictures are several, not previews
_SAME = 16  # codes by which the colours of a grey JPEG differ
_AGREE = 0.999
_BROKEN = (OSError, SyntaxError, EOFError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        colour: (H, W, 3) uint8, or uint16 where the file has so many bits; straight, not multiplied by alpha.
        alpha: (H, W) uint8, or None where the picture is opaque everywhere.
        profile: whether the file has a colour profile, which is not applied.
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    profile: bool

    @property
    def values(self) -> np.ndarray:
        """The colour as float32 in [0, 1]."""
        return self.colour.astype(np.float32) / np.float32(np.iinfo(self.colour.dtype).max)

    def over_black(self) -> np.ndarray:
        """(H, W, 3) uint8, as networks were trained to see it."""
        colour = self.colour if self.colour.dtype == np.uint8 else (self.colour >> 8).astype(np.uint8)
        return colour if self.alpha is None else over_black(np.dstack([colour, self.alpha]))

    def mask(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]: what is selected, said in white or by alpha. ValueError where it says neither.

        An alpha that is the same everywhere is no mask. Another is the mask where the colours are none: all the same,
        or those of a cut-out picture. Two colours, one of them black, or the label 0 and one other, are black and
        white.
        """
        shape = self._black_and_white()
        if self.alpha is None or np.ptp(self.alpha) == 0:
            if shape is None:
                raise ValueError("is in colour, perhaps a map of labels; what is selected is white, the rest black")
            return shape
        alpha = self.alpha.astype(np.float32) / 255
        if shape is None or np.ptp(shape) == 0 or ((shape > 0.5) == (alpha > 0.5)).mean() >= _AGREE:
            return alpha
        if (np.abs(shape - 0.5) > 0.4).mean() > 0.95:
            raise ValueError("its colours are one mask and its alpha is another; save it without alpha")
        return alpha

    def _black_and_white(self) -> np.ndarray | None:
        lowest, highest = self.colour.min(axis=-1), self.colour.max(axis=-1)
        if int((highest - lowest).max()) > _SAME * (np.iinfo(self.colour.dtype).max // 255):
            packed = self.colour.astype(np.uint64) @ np.array([1 << 32, 1 << 16, 1], dtype=np.uint64)
            found = np.unique(packed)
            return (packed > 0).astype(np.float32) if len(found) == 2 and found[0] == 0 else None
        level = self.values.mean(axis=-1)
        found = np.unique(highest)
        return (level > 0).astype(np.float32) if len(found) == 2 and found[0] == 0 and level.max() < 0.5 else level


def read_picture(
    source: Path | bytes, most_pixels: int, formats: tuple[str, ...] = PICTURE_FORMATS, *, upright: bool = True
) -> Picture:
    """Decode a picture; `upright` carries out its orientation mark.

    Raises OverflowError, from the header, for one of more than `most_pixels`; ValueError, one line, for what is wrong.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            if image.width * image.height > most_pixels:
                raise OverflowError(f"{image.width}x{image.height} pixels")
            if image.format in _ONE_PICTURE and getattr(image, "n_frames", 1) > 1:
                raise ValueError(f"holds {getattr(image, 'n_frames', 1)} pictures, one is expected")
            image.load()
            return _decoded(ImageOps.exif_transpose(image) if upright else image, bool(image.info.get("icc_profile")))
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture of a kind that is read, or a damaged one") from None
    except _BROKEN as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from None


def over_black(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 with straight alpha laid over black: (H, W, 3) uint8."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _decoded(image: Image.Image, profile: bool) -> Picture:
    if image.mode in ("I", "F"):
        raise ValueError(f"holds numbers without a range ({image.mode}); save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16)
        hidden = image.info.get("transparency")
        alpha = ((grey != hidden) * 255).astype(np.uint8) if isinstance(hidden, int) else None
        return Picture(np.repeat(grey[..., None], 3, axis=2), alpha, profile)
    if image.has_transparency_data:
        rgba = np.array(image.convert("RGBA"))
        return Picture(rgba[..., :3], rgba[..., 3] if rgba[..., 3].min() < 255 else None, profile)
    return Picture(np.array(image.convert("RGB")), None, profile)
