"""Videos come out as the upright sRGB frames that were filmed, whatever the file says it holds."""

from __future__ import annotations

import os
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from labeling.sources.discovery import discover
from labeling.sources.footage import Discovery, Footage, Frame, Reader, SourceOptions
from labeling.sources.frame_reader import open_footage
from labeling.sources.tone_map import tone_mapped
from labeling.sources.video_reader import VideoReader
from manifests.contract.color import srgb_decode, srgb_encode, to_rec709
from manifests.errors import FootageError, InputError
from tests.labeling.footage import encode, shot


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return shot(1, 20)


def video(path: Path) -> Footage:
    return Footage(uid="x", kind="video", name=path.name, path=str(path))


def read(path: Path, size: int | None = None) -> tuple[Reader, list[Frame]]:
    with open_footage(video(path), size=size) as reader:
        return reader, list(reader)


def difference(found: list[Frame], frames: np.ndarray) -> float:
    """Mean absolute difference in 1/255."""
    return float(np.abs(np.stack([frame.rgb for frame in found]).astype(float) - frames).mean())


def test_frames_places_and_times(tmp_path: Path, frames: np.ndarray) -> None:
    reader, found = read(encode(tmp_path / "a.mp4", frames))
    assert (reader.frames, reader.size, reader.flags, reader.problems) == (20, (48, 64), set(), [])
    assert reader.fps == pytest.approx(25)
    assert [frame.index for frame in found] == list(range(20))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(20) / 25, atol=1e-6)
    assert found[0].rgb.dtype == np.uint8
    assert difference(found, frames) < 1.2


@pytest.mark.parametrize(
    "options",
    [
        {"full_range": True},
        {"matrix": 5},
        {"matrix": 9, "transfer": 14},
        {"matrix": 5, "tagged": False},
        {"pixels": "yuv420p10le"},
        {"pixels": "yuv444p", "codec": "ffv1", "name": "a.mkv"},
        {"pixels": "bgr0", "codec": "ffv1", "name": "a.mkv", "matrix": 0},
        {"pixels": "yuvj422p", "codec": "mjpeg", "name": "a.avi", "matrix": 5, "full_range": True},
    ],
    ids=["full-range", "bt601", "bt2020", "untagged", "10-bit", "444", "rgb", "mjpeg"],
)
def test_colours_survive_every_matrix_range_and_depth(tmp_path: Path, options: dict) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]], np.uint8)
    image = colours.repeat(32, 0)[None].repeat(64, 0)  # (64, 192, 3): bars 32 pixels wide
    options = dict(options)
    path = encode(tmp_path / options.pop("name", "a.mp4"), [image] * 3, **options)
    _, found = read(path)
    bars = found[1].rgb[32, 16::32].astype(int)
    assert np.abs(bars - colours).max() <= 4


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, -1), (180, 2)])
def test_a_rotation_flag_is_carried_out(tmp_path: Path, frames: np.ndarray, rotation: int, turns: int) -> None:
    reader, found = read(encode(tmp_path / "a.mp4", frames, rotation=rotation))
    upright = np.rot90(frames, turns, axes=(1, 2))
    assert reader.size == upright.shape[1:3]
    assert difference(found, upright) < 1.2


def test_the_same_frame_comes_out_whatever_the_display_matrix_does(tmp_path: Path) -> None:
    """A mirrored picture must not be taken for a turned one: the matrix itself counts, not its angle."""
    import av

    image = shot(3, 1)[0]
    source = encode(tmp_path / "a.mp4", [image] * 2)
    with av.open(str(source)) as file:
        frame = next(file.decode(video=0))
    from labeling.sources import video_reader

    class Marked:
        def __init__(self, *matrix: int) -> None:
            a, b, c, d = matrix
            one = 1 << 16
            values = np.array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30], np.int32)
            self.side_data = {video_reader.Type.DISPLAYMATRIX: values.tobytes()}

    stored = frame.to_ndarray(format="rgb24")
    height, width = stored.shape[:2]
    for matrix in [(1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)]:
        found = video_reader.orientation(Marked(*matrix)).apply(stored)  # type: ignore[arg-type]
        a, b, c, d = matrix
        for column, row in [(5, 3), (40, 20)]:  # p' = a p + c q, q' = b p + d q, then moved into the picture
            x, y = a * column + c * row, b * column + d * row
            x += width - 1 if a < 0 else height - 1 if c < 0 else 0
            y += width - 1 if b < 0 else height - 1 if d < 0 else 0
            np.testing.assert_array_equal(found[y, x], stored[row, column])
    with pytest.raises(FootageError, match="not a right one"):
        video_reader.orientation(Marked(1, 1, -1, 1))  # type: ignore[arg-type]


