"""Videos for the page: films side by side in one file, so that they cannot drift apart, with names over them."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from editing.film import VideoWriter, open_video, steady
from manifests.display import PAPER
from manifests.report.grids import Grid

LARGEST = 384
"""A film's larger side is at most this on the page; smaller ones are enlarged by whole factors, pixels kept square."""

_GAP = 4
_CRF = 18


def beside(films: Mapping[str, Path], columns: int = 0, largest: int = LARGEST) -> Grid:
    """Films of one length and shape by name as one video of `columns` columns (0: all in a row)."""
    clips = {name: read_film(path) for name, path in films.items()}
    frames, fps = len(next(iter(clips.values()))[0]), next(iter(clips.values()))[1]
    size = next(iter(clips.values()))[0].shape[1:3]
    factor = max(1, largest // max(size))
    height, width = size[0] * factor, size[1] * factor
    columns = columns or len(clips)
    rows = -(-len(clips) // columns)
    full = rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP
    canvas = np.empty((frames, *full, 3), dtype=np.uint8)
    canvas[:] = PAPER
    for index, (pictures, _) in enumerate(clips.values()):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        for frame in range(min(frames, len(pictures))):
            large = cv2.resize(pictures[frame], (width, height), interpolation=cv2.INTER_NEAREST)
            canvas[frame, top : top + height, left : left + width] = large
    poster = io.BytesIO()
    Image.fromarray(canvas[frames // 2]).save(poster, "WEBP", quality=82)
    return Grid(_mp4(canvas, fps), poster.getvalue(), full[1], full[0], columns, rows, tuple(clips))


def read_film(path: Path) -> tuple[np.ndarray, float]:
    """Frames (T, H, W, 3) uint8 sRGB of a video file, and its frame rate."""
    with open_video(path) as reader:
        return np.stack([frame for frame, _ in steady(reader)]), reader.fps


def player(video: Grid, frames: int, fps: float, title: str, text: str = "", kind: str = "") -> str:
    """A video with its controls, as the datasets' pages have them, title and text below; `kind` is a CSS class."""
    labels = "".join(f"<li>{escape(name)}</li>" for name in video.names)
    note = f'<p class="note">{escape(text)}</p>' if text else ""
    return (
        f'<article class="clip {kind}"><div class="stage" style="aspect-ratio:{video.width}/{video.height};'
        f'--columns:{video.columns};--rows:{video.rows}"><video muted loop playsinline preload="auto" '
        f'data-frames="{frames}" data-fps="{fps:g}" poster="{data("image/webp", video.poster)}" '
        f'src="{data("video/mp4", video.video)}"></video><ol class="labels">{labels}</ol></div>'
        '<div class="transport"><button type="button" class="play" aria-label="play or pause"></button>'
        f'<input type="range" min="0" max="{frames - 1}" value="0" aria-label="frame">'
        f"<output>1 / {frames}</output></div>"
        f'<div class="about"><div><h3>{escape(title)}</h3>{note}</div></div></article>'
    )


def data(kind: str, content: bytes) -> str:
    """Bytes as a data: URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _mp4(canvas: Sequence[np.ndarray] | np.ndarray, fps: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lightloom-") as folder:
        path = Path(folder) / "page.mp4"
        with VideoWriter(path, canvas[0].shape[:2], fps, crf=_CRF) as video:
            for frame in canvas:
                video.write(frame)
        return path.read_bytes()
