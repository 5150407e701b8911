"""A long proof on real renders: memory over many scenes. Run with `pytest -m slow`."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_stage import WeighedStage, smallest_recipe

from datagen.generation import DatagenSettings, create, stage_of
from pipeline.engine import run
from pipeline.options import RunOptions
from scenes.providers.builtin import builtin_catalogue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
HERE = Path(__file__).parent


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
