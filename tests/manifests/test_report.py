"""The report is one page that needs nothing else, shows what is there, and runs no text from the dataset."""

import base64
import hashlib
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from manifests.contract.row import AssetUse, Sample
from manifests.display import pictures
from manifests.report import write_report
from manifests.report.charts import bars, histogram, value_histogram
from manifests.report.grids import clip_grid
from manifests.report.templates import number
from manifests.store.dataset import Dataset
from tests.manifests.clips import clip_sample, make_dataset, raw_sample, sphere_clip

EVIL = "<script>alert(1)</script>\"'$name"


def sample(scene: int, light: int) -> Sample:
    plain = clip_sample(scene, light)
    asset = AssetUse(uid=EVIL, kind="mesh", source=EVIL, licence="CC-BY-NC-4.0", author=EVIL)
    row = msgspec.structs.replace(
        plain.row, assets=(*plain.row.assets, asset), flags=(EVIL,), codec_errors={"rgb.psnr_db": 44.0 + scene}
    )
    return replace(plain, row=row)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("report") / "d", failed=[4], sample=sample)


@pytest.fixture(scope="module")
def html(dataset: Dataset) -> str:
    path = write_report(dataset)
    assert path == dataset.path / "report.html"
    return path.read_text()


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        if self.open not in {"script", "style"}:
            self.text += data + "\n"


def test_page_requests_nothing(html: str) -> None:
    tags = Tags(html).tags
    links = [value for _, attrs in tags for name, value in attrs.items() if name in {"src", "href", "poster", "srcset"}]
    assert links and all((link or "").startswith("data:") for link in links)
    assert not re.search(r"@import|url\(|https?:(?!//example\.org)", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    (policy,) = [attrs["content"] for tag, attrs in tags if tag == "meta" and "http-equiv" in attrs]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; media-src data:;")


def test_only_the_pages_own_script_may_run(html: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1 and f"script-src 'sha256-{digest}'" in html
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html


def test_page_holds_the_numbers(html: str) -> None:
    text = Tags(html).text
    for words in ("6\nclips", "18\nframes", "1\nfailed scenes", "corrupt-asset", "mesh of scene 4 is cut", "CC-BY-4.0"):
        assert words in text, words
    for title in ("Motions", "Lights", "Meshes", "Materials", "Depth", "Roughness", "Metallic", "Brightness"):
        assert title in text
    assert "Render time per clip" in text and "forbids commercial use" in text
    assert re.search(r"rgb\.psnr_db\n46\.83\n44\n", text)


def videos(html: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r'src="data:video/mp4;base64,([^"]+)"', html)]


def test_every_scene_plays_and_frames_match_the_clip(html: str) -> None:
    clips = videos(html)
    assert len(clips) == 6
    with av.open(io.BytesIO(clips[1])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(stream)]
    clip = sphere_clip("00000001-00", seed=1)
    assert len(frames) == 3
    side, gap = 288, 4
    for place, name in enumerate(("rgb", "basecolor", "normal", "depth", "roughness", "metallic")):
        top, left = place // 3 * (side + gap), place % 3 * (side + gap)
        tile = frames[2][top : top + side, left : left + side][4::9, 4::9]
        assert np.abs(tile - pictures(clip, name)[2]).mean() < 4, name


def test_wide_and_large_clips_are_scaled_evenly() -> None:
    wide = sphere_clip("a", size=40)
    arrays = {name: array[:, :20] for name, array in wide.arrays.items()}
    laid = clip_grid(replace(wide, arrays=arrays))
    assert (laid.width, laid.height) == (3 * 280 + 8, 2 * 140 + 4)
    large = clip_grid(sphere_clip("a", frames=1, size=320))
    assert (large.width, large.height) == (3 * 288 + 8, 2 * 288 + 4)
    assert Image.open(io.BytesIO(large.poster)).size == (large.width, large.height)


def test_number_of_clips_is_bounded_and_spread(dataset: Dataset, tmp_path: Path) -> None:
    text = Tags(write_report(dataset.path, tmp_path / "r.html", clips=2).read_text()).text
    assert "00000000-00" in text and "00000006-00" in text and "00000003-00" not in text


def test_clips_that_cannot_be_decoded_and_datasets_without_shards_still_make_a_page(tmp_path: Path) -> None:
    broken = write_report(make_dataset(tmp_path / "a", sample=raw_sample)).read_text()
    assert "Not shown:" in broken and not videos(broken)
    empty = write_report(make_dataset(tmp_path / "b", shards=[])).read_text()
    assert "No shard is committed yet" in empty and "Nothing failed" in empty


def test_histogram_bars_are_in_proportion() -> None:
    drawn = histogram([0.5, 0.25, 0.0, 0.25], [(0.0, "0"), (1.0, "1")], list("abcd"))
    heights = [float(value) for value in re.findall(r'class="bar"[^>]* height="([\d.]+)"', drawn)]
    assert heights == [100.0, 50.0, 0.0, 50.0] and "<title>a: 50.0 %</title>" in drawn


def test_value_histogram_ticks_are_round_and_wide_ranges_logarithmic() -> None:
    assert re.findall(r"<text[^>]*>([^<]+)<", value_histogram(np.array([0.0, 7.9, 3.0]), "s")) == ["0", "2", "4", "6"]
    assert re.findall(r"<text[^>]*>([^<]+)<", value_histogram(np.array([1.0, 10.0, 1000.0]), "")) == [
        "1", "10", "100", "1,000",
    ]  # fmt: skip
    assert "<svg" in value_histogram(np.zeros(3), "s")


def test_bars_fold_what_is_too_much_and_escape_names() -> None:
    drawn = bars({"<b>": 3.0} | {f"n{index}": 1.0 for index in range(5)}, most=3)
    assert "&lt;b&gt;" in drawn and "3 more" in drawn and drawn.count("<li") == 4


@pytest.mark.parametrize(("value", "text"), [(1234567, "1,234,567"), (0.05123, "0.0512"), (4321.5, "4,322"), (0, "0")])
def test_numbers_are_readable(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_browser_decodes_the_videos(dataset: Dataset, html: str, tmp_path: Path) -> None:
    switches = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000",
    ]  # fmt: skip
    command = ["chromium", *switches, "--dump-dom", (dataset.path / "report.html").as_uri()]
    states: list[str] = []
    for _ in range(5):  # the browser's clock runs ahead of its decoders, so on a busy machine some are late
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        states = re.findall(r'data-state="(\w+)"', done.stdout)
        if len(states) == 6:
            break
    assert states == ["ready"] * 6
