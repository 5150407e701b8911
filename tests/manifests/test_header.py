"""dataset.json: written first, compared field by field, refused when it cannot be believed."""

from pathlib import Path

import msgspec
import pytest

from manifests.errors import DatasetError
from manifests.store.header import Document, MergedSource, attribute_table, difference, read_document, write_document
from tests.manifests.clips import header


def test_header_survives_its_file(tmp_path: Path) -> None:
    write_document(tmp_path, Document(header=header()))
    assert read_document(tmp_path).header == header()


def test_attribute_table_is_plain_json_with_infinity_spelled_out() -> None:
    table = msgspec.json.decode(msgspec.json.encode(attribute_table()))
    assert table["depth"]["high"] == "inf" and table["depth"]["background"] == ["inf"]
    assert table["normal"]["background"] == [0.0, 0.0, 1.0]
    assert list(table)[:3] == ["rgb", "basecolor", "normal"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "seed is 7, not 8"),
        ({"recipe": {"name": "toy", "render": {"samples": 32}}}, "recipe.render.samples is 16, not 32"),
        ({"recipe": {"name": "toy", "render": {"samples": 16, "b": 4}}}, "recipe.render.b is not set, not 4"),
        ({"recipe": {"name": "toy"}}, 'recipe.render is {"samples":16}, not unset'),
        ({"codec": "compact"}, 'codec is "exact", not "compact"'),
        ({"lights": 2}, "lights is 1, not 2"),
        ({"catalogue": "decaf"}, 'catalogue is "c0ffee", not "decaf"'),
        ({"attributes": attribute_table() | {"rgb": attribute_table()["rgb"] | {"unit": "nit"}}},
         'attributes.rgb.unit is "radiance", not "nit"'),
    ],
)  # fmt: skip
def test_difference_names_the_field(change: dict[str, object], named: str) -> None:
    assert difference(header(), header(**change)) == named


def test_only_an_optional_attribute_may_have_come_with_a_later_release() -> None:
    now = attribute_table()
    for name, expected in (("flow", None), ("geometric_normal", None), ("mask", "attributes.mask is not set, not {")):
        earlier = {other: row for other, row in now.items() if other != name}
        found = difference(header(attributes=earlier), header(attributes=now))
        assert found is None if expected is None else str(found).startswith(expected)
        assert (difference(header(attributes=now), header(attributes=earlier)) is None) == (expected is None)


def test_equal_headers_do_not_differ_and_share_a_digest() -> None:
    assert difference(header(), header(recipe={"render": {"samples": 16.0}, "name": "toy"})) is None
    assert header().digest() == header(recipe={"render": {"samples": 16}, "name": "toy"}).digest()
    assert header().digest() != header(seed=8).digest()


def test_shards_hold_consecutive_items_and_the_last_may_be_short() -> None:
    assert [list(header().shard_items(shard)) for shard in range(4)] == [[0, 1, 2], [3, 4, 5], [6], []]
    assert header().shards == 3


def test_shards_of_a_merged_dataset_keep_the_items_of_their_source() -> None:
    common = {"prefix": "", "stage": "datagen", "recipe": {}, "lights": 1, "catalogue": "", "seed": 1}
    sources = (
        MergedSource(first_shard=0, shards=2, items=3, per_shard=2, **common),
        MergedSource(first_shard=2, shards=1, items=5, per_shard=8, **common),
    )
    merged = header(sources=sources, items=8)
    assert [list(merged.shard_items(shard)) for shard in range(3)] == [[0, 1], [2], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": "lightloom dataset"}', b'{"format":"x","header":{"contract":1}}', b"\xff\xfe"],
)
def test_unreadable_header_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        read_document(tmp_path)


def test_header_of_a_newer_contract_says_so(tmp_path: Path) -> None:
    write_document(tmp_path, Document(header=header(contract=99)))
    with pytest.raises(DatasetError, match="contract version 99"):
        read_document(tmp_path)


def test_folder_without_a_dataset_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset\.json here"):
        read_document(tmp_path)