def test_odd_sizes_shrink_to_the_side_asked_for_and_never_grow(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", shot(1, 4, 51, 77), codec="ffv1", pixels="yuv444p")
    assert read(path)[0].size == (51, 77)
    reader, found = read(path, size=40)
    assert reader.size == found[0].rgb.shape[:2] == (26, 40)
    assert read(path, size=200)[0].size == (51, 77)


def test_pixels_come_out_square(tmp_path: Path, frames: np.ndarray) -> None:
    reader, _ = read(encode(tmp_path / "a.mp4", frames, aspect=Fraction(4, 3)))
    assert (reader.size, reader.flags) == ((48, 85), {"non-square-pixels"})


def test_alpha_lies_over_black(tmp_path: Path) -> None:
    image = np.full((48, 64, 4), 200, np.uint8)
    image[:, :32, 3], image[:, 32:, 3] = 255, 64
    reader, found = read(encode(tmp_path / "a.mkv", [image] * 2, codec="ffv1", pixels="bgra", matrix=0))
    assert "alpha" in reader.flags
    assert found[0].rgb[10, 10].tolist() == [200] * 3
    assert found[0].rgb[10, 50].tolist() == [50] * 3


def test_interlaced_and_wide_gamut_footage_is_flagged(tmp_path: Path, frames: np.ndarray) -> None:
    interlaced = {"flags": "+ildct+ilme", "x264-params": "interlaced=1"}
    assert read(encode(tmp_path / "a.mp4", frames, options=interlaced))[0].flags == {"interlaced"}
    assert read(encode(tmp_path / "b.mp4", frames, primaries=9, matrix=9, transfer=14))[0].flags == {"wide-gamut"}


@pytest.mark.parametrize(("transfer", "name"), [(8, "linear"), (9, "logarithmic")])
def test_curves_without_a_reading_are_refused_by_name(
    tmp_path: Path, frames: np.ndarray, transfer: int, name: str
) -> None:
    path = encode(tmp_path / "a.mp4", frames, transfer=transfer, primaries=9, matrix=9, pixels="yuv420p10le")
    with pytest.raises(FootageError, match=f"a.mp4: .*{name}") as caught:
        read(path)
    assert caught.value.reason == "hdr"
    assert pickle.loads(pickle.dumps(caught.value)).reason == "hdr"  # noqa: S301


def chart() -> np.ndarray:
    """Patches (64, 96, 3) of linear Rec.709 light: greys up to 0.92, and colours, in blocks of 16 pixels."""
    greys = [np.full(3, grey) for grey in (0.0, 0.01, 0.03, 0.09, 0.18, 0.3, 0.45, 0.6, 0.75, 0.85, 0.9, 0.92)]
    colours = [np.array(colour) for colour in np.ndindex(2, 2, 2)][1:]
    patches = [*greys, *(0.05 + 0.8 * colour for colour in colours), *(0.02 + 0.3 * colour for colour in colours[:5])]
    return np.kron(np.array(patches).reshape(4, 6, 3), np.ones((16, 16, 1)))


def hdr(light: np.ndarray, transfer: int) -> np.ndarray:
    """R'G'B' uint16 in BT.2020 of linear Rec.709 light, reference white 1, by BT.2100's formulas."""
    wide = light @ np.linalg.inv(to_rec709((0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290))).T
    if transfer == 18:
        scene = np.maximum(wide, 0) * 0.26496256  # of which 75 % signal
        high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    else:
        power = np.maximum(wide * 203 / 10_000, 0) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    return np.rint(np.clip(signal, 0, 1) * 65535).astype(np.uint16)


@pytest.mark.parametrize("transfer", [16, 18])
def test_a_chart_in_hdr_is_the_chart_in_sdr(tmp_path: Path, transfer: int) -> None:
    """As a phone films it: HEVC of ten bits, BT.2020, upside down by its rotation matrix."""
    light = chart()
    deep: dict[str, Any] = {"codec": "libx265", "pixels": "yuv420p10le", "options": {"crf": "4", "preset": "ultrafast"}}
    path = encode(
        tmp_path / "phone.mov",
        [hdr(light, transfer)] * 3,
        transfer=transfer,
        primaries=9,
        matrix=9,
        rotation=180,
        **deep,
    )
    reader, found = read(path)
    assert "tone-mapped" in reader.flags
    expected = np.rint(255 * srgb_encode(light))[::-1, ::-1]
    for middle in (np.s_[7::16], np.s_[8::16]):  # chroma of 4:2:0 bleeds over a patch's rim
        assert np.abs(found[1].rgb[middle, middle].astype(float) - expected[middle, middle]).max() <= 3


def test_highlights_of_hdr_roll_off_and_keep_their_hue() -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16)
    greys = tone_mapped(np.repeat(ramp[None, :, None], 3, axis=2), 18)[0]
    assert (np.diff(greys[:, 0].astype(int)) >= 0).all() and np.ptp(greys, axis=1).max() <= 1
    white = round(0.75 * 4095)
    assert 251 <= greys[white, 0] <= 253 and greys[-1, 0] == 255
    sun = tone_mapped(hdr(np.array([[[4.0, 2.0, 1.0]]]), 18), 18)[0, 0]
    red, green, blue = srgb_decode(sun / 255)
    assert red > 0.95 and green / red == pytest.approx(0.5, abs=0.02) and blue / red == pytest.approx(0.25, abs=0.02)


