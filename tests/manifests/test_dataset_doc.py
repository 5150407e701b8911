"""The programs of docs/dataset.md run as printed, with nothing of ours."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.contract.row import ClipRow
from tests.manifests.clips import clip_sample, make_dataset

PAGE = Path(__file__).parents[2] / "docs" / "dataset.md"
BLOCK = "import sys\nfor name in ('manifests', 'lightloom', 'bpy', 'torch', 'ray'):\n    sys.modules[name] = None\n"


def programs() -> dict[str, str]:
    found = re.findall(r"## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doc")
    make_dataset(
        folder / "dataset", failed=[1], sample=lambda s, n: clip_sample(s, n, codec="compact"), items=4, codec="compact"
    )
    return folder


def run(folder: Path, title: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + programs()[title]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_a_program_for_each_way_to_read() -> None:
    assert len(programs()) == 3


def test_webdataset_reads_every_clip_in_order(folder: Path) -> None:
    lines = run(folder, "Read clips with webdataset").splitlines()
    assert [line.split(" [")[0] for line in lines] == [f"{scene:08d}-00 3 (32, 32, 3)" for scene in (0, 2, 3)]


def test_duckdb_counts_the_rows(folder: Path) -> None:
    text = run(folder, "Ask the manifest with duckdb")
    assert re.search(r"train\s*│\s*1 │", text) and re.search(r"corrupt-asset\s*│\s*1 │", text)


def test_byte_range_is_a_whole_tar(folder: Path) -> None:
    text = run(folder, "Fetch one clip by its byte range")
    assert text.startswith("00000000-00 ['00000000-00.basecolor.mp4'") and "00000000-00.row.json" in text


def test_page_names_every_field_of_a_row() -> None:
    text = PAGE.read_text()
    assert [name for name in ClipRow.__struct_fields__ if f"`{name}`" not in text] == []
