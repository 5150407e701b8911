"""Long proofs on real renders: kills at random moments, and memory over many scenes. Run with `pytest -m slow`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drivers import Driver
from faulty_stage import WeighedStage, smallest_recipe
from wholeness import assert_whole, content

from datagen.generation import DatagenSettings, create, stage_of
from manifests.store.dataset import open_dataset
from pipeline.engine import run
from pipeline.options import RunOptions
from scenes.providers.builtin import builtin_catalogue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
HERE = Path(__file__).parent
CLIPS = 64
KILLS = 24


def drive(path: Path, workers: int) -> Driver:
    command = [sys.executable, str(HERE / "drive_datagen.py"), str(path), str(CLIPS), str(workers)]
    return Driver(command, {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])})


def test_random_kills_change_nothing_in_the_dataset(tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    with drive(undisturbed, workers=1) as driver:
        assert driver.wait(1200) == 0, driver.output()
    expected = content(open_dataset(undisturbed))
    assert len(expected) == CLIPS

    rng = np.random.default_rng(2024)
    kinds = ["driver", "worker", "raylet", "gcs"]
    kills: list[str] = []
    outcomes: list[int] = []
    rounds = 0
    while len(kills) < KILLS:
        path = tmp_path / f"killed-{rounds}"
        rounds += 1
        killing = True
        while killing:
            with drive(path, workers=int(rng.integers(1, 3))) as driver:
                while driver.running:
                    time.sleep(rng.uniform(0.0, 14.0))
                    kind = kinds[len(kills) % 4]
                    if len(kills) < KILLS and driver.running and driver.kill(kind):
                        kills.append(kind)
                    if kind != "worker":
                        break
                code = driver.wait(900)
                assert code in (0, 1, -9), driver.output()
                # killed while Ray is starting, Ray itself ends the driver, in its own words
                said = driver.output()
                assert code != 1 or any(word in said for word in ("Ray stopped", "GCS", "raylet because it is dead")), (
                    said
                )
                outcomes.append(code)
                killing = code != 0
        assert_whole(path, expected, f"after {kills}")
    print(f"{len(kills)} kills in {rounds} datasets; exit codes of the drivers: {outcomes}")
    assert all(kills.count(kind) >= KILLS // 4 for kind in kinds)


def test_memory_stays_bounded_over_200_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    dataset = create(tmp_path / "set", DatagenSettings(smallest_recipe(), clips=200, seed=5), builtin_catalogue())
    plain = stage_of(dataset)
    notes = tmp_path / "memory.txt"
    stage = WeighedStage(**{name: getattr(plain, name) for name in plain.__dataclass_fields__}, notes=str(notes))
    assert run(dataset, stage, RunOptions(workers=1, recycle_after_items=1000, show_progress=False)).finished == 200
    lines = [line.split() for line in notes.read_text().splitlines()]
    assert len({pid for pid, _, _ in lines}) == 1
    memory = [float(mib) for _, _, mib in lines]
    print(f"resident MiB at scenes 1, 20, 50, 100, 150, 200: {[memory[i - 1] for i in (1, 20, 50, 100, 150, 200)]}")
    assert memory[199] - memory[19] < 100
