from __future__ import annotations

from pathlib import Path

from toy_stage import ToyStage, content, expected, toy_dataset, toy_sample

from manifests.contract.row import FailureRow
from manifests.store.dataset import Dataset
from manifests.store.shards import write_failure, write_item
from pipeline.backlog import backlog_of, requeue_failures
from pipeline.packing import pack


def half_done(path: Path) -> Dataset:
    """Shard 0 committed with item 1 failed; of shard 1, item 3 waits and item 4 failed; shard 2 is untouched."""
    dataset = toy_dataset(path, ToyStage(items=8, per_shard=3))
    for index in (0, 2, 3):
        write_item(dataset.item_path(index), [toy_sample(index)])
    for index in (1, 4):
        failure = FailureRow(item=index, shard=index // 3, reason="timeout", message="slow", attempts=1)
        write_failure(dataset.failure_path(index), failure)
    assert pack(dataset, 0).clips == 2
    return dataset


def test_what_is_left_is_read_off_the_disk(tmp_path: Path) -> None:
    state = backlog_of(half_done(tmp_path))
    assert (state.packed, state.missing, state.left) == ({0}, {1: {5}, 2: {6, 7}}, [5, 6, 7])
    assert (state.finished, state.failed) == (3, 2)


def test_a_packed_shard_leaves_nothing_in_work(tmp_path: Path) -> None:
    dataset = half_done(tmp_path)
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["00000003.tar", "00000004.failure.json"]
    assert [failure.item for failure in dataset.failures()] == [1]


def test_requeued_failures_are_due_and_their_shards_clips_are_kept(tmp_path: Path) -> None:
    dataset = half_done(tmp_path)
    assert requeue_failures(dataset) == 2
    state = backlog_of(dataset)
    assert (state.packed, state.left, state.failed) == (set(), [1, 4, 5, 6, 7], 0)
    write_item(dataset.item_path(1), [toy_sample(1)])
    pack(dataset, 0)
    assert content(dataset) == expected(3)


def test_a_kill_between_taking_apart_and_removing_the_manifest_changes_nothing(tmp_path: Path) -> None:
    dataset = half_done(tmp_path)
    write_item(dataset.item_path(0), [toy_sample(0)])
    assert backlog_of(dataset).left == [5, 6, 7]
    dataset.clean()
    assert not dataset.item_path(0).exists()
    assert content(dataset) == expected(3, without=(1,))
