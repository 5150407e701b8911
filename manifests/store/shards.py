"""Work items and shards on disk: finished items wait as small tars and are packed into a shard in one commit.

A shard's tar is the concatenation of its items. It is written, fsynced and renamed first; preview and failures
follow; the Parquet manifest comes last, and its presence is the commit. Readers believe nothing else, so a kill
between any two steps leaves an uncommitted shard that is packed again from the items, which are still there.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from manifests.contract.row import ClipRow, FailureRow, Sample, clips_expected, row_from
from manifests.errors import DatasetError
from manifests.files import atomic_file, remove, write_bytes
from manifests.node_cache import NodeCache
from manifests.object_path import ObjectPath, Place, local_files
from manifests.store import archive, layout
from manifests.store.header import Header, read_document
from manifests.store.previews import ContactSheet
from manifests.store.row_file import LARGEST_ROW, ROW, parse_row, row_json, without_packing
from manifests.store.tables import encode_parquet, from_table, read_parquet, to_table
from manifests.untrusted import GZIP, decode_json, gunzip, read_bounded

LARGEST_MANIFEST = 1 << 30
_SEAL = b"lightloom"
_STRIP = "strip.webp"

_LARGEST_NOTE = 1 << 20


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says of its shard's other files: kept in the Parquet metadata under "lightloom"."""

    shard: int
    header: str
    tar_bytes: int
    failures: int
    failures_sha256: str
    preview_sha256: str


def write_item(path: Place, samples: Sequence[Sample]) -> None:
    """Write the clips of one finished work item as a tar, atomically; raises DiskFull, DatasetError.

    The previews that samples bring lie beside their files, as `strip.webp`, until the shard is packed. Power that fails
    in the next seconds may take the whole item back, never a part of it. In a bucket an item that is there stays as it
    is, so that all who pack it, even one whose run was given up for dead, write the same shard.
    """
    _check_item(path, samples)
    if isinstance(path, ObjectPath):
        buffer = io.BytesIO()
        _pour(buffer, samples)
        path.put_new(buffer.getvalue())
        return
    with atomic_file(path, sync_name=False) as file:
        _pour(file, samples)


def _pour(file: BinaryIO, samples: Sequence[Sample]) -> None:
    for sample in samples:
        brought = {_STRIP: sample.preview} if sample.preview else {}
        for piece in archive.encode(sample.key, {**sample.files, ROW: row_json(sample), **brought}):
            file.write(piece)
    file.write(archive.END)


def read_item(path: Place) -> list[Sample]:
    """The clips of a work item, every file checked against its hash; DatasetError names what is not whole."""
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            members = list(archive.scan(file, size))
            groups = itertools.groupby(members, lambda member: member.key)
            return [_read_waiting(file, list(group)) for _, group in groups]
        except DatasetError as error:
            raise DatasetError(f"{error}", "delete it and run again", where=path) from None


def _read_waiting(file: BinaryIO, members: Sequence[archive.Member]) -> Sample:
    strips = [member for member in members if member.suffix == _STRIP]
    sample = read_group(file, [member for member in members if member.suffix != _STRIP])
    return replace(sample, preview=archive.read_at(file, strips[0].data, strips[0].size)) if strips else sample


def write_failure(path: Place, failure: FailureRow) -> None:
    """Write the note about a quarantined work item, atomically."""
    write_bytes(path, msgspec.json.encode(failure) + b"\n")


def read_failure(path: Place) -> FailureRow:
    """Read what `write_failure` wrote; DatasetError when it cannot be read."""
    try:
        return row_from(decode_json(read_bounded(path, _LARGEST_NOTE), dict[str, Any]), FailureRow)
    except (msgspec.DecodeError, OSError) as error:
        raise DatasetError(f"not a failure note: {error}", "delete it and run again", where=path) from None


@dataclass(frozen=True)
class PackedParts:
    """What belongs to a shard beside its tar, in the order in which it must be stored: the manifest is the commit."""

    rows: tuple[ClipRow, ...]
    preview: bytes
    failures: bytes
    manifest: bytes


