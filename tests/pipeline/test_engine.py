from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_stage import QUICK, ToyStage, content, expected, toy_dataset, toy_sample

from manifests.errors import DatasetError, DiskFull, RunError
from manifests.store import layout
from manifests.store.shards import write_item
from pipeline.engine import run
from pipeline.options import RunOptions

pytestmark = pytest.mark.ray


def test_a_run_fills_the_dataset_with_exactly_its_items(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=11, per_shard=4)
    dataset = toy_dataset(tmp_path / "set", stage)
    report = run(dataset, stage, quick)
    assert (report.clips, report.finished, report.failed, report.complete) == (11, 11, 0, True)
    assert content(dataset) == expected(11)
    assert dataset.shards() == [0, 1, 2]
    assert [row.shard for row in dataset.rows()] == [0] * 4 + [1] * 4 + [2] * 3
    assert list((dataset.path / "work").iterdir()) == []


def test_the_content_does_not_depend_on_the_number_of_workers(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=9, per_shard=3)
    one, two = toy_dataset(tmp_path / "one", stage), toy_dataset(tmp_path / "two", stage)
    run(one, stage, replace(quick, workers=1))
    run(two, stage, replace(quick, workers=2))
    assert content(one) == content(two) == expected(9)
    assert len({row.worker for row in one.rows()}) == 1


def test_a_complete_dataset_needs_no_ray_and_no_worker(tmp_path: Path) -> None:
    stage = ToyStage(items=3, per_shard=2, faults={-1: "start"})
    dataset = toy_dataset(tmp_path, stage)
    for index in range(3):
        write_item(dataset.item_path(index), [toy_sample(index)])
    assert run(dataset, stage, QUICK).line().endswith("3 of 3 items finished")
    assert run(dataset, stage, QUICK).clips == 0
    assert content(dataset) == expected(3)


def test_the_rows_of_a_complete_dataset_are_put_together_at_once(tmp_path: Path) -> None:
    stage = ToyStage(items=16, per_shard=1, faults={-1: "start"})
    dataset = toy_dataset(tmp_path, stage)
    for index in range(16):
        write_item(dataset.item_path(index), [toy_sample(index)])
    assert run(dataset, stage, QUICK).complete
    assert all((dataset.path / name).is_file() for name in layout.TOGETHER.values())


