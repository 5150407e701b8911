"""Opening, resuming, locking and finishing a dataset."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from manifests.contract.row import Sample
from manifests.errors import DatasetError
from manifests.store.dataset import open_dataset, open_or_create
from manifests.store.header import Bound, read_document
from manifests.store.shards import write_item
from tests.manifests.clips import header, make_dataset, raw_sample


def test_header_is_there_before_any_data(tmp_path: Path) -> None:
    dataset = open_or_create(tmp_path / "d", header())
    assert read_document(dataset.path).header == header()
    assert dataset.shards() == [] and dataset.rows() == [] and dataset.failures() == []


def test_resuming_with_another_recipe_is_refused_naming_the_field(tmp_path: Path) -> None:
    open_or_create(tmp_path / "d", header())
    with pytest.raises(DatasetError, match=r"recipe\.render\.samples is 16, not 64"):
        open_or_create(tmp_path / "d", header(recipe={"name": "toy", "render": {"samples": 64}}))


def test_resuming_with_the_same_header_opens_it(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d")
    again = open_or_create(tmp_path / "d", header())
    assert again.shards() == [0, 1, 2] and again.rows() == made.rows()
    assert open_dataset(tmp_path / "d").rows() == made.rows()


def test_data_without_a_header_is_not_taken_over(tmp_path: Path) -> None:
    make_dataset(tmp_path / "d")
    (tmp_path / "d/dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"has shards/ but no dataset\.json"):
        open_or_create(tmp_path / "d", header())


def test_file_in_place_of_the_folder_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("x")
    with pytest.raises(DatasetError, match="is a file"):
        open_or_create(tmp_path / "d", header())


def test_clean_removes_leftovers_and_nothing_else(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", shards=[0])
    write_item(dataset.item_path(1), [raw_sample(1)])
    write_item(dataset.item_path(3), [raw_sample(3)])
    leftover = dataset.path / "shards" / ".000001.tar.123-0123abcd.tmp"
    leftover.write_bytes(b"half")
    assert sorted(dataset.clean()) == sorted([leftover, dataset.item_path(1)])
    assert [path.name for path in (dataset.path / "work").iterdir()] == ["00000003.tar"]
    assert dataset.clean() == []


def test_second_process_cannot_lock(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d")
    code = "from manifests.store.dataset import open_dataset\n"
    code += f"with open_dataset({str(dataset.path)!r}).lock(): print('in')"
    run = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    with dataset.lock():
        held = subprocess.run(run, capture_output=True, text=True, check=False, cwd=root)
    free = subprocess.run(run, capture_output=True, text=True, check=False, cwd=root)
    assert "is writing here" in held.stderr and held.returncode == 1
    assert free.stdout == "in\n"


def test_finish_gathers_codec_bounds_over_all_clips(tmp_path: Path) -> None:
    def sample(scene: int, light: int) -> Sample:
        plain = raw_sample(scene, light)
        errors = {"rgb.psnr_db": 40.0 + scene, "normal.mean_angle_degrees": 0.1 * scene}
        return replace(plain, row=msgspec.structs.replace(plain.row, codec_errors=errors))

    dataset = make_dataset(tmp_path / "d", failed=[6], sample=sample)
    measured = dataset.finish()
    assert measured.codec_errors["rgb.psnr_db"] == Bound(worst=40.0, mean=42.5)
    angle = measured.codec_errors["normal.mean_angle_degrees"]
    assert angle.worst == 0.5 and angle.mean == pytest.approx(0.25)
    assert (measured.complete, measured.shards, measured.clips, measured.failures) == (True, 3, 6, 1)
    assert read_document(dataset.path).measured == measured
    assert open_or_create(dataset.path, header()).header == header()


def test_unfinished_dataset_is_not_complete(tmp_path: Path) -> None:
    measured = make_dataset(tmp_path / "d", shards=[0, 2]).finish()
    assert (measured.complete, measured.shards, measured.clips) == (False, 2, 4)
