"""A worker encodes several items beside the one that it produces: bounded, in any order, each with its own fate."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from toy_stage import ToyStage, content, expected, toy_dataset

from pipeline.engine import run
from pipeline.options import MOST_ENCODERS, RunOptions, encoders

pytestmark = pytest.mark.ray


def test_as_many_items_are_encoded_as_there_are_threads_up_to_a_bound() -> None:
    assert [encoders(threads) for threads in (1, 2, MOST_ENCODERS, 64)] == [1, 2, MOST_ENCODERS, MOST_ENCODERS]


def test_two_threads_encode_two_items_while_one_waits_and_no_more(tmp_path: Path, quick: RunOptions) -> None:
    (tmp_path / "notes").mkdir()
    stage = ToyStage(items=9, per_shard=9, encode_seconds=0.15, notes=tmp_path / "notes")
    run(toy_dataset(tmp_path / "set", stage), stage, replace(quick, workers=1, cpus_per_worker=2))
    (note,) = (tmp_path / "notes").iterdir()
    count: Counter[str] = Counter()
    encoding, held = [], []
    for what, index in (line.split() for line in note.read_text().splitlines()):
        count[what] += int(index) >= 0
        encoding.append(count["encode"] - count["encoded"])
        held.append(count["produce"] - count["encoded"])
    assert max(encoding) == 2
    assert max(held) == 2 + 1 + 1  # at the encoders, waiting, and in production
    assert count["encoded"] == 9


def test_the_content_does_not_depend_on_the_number_of_encoders(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=8, per_shard=3, encode_seconds=0.05, faults=dict.fromkeys((0, 3, 4), "encode-slow"))
    found = []
    for cpus in (1, 2):
        dataset = toy_dataset(tmp_path / str(cpus), stage)
        run(dataset, stage, replace(quick, workers=1, cpus_per_worker=cpus))
        found.append(content(dataset))
        assert [row.item for row in dataset.rows()] == list(range(8))
    assert found[0] == found[1] == expected(8)


def test_what_fails_while_others_are_encoded_costs_its_own_item(tmp_path: Path, quick: RunOptions) -> None:
    faults = {0: "encode-slow", 1: "encode-error", 4: "encode-segfault", 6: "item-error", 7: "error"}
    stage = ToyStage(items=10, per_shard=5, encode_seconds=0.1, faults=faults)
    dataset = toy_dataset(tmp_path, stage)
    report = run(dataset, stage, replace(quick, workers=1, cpus_per_worker=2, attempts=2))
    assert (report.finished, report.failed, report.complete) == (6, 4, True)
    assert content(dataset) == expected(10, without=(1, 4, 6, 7))
    assert {failure.item: failure.reason for failure in dataset.failures()} == {
        1: "unencodable", 4: "crash", 6: "corrupt-asset", 7: "error",
    }  # fmt: skip
