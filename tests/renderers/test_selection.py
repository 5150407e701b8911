"""Selections: instances, picked pixels, and masks that stay on what moves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from editing.film import Film, eight_bits
from editing.selection import (
    Follower,
    SelectionRequest,
    Selector,
    instance_selection,
    overlap,
    picked,
    pixels,
    with_edges,
)
from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from renderers.sampling.windows import Window, plan_windows

torch.set_num_threads(1)
cv2.setNumThreads(1)
SIZE = 64


def followed(follower: Follower, rgb: np.ndarray) -> np.ndarray:
    return np.stack([follower.step(frame) for frame in rgb])


def moving_disc(frames: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A disc of one texture that slides, grows and darkens over another texture: rgb, true mask."""
    random = np.random.default_rng(3)
    ground, skin = (
        cv2.GaussianBlur(random.random((SIZE, 2 * SIZE, 3)), (0, 0), 1.5).astype(np.float32) for _ in range(2)
    )
    rows, columns = np.mgrid[:SIZE, :SIZE]
    pictures, masks = [], []
    for t in range(frames):
        x, y, radius = 20 + 3 * t, 28 + t, 10 + 0.4 * t
        inside = ((columns - x) ** 2 + (rows - y) ** 2 < radius**2)[..., None]
        shift = np.float32([[1, 0, 3 * t], [0, 1, t]])
        disc = cv2.warpAffine(skin[:, :SIZE] * [1.6, 0.6, 0.6], shift, (SIZE, SIZE), borderMode=cv2.BORDER_WRAP)
        pictures.append(np.where(inside, disc, ground[:, :SIZE]))
        masks.append(inside)
    mask = np.stack(masks).astype(np.float32)
    basecolor = np.clip(np.stack(pictures), 0, 1).astype(np.float32)
    dimming = np.linspace(1.0, 0.8, frames, dtype=np.float32)[:, None, None, None]
    rgb = (srgb_encode(basecolor) * dimming).astype(np.float32)
    return rgb, mask


def test_an_instance_is_all_its_pixels_in_every_frame() -> None:
    instance = np.zeros((2, 4, 5, 1), dtype=np.uint16)
    instance[0, 1, 1], instance[1, 2, 3], instance[1, 0, 0] = 2, 2, 7
    chosen = instance_selection(instance, 2)
    assert chosen.sum() == 2
    assert chosen[1, 2, 3, 0] == 1
    with pytest.raises(InputError, match="instance 3; the clip shows 2, 7"):
        instance_selection(instance, 3)


def test_a_pick_selects_what_it_lies_on() -> None:
    rgb, true = moving_disc(1)
    assert overlap(picked(rgb[0], [(20, 28)]), true[0]) > 0.8


def test_further_picks_add_and_excluded_pixels_take_away() -> None:
    rgb, true = moving_disc(1)
    outside = (50, 50)
    added = picked(rgb[0], [(20, 28), outside])
    taken = picked(rgb[0], [(20, 28)], [outside])
    assert added[50, 50] > taken[50, 50]
    assert overlap(taken, true[0]) > 0.7


def test_tolerance_says_how_much_is_taken() -> None:
    rgb, _ = moving_disc(1)
    soft = cv2.GaussianBlur(rgb[0], (0, 0), 4)  # of a sharp disc there is no doubt
    shares = [picked(soft, [(20, 28)], tolerance=tolerance).mean() for tolerance in (0.05, 0.5, 0.95)]
    assert shares[0] < shares[1] < shares[2]


def test_a_selection_follows_what_moves() -> None:
    rgb, true = moving_disc()
    found = followed(Follower(true[0]), rgb)
    assert overlap(found[0], true[0]) == 1
    assert min(overlap(a, b) for a, b in zip(found, true, strict=True)) > 0.8
    assert overlap(true[0], true[-1]) < 0.3  # standing still would not do


def test_a_mask_without_an_edge_stays_on_the_texture_that_it_lies_on() -> None:
    wide = cv2.GaussianBlur(np.random.default_rng(5).random((48, 72, 3)), (0, 0), 2).astype(np.float32)
    wide = (wide - wide.min()) / np.ptp(wide)
    rgb = np.stack([wide[:, t : t + 48] for t in range(9)])
    true = np.zeros((9, 48, 48, 1), dtype=np.float32)
    for t in range(9):
        true[t, 14:32, 20 - t : 38 - t] = 1
    assert overlap(followed(Follower(true[0]), rgb)[-1], true[-1]) > 0.75


def test_what_leaves_the_picture_is_no_longer_selected() -> None:
    rgb, true = moving_disc(16)
    found = followed(Follower(true[0]), rgb)
    assert true[-1].sum() < 0.75 * true[9].sum()
    assert found[-1].sum() < 1.3 * true[-1].sum()


def test_a_selection_ends_at_a_hard_cut() -> None:
    rgb, true = moving_disc(6)
    other = np.random.default_rng(8).random((3, *rgb.shape[1:])).astype(np.float32)
    follower = Follower(true[0])
    found = followed(follower, np.concatenate([rgb, other]))
    assert overlap(found[5], true[5]) > 0.8 and follower.cut == 6
    assert not found[6:].any()


