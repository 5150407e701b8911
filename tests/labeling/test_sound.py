"""The sound of a film comes along: the same packets, in time with the pictures, or one line says why not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from editing.film import VideoWriter, open_film
from tests.labeling.footage import shot

RATE, FRAMES, FPS = 48_000, 30, 25


def film_with_sound(path: Path, codec: str = "aac", *, late: float = 0.0, seconds: float = 2.0) -> Path:
    """30 pictures at 25 a second, the first one `late`, beside a tone of `seconds` that begins at 0."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        sound: Any = container.add_stream(codec, rate=RATE)
        sound.layout = "mono"
        for number, image in enumerate(shot(1, FRAMES)):
            frame = VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(1000 * (late + number / FPS)), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)
        for start in range(0, len(wave), 1024):
            block = AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


def packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size and packet.pts is not None
        ]


def rewritten(source: Path, out: Path) -> list[str]:
    with open_film(source) as film:
        with VideoWriter(out, film.size, film.fps, sound=film.sound()) as video:
            for rgb, seconds in film.read():
                video.write(rgb, seconds)
        return film.problems


@pytest.mark.parametrize("late", [0.0, 0.4])
def test_sound_is_copied_in_time_and_as_long_as_the_pictures(tmp_path: Path, late: float) -> None:
    source = film_with_sound(tmp_path / "a.mp4", late=late)
    assert rewritten(source, tmp_path / "b.mp4") == []
    began = [(seconds - late, data) for seconds, data in packets(source) if seconds >= late]
    copied = packets(tmp_path / "b.mp4")
    assert [data for _, data in copied] == [data for _, data in began[: len(copied)]]
    np.testing.assert_allclose([s for s, _ in copied], [s for s, _ in began[: len(copied)]], atol=1e-3)
    assert copied[-1][0] == pytest.approx(FRAMES / FPS, abs=1100 / RATE)
    with av.open(str(tmp_path / "b.mp4")) as container:
        sizes = [(packet.stream.type, packet.pos) for packet in container.demux() if packet.size]
    kinds = [kind for kind, _ in sorted(sizes, key=lambda item: item[1])]
    assert 0 < kinds.index("audio") < len(kinds) / 2, "pictures and sound are interleaved"


def test_sound_that_an_mp4_does_not_hold_is_said(tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "a.mkv", codec="wavpack")
    (problem,) = rewritten(source, tmp_path / "b.mp4")
    assert problem == "its sound (wavpack) is left out: an mp4 does not hold it"
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio and container.streams.video[0].frames == FRAMES


def test_a_silent_film_and_a_short_sound_are_no_problem(tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "a.mp4", seconds=0.3)
    assert rewritten(source, tmp_path / "b.mp4") == []
    assert 0.2 < packets(tmp_path / "b.mp4")[-1][0] < 0.4
    with open_film(source) as film, VideoWriter(tmp_path / "silent.mp4", film.size, film.fps) as video:
        for rgb, seconds in film.read():
            video.write(rgb, seconds)
    assert rewritten(tmp_path / "silent.mp4", tmp_path / "c.mp4") == []
