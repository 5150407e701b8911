"""Files of a bucket or behind a URL, under the names that `pathlib` has for files of a folder.

A dataset is at a `Place`: a folder, or an `ObjectPath` such as `s3://bucket/set`. Both list, read and delete by the
same methods; what is written appears whole or not at all (`manifests/files.py`). Requests are tried again with growing
pauses by obstore, which also takes the credentials from the environment; no message holds any.
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import io
import itertools
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO

from manifests.display import human_size
from manifests.errors import InputError, StorageError

type Place = Path | ObjectPath

SCHEMES = ("s3://", "gs://", "az://", "hf://", "http://", "https://")
"""What a place that is no folder begins with. The first three are listed and written, the others only read."""

TRIES = 10
PATIENCE = timedelta(minutes=2)
"""A request is tried again so often, and not after so long: network lost, server busy (503, 429) or broken (5xx)."""

REQUESTS = 16
"""Requests at once where many small files are wanted."""

_SILENCE = "30s"
"""A connection on which nothing comes for so long counts as lost."""

_URL = re.compile(r"(s3|gs|az|hf|https?):/{1,2}")
_BUFFER = 4 << 20
_PIECE, _TOGETHER = 16 << 20, 4  # of a download
_PAUSES_S = (0.2, 0.8, 3.0)
_FINAL = re.compile(r"status code|Missing")  # or tried as often as obstore does
_NO_CREDENTIALS = re.compile(
    r"169\.254\.169\.254|metadata|Missing\w*(Key|Account|Credential)|credential", re.IGNORECASE
)
_SILENT = re.compile(r"kind: Timeout|TimedOut")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_CREDENTIALS = "set the credentials in the environment (docs/storage.md)"


def place(where: str | PurePath) -> Place:
    """The folder or object that a text names; also of a `Path` that was made of a URL, which loses a slash by that."""
    text = str(where)
    if not _URL.match(text):
        return Path(where)
    path = ObjectPath(text)
    if not path.bucket:
        raise InputError("names no bucket", "s3://BUCKET/FOLDER is expected", where=text)
    return path


@dataclass(frozen=True)
class ObjectStat:
    """What is known of an object: `st_size` in bytes, when it was written, by the store's clock, and its e-tag."""

    st_size: int
    st_mtime_ns: int
    e_tag: str = ""

    @staticmethod
    def of(meta: Any) -> ObjectStat:
        """From what obstore says."""
        return ObjectStat(meta["size"], int(meta["last_modified"].timestamp()) * 10**9, meta["e_tag"] or "")


