"""The commands of the README on one small dataset, as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from manifests.store.dataset import open_dataset

RECIPE = """
base: tiny
frames: 2
render: {width: 32, height: 32, samples: 2, environment_height: 32, importance_width: 64}
"""


def lightloom(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from lightloom.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(RECIPE)
    done = lightloom("datagen", "run", folder / "set", "--recipe", folder / "small.yaml", "--clips", 3)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 items finished" in done.stdout
    return folder / "set"


def test_the_dataset_is_whole_and_complete(dataset):
    done = lightloom("data", "verify", dataset, "--level", "decode")
    assert done.returncode == 0, done.stdout
    assert "whole; 1 shards, 3 clips" in done.stdout
    assert "complete" in lightloom("datagen", "status", dataset).stdout


def test_going_on_with_a_complete_dataset_does_nothing(dataset):
    shard = dataset / "shards" / "000000.tar"
    before = shard.stat().st_mtime_ns
    assert lightloom("datagen", "run", dataset).returncode == 0
    assert shard.stat().st_mtime_ns == before


def test_describing_it(dataset):
    assert "clips      3 of 3 items, 6 frames" in lightloom("data", "stats", dataset).stdout
    assert lightloom("data", "attribution", dataset).returncode == 0
    assert "Assets in" in (dataset / "ATTRIBUTION.md").read_text()
    assert lightloom("data", "report", dataset).returncode == 0
    assert "<video" in (dataset / "report.html").read_text()
    assert lightloom("data", "verify", dataset).returncode == 0


def test_a_spec_taken_from_a_clip_renders_the_same_depth(dataset, tmp_path):
    opened = open_dataset(dataset)
    row = opened.rows()[1]
    files = opened.files(row)
    (tmp_path / "spec.json").write_bytes(files["spec.json"])
    done = lightloom(
        *("datagen", "render", "--spec", tmp_path / "spec.json", "--out", tmp_path / "again", "--codec", "compact")
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / f"{row.key}.depth.mkv").read_bytes() == files["depth.mkv"]
    assert (tmp_path / "again" / f"{row.key}.png").exists()


def test_damage_is_found_repaired_and_made_again(dataset):
    shard = dataset / "shards" / "000000.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    found = lightloom("data", "verify", dataset)
    assert found.returncode == 1
    assert "lightloom data repair" in found.stdout
    mended = lightloom("data", "repair", dataset)
    assert mended.returncode == 0
    assert "2 clips kept, 1 items to make again" in mended.stdout
    assert lightloom("datagen", "run", dataset).returncode == 0
    assert lightloom("data", "verify", dataset).returncode == 0
