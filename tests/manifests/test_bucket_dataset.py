"""Datasets in a bucket and behind a server: read, checked, copied and looked at as in a folder."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from manifests import object_lease
from manifests.audit.attribution import attribution
from manifests.audit.copying import copy
from manifests.audit.merge import merge
from manifests.audit.repair import repair
from manifests.audit.stats import stats
from manifests.audit.verify import verify
from manifests.contract.row import Sample
from manifests.errors import DatasetError, StorageError
from manifests.object_path import ObjectPath
from manifests.report.dataset_page import page, write_report
from manifests.store.dataset import open_dataset
from manifests.store.shards import put_manifest
from tests.manifests.clips import clip_sample, make_dataset, raw_sample
from tests.object_store import READER, READER_SECRET, FaultProxy, connected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set"
    make_dataset(path, failed=[4], sample=functools.partial(clip_sample, size=16, codec="exact"))
    open_dataset(path).finish()
    return path


@pytest.fixture
def stored(folder: Path, bucket: ObjectPath) -> ObjectPath:
    copy(folder, bucket / "set")
    return bucket / "set"


def _files(folder: Path) -> dict[str, bytes]:
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if name != ".lock"}


def test_a_copy_there_and_back_is_the_dataset(folder: Path, stored: ObjectPath, tmp_path: Path) -> None:
    copy(stored, tmp_path / "back")
    assert _files(tmp_path / "back") == _files(folder)
    assert not (stored / ".lock").exists()


def test_all_that_reads_a_dataset_reads_it_there(folder: Path, stored: ObjectPath, tmp_path: Path) -> None:
    there, here = open_dataset(str(stored)), open_dataset(folder)
    assert there.rows() == here.rows()
    assert there.failures() == here.failures()
    assert there.measure() == here.measure()
    row = here.rows()[1]
    assert there.files(row) == here.files(row)
    counted, expected = stats(stored).json(), stats(folder).json()
    assert counted == expected.replace(str(folder), str(stored))
    assert attribution(stored).credits == attribution(folder).credits
    assert page(there, 1) == page(here, 1)
    assert verify(stored, "decode") == verify(folder, "decode")
    assert write_report(there, clips=1) == stored / "report.html"
    assert attribution(stored).write(stored)[1].is_file()
    assert verify(stored, "quick").ok


def test_damage_there_is_found_named_and_mended(folder: Path, stored: ObjectPath, bucket: ObjectPath) -> None:
    row = open_dataset(folder).rows()[0]
    tar = stored / "shards" / f"{row.shard:06d}.tar"
    data = bytearray(tar.read_bytes())
    data[row.offset + 600] ^= 255
    tar.put(bytes(data))
    (stored / "notes.txt").put(b"mine")
    with pytest.raises(DatasetError, match=f"clip {row.key} was changed"):
        open_dataset(stored).files(row)
    with pytest.raises(DatasetError, match=f"{row.key} was changed"):
        copy(stored, bucket / "second")
    assert not (bucket / "second" / "manifest" / f"{row.shard:06d}.parquet").is_file()
    found = verify(stored).findings
    assert {finding.key for finding in found if finding.kind == "damaged"} == {row.key}
    assert [finding.path for finding in found if finding.kind == "foreign"] == ["notes.txt"]
    mended = repair(stored)
    assert mended.quarantined == ("notes.txt",)
    assert mended.requeued == (row.shard,)
    assert verify(stored).ok


def test_a_stopped_copy_goes_on_and_counts_only_what_is_whole(
    folder: Path, bucket: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()

    def until_the_second_manifest(method: str, path: str) -> str | None:
        if method == "PUT" and path.endswith("manifest/000001.parquet"):
            refused.set()
        return "500" if refused.is_set() else None

    monkeypatch.setattr("manifests.object_path.TRIES", 1)
    with (
        FaultProxy(s3_server, until_the_second_manifest) as proxy,
        connected(monkeypatch, proxy.url),
        pytest.raises(StorageError, match="answers with errors"),
    ):
        copy(folder, bucket, threads=1)
    with connected(monkeypatch, s3_server):
        (bucket / ".lock").unlink(missing_ok=True)  # it died with the network
        assert open_dataset(bucket).shards() == [0]
    with FaultProxy(s3_server, lambda *_: None) as proxy, connected(monkeypatch, proxy.url):
        copy(folder, bucket)
        sent = [path for method, path in proxy.asked if method == "PUT" and "/shards/" in path]
    with connected(monkeypatch, s3_server):
        assert sent
        assert not any("000000" in path for path in sent)
        assert verify(bucket).ok


def test_a_stale_listing_harms_nothing(
    folder: Path, bucket: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes on to say what it said when the dataset was empty: readers see less, writers change nothing."""
    with (
        FaultProxy(s3_server, lambda _, path: "stale" if "list-type" in path else None) as proxy,
        connected(monkeypatch, proxy.url),
    ):
        copy(folder, bucket)
        assert open_dataset(bucket).rows() == []
        copy(folder, bucket)
        manifest = bucket / "manifest" / "000000.parquet"
        with pytest.raises(DatasetError, match="another run has committed this shard"):
            put_manifest(manifest, b"of another run")
    with connected(monkeypatch, s3_server):
        assert verify(bucket, "decode").findings == verify(folder, "decode").findings


