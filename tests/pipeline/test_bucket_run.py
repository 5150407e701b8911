"""Runs whose dataset is in a bucket: no folder is shared, kills and faults of the network cost nothing."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from toy_stage import QUICK, ToyStage, content, expected, toy_dataset

from manifests import object_lease
from manifests.audit.verify import verify
from manifests.errors import DatasetError
from manifests.object_path import ObjectPath
from manifests.store import layout
from manifests.store.dataset import open_dataset
from pipeline.engine import run
from pipeline.ledger import status
from tests.drivers import Driver, wait_until
from tests.object_store import FaultProxy, connected

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def processes_find_this_code(monkeypatch: pytest.MonkeyPatch, workers_find_the_toy: None) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))


def drive(path: ObjectPath, stage: ToyStage) -> Driver:
    shape = json.dumps({"items": stage.items, "per_shard": stage.per_shard, "seconds": stage.seconds})
    options = json.dumps({"workers": 2, "cpus_per_worker": 1, "show_progress": False})
    return Driver([sys.executable, str(HERE / "drive_toy.py"), str(path), shape, options])


def finish(path: ObjectPath, stage: ToyStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run to the end here, where the lease of whoever was killed is waited for less long."""
    monkeypatch.setattr(object_lease, "LEASE_S", 1.0)
    assert run(toy_dataset(path, stage), stage, QUICK).complete


def assert_whole(path: ObjectPath, items: int) -> None:
    assert content(open_dataset(path)) == expected(items)
    assert verify(path).findings == ()
    assert path.stats().keys() == {layout.HEADER, layout.LEDGER}
    assert not (path / layout.WORK).stats()


@pytest.mark.ray
def test_a_run_through_a_bad_network_ends_as_in_a_folder(
    bucket: ObjectPath, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = ToyStage(items=14, per_shard=4, faults={5: "item-error"})
    rng = random.Random(0)
    asked: Counter[str] = Counter()

    def now_and_then(method: str, path: str) -> str | None:
        asked[method] += 1
        return rng.choice(["500", "503", "cut", "lost"]) if rng.random() < 0.15 else None

    with FaultProxy(s3_server, now_and_then) as proxy, connected(monkeypatch, proxy.url):
        report = run(toy_dataset(bucket, stage), stage, QUICK)
        assert (report.clips, report.failed) == (13, 1)
        assert len(proxy.done) > 10
    with connected(monkeypatch, s3_server):
        there, here = open_dataset(bucket), toy_dataset(tmp_path / "set", stage)
        run(here, stage, QUICK)
        placed = [(row.key, row.shard, row.item_clips) for row in there.rows()]
        assert placed == [(row.key, row.shard, row.item_clips) for row in here.rows()]
        assert content(there) == expected(14, without=(5,)) == content(here)
        assert [failure.reason for failure in there.failures()] == ["corrupt-asset"]
        assert verify(bucket).findings == ()
        found = status(bucket)
        assert (found.finished, found.clips, found.running, found.free) == (13, 13, False, None)
        assert bucket.stats().keys() == {layout.HEADER, layout.LEDGER}
        assert not (bucket / layout.WORK).stats()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_a_killed_driver_or_worker_costs_nothing(
    victim: str, bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ToyStage(items=16, per_shard=4, seconds=0.5)
    with drive(bucket, stage) as driver:
        wait_until(lambda: len((bucket / layout.WORK).stats()) > 2 or not driver.running)
        assert driver.kill(victim)
        if victim == "worker":
            assert driver.wait() == 0, driver.output()
    finish(bucket, stage, monkeypatch)
    assert_whole(bucket, 16)


@pytest.mark.ray
def test_a_second_run_is_refused_with_the_name_of_the_first(
    bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ToyStage(items=40, per_shard=4, seconds=1.0)
    with drive(bucket, stage) as driver:
        wait_until(lambda: (bucket / layout.LOCK).is_file() or not driver.running)
        with pytest.raises(DatasetError, match=rf"another process is writing here \(process {driver.process.pid} on"):
            run(open_dataset(bucket), stage, QUICK)
        assert status(bucket).running
