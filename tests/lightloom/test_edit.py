"""`lightloom edit`, in a process of its own: other command line tests import Blender, which bears no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editing.film import open_video, steady
from tests.lightloom.torchlines import TINY, run_lines

SETUP = """
import cv2, numpy as np
cv2.setNumThreads(1)
from PIL import Image
from tests.labeling.footage import encode, shot
from tests.training.sets import make_set
make_set(Path("set"), size=32)
frames = shot(1, 9, 34, 48, speed=1.0)
encode(Path("pan.mkv"), frames, codec="ffv1", pixels="bgr0", rate=10)
mask = np.zeros((34, 48), np.uint8)
mask[10:24, 12:30] = 255
Image.fromarray(mask).save("mask.png")
Image.fromarray(mask[:8]).save("small.png")
Image.fromarray(0 * mask).save("black.png")
Image.fromarray(frames[0]).save("texture.png")
moving = np.stack([np.roll(mask, 2 * t, axis=1) for t in range(9)])
encode(Path("masks.mkv"), np.repeat(moving[..., None], 3, axis=-1), codec="ffv1", pixels="bgr0", rate=10)
"""
FORWARD = ("--forward", "forward", "--device", "cpu")
WEIGHTS = ("--inverse", "inverse", *FORWARD)
RED = ("--set", "basecolor=#ff0000", "metallic=0")
KEY = "set:00000000-00"
BAD = ("--out", "bad.mp4", *WEIGHTS)
LINES: dict[str, tuple[str, ...]] = {
    "still": (
        *("pan.mkv", "--mask", "mask.png", *RED, "--out", "still.mp4", "--mask-out", "still-mask.mp4"),
        *("--window", "4", "--show", *WEIGHTS),
    ),
    "masks": (
        "pan.mkv",
        "--mask",
        "masks.mkv",
        "--set",
        "basecolor=red",
        "metallic=0",
        "--out",
        "masks.mp4",
        "--mask-out",
        "masks-mask.mp4",
        *WEIGHTS,
    ),
    "texture": ("pan.mkv", "--pick", "20,17", "--set", "basecolor=texture.png", "--out", "texture.mp4", *WEIGHTS),
    "truth": (KEY, "--select", "instance=2", *RED, "--truth", "--out", "t.mp4", "--mask-out", "t-mask.mp4", *FORWARD),
    "corrected": (
        *("pan.mkv", "--pick", "20,17", "--pick", "30,20", "--not", "3,3", "--tolerance", "0.9", *RED),
        *("--out", "corrected.mp4", "--mask-out", "corrected-mask.mp4", *WEIGHTS),
    ),
    "no selection": ("pan.mkv", *RED, *BAD),
    "nothing to take from": ("pan.mkv", "--mask", "mask.png", "--not", "3,3", *RED, *BAD),
    "two selections": ("pan.mkv", "--pick", "1,1", "--mask", "mask.png", *RED, *BAD),
    "bad selection": (KEY, "--select", "object=2", *RED, *BAD),
    "no instance": (KEY, "--select", "instance=9", *RED, *BAD),
    "real instance": ("pan.mkv", "--select", "instance=2", *RED, *BAD),
    "no clip": ("set:nothing", "--select", "instance=2", *RED, *BAD),
    "outside": ("pan.mkv", "--pick", "48,3", *RED, *BAD),
    "no change": ("pan.mkv", "--pick", "4,3", *BAD),
    "bad number": ("pan.mkv", "--pick", "4,3", "--set", "roughness=shiny", *BAD),
    "out of range": ("pan.mkv", "--pick", "4,3", "--set", "roughness=2", *BAD),
    "too strong": ("pan.mkv", "--pick", "4,3", "--strength", "2", *RED, *BAD),
    "bad colour": ("pan.mkv", "--pick", "4,3", "--set", "basecolor=#12", *BAD),
    "no colour": ("pan.mkv", "--pick", "4,3", "--set", "basecolor=0.1,0.2,0.5", *BAD),
    "no texture": ("pan.mkv", "--pick", "4,3", "--set", "basecolor=none.png", *BAD),
    "bad name": ("pan.mkv", "--pick", "4,3", "--set", "depth=1", *BAD),
    "small mask": ("pan.mkv", "--mask", "small.png", *RED, *BAD),
    "black mask": ("pan.mkv", "--mask", "black.png", *RED, *BAD),
    "real truth": ("pan.mkv", "--pick", "4,3", "--truth", *RED, *BAD),
    "help": ("--help",),
}
MISTAKES = {
    "no selection": "--pick X,Y",
    "nothing to take from": "--not X,Y takes away from what --pick X,Y selects",
    "two selections": "by one of",
    "bad selection": "object=2",
    "no instance": "no pixel shows instance 9",
    "real instance": "does not know its instances",
    "no clip": "no clip 'nothing'",
    "outside": "lies outside the video of 48x34",
    "no change": "nothing to change",
    "bad number": "'shiny' is no number",
    "out of range": "roughness is 2.0",
    "too strong": "--strength is 2",
    "bad colour": "#rrggbb",
    "no colour": "a name such as navy",
    "no texture": "none.png: cannot be read",
    "bad name": "depth=1",
    "small mask": "48x8 pixels",
    "black mask": "is empty",
    "real truth": "only a synthetic",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str, str]]]:
    folder = tmp_path_factory.mktemp("edit")
    return folder, run_lines(folder, "edit", LINES, TINY + SETUP)


def frames_of(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.stack([frame for frame, _ in steady(reader)]).astype(int)


def selected(path: Path) -> np.ndarray:
    """Selection (T, H, W): True in it, False well outside it is `~grown`."""
    return frames_of(path)[..., 0] > 128


def grown(mask: np.ndarray, pixels: int = 3) -> np.ndarray:
    """The selection and what lies beside it, where the coded colours bleed."""
    wide = mask
    for axis in (1, 2):
        wide = np.any([np.roll(wide, shift, axis) for shift in range(-pixels, pixels + 1)], axis=0)
    return wide


@pytest.mark.parametrize("name", ["still", "masks"])
def test_only_the_selection_changes(ran: Any, name: str) -> None:
    folder, results = ran
    assert results[name][0] == 0, results[name][2]
    before, after = frames_of(folder / "pan.mkv"), frames_of(folder / f"{name}.mp4")
    mask = selected(folder / f"{name}-mask.mp4")
    assert before.shape == after.shape
    assert 0.05 < mask.mean() < 0.5
    change = np.abs(after - before).max(axis=-1)
    assert change[~grown(mask)].mean() < 4  # what 8 bits and 4:2:0 cost
    assert change[mask].mean() > 20
    redder = (after[..., 0] - after[..., 1])[mask].mean() - (before[..., 0] - before[..., 1])[mask].mean()
    assert redder > 20


def test_a_mask_of_the_first_frame_follows_the_camera(ran: Any) -> None:
    folder, _ = ran
    mask = selected(folder / "still-mask.mp4")
    true = np.zeros((34, 48), dtype=bool)
    true[10:24, 12 - 8 : 30 - 8] = True  # the camera pans by a pixel a frame
    assert (mask[-1] & true).sum() / (mask[-1] | true).sum() > 0.7


def test_the_light_that_was_estimated_is_written(ran: Any) -> None:
    folder, results = ran
    assert results["still"][1].split() == ["still.mp4", "still-mask.mp4", "still.light.exr", "still.light.png"]
    assert (folder / "still.light.exr").stat().st_size > 0


def test_a_picked_pixel_takes_a_texture(ran: Any) -> None:
    folder, results = ran
    assert results["texture"][0] == 0, results["texture"][2]
    assert frames_of(folder / "texture.mp4").shape == (9, 34, 48, 3)


def test_picks_and_what_is_not_meant_say_together_what_changes(ran: Any) -> None:
    folder, results = ran
    assert results["corrected"][0] == 0, results["corrected"][2]
    mask = selected(folder / "corrected-mask.mp4")
    assert mask[0, 17, 20]
    assert not mask[0, 3, 3]


def test_a_synthetic_clip_is_edited_with_its_own_truth(ran: Any) -> None:
    folder, results = ran
    assert results["truth"][0] == 0, results["truth"][2]
    mask, after = selected(folder / "t-mask.mp4"), frames_of(folder / "t.mp4")
    assert mask.any()
    assert (after[..., 0] - after[..., 2])[mask].mean() > 20


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_one_clear_line_and_leave_nothing(ran: Any, line: str) -> None:
    folder, results = ran
    code, _, message = results[line]
    assert code == 1
    assert len(message.splitlines()) == 1, message
    assert MISTAKES[line] in message
    assert not (folder / "bad.mp4").exists()
    assert not list(folder.glob(".*.tmp"))


def test_help_has_an_example(ran: Any) -> None:
    assert "Example: lightloom edit" in " ".join(ran[1]["help"][1].split())
