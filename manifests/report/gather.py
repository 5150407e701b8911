"""What the report shows, collected from a dataset: counts and histograms by SQL, a few clips decoded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from duckdb import DuckDBPyConnection

from manifests.audit.attribution import Attribution, attribution
from manifests.audit.stats import Stats, connect, counts, stats
from manifests.codec.codecs import decode_clip
from manifests.contract.clip_summary import BINS, RANGES
from manifests.contract.row import ClipRow, FailureRow
from manifests.display import light_picture, webp
from manifests.errors import LightloomError
from manifests.report.grids import Grid, clip_grid
from manifests.store import layout
from manifests.store.dataset import Dataset
from manifests.store.header import Measured, read_document

MOST_SHEETS = 6
MOST_FAILURES = 40
_HISTOGRAMS = [f"{name}.hist.{index:02d}" for name in RANGES for index in range(BINS)]
_CHOSEN = "(SELECT unnest(list_filter(map_entries(statistics), lambda e: list_contains($1, e.key))) AS e FROM clips)"
"""Entries of the clips' statistics whose names are in the list that the query is given; a clip may have any others."""


@dataclass(frozen=True)
class Shown:
    """A clip on the page: its row, its grid video (or why there is none) and a picture of its light as WebP."""

    row: ClipRow
    grid: Grid | None
    light: bytes | None
    problem: str = ""


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    Attributes:
        clips: those that can be played.
        sheets: number and contact sheet (WebP, empty where there is none) of some shards.
        pixels: a histogram by attribute, shares of surface pixels.
        values: one number per clip (n,), by name.
        lights, meshes: clips by uid.
        materials: percent of the surface by how parameters were found.
        unresolved: uses by what could not be resolved.
        failures: the first ones.
    """

    stats: Stats
    measured: Measured
    credits: Attribution
    recipe: object
    seed: int
    clips: Sequence[Shown]
    sheets: Sequence[tuple[int, bytes]]
    pixels: dict[str, list[float]]
    values: dict[str, np.ndarray]
    lights: dict[str, int]
    meshes: dict[str, int]
    materials: dict[str, float]
    unresolved: dict[str, int]
    failures: Sequence[FailureRow]


def gather(dataset: Dataset, clips: int, values: Collection[str]) -> Content:
    """Collect the page of a dataset with up to `clips` playable clips and the statistics that `values` names.

    DatasetError when manifests cannot be read.
    """
    header = read_document(dataset.path).header
    shards = dataset.shards()
    uses = "(SELECT key, unnest(assets, recursive := true) FROM clips) WHERE kind"
    materials = "(SELECT unnest(materials) AS m FROM clips)"
    with connect(dataset) as connection:
        first_of_items: list[tuple[int, str]] = connection.execute(
            "SELECT shard, min(key) FROM clips GROUP BY shard, item ORDER BY shard, item"
        ).fetchall()
        areas = connection.execute(
            f"SELECT m.status, sum(m.area) FROM {materials} GROUP BY 1 HAVING sum(m.area) > 0 ORDER BY 2 DESC, 1"
        ).fetchall()
        total = sum(area for _, area in areas) or 1.0
        return Content(
            stats=stats(dataset),
            measured=dataset.measure(),
            credits=attribution(dataset),
            recipe=[source.recipe for source in header.sources] or header.recipe,
            seed=header.seed,
            clips=[_show(dataset, shard, key) for shard, key in _spread(first_of_items, clips)],
            sheets=[(shard, _sheet(dataset, shard)) for shard in _spread(shards, MOST_SHEETS)],
            pixels=_pixels(connection),
            values=_values(connection, values),
            lights=counts(connection, f"SELECT uid, count(DISTINCT key) FROM {uses} = 'environment' GROUP BY 1"),
            meshes=counts(connection, f"SELECT uid, count(DISTINCT key) FROM {uses} = 'mesh' GROUP BY 1"),
            materials={status: round(100 * area / total, 1) for status, area in areas},
            unresolved=counts(
                connection,
                f"SELECT m.status || ': ' || m.detail, count(*) FROM {materials} WHERE m.detail != '' GROUP BY 1",
            ),
            failures=_failures(dataset, shards),
        )


def _spread[Item](items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly spread, first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / max(most - 1, 1))] for index in range(most)]


def _show(dataset: Dataset, shard: int, key: str) -> Shown:
    row = next(row for row in dataset.rows(shard) if row.key == key)
    try:
        clip = decode_clip(key, dataset.files(row))
    except LightloomError as error:
        return Shown(row, None, None, str(error))
    light = None if clip.environment is None else webp(light_picture(clip.environment.image, 96), 85)
    return Shown(row, clip_grid(clip), light)


def _sheet(dataset: Dataset, shard: int) -> bytes:
    path = layout.shard_file(dataset.path, layout.PREVIEWS, shard)
    return path.read_bytes() if path.is_file() else b""


def _pixels(connection: DuckDBPyConnection) -> dict[str, list[float]]:
    """Each attribute's histogram, mean over the clips."""
    query = f"SELECT e.key, avg(e.value) FROM {_CHOSEN} GROUP BY 1"
    means = dict(connection.execute(query, [_HISTOGRAMS]).fetchall())
    names = [name for name in RANGES if f"{name}.hist.00" in means]
    return {name: [means.get(f"{name}.hist.{index:02d}", 0.0) for index in range(BINS)] for name in names}


def _values(connection: DuckDBPyConnection, names: Collection[str]) -> dict[str, np.ndarray]:
    """One number per clip: statistics of these names, seconds, steps."""
    values: dict[str, list[float]] = {}
    for name, value in connection.execute(f"SELECT e.key, e.value FROM {_CHOSEN}", [list(names)]).fetchall():
        values.setdefault(name, []).append(value)
    columns = connection.execute("SELECT seconds, encode_seconds, steps FROM clips").fetchnumpy()
    arrays = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    return arrays | {name: np.array(column) for name, column in values.items()}


def _failures(dataset: Dataset, shards: Sequence[int]) -> list[FailureRow]:
    found: list[FailureRow] = []
    for shard in shards:
        found += dataset.failures(shard)
        if len(found) >= MOST_FAILURES:
            break
    return found[:MOST_FAILURES]
