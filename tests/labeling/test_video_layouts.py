"""Videos in the layouts that phones, browsers, editors and broken downloads give them: the right film, or one line."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.stream import Disposition
from av.video.frame import VideoFrame

from editing.film import VideoWriter, open_film
from labeling.sources.footage import MEANINGS, video_footage
from labeling.sources.video_reader import VideoReader
from manifests.errors import FootageError
from tests.labeling.footage import encode, shot
from tests.labeling.test_sound import film_with_sound, packets, rewritten
from tests.labeling.test_video import chart, difference, hdr, read, video


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize(
    ("kinds", "default", "expected"),
    [
        (("picture", "film"), 1, "film"),
        (("film", "picture"), 0, "film"),
        (("picture", "film"), 0, "film"),
        (("film", "large film"), 1, "large film"),
        (("large film", "film"), 1, "film"),
    ],
)
def test_the_film_is_read_and_no_thumbnail(
    tmp_path: Path, name: str, kinds: tuple[str, str], default: int, expected: str
) -> None:
    pictures = {"film": shot(1, 12, 64, 64), "large film": shot(2, 12, 96, 96), "picture": shot(3, 1, 96, 96)}
    with av.open(str(tmp_path / name), "w") as container:
        streams = []
        for number, kind in enumerate(kinds):
            stream = container.add_stream("mjpeg" if kind == "picture" else "libx264", rate=12)
            stream.height, stream.width = pictures[kind].shape[1:3]
            stream.pix_fmt = "yuvj420p" if kind == "picture" else "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
            streams.append(stream)
        for stream, kind in zip(streams, kinds, strict=True):
            for image in pictures[kind]:
                container.mux(stream.encode(VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    reader, found = read(tmp_path / name)
    assert len(found) == 12 and difference(found, pictures[expected]) < 4
    assert [problem.reason for problem in reader.problems] == ([] if "picture" in kinds else ["several-tracks"])


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_what_webm_hides_by_alpha_is_black(tmp_path: Path, codec: str) -> None:
    image = np.full((48, 64, 4), 200, np.uint8)
    image[:, :32, 3], image[:, 32:, 3] = 0, 255
    options = {"auto-alt-ref": "0", "b": "1M", "cpu-used": "8", "deadline": "realtime"}
    reader, found = read(encode(tmp_path / "a.webm", [image] * 3, codec=codec, pixels="yuva420p", options=options))
    assert len(found) == 3 and "alpha" in reader.flags and MEANINGS["alpha"] in reader.said
    assert found[1].rgb[:, :28].max() <= 2 and np.abs(found[1].rgb[:, 36:].astype(int) - 200).max() <= 3


def with_clean_aperture(path: Path, width: int, height: int) -> None:
    """Add the atom (ISO 14496-12, 12.1.4) to a QuickTime file of H.264 whose index comes last."""
    data = bytearray(path.read_bytes())
    atom = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    start, end, chain = 0, len(data), []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        while data[start + 4 : start + 8] != name:
            start += struct.unpack_from(">I", data, start)[0]
        chain.append(start)
        end = start + struct.unpack_from(">I", data, start)[0]
        start += 16 if name == b"stsd" else 8
    data[end:end] = atom
    for place in chain:
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(atom))
    path.write_bytes(data)


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_clean_aperture_is_all_that_is_shown(tmp_path: Path, rotation: int) -> None:
    frames = shot(4, 4, 96, 96)
    path = encode(tmp_path / "a.mov", frames, rotation=rotation)
    with_clean_aperture(path, 64, 80)
    reader, found = read(path)
    shown = np.rot90(frames[:, 8:88, 16:80], 1 if rotation else 0, axes=(1, 2))
    assert reader.size == shown.shape[1:3] and difference(found, shown) < 2
    assert read(path, size=40)[0].size == ((32, 40) if rotation else (40, 32))


@pytest.mark.parametrize("rate", [24, Fraction(24000, 1001), 30, 50, 60, 90, 100, 120, 144, 165, 240, 300, 360, 480])
def test_a_clock_of_milliseconds_is_no_variable_rate(tmp_path: Path, rate: int | Fraction) -> None:
    path = encode(tmp_path / "a.mkv", shot(1, 48, 32, 32), rate=rate)
    reader, found = read(path)
    assert not reader.flags and len(found) == 48
    assert reader.fps == pytest.approx(float(rate), rel=1e-4)


CUT = {
    "a.mp4": {"container_options": {"movflags": "faststart"}},
    "pieces.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "first.mp4": {"container_options": {"movflags": "frag_keyframe"}},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx", "options": {"g": "10", "deadline": "realtime", "cpu-used": "8"}},
    "a.flv": {},
    "a.avi": {},
    "jpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p", "full_range": True},
}


@pytest.mark.parametrize("name", CUT)
def test_what_is_cut_off_is_said_and_what_is_whole_is_not(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"options": {"g": "10"}, **CUT[name]}
    path = encode(tmp_path / name, shot(1, 60), **options)
    assert read(path)[0].said == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 55 // 100])
    reader, found = read(path)
    assert "truncated" in {problem.reason for problem in reader.problems} and 20 < len(found) < 45


def test_a_recording_without_its_end_says_what_may_be_wrong(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", shot(1, 10))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(FootageError) as caught:
        VideoReader(video_footage(path, path.name))
    assert "complete" in caught.value.advice


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mov", codec) for codec in ("pcm_s16le", "pcm_s16be", "alac", "aac")),
        *(("a.mkv", codec) for codec in ("libopus", "libmp3lame", "flac", "ac3", "pcm_s24le", "aac")),
        *(("a.ts", codec) for codec in ("aac", "mp2")),
        ("a.flv", "aac"),
    ],
)
def test_sound_of_every_container_comes_along(tmp_path: Path, name: str, codec: str) -> None:
    source = film_with_sound(tmp_path / name, codec)
    assert rewritten(source, tmp_path / "b.mp4") == []
    with av.open(str(tmp_path / "b.mp4")) as container:
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert 1.1 < len(samples) / 48_000 < 1.3
    assert np.abs(samples.astype(float)).max() > 0.1 * (np.iinfo(samples.dtype).max if samples.dtype.kind == "i" else 1)


def phone_film(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """HEVC Main 10 in HLG, held upright, at a varying rate, with sound and a track of data: a chart, its times."""
    light = chart()
    signal = hdr(np.rot90(light, 1), 18)
    stamps = np.cumsum([0, *([33, 34, 33, 50, 33, 67, 33] * 3)])
    with av.open(str(path), "w") as container:
        options = {"crf": "4", "preset": "ultrafast", "x265-params": "log-level=none"}
        pictures: Any = container.add_stream("libx265", rate=30, options=options)
        pictures.height, pictures.width, pictures.pix_fmt = *signal.shape[:2], "yuv420p10le"
        context = pictures.codec_context
        context.time_base = pictures.time_base = Fraction(1, 1000)
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = 1, 9, 18, 9
        pictures.set_display_rotation(-90)
        pictures.metadata["timecode"] = "01:00:00:00"  # makes the track of data
        sound: Any = container.add_stream("aac", rate=48_000)
        for stamp in stamps:
            frame = VideoFrame.from_ndarray(signal, format="rgb48le").reformat(
                format="yuv420p10le", src_color_range=2, dst_colorspace=9, dst_color_range=1
            )
            frame.color_trc, frame.color_primaries = 18, 9
            frame.pts, frame.time_base = int(stamp), Fraction(1, 1000)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for start in range(0, 48_000, 1024):
            block = AudioFrame.from_ndarray(np.full((1, 1024), 0.1, np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.data
    return light, stamps / 1000


def test_a_phone_s_film_comes_out_upright_at_its_speed_with_its_sound(tmp_path: Path) -> None:
    light, times = phone_film(tmp_path / "phone.mov")
    out = tmp_path / "out.mp4"
    with open_film(tmp_path / "phone.mov") as film:
        assert film.size == light.shape[:2]
        with VideoWriter(out, film.size, film.fps, sound=film.sound()) as writer:
            for rgb, seconds in film.read():
                writer.write(rgb, seconds)
        assert film.problems == [MEANINGS["tone-mapped"]]
    with VideoReader(video(out)) as made, VideoReader(video(tmp_path / "phone.mov")) as source:
        pairs = list(zip(made, source, strict=True))
    np.testing.assert_allclose([one.seconds for one, _ in pairs], times, atol=1e-3)
    assert max(np.abs(one.rgb.astype(float) - other.rgb).mean() for one, other in pairs) < 4
    sound = packets(out)
    assert (sound and sound == packets(tmp_path / "phone.mov")[-len(sound) :][: len(sound)]) or len(sound) > 30


def test_dolby_vision_that_others_cannot_show_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profile 5 has no base layer in a colour space of others; profile 8.4, of phones, is HLG beside."""
    path = encode(tmp_path / "a.mp4", shot(1, 3))
    record = b"\x01\x00\x05\x06\x01\x00\x01"
    for compatible in (0, 4):
        sides = {"dovi_conf": record + bytes([compatible])}
        monkeypatch.setattr("labeling.sources.video_reader._side_data", lambda context, sides=sides: sides)
        if compatible:
            assert len(read(path)[1]) == 3
        else:
            with pytest.raises(FootageError, match="Dolby Vision"):
                read(path)