def pack_shard(
    tar: BinaryIO, header: Header, shard: int, items: Sequence[Place | Sequence[Sample]], failures: Sequence[FailureRow]
) -> PackedParts:
    """Append the tar of a shard to `tar`, which may be any stream, and return the bytes of its other files.

    Every work item of the shard must be there exactly once, finished (with one clip for each of the header's lights)
    or failed; DatasetError otherwise. One item at a time is in memory.
    """
    sheet = ContactSheet(f"shard {shard:06d}", sum(header.lights or _count(item) for item in items))
    rows, offset = [], 0
    for sample in itertools.chain.from_iterable(map(_samples, items)):
        row = append(tar, shard, sample, header.lights, offset)
        offset += row.size
        rows.append(row)
        sheet.add(sample)
    tar.write(archive.END)
    return _sealed(header, shard, rows, failures, offset + len(archive.END), sheet.webp())


def write_shard(
    dataset: Place, shard: int, items: Iterable[Place | Sequence[Sample]], failures: Sequence[FailureRow]
) -> list[ClipRow]:
    """Pack the finished items and the failures of a shard (`pack_shard`) and commit it; returns its rows.

    Work items given as paths are not removed: `Dataset.clean` does that once the shard is committed.
    """
    with atomic_file(layout.shard_file(dataset, layout.SHARDS, shard)) as file:
        parts = pack_shard(file, read_document(dataset).header, shard, list(items), failures)
    _commit(dataset, shard, parts)
    return list(parts.rows)


def rewrite_shard(dataset: Place, shard: int) -> list[ClipRow]:
    """Write a shard anew under today's contract, from its own tar and failures; returns its rows.

    Every clip is checked on the way, its files stay what they are; DatasetError, and nothing is changed, when the
    shard is not whole. The manifest is away from just before the new tar appears until the end: a kill in between
    leaves an uncommitted shard whose tar, old or new, is whole, and the next call goes on from it.
    """
    header = read_document(dataset).header
    tar = layout.shard_file(dataset, layout.SHARDS, shard)
    preview = layout.shard_file(dataset, layout.PREVIEWS, shard)
    for path in (tar, preview):
        if not path.is_file() or path.is_symlink():
            raise DatasetError("is missing", "restore it from a copy", where=path)
    failures = read_failures(dataset, shard)
    with atomic_file(tar) as file, local_files([tar]) as (local,), local.open("rb") as old:
        members = archive.scan(old, local.stat().st_size)
        samples = (read_group(old, list(group)) for _, group in itertools.groupby(members, lambda member: member.key))
        rows = [append(file, shard, sample, header.source(shard).lights, file.tell()) for sample in samples]
        file.write(archive.END)
        parts = _sealed(header, shard, rows, failures, file.tell(), preview.read_bytes())
        remove(layout.shard_file(dataset, layout.MANIFEST, shard))
    _commit(dataset, shard, parts)
    return rows


def _sealed(
    header: Header, shard: int, rows: Sequence[ClipRow], failures: Sequence[FailureRow], tar_bytes: int, preview: bytes
) -> PackedParts:
    """Failures and manifest of a shard whose tar is written; DatasetError where items are missing or twice there."""
    failures = sorted(failures, key=lambda failure: failure.item)
    check_complete(header, shard, rows, failures)
    table = encode_parquet(to_table(list(failures), FailureRow))
    seal = Seal(
        shard=shard,
        header=header.digest(),
        tar_bytes=tar_bytes,
        failures=len(failures),
        failures_sha256=hashlib.sha256(table).hexdigest(),
        preview_sha256=hashlib.sha256(preview).hexdigest(),
    )
    return PackedParts(tuple(rows), preview, table, encode_manifest(seal, rows))


def _commit(dataset: Place, shard: int, parts: PackedParts) -> None:
    """Write what follows the tar; the manifest, which makes the shard count, comes last."""
    write_bytes(layout.shard_file(dataset, layout.PREVIEWS, shard), parts.preview)
    write_bytes(layout.shard_file(dataset, layout.FAILURES, shard), parts.failures)
    put_manifest(layout.shard_file(dataset, layout.MANIFEST, shard), parts.manifest)


def append(file: BinaryIO, shard: int, sample: Sample, lights: int, offset: int) -> ClipRow:
    """Write one clip at the end of a shard's tar, byte `offset`; returns its row with shard, byte range and hash.

    The row says how many clips the item has: what the header's `lights` say, or the stage where that is 0.
    """
    counted = msgspec.structs.replace(sample.row, item_clips=clips_expected(lights, sample.row))
    sample = replace(sample, row=counted)
    hasher, size = hashlib.sha256(), 0
    for piece in archive.encode(sample.key, {**sample.files, ROW: row_json(sample)}):
        hasher.update(piece)
        file.write(piece)
        size += len(piece)
    return msgspec.structs.replace(
        without_packing(sample.row), shard=shard, offset=offset, size=size, sha256=hasher.hexdigest()
    )


