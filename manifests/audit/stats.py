"""`stats`: what a dataset holds, counted over its manifests."""

from __future__ import annotations

import glob
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.contract.row import ClipRow, FailureRow, columns_1
from manifests.display import human_size
from manifests.errors import DatasetError, LightloomError
from manifests.files import atomic_path
from manifests.object_path import Place, local_files
from manifests.store import layout
from manifests.store.dataset import Dataset, open_dataset
from manifests.store.tables import check_table, schema, to_table

_SEEN = "lightloom_manifests"
_MANY = 16
_TOGETHER = 64  # files of which the rows are held at once

type _RowType = type[ClipRow] | type[FailureRow]


@contextmanager
def connect(dataset: Dataset) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory whose views `clips` and `failures` hold the committed rows; fetches no extension.

    Columns have the names of today, whatever the contract; those that came later are NULL. DatasetError when a manifest
    cannot be read. Of a complete dataset of many shards the rows are put together in one file, where that can be
    written, and read from there as long as it was made of the very manifests that are there.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    copies = ExitStack()
    shards = dataset.shards()
    whole = _whole(dataset, shards)
    try:
        for folder, (view, row_type) in _VIEWS.items():
            paths = [layout.shard_file(dataset.path, folder, shard) for shard in shards]
            together = _together(whole, folder, paths)
            if together is not None and together.current():
                files: Sequence[Path] = [together.path]
            else:
                files = copies.enter_context(local_files(paths))
                for path, file in zip(paths, files, strict=True):
                    _check(path, file)
                if together is not None and together.written(connection, view, row_type):
                    files = [together.path]
            _show(connection, view, files, row_type)
        yield connection
    except duckdb.Error as error:
        raise DatasetError(f"{str(error).splitlines()[0]}", "run `lightloom data verify`", where=dataset.path) from None
    finally:
        connection.close()
        copies.close()


def put_together(dataset: Dataset) -> None:
    """Have the rows of a complete dataset in one file, so that the first question need not open its many manifests."""
    if _whole(dataset, dataset.shards()):
        with suppress(DatasetError), connect(dataset):
            pass


def _whole(dataset: Dataset, shards: Sequence[int]) -> Path | None:
    """The folder of a complete dataset of many shards; None in a bucket, where a listing costs what it would save."""
    whole = len(shards) == dataset.header.shards and len(shards) >= _MANY
    return dataset.path if whole and isinstance(dataset.path, Path) else None


_VIEWS: dict[str, tuple[str, _RowType]] = {
    layout.MANIFEST: ("clips", ClipRow),
    layout.FAILURES: ("failures", FailureRow),
}


def _show(connection: duckdb.DuckDBPyConnection, view: str, paths: Sequence[Path], row_type: _RowType) -> None:
    """Make a view of the rows in these files."""
    connection.register(empty := f"no_{view}", to_table([], row_type))
    rows = f"SELECT * FROM {empty}"
    if paths:
        names = ", ".join("'" + glob.escape(str(path)).replace("'", "''") + "'" for path in paths)
        table = f"read_parquet([{names}], union_by_name = true, hive_partitioning = false)"
        rows += f" UNION ALL BY NAME SELECT {_columns(connection, table, row_type)} FROM {table}"
    connection.execute(f"CREATE OR REPLACE VIEW {view} AS {rows}")


@dataclass(frozen=True)
class _Together:
    """The file that holds the rows of `files`, and `seen`, a digest of their names, sizes and times of writing."""

    path: Path
    files: tuple[Path, ...]
    seen: str

    def current(self) -> bool:
        """Whether it is there, and made of these very files."""
        try:
            return check_table(self.path, len(self.files)).get(_SEEN.encode()) == self.seen.encode()
        except (OSError, ValueError, pa.ArrowException):
            return False

    def written(self, connection: duckdb.DuckDBPyConnection, view: str, row_type: _RowType) -> bool:
        """Write all rows, a row group for many files, of which only those are open; False where that cannot be."""
        columns = schema(row_type).with_metadata({_SEEN: self.seen})
        try:
            with atomic_path(self.path) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as file:
                for files in itertools.batched(self.files, _TOGETHER, strict=False):
                    _show(connection, view, files, row_type)
                    file.write_table(connection.sql(f"FROM {view}").to_arrow_table().cast(columns))
        except (OSError, LightloomError, duckdb.Error, pa.ArrowException):  # not ours to write, or no room
            return False
        return True


def _together(dataset: Path | None, folder: str, paths: Sequence[Place]) -> _Together | None:
    """The file for the rows of these, in the folder of a dataset that keeps one."""
    if dataset is None:
        return None
    total = hashlib.sha256()
    for path in paths:
        state = path.stat() if path.is_file() else None
        total.update(f"{path.name} {state and (state.st_size, state.st_mtime_ns)}\n".encode())
    return _Together(dataset / layout.TOGETHER[folder], tuple(map(Path, paths)), total.hexdigest())


