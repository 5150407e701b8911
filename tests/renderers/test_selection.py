"""Selections: instances, picked pixels, and masks that stay on what moves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from editing.selection import Tracker, instance_selection, labels, pick
from manifests.codec.codecs import decode_clip
from manifests.contract.color import srgb_encode
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from renderers.modelspace import channels_last, gbuffer_values

torch.set_num_threads(1)
cv2.setNumThreads(1)
SIZE = 64


def overlap(mask: np.ndarray, true: np.ndarray) -> float:
    mask, true = mask > 0.5, true > 0.5
    return float((mask & true).sum() / (mask | true).sum())


def moving_disc(frames: int = 8) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """A disc of one texture that slides, grows and darkens over another texture: rgb, G-buffers, true mask."""
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
    flat = np.ones((frames, SIZE, SIZE, 1), dtype=np.float32)
    normal = np.concatenate([0 * flat, 0 * flat, flat], axis=-1)
    depth = np.where(mask > 0, 0.3, 0.6).astype(np.float32)
    buffers = {"basecolor": basecolor, "normal": normal, "depth": depth, "roughness": 0.5 * flat, "metallic": 0 * flat}
    return rgb, buffers, mask


def test_an_instance_is_all_its_pixels_in_every_frame() -> None:
    instance = np.zeros((2, 4, 5, 1), dtype=np.uint16)
    instance[0, 1, 1], instance[1, 2, 3], instance[1, 0, 0] = 2, 2, 7
    chosen = instance_selection(instance, 2)
    assert chosen.sum() == 2
    assert chosen[1, 2, 3, 0] == 1
    with pytest.raises(InputError, match="instance 3; the clip shows 2, 7"):
        instance_selection(instance, 3)


def test_a_picked_pixel_selects_what_is_connected_and_alike() -> None:
    features = np.zeros((20, 20, 4), dtype=np.float32)
    features[4:10, 4:10] = 0.8
    features[14:18, 14:18] = 0.8  # as alike, but elsewhere
    chosen = pick(features, 5, 6)
    assert chosen.sum() == 36
    assert chosen[4:10, 4:10].all()
    assert pick(features, 5, 6, tolerance=1.0).all()
    with pytest.raises(InputError, match=r"\(20, 3\) is outside"):
        pick(features, 20, 3)


def test_a_mask_follows_what_moves() -> None:
    rgb, buffers, true = moving_disc()
    found = Tracker(true[0]).follow(rgb, labels(rgb, buffers))
    assert overlap(found[0], true[0]) == 1
    assert min(overlap(a, b) for a, b in zip(found, true, strict=True)) > 0.8
    assert overlap(true[0], true[-1]) < 0.3  # standing still would not do


def test_following_in_two_parts_is_following_at_once() -> None:
    rgb, buffers, true = moving_disc(5)
    features = labels(rgb, buffers)
    whole, parts = Tracker(true[0]).follow(rgb, features), Tracker(true[0])
    joined = np.concatenate([parts.follow(rgb[:2], features[:2]), parts.follow(rgb[2:], features[2:])])
    np.testing.assert_array_equal(joined, whole)


def test_what_leaves_the_picture_is_no_longer_selected() -> None:
    rgb, buffers, true = moving_disc(16)
    found = Tracker(true[0]).follow(rgb, labels(rgb, buffers))
    assert true[-1].sum() < 0.75 * true[9].sum()
    assert found[-1].sum() < 1.3 * true[-1].sum()


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
        instance = clip.arrays["instance"]
        rgb = np.clip(srgb_encode(clip.exposure * clip.arrays["rgb"]), 0, 1).astype(np.float32)
        buffers = {name: channels_last(value) for name, value in gbuffer_values(clip).items()}
        for number in np.unique(instance[instance > 1]):
            true = instance_selection(instance, int(number))
            if true.mean(axis=(1, 2, 3)).min() > 0.02:
                overlaps.append(overlap(Tracker(true[0]).follow(rgb, labels(rgb, buffers))[-1], true[-1]))
    assert len(overlaps) >= 5
    assert np.median(overlaps) >= 0.8, sorted(overlaps)