def test_the_driver_puts_no_rows_together_that_workers_made(
    tmp_path: Path, quick: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand rows would take more memory than all of the run before."""
    monkeypatch.setattr("manifests.audit.stats.connect", None)  # in this process
    stage = ToyStage(items=16, per_shard=1)
    dataset = toy_dataset(tmp_path, stage)
    assert run(dataset, stage, quick).complete
    assert all((dataset.path / name).is_file() for name in layout.TOGETHER.values())


def test_each_fault_costs_its_own_item_and_no_other(tmp_path: Path, quick: RunOptions) -> None:
    faults = {2: "segfault", 5: "hang", 8: "error", 9: "item-error", 12: "encode-segfault", 13: "encode-error"}
    stage = ToyStage(items=18, per_shard=6, faults=faults)
    dataset = toy_dataset(tmp_path, stage)
    report = run(dataset, stage, replace(quick, time_limit_s=3, attempts=2))
    assert (report.finished, report.failed, report.complete) == (12, 6, True)
    assert content(dataset) == expected(18, without=tuple(faults))
    failures = {failure.item: failure for failure in dataset.failures()}
    assert {scene: failure.reason for scene, failure in failures.items()} == {
        2: "crash", 5: "timeout", 8: "error", 9: "corrupt-asset", 12: "crash", 13: "unencodable",
    }  # fmt: skip
    assert "last words of item 2" in failures[2].log_tail and "Segmentation fault" in failures[2].log_tail
    assert failures[5].message == "not finished within 3 s"
    assert failures[8].message == "RuntimeError: item 8 is odd" and failures[8].attempts == 2
    assert failures[9].message == "item 9 has a corrupt asset" and failures[9].attempts == 1
    assert all(failure.spec == f'{{"toy":{scene}}}' for scene, failure in failures.items())


def test_an_item_that_lost_its_worker_once_is_made_by_another(tmp_path: Path, quick: RunOptions) -> None:
    (tmp_path / "notes").mkdir()
    stage = ToyStage(items=5, per_shard=5, faults={0: "segfault-once"}, notes=tmp_path / "notes")
    dataset = toy_dataset(tmp_path / "set", stage)
    assert run(dataset, stage, quick).failed == 0
    assert content(dataset) == expected(5)
    assert {row.item: row.attempts for row in dataset.rows()}[0] == 2  # the first item cannot hide behind an answer


def test_an_item_is_encoded_while_the_next_one_is_produced(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=4, per_shard=4, faults={0: "encode-needs-next", 1: "encode-needs-next"})
    dataset = toy_dataset(tmp_path, stage)
    assert run(dataset, stage, replace(quick, workers=1)).failed == 0


@pytest.mark.parametrize("limit", [{"recycle_after_items": 3}, {"recycle_rss_mb": 700}])
def test_a_recycled_worker_loses_no_clip(tmp_path: Path, quick: RunOptions, limit: dict[str, int]) -> None:
    (tmp_path / "notes").mkdir()
    ballast = 200 if "recycle_rss_mb" in limit else 0
    stage = ToyStage(items=8, per_shard=8, ballast_mb=ballast, encode_seconds=0.1, notes=tmp_path / "notes")
    dataset = toy_dataset(tmp_path / "set", stage)
    run(dataset, stage, replace(quick, workers=1, **limit))
    assert content(dataset) == expected(8)
    notes = [path.read_text() for path in (tmp_path / "notes").iterdir()]
    assert len(notes) >= 3
    assert all(note.count("produce") <= 4 and note.count("close") == 1 for note in notes)


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=8, per_shard=4, faults={6: "disk-full"})
    dataset = toy_dataset(tmp_path, stage)
    with pytest.raises(DiskFull):
        run(dataset, stage, replace(quick, workers=1))
    assert dataset.failures() == []
    assert run(dataset, replace(stage, faults={}), quick).complete
    assert content(dataset) == expected(8)


def test_a_bucket_that_does_not_answer_a_worker_stops_the_run_and_condemns_no_item(
    tmp_path: Path, quick: RunOptions
) -> None:
    stage = ToyStage(items=8, per_shard=4, faults={6: "no-storage"})
    dataset = toy_dataset(tmp_path, stage)
    with pytest.raises(RunError, match=r"s3://assets/a\.glb: the store cannot be reached; try again later") as caught:
        run(dataset, stage, quick)
    assert "\n" not in str(caught.value)
    assert dataset.failures() == [] and not list((dataset.path / "work").glob("*.failure.json"))


def test_a_run_in_which_nearly_everything_fails_is_stopped(tmp_path: Path, quick: RunOptions) -> None:
    stage = ToyStage(items=60, per_shard=60, faults=dict.fromkeys(range(60), "item-error"))
    dataset = toy_dataset(tmp_path, stage)
    with pytest.raises(RunError, match=r"20 failed \(corrupt-asset 20\) of 20 items"):
        run(dataset, stage, quick)


def test_failed_items_are_tried_again_when_asked(tmp_path: Path, quick: RunOptions) -> None:
    faults = {1: "item-error", 6: "item-error"}
    stage = ToyStage(items=8, per_shard=4, faults=faults)
    dataset = toy_dataset(tmp_path, stage)
    assert run(dataset, stage, quick).failed == 2
    healed = replace(stage, faults={6: "item-error"})
    assert run(dataset, healed, quick).failed == 2
    report = run(dataset, healed, replace(quick, retry_failed=True))
    assert (report.clips, report.finished, report.failed) == (1, 7, 1)
    assert content(dataset) == expected(8, without=(6,))
    assert [failure.item for failure in dataset.failures()] == [6]


def test_a_worker_that_cannot_start_is_reported_in_one_line(tmp_path: Path, quick: RunOptions) -> None:
    for fault, words in {"start": "the toy cannot be built", "start-crash": "died while starting"}.items():
        stage = ToyStage(items=2, per_shard=2, faults={-1: fault})
        with pytest.raises(RunError, match=words) as caught:
            run(toy_dataset(tmp_path, stage), stage, quick)
        assert "\n" not in str(caught.value)


def test_a_second_run_on_the_same_dataset_is_refused(tmp_path: Path) -> None:
    stage = ToyStage(items=2, per_shard=2)
    dataset = toy_dataset(tmp_path, stage)
    with dataset.lock(), pytest.raises(DatasetError, match="another process"):
        run(dataset, stage, QUICK)


def test_a_stage_of_another_shape_is_refused(tmp_path: Path) -> None:
    dataset = toy_dataset(tmp_path, ToyStage(items=2, per_shard=2))
    with pytest.raises(DatasetError, match="holds 2 items in shards of 2, the stage has 3 in shards of 2"):
        run(dataset, ToyStage(items=3, per_shard=2), QUICK)
