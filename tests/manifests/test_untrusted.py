"""Files of strangers: bounded reads, one JSON decoder, one YAML reader, text fit for a terminal, linear globs."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from manifests.contract.row import ClipRow
from manifests.errors import DatasetError, InputError
from manifests.sidecars import SidecarRule, read_rules
from manifests.store import tables
from manifests.store.header import Header
from manifests.store.shards import read_failure
from manifests.store.tables import from_table, read_parquet, to_table
from manifests.untrusted import decode_json, decode_yaml, printable, read_bounded, read_yaml
from tests.manifests.clips import header, raw_sample

ROOT = Path(__file__).parents[2]

GOOD_YAML = [
    "a: 1\nb: [1, 2.5, yes, ~, 'x', 0x10, .inf]",
    "a:\n  - {b: c, d: [e]}\n  -\n    f: |\n      text\n      more",
    "",
    "# nothing but a comment",
    '"quoted: key": "value # no comment"',
    "é: 日本",
    "? long key\n: value",
    "a: >-\n  folded\n  text",
    "[]",
    "true",
    "a: '5'",
    "x: -1.5e-3\ny: +7\nz: 1_000\nw: 017",
]
BAD_YAML = {
    "a: &x 1\nb: *x": "line 2: aliases",
    "a: &a [x, x]\nb: &b [*a, *a]": "aliases",
    "<<: {a: 1}": "merge keys",
    "base: 1\n<<: 2": "merge keys",
    "a: 1\nb: 2\na: 3": "line 3: 'a' is given twice",
    "a: {b: 1, b: 2}": "'b' is given twice",
    "1: a\n1.0: b": "given twice",
    "a: !!python/object/apply:os.system [id]": "tags",
    "a: !!timestamp 2001-99-99": "tags",
    "a: !!binary x": "tags",
    "a: !!int x": "tags",
    "!custom {}": "tags",
    "? [1, 2]\n: 3": "a key is a mapping or a list",
    "{{}: 1}": "a key is a mapping or a list",
    "- 1\n---\n- 2": "one document",
    "[" * 33 + "]" * 33: "deeper than 32",
    "[" * 100_000: "deeper than 32",
    "\n".join(" " * n + "a:" for n in range(40)): "deeper than 32",
    "a: " + "9" * 100_000: "a number of 100000 characters",
    "a: {": "line 2",
    "a: b: c": "mapping values are not allowed",
    "\ta: 1": "cannot start any token",
    "a: \x01": "control characters",
    "a: 'open": "quoted scalar",
}


@pytest.mark.parametrize("text", GOOD_YAML)
def test_yaml_of_plain_values_is_read_as_others_read_it(text: str) -> None:
    assert decode_yaml(text.encode()) == yaml.safe_load(text)


def test_what_looks_like_a_date_stays_text() -> None:
    assert decode_yaml(b"day: 2024-05-01") == {"day": "2024-05-01"}


@pytest.mark.parametrize("text", BAD_YAML, ids=[text[:20] for text in BAD_YAML])
def test_yaml_that_hides_something_is_one_error_with_its_place(text: str) -> None:
    with pytest.raises(ValueError, match=BAD_YAML[text]) as caught:
        decode_yaml(text.encode())
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_yaml_that_is_not_utf_8(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not UTF-8 at byte 3"):
        decode_yaml(b"a: \xff")


def test_all_yaml_of_the_project_means_what_it_meant() -> None:
    for folder in ("scenes", "training", "docs"):
        for path in (ROOT / folder).rglob("*.y*ml"):
            assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8")), path


def test_a_read_is_bounded_and_takes_regular_files_only(tmp_path: Path) -> None:
    small, pipe, hole = tmp_path / "small", tmp_path / "pipe", tmp_path / "hole"
    small.write_bytes(b"12345")
    assert read_bounded(small, 5) == b"12345"
    assert read_bounded(small, 1 << 46) == b"12345"  # more than there is memory for
    assert read_bounded(Path("/proc/self/stat"), 1 << 16)  # claims to be empty
    os.mkfifo(pipe)
    with hole.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="larger than 4 B"):
        read_bounded(small, 4)
    with pytest.raises(OSError, match=r"larger than 1\.0 MB"):
        read_bounded(hole, 1_000_000)
    for odd in (pipe, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            read_bounded(odd, 10)
    for odd in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OSError, match=r"not a regular file|No such file"):
            read_bounded(odd, 10)
    link = tmp_path / "link"
    link.symlink_to("/dev/urandom")
    with pytest.raises(OSError, match="not a regular file"):
        read_bounded(link, 10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b'"\\ud800"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1e999",
        b"nan",
        b"9" * 9000,
    ],
    ids=lambda data: repr(data[:8]),
)
def test_json_has_one_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(data, dict[str, Any])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 😀", "plain é 日本 😀"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\ud800", "\\ud800"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
    ],
)
def test_a_terminal_is_shown_nothing_that_it_obeys(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*.glb", "a.glb", True),
        ("*.glb", "b/a.glb", False),
        ("**/*.glb", "b/c/a.glb", True),
        ("**/*.glb", "a.glb", True),
        ("rocks/**", "rocks/a/b", True),
        ("rocks/**", "stones/a", False),
        ("a?c", "abc", True),
        ("a[0-9]c", "a5c", True),
        ("a[!0-9]c", "a5c", False),
        ("**", "any/thing", True),
        ("a*b*c", "aXXbYYc", True),
        ("a*b*c", "aXXbYY", False),
        ("A.glb", "a.glb", False),
        ("a/**/b", "a/b", True),
        ("[]]", "]", True),
    ],
)
def test_globs(pattern: str, name: str, fits: bool) -> None:
    assert SidecarRule(path=pattern).fits(name) == fits


def test_globs_take_no_longer_for_being_hostile() -> None:
    started = time.process_time()
    assert not SidecarRule(path="*a" * 200 + "b").fits("a" * 250)
    assert not SidecarRule(path="**/a/" * 80 + "b").fits("a/" * 120 + "c")
    assert time.process_time() - started < 2


def test_rules_beside_assets_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "lightloom.yaml"
    path.write_text("assets:\n- {path: '" + "*" * 600 + "'}")
    with pytest.raises(InputError, match="length <= 500"):
        read_rules(path, "assets", SidecarRule)
    path.write_text("assets: []\nassets: []")
    with pytest.raises(InputError, match="line 2: 'assets' is given twice"):
        read_rules(path, "assets", SidecarRule)


@pytest.mark.parametrize("field", ["items", "per_shard", "lights"])
def test_a_header_cannot_claim_what_nobody_has(field: str) -> None:
    plain = msgspec.to_builtins(header()) | {field: 10**15}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(plain, Header)


def test_a_small_table_that_stands_for_gigabytes_is_refused(tmp_path: Path) -> None:
    text = pa.array(["x" * 1_000_000])
    column = pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([0] * 4000), text)])
    pq.write_table(pa.table({"key": column}), tmp_path / "bomb.parquet", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000
    with pytest.raises(ValueError, match="holds more than"):
        read_parquet(tmp_path / "bomb.parquet")
    with pytest.raises(OSError, match="not a regular file"):
        read_parquet(Path("/dev/zero"))


def test_a_table_of_too_many_rows_is_refused_by_its_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"key": pa.nulls(300_000, pa.int64())}), tmp_path / "long.parquet")
    with pytest.raises(ValueError, match="300000 rows, at most"):
        read_parquet(tmp_path / "long.parquet")
    monkeypatch.setattr(tables, "_LARGEST", 1 << 20)
    pq.write_table(pa.table({"key": pa.array(["x" * (2 << 20)])}), tmp_path / "wide.parquet", compression="zstd")
    with pytest.raises(ValueError, match="holds more than"):
        read_parquet(tmp_path / "wide.parquet")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("fps", pa.array([float("nan")])),
        ("seconds", pa.array([float("inf")])),
        ("statistics", pa.array([[("rgb.mean", float("nan"))]], pa.map_(pa.string(), pa.float64()))),
        ("confidence", pa.array([[("a", 0.5), ("a", 0.5)]], pa.map_(pa.string(), pa.float64()))),
        ("recipe", pa.array([2**62], pa.timestamp("s"))),
        ("frames", pa.array(["three"])),
        ("motions", pa.array([[1]])),
    ],
)
def test_a_row_that_is_no_row_is_one_error(column: str, values: pa.Array) -> None:
    table = to_table([raw_sample(0, 0).row], ClipRow)
    odd = table.set_column(table.schema.get_field_index(column), column, values)
    with pytest.raises((ValueError, msgspec.ValidationError)):
        from_table(odd, ClipRow)
    more = table.append_column("unknown", pa.array([2**62], pa.timestamp("s")))
    assert from_table(more, ClipRow) == from_table(table, ClipRow)


def test_rows_of_more_values_than_a_machine_has_time_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = raw_sample(0, 0).row
    rows = [msgspec.structs.replace(row, statistics={"a": 1.0, "b": 2.0}, confidence={}, codec_errors={})] * 2
    table = to_table(rows, ClipRow)
    values = 2 * (2 + len(row.attributes) + len(row.motions) + len(row.assets) + len(row.materials) + len(row.flags))
    monkeypatch.setattr(tables, "_MOST_VALUES", values)
    assert from_table(table, ClipRow) == rows
    monkeypatch.setattr(tables, "_MOST_VALUES", values - 1)
    with pytest.raises(ValueError, match=f"{values} values in all"):
        from_table(table, ClipRow)


def test_threads_that_meet_a_type_together_all_get_it() -> None:
    """Verify reads shards in threads; msgspec crashed where two of them decoded the first of a kind together."""
    for round_ in range(300):
        inner = msgspec.defstruct(f"Inner{round_}", [(f"a{n}", int, 0) for n in range(40)])
        kind = msgspec.defstruct(f"Outer{round_}", [("inner", dict[str, inner]), ("more", list[inner])])
        start = threading.Barrier(4)

        def read(kind: type = kind, start: threading.Barrier = start) -> object:
            start.wait()
            return decode_json(b'{"inner": {"x": {}}, "more": [{}]}', kind)

        with ThreadPoolExecutor(4) as pool:
            assert len({repr(one.result()) for one in [pool.submit(read) for _ in range(4)]}) == 1


def test_a_failure_note_of_a_stranger_is_one_line(tmp_path: Path) -> None:
    for data in (b"\xff", b"[" * 10_000, b"{}"):
        (tmp_path / "note.json").write_bytes(data)
        with pytest.raises(DatasetError, match="not a failure note"):
            read_failure(tmp_path / "note.json")
