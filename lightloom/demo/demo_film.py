"""Rendered clips as videos that stand for real footage, and which of them, where, is edited.

What a camera would give is written, an 8-bit 4:2:0 mp4, and nothing else of the clip: its labels, light and camera are
estimated from there on. The one clip that is edited later is kept apart, so that no renderer has seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from editing.film import VideoWriter
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.contract.color import on_screen
from manifests.errors import RunError
from manifests.files import write_bytes
from manifests.store.dataset import open_dataset

CAST = "cast.json"
SUBJECT = "subject.mp4"
FOLDER = "footage"

_GROUND = 1
_LEAST, _MOST = 0.02, 0.35
_MARGIN = 0.25


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """The clip that is edited.

    Attributes:
        key: of the clip.
        instance: number of the object that gets another material.
        pick: a pixel (x, y) well inside of that object in the first frame.
        stand: a pixel (x, y) of free ground in the first frame.
    """

    key: str
    instance: int
    pick: tuple[int, int]
    stand: tuple[int, int]


def make_footage(scenes: Path, out: Path) -> Cast:
    """Write the clips of the dataset `scenes` as videos below `out`, the chosen one apart; returns what was chosen."""
    path = out / CAST
    if path.is_file():
        return read_cast(out)
    dataset = open_dataset(scenes)
    clips = [decode_clip(row.key, dataset.files(row), ["rgb", "instance"]) for row in dataset.rows()]
    cast = choose(clips)
    (out / FOLDER).mkdir(exist_ok=True)
    for clip in clips:
        shown = on_screen(clip.arrays["rgb"] * clip.exposure)
        target = out / SUBJECT if clip.key == cast.key else out / FOLDER / f"{clip.key}.mp4"
        with VideoWriter(target, clip.size, clip.fps) as video:
            for frame in shown:
                video.write(frame)
    write_bytes(path, msgspec.json.format(msgspec.json.encode(cast), indent=1) + b"\n")
    return cast


def read_cast(out: Path) -> Cast:
    """What was chosen; RunError when the file is damaged."""
    path = out / CAST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cast)
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"cannot be read ({error})", "delete it and run the same command again", where=path) from None


def choose(clips: Sequence[Clip]) -> Cast:
    """The clip with a well visible object and the most free ground; RunError when no clip has an object at all."""
    found = [scored for clip in clips if (scored := _scored(clip)) is not None]
    if not found:
        raise RunError("no clip of the footage shows an object in all of its frames", "take another seed in the preset")
    return max(found, key=lambda scored: scored[0])[1]


def _scored(clip: Clip) -> tuple[float, Cast] | None:
    instance = clip.arrays["instance"][..., 0]
    best: tuple[float, int] | None = None
    for number in np.unique(instance[0]):
        if number <= _GROUND:
            continue
        shares = (instance == number).mean(axis=(1, 2))
        if shares.min() > 0 and _LEAST < shares[0] < _MOST and (best is None or shares.min() > best[0]):
            best = float(shares.min()), int(number)
    if best is None:
        return None
    _, pick = _inmost(instance[0] == best[1])
    room, stand = _inmost(instance[0] == _GROUND, _MARGIN)
    if room == 0:
        return None
    return best[0] * room / max(clip.size), Cast(key=clip.key, instance=best[1], pick=pick, stand=stand)


def _inmost(mask: np.ndarray, margin: float = 0.0) -> tuple[float, tuple[int, int]]:
    """Distance from the edge, in pixels, of the pixel (x, y) of a mask (H, W) that is farthest from it.

    margin: share of the picture at each side that is not chosen: a camera that moves soon loses what stands there.
    """
    height, width = mask.shape
    top, left = round(margin * height), round(margin * width)
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    inner = distance[top : height - top, left : width - left]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    return float(inner[y, x]), (int(x) + left, int(y) + top)
