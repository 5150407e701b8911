"""Pictures with arrows, lines and words on them, drawn at twice their size and shrunk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

RED, GREEN, BLUE = "#e0332b", "#1f9d3a", "#2563d9"
INK, PALE, WARM = "#1b1f24", "#8a929b", "#d98a00"
_SCALE = 2

Point = tuple[float, float]


class Sheet:
    """A white page of `width` x `height` pixels; all coordinates are in its pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width * _SCALE, height * _SCALE), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._size = (width, height)

    def picture(self, pixels: np.ndarray, at: Point, size: tuple[int, int] | None = None, smooth: bool = True) -> None:
        """Put an image (h, w, 3) of floats in [0, 1], or (h, w) for grey, with its top-left corner at `at`."""
        image = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
        width, height = size or (image.width, image.height)
        kind = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
        image = image.convert("RGB").resize((width * _SCALE, height * _SCALE), kind)
        self._image.paste(image, (round(at[0] * _SCALE), round(at[1] * _SCALE)))

    def line(self, points: list[Point], colour: str = INK, width: float = 1.0) -> None:
        """A polyline."""
        self._draw.line(
            [(x * _SCALE, y * _SCALE) for x, y in points], fill=colour, width=round(width * _SCALE), joint="curve"
        )

    def arrow(self, start: Point, end: Point, colour: str, width: float = 3.0) -> None:
        """A line with a head at `end`, edged in white to stay legible on pictures; nothing if it would be tiny."""
        size = 3.2 * width + 2
        if math.dist(start, end) <= size:
            return
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        neck = (end[0] - 0.7 * size * math.cos(angle), end[1] - 0.7 * size * math.sin(angle))
        wings = [
            (end[0] - size * math.cos(angle + turn), end[1] - size * math.sin(angle + turn)) for turn in (0.42, -0.42)
        ]
        head = [end, *wings]
        self.line([start, neck], "white", width + 2.5)
        self.line([*head, *head[:2]], "white", 3)
        self.line([start, neck], colour, width)
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in head], fill=colour)

    def dot(self, at: Point, colour: str = INK, radius: float = 4.0) -> None:
        """A filled circle with a white rim."""
        for fill, r in (("white", radius + 1.5), (colour, radius)):
            box = [(at[0] - r) * _SCALE, (at[1] - r) * _SCALE, (at[0] + r) * _SCALE, (at[1] + r) * _SCALE]
            self._draw.ellipse(box, fill=fill)

    def disc(self, at: Point, radius: float, colour: str) -> None:
        """A filled circle."""
        box = [at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius]
        self._draw.ellipse([value * _SCALE for value in box], fill=colour)

    def circle(self, at: Point, radius: float, colour: str = INK, width: float = 1.0) -> None:
        """An outline."""
        box = [(at[0] - radius), (at[1] - radius), (at[0] + radius), (at[1] + radius)]
        self._draw.ellipse([value * _SCALE for value in box], outline=colour, width=round(width * _SCALE))

    def text(
        self, at: Point, words: str, colour: str = INK, size: float = 15, anchor: str = "lm", halo: bool = True
    ) -> None:
        """Words at a point; `anchor` as Pillow has it, such as lm, mm, rm, la."""
        font = ImageFont.load_default(size * _SCALE)
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self._draw.text(
            place,
            words,
            fill=colour,
            font=font,
            anchor=anchor,
            stroke_width=3 * _SCALE if halo else 0,
            stroke_fill="white",
            spacing=4 * _SCALE,
        )

    def save(self, path: Path) -> None:
        """Write a WebP of the page's size."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._image.resize(self._size, Image.Resampling.LANCZOS).save(path, quality=82, method=6)
