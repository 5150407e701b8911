"""The tar files of a dataset: plain ustar with fixed metadata, read by a strict parser that never touches the disk.

Only what a dataset writes is accepted: regular files named `<key>.<suffix>`, in one folder, with correct checksums
and no extensions. Links, devices, folders, absolute or climbing paths and GNU or pax long names are errors, so a
hostile shard can name nothing outside itself and cannot make a reader allocate more than the file holds.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from manifests.errors import DatasetError

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""What ends an archive."""

LARGEST_FILE = 1 << 30
LARGEST_CLIP = 2 << 30
"""A file of a clip, and all files of a clip with their headers, may not have more bytes."""

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME = re.compile(r"([a-z0-9][a-z0-9_-]*)\.([A-Za-z0-9_][A-Za-z0-9_.-]*)")
_NAME_LIMIT = 100
_MAGIC, _MAGIC_AT = b"ustar", 257
_PIECE = 1 << 16
_SIZE, _SUM = slice(124, 135), slice(148, 154)


@dataclass(frozen=True)
class Member:
    """A file in an archive: `<key>.<suffix>`, with the offset of its header and of its bytes, and its size."""

    key: str
    suffix: str
    offset: int
    data: int
    size: int

    @property
    def name(self) -> str:
        """The file's name in the archive."""
        return f"{self.key}.{self.suffix}"

    @property
    def end(self) -> int:
        """Offset of whatever follows."""
        return self.data + _padded(self.size)


def encode(key: str, files: Mapping[str, bytes]) -> Iterator[bytes]:
    """The bytes of one clip in an archive, in pieces: its files sorted by name, each with a header and padding."""
    if not _KEY.fullmatch(key):
        raise DatasetError(f"{key!r} cannot be the key of a clip: only a-z, 0-9, '_' and '-'")
    if sum(BLOCK + _padded(len(data)) for data in files.values()) > LARGEST_CLIP:
        raise DatasetError(f"more than {LARGEST_CLIP} bytes", "make shorter or smaller clips", where=f"clip {key}")
    for suffix in sorted(files):
        data = files[suffix]
        yield header(f"{key}.{suffix}", len(data))
        yield data
        yield bytes(_padded(len(data)) - len(data))


def header(name: str, size: int) -> bytes:
    """The ustar header of a regular file with fixed owner, mode and time; DatasetError if the name cannot be used."""
    if len(name) >= _NAME_LIMIT or not _NAME.fullmatch(name):
        raise DatasetError(
            f"{name!r} cannot name a file of a clip: it must be key.suffix, key of a-z 0-9 _ -, below 100 characters"
        )
    if size > LARGEST_FILE:
        raise DatasetError(f"{size} bytes", f"a file of a clip holds at most {LARGEST_FILE}", where=name)
    block = bytearray(_template())
    block[: len(name)] = name.encode("ascii")
    block[_SIZE] = b"%011o" % size
    block[_SUM] = b"%06o" % (sum(block) + 8 * ord(" "))  # its own field counts as blanks
    block[_SUM.stop : _SUM.stop + 2] = b"\0 "
    return bytes(block)


@functools.cache
def _template() -> bytes:
    """The header of a file without name, size and checksum: tarfile takes five times as long for a whole one."""
    info = tarfile.TarInfo()
    info.mode = 0o644
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[_SUM.start : _SUM.stop + 2] = bytes(8)
    return bytes(block)


def scan(file: BinaryIO, size: int) -> Iterator[Member]:
    """The members of an archive of `size` bytes, in order, checking that it ends as an archive must.

    Raises DatasetError, saying at which byte, for anything that is not as a dataset writes it; the members before
    have been yielded by then. Reads headers and padding only.
    """
    offset = 0
    while True:
        block = read_at(file, offset, BLOCK)
        if not any(block):
            break
        member = parse_header(block, offset)
        if member.end > size - len(END):
            raise DatasetError(f"cut off: {member.name} should end at byte {member.end}, the file has {size}")
        after = member.data + member.size
        if any(read_at(file, after, member.end - after)):
            raise DatasetError(f"the padding after {member.name} is not zero", where=f"byte {after}")
        yield member
        offset = member.end
    if size != offset + len(END) or any(read_at(file, offset, len(END))):
        raise DatasetError(f"the end of the archive, at byte {offset}, is not followed by {len(END)} zero bytes only")


def parse_header(block: bytes, offset: int) -> Member:
    """The member whose 512-byte header `block` is; DatasetError when it is not one that a dataset writes."""
    with suppress(ValueError, DatasetError):  # what is not as it must be is looked at closely
        name, size = block.partition(b"\0")[0].decode("ascii"), int(block[_SIZE], 8)
        if block == header(name, size):
            key, _, suffix = name.partition(".")
            return Member(key, suffix, offset, offset + BLOCK, size)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise DatasetError(f"no valid tar header ({error})", where=f"byte {offset}") from None
    if info.type != tarfile.REGTYPE:
        raise DatasetError(f"{info.name!r} is not a regular file (tar type {info.type!r})", where=f"byte {offset}")
    match = _NAME.fullmatch(info.name)
    if match is None or len(info.name) >= _NAME_LIMIT:
        raise DatasetError(f"{info.name!r} is not a safe name for a file of a clip", where=f"byte {offset}")
    if not 0 <= info.size <= LARGEST_FILE:
        raise DatasetError(f"{info.name} claims {info.size} bytes", where=f"byte {offset}")
    if block != header(info.name, info.size):
        raise DatasetError(f"{info.name} has another owner, mode or time than a dataset writes", where=f"byte {offset}")
    return Member(match.group(1), match.group(2), offset, offset + BLOCK, info.size)


def salvage(file: BinaryIO, size: int) -> Iterator[Member]:
    """Every whole member of a damaged archive: where a header does not parse, the search goes on block by block."""
    offset = 0
    while (found := _next_header(file, offset, size)) is not None:
        offset = found + BLOCK
        try:
            member = parse_header(read_at(file, found, BLOCK), found)
        except DatasetError:
            continue
        if member.data + member.size <= size:
            yield member
            offset = member.end


def _next_header(file: BinaryIO, offset: int, size: int) -> int | None:
    """Offset of the first block from `offset` on that may be a header: gigabytes that are none cost their reading."""
    while (offset := _next_data(file, offset, size)) + BLOCK <= size:
        data = read_at(file, offset, min(_PIECE, size - offset))
        at = data.find(_MAGIC)
        while at >= 0 and (at - _MAGIC_AT) % BLOCK:
            at = data.find(_MAGIC, at + 1)
        if at >= 0:
            return offset + at - _MAGIC_AT
        offset += _PIECE
    return None


def _next_data(file: BinaryIO, offset: int, size: int) -> int:
    """Offset of the first block from `offset` on that is more than a hole in the file, `size` where there is none."""
    try:
        return file.seek(offset, os.SEEK_DATA) // BLOCK * BLOCK
    except ValueError:  # no file of the system's
        return offset
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly `size` bytes at `offset`; DatasetError when the file is shorter."""
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise DatasetError(f"cut off: {size} bytes expected at byte {offset}, {len(data)} there")
    return data


def read_pieces(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of a member, in pieces of at most 1 MiB; DatasetError when the file is shorter."""
    for start in range(0, member.size, 1 << 20):
        yield read_at(file, member.data + start, min(1 << 20, member.size - start))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
