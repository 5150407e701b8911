"""What a dataset knows of a clip, and of a work item that failed, without opening its shard: a row of Parquet."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from manifests.untrusted import convert


class AssetUse(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that is visible in a clip, with what attribution needs."""

    uid: str
    kind: str
    source: str
    licence: str
    author: str
    url: str = ""


class MaterialUse(msgspec.Struct, frozen=True, kw_only=True):
    """How a material's parameters were resolved; `area` is the share of surface pixels that show it."""

    name: str
    status: str
    detail: str = ""
    area: float = 0.0


class ClipRow(msgspec.Struct, frozen=True, kw_only=True):
    """One clip. The stage fills the fields down to `flags`; packing fills the rest.

    Attributes:
        item: the work item that it came from: a scene to render, or a video to label.
        part: which of the item's clips it is: the index of its light, or of the video's segment. Rendered clips of
            one item share camera, geometry and G-buffers.
        item_clips: how many clips the item has. A stage may leave 0 where the header says it (`Header.lights`).
        network, sampler: of a labelled clip, the name of the inverse renderer's network and how it sampled.
        setting: of a rendered clip, the kind of scene: "table", "room", "terrain", "street"; "" where nobody said.
        statistics: scalar summaries (see `clip_summary.py`).
        codec_errors: the lossy codec's measured round-trip errors by "attribute.metric".
        confidence: of a labelled clip, a number in [0, 1] by attribute.
        seconds, encode_seconds: what rendering or labelling it took, and encoding it.
        steps: samples per pixel that were rendered (mean), or steps of the network's sampler.
    """

    key: str
    item: int
    part: int = 0
    item_clips: int = 0
    stage: str
    split: str = "all"
    recipe: str = ""
    network: str = ""
    sampler: str = ""
    seed: int = 0
    spec_digest: str = ""
    frames: int
    height: int
    width: int
    fps: float
    exposure: float = 1.0
    attributes: tuple[str, ...] = ()
    setting: str = ""
    motions: tuple[str, ...] = ()
    assets: tuple[AssetUse, ...] = ()
    materials: tuple[MaterialUse, ...] = ()
    statistics: dict[str, float] = {}
    codec_errors: dict[str, float] = {}
    confidence: dict[str, float] = {}
    seconds: float = 0.0
    encode_seconds: float = 0.0
    steps: float = 0.0
    device: str = ""
    worker: str = ""
    resampled: int = 0
    attempts: int = 1
    flags: tuple[str, ...] = ()
    shard: int = -1
    offset: int = -1
    size: int = -1
    sha256: str = ""


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """A work item that was quarantined: typed `reason`, one-line `message`, the end of its log, and its spec."""

    item: int
    shard: int
    reason: str
    message: str
    attempts: int
    log_tail: str = ""
    spec: str = ""


def clips_expected(lights: int, row: ClipRow) -> int:
    """How many clips the work item of `row` has, in a dataset whose header says `lights`; 0 when nobody says."""
    return lights or row.item_clips


CONTRACT_1 = {"scene": "item", "light": "part", "render_seconds": "seconds", "samples": "steps"}
"""Names of columns of contract 1, and what they are called today."""
_ITEM_CLIPS_1 = "item.clips"


def columns_1(columns: Collection[str]) -> dict[str, str]:
    """Names of today by those of contract 1, for what is there of the latter; a table may hold both."""
    return {old: new for old, new in CONTRACT_1.items() if "scene" in columns and old in columns}


def row_from[Row: (ClipRow, FailureRow)](plain: Mapping[str, Any], row_type: type[Row]) -> Row:
    """A row from plain values, translated if they are of contract 1; msgspec.ValidationError when they do not fit.

    Contract 1 called the item of a labelled clip `scene`, its segment `light`, its network's steps `samples`; it kept
    the number of clips per item among the statistics, and network and sampler under `recipe`.
    """
    names = columns_1(plain)
    row = convert({names.get(name, name): value for name, value in plain.items()}, row_type)
    for name in _numbers(row_type):
        value = getattr(row, name)
        for number in value.values() if isinstance(value, dict) else (value,):
            if not math.isfinite(number):
                raise msgspec.ValidationError(f"{name} holds {number}, expected finite numbers")
    if not names or isinstance(row, FailureRow):
        return row
    statistics = dict(row.statistics)
    clips = statistics.pop(_ITEM_CLIPS_1, 0.0)
    row = msgspec.structs.replace(row, statistics=statistics, item_clips=int(clips) if clips.is_integer() else 0)
    if row.stage != "label":
        return row
    network, _, sampler = row.recipe.rpartition(" ")
    return msgspec.structs.replace(row, recipe="", network=network, sampler=sampler)


@functools.cache
def _numbers(row_type: type[ClipRow] | type[FailureRow]) -> tuple[str, ...]:
    """Fields that may hold NaN or infinity."""
    fields = msgspec.structs.fields(row_type)
    return tuple(field.name for field in fields if field.type in (float, dict[str, float]))


@dataclass(frozen=True)
class Sample:
    """A clip ready to be packed: WebDataset key, bytes by suffix ("rgb.mp4", "clip.json" ...), and its row.

    `preview` is a strip for the shard's contact sheet (`previews.strip_of`), from a stage that had the frames in hand;
    empty where packing has to decode some.
    """

    key: str
    files: Mapping[str, bytes]
    row: ClipRow
    preview: bytes = b""