class ObjectPath(PurePosixPath):
    """A file or folder of a bucket: `s3://bucket/folder/name`. A folder is there when a file in it is.

    Methods raise FileNotFoundError where there is no such file, and StorageError for what else goes wrong.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    @property
    def bucket(self) -> str:
        """What one connection reaches, as a URL: the bucket, the server, or the repository of `hf://`."""
        depth = 4 if self.parts[0] == "hf:" else 2
        return "/".join(("/".join((self.parts[0], "")), *self.parts[1:depth])) if len(self.parts) >= depth else ""

    @property
    def key(self) -> str:
        """The name within the bucket."""
        return "/".join(self.parts[4 if self.parts[0] == "hf:" else 2 :])

    @property
    def lists(self) -> bool:
        """Whether the store can say what it holds; a plain server cannot."""
        return self.parts[0] in {"s3:", "gs:", "az:"}

    def is_file(self) -> bool:
        """True where there is an object of this name."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def exists(self) -> bool:
        """True for a file and for a folder with something in it."""
        return self.is_file() or (self.lists and self.is_dir())

    def is_dir(self) -> bool:
        """True where something lies below this name; always where the store cannot list."""
        return not self.lists or any(True for _ in self.iterdir())

    def is_symlink(self) -> bool:
        """False: there are none."""
        return False

    def resolve(self) -> ObjectPath:
        """Itself."""
        return self

    absolute = resolve

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: folders come and go with their files."""

    def stat(self) -> ObjectStat:
        """Size and time of the object."""
        return ObjectStat.of(self._ask(lambda obstore, store: obstore.head(store, self.key)))

    def stats(self) -> dict[str, ObjectStat]:
        """Of the files directly below this name, by one listing."""
        return {entry["path"].rpartition("/")[2]: ObjectStat.of(entry) for entry in self._listed()["objects"]}

    def tree(self) -> dict[str, ObjectStat]:
        """Of all files below this name, by their path from here."""
        prefix = f"{self.key}/" if self.key else ""
        found = self._ask(lambda obstore, store: list(itertools.chain(*obstore.list(store, prefix or None))))
        return {entry["path"].removeprefix(prefix): ObjectStat.of(entry) for entry in found}

    def iterdir(self) -> Iterator[ObjectPath]:
        """Files and folders directly below this name."""
        found = self._listed()
        names = {entry["path"].rpartition("/")[2] for entry in found["objects"]}
        names |= {prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]}
        return iter([self / name for name in sorted(names)])

    def _listed(self) -> Any:
        prefix = f"{self.key}/" if self.key else None
        return self._ask(lambda obstore, store: obstore.list_with_delimiter(store, prefix))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Those of `iterdir` whose name fits."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def read_bounded(self, limit: int) -> bytes:
        """All bytes; OSError where there are more than `limit`."""

        def read(obstore: Any, store: Any) -> bytes | None:
            answer = obstore.get(store, self.key)
            return bytes(answer.bytes()) if answer.meta["size"] <= limit else None

        data = self._ask(read)
        if data is None:
            raise OSError(errno.EFBIG, f"larger than {human_size(limit)}", str(self))
        return data

    def read_bytes(self) -> bytes:
        """All bytes."""
        return self.read_bounded(1 << 40)

    def read_range(self, start: int, size: int) -> bytes:
        """The `size` bytes from `start` on, fewer at the end of the file."""
        if not size:
            return b""
        return self._ask(lambda obstore, store: bytes(obstore.get_range(store, self.key, start=start, length=size)))

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file for reading, in pieces of 4 MiB that are fetched when they are needed."""
        if mode != "rb":
            raise ValueError(f"an object is opened to be read, not as {mode!r}")
        return io.BufferedReader(_Ranges(self), _BUFFER)

    def download(self, file: BinaryIO) -> None:
        """Write all bytes to an open file, some pieces fetched at once; from a plain server in one answer."""
        if self.bucket.startswith("http"):
            self._ask(lambda obstore, store: self._pour(obstore.get(store, self.key), file))
            return
        size = self.stat().st_size
        pieces = [(start, min(_PIECE, size - start)) for start in range(0, size, _PIECE)]
        for together in itertools.batched(pieces, _TOGETHER, strict=False):
            for data in at_once(self, lambda piece: self.read_range(*piece), together):
                file.write(data)

    @staticmethod
    def _pour(answer: Any, file: BinaryIO) -> None:
        file.seek(0)
        for piece in answer:
            file.write(piece)
        file.truncate()

    def put(self, data: bytes | Path) -> None:
        """Write the object, from bytes or from a local file, in one step; large ones in parts."""
        self._ask(lambda obstore, store: obstore.put(store, self.key, data))

    def put_new(self, data: bytes) -> bool:
        """Write the object unless there is one: False where another writer was first."""
        return self.put_if(data, None) is not None

    def version(self) -> Any:
        """What tells the object's content from any that it had before; None where there is no object."""
        try:
            return _version(self._ask(lambda obstore, store: obstore.head(store, self.key)))
        except FileNotFoundError:
            return None

    def put_if(self, data: bytes, version: Any) -> Any:
        """Write the object where it still has `version` (None: where there is none); its new version, None if not.

        A lost answer is found again by the content: `data` must be like no other writer's.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode = "create" if version is None else version
        try:
            return _version(self._ask(lambda obstore, store: obstore.put(store, self.key, data, mode=mode)))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            now = self.version()
            return now if now is not None and self.read_bytes() == data else None

    def rename(self, target: ObjectPath) -> ObjectPath:
        """Copy the object within its bucket, then delete it here."""
        self._ask(lambda obstore, store: obstore.copy(store, self.key, target.key))
        self.unlink(missing_ok=True)
        return target

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        if not missing_ok:
            self.stat()
        self._ask(lambda obstore, store: obstore.delete(store, self.key))

    def _ask[Answer](self, request: Callable[[Any, Any], Answer]) -> Answer:
        """What a request to the store gives; obstore tries again by itself but where an answer was cut short."""
        import obstore
        from obstore.exceptions import BaseError

        until = time.monotonic() + PATIENCE.total_seconds()
        tried = f"after {TRIES} retries"
        for pause in (*_PAUSES_S, None):
            try:
                return request(obstore, _store(self.bucket))
            except (BaseError, OSError, ValueError) as error:
                text = str(error).partition("\n\nDebug source")[0]
                cut = type(error) is obstore.exceptions.GenericError and not _FINAL.search(text)
                if pause is None or not cut or tried in text or time.monotonic() > until:
                    raise self._told(error, text) from None
            time.sleep(pause)
        raise AssertionError

    def _told(self, error: Exception, text: str) -> Exception:
        """An error of obstore's as ours: one line, without what requests and answers say of keys and signatures."""
        from obstore.exceptions import (
            AlreadyExistsError,
            NotSupportedError,
            PermissionDeniedError,
            PreconditionError,
            UnauthenticatedError,
        )

        code = " ".join(match[1] for match in (_STATUS.search(text), _CODE.search(text)) if match)
        code = f" ({code})" if code else ""
        match error:
            case AlreadyExistsError() | PreconditionError():
                return error
            case _ if _NO_BUCKET.search(text):
                return StorageError("no such bucket", "create it or name another", where=self.bucket)
            case FileNotFoundError():
                return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
            case PermissionDeniedError() | UnauthenticatedError():
                what, advice = f"access is refused{code}", _CREDENTIALS
            case NotSupportedError():
                what, advice = "the server gives no byte ranges", "copy the dataset, or train from it: that needs none"
            case _ if _NO_CREDENTIALS.search(text):
                what, advice = "no credentials", _CREDENTIALS
            case _:
                what = "does not answer" if _SILENT.search(str(error)) else "cannot be reached"
                what = f"the store answers with errors{code}" if _STATUS.search(text) else f"the store {what}"
                advice = "try again later, or check address and network"
        return StorageError(what, advice, where=self)


