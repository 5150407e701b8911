"""Which shards an interrupted verification had found whole, so that the next one need not read them again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from manifests.store import layout
from manifests.store.dataset import Dataset
from manifests.untrusted import decode_json, read_bounded


class VerifyJournal:
    """Remembers which shards were found whole at a level, as long as their files are the same; gone at a good end."""

    def __init__(self, dataset: Dataset, level: str) -> None:
        assert isinstance(dataset.path, Path)
        self._folder, self._level = dataset.path, level
        self._path = dataset.path / layout.VERIFIED
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):  # a folder that may only be read is checked all the same
            self._file = self._path.open("ab")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            if kind is None:
                self._path.unlink(missing_ok=True)

    def known(self) -> set[int]:
        """Shards that need not be read again."""
        found = set()
        with suppress(OSError, msgspec.DecodeError, ValueError, TypeError):
            for line in read_bounded(self._path, 1 << 28).splitlines():
                shard, level, state = decode_json(line, tuple[int, str, tuple[int, ...]])
                if level == self._level and state == self._state(shard):
                    found.add(shard)
        return found

    def note(self, shard: int) -> None:
        """Remember a shard."""
        if self._file is not None:
            self._file.write(msgspec.json.encode((shard, self._level, self._state(shard))) + b"\n")
            self._file.flush()

    def _state(self, shard: int) -> tuple[int, ...]:
        states = [layout.shard_file(self._folder, name, shard).stat() for name in layout.SUFFIX]
        return tuple(number for state in states for number in (state.st_size, state.st_mtime_ns))
