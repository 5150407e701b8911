"""A label plan multiplies what it measured, and says what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelkit import make_source, save_inverse, settings

from labeling.label_run import LabelPlan, measure_plan
from labeling.label_settings import SegmentOptions
from labeling.sources.discovery import discover
from manifests.errors import LightloomError
from pipeline.options import RunOptions
from pipeline.plan import ClipCost

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_inverse(tmp_path_factory.mktemp("weights") / "inverse")


def plan(weights: Path, price: float = 0.0, device: str = "CPU") -> LabelPlan:
    cost = ClipCost(
        measured=4,
        size=(24, 512, 512),
        device=device,
        threads=2,
        seconds=36.0,
        work_seconds=36.0,
        encode_seconds=2.0,
        bytes=2_000_000.0,
        spread=0.1,
    )
    return LabelPlan(settings=settings(weights), videos=10_510, per_video=15, clips=10_510 * 15, cost=cost, price=price)


def test_a_plan_multiplies_its_measurement(weights: Path) -> None:
    found = plan(weights)
    assert found.clips == 157_650 and found.worker_hours == 1576.5
    text = "\n".join(found.lines())
    assert "157,650 clips of 10,510 videos (15 each), 315.3 GB in 5,255 shards" in text
    assert "1,576.5 worker hours, 3,153 core hours" in text and "  32 workers: 49.3 h" in text
    assert "workers with a GPU were not measured here" in text and "price" not in text


def test_a_plan_names_its_price_and_the_device_that_was_measured(weights: Path) -> None:
    text = "\n".join(plan(weights, price=2.0, device="CUDA NVIDIA H100").lines())
    assert "price      3,153 at 2 a worker hour" in text and "not measured here" not in text


@pytest.mark.slow
def test_a_few_items_are_really_labelled_to_measure(tmp_path: Path, weights: Path) -> None:
    source = make_source(tmp_path / "videos", items=4)
    chosen = settings(weights, segments=SegmentOptions(length=6, count=2))
    found = measure_plan(discover(source), chosen, 100, 2, options=RunOptions(show_progress=False))
    assert (found.cost.measured, found.per_video, found.cost.size) == (3, 2, (6, 32, 32))
    assert found.worker_hours == pytest.approx(200 * found.cost.seconds / 3600)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.mp4").write_bytes(b"none" * 500)
    with pytest.raises(LightloomError, match="no clip could be measured: unreadable"):
        measure_plan(discover(tmp_path / "bad"), chosen, 100, 1, options=RunOptions(show_progress=False))
