"""Items and shards: exact bytes back, one commit, nothing half-written readable as whole."""

import gzip
import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from manifests.contract.row import Sample
from manifests.errors import DatasetError
from manifests.store.dataset import open_or_create
from manifests.store.shards import (
    read_failure,
    read_item,
    read_manifest,
    read_sample,
    write_failure,
    write_item,
    write_shard,
)
from tests.manifests.clips import failure, header, make_dataset, raw_sample, row


def test_item_returns_the_same_samples(tmp_path: Path) -> None:
    samples = [raw_sample(3, light) for light in range(2)]
    write_item(tmp_path / "00000003.tar", samples)
    assert read_item(tmp_path / "00000003.tar") == samples


def test_item_rejects_a_row_that_json_cannot_hold(tmp_path: Path) -> None:
    sample = raw_sample(3)
    broken = replace(sample, row=msgspec.structs.replace(sample.row, statistics={"depth.min": float("nan")}))
    with pytest.raises(DatasetError, match=r"00000003-00.*cannot be stored"):
        write_item(tmp_path / "a.tar", [broken])
    assert list(tmp_path.iterdir()) == []


def test_item_rejects_clips_of_two_scenes_and_twice_the_same_key(tmp_path: Path) -> None:
    for samples in ([raw_sample(1), raw_sample(2)], [raw_sample(1), raw_sample(1)], []):
        with pytest.raises(DatasetError, match="its own clips only"):
            write_item(tmp_path / "a.tar", samples)


@pytest.mark.parametrize("position", [3, 600, 1100, 1700, 2500])
def test_item_with_a_flipped_byte_is_not_read(tmp_path: Path, position: int) -> None:
    path = tmp_path / "00000003.tar"
    write_item(path, [raw_sample(3)])
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"00000003\.tar.*delete it and run again"):
        read_item(path)


def test_failure_note_survives_its_file(tmp_path: Path) -> None:
    write_failure(tmp_path / "a.failure.json", failure(4, 1))
    assert read_failure(tmp_path / "a.failure.json") == failure(4, 1)
    (tmp_path / "a.failure.json").write_bytes(b"{")
    with pytest.raises(DatasetError, match="not a failure note"):
        read_failure(tmp_path / "a.failure.json")


def test_shard_rows_point_at_their_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", failed=[4], lights=2)
    rows = dataset.rows()
    assert [row.key for row in rows] == [f"{scene:08d}-{light:02d}" for scene in (0, 1, 2, 3, 5, 6) for light in (0, 1)]
    for one in rows:
        assert read_sample(dataset.path, one) == raw_sample(one.item, one.part).files
    assert [one.offset for one in rows if one.shard == 0][:2] == [0, rows[0].size]
    assert [failed.item for failed in dataset.failures()] == [4]


def test_shard_from_item_files_equals_shard_from_samples(tmp_path: Path) -> None:
    make_dataset(tmp_path / "a")
    dataset = open_or_create(tmp_path / "b", header())
    for shard in range(3):
        for item in header().shard_items(shard):
            write_item(dataset.item_path(item), [raw_sample(item)])
        write_shard(dataset.path, shard, [dataset.item_path(item) for item in header().shard_items(shard)], [])
        for folder in ("shards", "manifest", "failures", "previews"):
            (name,) = (tmp_path / "a" / folder).glob(f"{shard:06d}.*")
            assert (tmp_path / "b" / folder / name.name).read_bytes() == name.read_bytes(), name


def test_shard_is_a_plain_tar_with_sorted_contiguous_members(tmp_path: Path) -> None:
    make_dataset(tmp_path / "d")
    with tarfile.open(tmp_path / "d/shards/000000.tar") as tar:
        names = tar.getnames()
    suffixes = ("clip.json", "depth.mkv", "rgb.mkv", "row.json")
    assert names == [f"{scene:08d}-00.{suffix}" for scene in range(3) for suffix in suffixes]


def test_row_json_holds_the_row_and_the_hash_of_every_file(tmp_path: Path) -> None:
    make_dataset(tmp_path / "d")
    with tarfile.open(tmp_path / "d/shards/000000.tar") as tar:
        member = tar.extractfile("00000001-00.row.json")
        assert member is not None
        content = json.loads(member.read())
    assert sorted(content["files"]) == ["clip.json", "depth.mkv", "rgb.mkv"]
    assert content["files"]["clip.json"]["size"] == 2
    assert content["row"]["item"] == 1 and content["row"]["shard"] == -1


