"""Playable grids: videos side by side in one small file that every browser plays, so that they cannot drift apart."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.display import PAPER, pictures, webp

LARGEST_TILE = 288
"""A G-buffer's larger side on a page, in pixels, at most."""

_GAP = 4
_BT709, _LIMITED = 1, 1


@dataclass(frozen=True)
class Grid:
    """An H.264 video of `columns` x `rows` tiles with `names` over them, and its middle frame as WebP."""

    video: bytes
    poster: bytes
    width: int
    height: int
    columns: int
    rows: int
    names: tuple[str, ...]
    frames: int
    fps: float


def clip_grid(clip: Clip) -> Grid:
    """rgb and the G-buffers of a clip, [rgb | basecolor | normal / depth | roughness | metallic]."""
    names = tuple(name for name in ("rgb", *GBUFFERS) if name in clip.arrays) or tuple(clip.arrays)[:6]
    return tiled({name: pictures(clip, name) for name in names}, clip.fps, min(len(names), 3))


def tiled(videos: Mapping[str, np.ndarray], fps: float, columns: int, largest: int = LARGEST_TILE) -> Grid:
    """Videos (T, H, W, 3) uint8 sRGB by name in tiles of the first one's shape, as long as the first one.

    A tile's larger side is at most `largest` pixels; smaller videos are enlarged by whole factors, pixels kept square.
    """
    frames, *size = next(iter(videos.values())).shape[:3]
    factor = largest // max(size) or largest / max(size)
    height, width = (max(round(side * factor), 1) for side in size)
    rows = -(-len(videos) // columns)
    full_height, full_width = _even(rows * (height + _GAP) - _GAP), _even(columns * (width + _GAP) - _GAP)
    canvas = np.empty((frames, full_height, full_width, 3), dtype=np.uint8)
    canvas[:] = PAPER
    kind = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    for index, video in enumerate(videos.values()):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        for shown, picture in zip(canvas, video, strict=False):
            resized = Image.fromarray(picture).resize((width, height), kind)
            shown[top : top + height, left : left + width] = np.asarray(resized)
    poster = webp(Image.fromarray(canvas[frames // 2]), 82)
    names = tuple(name for name in videos if name)
    return Grid(_h264(canvas, fps), poster, full_width, full_height, columns, rows, names, frames, fps)


def _even(size: int) -> int:
    return size + size % 2


def _h264(frames: np.ndarray, fps: float) -> bytes:
    """(T, H, W, 3) uint8 sRGB as an mp4: yuv420p, BT.709, key frames close together to scrub."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        options = {"crf": "18", "preset": "slow", "tune": "animation", "g": "6", "threads": "1"}
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
