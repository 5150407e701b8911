"""`lightloom relight`, in a process of its own: other command line tests import Blender, which bears no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from editing.film import open_video, steady
from tests.lightloom.torchlines import TINY, run_lines

SETUP = """
from fractions import Fraction
from tests.labeling.footage import encode, shot
encode(Path("odd.mkv"), shot(1, 11, 33, 47), codec="ffv1", pixels="bgr0", rate=Fraction(30000, 1001))
encode(Path("wide.mp4"), shot(2, 5, 48, 112), rate=12)
Path("dir.mp4").mkdir()
"""
WEIGHTS = ("--inverse", "inverse", "--forward", "forward", "--device", "cpu")
LINES: dict[str, tuple[str, ...]] = {
    "turn": ("odd.mkv", "--env", "studio/0003", "--rotate", "360", "--out", "turn.mp4", "--window", "4", *WEIGHTS),
    "sheet": (
        *("wide.mp4", "--env", "courtyard", "studio/0001", "--out", "sheet.mp4", "--side", "56", "--show"),
        *("--gbuffers", "maps", "--exr", *WEIGHTS),
    ),
    "again": ("wide.mp4", "--env", "sheet.light.exr", "--side", "24", "--out", "again.mp4", *WEIGHTS),
    "no light": ("wide.mp4", "--env", "moon", "--out", "a.mp4", *WEIGHTS),
    "no video": ("none.mp4", "--env", "courtyard", "--out", "a.mp4", *WEIGHTS),
    "no mp4": ("wide.mp4", "--env", "courtyard", "--out", "a.gif", *WEIGHTS),
    "no folder": ("wide.mp4", "--env", "courtyard", "--out", "wide.mp4/a.mp4", *WEIGHTS),
    "a folder": ("wide.mp4", "--env", "courtyard", "--out", "dir.mp4", *WEIGHTS),
    "exr alone": ("wide.mp4", "--env", "courtyard", "--out", "a.mp4", "--exr", *WEIGHTS),
    "help": ("--help",),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str, str]]]:
    folder = tmp_path_factory.mktemp("relight")
    return folder, run_lines(folder, "relight", LINES, TINY + SETUP)


def stream_of(path: Path) -> tuple[Any, list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        flags = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        shape = (context.name, context.pix_fmt, stream.height, stream.width, float(stream.average_rate), flags)
        times = [frame.time for frame in container.decode(stream)]
    return shape, pictures_of(path), times


def pictures_of(path: Path) -> list[np.ndarray]:
    with open_video(path) as reader:
        return [frame for frame, _ in steady(reader)]


def test_frame_rate_size_and_length_are_kept_and_the_file_plays_anywhere(ran: Any) -> None:
    folder, results = ran
    assert results["turn"][0] == 0, results["turn"][2]
    assert "Warning" not in results["turn"][2]
    (codec, pixels, height, width, rate, flags), frames, times = stream_of(folder / "turn.mp4")
    assert (codec, pixels, flags) == ("h264", "yuv420p", (1, 1, 1, 1))  # limited range, BT.709
    assert (height, width) == (34, 48)  # 33 x 47, even
    assert rate == pytest.approx(30000 / 1001, rel=1e-3)
    assert len(frames) == 11
    np.testing.assert_allclose(times, np.arange(11) * 1001 / 30000, atol=2e-3)


def test_a_turning_light_changes_the_picture_over_time(ran: Any) -> None:
    folder, _ = ran
    _, frames, _ = stream_of(folder / "turn.mp4")
    assert np.abs(frames[0].astype(int) - frames[5].astype(int)).mean() > 2


def test_several_lights_make_a_sheet_beside_the_input(ran: Any) -> None:
    folder, results = ran
    assert results["sheet"][0] == 0, results["sheet"][2]
    (_, _, height, width, rate, _), frames, _ = stream_of(folder / "sheet.mp4")
    assert (height, width, rate, len(frames)) == (2 * (48 + 16), 2 * 112, 12.0, 5)
    first = pictures_of(folder / "wide.mp4")[0]
    assert np.abs(frames[0][:48, :112].astype(int) - first.astype(int)).mean() < 6  # coded twice
    courtyard, studio = frames[0][:48, 112:].astype(int), frames[0][64:112, :112].astype(int)
    assert np.abs(courtyard - studio).mean() > 2


def test_gbuffers_and_the_estimated_light_are_written_and_read_back(ran: Any) -> None:
    folder, results = ran
    names = sorted(path.name for path in (folder / "maps").iterdir())
    kinds = ("basecolor", "depth", "metallic", "normal", "roughness")
    assert names == sorted([*(f"{i:06d}.exr" for i in range(5)), *(f"{k}.{s}" for k in kinds for s in ("mp4", "png"))])
    still = cv2.imread(str(folder / "maps" / "normal.png"))
    assert still.shape == (24, 56, 3)  # the size that the networks saw
    assert results["again"][0] == 0, results["again"][2]
    assert stream_of(folder / "again.mp4")[0][2:4] == (48, 112)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no light", "no light 'moon'"),
        ("no video", "none.mp4"),
        ("no mp4", "written as .mp4"),
        ("no folder", "no folder can be made"),
        ("a folder", "dir.mp4: is a folder"),
        ("exr alone", "--gbuffers"),
    ],
)
def test_mistakes_are_one_clear_line_and_leave_nothing(ran: Any, line: str, words: str) -> None:
    folder, results = ran
    code, _, message = results[line]
    assert code == 1
    assert len(message.splitlines()) == 1, message
    assert words in message
    assert not (folder / "a.mp4").exists()
    assert not list(folder.glob(".*.tmp"))


def test_help_has_an_example(ran: Any) -> None:
    assert "Example: lightloom relight" in " ".join(ran[1]["help"][1].split())
