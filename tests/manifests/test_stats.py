"""Counts over the manifests are exact."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.audit.stats import put_together, stats
from manifests.audit.verify import verify
from manifests.contract.row import Sample
from manifests.display import human_size
from manifests.errors import DatasetError
from manifests.store import layout
from manifests.store.shards import read_manifest, write_manifest
from tests.manifests.clips import make_dataset, raw_sample


def flagged(scene: int, light: int) -> Sample:
    plain = raw_sample(scene, light)
    return replace(plain, row=msgspec.structs.replace(plain.row, flags=("dark",) if scene == 0 else ()))


def test_counts_by_everything(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "o'd", failed=[4, 6], sample=flagged, lights=2)
    result = stats(dataset.path)
    assert (result.shards, result.shards_expected, result.clips, result.items, result.frames) == (3, 3, 10, 5, 30)
    assert result.splits == {"train": 6, "test": 2, "val": 2}
    assert result.motions == {"object_rotation": 4, "oscillation": 4, "dolly": 2, "orbit": 2, "still": 2}
    assert result.assets == {"mesh": 3, "environment": 1}
    assert result.licences == {"CC-BY-4.0": 10, "CC0-1.0": 10}
    assert result.materials == {"resolved": 10}
    assert result.flags == {"dark": 2} and result.failures == {"corrupt-asset": 2}
    assert result.sizes == {"3 x 32 x 32": 10} and result.devices == {"CPU": 10}
    assert result.hours == pytest.approx(2 * sum(1.6 + scene for scene in (0, 1, 2, 3, 5)) / 3600)
    assert result.bytes == sum(row.size for row in dataset.rows())


def test_rows_of_many_shards_are_put_together_once_and_again_when_a_shard_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifests.audit.stats._TOGETHER", 8)  # several row groups
    dataset = make_dataset(tmp_path / "o'd", failed=[4], items=20, per_shard=1)
    put_together(dataset)  # as a run does at its end
    first = stats(dataset.path)
    assert (first.clips, first.failures) == (19, {"corrupt-asset": 1})
    with monkeypatch.context() as patch:
        patch.setattr("manifests.audit.stats._check", lambda path, _: pytest.fail(f"{path} was read again"))
        assert stats(dataset.path) == first
    write_manifest(dataset.path, *read_manifest(dataset.path, 3))
    (dataset.path / layout.TOGETHER[layout.FAILURES]).write_bytes(b"nonsense")
    assert stats(dataset.path) == first
    assert verify(dataset.path).ok
    layout.shard_file(dataset.path, layout.MANIFEST, 7).unlink()
    assert stats(dataset.path).clips == 18


def test_settings_are_counted_and_older_manifests_have_none(tmp_path: Path) -> None:
    def set_in(scene: int, light: int) -> Sample:
        plain = raw_sample(scene, light)
        return replace(plain, row=msgspec.structs.replace(plain.row, setting="room" if scene % 2 else "table"))

    dataset = make_dataset(tmp_path / "d", sample=set_in)
    assert stats(dataset.path).settings == {"table": 4, "room": 3}
    for path in (dataset.path / "manifest").iterdir():
        pq.write_table(pq.read_table(path).drop_columns("setting"), path)
    assert stats(dataset.path).settings == {}
    assert stats(dataset.path).clips == 7


def test_text_and_json_hold_the_numbers(tmp_path: Path) -> None:
    result = stats(make_dataset(tmp_path / "d", failed=[4]).path)
    assert json.loads(result.json())["splits"] == {"train": 3, "test": 1, "val": 2} | result.splits
    assert "clips      6 of 6 items, 18 frames" in result.text() and "corrupt-asset" in result.text()
    assert "flags: none" in result.text()


@pytest.mark.parametrize("name", ["star*", "sta?2", "[s]tar2", "a'b", "x{1,2}", "split=train", "**"])
def test_a_folders_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    make_dataset(tmp_path / "star2")
    assert stats(make_dataset(tmp_path / name, failed=[4, 6]).path).clips == 5


def test_a_manifest_that_is_too_much_is_not_counted(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "a")
    pq.write_table(pa.table({"key": pa.nulls(300_000, pa.string())}), tmp_path / "a/manifest/000000.parquet")
    with pytest.raises(DatasetError, match=r"000000\.parquet: cannot be read: holds 300000 rows"):
        stats(dataset.path)
    (tmp_path / "a/manifest/000000.parquet").unlink()
    (tmp_path / "a/manifest/000000.parquet").symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match="not a regular file"):
        stats(dataset.path)


def test_dataset_without_shards_counts_zero(tmp_path: Path) -> None:
    result = stats(make_dataset(tmp_path / "d", shards=[]).path)
    assert (result.clips, result.splits, result.failures) == (0, {}, {})


def test_broken_manifest_is_one_error(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d")
    (dataset.path / "manifest/000001.parquet").write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match="data verify"):
        stats(dataset.path)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1536, "1.5 kB"), (5e12, "5.0 TB")])
def test_sizes_are_readable(size: float, text: str) -> None:
    assert human_size(size) == text
