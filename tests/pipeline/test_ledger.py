"""`status` tells from the ledger what the dataset holds, and never what it does not hold."""

from __future__ import annotations

import time
from pathlib import Path

from test_resume import half_done
from toy_stage import ToyStage, toy_dataset, toy_sample

from manifests.store import layout
from manifests.store.dataset import Dataset
from manifests.store.shards import write_item
from pipeline import ledger
from pipeline.ledger import Moment, read_ledger, status, write_ledger
from pipeline.packing import pack


def test_a_ledger_that_is_wrong_is_made_again(tmp_path: Path) -> None:
    dataset = half_done(tmp_path)
    told = status(tmp_path).lines()
    assert told[1:3] == [
        "items    3 of 8 finished, 2 failed (timeout 2), 3 to do",
        f"shards   1 of 3 committed: 2 clips, {sum(row.size for row in dataset.rows()) / 1e6:.1f} MB",
    ]
    assert told[3] == "failed   timeout: item 1: slow"
    path = tmp_path / layout.LEDGER
    for content in (b"{", b"[]", b'{"header":"another","shards":{"0":[[1,1],[9,9,{},{},{}]]}}'):
        path.write_bytes(content)
        assert status(tmp_path).lines() == told
    write_item(dataset.item_path(5), [toy_sample(5)])
    pack(dataset, 1)
    assert status(tmp_path).shards == 2
    layout.shard_file(tmp_path, layout.MANIFEST, 0).unlink()
    assert (status(tmp_path).shards, status(tmp_path).clips) == (1, 2)


def test_shards_that_are_known_are_not_read_again(tmp_path: Path, monkeypatch) -> None:
    dataset = half_done(tmp_path)
    before = read_ledger(dataset)
    monkeypatch.setattr(ledger, "_recount", lambda *_: 1 / 0)
    assert read_ledger(dataset) == before


def test_a_run_whose_items_are_not_packed_is_not_called_complete(tmp_path: Path) -> None:
    dataset = toy_dataset(tmp_path, ToyStage(items=2, per_shard=1))
    for item in range(2):
        write_item(dataset.item_path(item), [toy_sample(item)])
    pack(dataset, 0)
    assert status(tmp_path).lines()[0].endswith(": all items are made, 1 shards wait to be packed: run again")
    pack(dataset, 1)
    assert status(tmp_path).lines()[0].endswith(": complete")


def test_speed_is_that_of_the_last_ten_minutes_by_node(tmp_path: Path) -> None:
    dataset: Dataset = toy_dataset(tmp_path, ToyStage(items=1000, per_shard=100))
    now = time.time()
    known = read_ledger(dataset)
    known.moments = [
        Moment(now - 7200, 0, 0, {}),
        Moment(now - 300, 100, 100, {"a": 60, "b": 40}),
        Moment(now, 200, 200, {"a": 110, "b": 90}),
    ]
    write_ledger(dataset, known)
    with dataset.lock():
        lines = status(tmp_path).lines()
    assert lines[3] == "speed    20.0 clips/min over the last 5 min, ends in about 0:50:00"
    assert [line.strip() for line in lines[4:6]] == ["a: 10.0 clips/min", "b: 10.0 clips/min"]
    assert not [line for line in status(tmp_path).lines() if line.startswith("speed")], "no run is going on"
