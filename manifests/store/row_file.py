"""A clip's row inside its shard, `<key>.row.json`, with the SHA-256 of each of the clip's files and of itself.

It makes a shard self-describing: without its Parquet, every clip can still be checked and its row rebuilt.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from manifests.contract.row import ClipRow, Sample, row_from
from manifests.errors import DatasetError
from manifests.untrusted import decode_json

ROW = "row.json"
LARGEST_ROW = 16 << 20

_PACKING = {"shard": -1, "offset": -1, "size": -1, "sha256": ""}


class FileNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size in bytes and SHA-256 in hex of a file of a clip."""

    size: int
    sha256: str


class RowDocument(msgspec.Struct, frozen=True):
    """Content of `row.json`: the stage's row, a note for each other file by suffix, and a digest of those two."""

    row: ClipRow
    files: dict[str, FileNote]
    digest: str


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`row.json` as it lies there: the digest is that of these bytes, whatever the contract they were written under."""

    row: msgspec.Raw
    files: msgspec.Raw
    digest: str


def row_json(sample: Sample) -> bytes:
    """`row.json` of a sample, in canonical JSON; DatasetError when the row does not fit the sample or JSON."""
    if sample.row.key != sample.key:
        raise DatasetError(f"its row has the key {sample.row.key}", where=f"clip {sample.key}")
    if ROW in sample.files:
        raise DatasetError(f"a file is called {ROW}, which is reserved", where=f"clip {sample.key}")
    row = without_packing(sample.row)
    notes = {suffix: FileNote(len(data), hashlib.sha256(data).hexdigest()) for suffix, data in sample.files.items()}
    plain, files = (msgspec.json.encode(part, order="deterministic") for part in (row, notes))
    data = msgspec.json.encode(RowDocument(row, notes, _digest(plain, files)), order="deterministic")
    try:
        same = msgspec.json.decode(plain, type=ClipRow) == row
    except msgspec.DecodeError as error:
        raise DatasetError(
            f"its row cannot be stored: {error} (NaN and infinity cannot)", where=f"clip {sample.key}"
        ) from None
    if not same:
        raise DatasetError("its row does not survive JSON", "use plain finite numbers", where=f"clip {sample.key}")
    return data


def parse_row(key: str, data: bytes) -> RowDocument:
    """Read the `row.json` of clip `key` and check its own digest; DatasetError otherwise."""
    try:
        stored = decode_json(data, _Stored)
        row = _row(stored.row)
        document = RowDocument(row, decode_json(stored.files, dict[str, FileNote]), stored.digest)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{ROW} cannot be read: {error}", where=f"clip {key}") from None
    if document.digest != _digest(bytes(stored.row), bytes(stored.files)):
        raise DatasetError(f"{ROW} was changed: its digest does not fit", where=f"clip {key}")
    if document.row.key != key:
        raise DatasetError(f"{ROW} is that of clip {document.row.key}", where=f"clip {key}")
    return document


def _row(stored: msgspec.Raw) -> ClipRow:
    """The row, at once where it can only be one of today; JSON has no NaN and no infinity."""
    if b'"scene"' in bytes(stored):
        return row_from(decode_json(stored, dict[str, Any]), ClipRow)
    return decode_json(stored, ClipRow)


def without_packing(row: ClipRow) -> ClipRow:
    """The row as the stage made it, before packing set shard, byte range and hash."""
    return msgspec.structs.replace(row, **_PACKING)


def _digest(row: bytes, files: bytes) -> str:
    """SHA-256 of the JSON of `{files, row}`."""
    return hashlib.sha256(b'{"files":' + files + b',"row":' + row + b"}").hexdigest()
