"""Parquet as everything here writes and reads it: a checksum for every page, and no threads of pyarrow's own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def encode_parquet(table: pa.Table) -> bytes:
    """A table as Parquet with a checksum for every page."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table at `path`, all of it or some columns; pa.ArrowException, OSError or ValueError where it is not whole.

    The file is read at once and decoded by this thread: pyarrow's pools of threads abort a process that ends soon
    after a read ("terminate called").
    """
    file = pa.BufferReader(pa.py_buffer(path.read_bytes()))
    parquet = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
    return parquet.read(columns=None if columns is None else list(columns), use_threads=False)