def test_a_light_that_turns_is_no_cut() -> None:
    """A relief under a light that goes round it, by a third of a turn from frame to frame."""
    height = cv2.GaussianBlur(np.random.default_rng(3).random((SIZE, SIZE)), (0, 0), 2) * 60
    slope = np.stack(np.gradient(height), axis=-1)
    normal = np.concatenate([-slope, np.ones((SIZE, SIZE, 1))], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    angles = 2 * np.pi / 3 * np.arange(4)
    suns = np.stack([np.cos(angles), np.sin(angles), np.full(4, 1.2)], axis=-1)
    shaded = np.clip(normal @ (suns / np.linalg.norm(suns, axis=-1, keepdims=True)).T, 0, 1)
    rgb = np.repeat(np.moveaxis(shaded, -1, 0)[..., None], 3, axis=-1).astype(np.float32)
    follower = Follower(np.ones((SIZE, SIZE, 1), dtype=np.float32))
    followed(follower, rgb)
    assert follower.cut is None


def test_edges_are_those_of_the_full_picture() -> None:
    """A disc in a picture ten times as large as what the network sees of it: its edge is a few pixels wide."""
    rows, columns = np.mgrid[:1200, :1600]
    disc = (columns - 800) ** 2 + (rows - 600) ** 2 < 400**2
    rgb = np.where(disc[..., None], [0.8, 0.2, 0.1], [0.2, 0.4, 0.5]).astype(np.float32)
    found = picked(rgb, [(800, 600)])[..., 0]
    near = cv2.dilate(disc.astype(np.uint8), np.ones((9, 9))) - cv2.erode(disc.astype(np.uint8), np.ones((9, 9)))
    assert overlap(found[near > 0], disc[near > 0]) > 0.9
    assert overlap(found, disc) > 0.95
    small = cv2.resize(disc.astype(np.float32), (64, 48), interpolation=cv2.INTER_AREA)[..., None]
    assert overlap(with_edges(small, eight_bits(rgb))[..., 0], disc) > 0.98


def test_picks_that_hit_nothing_are_an_error() -> None:
    with pytest.raises(InputError, match="nothing is found at the picked pixels"):
        picked(np.zeros((32, 32, 3), dtype=np.float32), [(3, 3)], tolerance=1e-9)


def test_windows_that_share_frames_give_one_selection_each_frame_once() -> None:
    rgb, _ = moving_disc(5)
    clip = Clip("disc", {"rgb": srgb_decode(rgb)}, fps=8.0)
    request = SelectionRequest(pick=((20, 28),))
    whole, parts = (Selector(request, Film("disc", clip), plan_windows(5), (SIZE, SIZE)) for _ in range(2))
    shown = eight_bits(rgb[0])
    at_once = whole.window(Window(0, 5, 5), rgb, shown)
    first = parts.window(Window(0, 3, 3), rgb[:3], shown)
    second = parts.window(Window(1, 5, 4), rgb[1:], eight_bits(rgb[1]))
    np.testing.assert_array_equal(np.concatenate([first[:1], second]), at_once)


def test_mistakes_are_refused() -> None:
    clip = Film("disc", Clip("disc", {"rgb": np.zeros((1, 4, 5, 3), dtype=np.float32)}, fps=8.0))
    with pytest.raises(InputError, match="pixel 5,1 lies outside the video of 5x4"):
        Selector(SelectionRequest(pick=((5, 1),)), clip, plan_windows(1), (4, 5))
    with pytest.raises(InputError, match="pixel 1,4 lies outside"):
        Selector(SelectionRequest(pick=((1, 1),), exclude=((1, 4),)), clip, plan_windows(1), (4, 5))
    with pytest.raises(InputError, match="takes away"):
        SelectionRequest(instance=1, exclude=((1, 1),))
    assert pixels((3, 4)) == pixels([(3, 4)]) == ((3, 4),)


@pytest.mark.slow
def test_masks_follow_the_instances_of_rendered_clips(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from lightloom.cli import main; main()",
        "datagen",
        "run",
        str(tmp_path / "set"),
        "--recipe",
        "tiny",
    ]
    subprocess.run([*command, "--clips", "16"], check=True, capture_output=True)
    dataset, overlaps = open_dataset(tmp_path / "set"), []
    for row in dataset.rows():
        clip = decode_clip(row.key, dataset.files(row))
        instance, film = clip.arrays["instance"], Film(row.key, clip)
        for number in np.unique(instance[instance > 1]):
            true = instance_selection(instance, int(number))
            if true.mean(axis=(1, 2, 3)).min() > 0.02:
                overlaps.append(overlap(followed(Follower(true[0]), film.shown)[-1], true[-1]))
    assert len(overlaps) >= 5
    assert np.median(overlaps) >= 0.8, sorted(overlaps)