def test_a_variable_frame_rate_keeps_the_frames_and_their_times(tmp_path: Path, frames: np.ndarray) -> None:
    stamps = [40 * n + (15 if n % 3 else 0) + (200 if n > 10 else 0) for n in range(20)]
    reader, found = read(encode(tmp_path / "a.mkv", frames, stamps=stamps))
    assert reader.flags == {"variable-frame-rate"}
    np.testing.assert_allclose([frame.seconds for frame in found], np.array(stamps) / 1000, atol=1e-6)
    assert difference(found, frames) < 1.2


def test_holes_in_a_constant_rate_are_missing_frames(tmp_path: Path) -> None:
    stamps = [40 * n for n in range(50) if n not in (20, 21)]
    frames = shot(1, 48)
    reader, found = read(encode(tmp_path / "a.mkv", frames, stamps=stamps))
    assert (reader.frames, reader.flags, [problem.reason for problem in reader.problems]) == (
        50,
        set(),
        ["missing-frames"],
    )
    assert reader.fps == pytest.approx(25)
    assert [frame.index for frame in found] == [stamp // 40 for stamp in stamps]


def test_of_a_cut_off_file_the_whole_part_is_used_and_the_rest_reported(tmp_path: Path) -> None:
    frames = shot(2, 60, 96, 128)
    options = {"movflags": "faststart"}
    path = encode(tmp_path / "a.mp4", frames, container_options=options, options={"g": "10", "preset": "fast"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    reader, found = read(path)
    assert {problem.reason for problem in reader.problems} >= {"truncated"}
    assert 20 < len(found) < 55
    assert difference(found, frames[: len(found)]) < 2


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("amount", [50, 600])
def test_damage_leaves_a_gap_and_never_a_damaged_frame(tmp_path: Path, name: str, amount: int) -> None:
    frames = shot(2, 60, 96, 128)
    path = encode(tmp_path / name, frames, options={"g": "10", "preset": "fast"})
    data = bytearray(path.read_bytes())
    place = len(data) * 7 // 10
    data[place : place + amount] = np.random.default_rng(0).integers(0, 256, amount, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    reader, found = read(path)
    kept = [frame.index for frame in found]
    assert reader.problems, "damage must be reported"
    assert kept == sorted(set(kept))
    assert 40 <= len(kept) < 60
    assert np.diff(kept).max() > 1
    each = [np.abs(frame.rgb.astype(float) - frames[frame.index]).mean() for frame in found]
    assert max(each) < 2


def test_audio_only_text_and_empty_files_are_no_videos(tmp_path: Path) -> None:
    for name, data in {
        "a.mp4": b"hello " * 500,
        "b.mp4": b"\0" * 4000,
        "c.avi": b"RIFF\xff\xff\xff\x7fAVI LIST",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FootageError, match=name) as caught:
            read(tmp_path / name)
        assert caught.value.reason == "unreadable"


def test_playlists_cannot_reach_other_files(tmp_path: Path, frames: np.ndarray) -> None:
    inner = encode(tmp_path / "inner.ts", frames)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{inner}\n#EXT-X-ENDLIST\n"
    (tmp_path / "a.mp4").write_text(playlist)
    (tmp_path / "b.mkv").write_text(f"ffconcat version 1.0\nfile '{inner}'\n")
    (tmp_path / "c.mp4").write_text(f"<MPD><Period><BaseURL>file://{inner}</BaseURL></Period></MPD>")
    for name in ("a.mp4", "b.mkv", "c.mp4"):
        with pytest.raises(FootageError) as caught:
            read(tmp_path / name)
        assert caught.value.reason == "unreadable"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(FootageError) as caught:
        read(tmp_path / "a.mp4")
    assert caught.value.reason == "refused"


def test_too_many_frames_are_not_read(tmp_path: Path, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.sources.video_reader.MAX_FRAMES", 12)
    reader, found = read(encode(tmp_path / "a.mp4", frames))
    assert len(found) == reader.frames == 12
    assert [problem.reason for problem in reader.problems] == ["too-many-frames"]


def test_an_absurd_size_is_refused_before_it_is_decoded(
    tmp_path: Path, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.mp4", frames)
    monkeypatch.setattr("labeling.sources.video_reader.MAX_PIXELS", 64 * 47)
    with pytest.raises(FootageError, match="64x48") as caught:
        read(path)
    assert caught.value.reason == "refused"


def test_the_file_is_let_go_of(tmp_path: Path, frames: np.ndarray) -> None:
    path = encode(tmp_path / "a.mp4", frames)
    before = psutil.Process().open_files()
    for _ in range(3):
        with VideoReader(video(path)) as reader:
            next(iter(reader))
    assert psutil.Process().open_files() == before


def test_a_folder_of_videos_is_found_in_a_fixed_order_with_what_is_stated_of_it(
    tmp_path: Path, frames: np.ndarray
) -> None:
    root = tmp_path / "root"
    (root / "City Trip").mkdir(parents=True)
    encode(root / "City Trip" / "B ü.mp4", frames[:2])
    encode(root / "a.mkv", frames[:2])
    (root / "empty.mp4").touch()
    (root / "notes.txt").write_text("x")
    encode(tmp_path / "outside.mp4", frames[:2])
    (root / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    rule = "{path: 'City*/**', licence: CC-BY-4.0, author: Ada, url: 'https://x.org', label: street}"
    (root / "lightloom-footage.yaml").write_text(f"footage:\n  - {rule}\n")
    found = discover(root, options=SourceOptions(licence="CC0-1.0"))
    assert [item.name for item in found.footage] == ["a.mkv", "City Trip/B ü.mp4"]
    assert [(item.licence, item.author, item.label) for item in found.footage] == [
        ("CC0-1.0", "", ""),
        ("CC-BY-4.0", "Ada", "street"),
    ]
    assert [item.uid for item in found.footage] == sorted(item.uid for item in found.footage)
    for item in found.footage:
        assert len(item.uid) <= 40 and msgspec.convert(item.uid, str).replace("-", "").isalnum()
    assert {(problem.reason, problem.path) for problem in found.problems} == {
        ("unreadable", "empty.mp4"),
        ("leaves-folder", "link.mp4"),
        ("not-footage", "."),
    }
    assert msgspec.json.decode(msgspec.json.encode(found), type=Discovery) == found
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301
    moved = root.rename(tmp_path / "moved")
    assert [item.uid for item in discover(moved).footage] == [item.uid for item in found.footage]


def test_one_video_is_a_source_and_nothing_is_an_error(tmp_path: Path, frames: np.ndarray) -> None:
    path = encode(tmp_path / "a.mp4", frames[:2])
    assert [item.path for item in discover(path).footage] == [str(path)]
    with pytest.raises(InputError, match="no such file"):
        discover(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["footage: 3", "footage:\n - {pth: x}", "a: &a [1]\nfootage: [*a]", "{"])
def test_a_sidecar_that_cannot_be_read_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "lightloom-footage.yaml").write_text(text)
    assert [problem.reason for problem in discover(tmp_path).problems] == ["bad-sidecar"]
