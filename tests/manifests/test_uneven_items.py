"""Work items with any number of clips, as real videos have: complete means as many as each row says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from manifests.audit.repair import repair
from manifests.audit.verify import verify
from manifests.contract.row import Sample
from manifests.errors import DatasetError
from manifests.store.dataset import Dataset, open_or_create
from manifests.store.shards import write_item, write_shard
from tests.manifests.clips import failure, header, raw_sample

COUNTS = (1, 3, 2)


def clip(scene: int, light: int, said: int | None = None) -> Sample:
    plain = raw_sample(scene, light)
    return replace(plain, row=msgspec.structs.replace(plain.row, item_clips=COUNTS[scene] if said is None else said))


def item(scene: int) -> list[Sample]:
    return [clip(scene, light) for light in range(COUNTS[scene])]


@pytest.fixture
def empty(tmp_path: Path) -> Dataset:
    return open_or_create(tmp_path / "d", header(lights=0, items=3, per_shard=3))


def test_items_of_different_sizes_make_a_whole_shard(empty: Dataset) -> None:
    for scene in (0, 1):
        write_item(empty.item_path(scene), item(scene))
        assert empty.item_problem(empty.item_path(scene)) is None and empty.item_clips(scene) == COUNTS[scene]
    rows = write_shard(empty.path, 0, [empty.item_path(0), item(1)], [failure(2, 0)])
    assert [(row.item, row.part) for row in rows] == [(0, 0), (1, 0), (1, 1), (1, 2)]
    empty.clean()
    assert verify(empty.path).ok


def test_an_item_that_lacks_a_clip_is_not_taken_for_whole(empty: Dataset) -> None:
    with pytest.raises(DatasetError, match="item 1 has 2 clips, expected 3"):
        write_shard(empty.path, 0, [item(0), item(1)[:2], item(2)], [])
    write_item(empty.item_path(1), item(1)[:2])
    assert empty.item_problem(empty.item_path(1)) == "holds 2 clips, expected 3"


def test_a_row_that_does_not_say_how_many_is_refused(empty: Dataset) -> None:
    with pytest.raises(DatasetError, match="item 0 has 1 clips, expected 0"):
        write_shard(empty.path, 0, [[clip(0, 0, said=0)], item(1), item(2)], [])


def test_repair_keeps_whole_items_and_makes_the_torn_one_due_again(empty: Dataset) -> None:
    rows = write_shard(empty.path, 0, [item(scene) for scene in range(3)], [])
    torn = next(row for row in rows if (row.item, row.part) == (1, 1))
    path = empty.path / "shards/000000.tar"
    data = bytearray(path.read_bytes())
    data[torn.offset + 1600] ^= 1
    path.write_bytes(data)
    report = repair(empty.path)
    assert (report.kept, report.lost, report.requeued) == (3, 1, (0,))
    write_item(empty.item_path(1), item(1))
    write_shard(empty.path, 0, [empty.item_path(scene) for scene in range(3)], [])
    empty.clean()
    assert verify(empty.path).ok and len(empty.rows()) == sum(COUNTS)
