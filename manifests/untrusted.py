"""Files that others wrote, read without trust: bounded bytes, JSON and YAML of plain values, text fit for a terminal.

Nothing here raises anything but what its docstring names, whatever a file holds, and nothing takes time or memory out
of proportion to the bytes read.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import threading
import zlib
from pathlib import Path
from typing import Any

import msgspec
import yaml

from manifests.display import human_size
from manifests.object_path import ObjectPath, Place

LARGEST_YAML = 2_000_000
GZIP = ".gz"
_DEEPEST = 32
_LONGEST_NUMBER = 400  # characters; longer ones take Python quadratic time
_FIRST = threading.Lock()
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")}


def read_bounded(path: Place, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit`; OSError for anything else (a device, a pipe, a larger file).

    What a file claims to hold is a first guess only: what grows is read on, to one byte more than `limit`.
    """
    if isinstance(path, ObjectPath):
        return path.read_bounded(limit)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would wait
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    blocks, room = [], limit + 1
    step = max(about.st_size + 1, 1 << 16)  # never `room` at once: a read makes space for all that it is asked for
    with os.fdopen(handle, "rb") as file:
        while room and (block := file.read(min(step, room))):
            blocks.append(block)
            room -= len(block)
    data = b"".join(blocks)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {human_size(limit)}", str(path))
    return data


def gunzip(data: bytes, limit: int) -> bytes:
    """What gzip packed, at most `limit` bytes of it; OSError for anything else."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(data, limit)
    except zlib.error as error:
        raise OSError(errno.EINVAL, f"not what gzip writes: {error}") from None
    if not unpacker.eof:
        raise OSError(errno.EFBIG, f"cut short, or larger than {human_size(limit)}")
    return plain


def decode_json[T](data: bytes | str, wanted: type[T]) -> T:
    """JSON as `wanted`; msgspec.DecodeError for whatever is wrong with it, nesting and encoding included."""
    try:
        decoder: msgspec.json.Decoder[T] = _decoder(wanted)
        return decoder.decode(data)
    except msgspec.DecodeError:
        raise
    except (UnicodeError, RecursionError, OverflowError, ValueError) as error:
        raise msgspec.DecodeError(" ".join(str(error).split())[:200] or type(error).__name__) from None


def convert[T](plain: Any, wanted: type[T]) -> T:
    """`msgspec.convert`, from any thread."""
    _decoder(wanted)
    return msgspec.convert(plain, wanted)


def _decoder(wanted: Any) -> Any:
    """The decoder of a type, made once: msgspec crashes where two threads meet a type for the first time together."""
    with _FIRST:
        return _known_decoder(wanted)


@functools.cache
def _known_decoder(wanted: Any) -> Any:
    return msgspec.json.Decoder(wanted)


def decode_yaml(data: bytes) -> Any:
    """YAML of mappings, lists, texts, numbers, booleans and null; ValueError says what, at which line.

    Aliases, merge keys, tags and keys given twice are refused: the first three are ways to hide size or code, the last
    would drop one of two values without a word. What looks like a date stays text.
    """
    try:
        return _Tree().of(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None


def read_yaml(path: Path) -> Any:
    """`decode_yaml` of a file of at most 2 MB; OSError or ValueError."""
    return decode_yaml(read_bounded(path, LARGEST_YAML))


def printable(text: str) -> str:
    """Text with everything escaped that a terminal would obey or could not show: control letters, lone surrogates,
    letters that turn the direction of writing."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


_NONE = object()


class _Tree:
    """Plain values out of YAML's events, without recursion."""

    def __init__(self) -> None:
        self._resolver, self._constructor = yaml.resolver.Resolver(), yaml.constructor.SafeConstructor()
        self._open: list[Any] = []  # containers that are not closed yet, outermost first
        self._keys: list[Any] = []  # of each open mapping, the key whose value comes next
        self._root: Any = None

    def of(self, text: str) -> Any:
        documents = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ValueError(f"line {line}: one document is expected")
            elif type(event) is yaml.AliasEvent:
                raise ValueError(f"line {line}: aliases (*name) are not read")
            elif isinstance(event, yaml.NodeEvent):
                self._start(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
                self._keys.pop()
        return self._root

    def _start(self, event: Any, line: int) -> None:
        if event.tag is not None and event.tag != "!":
            raise ValueError(f"line {line}: tags (!name) are not read")
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, line)
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._put(value, line)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) == _DEEPEST:
                raise ValueError(f"line {line}: nested deeper than {_DEEPEST} levels")
            self._open.append(value)
            self._keys.append(_NONE)

    def _put(self, value: Any, line: int) -> None:
        if not self._open:
            self._root = value
        elif isinstance(self._open[-1], list):
            self._open[-1].append(value)
        elif self._keys[-1] is _NONE:
            if type(value) in (dict, list):
                raise ValueError(f"line {line}: a key is a mapping or a list")
            if value == "<<":
                raise ValueError(f"line {line}: merge keys (<<) are not read")
            if value in self._open[-1]:
                raise ValueError(f"line {line}: {value!r} is given twice")
            self._keys[-1] = value
        else:
            self._open[-1][self._keys[-1]] = value
            self._keys[-1] = _NONE

    def _scalar(self, event: Any, line: int) -> Any:
        node = yaml.ScalarNode("", event.value, event.start_mark, event.end_mark)
        node.tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        if node.tag not in _PLAIN_TAGS:
            return event.value
        if len(event.value) > _LONGEST_NUMBER:
            raise ValueError(f"line {line}: a number of {len(event.value)} characters")
        try:
            return self._constructor.construct_object(node)
        except (ValueError, OverflowError, KeyError) as error:
            raise ValueError(f"line {line}: {error}") from None
