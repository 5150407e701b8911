"""SQL over a dataset's manifests: a DuckDB connection with the views `clips` and `failures`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from manifests import layout
from manifests.dataset import Dataset
from manifests.errors import DatasetError
from manifests.row import ClipRow, FailureRow, to_table


@contextmanager
def connect(dataset: Dataset) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory whose views `clips` and `failures` hold the committed rows; fetches no extension.

    DatasetError when a manifest cannot be read.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    try:
        for view, folder, row_type in (("clips", layout.MANIFEST, ClipRow), ("failures", layout.FAILURES, FailureRow)):
            files = [str(layout.shard_file(dataset.path, folder, shard)) for shard in dataset.shards()]
            if files:
                names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
                connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet([{names}], union_by_name = true)")
            else:
                connection.register(view, to_table([], row_type))
        yield connection
    except duckdb.Error as error:
        raise DatasetError(f"{dataset.path}: {str(error).splitlines()[0]}; run `lightloom data verify`") from None
    finally:
        connection.close()


def counts(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, int]:
    """The result of a query for (name, count) as a mapping, largest first."""
    return {str(name): int(count) for name, count in connection.execute(f"{sql} ORDER BY 2 DESC, 1").fetchall()}


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """The single row that a query gives."""
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row
