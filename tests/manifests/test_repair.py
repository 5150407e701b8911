"""`repair` keeps what is whole, makes the rest due again, and leaves a dataset that verifies."""

import os
import shutil
from pathlib import Path

import pytest

from manifests.audit.repair import repair
from manifests.audit.verify import verify
from manifests.errors import DatasetError
from manifests.store import layout
from manifests.store.dataset import Dataset
from manifests.store.header import Document, write_document
from manifests.store.shards import read_item, write_item, write_shard
from tests.manifests.clips import failure, header, make_dataset, raw_sample
from tests.manifests.test_verify import flip, rewrite_rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = make_dataset(tmp_path / "d", failed=[4])
    made.finish()
    return made


def contents(dataset: Dataset) -> dict[str, bytes]:
    folders = ("shards", "manifest", "failures", "previews")
    return {str(path): path.read_bytes() for folder in folders for path in sorted((dataset.path / folder).iterdir())}


def refill(dataset: Dataset) -> list[int]:
    """What a run does next: make the items that are neither committed, finished nor failed; returns them."""
    made = []
    for shard in range(dataset.header.shards):
        if dataset.committed(shard):
            continue
        items = dataset.header.shard_items(shard)
        for item in items:
            if not dataset.item_path(item).exists() and not dataset.failure_path(item).exists():
                write_item(dataset.item_path(item), [raw_sample(item, light) for light in range(dataset.header.lights)])
                made.append(item)
        finished = [dataset.item_path(item) for item in items if dataset.item_path(item).exists()]
        failed = [failure(item, shard) for item in items if dataset.failure_path(item).exists()]
        write_shard(dataset.path, shard, finished, failed)
    dataset.clean()
    return made


def test_nothing_to_repair_changes_nothing(dataset: Dataset) -> None:
    before = contents(dataset)
    assert not repair(dataset.path).changed
    assert contents(dataset) == before


def test_flipped_byte_costs_one_clip_and_the_dataset_comes_back_the_same(dataset: Dataset) -> None:
    before = contents(dataset)
    row = dataset.rows(1)[0]
    flip(dataset.path / "shards/000001.tar", row.offset + 1600)
    report = repair(dataset.path)
    assert (report.requeued, report.rebuilt, report.kept, report.lost) == ((1,), (), 1, 1)
    assert sorted(path.name for path in (dataset.path / "work").iterdir()) == ["00000004.failure.json", "00000005.tar"]
    assert read_item(dataset.item_path(5)) == [raw_sample(5)]
    after = verify(dataset.path)
    assert after.ok and after.missing == 1
    assert refill(dataset) == [3]
    assert contents(dataset) == before and verify(dataset.path).ok


@pytest.mark.parametrize("folder", ["manifest", "failures", "previews"])
def test_missing_sidecar_or_manifest_is_rebuilt_without_a_run(dataset: Dataset, folder: str) -> None:
    before = contents(dataset)
    next((dataset.path / folder).glob("000000.*")).unlink()
    report = repair(dataset.path)
    assert (report.rebuilt, report.requeued, report.kept, report.lost) == ((0,), (), 3, 0)
    assert contents(dataset) == before and verify(dataset.path).ok


def test_missing_failures_make_the_failed_scene_due_again(dataset: Dataset) -> None:
    (dataset.path / "failures/000001.parquet").unlink()
    report = repair(dataset.path)
    assert (report.requeued, report.kept, report.lost) == ((1,), 2, 1)
    assert refill(dataset) == [4]


def test_missing_tar_loses_its_clips_only(dataset: Dataset) -> None:
    (dataset.path / "shards/000001.tar").unlink()
    report = repair(dataset.path)
    assert (report.requeued, report.kept, report.lost) == ((1,), 0, 2)
    assert refill(dataset) == [3, 5] and verify(dataset.path).ok