def check_complete(header: Header, shard: int, rows: Sequence[ClipRow], failures: Sequence[FailureRow]) -> None:
    """Check that rows and failures are exactly the work items of a shard; DatasetError names the first that is off."""
    twice = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if twice:
        raise DatasetError(f"two clips have the key {twice[0]}", where=f"shard {shard}")
    items = header.shard_items(shard)
    lights = header.source(shard).lights
    clips, failed = Counter(row.item for row in rows), Counter(failure.item for failure in failures)
    expected = {row.item: clips_expected(lights, row) for row in rows}
    for item in sorted({*items, *clips, *failed}):
        if item not in items:
            where = f"{items.start} to {items.stop - 1}" if items else "none: there is no such shard"
            raise DatasetError(f"item {item} does not belong here (its items are {where})", where=f"shard {shard}")
        if clips[item] == 0 and failed[item] == 0:
            raise DatasetError(f"item {item} has neither clips nor a failure", where=f"shard {shard}")
        if failed[item] > 1 or (failed[item] and clips[item]):
            raise DatasetError(
                f"item {item} has {clips[item]} clips and {failed[item]} failures", where=f"shard {shard}"
            )
        if clips[item] and clips[item] != expected[item]:
            raise DatasetError(
                f"item {item} has {clips[item]} clips, expected {expected[item]}", where=f"shard {shard}"
            )


def encode_manifest(seal: Seal, rows: Sequence[ClipRow]) -> bytes:
    """The Parquet manifest of a shard, rows sorted by key, sealed with what it says of the other files."""
    table = to_table(sorted(rows, key=lambda row: row.key), ClipRow)
    return encode_parquet(table.replace_schema_metadata({_SEAL: msgspec.json.encode(seal)}))


def write_manifest(dataset: Place, seal: Seal, rows: Sequence[ClipRow]) -> None:
    """Commit a shard by its manifest."""
    put_manifest(layout.shard_file(dataset, layout.MANIFEST, seal.shard), encode_manifest(seal, rows))


def put_manifest(path: Place, data: bytes) -> None:
    """Commit a shard by its manifest as it is in Parquet; in a bucket DatasetError where it has another one already."""
    if not isinstance(path, ObjectPath):
        write_bytes(path, data)
    elif not path.put_new(data):
        raise DatasetError("another run has committed this shard", "run `lightloom data verify`", where=path)


def read_manifest(dataset: Place, shard: int) -> tuple[Seal, list[ClipRow]]:
    """Seal and rows of a committed shard, validated; DatasetError when the file cannot be believed."""
    path = layout.shard_file(dataset, layout.MANIFEST, shard)
    table = _read_table(path)
    try:
        seal = decode_json((table.schema.metadata or {})[_SEAL], Seal)
        return seal, from_table(table, ClipRow)
    except KeyError:
        raise DatasetError("not written by a dataset: its metadata has no seal", "run repair", where=path) from None
    except (msgspec.DecodeError, pa.ArrowException, ValueError) as error:
        raise DatasetError(f"holds a row that is not a clip's: {error}", "run repair", where=path) from None


def read_failures(dataset: Place, shard: int) -> list[FailureRow]:
    """Failures of a committed shard, validated; DatasetError when the file cannot be read."""
    path = layout.shard_file(dataset, layout.FAILURES, shard)
    try:
        return from_table(_read_table(path), FailureRow)
    except (msgspec.DecodeError, pa.ArrowException, ValueError) as error:
        raise DatasetError(f"holds a row that is not a failure: {error}", "run repair", where=path) from None


def read_sample(dataset: Place, row: ClipRow, cache: NodeCache | None = None) -> dict[str, bytes]:
    """The files of a clip by suffix, read from its byte range; the hash is checked, DatasetError when it differs.

    What gzip packed (`spec.json.gz`) comes plain and under its plain name.
    """
    if cache is not None:
        try:
            return _unpacked(dataset, row, cache.get(row.sha256, lambda: _packed(dataset, row)))
        except DatasetError:  # the cache's disk, or the store: asked once more, the store has the last word
            cache.forget(row.sha256)
    return _unpacked(dataset, row, _packed(dataset, row))


def _packed(dataset: Place, row: ClipRow) -> bytes:
    path = layout.shard_file(dataset, layout.SHARDS, row.shard)
    if row.size > archive.LARGEST_CLIP:
        raise DatasetError(f"clip {row.key} has more than {archive.LARGEST_CLIP} bytes", "run verify", where=path)
    data = _range_of(path, row.offset, row.size)
    if len(data) != row.size:
        raise DatasetError(f"clip {row.key} should lie at byte {row.offset}", "run verify", where=path)
    return data