def _check(path: Place, file: Path) -> None:
    """Raise DatasetError, naming `path`, where DuckDB, which reads whatever it is given, should not be given `file`."""
    try:
        check_table(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise DatasetError(f"cannot be read: {what}", "run `lightloom data verify`", where=path) from None


def _columns(connection: duckdb.DuckDBPyConnection, table: str, row_type: _RowType) -> str:
    """What to select of a row's columns, those of contract 1 under the names of today; shards may be mixed."""
    there = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
    named = {name: [name] for name in row_type.__struct_fields__ if name in there}
    for old, new in columns_1(there).items():
        named.setdefault(new, []).append(old)
    quoted = {new: ", ".join(f'"{name}"' for name in names) for new, names in named.items()}
    return ", ".join(f'coalesce({names}) AS "{new}"' for new, names in quoted.items())


def counts(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, int]:
    """The result of a query for (name, count) as a mapping, largest first."""
    return {str(name): int(count) for name, count in connection.execute(f"{sql} ORDER BY 2 DESC, 1").fetchall()}


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """The single row that a query gives."""
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row


@dataclass(frozen=True)
class Stats:
    """Totals, and counts of clips by name, largest first.

    `assets` counts distinct assets by kind, `failures` work items by reason, `materials` uses by how they were
    resolved, all others clips. `hours` is the time of rendering or labelling and of encoding, over all workers;
    `bytes` the size of the shards.
    """

    path: str
    stage: str
    codec: str
    shards: int
    shards_expected: int
    clips: int
    items: int
    frames: int
    hours: float
    bytes: int
    splits: dict[str, int]
    sizes: dict[str, int]
    settings: dict[str, int]
    motions: dict[str, int]
    assets: dict[str, int]
    materials: dict[str, int]
    licences: dict[str, int]
    devices: dict[str, int]
    flags: dict[str, int]
    failures: dict[str, int]

    def json(self) -> str:
        """All of it as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=2).decode()

    def text(self) -> str:
        """A table for the terminal."""
        lines = [
            f"{self.path}: stage {self.stage}, codec {self.codec}",
            f"  shards     {self.shards} of {self.shards_expected}",
            f"  clips      {self.clips} of {self.items} items, {self.frames} frames",
            f"  size       {human_size(self.bytes)}",
            f"  work       {self.hours:.2f} hours, summed over workers",
        ]
        for title, section in self._sections().items():
            lines.append(f"{title}:" if section else f"{title}: none")
            width = max(map(len, section), default=0)
            lines += [f"  {name:<{width}}  {count:>8}" for name, count in section.items()]
        return "\n".join(lines)

    def _sections(self) -> dict[str, dict[str, int]]:
        return {name: value for name, value in asdict(self).items() if isinstance(value, dict)}


def stats(dataset: Dataset | Place | str) -> Stats:
    """Count the committed shards of a dataset; DatasetError when a manifest cannot be read."""
    dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    used = "(SELECT key, unnest(assets, recursive := true) FROM clips)"
    with connect(dataset) as connection:
        totals: tuple[Any, ...] = one(
            connection,
            "SELECT count(*), count(DISTINCT (shard, item)), coalesce(sum(frames), 0), "
            "coalesce(sum(seconds + encode_seconds), 0) / 3600, coalesce(sum(size), 0) FROM clips",
        )
        return Stats(
            path=str(dataset.path),
            stage=dataset.header.stage,
            codec=dataset.header.codec,
            shards=len(dataset.shards()),
            shards_expected=dataset.header.shards,
            clips=int(totals[0]),
            items=int(totals[1]),
            frames=int(totals[2]),
            hours=float(totals[3]),
            bytes=int(totals[4]),
            splits=counts(connection, "SELECT split, count(*) FROM clips GROUP BY 1"),
            sizes=counts(
                connection, "SELECT frames || ' x ' || width || ' x ' || height, count(*) FROM clips GROUP BY 1"
            ),
            settings=counts(connection, "SELECT setting, count(*) FROM clips WHERE setting <> '' GROUP BY 1"),
            motions=counts(
                connection,
                "SELECT motion, count(*) FROM (SELECT unnest(CASE len(motions) WHEN 0 THEN ['still'] ELSE motions END) "
                "AS motion FROM clips) GROUP BY 1",
            ),
            assets=counts(connection, f"SELECT kind, count(DISTINCT uid) FROM {used} GROUP BY 1"),
            materials=counts(
                connection, "SELECT m.status, count(*) FROM (SELECT unnest(materials) AS m FROM clips) GROUP BY 1"
            ),
            licences=counts(connection, f"SELECT licence, count(DISTINCT key) FROM {used} GROUP BY 1"),
            devices=counts(connection, "SELECT device, count(*) FROM clips GROUP BY 1"),
            flags=counts(connection, "SELECT flag, count(*) FROM (SELECT unnest(flags) AS flag FROM clips) GROUP BY 1"),
            failures=counts(connection, "SELECT reason, count(*) FROM failures GROUP BY 1"),
        )
