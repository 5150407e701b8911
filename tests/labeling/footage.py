"""Small real footage for tests: smooth textures that move, encoded with the encoders that cameras use."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from scipy.ndimage import gaussian_filter


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth coloured noise that tiles, (H, W, 3) float in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (height / 12, width / 12, 0), mode="wrap")
    low, high = smooth.min(), smooth.max()
    return (smooth - low) / (high - low)


def shot(
    seed: int, frames: int, height: int = 48, width: int = 64, *, speed: float = 1.5, gain: float = 1.0
) -> np.ndarray:
    """A camera that pans over a texture: (T, H, W, 3) uint8; `speed` in pixels a frame."""
    wide = texture(seed, height, 4 * width)
    columns = np.arange(width)[None, :] + np.arange(frames)[:, None] * speed  # (T, W)
    whole = np.floor(columns).astype(int)
    part = (columns - whole)[:, None, :, None]  # (T, 1, W, 1)
    left, right = wide[:, whole % (4 * width)], wide[:, (whole + 1) % (4 * width)]  # (H, T, W, 3)
    moved = left.transpose(1, 0, 2, 3) * (1 - part) + right.transpose(1, 0, 2, 3) * part
    return np.round(moved * gain * 255).astype(np.uint8)


def encode(
    path: Path,
    frames: np.ndarray | Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int | Fraction = 25,
    stamps: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    matrix: int = 1,
    full_range: bool = False,
    transfer: int = 1,
    primaries: int = 1,
    rotation: int = 0,
    aspect: Fraction | None = None,
    tagged: bool = True,
) -> Path:
    """Write (T, H, W, 3 or 4) uint8 sRGB frames, or uint16 as they are; `stamps` are in 1/1000 s, for odd rates."""
    settings = {"crf": "12", "preset": "ultrafast"} if codec == "libx264" else {}
    deep = frames[0].dtype == np.uint16
    source = "rgb48le" if deep else "rgba" if frames[0].shape[2] == 4 else "rgb24"
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={**settings, **(options or {})})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        context: Any = stream.codec_context
        if stamps is not None:
            context.time_base = stream.time_base = Fraction(1, 1000)
        if tagged:
            context.color_range, context.colorspace = 2 if full_range else 1, matrix
            context.color_trc, context.color_primaries = transfer, primaries
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(frames):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format=source)
            frame = frame.reformat(
                format=pixels,
                src_color_range=2,
                dst_colorspace=matrix if matrix else None,
                dst_color_range=2 if full_range else 1,
                interpolation="BICUBIC",
            )
            frame.color_trc, frame.color_primaries = transfer, primaries
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = Fraction(1, 1000) if stamps is not None else 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
