"""Files of a bucket: what the store and the network between may do, and what a user is told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from manifests import object_path
from manifests.errors import InputError, StorageError
from manifests.files import atomic_file, remove, write_bytes
from manifests.node_cache import NodeCache
from manifests.object_path import ObjectPath, place
from tests.object_store import READER, READER_SECRET, SECRET, FaultProxy, connected


def test_a_place_is_a_folder_or_a_url() -> None:
    assert place("out/set") == Path("out/set")
    path = place("s3://bucket/folder/set")
    assert isinstance(path, ObjectPath)
    assert str(path / "shards" / "0.tar") == "s3://bucket/folder/set/shards/0.tar"
    assert place(Path("s3://bucket/folder/set")) == path, "a Path loses a slash"
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301
    assert (path.bucket, path.key) == ("s3://bucket", "folder/set")
    repository = place("hf://datasets/lab/scenes@v1/set")
    assert isinstance(repository, ObjectPath)
    assert (repository.bucket, repository.key) == ("hf://datasets/lab/scenes@v1", "set")
    for nothing in ("s3://", "hf://datasets/lab"):
        with pytest.raises(InputError, match="names no bucket"):
            place(nothing)


def test_files_are_written_read_listed_and_deleted(bucket: ObjectPath) -> None:
    data = bytes(range(256)) * 100_000
    with atomic_file(bucket / "large.bin") as file:
        file.write(data)
    write_bytes(bucket / "inner" / "small.json", b"{}")
    with pytest.raises(ZeroDivisionError), atomic_file(bucket / "never") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert [path.name for path in bucket.iterdir()] == ["inner", "large.bin"]
    assert [path.name for path in (bucket / "inner").glob("*.json")] == ["small.json"]
    assert {name: stat.st_size for name, stat in bucket.stats().items()} == {"large.bin": len(data)}
    assert (bucket / "large.bin").stat() == bucket.stats()["large.bin"]
    assert bucket.is_dir()
    assert not (bucket / "other").exists()
    assert (bucket / "large.bin").read_range(5, 10) == data[5:15]
    with (bucket / "large.bin").open("rb") as file:
        file.seek(-4, 2)
        assert file.read() == data[-4:]
        file.seek(1000)
        assert file.read(6 << 20) == data[1000 : 1000 + (6 << 20)]
    with pytest.raises(OSError, match="larger than"):
        (bucket / "large.bin").read_bounded(1000)
    remove(bucket / "large.bin")
    remove(bucket / "large.bin")
    assert not (bucket / "large.bin").is_file()
    with pytest.raises(FileNotFoundError):
        (bucket / "large.bin").unlink()


def test_the_first_of_two_writers_wins(bucket: ObjectPath) -> None:
    assert (bucket / "manifest").put_new(b"mine")
    assert not (bucket / "manifest").put_new(b"yours")
    assert (bucket / "manifest").read_bytes() == b"mine"


@pytest.mark.parametrize("fault", ["500", "503", "cut", "lost"])
def test_faults_of_the_network_are_outlasted(
    fault: str, bucket: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two answers to each request go wrong: everything is done nevertheless, and done once."""
    left = 0
    data = bytes(range(256)) * 30_000  # several parts

    def fails(_method: str, _path: str) -> str | None:
        nonlocal left
        left -= 1
        return fault if left >= 0 else None

    steps: list[Callable[[], object]] = [
        lambda: (bucket / "whole").put(data),
        lambda: (bucket / "whole").read_bytes() == data,
        lambda: (bucket / "whole").read_range(7, 1 << 20) == data[7 : 7 + (1 << 20)],
        lambda: (bucket / "new").put_new(b"mine"),
        lambda: not (bucket / "new").put_new(b"yours"),
        lambda: [path.name for path in bucket.iterdir()] == ["new", "whole"],
        lambda: (bucket / "whole").unlink(missing_ok=True),
        lambda: not (bucket / "whole").is_file(),
    ]
    with FaultProxy(s3_server, fails) as proxy, connected(monkeypatch, proxy.url):
        for step in steps:
            left = 2
            assert step() in {True, None}
        assert len(proxy.done) >= (len(steps) if fault == "cut" else 2 * len(steps)), "an empty answer cannot be cut"


def test_what_is_wrong_is_one_line_without_secrets(
    bucket: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_path, "TRIES", 1)

    def told(path: ObjectPath) -> str:
        with pytest.raises(StorageError) as caught:
            path.read_bytes()
        assert "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)
        assert READER_SECRET not in str(caught.value)
        return str(caught.value)

    (bucket / "a").put(b"1")
    with connected(monkeypatch, s3_server, key="nobody"):
        assert "access is refused (403 InvalidAccessKeyId); set the credentials" in told(bucket / "a")
    with connected(monkeypatch, s3_server, secret="guess"):
        assert "access is refused (403 SignatureDoesNotMatch)" in told(bucket / "a")
    with connected(monkeypatch, s3_server, READER, READER_SECRET), pytest.raises(StorageError, match="AccessDenied"):
        (bucket / "b").put(b"1")
    with connected(monkeypatch, s3_server):
        missing = place("s3://no-such-bucket/a")
        assert isinstance(missing, ObjectPath)
        assert told(missing) == "s3://no-such-bucket: no such bucket; create it or name another"
    with connected(monkeypatch, "http://127.0.0.1:9"):
        assert "the store cannot be reached; try again later" in told(bucket / "a")
    with FaultProxy(s3_server, lambda *_: "503") as proxy, connected(monkeypatch, proxy.url):
        assert "the store answers with errors (503 SlowDown)" in told(bucket / "a")
    monkeypatch.setattr(object_path, "_SILENCE", "1s")
    with FaultProxy(s3_server, lambda *_: "slow") as proxy, connected(monkeypatch, proxy.url):
        assert "the store does not answer" in told(bucket / "a")


def test_a_store_that_never_answers_is_given_up_once(
    bucket: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What obstore has tried for as long as patience lasts is not begun again."""
    monkeypatch.setattr(object_path, "_SILENCE", "1s")
    monkeypatch.setattr(object_path, "PATIENCE", timedelta(seconds=1))
    with FaultProxy(s3_server, lambda *_: "slow") as proxy, connected(monkeypatch, proxy.url):
        with pytest.raises(StorageError, match="the store does not answer"):
            (bucket / "a").put(b"1")
        assert len(proxy.asked) <= 2


def test_a_cache_stays_within_its_bound_and_drops_the_longest_unused(tmp_path: Path) -> None:
    fetched: list[str] = []

    def get(cache: NodeCache, name: str) -> bytes:
        def fetch() -> bytes:
            fetched.append(name)
            return name.encode() * 1000

        return cache.get(name, fetch)

    cache = NodeCache(tmp_path / "cache", 10_000)
    for name in "abcdefg":
        get(cache, name)
        get(cache, "a")
    for name in "hijklmnop":
        get(cache, name)
        get(cache, "a")
        assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 10_000
    assert fetched.count("a") == 1
    get(cache, "b")
    assert fetched.count("b") == 2
