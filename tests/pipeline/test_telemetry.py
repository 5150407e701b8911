"""What a run tells while it goes on, and that it stops when its time is up."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from toy_stage import ToyStage, content, toy_dataset

from manifests.errors import InputError
from pipeline.engine import run
from pipeline.ledger import read_ledger, status
from pipeline.options import RunOptions
from pipeline.telemetry import METRICS, Telemetry

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


def test_a_run_ends_at_the_earlier_of_budget_and_time() -> None:
    noon = datetime(2026, 1, 31, 12, 0)
    assert RunOptions().stop_at(noon) is None
    assert RunOptions(budget_hours=0.5).stop_at(noon) == noon + timedelta(minutes=30)
    assert RunOptions(until="12:30").stop_at(noon) == noon + timedelta(minutes=30)
    assert RunOptions(until="07:00").stop_at(noon) == datetime(2026, 2, 1, 7, 0), "the next one"
    assert RunOptions(until="2026-01-31T13:00", budget_hours=2).stop_at(noon) == noon + timedelta(hours=1)
    for wrong in ("soon", "25:00", "12"):
        with pytest.raises(InputError, match="give a time such as 07:00"):
            RunOptions(until=wrong)


@pytest.mark.ray
def test_a_run_whose_time_is_up_finishes_what_it_began_and_its_log_says_all(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=400, per_shard=4, seconds=0.2, faults={1: "item-error"})
    dataset, log = toy_dataset(tmp_path / "set", stage), tmp_path / "log"
    report = run(dataset, stage, replace(quick, budget_hours=8 / 3600, log_json=str(log)))
    assert not report.complete and report.clips < 400
    assert dataset.path.joinpath("work").exists() and len(content(dataset)) <= report.clips
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert (events[0]["event"], events[0]["items"]) == ("start", 400)
    assert (events[-1]["event"], events[-1]["why"]) == ("end", "its time was up")
    told = [event["event"] for event in events]
    assert told.count("finished") == report.clips and told.count("failed") == report.failed
    assert told.count("packed") == len(dataset.shards()) == len(read_ledger(dataset).shards)


def test_a_clock_that_is_set_stops_no_book_and_bends_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = toy_dataset(tmp_path / "set", ToyStage(items=400, per_shard=4))
    clock = {"monotonic": 1000.0, "time": time.time()}
    monkeypatch.setattr("pipeline.telemetry.time.monotonic", lambda: clock["monotonic"])
    monkeypatch.setattr("pipeline.telemetry.time.time", lambda: clock["time"])
    telemetry = Telemetry(dataset, read_ledger(dataset), "toy")
    for second in range(0, 130, 10):
        for name in clock:
            clock[name] += 10
        if second == 60:
            clock["time"] -= 86_400  # a day back
        telemetry.finished(second, 1, "node")
        telemetry.tick(1, 400)
    moments = read_ledger(dataset).moments
    assert [one.items for one in moments] == list(range(7, 14)), "of the time since then"
    assert status(dataset.path).moments == tuple(moments)
    assert {b.time - a.time for a, b in pairwise(moments)} == {10.0}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    asked = set(re.findall(r"ray_(lightloom_\w+)", DASHBOARD.read_text()))
    assert {name.removesuffix("_total") for name in asked} == set(METRICS)
