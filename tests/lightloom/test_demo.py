"""The demo: its stage runner on small programs, its sizes, what it chooses to edit, and (slow) the whole chain."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import psutil
import pytest

from lightloom.demo.demo_commands import Chain
from lightloom.demo.demo_film import choose
from lightloom.demo.demo_page import times
from lightloom.demo.sizes import PRESETS, load_sizes
from lightloom.stages import FOLDER, Record, StageCommand, run_stages
from manifests.contract.clip import Clip
from manifests.errors import RunError
from tests.drivers import Driver, wait_until

PROGRAM = """
import pathlib, sys, time
folder, name, seconds = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
try:
    with (folder / "log").open("a") as log:
        log.write(f"{name} started\\n")
    time.sleep(seconds)
except KeyboardInterrupt:
    with (folder / "log").open("a") as log:
        log.write(f"{name} stopped\\n")
    sys.exit(1)
sys.exit((folder / f"{name}.broken").exists() and 3)
"""
DRIVER = """
import pathlib, sys
from lightloom.stages import StageCommand, run_stages
folder, program = pathlib.Path(sys.argv[1]), (sys.executable, "-c", sys.argv[2])
stages = [StageCommand("long", "Wait", lambda: [str(folder), "long", "60"])]
run_stages(folder, stages, program=program)
"""
MICRO = """
base: default
dataset:
  clips: 6
  recipe: {frames: 2, render: {width: 32, height: 32, samples: 2, environment_height: 32, importance_width: 64}}
footage:
  clips: 2
  recipe: {frames: 6, render: {width: 32, height: 32, samples: 2, environment_height: 32, importance_width: 64}}
side: 32
labels: {length: 6}
training: {base: debug, keep: {log: 1, pictures: 3, checkpoint: 3}}
benchmark:
  scenes: {clips: 2, recipe: {frames: 2, lights: {per_scene: 2}, render: {width: 32, height: 32, samples: 2}}}
  turns: {clips: 1, recipe: {frames: 2, render: {width: 32, height: 32, samples: 2}}}
