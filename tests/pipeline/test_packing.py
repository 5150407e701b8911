"""Shards are packed by Ray tasks: on the node that made them, a bounded number, and again when a task is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import ray
from toy_stage import ToyStage, content, expected, toy_dataset, toy_sample

from manifests.errors import RunError
from manifests.store.dataset import Dataset
from manifests.store.shards import write_item
from pipeline.options import RunOptions
from pipeline.packing import Packer, pack


def made(path: Path, items: int, per_shard: int) -> Dataset:
    """A dataset whose items all wait in `work/`."""
    dataset = toy_dataset(path, ToyStage(items=items, per_shard=per_shard))
    for item in range(items):
        write_item(dataset.item_path(item), [toy_sample(item)])
    return dataset


def drain(packer: Packer, most: int) -> int:
    """Let the packer finish; the most tasks that ran at once."""
    at_once = 0
    while packer.busy:
        packer.start(most)
        at_once = max(at_once, len(packer.references))
        for reference in ray.wait(list(packer.references), timeout=60)[0]:
            packer.receive(reference)
    return at_once


@pytest.mark.ray
def test_shards_are_packed_two_at_a_time_and_makers_wait_for_them(tmp_path: Path, quick: RunOptions) -> None:
    dataset = made(tmp_path, 60, 2)
    packer = Packer(dataset)
    packer.start(2)
    for shard in range(30):
        packer.add(shard)
    assert packer.behind
    assert drain(packer, 2) == 2
    assert not packer.behind
    assert content(dataset) == expected(60)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.ray
def test_a_shard_whose_node_is_gone_is_packed_here(tmp_path: Path, quick: RunOptions) -> None:
    dataset = made(tmp_path, 2, 2)
    packer = Packer(dataset)
    packer.add(0, "ab" * 28)
    drain(packer, 2)
    assert content(dataset) == expected(2)


def _killed(dataset: Dataset, shard: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.ray
def test_a_shard_that_kills_its_packer_every_time_stops_the_run(
    tmp_path: Path, quick: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.packing._task", _killed)
    packer = Packer(made(tmp_path, 2, 2))
    packer.add(0)
    with pytest.raises(RunError, match="shard 0 cannot be packed"):
        drain(packer, 2)


def test_whoever_packs_a_shard_second_finds_it_done(tmp_path: Path) -> None:
    dataset = made(tmp_path, 2, 2)
    first = pack(dataset, 0)
    assert pack(dataset, 0) == first and first.clips == 2
