"""Lights as people have them: files written here byte by byte, and the radiance that the formats say they hold."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from manifests.codec.light_file import read_hdr, read_light
from manifests.errors import InputError

H, W = 8, 16
CODES = np.random.default_rng(1).integers(2, 256, (H, W, 4)).astype(np.uint8)
CODES[..., 3] = 126 + CODES[..., 3] % 6
CODES[2, 3:9] = (9, 200, 30, 130)
CODES[0, 0] = 0
RADIANCE = CODES[..., :3] / 256 * 2.0 ** (CODES[..., 3:].astype(float) - 128)
RADIANCE[0, 0] = 0
XYZ_TO_709 = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
BT2020_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
"""IEC 61966-2-1 and ITU-R BT.2087, as they are printed."""


# --- Radiance -------------------------------------------------------------------------------------------------


def new_runs(codes: np.ndarray) -> bytes:
    out = bytearray()
    for row in codes:
        out += bytes([2, 2, len(row) >> 8, len(row) & 255])
        for component in row.T.tolist():
            values = component
            while values:
                run = next((i for i, value in enumerate(values) if value != values[0]), len(values))
                out += bytes([128 + run, values[0]]) if run > 2 else bytes([1, values[0]])
                values = values[run if run > 2 else 1 :]
    return bytes(out)


def old_runs(codes: np.ndarray) -> bytes:
    out = bytearray()
    for line in codes.tolist():
        row = line
        while row:
            run = next((i for i, pixel in enumerate(row) if pixel != row[0]), len(row))
            out += bytes(row[0]) + (bytes([1, 1, 1, run - 1]) if run > 1 else b"")
            row = row[run:]
    return bytes(out)


def hdr(body: bytes, *fields: str, end: str = "\n", resolution: str = f"-Y {H} +X {W}") -> bytes:
    return end.join(["#?RADIANCE", *fields, "", resolution, ""]).encode() + body


FLAT = CODES.tobytes()
RGBE = "FORMAT=32-bit_rle_rgbe"
READ = {
    "flat": (hdr(FLAT, RGBE), RADIANCE),
    "new runs": (hdr(new_runs(CODES), RGBE), RADIANCE),
    "old runs": (hdr(old_runs(CODES), RGBE), RADIANCE),
    "mixed": (hdr(new_runs(CODES[:3]) + old_runs(CODES[3:]), RGBE), RADIANCE),
    "no format": (hdr(FLAT), RADIANCE),
    "crlf": (hdr(new_runs(CODES), RGBE, end="\r\n"), RADIANCE),
    "long header": (hdr(FLAT, *[f"# line {number}" for number in range(2000)], RGBE), RADIANCE),
    "other mark": (hdr(FLAT, RGBE).replace(b"RADIANCE", b"RGBE"), RADIANCE),
    "exposure": (hdr(FLAT, "EXPOSURE=4", RGBE), RADIANCE / 4),
    "exposures": (hdr(FLAT, "EXPOSURE=0.5", "EXPOSURE= 1e-1 ", RGBE), RADIANCE * 20),
    "exposure of a source": (hdr(FLAT, "\tEXPOSURE=4", "\tVIEW= -vtv", RGBE), RADIANCE),
    "colour correction": (hdr(FLAT, "COLORCORR=1 2 .5", "COLORCORR= 2 1 1", RGBE), RADIANCE / (2, 2, 0.5)),
    "square pixels": (hdr(FLAT, "PIXASPECT=2", "PIXASPECT=.5", "GAMMA=1.0", RGBE), RADIANCE),
    "xyze": (hdr(FLAT, "FORMAT=32-bit_rle_xyze"), RADIANCE @ XYZ_TO_709.T),
    "primaries of 709": (hdr(FLAT, "PRIMARIES=.64 .33 .3 .6 .15 .06 .3127 .329", RGBE), RADIANCE),
    "primaries of 2020": (
        hdr(FLAT, "PRIMARIES=.708 .292 .17 .797 .131 .046 .3127 .329", RGBE),
        RADIANCE @ BT2020_TO_709.T,
    ),
    "upside down": (hdr(FLAT, resolution=f"+Y {H} +X {W}"), RADIANCE[::-1]),
    "mirrored": (hdr(FLAT, resolution=f"-Y {H} -X {W}"), RADIANCE[:, ::-1]),
    "turned by half": (hdr(FLAT, resolution=f"+Y {H} -X {W}"), RADIANCE[::-1, ::-1]),
} | {
    f"columns {x}{y}": (
        hdr(np.swapaxes(CODES, 0, 1).tobytes(), resolution=f"{x}X {W} {y}Y {H}"),
        RADIANCE[:: -1 if y == "+" else 1, :: -1 if x == "-" else 1],
    )
    for x in "+-"
    for y in "+-"
}


@pytest.mark.parametrize("name", READ)
def test_a_radiance_file_holds_the_radiance_that_it_says(tmp_path: Path, name: str) -> None:
    data, expected = READ[name]
    path = tmp_path / "light.hdr"
    path.write_bytes(data)
    largest = expected.max(axis=-1, keepdims=True)
    assert (np.abs(read_light(path) - expected) <= 3e-4 * np.abs(largest) + 3e-4 * RADIANCE.max(axis=-1)[0, 0]).all()


def test_equal_parts_stay_grey_whatever_white_the_primaries_have(tmp_path: Path) -> None:
    grey = np.broadcast_to(np.array([90, 90, 90, 129], np.uint8), (H, W, 4)).tobytes()
    path = tmp_path / "grey.hdr"
    path.write_bytes(hdr(grey, "PRIMARIES= .64 .33 .29 .6 .15 .06 .3333 .3333", RGBE))
    np.testing.assert_allclose(read_light(path), 90 / 128, rtol=1e-5)


REFUSED = {
    "cut": (hdr(new_runs(CODES)[:-5], RGBE), "cut off: 7 of 8 scanlines"),
    "cut flat": (hdr(FLAT[:-1], RGBE), "cut off: 7 of 8"),
    "cut header": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "does not end"),
    "run too long": (hdr(bytes([2, 2, 0, W, 255, 7]) + FLAT, RGBE), "scanline 0 does not end"),
    "other length": (hdr(bytes([2, 2, 0, 9]) + FLAT, RGBE), "another length"),
    "run of nothing": (hdr(bytes([1, 1, 1, 3]) + FLAT, RGBE), "scanline 0 does not end"),
    "exposure": (hdr(FLAT, "EXPOSURE=bright"), "EXPOSURE=bright"),
    "exposure zero": (hdr(FLAT, "EXPOSURE=0"), "above 0"),
    "format": (hdr(FLAT, "FORMAT=Radiance_spectra"), "Radiance_spectra"),
    "aspect": (hdr(FLAT, "PIXASPECT=2"), "pixels must be square"),
    "gamma": (hdr(FLAT, "GAMMA=2.2"), "light must be linear"),
    "view": (hdr(FLAT, "VIEW= -vtv -vh 90"), "views"),
    "primaries": (hdr(FLAT, "PRIMARIES= 1 1 1 1 1 1 1 1"), "span no colours"),
    "resolution": (hdr(FLAT, resolution=f"-Y {H} +Y {W}"), "resolution line"),
    "huge": (hdr(FLAT, resolution="-Y 400000 +X 800000"), "800000x400000 pixels"),
    "square": (hdr(FLAT, resolution="-Y 16 +X 16"), "not a lat-long image"),
    "text": (b"no image", "magic number"),
}


# --- OpenEXR --------------------------------------------------------------------------------------------------


def attribute(name: str, kind: str, value: bytes) -> bytes:
    return f"{name}\0{kind}\0".encode() + struct.pack("<i", len(value)) + value


def box(left: int, top: int, right: int, bottom: int) -> bytes:
    return struct.pack("<4i", left, top, right, bottom)


WHOLE = (0, 0, W - 1, H - 1)
Planes = Mapping[str, np.ndarray]


def exr(
    *parts: Planes,
    data: tuple[int, int, int, int] = WHOLE,
    display: tuple[int, int, int, int] = WHOLE,
    names: tuple[str, ...] = (),
    sampling: int = 1,
    more: bytes = b"",
    aspect: float = 1.0,
    screen: float = 1.0,
) -> bytes:
    """An uncompressed scanline file; RY and BY hold every `sampling`-th row and column, of rows that are even."""
    headers, chunks = [], []
    many = len(parts) > 1
    for number, planes in enumerate(parts):
        listed, rows = b"", []
        for name, plane in sorted(planes.items()):
            step = sampling if name in ("RY", "BY") else 1
            code = {np.dtype(np.uint32): 0, np.dtype(np.float16): 1, np.dtype(np.float32): 2}[plane.dtype]
            listed += name.encode() + b"\0" + struct.pack("<iB3xii", code, 0, step, step)
        for y in range(data[1], data[3] + 1):
            row = b""
            for name, plane in sorted(planes.items()):
                step = sampling if name in ("RY", "BY") else 1
                row += plane[(y - data[1]) // step].tobytes() if y % step == 0 else b""
            rows.append((struct.pack("<i", number) if many else b"") + struct.pack("<ii", y, len(row)) + row)
        chunks.append(rows)
        headers.append(
            attribute("channels", "chlist", listed + b"\0")
            + attribute("compression", "compression", b"\0")
            + attribute("dataWindow", "box2i", box(*data))
            + attribute("displayWindow", "box2i", box(*display))
            + attribute("lineOrder", "lineOrder", b"\0")
            + attribute("pixelAspectRatio", "float", struct.pack("<f", aspect))
            + attribute("screenWindowCenter", "v2f", bytes(8))
            + attribute("screenWindowWidth", "float", struct.pack("<f", screen))
            + (attribute("name", "string", names[number].encode()) if many else b"")
            + (attribute("type", "string", b"scanlineimage") if many else b"")
            + (attribute("chunkCount", "int", struct.pack("<i", len(rows))) if many else b"")
            + more
            + b"\0"
        )
    start = b"\x76\x2f\x31\x01" + struct.pack("<I", 2 | (0x1000 if many else 0)) + b"".join(headers) + (b"\0" * many)
    at, table = len(start) + 8 * sum(map(len, chunks)), b""
    for chunk in (row for rows in chunks for row in rows):
        table += struct.pack("<Q", at)
        at += len(chunk)
    return start + table + b"".join(row for rows in chunks for row in rows)


LIGHT = RADIANCE.astype(np.float32)


def layer(name: str = "", image: np.ndarray = LIGHT, letters: str = "RGB") -> dict[str, np.ndarray]:
    prefix = f"{name}." if name else ""
    return {f"{prefix}{letter}": np.ascontiguousarray(image[..., i]) for i, letter in enumerate(letters)}


def chromaticities(*values: float) -> bytes:
    return attribute("chromaticities", "chromaticities", struct.pack("<8f", *values))


ONE = np.ones_like(LIGHT)
LUMA = LIGHT @ np.array([0.21264, 0.71517, 0.07219], np.float32) + np.float32(1e-6)
CHROMA = np.linspace(-0.5, 0.5, H)[:, None] + np.linspace(0, 0.2, W)
"""Linear in rows and columns, so that what lies between samples is known."""
RED, BLUE = (CHROMA + 1) * LUMA, (0.3 - CHROMA) * LUMA
YC = np.stack([RED, (LUMA - 0.21264 * RED - 0.07219 * BLUE) / 0.71517, BLUE], axis=-1)
RY, BY = CHROMA.astype(np.float32), (-0.7 - CHROMA).astype(np.float32)
PLACED = np.zeros_like(LIGHT)
PLACED[2:6, 4:12] = LIGHT[2:6, 4:12]
EXRS = {
    "plain": (exr(layer()), LIGHT),
    "half": (exr(layer("", LIGHT.astype(np.float16))), LIGHT),
    "whole numbers": (exr(layer("", ONE.astype(np.uint32) * 7)), ONE * 7),
    "alpha": (exr(layer() | {"A": ONE[..., 0] / 2}), LIGHT),
    "grey": (exr({"Y": LIGHT[..., 1].copy(), "A": ONE[..., 0]}), LIGHT[..., [1, 1, 1]]),
    "small letters": (exr(layer(letters="rgb")), LIGHT),
    "combined": (exr(layer("V.AO", ONE) | layer("V.Combined") | layer("beauty", ONE)), LIGHT),
    "plain before beauty": (exr(layer() | layer("beauty", ONE)), LIGHT),
    "beauty": (exr(layer("Albedo", ONE) | layer("beauty") | layer("zed", ONE)), LIGHT),
    "only colours": (exr(layer("Normal", ONE, "XYZ") | {"rough.Y": ONE[..., 0]} | layer("sky")), LIGHT),
    "parts": (exr({"Z": ONE[..., 0]}, layer(), names=("depth", "picture")), LIGHT),
    "parts of one name": (exr(layer("", ONE), layer(), names=("albedo", "beauty")), LIGHT),
    "Rec.2020": (exr(layer(), more=chromaticities(0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)),
                 LIGHT @ BT2020_TO_709.T),
    "XYZ": (exr(layer(), more=chromaticities(1, 0, 0, 1, 0, 0, 1 / 3, 1 / 3)), LIGHT @ XYZ_TO_709.T),
    "named colours": (exr(layer(), more=attribute("colorInteropID", "string", b"lin_rec2020_scene")),
                      LIGHT @ BT2020_TO_709.T),
    "luminance of white": (exr(layer(), more=attribute("whiteLuminance", "float", struct.pack("<f", 80))), LIGHT),
    "luminance and chroma": (exr({"Y": LUMA, "RY": RY, "BY": BY}), YC),
    "crop": (exr(layer("", LIGHT[2:6, 4:12]), data=(4, 2, 11, 5)), PLACED),
    "overscan": (exr(layer("", np.pad(LIGHT, ((2, 2), (3, 3), (0, 0)), constant_values=9)),
                     data=(-3, -2, W + 2, H + 1)), LIGHT),
    "elsewhere": (exr(layer(), data=(5, 7, W + 4, H + 6), display=(5, 7, W + 4, H + 6)), LIGHT),
    "lat-long": (exr(layer(), more=attribute("envmap", "envmap", b"\0"), screen=2.0), LIGHT),
}  # fmt: skip


@pytest.mark.parametrize("name", EXRS)
def test_an_exr_holds_the_radiance_that_it_says(tmp_path: Path, name: str) -> None:
    data, expected = EXRS[name]
    path = tmp_path / "light.exr"
    path.write_bytes(data)
    largest = np.abs(expected).max(axis=-1, keepdims=True)
    assert (np.abs(read_light(path) - expected) <= 1e-3 * largest + 1e-5).all()


def test_chroma_at_half_size_is_linear_between_its_samples(tmp_path: Path) -> None:
    path = tmp_path / "half.exr"
    path.write_bytes(exr({"Y": LUMA, "RY": RY[::2, ::2].copy(), "BY": BY[::2, ::2].copy()}, sampling=2))
    np.testing.assert_allclose(read_light(path)[:-1, :-1], YC[:-1, :-1], rtol=1e-3, atol=1e-4)


def test_a_layer_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "light.exr"
    path.write_bytes(exr(layer("V.AO", ONE) | layer("V.Combined")))
    for name in ("V.AO", "AO", "ao"):
        assert (read_light(path, name) == 1).all() and (read_hdr(f"{path}#{name}") == 1).all()
    with pytest.raises(InputError, match=r"no layer 'fog' .*V\.AO, V\.Combined"):
        read_light(path, "fog")


REFUSED |= {
    "which layer": (exr(layer("sun") | layer("sky")), r"which layer is the light\? It has sky, sun; .*#LAYER"),
    "no colours": (exr(layer("N", ONE, "XYZ")), "no channels R, G, B"),
    "cube": (exr(layer(), more=attribute("envmap", "envmap", b"\1")), "cube"),
    "perspective": (exr(layer(), screen=2.0), "screen window"),
    "flat pixels": (exr(layer(), aspect=2.0), "pixelAspectRatio is 2"),
    "tall": (exr(layer(), display=(0, 0, W - 1, W - 1)), "16x16 pixels"),
    "no space": (exr(layer(), more=chromaticities(*[0.3] * 8)), "span no colours"),
    "curve": (exr(layer(), more=attribute("colorInteropID", "string", b"srgb_rec709_scene")), "srgb_rec709_scene"),
    "window of a map": (
        exr(layer("", LIGHT[2:6, 4:12]), data=(4, 2, 11, 5), more=attribute("envmap", "envmap", b"\0")),
        "data window",
    ),
    "cut exr": (exr(layer())[:-40], "damaged pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    path = tmp_path / "light.hdr"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        read_light(path)
    assert "\n" not in str(caught.value) and caught.value.where == str(path)


def test_bad_numbers_stay_until_they_are_made_harmless(tmp_path: Path) -> None:
    image = LIGHT.copy()
    image[0, :3] = np.array([np.nan, np.inf, -1])[:, None]
    path = tmp_path / "bad.exr"
    path.write_bytes(exr(layer("", image)))
    np.testing.assert_array_equal(read_light(path), image)
    assert read_hdr(path)[0, :3].tolist() == [[0] * 3, [65504] * 3, [0] * 3]
