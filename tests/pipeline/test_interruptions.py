from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from drivers import Driver, wait_until
from toy_stage import ToyStage, content, expected, toy_dataset

from manifests.errors import DiskFull
from manifests.files import is_temporary
from manifests.object_path import Place
from manifests.store import layout
from pipeline.engine import run
from pipeline.options import RunOptions

HERE = Path(__file__).parent
ITEMS = 40
OPTIONS = {"workers": 2, "cpus_per_worker": 1, "show_progress": False}

pytestmark = pytest.mark.ray


def drive(path: Place, stage: ToyStage, environment: dict[str, str] | None = None, **options: object) -> Driver:
    shape = {**asdict(stage), "notes": None}
    command = [sys.executable, str(HERE / "drive_toy.py"), str(path), json.dumps(shape), json.dumps(OPTIONS | options)]
    return Driver(command, environment)


def done(path: Place, per_shard: int = 4) -> int:
    """Items finished so far."""
    work = len(list((path / layout.WORK).glob("*.tar")))
    return work + per_shard * len(list((path / layout.MANIFEST).glob("*.parquet")))


def finish(path: Path, stage: ToyStage, options: RunOptions) -> None:
    dataset = toy_dataset(path, stage)
    assert run(dataset, stage, options).complete
    assert content(dataset) == expected(stage.items)
    assert dataset.failures() == []
    assert not [file for file in path.rglob("*") if is_temporary(file)]


@pytest.mark.parametrize(
    "number, everyone", [(signal.SIGINT, True), pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_process(
    tmp_path: Path, quick: RunOptions, number: int, everyone: bool
) -> None:
    stage = ToyStage(items=ITEMS, per_shard=4, seconds=0.2)
    with drive(tmp_path, stage) as first:
        wait_until(lambda: done(tmp_path) >= 6)
        first.interrupt(number, everyone)
        assert first.wait() == 1
        last = first.output().strip().splitlines()[-1]
        assert last.startswith(f"error: {tmp_path}: stopped with ") and "the same command goes on from there" in last
        wait_until(lambda: not first.family(), 30)
    before = done(tmp_path)
    assert 6 <= before < ITEMS
    finish(tmp_path, stage, quick)


@pytest.mark.parametrize(
    "kind",
    ["driver", "raylet", pytest.param("worker", marks=pytest.mark.slow), pytest.param("gcs", marks=pytest.mark.slow)],
)
def test_a_second_start_finishes_after_a_kill(tmp_path: Path, quick: RunOptions, kind: str) -> None:
    stage = ToyStage(items=ITEMS, per_shard=4, seconds=0.1)
    with drive(tmp_path, stage) as first:
        wait_until(lambda: done(tmp_path) >= 6)
        assert first.kill(kind)
        code = first.wait()
        assert code == {"driver": -signal.SIGKILL, "worker": 0, "raylet": 1, "gcs": 1}[kind], first.output()
        if code == 1:
            assert first.output().strip().splitlines()[-1].startswith(f"error: {tmp_path}: Ray stopped working")
        if kind != "driver":  # its daemons notice its death in their own time
            wait_until(lambda: not first.family(), 30)
    finish(tmp_path, stage, quick)


def test_a_worker_that_is_killed_while_it_encodes_several_items_loses_none(tmp_path: Path) -> None:
    stage = ToyStage(items=12, per_shard=4, encode_seconds=0.3)
    with drive(tmp_path, stage, workers=1, cpus_per_worker=2) as only:
        wait_until(lambda: done(tmp_path) >= 3)
        assert only.kill("worker")
        assert only.wait() == 0, only.output()
    dataset = toy_dataset(tmp_path, stage)
    assert content(dataset) == expected(12) and dataset.failures() == []
    assert max(row.attempts for row in dataset.rows()) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_once_there_is_room(
    small_disk: Path, quick: RunOptions
) -> None:
    stage = ToyStage(items=16, per_shard=4, clip_bytes=120_000)
    ballast = small_disk / "ballast"
    ballast.write_bytes(os.urandom(3 << 20))
    dataset = toy_dataset(small_disk / "set", stage)
    with pytest.raises(DiskFull, match="no space left on the disk; make room and run the same command again") as caught:
        run(dataset, stage, quick)
    assert str(small_disk) in str(caught.value) and "\n" not in str(caught.value)
    ballast.unlink()
    assert run(dataset, stage, quick).complete
    assert len(dataset.rows()) == 16 and dataset.failures() == []


def test_a_disk_that_can_only_be_read_is_one_line(small_disk: Path) -> None:
    stage = ToyStage(items=2, per_shard=2)
    dataset = toy_dataset(small_disk / "set", stage)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DiskFull, match="the disk can only be read; give another folder"):
        run(dataset, stage)
    with pytest.raises(DiskFull, match="the disk can only be read; give another folder"):
        toy_dataset(small_disk / "other", stage)


@pytest.mark.slow
def test_a_run_uses_an_existing_cluster_and_leaves_it_running(tmp_path: Path) -> None:
    stage = ToyStage(items=6, per_shard=4)
    shared = {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(HERE)}
    with Driver([sys.executable, str(HERE / "hold_ray.py")], shared) as cluster:
        wait_until(lambda: ":" in cluster.output().splitlines()[-1:][0] if cluster.output() else False)
        address = cluster.output().splitlines()[-1].strip()
        with drive(tmp_path, stage, shared, ray_address=address) as driver:
            assert driver.wait() == 0, driver.output()
        assert cluster.running
    assert content(toy_dataset(tmp_path, stage)) == expected(6)


def test_an_address_without_a_cluster_is_one_line(tmp_path: Path) -> None:
    with drive(tmp_path, ToyStage(items=1, per_shard=1), ray_address="127.0.0.1:1") as driver:
        assert driver.wait() == 1
        assert driver.output().strip().splitlines()[-1].startswith("error: no Ray cluster at 127.0.0.1:1")
