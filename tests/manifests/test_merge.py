"""Merging keeps every clip, byte for byte, and refuses what would mislead."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from manifests.audit.merge import merge
from manifests.audit.repair import repair
from manifests.audit.stats import stats
from manifests.audit.verify import verify
from manifests.contract.row import Sample
from manifests.errors import DatasetError
from manifests.store.dataset import open_or_create
from manifests.store.header import attribute_table
from tests.manifests.clips import header, make_dataset, raw_sample


def sampler(seed: int, key: str = ""):  # type: ignore[no-untyped-def]
    def sample(scene: int, light: int) -> Sample:
        plain = raw_sample(scene, light)
        name = key + plain.key
        row = msgspec.structs.replace(plain.row, key=name, seed=seed, spec_digest=f"{seed:032x}{scene:032x}")
        return replace(plain, key=name, row=row)

    return sample


def test_colliding_keys_get_a_prefix_and_every_clip_survives(tmp_path: Path) -> None:
    first = make_dataset(tmp_path / "a", failed=[4], sample=sampler(7))
    second = make_dataset(tmp_path / "b", sample=sampler(8), seed=8, items=2, per_shard=5)
    done: list[int] = []
    measured = merge([first.path, second.path], tmp_path / "out", done.append)
    assert (measured.complete, measured.shards, measured.clips, measured.failures) == (True, 4, 8, 1)
    assert len(done) == 4 and verify(tmp_path / "out").ok
    merged = open_or_create(tmp_path / "out", merge_header(tmp_path))
    for old, prefix in ((first, "s0-"), (second, "s1-")):
        for row in old.rows():
            (same,) = [one for one in merged.rows() if one.key == prefix + row.key]
            assert merged.files(same) == old.files(row)
            assert (same.item, same.seed, same.spec_digest) == (row.item, row.seed, row.spec_digest)
    assert [failed.shard for failed in merged.failures()] == [1]


def merge_header(tmp_path: Path):  # type: ignore[no-untyped-def]
    from manifests.store.header import read_document

    return read_document(tmp_path / "out").header


def test_distinct_keys_link_the_tars(tmp_path: Path) -> None:
    first = make_dataset(tmp_path / "a", sample=sampler(7, "x-"))
    second = make_dataset(tmp_path / "b", sample=sampler(8, "y-"), seed=8)
    merge([first.path, second.path], tmp_path / "out")
    assert (tmp_path / "out/shards/000003.tar").samefile(second.path / "shards/000000.tar")
    assert verify(tmp_path / "out").ok and stats(tmp_path / "out").clips == 14


def test_datasets_of_releases_with_more_and_with_fewer_attributes_merge(tmp_path: Path) -> None:
    earlier = {name: row for name, row in attribute_table().items() if name != "flow"}
    first = make_dataset(tmp_path / "a", sample=sampler(7, "x-"), attributes=earlier)
    second = make_dataset(tmp_path / "b", sample=sampler(8, "y-"), seed=8)
    merge([first.path, second.path], tmp_path / "out")
    assert merge_header(tmp_path).attributes == attribute_table() and verify(tmp_path / "out").ok


def test_merged_datasets_merge_again(tmp_path: Path) -> None:
    paths = [make_dataset(tmp_path / str(seed), sample=sampler(seed), seed=seed, items=2).path for seed in (1, 2, 3)]
    merge(paths[:2], tmp_path / "two")
    measured = merge([tmp_path / "two", paths[2]], tmp_path / "out")
    assert measured.clips == 6 and verify(tmp_path / "out").ok
    assert [source.seed for source in merge_header(tmp_path).sources] == [1, 2, 3]


def test_second_start_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    paths = [make_dataset(tmp_path / str(seed), sample=sampler(seed), seed=seed).path for seed in (1, 2)]
    merge(paths, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out/manifest").iterdir()}
    (tmp_path / "out/manifest/000004.parquet").unlink()
    merge(paths, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out/manifest").iterdir()} == before


@pytest.mark.parametrize(
    ("change", "named"),
    [({"codec": "compact"}, 'codec is "exact", not "compact"'), ({"attributes": {}}, "attributes.rgb is")],
)  # fmt: skip
def test_datasets_that_do_not_fit_are_refused_naming_the_field(tmp_path: Path, change: dict, named: str) -> None:
    first = make_dataset(tmp_path / "a", sample=sampler(7))
    second = make_dataset(tmp_path / "b", sample=sampler(8), seed=8, **change)
    with pytest.raises(DatasetError, match=named):
        merge([first.path, second.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_same_scene_twice_is_refused(tmp_path: Path) -> None:
    first = make_dataset(tmp_path / "a", sample=sampler(7))
    second = make_dataset(tmp_path / "b", sample=sampler(7))
    with pytest.raises(DatasetError, match="is the same scene as"):
        merge([first.path, second.path], tmp_path / "out")


def test_unfinished_dataset_and_a_single_one_are_refused(tmp_path: Path) -> None:
    first = make_dataset(tmp_path / "a", sample=sampler(7))
    second = make_dataset(tmp_path / "b", sample=sampler(8), seed=8, shards=[0])
    with pytest.raises(DatasetError, match="shard 1 is missing"):
        merge([first.path, second.path], tmp_path / "out")
    with pytest.raises(DatasetError, match="two datasets or more"):
        merge([first.path], tmp_path / "out")


def test_merging_into_an_existing_dataset_is_refused(tmp_path: Path) -> None:
    paths = [make_dataset(tmp_path / str(seed), sample=sampler(seed), seed=seed).path for seed in (1, 2)]
    open_or_create(tmp_path / "out", header())
    with pytest.raises(DatasetError, match="stage is"):
        merge(paths, tmp_path / "out")


def test_repair_of_a_merged_dataset_points_at_the_sources(tmp_path: Path) -> None:
    paths = [make_dataset(tmp_path / str(seed), sample=sampler(seed), seed=seed).path for seed in (1, 2)]
    merge(paths, tmp_path / "out")
    with pytest.raises(DatasetError, match="repair those and merge"):
        repair(tmp_path / "out")
