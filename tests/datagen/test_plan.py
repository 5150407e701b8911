from __future__ import annotations

from pathlib import Path

import pytest
from faulty_stage import smallest_recipe

from datagen.generation import DatagenSettings, RenderPlan, measure_plan
from pipeline.options import RunOptions
from pipeline.plan import ClipCost
from scenes.providers.builtin import builtin_catalogue

HERE = Path(__file__).parent


def plan(price: float = 0.0, device: str = "CPU") -> RenderPlan:
    cost = ClipCost(
        measured=3,
        size=(3, 32, 32),
        device=device,
        threads=2,
        seconds=36.0,
        work_seconds=36.0,
        encode_seconds=2.0,
        bytes=3_000_000.0,
        spread=0.1,
    )
    settings = DatagenSettings(smallest_recipe(), clips=150_000, per_shard=64)
    return RenderPlan(settings=settings, clips=settings.clips, cost=cost, price=price)


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
    assert found.cost.measured == 2 and found.cost.device.startswith("CPU")
    assert found.worker_hours == pytest.approx(1000 * found.cost.seconds / 3600)
    assert 5_000 < found.cost.bytes < 1_000_000
