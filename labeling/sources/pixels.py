"""Decoded video frames to upright 8-bit sRGB: matrix, range, alpha, pixel shape and rotation, each taken from the file.

The conversion is spelled out because every default in the chain guesses: an untagged range or matrix is read as players
read it (limited range; BT.709 above 576 lines, BT.601 up to there). BT.601, BT.709 and sRGB transfer curves are all
shown as they are on the same displays, so their values are taken for sRGB. PQ, HLG, logarithmic and linear footage
has no such reading: it would need tone mapping that nobody can undo, so it is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from labeling.sources.footage import fitted
from manifests.errors import FootageError

_UNSPECIFIED = 2
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""Code points of ITU-T H.273 to those of the scaler: BT.709, FCC, BT.601 (625 and 525), SMPTE 240M, BT.2020."""
_RGB = 0
_TRANSFERS = {8: "linear", 9: "logarithmic", 10: "logarithmic", 16: "PQ", 17: "SMPTE 428", 18: "HLG", 256: "V-Log"}
_WIDE = {9, 11, 12}
"""BT.2020, DCI-P3 and Display P3 primaries."""
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_MOST_ASPECT = 4


@dataclass(frozen=True)
class Orientation:
    """How stored pixels become upright: transposed first, then flipped."""

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) as stored to upright, contiguous."""
        if self.transposed:
            image = image.transpose(1, 0, 2)  # (H, W, C) -> (W, H, C)
        image = image[::-1] if self.flip_rows else image
        image = image[:, ::-1] if self.flip_columns else image
        return np.ascontiguousarray(image)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) as stored to upright; its own inverse."""
        return (size[1], size[0]) if self.transposed else size


def orientation(frame: VideoFrame) -> Orientation:
    """From the frame's display matrix (ISO 14496-12, 8.2.2): any right angle, mirrored or not."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return Orientation()
    values = struct.unpack("=9i", bytes(data)[:36])
    a, b, c, d = (values[i] for i in (0, 1, 3, 4))  # x' = a x + c y, y' = b x + d y, in 16.16 fixed point
    straight, turned = min(abs(a), abs(d)), min(abs(b), abs(c))
    if straight and max(abs(b), abs(c)) <= straight / 64:
        return Orientation(False, d < 0, a < 0)
    if turned and max(abs(a), abs(d)) <= turned / 64:
        return Orientation(True, b < 0, c < 0)
    raise FootageError("refused", "the video is to be shown turned by an angle that is not a right one")


class PixelConverter:
    """Converts the frames of one video, given its first one. `size` is the upright (H, W) that comes out.

    `aspect` is the width of a pixel over its height: frames come out with square pixels. `side` bounds the larger side.
    """

    def __init__(self, first: VideoFrame, aspect: Fraction | None, side: int | None) -> None:
        self._orientation = orientation(first)
        self.stored = (first.height, first.width)
        width = first.width
        self.flags: set[str] = set()
        if aspect and aspect != 1 and Fraction(1, _MOST_ASPECT) <= aspect <= _MOST_ASPECT:
            width = max(1, round(width * aspect))
            self.flags.add("non-square-pixels")
        self.size = fitted(self._orientation.size((first.height, width)), side)
        self._target = self._orientation.size(self.size)  # (H, W) before turning
        shrinks = self._target[0] < first.height or self._target[1] < first.width
        self._interpolation = _EXACT | (Interpolation.AREA if shrinks else Interpolation.BICUBIC)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 sRGB. Raises FootageError for footage that is high in dynamic range."""
        matrix, limited = self._colours(frame)
        alpha = any(component.is_alpha for component in frame.format.components)
        converted = self._reformatter.reformat(
            frame,
            width=self._target[1],
            height=self._target[0],
            format="rgba" if alpha else "rgb24",
            src_colorspace=matrix,
            src_color_range=ColorRange.MPEG if limited else ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=self._interpolation,
            threads=1,
        )
        pixels = self._orientation.apply(converted.to_ndarray())
        if alpha:
            self.flags.add("alpha")
            return over_black(pixels)
        return pixels

    def _colours(self, frame: VideoFrame) -> tuple[int | None, bool]:
        """The scaler's matrix (None for RGB) and whether the range is limited."""
        if name := _TRANSFERS.get(frame.color_trc):
            raise FootageError("hdr", f"the video has a {name} transfer curve", "tone-map it to SDR first")
        if frame.color_primaries in _WIDE:
            self.flags.add("wide-gamut")
        if frame.interlaced_frame:
            self.flags.add("interlaced")
        if frame.format.is_rgb or frame.format.name.startswith("pal"):
            return None, False
        matrix = frame.colorspace
        if matrix in (_UNSPECIFIED, _RGB):
            matrix = 1 if self.stored[0] > 576 else 5
        if matrix not in _MATRICES:
            raise FootageError("hdr", f"the video has colour matrix {matrix} (ITU-T H.273), which is not converted")
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        return _MATRICES[matrix], not full


def over_black(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 with straight alpha laid over black, as networks were trained to see it: (H, W, 3) uint8."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
