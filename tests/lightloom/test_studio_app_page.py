"""`lightloom studio` as it is served: what its file route gives away, and a visit in a real browser."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editing.film import open_video, steady
from tests.drivers import Driver
from tests.lightloom.torchlines import TINY

pytest.importorskip("gradio", reason="the extra `studio` is not installed")

HEAD = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
os.chdir(sys.argv[1])
"""
FLOOR = """
inverse = InverseRenderer.from_pretrained("inverse")
with torch.no_grad():
    inverse.components["unet"].unet.head.bias[7] = 3.0  # normals point up: an object can stand anywhere
inverse.save_pretrained("inverse")
"""
SERVER = """
from lightloom.cli import run
from tests.datagen.meshfiles import GltfFile
from tests.labeling.footage import encode, shot
folder = Path.cwd()
encode(folder / "pan.mp4", shot(1, 4, 32, 48), rate=8)
encode(folder / "long.mp4", shot(1, 9, 32, 32), rate=8)
GltfFile({"name": "paint", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.05, 1.0]}}).glb(folder / "box.glb")
(folder / "secret.txt").write_text("secret")
weights = ["--inverse", str(folder / "inverse"), "--forward", str(folder / "forward"), "--device", "cpu"]
limits = ["--frames", "8", "--megabytes", "1"]
sys.exit(run(["studio", "--port", sys.argv[2], "--work", str(folder / "work"), *limits, *weights]))
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask for a path as it is, dots and all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return found

    def upload(self, name: str, data: bytes) -> tuple[int, bytes]:
        body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n--x--\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        return self.ask("/gradio_api/upload", "POST", body % (name.encode(), data), **kind)[:2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", HEAD + TINY + FLOOR + SERVER, str(folder), str(port)]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    with Driver(command, paths) as driver:
        deadline = time.monotonic() + 300
        while "studio  " not in driver.output():
            assert driver.running, driver.output()
            assert time.monotonic() < deadline, driver.output()
            time.sleep(0.2)
        yield Server(folder, port)


def test_only_this_machine_is_served(server):
    with socket.socket() as other, pytest.raises(OSError, match=r"."):
        other.settimeout(5)
        other.connect((own_address(), server.port))
    assert server.ask("/")[0] == 200


def own_address() -> str:
    """An address of this machine that is not the loopback's; where there is none, one that nothing serves."""
    found = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return next((str(address) for address in found if not str(address).startswith("127.")), "127.0.0.2")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/{work}/../secret.txt",
        "{work}/../secret.txt",
        "{work}/%2e%2e/secret.txt",
        "{work}/..%2fsecret.txt",
        "{work}/%2e%2e%2fsecret.txt",
        "{folder}/secret.txt",
        "{folder}/inverse/model_index.json",
        "../secret.txt",
        "../../../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "secret.txt",
        "./secret.txt",
        "{work}/link",
        "file:///etc/passwd",
        "http://127.0.0.1:{port}/config",
        "https://127.0.0.1/",
    ],
)
def test_no_file_outside_of_the_work_folder_is_readable(server, path):
    link = server.folder / "work" / "link"
    if not link.is_symlink():
        link.symlink_to(server.folder / "secret.txt")
    asked = path.format(work=server.folder / "work", folder=server.folder, port=server.port)
    for route in ("/gradio_api/file=", "/file=", "/gradio_api/proxy=", "/static/", "/gradio_api/", "/"):
        status, body, _ = server.ask(route + asked)
        page = b"<!doctype html" in body[:200].lower()  # what any unknown address of the app shows
        assert status >= 300 or page, route
        assert body != b"secret"
        assert b"root:" not in body


def test_an_upload_is_readable_and_given_as_a_download(server):
    status, answer = server.upload("page.html", b"<script>alert(1)</script>")
    assert status == 200
    (path,) = json.loads(answer)
    assert Path(path).is_relative_to(server.folder / "work")
    status, body, headers = server.ask(f"/gradio_api/file={path}")
    assert (status, body) == (200, b"<script>alert(1)</script>")
    assert headers["content-disposition"].startswith("attachment")


def test_names_of_uploads_stay_in_the_work_folder(server):
    status, answer = server.upload("../../../escaped.mp4", b"x")
    assert status == 200
    assert Path(json.loads(answer)[0]).resolve().is_relative_to(server.folder / "work")


def test_uploads_are_bounded(server):
    before = sum(path.stat().st_size for path in (server.folder / "work").rglob("*") if path.is_file())
    assert server.upload("large.mp4", bytes(3 << 20))[0] == 413
    after = sum(path.stat().st_size for path in (server.folder / "work").rglob("*") if path.is_file())
    assert after - before < 1 << 20


def test_requests_of_other_sites_and_for_other_names_are_refused(server):
    here = f"127.0.0.1:{server.port}"
    assert server.ask("/config", Host=here, Origin=f"http://{here}")[0] == 200
    assert server.ask("/config", Host=here, Origin="https://example.org")[0] == 403
    assert server.ask("/config", Host=here, Origin="null")[0] == 403
    assert server.ask("/config", Host=f"example.org:{server.port}")[0] == 403


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/secret.txt", "http://127.0.0.1:{port}/config"])
def test_a_file_that_was_not_uploaded_is_no_clip(server, path):
    """What a page of ours would never send: the path of a file of the server as an upload."""
    config = json.loads(server.ask("/config")[1])
    upload = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "upload")
    number = next(part["id"] for part in config["dependencies"] if [upload, "upload"] in part["targets"])
    asked = path.format(folder=server.folder, port=server.port)
    file = {"path": asked, "orig_name": "a.mp4", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file, None], "fn_index": number, "session_hash": "stranger", "event_data": None}
    head = {"Content-Type": "application/json"}
    status, answer, _ = server.ask("/gradio_api/queue/join", "POST", json.dumps(body).encode(), **head)
    assert status == 200, answer
    events = server.ask("/gradio_api/queue/data?session_hash=stranger")[1].decode()
    done = [json.loads(line.removeprefix("data: ")) for line in events.splitlines() if "process_completed" in line]
    assert [event["success"] for event in done] == [False]
    assert "root:" not in events
    assert not list((server.folder / "work").glob("project-*"))


