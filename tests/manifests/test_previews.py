"""Contact sheets show the clips, say so when they cannot, and stay within bounds."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.display import PAPER, light_picture, pictures, tile
from manifests.store.previews import MOST_STRIPS, TILE, ContactSheet, strip, strip_of
from manifests.store.shards import read_item, write_item
from tests.manifests.clips import clip_sample, raw_sample, sphere_clip


def sheet_of(samples: list, expected: int) -> Image.Image:
    sheet = ContactSheet("shard 000000", expected)
    for sample in samples:
        sheet.add(sample)
    return Image.open(io.BytesIO(sheet.webp()))


def test_pictures_follow_the_attributes_conventions() -> None:
    clip = sphere_clip("a")
    hit = clip.arrays["mask"][..., 0] == 1
    rgb = pictures(clip, "rgb")
    expected = np.clip(srgb_encode(clip.arrays["rgb"]), 0, 1) * 255
    assert np.abs(rgb - expected).max() <= 0.51
    normal = pictures(clip, "normal")
    assert np.abs(normal[hit] - (clip.arrays["normal"][hit] * 127.5 + 127.5)).max() <= 0.51
    assert (normal[~hit] == PAPER).all()
    depth = pictures(clip, "depth").astype(int).sum(-1)
    near, far = clip.arrays["depth"][..., 0] < 2.2, hit & (clip.arrays["depth"][..., 0] > 5)
    assert depth[near].min() > depth[far].max()
    relative = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 1, 101, 1)  # of labels: no logarithm at its start
    ramp = pictures(Clip("c", {"depth": np.maximum(relative, 1e-9)}), "depth").astype(int).sum(-1)[0, 0]
    assert ramp[50] - ramp[-1] > 100 and ramp[0] - ramp[50] > 100
    flow = np.zeros((1, 2, 2, 4), np.float32)
    flow[0, 0, :, 0] = (8, -8)
    shown = pictures(Clip("b", {"flow": flow, "flow_visible": np.ones((1, 2, 2, 2), np.float32)}), "flow")
    assert shown[0].tolist() == [[[255, 64, 64], [0, 191, 191]], [[255, 255, 255]] * 2]


def test_strip_shows_frames_then_gbuffers() -> None:
    image = np.asarray(strip(clip_sample(1)))
    clip = sphere_clip("00000001-00", seed=1)
    assert image.shape == (TILE, 8 * (TILE + 3) - 3, 3)
    last = np.asarray(tile(pictures(clip, "rgb")[-1], TILE)).astype(int)
    assert np.abs(image[:, 2 * (TILE + 3) : 3 * (TILE + 3) - 3] - last).max() <= 2
    base = np.asarray(tile(pictures(clip, "basecolor")[1], TILE)).astype(int)
    assert np.abs(image[:, 3 * (TILE + 3) : 4 * (TILE + 3) - 3] - base).max() <= 2


def test_a_strip_of_the_frames_is_the_one_that_packing_would_decode() -> None:
    sample = clip_sample(1)
    brought = np.asarray(Image.open(io.BytesIO(strip_of(sphere_clip(sample.key, seed=1)))), int)
    assert np.abs(brought - np.asarray(strip(sample), int)).max() <= 1, "the clip's OpenEXR has half floats"


def test_a_sheet_shows_what_a_sample_brings_through_its_item_unless_that_is_broken(tmp_path: Path) -> None:
    sample = replace(raw_sample(1), preview=strip_of(sphere_clip("a")))
    write_item(tmp_path / "1.tar", [sample])
    assert read_item(tmp_path / "1.tar") == [sample]
    assert sheet_of(read_item(tmp_path / "1.tar"), 1) != sheet_of([raw_sample(1)], 1)
    assert sheet_of([replace(sample, preview=sample.preview[:99])], 1) == sheet_of([raw_sample(1)], 1)


def test_small_pictures_keep_their_pixels_and_wide_ones_their_shape() -> None:
    picture = np.zeros((2, 4, 3), dtype=np.uint8)
    picture[0, 0] = 255
    square = np.asarray(tile(picture, 16))
    assert (square[4:8, 0:4] == 255).all() and (square[8:12] == 0).all() and (square[:4] == PAPER).all()


def test_clip_that_cannot_be_decoded_says_so_and_does_not_stop_the_sheet() -> None:
    image = np.asarray(strip(raw_sample(0)))
    assert image.max() > 100


def test_sheet_of_many_clips_is_bounded() -> None:
    image = sheet_of([raw_sample(scene) for scene in range(200)], 200)
    one = sheet_of([raw_sample(scene) for scene in range(MOST_STRIPS)], MOST_STRIPS)
    assert image.size == one.size and max(image.size) < 16383


def test_empty_sheet_is_a_picture() -> None:
    assert sheet_of([], 3).size[0] > 0


def test_light_thumbnail_is_twice_as_wide_as_high() -> None:
    image = light_picture(np.full((8, 16, 3), 3.0, dtype=np.float32), 40)
    assert image.size == (80, 40) and 60 < np.asarray(image).mean() < 220
