"""PLY and STL files are held against what they announce before an importer reads them, and their colours are said."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from datagen.assets.asset_file import AssetError, AssetLimits
from datagen.assets.inspection import inspect
from tests.datagen.meshfiles import ply, stl

FACE = "face 1\nproperty list uchar int vertex_indices\n"
POSITION = "property float x\nproperty float y\nproperty float z\n"
LIST = "property list uchar int vertex_indices\n"
RGB = "property uchar red\nproperty uchar green\nproperty uchar blue\n"
BODY = bytes(4096)


def header(*elements: str, form: str = "binary_little_endian", extra: str = "", end: str = "\n") -> bytes:
    text = f"ply\nformat {form} 1.0\n{extra}" + "".join(f"element {element}" for element in elements) + "end_header\n"
    return text.replace("\n", end).encode()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("colours", ["", RGB, RGB + "property uchar alpha\n", RGB.replace("uchar", "float")])
def test_colours_of_vertices_are_seen(tmp_path: Path, form: str, colours: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(header(f"vertex 3\n{POSITION}{colours}", FACE, form=form) + BODY)
    found = inspect(path)
    assert (found.format, found.vertex_colours, found.textured) == ("ply", bool(colours), False)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(f"vertex 2147483647\n{POSITION}", FACE) + BODY, "malformed"),
        (header(f"vertex 9999999999\n{POSITION}", FACE, form="ascii") + BODY, "malformed"),
        (header(f"vertex 99999999999999999999\n{POSITION}", FACE) + BODY, "malformed"),
        (header(f"vertex -3\n{POSITION}", FACE) + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", f"face 4000000000\n{LIST}") + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", f"face 3000\n{LIST}") + BODY, "too-large"),
        (header(f"vertex 300\n{POSITION}", FACE) + BODY, "too-large"),
        (header(f"vertex 3\n{POSITION}", FACE, f"camera 1000000\n{POSITION}") + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", f"vertex 3\n{POSITION}", FACE) + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}property quad w\n", FACE) + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", "face 1\nproperty list uchar int\n") + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", "face 1\n") + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", FACE, *["e{n} 1\n" + POSITION] * 400) + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", FACE, form="binary_middle_endian") + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", extra="comment " + "x" * 70_000 + "\n") + BODY, "malformed"),
        (b"ply\nelement vertex 3\n" + BODY, "malformed"),
        (b"plywood\n" + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}") + BODY, "no-geometry"),
        (header(f"vertex 3\n{POSITION}", f"face 0\n{LIST}") + BODY, "no-geometry"),
        (header(f"vertex 3\n{POSITION}property float f_dc_0\n") + BODY, "no-geometry"),
        (header() + BODY, "malformed"),
        (header(f"vertex 3\n{POSITION}", FACE, extra="comment TextureFile a\n") + BODY, "unsupported-format"),
        (header(f"vertex 3\n{POSITION}", f"face 1\n{LIST}{RGB}") + BODY, "unsupported-format"),
        (header(f"vertex 3\n{POSITION}property uchar r\nproperty uchar g\n", FACE) + BODY, "unsupported-format"),
        (
            header(f"vertex 3\n{POSITION}property uchar diffuse_red\n", FACE, end="\r\n") + BODY,
            "unsupported-format",
        ),
    ],
)  # fmt: skip
def test_a_ply_that_lies_or_holds_no_surface_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(data)
    with pytest.raises(AssetError) as caught:
        inspect(path, AssetLimits(elements=600, polygons=500))
    assert caught.value.reason == reason


@pytest.mark.parametrize("number", ["nan", "-inf", "1e39", "4" * 39])
@pytest.mark.parametrize("kind", ["ply", "stl"])
def test_numbers_of_a_text_that_are_not_finite_are_refused(tmp_path: Path, number: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    head = header(f"vertex 3\n{POSITION}property float quality\n", FACE, form="ascii").decode()
    for value, other, right in ((number, "1", False), ("1e30", number, True)):
        rows = f"0 0 {value} {other}\n1 0 0 {other}\n0 1 0 {other}\n3 0 1 2\n"
        corners = f"vertex 0 0 {value}\nvertex 1 0 0\nvertex 0 1 0\n"
        facet = f"solid a\nfacet normal 0 0 {other}\nouter loop\n{corners}endloop\nendfacet\nendsolid a\n"
        path.write_text(head + rows if kind == "ply" else facet)
        if right:
            assert inspect(path).format == kind
            continue
        with pytest.raises(AssetError) as caught:
            inspect(path)
        assert caught.value.reason == "bad-geometry"


def test_gaussian_splats_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_bytes(header(f"vertex 3\n{POSITION}property float f_dc_0\n") + BODY)
    with pytest.raises(AssetError, match="Gaussian splats"):
        inspect(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(80) + struct.pack("<I", 2**31 - 1) + bytes(100), "malformed"),
        (bytes(80) + struct.pack("<I", 3) + bytes(100), "malformed"),
        (bytes(80) + struct.pack("<I", 1) + bytes(100), "malformed"),
        (b"solid ".ljust(80) + struct.pack("<I", 9) + bytes(100), "malformed"),
        (bytes(80) + struct.pack("<I", 0), "no-geometry"),
        (bytes(80) + struct.pack("<I", 501) + bytes(501 * 50), "too-large"),
        (b"solid a\n" + b"facet endfacet\n" * 501 + b"endsolid a\n", "too-large"),
        (b"COLOR=abcd".ljust(80) + struct.pack("<I", 2) + bytes(100), "unsupported-format"),
        (b"solid a\nendsolid a\n", "malformed"),
        (bytes(40), "malformed"),
    ],
)
def test_an_stl_that_lies_or_holds_no_surface_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.stl"
    path.write_bytes(data)
    with pytest.raises(AssetError) as caught:
        inspect(path, AssetLimits(polygons=500))
    assert caught.value.reason == reason


@pytest.mark.parametrize("head", [b"", b"solid made by hand"])
def test_a_binary_stl_is_known_by_its_length(tmp_path: Path, head: bytes) -> None:
    assert inspect(stl(tmp_path / "a.stl", head)).format == "stl"


def test_a_ply_of_the_box_is_read(tmp_path: Path) -> None:
    assert inspect(ply(tmp_path / "a.ply", (0.6, 0.08, 0.05))).vertex_colours
