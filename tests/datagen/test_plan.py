from __future__ import annotations

from pathlib import Path

import pytest
from faulty_stage import smallest_recipe

from datagen.generation import DatagenSettings, Plan, measure_plan
from pipeline.options import RunOptions
from scenes.providers.builtin import builtin_catalogue

HERE = Path(__file__).parent


def plan(**changes: object) -> Plan:
    values = {
        "settings": DatagenSettings(smallest_recipe(), clips=150_000, per_shard=64),
        "device": "CPU",
        "threads": 2,
        "measured": 3,
        "clip_seconds": 36.0,
        "render_seconds": 36.0,
        "encode_seconds": 2.0,
        "clip_bytes": 3_000_000.0,
        "spread": 0.1,
        "price": 0.0,
    }
    return Plan(**(values | changes))  # type: ignore[arg-type]


def test_a_plan_multiplies_its_measurement() -> None:
    found = plan()
    assert (found.worker_hours, found.bytes, found.shards) == (1500.0, 450e9, 2344)
    text = "\n".join(found.lines())
    assert "450.0 GB in 2344 shards of 192.0 MB" in text
    assert "1,500.0 worker hours, 3,000 core hours" in text
    assert "   1 workers: 62.5 days" in text and "  32 workers: 46.9 h" in text
    assert "workers with a GPU were not measured here" in text
    assert "price" not in text


def test_a_plan_names_its_price_and_the_device_that_was_measured() -> None:
    text = "\n".join(plan(price=0.5, device="OPTIX NVIDIA L4").lines())
    assert "price      750 at 0.5 a worker hour" in text
    assert "not measured here" not in text


@pytest.mark.slow
def test_a_few_clips_are_really_made_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    settings = DatagenSettings(smallest_recipe(), clips=1000)
    found = measure_plan(settings, builtin_catalogue(), 2, options=RunOptions(show_progress=False))
    assert found.measured == 2 and found.device.startswith("CPU")
    assert found.worker_hours == pytest.approx(1000 * found.clip_seconds / 3600)
    assert 5_000 < found.clip_bytes < 1_000_000
