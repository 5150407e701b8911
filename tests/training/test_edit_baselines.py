"""Naive edits: what they keep, what they change, and that the oracle among them is one."""

import numpy as np
import torch

from manifests.contract.camera import intrinsics_from_fov
from manifests.contract.color import luminance, srgb_decode, srgb_encode
from training.baselines import edit_baselines

torch.set_num_threads(1)
RED = np.array([0.5, 0.05, 0.02], dtype=np.float32)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A grey ramp (2, 16, 16, 3) in sRGB, and a square (2, 16, 16, 1) of it."""
    ramp = np.linspace(0.1, 0.6, 16, dtype=np.float32)
    video = np.broadcast_to(ramp[None, None, :, None], (2, 16, 16, 3)).copy()
    mask = np.zeros((2, 16, 16, 1), dtype=np.float32)
    mask[:, 4:12, 4:12] = 1
    return video, mask


def test_nothing_outside_of_the_region_changes():
    video, mask = picture()
    truth = np.zeros_like(video)
    for made in (
        edit_baselines.repainted(video, mask, np.full(3, 0.5), RED),
        edit_baselines.chroma(video, mask, RED),
        edit_baselines.best_gain(video, mask, truth),
    ):
        np.testing.assert_array_equal(made[mask[..., 0] == 0], video[mask[..., 0] == 0])
        assert np.abs(made - video).max() > 0.1


def test_recolouring_by_ratio_is_exact_where_encoded_light_is_a_product():
    video, mask = picture()
    old, new = np.array([0.2, 0.4, 0.6]), np.array([0.4, 0.2, 0.3])
    made = edit_baselines.repainted(video, mask, old, new)
    wanted = video * srgb_encode(new) / srgb_encode(old)
    inside = (mask[..., 0] > 0) & (wanted.max(axis=-1) < 1)
    np.testing.assert_allclose(made[inside], wanted[inside], atol=1e-6)


def test_the_mean_colour_is_that_of_the_region_alone():
    video, mask = picture()
    made = edit_baselines.repainted(video, mask, edit_baselines.mean_colour(video, mask), RED)
    inside = mask[..., 0] > 0
    np.testing.assert_allclose(made[inside].mean(axis=0), srgb_encode(RED), atol=0.02)


def test_recolouring_with_luminance_kept_keeps_it_and_takes_the_hue():
    video, mask = picture()
    made = srgb_decode(edit_baselines.chroma(video, mask, np.array([0.3, 0.25, 0.2])))
    inside = mask[..., 0] > 0
    np.testing.assert_allclose(luminance(made)[inside], luminance(srgb_decode(video))[inside], rtol=1e-3)
    np.testing.assert_allclose(made[inside][:, 0] / made[inside][:, 2], 1.5, rtol=1e-3)


def test_the_best_gain_finds_the_gain_of_each_channel():
    video, mask = picture()
    truth = srgb_encode(srgb_decode(video) * np.array([2.0, 0.5, 1.0]))
    made = edit_baselines.best_gain(video, mask, truth)
    inside = mask[..., 0] > 0
    np.testing.assert_allclose(made[inside], truth[inside], atol=0.01)


def test_a_pasted_object_is_lit_evenly_and_exposed_as_the_datasets_are():
    video, mask = picture()
    shape = (2, 16, 16)
    arrays = {
        "basecolor": np.full((*shape, 3), 0.3, dtype=np.float32),
        "normal": np.broadcast_to(np.array([0, 0, 1], dtype=np.float32), (*shape, 3)).copy(),
        "roughness": np.full((*shape, 1), 1.0, dtype=np.float32),
        "metallic": np.zeros((*shape, 1), dtype=np.float32),
    }
    made = edit_baselines.paste(video, arrays, mask, intrinsics_from_fov(45, 16, 16))
    inside = mask[..., 0] > 0
    np.testing.assert_array_equal(made[~inside], video[~inside])
    assert luminance(srgb_decode(made))[inside].max() < 0.75
    assert made[inside].std() < 0.03  # no shadow, no direction
