"""`verify` finds every way in which a dataset can be broken, and is clean on one that is not."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.audit.verify import verify
from manifests.codec.codecs import encode_clip
from manifests.contract.clip_summary import summarise
from manifests.contract.row import ClipRow, Sample
from manifests.errors import DatasetError, InputError
from manifests.store import archive, layout
from manifests.store.dataset import Dataset
from manifests.store.header import Document, write_document
from manifests.store.shards import read_manifest, write_item, write_manifest
from tests.manifests.clips import clip_sample, header, make_dataset, raw_sample, row, sphere_clip


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = make_dataset(tmp_path / "d", failed=[4])
    made.finish()
    return made


def found(dataset: Dataset, level: str = "full") -> str:
    return "\n".join(str(finding) for finding in verify(dataset.path, level).findings)  # type: ignore[arg-type]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x04
    path.write_bytes(data)


def rewrite_rows(dataset: Dataset, shard: int, change: Callable[[list[ClipRow]], list[ClipRow]]) -> None:
    seal, rows = read_manifest(dataset.path, shard)
    write_manifest(dataset.path, seal, change(rows))


def test_whole_dataset_has_no_findings(dataset: Dataset) -> None:
    done: list[int] = []
    for level in ("quick", "full"):
        report = verify(dataset.path, level, progress=done.append)  # type: ignore[arg-type]
        assert report.ok and (report.shards, report.clips, report.missing) == (3, 6, 0)
    tars = sum(path.stat().st_size for path in (dataset.path / "shards").iterdir())
    assert report.bytes == tars and sum(done) == 2 * tars - 3 * len(archive.END)


def test_a_dataset_of_clips_with_flow_is_whole(tmp_path: Path) -> None:
    def sample(scene: int, light: int) -> Sample:
        plain = sphere_clip(f"{scene:08d}-{light:02d}", seed=scene)
        flow, visible = (np.full((3, 32, 32, channels), scene, np.float32) for channels in (4, 2))
        clip = replace(plain, arrays={**plain.arrays, "flow": flow - 0.5, "flow_visible": np.minimum(visible, 1)})
        files, errors = encode_clip(clip, "compact")
        details = {"statistics": summarise(clip), "codec_errors": errors, "attributes": tuple(clip.arrays)}
        return Sample(clip.key, files, row(clip.key, scene, light, **details))

    made = make_dataset(tmp_path / "set", sample=sample, items=2, codec="compact")
    assert verify(made.path, "decode").ok
    measured = made.finish().codec_errors
    assert measured["flow.p99_pixels"].worst < 0.01 and measured["depth.max_relative"].worst < 1.001e-3


def test_clips_that_zoom_are_whole(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "zoom", sample=partial(clip_sample, zoom=1.5), items=2)
    made.finish()
    report = verify(made.path, "full")
    assert report.ok and report.clips == 2


def test_every_flipped_byte_of_a_shard_is_found(dataset: Dataset) -> None:
    path = dataset.path / "shards/000001.tar"
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        flip(path, position)
        assert "shards/000001.tar" in found(dataset), position
        path.write_bytes(whole)


def test_flipped_byte_names_the_clip(dataset: Dataset) -> None:
    row = dataset.rows(1)[1]
    flip(dataset.path / "shards/000001.tar", row.offset + row.size - 600)
    assert "shards/000001.tar, clip 00000005-00: its bytes were changed" in found(dataset)


@pytest.mark.parametrize("folder", ["failures", "previews"])
def test_flipped_byte_in_a_sidecar_is_found(dataset: Dataset, folder: str) -> None:
    (path,) = (dataset.path / folder).glob("000001.*")
    flip(path, path.stat().st_size // 2)
    assert f"{folder}/{path.name}: was changed" in found(dataset)


def test_every_flipped_byte_of_a_manifest_that_changes_a_row_is_found(dataset: Dataset) -> None:
    """Some bytes of Parquet carry nothing (a writer's name, unused statistics): then the rows must be the same."""
    path = dataset.path / "manifest/000001.parquet"
    whole, rows = path.read_bytes(), dataset.rows(1)
    for position in range(0, len(whole), 211):
        flip(path, position)
        if "manifest/000001.parquet" not in found(dataset):
            assert read_manifest(dataset.path, 1)[1] == rows, position
        path.write_bytes(whole)


@pytest.mark.parametrize("folder", ["shards", "failures", "previews"])
def test_missing_file_of_a_shard_is_found(dataset: Dataset, folder: str) -> None:
    next((dataset.path / folder).glob("000001.*")).unlink()
    for level in ("quick", "full"):
        assert f"{folder}/000001" in found(dataset, level)


def test_shard_without_its_manifest_is_found(dataset: Dataset) -> None:
    (dataset.path / "manifest/000001.parquet").unlink()
    text = found(dataset, "quick")
    assert "shards/000001.tar: shard 1 has no manifest" in text
    assert "shard 1 is missing, though the dataset was complete" in text


def test_all_files_of_a_shard_gone_from_a_complete_dataset_is_found(dataset: Dataset) -> None:
    for folder in ("manifest", "shards", "failures", "previews"):
        next((dataset.path / folder).glob("000002.*")).unlink()
    assert "shard 2 is missing, though the dataset was complete" in found(dataset, "quick")


@pytest.mark.parametrize(
    "name",
    [
        "note.txt",
        "shards/000000.tar.bak",
        "shards/000099.tar",
        "shards/x.tar",
        "manifest/0.parquet",
        "work/1.tar",
        "a/b",
    ],
)
def test_extra_file_is_found(dataset: Dataset, name: str) -> None:
    path = dataset.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    where = name if name != "a/b" else "a"
    assert f"{where}: does not belong into a dataset" in found(dataset, "quick")


def test_what_a_run_leaves_beside_the_data_is_not_extra(dataset: Dataset) -> None:
    (dataset.path / "work/logs").mkdir()
    for name in ("catalogue.parquet", "report.html", "ATTRIBUTION.md", "attribution.csv", ".lock", "work/logs/1.log"):
        (dataset.path / name).write_text("x")
    assert found(dataset) == ""


def test_link_in_place_of_a_shard_is_found(dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.path / "shards/000000.tar"
    path.rename(tmp_path / "elsewhere.tar")
    path.symlink_to(tmp_path / "elsewhere.tar")
    assert "shards/000000.tar: is a link" in found(dataset, "quick")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated_tar_is_found(dataset: Dataset, keep: float) -> None:
    path = dataset.path / "shards/000000.tar"
    os.truncate(path, int(path.stat().st_size * keep))
    assert "its manifest says" in found(dataset, "quick")
    assert "shards/000000.tar" in found(dataset)


def test_row_with_another_hash_is_found(dataset: Dataset) -> None:
    rewrite_rows(dataset, 0, lambda rows: [msgspec.structs.replace(rows[0], sha256="0" * 64), *rows[1:]])
    assert "clip 00000000-00: its bytes were changed: the SHA-256 differs" in found(dataset)


def test_row_that_says_something_else_than_the_shard_is_found(dataset: Dataset) -> None:
    rewrite_rows(dataset, 0, lambda rows: [*rows[:2], msgspec.structs.replace(rows[2], split="train")])
    assert "clip 00000002-00: its row's split is not that of the row.json" in found(dataset)


def test_two_rows_with_one_key_in_a_shard_are_found(dataset: Dataset) -> None:
    rewrite_rows(dataset, 0, lambda rows: [rows[0], rows[1], rows[1]])
    assert "two clips have the key 00000001-00" in found(dataset, "quick")


def test_two_rows_with_one_key_in_two_shards_are_found(dataset: Dataset) -> None:
    rewrite_rows(dataset, 2, lambda rows: [msgspec.structs.replace(rows[0], key="00000001-00")])
    assert "manifest/000002.parquet, clip 00000001-00: the key is also that of a clip in shard 0" in found(
        dataset, "quick"
    )


def test_wrong_byte_range_and_gap_are_found(dataset: Dataset) -> None:
    whole = dataset.rows(0)
    rewrite_rows(
        dataset, 0, lambda rows: [rows[0], msgspec.structs.replace(rows[1], offset=rows[1].offset + 512), rows[2]]
    )
    assert "clip 00000001-00: a gap before byte range" in found(dataset, "quick")
    rewrite_rows(dataset, 0, lambda _: [whole[0], msgspec.structs.replace(whole[1], offset=0), whole[2]])
    assert "clip 00000001-00: a wrong byte range 0" in found(dataset, "quick")
    rewrite_rows(dataset, 0, lambda _: [whole[0], whole[1], msgspec.structs.replace(whole[2], size=1 << 40)])
    assert "is outside the file" in found(dataset)


def test_row_removed_is_found(dataset: Dataset) -> None:
    rewrite_rows(dataset, 0, lambda rows: rows[:2])
    assert "item 2 has neither clips nor a failure" in found(dataset, "quick")
    assert "clip 00000002-00: has files but no row" in found(dataset)


def hostile(dataset: Dataset, data: bytes) -> None:
    """Put `data` in place of shard 2 and make its manifest agree with it in size."""
    (dataset.path / "shards/000002.tar").write_bytes(data)
    seal, rows = read_manifest(dataset.path, 2)
    write_manifest(dataset.path, msgspec.structs.replace(seal, tar_bytes=len(data)), rows)


def test_duplicate_member_is_found(dataset: Dataset) -> None:
    piece = (dataset.path / "shards/000002.tar").read_bytes()[: -len(archive.END)]
    hostile(dataset, piece + piece + archive.END)
    assert "its files occur twice" in found(dataset) or "has a file twice" in found(dataset)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../../escape.txt", tarfile.REGTYPE), ("/abs.txt", tarfile.REGTYPE), ("00000006-00.x", tarfile.SYMTYPE),
     ("00000006-00.x", tarfile.LNKTYPE), ("00000006-00.x", tarfile.CHRTYPE), ("d", tarfile.DIRTYPE)],
)  # fmt: skip
def test_unsafe_member_is_found_and_nothing_is_extracted(dataset: Dataset, name: str, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    before = sorted(dataset.path.parent.rglob("*"))
    hostile(dataset, buffer.getvalue())
    text = found(dataset)
    assert "is not a regular file" in text or "is not a safe name" in text
    assert sorted(dataset.path.parent.rglob("*")) == before


def test_changed_header_is_found(dataset: Dataset) -> None:
    write_document(dataset.path, Document(header=header(recipe={"name": "toy", "render": {"samples": 999}})))
    text = found(dataset, "quick")
    assert text.count("was written under another dataset.json") == 3


def test_shard_copied_from_another_dataset_is_found(dataset: Dataset, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", failed=[4], seed=8)
    for folder in ("shards", "manifest", "failures", "previews"):
        for path in (other.path / folder).glob("000001.*"):
            (dataset.path / folder / path.name).write_bytes(path.read_bytes())
    text = found(dataset)
    assert "manifest/000001.parquet: was written under another dataset.json" in text
    assert "000000." not in text and "000002." not in text


def test_unreadable_failures_and_manifest_are_findings_not_crashes(dataset: Dataset) -> None:
    (dataset.path / "failures/000000.parquet").write_bytes(b"PAR1 nothing PAR1")
    (dataset.path / "manifest/000001.parquet").write_bytes(b"")
    text = found(dataset, "quick")
    assert "failures/000000.parquet: cannot be read" in text and "manifest/000001.parquet: cannot be read" in text


def test_foreign_parquet_as_manifest_is_found(dataset: Dataset) -> None:
    table = pq.read_table(dataset.path / "manifest/000000.parquet").replace_schema_metadata({})
    pq.write_table(table, dataset.path / "manifest/000000.parquet")
    assert "its metadata has no seal" in found(dataset, "quick")


def test_unreadable_header_is_a_finding(dataset: Dataset) -> None:
    (dataset.path / "dataset.json").write_text("{")
    assert "dataset.json: not a dataset header" in found(dataset)


def test_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        verify(tmp_path / "nowhere")


def test_unfinished_dataset_is_whole_and_says_what_is_missing(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", shards=[0])
    write_item(dataset.item_path(3), [raw_sample(3)])
    report = verify(dataset.path)
    assert report.ok and (report.shards, report.missing) == (1, 2)


def test_broken_work_item_is_found(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", shards=[0])
    write_item(dataset.item_path(3), [raw_sample(3)])
    flip(dataset.item_path(3), 1600)
    write_item(dataset.item_path(5), [raw_sample(4)])
    text = found(dataset)
    assert (
        "work/00000003.tar: clip 00000003-00" in text and "work/00000005.tar: holds clips of another work item" in text
    )


def test_leftover_of_a_killed_run_is_found(dataset: Dataset) -> None:
    (dataset.path / "manifest/.000000.parquet.77-0123abcd.tmp").write_bytes(b"x")
    write_item(dataset.item_path(0), [raw_sample(0)])
    text = found(dataset, "quick")
    assert (
        "had not finished" in text and "work/00000000.tar: a work item of shard 0, which is already committed" in text
    )


def test_decode_level_finds_a_clip_that_no_longer_decodes(tmp_path: Path) -> None:
    def sample(scene: int, light: int):  # type: ignore[no-untyped-def]
        good = clip_sample(scene, light)
        return replace(good, files=good.files | {"0001.exr": b"not an EXR"}) if scene == 1 else good

    dataset = make_dataset(tmp_path / "d", sample=sample, items=2)
    assert verify(dataset.path, "full").ok
    report = verify(dataset.path, "decode")
    assert [finding.key for finding in report.findings] == ["00000001-00"]
    assert "cannot be decoded" in report.findings[0].what


def test_decode_level_finds_a_clip_in_another_codec(tmp_path: Path) -> None:
    dataset = make_dataset(
        tmp_path / "d", sample=lambda s, n: clip_sample(s, n, codec="exact"), items=1, codec="compact"
    )
    assert "clip 00000000-00: is coded as exact" in found(dataset, "decode")


def test_verify_and_repair_need_neither_blender_nor_torch_nor_ray(dataset: Dataset) -> None:
    code = f"""
import sys
for name in ("bpy", "torch", "ray", "objaverse", "diffusers"):
    sys.modules[name] = None
from manifests.audit.repair import repair
from manifests.audit.verify import verify
from pathlib import Path
path = Path({str(dataset.path)!r})
assert verify(path, "decode").findings
assert repair(path).requeued == (0,)
print(verify(path).ok)
"""
    row = dataset.rows(0)[0]
    flip(dataset.path / "shards/000000.tar", row.offset + 1600)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert done.stdout == "True\n", done.stderr


def test_a_large_check_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", items=70, per_shard=1)

    def stop(size: int) -> None:
        done.append(size)
        if len(done) == 40:
            raise KeyboardInterrupt

    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        verify(dataset.path, threads=1, progress=stop)
    flip(dataset.path / "shards/000003.tar", 700)
    again: list[int] = []
    report = verify(dataset.path, threads=1, progress=again.append)
    assert {finding.shard for finding in report.findings} == {3}
    journal = dataset.path / layout.VERIFIED
    assert not journal.exists()
    tar = dataset.path / "shards/000001.tar"
    quick, full = tar.stat().st_size, tar.stat().st_size - len(archive.END)
    assert [again[shard] for shard in (1, 3, 38, 41, 69)] == [quick, full, quick, full, full]


def test_a_large_check_in_two_processes_finds_what_one_thread_finds(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", items=70, per_shard=1)
    flip(dataset.path / "shards/000066.tar", 700)
    assert verify(dataset.path, threads=2) == verify(dataset.path, threads=1)


def test_a_sample_reads_that_share_of_the_shards_and_looks_at_the_rest(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", items=20, per_shard=1)
    for shard in range(20):
        flip(dataset.path / f"shards/{shard:06d}.tar", 700)
    found_in = {finding.shard for finding in verify(dataset.path, sample=0.1).findings}
    assert len(found_in) == 2
    layout.shard_file(dataset.path, layout.SHARDS, 9).unlink()
    assert 9 in {finding.shard for finding in verify(dataset.path, sample=0.01).findings}
    with pytest.raises(InputError, match="give a share above 0"):
        verify(dataset.path, sample=0)