def test_another_dataset_is_not_overwritten(stored: ObjectPath, tmp_path: Path) -> None:
    make_dataset(tmp_path / "other", seed=5)
    with pytest.raises(DatasetError, match="seed"):
        copy(tmp_path / "other", stored)


def _other_scenes(scene: int, light: int) -> Sample:
    plain = raw_sample(scene, light)
    row = msgspec.structs.replace(plain.row, seed=5, spec_digest=f"{5:032x}{scene:032x}")
    return Sample(plain.key, plain.files, row)


def test_datasets_are_merged_there(folder: Path, stored: ObjectPath, bucket: ObjectPath, tmp_path: Path) -> None:
    make_dataset(tmp_path / "other", sample=_other_scenes, seed=5)
    total = merge([stored, tmp_path / "other"], bucket / "both")
    assert total.clips == 7 + len(open_dataset(folder).rows())
    assert verify(bucket / "both").ok


def test_one_writer_at_a_time_by_name(stored: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lease, "RENEW_S", 0.3)
    with open_dataset(stored).lock() as lease:
        with pytest.raises(DatasetError, match=r"another process is writing here \(process \d+ on .*, by .*, since"):
            open_dataset(stored).lock().__enter__()
        lease.check()
    with open_dataset(stored).lock():
        pass


def test_the_lease_of_a_killed_writer_runs_out(stored: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, os\nfrom manifests.store.dataset import open_dataset\n"
    code += "open_dataset(sys.argv[1]).lock().__enter__()\nos._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(stored)], check=False, timeout=60)
    assert (stored / ".lock").is_file()
    monkeypatch.setattr(object_lease, "LEASE_S", 2.0)
    began = time.monotonic()
    with open_dataset(stored).lock():
        assert time.monotonic() - began >= 2


def test_a_writer_whose_lease_was_taken_over_stops(stored: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lease, "RENEW_S", 0.2)
    with open_dataset(stored).lock() as lease:
        (stored / ".lock").put(b'{"holder":"somebody else","token":"","renewal":0}')
        time.sleep(1)
        with pytest.raises(StorageError, match="no longer holds the dataset"):
            lease.check()
    assert (stored / ".lock").is_file(), "that of somebody else"


def test_who_may_only_read_is_told_so(stored: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(monkeypatch, s3_server, READER, READER_SECRET):
        assert verify(stored).ok
        with pytest.raises(StorageError, match="access is refused"):
            repair(stored)


class _Repository(http.server.BaseHTTPRequestHandler):
    """As the hub answers: what is under /resolve/ is elsewhere, and ranges are given there."""

    root: Path

    def do_GET(self) -> None:
        _, _, name = self.path.partition("/resolve/v1/")
        if name:
            self.send_response(302)
            self.send_header("Location", f"/files/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        file = self.root / self.path.removeprefix("/files/")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        asked = self.headers.get("Range")
        self.send_response(206 if asked else 200)
        if asked:
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            last = min(last, len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    handler = type("Handler", (_Repository,), {"root": folder})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_repository_and_a_plain_server_are_read_without_lists(
    folder: Path, web: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web)
    monkeypatch.setenv("HF_TOKEN", "hf_never_shown")
    for url in ("hf://datasets/lab/scenes@v1", f"{web}/files"):
        dataset = open_dataset(url)
        assert dataset.rows() == open_dataset(folder).rows()
        assert dataset.files(dataset.rows()[0]) == open_dataset(folder).files(dataset.rows()[0])
        assert verify(url).ok
        assert stats(url).clips == stats(folder).clips
        with pytest.raises(DatasetError, match="can only be read"):
            copy(folder, f"{url}/new")
    copy("hf://datasets/lab/scenes@v1", tmp_path / "copy")
    assert _files(tmp_path / "copy") == _files(folder)
    with pytest.raises(DatasetError, match=r"no dataset\.json here"):
        open_dataset("hf://datasets/lab/scenes@v2")
