"""A worker that asks for it hears of its next item in time, and no item is lost or made twice by that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_stage import LookingStage, content, expected, toy_dataset

from pipeline.engine import run
from pipeline.options import RunOptions
from pipeline.stage import Prefetching, Worker

pytestmark = pytest.mark.ray


def notes(folder: Path) -> list[list[str]]:
    """What each worker noted, in order."""
    return [[line.strip() for line in path.read_text().splitlines()] for path in folder.iterdir()]


def test_every_item_but_the_first_is_announced_before_the_one_ahead_of_it_is_made(
    tmp_path: Path, quick: RunOptions
) -> None:
    (tmp_path / "notes").mkdir()
    stage = LookingStage(items=6, per_shard=3, notes=tmp_path / "notes")
    dataset = toy_dataset(tmp_path / "set", stage)
    run(dataset, stage, replace(quick, workers=1))
    (said,) = notes(tmp_path / "notes")
    assert content(dataset) == expected(6)
    for index in range(1, 6):
        assert said.index(f"ahead {index}") < said.index(f"produce {index - 1}") < said.index(f"produce {index}")


def test_deaths_and_retirement_lose_nothing_that_was_set_aside(tmp_path: Path, quick: RunOptions) -> None:
    (tmp_path / "notes").mkdir()
    stage = LookingStage(items=14, per_shard=5, faults={3: "segfault", 7: "error"}, notes=tmp_path / "notes")
    dataset = toy_dataset(tmp_path / "set", stage)
    report = run(dataset, stage, replace(quick, attempts=1, recycle_after_items=4))
    assert (report.finished, report.failed, report.complete) == (12, 2, True)
    assert content(dataset) == expected(14, without=(3, 7))
    made = [line for lines in notes(tmp_path / "notes") for line in lines if line.startswith("produce")]
    assert len(made) <= 14 + 4  # a death costs at most the attempts of what was under way with it


def test_an_item_that_kills_whoever_is_handed_it_has_no_more_than_its_attempts(
    tmp_path: Path, quick: RunOptions
) -> None:
    """Even where the worker dies before it begins the item, of hearing that it comes."""
    (tmp_path / "notes").mkdir()
    stage = LookingStage(items=30, per_shard=30, faults={11: "ahead-segfault"}, notes=tmp_path / "notes")
    dataset = toy_dataset(tmp_path / "set", stage)
    report = run(dataset, stage, replace(quick, attempts=3))
    assert (report.finished, report.failed) == (29, 1)
    (failure,) = dataset.failures()
    assert (failure.item, failure.reason, failure.attempts) == (11, "crash", 3)
    said = [line for lines in notes(tmp_path / "notes") for line in lines]
    assert said.count("produce 11") + said.count("ahead 11") == 3, "each kills"


def test_only_a_worker_with_the_method_looks_ahead() -> None:
    plain: Worker = _worker(LookingStage.__mro__[1])
    assert not isinstance(plain, Prefetching) and isinstance(_worker(LookingStage), Prefetching)


def _worker(kind: type) -> Worker:
    return kind(items=1, per_shard=1).make_worker()  # type: ignore[no-any-return]