def _version(meta: Any) -> dict[str, str]:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


@functools.cache
def _store(bucket: str) -> Any:
    """The connections to a bucket, shared by all threads of this process."""
    from obstore import store as stores

    client: dict[str, Any] = {"connect_timeout": "10s", "read_timeout": _SILENCE, "timeout": "300s"}
    options: dict[str, Any] = {}
    url = bucket
    if bucket.startswith("hf://"):
        kind, owner, name = bucket.removeprefix("hf://").split("/")
        name, _, revision = name.partition("@")
        server = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        url = f"{server}/{kind}/{owner}/{name}/resolve/{revision or 'main'}"
        if token := os.environ.get("HF_TOKEN"):
            client["default_headers"] = {"authorization": f"Bearer {token}"}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if bucket.startswith("s3://") and endpoint:
        options["endpoint"] = endpoint
    if "http://" in (url[:7], endpoint[:7]):
        client["allow_http"] = True
    retry = {"max_retries": TRIES, "retry_timeout": PATIENCE}
    from_url: Any = stores.from_url
    return from_url(url, client_options=client, retry_config=retry, **options)


class _Ranges(io.RawIOBase):
    """An object as a raw file that can be sought."""

    def __init__(self, path: ObjectPath) -> None:
        self._path, self._size, self._at = path, path.stat().st_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence not in {io.SEEK_SET, io.SEEK_CUR, io.SEEK_END}:
            raise ValueError("an object has no holes")
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._size - self._at))
        data = self._path.read_range(self._at, size)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def entries(folder: Place) -> list[Place]:
    """What lies in a folder, by name."""
    return sorted(folder.iterdir(), key=lambda path: path.name)


@contextmanager
def local_files(paths: Sequence[Place]) -> Iterator[list[Path]]:
    """The files as files of this machine: themselves, or copies that last as long as the block."""
    if not any(isinstance(path, ObjectPath) for path in paths):
        yield [Path(path) for path in paths]
        return
    with tempfile.TemporaryDirectory(prefix="lightloom-") as folder:

        def copy(numbered: tuple[int, Place]) -> Path:
            number, path = numbered
            if isinstance(path, Path):
                return path
            local = Path(folder) / f"{number}{path.suffix}"
            with local.open("wb") as file:
                path.download(file)
            return local

        yield at_once(paths[0], copy, list(enumerate(paths)))


def lists(where: Place) -> bool:
    """Whether one can ask what a place holds; a plain server cannot say."""
    return isinstance(where, Path) or where.lists


def at_once[Item, Result](where: Place, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`function` of each item, in order: one after the other in a folder, many requests at once elsewhere."""
    if isinstance(where, Path):
        return [function(item) for item in items]
    with ThreadPoolExecutor(max(1, min(REQUESTS, len(items)))) as pool:
        return list(pool.map(function, items))