@pytest.mark.parametrize(
    ("scenes", "failed", "named"),
    [
        ([0, 1], [], "item 2 has neither clips nor a failure"),
        ([0, 1, 2, 3], [], "item 3 does not belong here"),
        ([0, 1, 2], [2], "item 2 has 1 clips and 1 failures"),
        ([0, 1, 1, 2], [], "two clips have the key 00000001-00"),
    ],
)
def test_incomplete_or_foreign_shards_are_not_committed(tmp_path: Path, scenes: list, failed: list, named: str) -> None:
    dataset = open_or_create(tmp_path / "d", header())
    with pytest.raises(DatasetError, match=named):
        write_shard(dataset.path, 0, [[raw_sample(scene)] for scene in scenes], [failure(s, 0) for s in failed])
    assert dataset.shards() == []
    assert not any((dataset.path / "shards").iterdir())


def test_every_light_of_a_scene_must_be_there(tmp_path: Path) -> None:
    dataset = open_or_create(tmp_path / "d", header(lights=2))
    with pytest.raises(DatasetError, match="item 0 has 1 clips, expected 2"):
        write_shard(dataset.path, 0, [[raw_sample(scene)] for scene in range(3)], [])


def test_sample_with_changed_bytes_is_not_returned(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d")
    one = dataset.rows(0)[1]
    path = tmp_path / "d/shards/000000.tar"
    data = bytearray(path.read_bytes())
    data[one.offset + 2000] ^= 4
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="00000001-00 was changed"):
        read_sample(dataset.path, one)
    assert read_sample(dataset.path, dataset.rows(0)[0]) == raw_sample(0).files


def test_a_packed_file_comes_plain_and_no_larger_than_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_or_create(tmp_path / "d", header(items=1, per_shard=1))
    sample = raw_sample(0)
    plain = b"street" * 20_000
    packed = replace(sample, files={**sample.files, "spec.json.gz": gzip.compress(plain, mtime=0)})
    write_shard(dataset.path, 0, [[packed]], [])
    (one,) = dataset.rows()
    assert dataset.files(one) == {**sample.files, "spec.json": plain}
    monkeypatch.setattr("manifests.store.archive.LARGEST_CLIP", len(plain) - 1)
    with pytest.raises(DatasetError, match=r"spec.json.gz of clip 00000000-00 is cut short, or larger"):
        dataset.files(one)


def test_manifest_row_equals_the_stage_row(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d")
    _, rows = read_manifest(dataset.path, 1)
    assert [msgspec.structs.replace(one, shard=-1, offset=-1, size=-1, sha256="") for one in rows] == [
        raw_sample(scene).row for scene in (3, 4, 5)
    ]


def test_key_with_a_dot_cannot_be_packed(tmp_path: Path) -> None:
    sample = Sample("a.b", {"x": b""}, row("a.b", 0))
    with pytest.raises(DatasetError):
        write_item(tmp_path / "a.tar", [sample])


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.manifests.clips import header, raw_sample, failure
from manifests.store.dataset import open_or_create
from manifests.store.shards import read_item, write_item, write_shard

def work(path):
    dataset = open_or_create(path, header())
    items = list(header().shard_items(0))[:2]
    for item in items:
        if not dataset.item_path(item).exists():
            write_item(dataset.item_path(item), [raw_sample(item)])
    write_shard(path, 0, [dataset.item_path(item) for item in items], [failure(2, 0)])
    dataset.clean()
    dataset.finish()

for step in range(10_000):
    path = Path({base!r}) / str(step)
    child = os.fork()
    if child == 0:
        left = step
        def hook(event, arguments):
            global left
            if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(path) in str(arguments[0]):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
        sys.addaudithook(hook)
        work(path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        print(step, os.WEXITSTATUS(status))
        break
"""


def test_killed_before_any_file_operation_the_second_run_ends_the_same(tmp_path: Path) -> None:
    """A process that packs a shard is killed before its 1st, 2nd, 3rd ... open, rename, mkdir or removal."""
    root = str(Path(__file__).parents[2])
    script = KILLED.format(root=root, base=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    steps, code = map(int, done.stdout.split())
    assert code == 0 and steps > 25
    expected = {}
    for step in range(steps, -1, -1):
        dataset = open_or_create(tmp_path / str(step), header())
        if dataset.committed(0):
            assert [read_sample(dataset.path, one) for one in dataset.rows(0)] == [raw_sample(s).files for s in (0, 1)]
        for item in (0, 1):
            if dataset.item_path(item).exists():
                assert read_item(dataset.item_path(item)) == [raw_sample(item)]
        if not dataset.committed(0):
            write_shard(dataset.path, 0, [[raw_sample(0)], [raw_sample(1)]], [failure(2, 0)])
        dataset.clean()
        dataset.finish()
        files = {
            str(path.relative_to(dataset.path)): path.read_bytes() for path in dataset.path.rglob("*") if path.is_file()
        }
        expected = expected or files
        assert files == expected, step
