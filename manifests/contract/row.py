"""One row of the Parquet manifest: what a dataset knows of a clip without opening its shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pyarrow as pa

ITEM_CLIPS = "item.clips"
"""Statistic of every row where a header's `lights` is 0: how many clips the row's work item has."""


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

    `scene` is the work item (the scene, or the real video), `light` the index among its lights, or of a real video's
    segment; clips of one synthetic `scene` share camera, geometry and G-buffers. `statistics` holds scalar summaries
    (see `statistics.py`), `codec_errors` the measured round-trip errors of the lossy codec by "attribute.metric",
    `confidence` a number in [0, 1] by attribute for auto-labels.
    """

    key: str
    scene: int
    light: int = 0
    stage: str
    split: str = "all"
    recipe: str = ""
    seed: int = 0
    spec_digest: str = ""
    frames: int
    height: int
    width: int
    fps: float
    exposure: float = 1.0
    attributes: tuple[str, ...] = ()
    motions: tuple[str, ...] = ()
    assets: tuple[AssetUse, ...] = ()
    materials: tuple[MaterialUse, ...] = ()
    statistics: dict[str, float] = {}
    codec_errors: dict[str, float] = {}
    confidence: dict[str, float] = {}
    render_seconds: float = 0.0
    encode_seconds: float = 0.0
    samples: float = 0.0
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

    scene: int
    shard: int
    reason: str
    message: str
    attempts: int
    log_tail: str = ""
    spec: str = ""


def clips_expected(lights: int, row: ClipRow) -> int:
    """How many clips the work item of `row` has, in a dataset whose header says `lights`; -1 when the row lacks it."""
    return lights or int(row.statistics.get(ITEM_CLIPS, -1))


@dataclass(frozen=True)
class Sample:
    """A clip ready to be packed: WebDataset key, bytes by suffix ("rgb.mp4", "clip.json" ...), and its row."""

    key: str
    files: Mapping[str, bytes]
    row: ClipRow


_FLOATS = pa.map_(pa.string(), pa.float64())
_ASSETS = pa.list_(pa.struct([(name, pa.string()) for name in AssetUse.__struct_fields__]))
_MATERIALS = pa.list_(
    pa.struct([("name", pa.string()), ("status", pa.string()), ("detail", pa.string()), ("area", pa.float64())])
)
_ARROW = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[AssetUse, ...]: _ASSETS,
    tuple[MaterialUse, ...]: _MATERIALS,
    dict[str, float]: _FLOATS,
}


def schema(row_type: type[ClipRow] | type[FailureRow]) -> pa.Schema:
    """Arrow schema of a row type, field by field."""
    return pa.schema([(field.name, _ARROW[field.type]) for field in msgspec.structs.fields(row_type)])


def to_table(rows: list[ClipRow] | list[FailureRow], row_type: type[ClipRow] | type[FailureRow]) -> pa.Table:
    """Rows as an Arrow table of `schema(row_type)`; an empty list gives an empty table."""
    plain = [msgspec.to_builtins(row) for row in rows]
    for row in plain:
        row.update({name: list(value.items()) for name, value in row.items() if isinstance(value, dict)})
    return pa.Table.from_pylist(plain, schema=schema(row_type))


def from_table[Row: (ClipRow, FailureRow)](table: pa.Table, row_type: type[Row]) -> list[Row]:
    """Inverse of `to_table`; columns of a newer contract are ignored, missing ones take their default."""
    plain = table.to_pylist(maps_as_pydicts="strict")
    return [msgspec.convert({k: v for k, v in row.items() if v is not None}, row_type) for row in plain]
