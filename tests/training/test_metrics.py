"""Metrics against numbers that can be worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from manifests.errors import InputError
from training.evaluation import metrics, shadows
from training.evaluation.metrics import temporal_error, true_flow
from training.evaluation.perceptual import load_perceptual
from training.evaluation.score_estimates import light_errors, main_direction

torch.set_num_threads(1)
T, H, W = 3, 16, 16
EVERYWHERE = np.ones((T, H, W), dtype=bool)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def constant(value, channels=3):
    return np.full((T, H, W, channels), value, dtype=np.float32)


def test_psnr_of_a_constant_offset():
    assert metrics.psnr(constant(0.5), constant(0.6)) == pytest.approx(20.0, abs=1e-3)
    assert metrics.psnr(constant(0.5), constant(0.5)) == metrics.HIGHEST_PSNR


def test_only_the_pixels_that_count_do():
    prediction, where = constant(0.5), EVERYWHERE.copy()
    prediction[:, :, :8] = 9.0
    where[:, :, :8] = False
    assert metrics.psnr(prediction, constant(0.6), where) == pytest.approx(20.0, abs=1e-3)


def test_a_metric_of_no_pixel_or_of_nan_is_an_error():
    with pytest.raises(InputError, match="no pixel"):
        metrics.psnr(constant(0.5), constant(0.5), ~EVERYWHERE)
    with pytest.raises(InputError, match="NaN"):
        metrics.rmse(constant(np.nan, 1), constant(0.5, 1), EVERYWHERE)
    with pytest.raises(InputError, match=r"shape"):
        metrics.psnr(constant(0.5, 1), constant(0.5, 3))


def test_ssim_is_1_for_equal_frames_and_falls_with_noise(rng):
    truth = rng.random((T, H, W, 3)).astype(np.float32)
    noisy = np.clip(truth + rng.normal(0, 0.3, truth.shape), 0, 1).astype(np.float32)
    assert metrics.ssim(truth, truth) == pytest.approx(1.0, abs=1e-5)
    assert metrics.ssim(noisy, truth) < 0.9


def test_si_psnr_does_not_see_a_gain_that_psnr_sees(rng):
    truth = rng.uniform(0.1, 0.9, (T, H, W, 3)).astype(np.float32)
    assert metrics.best_gain(truth * 0.25, truth, EVERYWHERE) == pytest.approx(4.0, rel=1e-3)
    assert metrics.basecolor_psnr(truth * 0.25, truth, EVERYWHERE) < 15
    assert metrics.si_psnr(truth * 0.25, truth, EVERYWHERE) > 60


def test_si_psnr_is_never_below_psnr(rng):
    truth = rng.uniform(0.0, 1.0, (T, H, W, 3)).astype(np.float32)
    for prediction in (truth, 1 - truth, np.zeros_like(truth), np.ones_like(truth)):
        plain = metrics.basecolor_psnr(prediction, truth, EVERYWHERE)
        assert metrics.si_psnr(prediction, truth, EVERYWHERE) >= plain - 1e-9


def test_rmse_of_a_known_difference():
    assert metrics.rmse(constant(0.2, 1), constant(0.5, 1), EVERYWHERE) == pytest.approx(0.3, abs=1e-6)


def test_angles_in_degrees_small_ones_too():
    truth = np.broadcast_to(np.float32([0, 0, 1]), (T, H, W, 3))
    for degrees in (0.01, 30.0, 120.0):
        turned = np.float32([np.sin(np.radians(degrees)), 0, np.cos(np.radians(degrees))])
        found = metrics.angular(np.broadcast_to(turned, truth.shape), truth, EVERYWHERE)
        assert found.mean == pytest.approx(degrees, rel=2e-3)
    half = truth.copy()
    half[:, :, 4:] = np.float32([0, 1, 0])
    found = metrics.angular(half, truth, EVERYWHERE)
    assert (found.mean, found.median) == (pytest.approx(67.5), pytest.approx(90.0))


def test_depth_is_compared_after_scale_and_shift_but_not_inside_out(rng):
    truth = rng.random((T, H, W, 1)).astype(np.float32)
    assert metrics.aligned_depth_rmse(3 * truth + 5, truth, EVERYWHERE) < 1e-5
    spread = float(truth.std())
    assert metrics.aligned_depth_rmse(constant(0.4, 1), truth, EVERYWHERE) == pytest.approx(spread, rel=1e-4)
    assert metrics.aligned_depth_rmse(1 - truth, truth, EVERYWHERE) == pytest.approx(spread, rel=1e-4)


def test_perceptual_distance_is_labelled_and_orders_damage(rng):
    perceptual = load_perceptual()
    assert perceptual.label in ("LPIPS", "ST-LPIPS")
    truth = np.kron(rng.random((2, 8, 8, 3)), np.ones((1, 4, 4, 1))).astype(np.float32)
    slight, strong = (np.clip(truth + rng.normal(0, s, truth.shape), 0, 1).astype(np.float32) for s in (0.05, 0.4))
    assert perceptual(truth, truth) == pytest.approx(0.0, abs=1e-6)
    assert 0 < perceptual(slight, truth) < perceptual(strong, truth)


def test_shift_tolerant_lpips_gives_the_published_networks_number():
    """0.8504 is what the code of stlpips-pytorch 0.0.2 gives for these images, run once with its imports in place."""
    perceptual = load_perceptual()
    if perceptual.label != "ST-LPIPS":
        pytest.skip("torch's cache holds AlexNet: LPIPS is used")
    first = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64).sin()
    assert float(perceptual.distance(first, (3 * first).cos())) == pytest.approx(0.8504, abs=1e-4)


def ground_clip(frames=3, step=0.5):
    """A camera that slides sideways over the textured plane z = 0, looking straight down from height 4."""
    intrinsics = intrinsics_from_fov(45, 32, 32)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = np.arange(frames) * step, 4.0
    camera = Camera(intrinsics, poses)
    ground = camera.rays(32, 32)[None] * 4 + poses[:, None, None, :3, 3]
    texture = (0.5 + 0.4 * np.sin(2 * ground[..., :1]) * np.cos(1.5 * ground[..., 1:2])).astype(np.float32)
    arrays = {
        "rgb": np.repeat(texture, 3, axis=-1),
        "depth": np.full((frames, 32, 32, 1), 4.0, dtype=np.float32),
        "instance": np.ones((frames, 32, 32, 1), dtype=np.uint16),
    }
    return Clip("ground", arrays, camera)


def test_true_motion_of_a_zoom_goes_away_from_the_middle():
    clip = ground_clip(frames=2, step=0.0)
    lens = np.stack([clip.camera.intrinsics] * 2)
    lens[1, [0, 1], [0, 1]] *= 1.25
    flow = true_flow(dataclasses.replace(clip, camera=Camera(lens, clip.camera.camera_to_world)))
    pixels = np.arange(32) + 0.5
    assert flow.source[0, 1, 7] == pytest.approx((pixels - 16) / 1.25 + 16 - 0.5)
    assert flow.source[0, 0, :, 7] == pytest.approx((pixels - 16) / 1.25 + 16 - 0.5)
    assert flow.valid.all()


def test_true_motion_follows_a_textured_plane():
    clip = ground_clip()
    flow = true_flow(clip)
    shift = clip.camera.intrinsics[0, 0] * 0.5 / 4  # pixels between frames
    columns = np.arange(32)
    assert flow.source[0, 1, 7] == pytest.approx(columns + shift)
    assert flow.valid[0].sum() == 32 * int((columns + shift <= 31).sum())
    aligned = np.abs(flow.warp(clip.arrays["rgb"]) - clip.arrays["rgb"][1:])[flow.valid].mean()
    assert aligned < 0.005 < 0.1 * np.abs(np.diff(clip.arrays["rgb"], axis=0)).mean() + 0.005


def test_temporal_error_sees_flicker_but_neither_a_constant_nor_a_moving_error(rng):
    clip = ground_clip()
    flow, truth = true_flow(clip), clip.arrays["rgb"]
    assert temporal_error(truth, truth, flow) == 0
    assert temporal_error(truth * 0.5, truth, flow) < 0.005  # dark everywhere, and moving with the surface
    flicker = truth + np.array([0, 0.2, 0], dtype=np.float32)[:, None, None, None]
    assert temporal_error(flicker, truth, flow) == pytest.approx(0.2, abs=1e-3)


def test_things_that_move_by_themselves_are_not_followed():
    flow = true_flow(ground_clip(), frozenset({1}))
    assert not flow.valid.any()
    assert temporal_error(constant(0.5), constant(0.6), true_flow(ground_clip(), frozenset({1}))) is None


def test_cast_shadow_is_ground_that_is_darker_than_light_without_obstacles_would_leave_it():
    open_light = constant(0.4)
    truth = constant(0.4)
    truth[:, :4], truth[:, 4:8] = 0.4 * 0.5, 0.4 * 0.8
    ground = EVERYWHERE.copy()
    ground[:, :, 0] = False
    light = shadows.ground_light(srgb_encode(truth), srgb_encode(open_light), ground)
    assert light.shadow[:, :4, 1:].all()
    assert not light.shadow[:, 4:].any()
    assert light.lit[:, 8:, 1:].all()
    assert not light.lit[:, :8].any()
    assert not (light.shadow | light.lit)[:, :, 0].any()


def turning(frames=8, size=32):
    """A shadow that sweeps over flat ground: (video sRGB, light) with the shadow at columns 4 t .. 4 t + 8."""
    truth = np.full((frames, size, size, 3), 0.5, dtype=np.float32)
    for t in range(frames):
        truth[t, :, 2 * t : 2 * t + 8] = 0.1
    ground = np.ones(truth.shape[:3], dtype=bool)
    unshadowed = np.full_like(truth, 0.5)
    return srgb_encode(truth).astype(np.float32), shadows.ground_light(
        srgb_encode(truth), srgb_encode(unshadowed), ground
    )


def test_shadows_that_turn_pass_and_shadows_that_stay_or_are_missing_do_not():
    truth, light = turning()
    still = np.broadcast_to(truth[:1], truth.shape)
    right = shadows.shadow_turn(truth, still, truth, light)
    assert right is not None
    assert right.gain > 0 and right.parting > 0
    assert right.gain > 20 < right.parting
    stays = shadows.shadow_turn(still, still, truth, light)
    assert not (stays.gain > 0 and stays.parting > 0)
    assert stays.gain == stays.parting == 0
    none = np.full_like(truth, float(srgb_encode(np.float64(0.5))))
    missing = shadows.shadow_turn(none, none, truth, light)
    assert not (missing.gain > 0 and missing.parting > 0)


def test_a_turn_without_shadows_is_not_measured():
    truth = np.full((4, 32, 32, 3), 0.5, dtype=np.float32)
    light = shadows.ground_light(truth, truth, np.ones(truth.shape[:3], dtype=bool))
    assert shadows.shadow_turn(truth, truth, truth, light) is None


def test_small_regions_are_not_measured():
    where = np.zeros((T, H, W), dtype=bool)
    where[0, 0, :10] = True
    assert shadows.region_psnr(constant(0.5), constant(0.6), where) is None
    assert shadows.region_psnr(constant(0.5), constant(0.6), EVERYWHERE) == pytest.approx(20.0, abs=1e-3)


def test_the_swap_partner_is_another_light_in_a_circle():
    assert [shadows.swap_partner(light, range(4)) for light in range(4)] == [1, 2, 3, 0]
    assert shadows.swap_partner(0, [0]) == 0


def test_light_from_one_side_has_that_direction_and_even_light_none():
    panorama = np.full((32, 64, 3), 0.1, dtype=np.float32)
    assert main_direction(panorama) is None
    panorama[16, 32 + 16] = 500.0  # right of the centre column: +x
    assert main_direction(panorama) == pytest.approx([1, 0, 0], abs=0.1)
    assert light_errors(panorama, panorama) == {"log_rmse": 0.0, "main_angle": pytest.approx(0.0, abs=1e-6)}
    behind = np.roll(panorama, 32, axis=1)
    assert light_errors(behind, panorama)["main_angle"] == pytest.approx(180, abs=10)
