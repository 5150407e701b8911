"""Galleries of the worst clips: what an average hides. Strips of pictures are kept as the evaluation goes along."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from manifests.contract.clip import Clip
from manifests.display import PAPER, eight_bits, pictures, tile, webp
from manifests.errors import InputError
from training.evaluation.benchmark import Shot

TILE = 96
WORST = 8
"""Clips on a gallery."""

_GAP, _LABEL = 3, 16
_INK, _FAINT = (236, 236, 232), (150, 152, 158)
_QUALITY = 90


@dataclass(frozen=True)
class Strip:
    """Pictures of one clip side by side, the caption over each, as WebP bytes; `value` ranks it."""

    name: str
    value: float
    webp: bytes


def video_strip(name: str, value: float, videos: Mapping[str, np.ndarray], truth: np.ndarray) -> Strip:
    """Middle frames of videos (T, H, W, 3) in [0, 1] by caption, after the true one; the last tile is the error.

    The error is that of the first video, three times as bright.
    """
    middle = len(truth) // 2
    tiles = {"truth": truth[middle]} | {caption: video[middle] for caption, video in videos.items()}
    first = next(iter(videos.values()), truth)
    tiles["error x 3"] = np.clip(3 * np.abs(first[middle] - truth[middle]), 0, 1)
    return Strip(name, value, _drawn({caption: eight_bits(image) for caption, image in tiles.items()}))


def map_strip(name: str, value: float, shot: Shot, predicted: Mapping[str, np.ndarray]) -> Strip:
    """The middle frame of a shot, and for each predicted G-buffer the true one beside it."""
    middle = shot.clip.frames // 2
    tiles = {"input": eight_bits(shot.video[middle])}
    for attribute, values in predicted.items():
        for caption, arrays in (("true", shot.gbuffers[attribute]), ("ours", values)):
            shown = {attribute: np.ascontiguousarray(arrays[middle : middle + 1], dtype=np.float32)}
            shown["mask"] = shot.clip.arrays["mask"][middle : middle + 1]
            tiles[f"{attribute}, {caption}"] = pictures(Clip(shot.clip.key, shown), attribute)[0]
    return Strip(name, value, _drawn(tiles))


def worst_gallery(title: str, strips: Sequence[Strip], *, higher_is_better: bool) -> bytes:
    """The worst strips, worst first, on one sheet, as WebP."""
    if not strips:
        raise InputError("no strip to show", where=title)
    ranked = sorted(strips, key=lambda strip: strip.value, reverse=not higher_is_better)[:WORST]
    images = [Image.open(io.BytesIO(strip.webp)) for strip in ranked]
    width = max(image.width for image in images) + 2 * _GAP
    step = images[0].height + _LABEL + _GAP
    sheet = Image.new("RGB", (width, step * len(images) + 2 * _LABEL), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 4), f"{title}: the {len(ranked)} worst of {len(strips)} clips", _INK, ImageFont.load_default(14))
    for index, (strip, image) in enumerate(zip(ranked, images, strict=True)):
        top = 2 * _LABEL + index * step
        draw.text((_GAP, top), f"{strip.name}  {strip.value:.2f}", _INK, ImageFont.load_default(11))
        sheet.paste(image, (_GAP, top + _LABEL))
    return webp(sheet, _QUALITY, method=2)


def _drawn(tiles: Mapping[str, np.ndarray]) -> bytes:
    """(H, W, 3) uint8 pictures by caption as one strip."""
    sheet = Image.new("RGB", (len(tiles) * (TILE + _GAP), TILE + _LABEL), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(tiles.items()):
        draw.text((index * (TILE + _GAP), 1), caption[:18], _FAINT, ImageFont.load_default(10))
        sheet.paste(tile(picture, TILE), (index * (TILE + _GAP), _LABEL))
    return webp(sheet, _QUALITY, method=2)
