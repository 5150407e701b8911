"""Rows as Arrow tables, and tables as Parquet: a checksum for every page, and no threads of pyarrow's own."""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.contract.row import CONTRACT_1, AssetUse, ClipRow, FailureRow, MaterialUse, row_from
from manifests.display import human_size
from manifests.object_path import Place
from manifests.untrusted import read_bounded

_LARGEST = 1 << 28
_MOST_ROWS = 1 << 18
_MOST_VALUES = 1 << 21  # in the lists and maps of all rows, each of which becomes an object of Python's
_FEWEST, _TOGETHER = 8, 1024  # rows decoded at once; each may hold the largest text of its column
_KNOWN = {*ClipRow.__struct_fields__, *FailureRow.__struct_fields__, *CONTRACT_1}
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
    """Inverse of `to_table`; also of contract 1. Unknown columns are ignored, missing ones take their default.

    ValueError, or msgspec's, for rows that are none, and beyond 2 Mi values in lists and maps.
    """
    known = [name for name in table.column_names if name in _KNOWN]
    batches = table.select(known).to_batches()
    many = [column for batch in batches for column in batch.columns if isinstance(column, pa.ListArray)]  # maps, too
    values = sum(int(column.offsets[-1]) - int(column.offsets[0]) for column in many)
    if values > _MOST_VALUES:
        raise ValueError(f"lists and maps of {values} values in all, at most {_MOST_VALUES} are read")
    plain = (row for batch in batches for row in batch.to_pylist(maps_as_pydicts="strict"))
    try:
        return [row_from({k: v for k, v in row.items() if v is not None}, row_type) for row in plain]
    except (OverflowError, KeyError) as error:  # a date that Python has no room for, a key given twice
        raise ValueError(str(error)) from None


def encode_parquet(table: pa.Table) -> bytes:
    """A table as Parquet with a checksum for every page."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_parquet(path: Place, columns: Sequence[str] | None = None) -> pa.Table:
    """The table at `path`, all of it or some columns; pa.ArrowException, OSError or ValueError where it is not whole.

    The file is read at once and decoded by this thread: pyarrow's pools of threads abort a process that ends soon
    after a read ("terminate called"). ValueError beyond 256 Ki rows or 256 MiB: the footer is asked first, and since a
    few kilobytes may stand for gigabytes whatever it says, rows are decoded some at a time and counted.
    """
    file = pa.BufferReader(pa.py_buffer(read_bounded(path, _LARGEST)))
    parquet = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
    chunks = _column_sizes(parquet.metadata)
    names = None if columns is None else list(columns)
    together = min(max(_LARGEST // max(1, *chunks), _FEWEST), _TOGETHER) if chunks else _TOGETHER
    batches, size = [], 0
    for batch in parquet.iter_batches(together, columns=names, use_threads=False):
        size += batch.nbytes
        if size > _LARGEST:
            raise ValueError(f"holds more than {human_size(_LARGEST)}")
        batches.append(batch)
    schema = parquet.schema_arrow
    if names is not None:
        schema = pa.schema([schema.field(name) for name in names if name in schema.names], schema.metadata)
    return pa.Table.from_batches(batches, schema)


def check_table(path: Place, tables: int = 1) -> dict[bytes, bytes]:
    """The metadata of a table whose footer claims no more than `read_parquet` reads of so many `tables`.

    Raises ValueError, OSError or pa.ArrowException.
    """
    file = pa.BufferReader(pa.py_buffer(read_bounded(path, tables * _LARGEST)))
    footer = pq.ParquetFile(file).metadata
    _column_sizes(footer, tables)
    return footer.metadata or {}


def _column_sizes(footer: pq.FileMetaData, tables: int = 1) -> list[int]:
    """Decoded bytes of each column of each row group; ValueError where they, or the rows, are too many."""
    if footer.num_rows > tables * _MOST_ROWS:
        raise ValueError(f"holds {footer.num_rows} rows, at most {tables * _MOST_ROWS} are read")
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    sizes = [group.column(column).total_uncompressed_size for group in groups for column in range(footer.num_columns)]
    if sum(sizes) > tables * _LARGEST:
        raise ValueError(f"holds more than {human_size(tables * _LARGEST)}")
    return sizes
