"""EXR in memory: names, bits, and what happens with bytes that are not what they claim."""

from __future__ import annotations

import io

import numpy as np
import OpenEXR
import pytest

from manifests.codec import exr
from manifests.codec.exr import read_exr, write_exr
from manifests.errors import CodecError


@pytest.fixture
def channels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "rgb.R": rng.random((33, 47)).astype(np.float16),
        "depth.Z": np.where(rng.random((33, 47)) > 0.5, np.inf, rng.random((33, 47))).astype(np.float32),
        "instance.I": rng.integers(0, 2**32, (33, 47), dtype=np.uint32),
    }


@pytest.mark.parametrize("compression", ["ZIP", "PIZ"])
def test_every_bit_and_type_comes_back_by_name(channels: dict[str, np.ndarray], compression: str) -> None:
    back = read_exr(write_exr(channels, compression), (33, 47))
    assert set(back) == set(channels)
    for name, plane in channels.items():
        assert back[name].dtype == plane.dtype
        np.testing.assert_array_equal(back[name], plane)


def test_equal_channels_give_equal_bytes(channels: dict[str, np.ndarray]) -> None:
    assert write_exr(channels) == write_exr(dict(reversed(channels.items())))


def test_strided_channels_are_written_as_they_look() -> None:
    image = np.arange(60, dtype=np.float32).reshape(4, 5, 3)
    back = read_exr(write_exr({"a": image[..., 1]}))
    np.testing.assert_array_equal(back["a"], image[..., 1])


def test_parts_of_a_multi_part_file_are_merged() -> None:
    parts = [
        OpenEXR.Part({"type": OpenEXR.scanlineimage}, {name: np.full((4, 6), value, np.float32)}, name)
        for name, value in (("Depth.Z", 1.0), ("mask.X", 0.5))
    ]
    stream = io.BytesIO()
    OpenEXR.File(parts).write(stream)
    back = read_exr(stream.getvalue())
    assert {name: float(plane[0, 0]) for name, plane in back.items()} == {"Depth.Z": 1.0, "mask.X": 0.5}


def test_a_truncated_file_is_refused(channels: dict[str, np.ndarray]) -> None:
    data = write_exr(channels)
    for length in (0, 3, 8, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(CodecError):
            read_exr(data[:length])


def test_an_unexpected_size_is_refused(channels: dict[str, np.ndarray]) -> None:
    with pytest.raises(CodecError, match="47x33 pixels, expected 64x64"):
        read_exr(write_exr(channels), (64, 64))


def test_a_huge_claim_is_refused_before_a_pixel_is_read(
    channels: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_exr(channels)
    edges = np.array([0, 0, 46, 32], dtype="<i4").tobytes()
    huge = np.array([0, 0, 99_999, 99_999], dtype="<i4").tobytes()
    assert data.count(edges) == 2
    opened: list[bool] = []
    really_open = exr._open

    def watch(data: bytes, *, header_only: bool) -> OpenEXR.File:
        opened.append(header_only)
        return really_open(data, header_only=header_only)

    monkeypatch.setattr(exr, "_open", watch)
    with pytest.raises(CodecError, match="100000x100000"):
        read_exr(data.replace(edges, huge))
    assert opened == [True]


def test_a_type_that_exr_does_not_have_is_a_usage_error() -> None:
    with pytest.raises(ValueError, match="float64"):
        write_exr({"a": np.zeros((2, 2))})
