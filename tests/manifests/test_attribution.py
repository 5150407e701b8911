"""Credits are complete, escaped, and warn of licences that need a decision."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from manifests.audit.attribution import Credit, attribution
from manifests.contract.row import AssetUse, Sample
from tests.manifests.clips import make_dataset, raw_sample

HOSTILE = AssetUse(
    uid="x|y", kind="mesh", source="folder", licence="CC-BY-NC-4.0", author="=cmd()<script>", url="javascript:alert(1)"
)


def hostile(scene: int, light: int) -> Sample:
    plain = raw_sample(scene, light)
    return replace(plain, row=msgspec.structs.replace(plain.row, assets=(*plain.row.assets, HOSTILE)))


def credit(licence: str, author: str = "A") -> Credit:
    return Credit("u", "mesh", "folder", licence, author, "", 1)


def test_every_asset_is_credited_with_its_clips(tmp_path: Path) -> None:
    result = attribution(make_dataset(tmp_path / "d", failed=[4]).path)
    assert [(one.kind, one.uid, one.clips) for one in result.credits] == [
        ("environment", "sky", 6), ("mesh", "mesh-0", 3), ("mesh", "mesh-1", 1), ("mesh", "mesh-2", 2),
    ]  # fmt: skip
    assert result.warnings == []
    assert "| [sky](<https://example.org/sky>) | CC-BY-4.0 | A. Painter | folder | 6 |" in result.markdown()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    result = attribution(make_dataset(tmp_path / "d", sample=hostile).path)
    page = result.markdown()
    assert "javascript" not in page and "<script>" not in page
    assert r"| x\|y | CC-BY-NC-4.0 | =cmd\(\)\<script\> | folder | 7 |" in page
    rows = list(csv.DictReader(io.StringIO(result.csv())))
    assert [row["author"] for row in rows if row["uid"] == "x|y"] == ["'=cmd()<script>"]
    assert result.warnings == ["mesh x|y: CC-BY-NC-4.0 forbids commercial use, in 7 clips"]


@pytest.mark.parametrize(
    ("licence", "warned"),
    [("CC0-1.0", ""), ("CC-BY-4.0", ""), ("CC-BY-SA-4.0", ""), ("Apache-2.0", ""), ("MIT", ""), ("ODC-By-1.0", ""),
     ("CC-BY-NC-SA-4.0", "forbids commercial use"), ("by-nc", "forbids commercial use"),
     ("CC-BY-ND-4.0", "forbids derivatives"),
     ("", "unknown licence"), ("Unknown", "unknown licence"), ("NOASSERTION", "unknown licence")],
)  # fmt: skip
def test_licences_that_need_a_decision_are_named(licence: str, warned: str) -> None:
    assert warned in credit(licence).warning and bool(warned) == bool(credit(licence).warning)


def test_missing_author_matters_where_the_licence_asks_for_one() -> None:
    assert "asks for the author" in credit("CC-BY-4.0", author="").warning
    assert credit("CC0-1.0", author="").warning == ""


def test_files_are_written_beside_the_data(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d")
    page, table = attribution(dataset).write(dataset.path)
    assert page.read_text().startswith("# Assets in d") and table.read_text().startswith("uid,kind,")