def _unpacked(dataset: Place, row: ClipRow, data: bytes) -> dict[str, bytes]:
    path = layout.shard_file(dataset, layout.SHARDS, row.shard)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise DatasetError(f"clip {row.key} was changed: its SHA-256 differs", "run verify, then repair", where=path)
    members = archive.scan(io.BytesIO(data + archive.END), row.size + len(archive.END))
    files = {member.suffix: data[member.data : member.data + member.size] for member in members if member.suffix != ROW}
    for suffix in [suffix for suffix in files if suffix.endswith(GZIP)]:
        try:
            files[suffix.removesuffix(GZIP)] = gunzip(files.pop(suffix), archive.LARGEST_CLIP)
        except OSError as error:
            raise DatasetError(f"{suffix} of clip {row.key} is {error.strerror}", "run verify", where=path) from None
    return files


def read_group(file: BinaryIO, members: Sequence[archive.Member], *, keep: bool = True, hashed: bool = True) -> Sample:
    """The sample whose files are `members`, checked against its `row.json`; DatasetError names what is not whole.

    Sizes are compared before anything is read. Without `keep` files are hashed in pieces, and the sample has none.
    Without `keep` and `hashed` they are not read at all, where somebody else has compared all their bytes.
    """
    key = members[0].key
    by_suffix = {member.suffix: member for member in members}
    if len(by_suffix) != len(members):
        raise DatasetError("has a file twice", where=f"clip {key}")
    if ROW not in by_suffix:
        raise DatasetError(f"has no {ROW}", where=f"clip {key}")
    noted = by_suffix.pop(ROW)
    if noted.size > LARGEST_ROW:
        raise DatasetError(f"{ROW} of {noted.size} bytes is larger than {LARGEST_ROW}", where=f"clip {key}")
    if members[-1].end - members[0].offset > archive.LARGEST_CLIP:
        raise DatasetError(f"its files have more than {archive.LARGEST_CLIP} bytes", where=f"clip {key}")
    document = parse_row(key, archive.read_at(file, noted.data, noted.size))
    for suffix in sorted(by_suffix.keys() ^ document.files.keys()):
        state = "missing" if suffix in document.files else "not its file"
        raise DatasetError(f"{suffix} is {state}", where=f"clip {key}")
    files = {}
    for suffix, member in by_suffix.items():
        if member.size != document.files[suffix].size:
            raise DatasetError(f"{suffix} was changed: its size is another", where=f"clip {key}")
        if not (keep or hashed):
            continue
        hasher, pieces = hashlib.sha256(), []
        for piece in archive.read_pieces(file, member):
            hasher.update(piece)
            if keep:
                pieces.append(piece)
        if hasher.hexdigest() != document.files[suffix].sha256:
            raise DatasetError(f"{suffix} was changed: its SHA-256 does not fit", where=f"clip {key}")
        files[suffix] = b"".join(pieces)
    return Sample(key, files if keep else {}, document.row)


def _samples(item: Place | Sequence[Sample]) -> Sequence[Sample]:
    return item if isinstance(item, Sequence) else read_item(item)


def _count(item: Place | Sequence[Sample]) -> int:
    if isinstance(item, Sequence):
        return len(item)
    with item.open("rb") as file:
        return len({member.key for member in archive.scan(file, item.stat().st_size)})


def _range_of(path: Place, offset: int, size: int) -> bytes:
    """The bytes of a range as far as the file has them; of a bucket's in one request."""
    if min(offset, size) < 0:
        return b""
    if isinstance(path, ObjectPath):
        return path.read_range(offset, size)
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _check_item(path: Place, samples: Sequence[Sample]) -> None:
    keys = [sample.key for sample in samples]
    if not keys or len(set(keys)) != len(keys) or len({sample.row.item for sample in samples}) != 1:
        raise DatasetError(f"a work item holds its own clips only, under different keys, not {keys}", where=path)
    if any(_STRIP in sample.files for sample in samples):
        raise DatasetError(f"a file is called {_STRIP}, which is reserved", where=path)


def _read_table(path: Place) -> pa.Table:
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise DatasetError(f"larger than {LARGEST_MANIFEST} bytes", "this is not a manifest", where=path)
        return read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"cannot be read: {str(error).splitlines()[0]}", "run repair", where=path) from None