"""


def stages(folder: Path, *names: str, seconds: float = 0) -> list[StageCommand]:
    return [StageCommand(name, f"Do {name}", lambda name=name: [str(folder), name, str(seconds)]) for name in names]


def run(folder: Path, *names: str) -> tuple[list[Record], list[str]]:
    said: list[str] = []
    return run_stages(folder, stages(folder, *names), said.append, (sys.executable, "-c", PROGRAM)), said


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def test_a_finished_stage_is_skipped_with_a_line(tmp_path: Path) -> None:
    first, said = run(tmp_path, "one", "two")
    assert [record.done for record in first] == [True, True] and first[0].seconds > 0
    assert first[0].line == f"lightloom {tmp_path} one 0" and said[0] == f"[1/2] Do one\n      $ {first[0].line}"
    again, said = run(tmp_path, "one", "two", "three")
    assert log(tmp_path) == ["one started", "two started", "three started"]
    assert said[0].startswith("[1/3] Do one: done before") and again[:2] == first


def test_a_failed_stage_says_which_and_the_next_run_goes_on_there(tmp_path: Path) -> None:
    (tmp_path / "two.broken").touch()
    with pytest.raises(RunError, match=r"stage two failed \(exit code 3\)"):
        run(tmp_path, "one", "two", "three")
    (tmp_path / "two.broken").unlink()
    records, _ = run(tmp_path, "one", "two", "three")
    assert log(tmp_path) == ["one started", "two started", "two started", "three started"]
    assert [record.starts for record in records] == [1, 2, 1]


def test_after_kill_9_the_stage_that_lives_on_is_stopped_and_started_again(tmp_path: Path) -> None:
    with Driver([sys.executable, "-c", DRIVER, str(tmp_path), PROGRAM]) as driver:
        wait_until(lambda: log(tmp_path) and _process(tmp_path))
        pid = _process(tmp_path)
        driver.kill("driver")
        driver.wait()
        assert psutil.pid_exists(pid)
        said: list[str] = []
        run_stages(tmp_path, stages(tmp_path, "long"), said.append, (sys.executable, "-c", PROGRAM))
        assert log(tmp_path) == ["long started", "long stopped", "long started"]
        assert f"still running since an earlier start (pid {pid})" in said[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_stage_first(tmp_path: Path, number: signal.Signals) -> None:
    with Driver([sys.executable, "-c", DRIVER, str(tmp_path), PROGRAM]) as driver:
        wait_until(lambda: log(tmp_path) and _process(tmp_path))
        driver.interrupt(number, everyone=False)
        assert driver.wait() != 0
        assert log(tmp_path) == ["long started", "long stopped"]
        assert json.loads((tmp_path / FOLDER / "long.json").read_text())["done"] is False


def test_one_demo_a_folder_at_a_time(tmp_path: Path) -> None:
    with Driver([sys.executable, "-c", DRIVER, str(tmp_path), PROGRAM]) as driver:
        wait_until(lambda: log(tmp_path))
        with pytest.raises(RunError, match=f"another demo runs here \\(process {driver.process.pid} on "):
            run(tmp_path, "one")


def test_a_damaged_record_is_one_clear_line(tmp_path: Path) -> None:
    run(tmp_path, "one")
    (tmp_path / FOLDER / "one.json").write_text("{")
    with pytest.raises(RunError, match=r"one.json: cannot be read .*delete it"):
        run(tmp_path, "one")


@pytest.mark.parametrize("preset", PRESETS)
def test_shipped_presets_learn_from_the_training_split_and_film_the_test_split(preset: str, tmp_path: Path) -> None:
    sizes = load_sizes(preset)
    assert (sizes.name, sizes.dataset.recipe["split"], sizes.footage.recipe["split"]) == (preset, "train", "test")
    chain = Chain(tmp_path / "demo", sizes)
    names = [stage.name for stage in chain.stages()]
    assert len(set(names)) == len(names)
    from scenes.recipes import load_recipe
    from training.config import load_config

    chain.prepare()
    assert load_recipe(chain.at("dataset.yaml")).split == "train"
    assert load_recipe(chain.at("footage.yaml")).lights.per_scene == 1
    assert {load_recipe(chain.at(f"{part}.yaml")).split for part in ("scenes", "turns")} == {"test"}
    assert load_config(chain.at("training.yaml"), "inverse").backbone == "tiny"


def test_a_folder_of_other_sizes_is_refused(tmp_path: Path) -> None:
    Chain(tmp_path, load_sizes("default")).prepare()
    Chain(tmp_path, load_sizes("default")).prepare()
    with pytest.raises(RunError, match="a demo of other sizes"):
        Chain(tmp_path, load_sizes("small")).prepare()


def test_a_mistake_in_a_preset_names_the_field(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: default\nminutes: {invrse: 3}\n")
    with pytest.raises(RunError, match=r"minutes.invrse: no such field; did you mean inverse"):
        load_sizes(str(tmp_path / "mine.yaml"))


def test_the_clip_with_a_visible_object_and_free_ground_is_edited() -> None:
    cast = choose([filmed("crowded", 4), filmed("good", 20), filmed("gone", 20, gone=True)])
    assert (cast.key, cast.instance) == ("good", 2)
    x, y = cast.pick
    assert 5 <= x < 25 and 8 <= y < 28
    x, y = cast.stand
    assert x > 25 and 16 <= y < 48


def test_footage_without_objects_is_one_clear_line() -> None:
    with pytest.raises(RunError, match="no clip of the footage shows an object"):
        choose([filmed("gone", 20, gone=True)])


def filmed(key: str, side: int, *, gone: bool = False) -> Clip:
    """A clip of 64x64 with an object (instance 2) of `side` pixels on ground; `gone` in the last frame."""
    instance = np.ones((3, 64, 64, 1), dtype=np.uint16)
    instance[:, 8 : 8 + side, 5 : 5 + side] = 2
    if gone:
        instance[-1] = 1
    return Clip(key, {"instance": instance})


def test_text_on_the_page_is_escaped() -> None:
    record = Record(name="x", title="<i>title</i>", line="lightloom '<script>'", starts=2, seconds=3, done=True)
    html = times([record])
    assert "<i>" not in html and "<script>" not in html and "&lt;script&gt;" in html


@pytest.mark.slow
def test_the_whole_chain_makes_a_page_and_goes_on_after_kill_9(tmp_path: Path) -> None:
    (tmp_path / "micro.yaml").write_text(MICRO)
    out = tmp_path / "demo"
    code = "from lightloom.cli import main; main()"
    command = [sys.executable, "-c", code, "demo", "--out", str(out), "--preset", str(tmp_path / "micro.yaml")]
    for name in ("dataset", "inverse", "label"):
        with Driver(command) as driver:
            wait_until(lambda name=name: _process(out, name), 600)
            time.sleep(2)
            driver.kill("driver")
            driver.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Render a synthetic dataset: done before" in done.stdout
    page = (out / "index.html").read_text()
    counted = Counted()
    counted.feed(page)
    assert counted.tags["video"] >= 8 and counted.tags["table"] >= 3 and page.count("<polyline") == 10
    assert "http:" not in page.replace("http://www.w3.org", "") and 'src="data:' in page
    again = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0 and "$ lightloom" not in again.stdout


class Counted(HTMLParser):
    """Counts start tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1


def _process(folder: Path, name: str = "long") -> int:
    """Pid of the process that works on a stage, 0 if none is known yet."""
    path = folder / FOLDER / f"{name}.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    return record.get("process", None)[0] if record.get("process") else 0
