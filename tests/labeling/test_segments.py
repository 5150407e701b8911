"""Segments stay within a shot, are complete, show something, and say why others were dropped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from labeling.label_settings import SegmentOptions
from labeling.segments import Dropped, Segment, plan
from labeling.sources.footage import Footage, FootageCamera, Frame, Reader
from manifests.errors import InputError
from tests.labeling.footage import shot


class Film(Reader):
    """Frames from memory, by index; counts how many are alive at once."""

    def __init__(self, frames: dict[int, np.ndarray], *, total: int | None = None, fps: float = 25.0) -> None:
        self._images = frames
        self.footage = Footage(uid="film", kind="video", name="film", path="film")
        self.frames = total or max(frames, default=-1) + 1
        self.fps = fps
        self.size = next(iter(frames.values())).shape[:2] if frames else (1, 1)
        self.camera = None
        self.flags, self.problems = set(), []
        self.times = {index: index / fps for index in frames}

    def __iter__(self) -> Iterator[Frame]:
        for index, image in self._images.items():
            yield Frame(index, image.copy(), self.times[index])

    def close(self) -> None:
        pass


def film(*shots: np.ndarray, missing: tuple[int, ...] = ()) -> Film:
    frames = np.concatenate(shots)
    return Film({index: image for index, image in enumerate(frames) if index not in missing}, total=len(frames))


def planned(reader: Reader, **options: object) -> tuple[list[Segment], list[Dropped]]:
    pieces = list(plan(reader, SegmentOptions(**options)))  # type: ignore[arg-type]
    return [p for p in pieces if isinstance(p, Segment)], [p for p in pieces if isinstance(p, Dropped)]


def test_segments_follow_each_other_by_default() -> None:
    frames = shot(1, 30)
    segments, dropped = planned(film(frames), length=8)
    assert [segment.start for segment in segments] == [0, 8, 16]
    assert [segment.index for segment in segments] == [0, 1, 2]
    assert dropped == []
    np.testing.assert_array_equal(segments[1].frames, frames[8:16])
    np.testing.assert_allclose(segments[1].timestamps, np.arange(8, 16) / 25)
    assert segments[1].fps == pytest.approx(25)
    assert segments[1].camera is None


def test_a_count_is_spread_evenly_and_reaches_the_end() -> None:
    segments, dropped = planned(film(shot(1, 100)), length=10, count=5)
    assert [segment.start for segment in segments] == [0, 22, 45, 68, 90]
    assert dropped == []


def test_short_footage_gives_overlapping_segments_but_no_doubles() -> None:
    segments, _ = planned(film(shot(1, 40)), length=24, count=5)
    assert [segment.start for segment in segments] == [0, 6, 12]
    segments, _ = planned(film(shot(1, 60)), length=24, count=5)
    assert [segment.start for segment in segments] == [0, 9, 18, 27, 36]


def test_a_stride_and_a_count_together_take_the_first_ones() -> None:
    segments, dropped = planned(film(shot(1, 60)), length=8, stride=4, count=3)
    assert [segment.start for segment in segments] == [0, 4, 8]
    assert dropped == []


@pytest.mark.parametrize("options", [{}, {"count": 6}, {"stride": 3}], ids=["tiled", "count", "stride"])
def test_no_segment_straddles_a_cut_and_the_next_begins_behind_it(options: dict[str, int]) -> None:
    cuts = [0, 21, 34, 38, 70]
    shots = [shot(seed, b - a, 72, 96) for seed, (a, b) in enumerate(pairwise(cuts))]
    segments, dropped = planned(film(*shots), length=8, **options)
    for segment in segments:
        assert not any(segment.start < cut < segment.start + 8 for cut in cuts)
    assert {drop.reason for drop in dropped} == {"cut"}
    assert {21, 38} <= {segment.start for segment in segments}
    assert len(segments) == len({segment.start for segment in segments})


def test_cuts_are_not_looked_for_when_not_wanted() -> None:
    segments, dropped = planned(film(shot(1, 12), shot(2, 12)), length=24, cuts=False)
    assert [segment.start for segment in segments] == [0] and dropped == []


def test_a_gap_ends_a_segment() -> None:
    segments, dropped = planned(film(shot(1, 40), missing=(10, 11)), length=8)
    assert [segment.start for segment in segments] == [0, 12, 20, 28]
    assert [(drop.start, drop.reason) for drop in dropped] == [(8, "gap")]


def test_a_long_pause_ends_a_segment_and_an_uneven_rate_is_said() -> None:
    reader = film(shot(1, 32))
    reader.times = {index: index / 25 + (0.5 if index >= 12 else 0) for index in range(32)}
    reader.times[26] += 0.02
    segments, dropped = planned(reader, length=8)
    assert [segment.start for segment in segments] == [0, 12, 20]
    assert [drop.reason for drop in dropped] == ["gap"]
    assert [segment.flags for segment in segments] == [(), (), ("variable-frame-rate",)]


def test_still_and_black_segments_are_dropped_with_the_reason() -> None:
    noise = np.random.default_rng(0).integers(-2, 3, (8, 48, 64, 3))
    still = np.clip(shot(1, 8, speed=0).astype(int) + noise, 0, 255).astype(np.uint8)
    black = shot(2, 8, gain=0.06)
    fade = (shot(3, 8) * np.linspace(1, 0, 8)[:, None, None, None]).astype(np.uint8)
    for frames, reason in ((still, "still"), (black, "black"), (fade, "black")):
        segments, dropped = planned(film(frames), length=8, cuts=False)
        assert segments == [] and [drop.reason for drop in dropped] == [reason]
        segments, _ = planned(film(frames), length=8, cuts=False, min_motion=0, min_brightness=0)
        assert len(segments) == 1


def test_a_small_thing_that_moves_before_a_still_camera_is_motion() -> None:
    frames = shot(1, 8, speed=0)
    for number, frame in enumerate(frames):
        frame[20:28, 5 + 4 * number : 11 + 4 * number] = 250
    segments, _ = planned(film(frames), length=8, cuts=False)
    assert segments[0].motion > 0.02


def test_poses_are_carried_only_when_every_frame_has_one() -> None:
    reader = film(shot(1, 24))
    poses = {index: np.eye(4) + index * np.eye(4, k=3) for index in range(24) if index != 9}
    reader.camera = FootageCamera(np.eye(3), poses)
    segments, _ = planned(reader, length=8)
    assert [segment.camera is not None for segment in segments] == [True, False, True]
    assert segments[2].camera is not None
    np.testing.assert_array_equal(segments[2].camera.camera_to_world[:, 0, 3], np.arange(16, 24))


@pytest.mark.parametrize("total", [5, 0])
def test_too_short_footage_says_so(total: int) -> None:
    reader = Film(dict(enumerate(shot(1, total)))) if total else Film({}, total=0)
    segments, dropped = planned(reader, length=8)
    assert segments == [] and [drop.reason for drop in dropped] == ["short"]


def test_footage_that_ends_early_says_so() -> None:
    segments, dropped = planned(Film(dict(enumerate(shot(1, 30))), total=60), length=8, count=4)
    assert [segment.start for segment in segments] == [0, 17]
    assert dropped == []
    _, dropped = planned(Film(dict(enumerate(shot(1, 20))), total=60), length=8, count=4)
    assert [(drop.start, drop.reason) for drop in dropped] == [(17, "short")]


def test_segments_come_while_the_footage_streams() -> None:
    """What is held is a segment and the few frames for which a cut is not ruled out, not the footage."""
    taken = []
    reader = film(shot(1, 60))
    images = reader._images

    class Streaming(Film):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                taken.append(frame.index)
                yield frame

    pieces = plan(Streaming(images), SegmentOptions(length=8))
    next(pieces)
    assert max(taken) <= 8 + 4


@pytest.mark.parametrize("options", [{"length": 0}, {"stride": 0}, {"count": -1}, {"min_motion": 2.0}])
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(InputError):
        SegmentOptions(**options)
