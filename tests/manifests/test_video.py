"""Integer planes through real encoders: exactness, flags, frame choice, reproducible bytes."""

from __future__ import annotations

import dataclasses
import io

import av
import numpy as np
import pytest

from manifests.codec.formats import FORMATS
from manifests.codec.plane_video import decode_video, encode_video
from manifests.errors import CodecError

SIZES = [(64, 64), (33, 47), (1, 50), (50, 1), (1, 1), (17, 16)]


def pattern(name: str, frames: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Smooth moving planes that use the whole range of the format."""
    coding = FORMATS[name]
    top = {"ffv1-gray8": 255, "ffv1-gray12": 4095, "ffv1-gray16": 65535, "ffv1-planes16": 65535}.get(name, 1023)
    count = 1 if "gray" in name else 4 if name == "ffv1-planes16" else 3
    t, y, x = np.mgrid[:frames, : size[0], : size[1]]
    return [
        np.rint(top * (0.5 + 0.5 * np.sin(x / 9 + y / 7 + t / 5 + plane))).astype(coding.dtype)
        for plane in range(count)
    ]


def decode(name: str, data: bytes, size: tuple[int, int], total: int, wanted: list[int]) -> dict[int, list[np.ndarray]]:
    steps = decode_video(data, FORMATS[name], size, total, np.array(wanted))
    return {frame: [plane.copy() for plane in planes] for frame, planes in steps}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["ffv1-gray8", "ffv1-gray12", "ffv1-gray16", "ffv1-planes16"])
def test_lossless_formats_keep_every_bit_at_every_size(name: str, size: tuple[int, int]) -> None:
    planes = pattern(name, 3, size)
    back = decode(name, encode_video(planes, FORMATS[name]), size, 3, [0, 1, 2])
    for frame in range(3):
        np.testing.assert_array_equal(back[frame], [plane[frame] for plane in planes])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["h264-colour", "h264-planes", "h264-gray"])
def test_lossy_formats_keep_size_order_and_range(name: str, size: tuple[int, int]) -> None:
    planes = pattern(name, 5, size)
    back = decode(name, encode_video(planes, FORMATS[name], options={"qp": "12"}), size, 5, [0, 1, 2, 3, 4])
    assert sorted(back) == [0, 1, 2, 3, 4]
    for frame, decoded in back.items():
        for number, plane in enumerate(decoded):
            assert plane.shape == size
            assert np.abs(plane.astype(int) - planes[number][frame]).mean() < 3


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_equal_planes_give_equal_bytes(name: str) -> None:
    planes = pattern(name, 4, (48, 40))
    assert encode_video(planes, FORMATS[name], 24.0) == encode_video(planes, FORMATS[name], 24.0)


@pytest.mark.parametrize("name", ["h264-colour", "ffv1-gray12"])
def test_chosen_frames_equal_those_of_a_full_decode_across_key_frames(name: str) -> None:
    planes = pattern(name, 60, (32, 32))
    data = encode_video(planes, FORMATS[name])
    everything = decode(name, data, (32, 32), 60, list(range(60)))
    some = decode(name, data, (32, 32), 60, [5, 30, 31, 59])
    assert list(some) == [5, 30, 31, 59]
    for frame, decoded in some.items():
        for plane, expected in zip(decoded, everything[frame], strict=True):
            np.testing.assert_array_equal(plane, expected)


def test_a_plain_player_sees_the_flags_and_the_colours() -> None:
    """Decoded and converted by FFmpeg alone, without our code: a full-range BT.709 red is red."""
    red = [np.full((2, 32, 32), value, np.uint16) for value in (217, 395, 1023)]
    data = encode_video(red, FORMATS["h264-colour"], options={"qp": "4"})
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))
    assert (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc) == (2, 1, 1, 13)
    assert np.abs(frame.to_ndarray(format="rgb24")[16, 16].astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("field", ["matrix", "primaries", "transfer"])
def test_a_wrong_colour_flag_is_refused(field: str) -> None:
    planes = pattern("h264-colour", 2, (32, 32))
    data = encode_video(planes, dataclasses.replace(FORMATS["h264-colour"], **{field: 9}))
    with pytest.raises(CodecError, match="colour flags"):
        decode("h264-colour", data, (32, 32), 2, [0])


def test_a_wrong_pixel_format_codec_container_size_or_count_is_refused() -> None:
    planes = pattern("ffv1-gray8", 3, (32, 32))
    data = encode_video(planes, FORMATS["ffv1-gray8"])
    with pytest.raises(CodecError, match="gray12le"):
        decode("ffv1-gray12", data, (32, 32), 3, [0])
    with pytest.raises(CodecError, match="not a whole mp4"):
        decode("h264-gray", data, (32, 32), 3, [0])
    with pytest.raises(CodecError, match="32x32 pixels, expected 64x32"):
        decode("ffv1-gray8", data, (32, 64), 3, [0])
    with pytest.raises(CodecError, match="3 frames, expected 4"):
        decode("ffv1-gray8", data, (32, 32), 4, [0])
    with pytest.raises(CodecError, match="more than 2 frames, expected 2"):
        decode("ffv1-gray8", data, (32, 32), 2, [0])


def test_a_picture_larger_than_claimed_is_never_decoded() -> None:
    """The container's header says 32x32, the H.264 stream inside it says 2048x2048."""
    planes = [np.zeros((1, 2048, 2048), np.uint16)] * 3
    data = encode_video(planes, FORMATS["h264-colour"])
    lying = data.replace((2048).to_bytes(2, "big"), (32).to_bytes(2, "big"))
    assert lying != data
    with pytest.raises(CodecError):
        decode("h264-colour", lying, (32, 32), 1, [0])