@pytest.fixture
def page(server: Server) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        visit = running.new_page(viewport={"width": 1600, "height": 1000}, accept_downloads=True)
        visit.set_default_timeout(120_000)
        yield visit
        running.close()


def test_a_visit_from_upload_to_download(server, page, tmp_path):
    """Open a clip, relight it, give a material to what is clicked, drop an object, and take the results home."""
    elsewhere: list[str] = []
    page.on("request", lambda asked: elsewhere.append(asked.url) if foreign(asked.url, server.port) else None)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.set_input_files("#upload input[type=file]", server.folder / "long.mp4")
    page.get_by_text("long.mp4: 9 frames, at most 8 are taken").wait_for()
    page.get_by_label("Close").first.click()
    page.locator("#upload").get_by_label("Remove this file").or_(
        page.locator("#upload").get_by_label("Clear")
    ).first.click()
    page.set_input_files("#upload input[type=file]", server.folder / "pan.mp4")
    page.locator("#canvas img").wait_for()
    page.get_by_text("pan.mp4 · 48 x 32 · 4 frames at 8/s").wait_for()

    page.locator("#lights button.thumbnail-item").nth(2).click()
    page.fill("#facing input[type=number]", "90")
    click_until(page, "#try", "relit by moonless_golf · the first frame")
    page.locator("#compare img").first.wait_for()

    page.get_by_role("tab", name="Material").click()
    page.get_by_role("tab", name="Picture").click()
    click_the_picture(page)
    page.get_by_label("adds", exact=True).focus()  # choices can be made without a mouse
    page.keyboard.press("Space")
    click_the_picture(page, across=0.3)
    page.get_by_label("takes away", exact=True).check()
    click_the_picture(page, across=0.9)
    page.get_by_label("Start from").click()
    page.get_by_role("option", name="red lacquer").click()
    page.click("#render")
    page.get_by_text("with basecolor #a01515").wait_for()
    with page.expect_download() as taken:
        page.locator("#files a").first.click()
    taken.value.save_as(tmp_path / "edited.mp4")
    before, after = frames(server.folder / "pan.mp4"), frames(tmp_path / "edited.mp4")
    assert after.shape == before.shape
    change = np.abs(after - before).max(axis=-1)
    assert (change > 40).mean() > 0.02
    page.click("#onward")
    page.get_by_text(re.compile(r"pan-edited-\d+\.mp4 · 48 x 32 · 4 frames")).wait_for()  # each click counts one up

    page.get_by_role("tab", name="Object").click()
    page.set_input_files("#asset input[type=file]", server.folder / "box.glb")
    page.locator("#asset").get_by_text("box").first.wait_for()
    click_the_picture(page)
    page.click("#try")
    page.get_by_text("box.glb at (").wait_for()
    drag_the_picture(page, 0.5, 0.3)
    page.screenshot(path=tmp_path / "studio.png")
    page.get_by_role("tab", name="G-buffers").click()
    page.locator("#maps img").nth(4).wait_for()
    assert elsewhere == []


def click_until(page: Any, button: str, words: str) -> None:
    """Click, again if need be: on a busy machine a click can overtake the choice that was made before it."""
    shown = page.get_by_text(words)
    for _ in range(4):
        page.click(button)
        for _ in range(60):
            page.wait_for_timeout(500)
            if shown.is_visible():
                return
    shown.wait_for()


def click_the_picture(page: Any, across: float = 0.5) -> None:
    """Click it half way down, and wait until it shows that."""
    shown = page.locator("#canvas img")
    plain, box = shown.get_attribute("src"), shown.bounding_box()
    page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] / 2)
    page.wait_for_function("plain => document.querySelector('#canvas img').src != plain", arg=plain)


def drag_the_picture(page: Any, begin: float, end: float) -> None:
    """Drag what stands half way down to the side: a mark follows, and it is rendered again where it is let go."""
    told, box = page.locator("#told p"), page.locator("#canvas img").bounding_box()
    before, height = told.inner_text(), box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * begin, height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, height, steps=4)
    mark = page.locator("#mark").bounding_box()
    assert mark["x"] + mark["width"] / 2 == pytest.approx(box["x"] + box["width"] * end, abs=3)
    page.mouse.up()
    assert not page.locator("#mark").is_visible()
    moved = "before => document.querySelector('#told p').innerText !== before"
    page.wait_for_function(moved, arg=before)
    across = [float(re.search(r"at \(\S+, (\S+),", text)[1]) for text in (before, told.inner_text())]
    before = told.inner_text()
    assert across[1] > across[0] + 0.01  # to the left of a camera that looks along x
    page.keyboard.press("ArrowRight")
    page.wait_for_function(moved, arg=before)


def foreign(url: str, port: int) -> bool:
    return not url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:"))


def frames(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.stack([frame for frame, _ in steady(reader)]).astype(int)
