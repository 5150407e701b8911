"""Playable clips: all G-buffers of a clip side by side in one small video that every browser plays."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.display import PAPER, pictures

LARGEST_TILE = 288
"""A tile's larger side is at most this; smaller clips are enlarged by whole factors, pixels kept square."""

_GAP = 4
_BT709, _LIMITED = 1, 1


@dataclass(frozen=True)
class Grid:
    """A clip for the page: an H.264 video of its attributes in `columns` x `rows` tiles, and a still as WebP."""

    video: bytes
    poster: bytes
    width: int
    height: int
    columns: int
    rows: int
    names: tuple[str, ...]


def grid(clip: Clip) -> Grid:
    """Lay rgb and the G-buffers of a clip out in tiles, [rgb | basecolor | normal / depth | roughness | metallic]."""
    names = tuple(name for name in ("rgb", *GBUFFERS) if name in clip.arrays) or tuple(clip.arrays)[:6]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    height, width = _tile_size(*clip.size)
    full_height, full_width = _even(rows * (height + _GAP) - _GAP), _even(columns * (width + _GAP) - _GAP)
    canvas = np.empty((clip.frames, full_height, full_width, 3), dtype=np.uint8)
    canvas[:] = PAPER
    for index, name in enumerate(names):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        for frame, picture in enumerate(pictures(clip, name)):
            canvas[frame, top : top + height, left : left + width] = _resized(picture, height, width)
    poster = io.BytesIO()
    Image.fromarray(canvas[clip.frames // 2]).save(poster, "WEBP", quality=82, method=4)
    return Grid(_h264(canvas, clip.fps), poster.getvalue(), full_width, full_height, columns, rows, names)


def _tile_size(height: int, width: int) -> tuple[int, int]:
    larger = max(height, width)
    factor = LARGEST_TILE // larger if larger <= LARGEST_TILE else LARGEST_TILE / larger
    return max(round(height * factor), 1), max(round(width * factor), 1)


def _resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape[0] <= height:
        factor = height // picture.shape[0]
        return picture.repeat(factor, axis=0).repeat(factor, axis=1)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def _even(size: int) -> int:
    return size + size % 2


def _h264(frames: np.ndarray, fps: float) -> bytes:
    """(T, H, W, 3) uint8 sRGB as an mp4: yuv420p, BT.709, key frames close together to scrub."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        options = {"crf": "20", "preset": "slow", "tune": "animation", "g": "6", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = _BT709, _BT709, _BT709
        context.color_range = _LIMITED
        for image in frames:
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
