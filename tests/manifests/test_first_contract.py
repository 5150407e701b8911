"""Datasets of contract 1, made by the last release that wrote it: read as they are, upgraded in place, merged."""

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from manifests.audit import repair as repairing
from manifests.audit.attribution import attribution
from manifests.audit.merge import merge
from manifests.audit.repair import RepairReport, repair
from manifests.audit.stats import stats
from manifests.audit.verify import verify
from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import CONTRACT_VERSION
from manifests.contract.row import ClipRow
from manifests.errors import DatasetError
from manifests.store import archive, shards
from manifests.store.dataset import Dataset, open_dataset, open_or_create
from manifests.store.header import read_document
from manifests.store.row_file import without_packing
from manifests.store.shards import read_failure, read_item, write_failure, write_item, write_shard
from tests.manifests.clips import failure, make_dataset, raw_sample
from tests.manifests.test_verify import flip

KEPT = Path(__file__).parent / "data" / "contract-1"
RENAMED = {"item": "scene", "part": "light", "seconds": "render_seconds", "steps": "samples"}
PACKING = {"shard": -1, "offset": -1, "size": -1, "sha256": ""}


@pytest.fixture(params=["rendered", "labelled", "merged"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return unpacked(request.param, tmp_path)


def unpacked(name: str, folder: Path) -> Dataset:
    with tarfile.open(KEPT / f"{name}.tar.xz") as kept:
        kept.extractall(folder, filter="data")
    return open_dataset(folder / name)


def written(dataset: Dataset, folder: str = "manifest") -> list[dict]:
    """The rows as they stand in the Parquet files, whatever the code makes of them."""
    tables = [pq.read_table(path) for path in sorted((dataset.path / folder).glob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist(maps_as_pydicts="strict")]


def translated(row: dict) -> dict:
    """A row of contract 1 in the words of today, by hand."""
    new = {name: row[RENAMED.get(name, name)] for name in ClipRow.__struct_fields__ if RENAMED.get(name, name) in row}
    new["statistics"] = {name: value for name, value in row["statistics"].items() if name != "item.clips"}
    new |= {"setting": "", "network": "", "sampler": "", "item_clips": int(row["statistics"].get("item.clips", 0))}
    if row["stage"] == "label":
        new |= {"recipe": "", "network": "tiny teacher", "sampler": "one-step"}
    return new


def upgraded_rows(rows: list[dict], dataset: Dataset) -> list[dict]:
    """The translated rows as packing completes them; their place in the tar is another."""
    complete = []
    for row in map(translated, rows):
        lights = dataset.header.source(row["shard"]).lights
        complete.append(row | {"item_clips": row["item_clips"] or lights, "offset": 0, "size": 0, "sha256": ""})
    return complete


def plain(rows: list[ClipRow]) -> list[dict]:
    return [msgspec.json.decode(msgspec.json.encode(row)) for row in rows]


def placeless(rows: list[dict]) -> list[dict]:
    return [row | {"offset": 0, "size": 0, "sha256": ""} for row in rows]


def files(dataset: Dataset) -> dict[str, dict[str, bytes]]:
    return {row.key: dataset.files(row) for row in dataset.rows()}


def previews(dataset: Dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (dataset.path / "previews").iterdir()}


def everything(dataset: Dataset) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in dataset.path.rglob("*") if path.is_file() and path.name != ".lock"}


def test_old_datasets_are_clean_and_read_in_the_words_of_today(old: Dataset) -> None:
    assert old.header.contract == 1 and verify(old.path, "full").ok
    assert plain(old.rows()) == [translated(row) for row in written(old)]
    failures = [msgspec.to_builtins(row) for row in old.failures()]
    assert failures == [{"item": row.pop("scene")} | row for row in written(old, "failures")]
    assert all(suffixes for suffixes in files(old).values())


@pytest.mark.parametrize("name", ["rendered", "labelled"])
def test_clips_of_old_datasets_decode(name: str, tmp_path: Path) -> None:
    dataset = unpacked(name, tmp_path)
    assert verify(dataset.path, "decode").ok
    for row in dataset.rows():
        assert decode_clip(row.key, dataset.files(row)).arrays["rgb"].shape == (1, 8, 8, 3)


def test_counts_and_credits_do_not_change_with_the_upgrade(old: Dataset) -> None:
    before, owed = stats(old), attribution(old)
    assert (before.clips, before.items) == {"rendered": (6, 3), "labelled": (3, 2), "merged": (3, 2)}[old.path.name]
    assert before.hours == sum(row["render_seconds"] + row["encode_seconds"] for row in written(old)) / 3600
    repair(old.path)
    after = stats(old.path)
    assert msgspec.to_builtins(after) | {"bytes": 0} == msgspec.to_builtins(before) | {"bytes": 0}
    assert attribution(old.path) == owed


def test_repair_upgrades_in_place_and_loses_nothing(old: Dataset) -> None:
    rows, failures, kept, sheets = written(old), old.failures(), files(old), previews(old)
    measured = read_document(old.path).measured
    report = repair(old.path)
    assert (report.upgraded, report.new_contract, report.lost, report.removed) == (tuple(old.shards()), True, 0, ())
    new = open_dataset(old.path)
    assert new.header == msgspec.structs.replace(old.header, contract=CONTRACT_VERSION)
    assert verify(new.path, "full").ok
    assert placeless(plain(new.rows())) == upgraded_rows(rows, old) and new.failures() == failures
    assert placeless(written(new)) == placeless(plain(new.rows()))
    assert files(new) == kept and previews(new) == sheets
    assert msgspec.structs.replace(read_document(new.path).measured, bytes=0) == msgspec.structs.replace(
        measured, bytes=0
    )


def test_a_second_repair_changes_nothing(old: Dataset) -> None:
    repair(old.path)
    before = everything(old)
    if old.header.sources:
        with pytest.raises(DatasetError, match="repair those and merge"):
            repair(old.path)
    else:
        assert not repair(old.path).changed
    assert everything(old) == before


def test_rows_in_the_shard_are_upgraded_too(old: Dataset) -> None:
    repair(old.path)
    dataset = open_dataset(old.path)
    for shard in dataset.shards():
        with (dataset.path / f"shards/{shard:06d}.tar").open("rb") as file:
            size = file.seek(0, 2)
            inside = [one for one in archive.scan(file, size) if one.suffix == "row.json"]
            found = [msgspec.json.decode(archive.read_at(file, one.data, one.size))["row"] for one in inside]
        assert found == [row | PACKING for row in plain(dataset.rows(shard))]


def test_what_waits_in_work_is_packed_after_the_upgrade(tmp_path: Path) -> None:
    old = unpacked("rendered", tmp_path)
    waiting, failed = read_item(old.item_path(4)), read_failure(old.failure_path(5))
    assert [sample.row.item for sample in waiting] == [4, 4] and (failed.item, failed.shard) == (5, 2)
    repair(old.path)
    dataset = open_or_create(old.path, msgspec.structs.replace(old.header, contract=CONTRACT_VERSION))
    assert read_item(dataset.item_path(4)) == waiting and read_failure(dataset.failure_path(5)) == failed
    rows = write_shard(dataset.path, 2, [dataset.item_path(4)], [failed])
    dataset.clean()
    assert dataset.finish().complete and verify(dataset.path).ok
    expected = [msgspec.structs.replace(sample.row, item_clips=2) for sample in waiting]
    assert [without_packing(row) for row in rows] == expected
    assert files(dataset).items() >= {sample.key: sample.files for sample in waiting}.items()


def test_a_run_does_not_go_on_writing_under_the_old_contract(old: Dataset) -> None:
    before = everything(old)
    with pytest.raises(DatasetError, match=r"under contract 1, and this release writes 2; run `lightloom data repair`"):
        open_or_create(old.path, msgspec.structs.replace(old.header, contract=CONTRACT_VERSION))
    with pytest.raises(DatasetError, match=r"seed is \d, not 99"):
        open_or_create(old.path, msgspec.structs.replace(old.header, contract=CONTRACT_VERSION, seed=99))
    assert everything(old) == before


class Killed(BaseException):
    """Ends a program at once, like a signal."""


def steps_of(monkeypatch: pytest.MonkeyPatch, kill_at: int) -> list[str]:
    """Every step of an upgrade that changes the disk is noted; the one numbered `kill_at` does not take place."""
    seen: list[str] = []

    def counted(name: str, call):  # type: ignore[no-untyped-def]
        def step(*arguments, **options):  # type: ignore[no-untyped-def]
            if len(seen) == kill_at:
                raise Killed
            seen.append(name)
            return call(*arguments, **options)

        return step

    monkeypatch.setattr(repairing, "write_document", counted("header", repairing.write_document))
    monkeypatch.setattr(shards, "remove", counted("remove", shards.remove))
    monkeypatch.setattr(shards, "write_bytes", counted("write", shards.write_bytes))
    monkeypatch.setattr(Dataset, "finish", counted("finish", Dataset.finish))
    return seen


def test_killed_anywhere_the_dataset_stays_readable_and_the_next_repair_completes_it(
    old: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(old.path, tmp_path / "spare")
    kept, failures = files(old), old.failures()
    drawn = {f"shard {path.stem}": path.read_bytes() for path in (old.path / "previews").iterdir()}
    monkeypatch.setattr(shards.ContactSheet, "webp", lambda sheet: drawn[sheet._title])  # as they were drawn then
    with monkeypatch.context() as patch:
        steps = steps_of(patch, -1)
        repair(old.path)
    expected = everything(old)
    for kill_at in range(len(steps)):
        shutil.rmtree(old.path)
        shutil.copytree(tmp_path / "spare", old.path)
        with monkeypatch.context() as patch:
            steps_of(patch, kill_at)
            with pytest.raises(Killed):
                repair(old.path)
        torn = open_dataset(old.path)
        assert files(torn).items() <= kept.items() and len(torn.shards()) >= len(old.shards()) - 1, steps[kill_at]
        assert stats(torn).clips == len(torn.rows())
        if torn.header.contract == 1 or not verify(torn.path).ok:
            repair(old.path)
        assert verify(old.path).ok and everything(old) == expected, steps[kill_at]
        again = open_dataset(old.path)
        assert files(again) == kept and again.failures() == failures


def test_damage_in_an_old_dataset_is_mended_on_the_way(tmp_path: Path) -> None:
    old = unpacked("rendered", tmp_path)
    kept = {row.key: old.files(row) for row in old.rows()}
    flip(old.path / "shards/000000.tar", old.rows(0)[1].offset + 1600)
    report = repair(old.path)
    assert (report.upgraded, report.requeued, report.kept, report.lost) == ((1,), (0,), 2, 1)
    new = open_dataset(old.path)
    assert verify(new.path).ok and [row.item for row in new.rows()] == [3, 3]
    assert {sample.key: sample.files for sample in read_item(new.item_path(1))}.items() <= kept.items()


def test_old_shards_under_a_new_header_are_named(tmp_path: Path) -> None:
    old = unpacked("labelled", tmp_path)
    path = old.path / "dataset.json"
    path.write_text(path.read_text().replace('"contract": 1', '"contract": 2'))
    (finding,) = verify(old.path).findings
    assert finding.kind == "older" and str(finding) == (
        "manifest/000000.parquet: is still of contract 1, not 2; run `lightloom data repair`, which upgrades it"
    )
    assert repair(old.path) == RepairReport(upgraded=(0,)) and verify(old.path).ok


def test_damage_in_an_old_merged_dataset_is_for_its_sources(tmp_path: Path) -> None:
    old = unpacked("merged", tmp_path)
    flip(old.path / "shards/000000.tar", old.rows(0)[0].offset + 1600)
    before = everything(old)
    with pytest.raises(DatasetError, match="repair those and merge"):
        repair(old.path)
    assert everything(old) == before


def test_old_and_new_datasets_merge(tmp_path: Path) -> None:
    old = unpacked("merged", tmp_path)
    sample = raw_sample(0)
    other = replace(sample, row=msgspec.structs.replace(sample.row, spec_digest="5" * 64))
    new = make_dataset(tmp_path / "new", [1], lambda scene, light: other, items=2, per_shard=2)
    measured = merge([old.path, new.path], tmp_path / "out")
    merged = open_dataset(tmp_path / "out")
    assert merged.header.contract == CONTRACT_VERSION and verify(merged.path).ok
    assert (measured.clips, measured.failures) == (4, 2)
    assert [row.item_clips for row in merged.rows()] == [2, 2, 1, 1]
    was = [*files(old).values(), dict(other.files)]
    assert sorted(files(merged).values(), key=str) == sorted(was, key=str)
    assert open_dataset(old.path).header.contract == 1 and verify(old.path).ok


def test_upgraded_failures_and_items_can_be_written_again(tmp_path: Path) -> None:
    old = unpacked("rendered", tmp_path)
    samples, note = read_item(old.item_path(4)), read_failure(old.failure_path(5))
    write_item(tmp_path / "again.tar", samples)
    write_failure(tmp_path / "again.json", note)
    assert read_item(tmp_path / "again.tar") == samples and read_failure(tmp_path / "again.json") == note
    assert note == failure(5, 2)
