"""Cuts are found at the frame where a new shot begins, and camera motion is not a cut."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labeling.segments import CutDetector, thumbnail
from tests.labeling.footage import shot


def found(frames: np.ndarray) -> list[int]:
    cv2.setNumThreads(1)
    detector = CutDetector()
    for frame in frames:
        detector.push(thumbnail(frame))
    detector.finish()
    return detector.cuts


def film(*lengths: int, speed: float = 1.5) -> np.ndarray:
    return np.concatenate([shot(seed, length, 72, 96, speed=speed) for seed, length in enumerate(lengths)])


@pytest.mark.parametrize("lengths", [(20, 20), (1, 20), (2, 20), (20, 1), (12, 1, 12), (12, 2, 3, 12), (9, 30, 9)])
def test_every_cut_is_found_however_short_the_shots(lengths: tuple[int, ...]) -> None:
    assert found(film(*lengths)) == np.cumsum(lengths)[:-1].tolist()


@pytest.mark.parametrize("speed", [0.0, 2.0, 12.0])
def test_a_pan_is_no_cut(speed: float) -> None:
    assert found(shot(1, 40, 72, 96, speed=speed)) == []


def test_a_light_that_fades_and_a_single_frame_are_no_cuts() -> None:
    frames = shot(1, 40, 72, 96)
    fading = (frames * np.linspace(1, 0.2, 40)[:, None, None, None]).astype(np.uint8)
    assert found(fading) == []
    assert found(frames[:1]) == []


def test_a_flash_is_two_cuts() -> None:
    frames = shot(1, 30, 72, 96)
    frames[15, 20:60, 20:70] = 255
    assert found(frames) == [15, 16]


def test_what_is_settled_never_changes() -> None:
    frames = film(10, 2, 14, 1, 9)
    whole = found(frames)
    detector = CutDetector()
    for frame in frames:
        detector.push(frame)
        assert [cut for cut in detector.cuts if cut < detector.settled] == [
            cut for cut in whole if cut < detector.settled
        ]
    detector.finish()
    assert detector.settled == len(frames)


def test_thumbnails_keep_small_frames_and_shrink_large_ones() -> None:
    small = shot(1, 1)[0]
    assert thumbnail(small) is small
    assert thumbnail(np.zeros((300, 600, 3), np.uint8)).shape == (128, 256, 3)
