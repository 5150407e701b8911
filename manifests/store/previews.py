"""Contact sheets: for each clip of a shard a strip with a few frames of rgb and one of each G-buffer, as WebP."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.contract.row import Sample
from manifests.display import PAPER, pictures, tile
from manifests.errors import LightloomError

TILE = 112
MOST_STRIPS = 16
_LABEL, _MARGIN, _GAP = 20, 12, 3
_INK, _FAINT = (236, 236, 232), (150, 152, 158)
_COLUMNS = ("first frame", "middle", "last", *GBUFFERS)
_STRIP = (len(_COLUMNS) * (TILE + _GAP) - _GAP, TILE)


class ContactSheet:
    """Gathers strips of at most 16 clips, spread over the `expected` number, and draws them on one sheet."""

    def __init__(self, title: str, expected: int) -> None:
        self._title = title
        self._expected = max(expected, 1)
        self._seen = 0
        self._strips: list[tuple[str, str, Image.Image]] = []

    def add(self, sample: Sample) -> None:
        """Take the next clip; when its strip is among those shown and it brings none, three frames are decoded."""
        if self._seen * MOST_STRIPS // self._expected != (self._seen - 1) * MOST_STRIPS // self._expected:
            self._strips.append((sample.key, _caption(sample), _brought(sample) or strip(sample)))
        self._seen += 1

    def webp(self) -> bytes:
        """The sheet as WebP; two clips side by side when there are more than eight."""
        across = 2 if len(self._strips) > 8 else 1
        rows = -(-len(self._strips) // across)
        width = across * (_STRIP[0] + _MARGIN) + _MARGIN
        top = _MARGIN + 2 * _LABEL + 6
        sheet = Image.new("RGB", (width, max(top + rows * (TILE + _LABEL + 8) + _MARGIN, 64)), PAPER)
        draw = ImageDraw.Draw(sheet)
        shown = "" if len(self._strips) == self._seen else f" ({len(self._strips)} shown)"
        draw.text((_MARGIN, _MARGIN - 2), f"{self._title} · {self._seen} clips{shown}", _INK, _font(15))
        for column in range(across):
            for index, label in enumerate(_COLUMNS):
                x = _MARGIN + column * (_STRIP[0] + _MARGIN) + index * (TILE + _GAP)
                sheet.paste(_FAINT, (x, _MARGIN + _LABEL + 2), _written(label))
        for index, (key, caption, image) in enumerate(self._strips):
            x = _MARGIN + (index // rows) * (_STRIP[0] + _MARGIN)
            y = top + (index % rows) * (TILE + _LABEL + 8)
            sheet.paste(image, (x, y))
            draw.text((x, y + TILE + 2), key, _INK, _font(11))
            beside = x + max(TILE + _GAP, round(draw.textlength(key, _font(11))) + 2 * _GAP)
            sheet.paste(_FAINT, (beside, y + TILE + 2), _written(caption))
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", quality=88, method=0)
        return buffer.getvalue()


def strip_of(clip: Clip) -> bytes:
    """The strip of a clip whose frames are at hand, for `Sample.preview`: what `strip` shows, as lossless WebP."""
    buffer = io.BytesIO()
    frames = _shown_frames(clip.frames)
    arrays = {name: clip.arrays[name][frames] for name in _shown_names(clip.arrays)}
    _drawn(Clip(clip.key, arrays, exposure=clip.exposure)).save(buffer, "WEBP", lossless=True, quality=0, method=0)
    return buffer.getvalue()


def strip(sample: Sample) -> Image.Image:
    """A row of 112-pixel tiles: first, middle and last frame of rgb, then the middle frame of each G-buffer.

    A clip that cannot be decoded gets a strip that says why: a preview never stands in the way of the data.
    """
    from manifests.codec.codecs import decode_clip

    names, frames = _shown_names(sample.row.attributes), _shown_frames(sample.row.frames)
    try:
        return _drawn(decode_clip(sample.key, sample.files, attributes=names, frames=frames))
    except LightloomError as error:
        image = _blank()
        ImageDraw.Draw(image).text((4, TILE // 2 - 8), f"no picture: {error}"[:140], _FAINT, _font(12))
        return image


def _brought(sample: Sample) -> Image.Image | None:
    """The strip that a sample brings; None where there is none, or not a whole one."""
    try:
        image = Image.open(io.BytesIO(sample.preview), formats=("WEBP",))
        return image.convert("RGB") if image.size == _STRIP else None
    except (OSError, ValueError):
        return None


def _shown_names(attributes: Iterable[str]) -> list[str]:
    return [name for name in ("rgb", *GBUFFERS, "mask") if name in attributes]


def _shown_frames(frames: int) -> list[int]:
    return sorted({0, frames // 2, frames - 1})


def _drawn(clip: Clip) -> Image.Image:
    """The strip of a clip that has nothing but the frames to show."""
    image, middle = _blank(), clip.frames // 2
    shown = {name: pictures(clip, name) for name in clip.arrays if name != "mask"}
    columns = [("rgb", 0), ("rgb", middle), ("rgb", -1), *((name, middle) for name in GBUFFERS)]
    for index, (name, frame) in enumerate(columns):
        if name in shown:
            image.paste(tile(shown[name][frame], TILE), (index * (TILE + _GAP), 0))
    return image


def _blank() -> Image.Image:
    return Image.new("RGB", _STRIP, PAPER)


def _caption(sample: Sample) -> str:
    row = sample.row
    motions = ", ".join(motion.replace("_", " ") for motion in row.motions) or "still"
    setting = [row.setting] if row.setting not in ("", "table") else []
    parts = [f"{row.frames} x {row.width} x {row.height}", *setting, motions, row.split, *row.flags]
    return " · ".join(parts)[:120]


@functools.lru_cache(256)
def _written(text: str) -> Image.Image:
    """A text as a mask; captions of a dataset are much alike, and letters cost as much as the rest of a sheet."""
    left, _, right, bottom = _font(11).getbbox(text or " ")
    mask = Image.new("L", (round(right - min(left, 0)) + 1, round(bottom) + 1))
    ImageDraw.Draw(mask).text((0, 0), text, 255, _font(11))
    return mask


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