def test_truncated_tar_keeps_the_clips_before_the_cut(dataset: Dataset) -> None:
    row = dataset.rows(0)[2]
    os.truncate(dataset.path / "shards/000000.tar", row.offset + 900)
    report = repair(dataset.path)
    assert (report.kept, report.lost) == (2, 1)
    assert refill(dataset) == [2] and verify(dataset.path).ok


def test_damaged_header_keeps_the_clips_behind_it(dataset: Dataset) -> None:
    row = dataset.rows(0)[1]
    flip(dataset.path / "shards/000000.tar", row.offset + 3)
    assert (repair(dataset.path).kept, refill(dataset)) == (2, [1])


def test_wrong_rows_are_rebuilt_from_the_shard(dataset: Dataset) -> None:
    before = contents(dataset)
    rewrite_rows(dataset, 0, lambda rows: [rows[0], rows[0], rows[2]])
    assert repair(dataset.path).rebuilt == (0,)
    assert contents(dataset) == before


def test_extra_files_move_to_quarantine_and_leftovers_go(dataset: Dataset) -> None:
    (dataset.path / "notes.txt").write_text("mine")
    (dataset.path / "shards/extra.tar").write_text("what")
    leftover = dataset.path / "shards/.000000.tar.7-0123abcd.tmp"
    leftover.write_text("half")
    write_item(dataset.item_path(0), [raw_sample(0)])
    report = repair(dataset.path)
    assert report.quarantined == ("notes.txt", "shards/extra.tar")
    assert sorted(report.removed) == ["shards/.000000.tar.7-0123abcd.tmp", "work/00000000.tar"]
    quarantine = dataset.path / layout.QUARANTINE
    assert sorted(path.name for path in quarantine.iterdir()) == ["notes.txt", "shards_extra.tar"]
    assert (quarantine / "notes.txt").read_text() == "mine"
    assert verify(dataset.path).ok and not leftover.exists()


def test_link_is_moved_away_and_its_target_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.path / "shards/000002.tar"
    path.rename(tmp_path / "outside.tar")
    path.symlink_to(tmp_path / "outside.tar")
    report = repair(dataset.path)
    assert report.quarantined == ("shards/000002.tar",) and report.lost == 1
    assert (tmp_path / "outside.tar").exists() and refill(dataset) == [6] and verify(dataset.path).ok


def test_scene_with_one_broken_light_is_made_again_whole(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", lights=2)
    before = contents(dataset)
    row = dataset.rows(0)[3]
    flip(dataset.path / "shards/000000.tar", row.offset + 1600)
    report = repair(dataset.path)
    assert (report.kept, report.lost) == (4, 1)
    assert refill(dataset) == [1] and contents(dataset) == before


def test_shard_interrupted_before_its_commit_is_packed(dataset: Dataset) -> None:
    before = contents(dataset)
    (dataset.path / "manifest/000001.parquet").unlink()
    shutil.rmtree(dataset.path / "previews")
    assert repair(dataset.path).rebuilt == (0, 1, 2)
    assert contents(dataset) == before


def test_shard_of_another_dataset_goes_to_quarantine(dataset: Dataset, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", seed=8)
    for folder in ("shards", "manifest", "failures", "previews"):
        for path in (other.path / folder).glob("000000.*"):
            shutil.copy(path, dataset.path / folder / path.name)
    report = repair(dataset.path)
    assert len(report.quarantined) == 4 and report.lost == 3
    assert refill(dataset) == [0, 1, 2] and verify(dataset.path).ok


def test_changed_header_is_the_owners_decision(dataset: Dataset) -> None:
    before = contents(dataset)
    write_document(dataset.path, Document(header=header(seed=8)))
    with pytest.raises(DatasetError, match="no shard was written under this"):
        repair(dataset.path)
    assert contents(dataset) == before


def test_broken_work_item_is_removed(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", shards=[0])
    write_item(dataset.item_path(3), [raw_sample(3)])
    flip(dataset.item_path(3), 1600)
    write_item(dataset.item_path(5), [raw_sample(5)])
    assert repair(dataset.path).removed == ("work/00000003.tar",)
    assert refill(dataset) == [3, 4, 6]
