"""Baselines on analytic scenes: each gives exactly what its name promises."""

import numpy as np
import pytest
import torch

from manifests.contract.color import srgb_decode, srgb_encode
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from renderers.light.panoramas import panorama_directions
from renderers.modelspace import channels_last, planar, relative_depth
from tests.manifests.clips import sphere_clip
from tests.training.analytic_benchmark import GROUND, LIGHTS, SIZE, THING, TILT, clip_of, write_part
from training.baselines import forward_baselines, inverse_baselines
from training.baselines.inverse_baselines import gather_averages
from training.evaluation import metrics
from training.evaluation.benchmark import Shot

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shots():
    return [Shot(clip_of(0, light), "objects", 0, light) for light in range(len(LIGHTS))]


@pytest.fixture(scope="module")
def averages(tmp_path_factory):
    folder = write_part(tmp_path_factory.mktemp("averages") / "set", scenes=3)
    return gather_averages(open_dataset(folder))


def test_averages_of_a_set_are_its_values(averages):
    assert averages.clips == 6
    constants = averages.constants
    assert constants["roughness"] == pytest.approx([0.9], abs=1e-3)
    assert constants["metallic"] == pytest.approx([0.0], abs=1e-6)
    assert averages.maps["basecolor"][-1, 0] == pytest.approx(GROUND, abs=2e-3)
    assert averages.maps["basecolor"][-1, -1] == pytest.approx(THING, abs=2e-3)
    assert averages.ground_normal == pytest.approx([0, np.sin(np.radians(TILT)), np.cos(np.radians(TILT))], abs=1e-3)
    assert averages.maps["normal"].shape == (SIZE, SIZE, 3)
    assert np.linalg.norm(averages.maps["normal"], axis=-1) == pytest.approx(1.0, abs=1e-4)


def test_an_empty_set_cannot_be_averaged(tmp_path):
    folder = write_part(tmp_path / "set", scenes=1)
    (folder / "manifest" / "000000.parquet").unlink()
    with pytest.raises(InputError, match="no committed clip"):
        gather_averages(open_dataset(folder))


def test_rgb_as_base_colour_is_the_exposed_picture_and_the_oracle_gain_is_no_worse(shots, averages):
    shot = shots[0]
    found = inverse_baselines.inverse_baselines(shot, averages)
    assert found[inverse_baselines.RGB]["basecolor"] == pytest.approx(np.clip(shot.clip.arrays["rgb"], 0, 1))
    truth = shot.gbuffers["basecolor"]
    raw, gain, oracle = (
        metrics.basecolor_psnr(found[name]["basecolor"], truth, shot.surface)
        for name in (inverse_baselines.RGB, inverse_baselines.RGB_GAIN, inverse_baselines.RGB_ORACLE)
    )
    assert oracle >= max(raw, gain) - 1e-3


def test_the_true_cameras_plane_is_exact_on_flat_ground(shots, averages):
    for shot in shots:
        found = inverse_baselines.inverse_baselines(shot, averages)
        plane = found[inverse_baselines.PLANE_ORACLE]
        assert metrics.angular(plane["normal"], shot.gbuffers["normal"], shot.surface).mean < 1e-3
        assert metrics.aligned_depth_rmse(plane["depth"], shot.gbuffers["depth"], shot.surface) < 0.02
        fitted = found[inverse_baselines.PLANE]  # this set has one camera, so the fitted plane is as good
        assert metrics.angular(fitted["normal"], shot.gbuffers["normal"], shot.surface).mean < 0.1


def test_the_mean_map_of_identical_scenes_is_the_answer(shots, averages):
    found = inverse_baselines.inverse_baselines(shots[0], averages)[inverse_baselines.MEAN_MAP]
    assert metrics.basecolor_psnr(found["basecolor"], shots[0].gbuffers["basecolor"], shots[0].surface) > 50
    assert metrics.rmse(found["roughness"], shots[0].gbuffers["roughness"], shots[0].surface) < 1e-3


def test_without_a_training_set_only_the_baselines_that_need_none_remain(shots):
    found = inverse_baselines.inverse_baselines(shots[0], None)
    assert set(found) == {
        inverse_baselines.RGB,
        inverse_baselines.RGB_ORACLE,
        inverse_baselines.FACING,
        inverse_baselines.PLANE_ORACLE,
    }


def test_mean_maps_fit_another_size():
    ramp = np.tile(np.linspace(0, 1, 8, dtype=np.float32)[:, None, None], (1, 8, 1))
    large = inverse_baselines.resized(ramp, 16, 16, "roughness")
    assert large.shape == (16, 16, 1)
    assert large[:, 0, 0] == pytest.approx(np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7) / 7, abs=1e-5)


def test_under_even_light_diffuse_baselines_give_base_colour_times_light(shots):
    shot = shots[0]
    found = forward_baselines.forward_baselines(shot)
    expected = srgb_encode(shot.clip.arrays["basecolor"] * LIGHTS[0])
    for name in (forward_baselines.MEAN_LIGHT, forward_baselines.IRRADIANCE):
        assert found[name][shot.surface] == pytest.approx(expected[shot.surface], abs=2e-3)
    lit = shot.surface & (np.abs(shot.video - expected).max(-1) < 1e-3)
    assert (
        metrics.psnr(found[forward_baselines.SPLIT_SUM], shot.video, lit) > 20
    )  # as much, and a thin reflection on top


def test_where_no_surface_is_every_baseline_shows_the_light_itself(shots):
    sky = shots[1].clip.arrays["mask"][..., 0] == 0
    assert sky.any()
    for video in forward_baselines.forward_baselines(shots[1]).values():
        assert video[sky] == pytest.approx(
            np.broadcast_to(srgb_encode(np.array(LIGHTS[1])), video[sky].shape), abs=2e-3
        )


def test_sh_irradiance_of_linear_light_is_exact():
    """For L = 1 + 0.5 y the irradiance over pi is 1 + 0.5 (2/3) n_y (Ramamoorthi and Hanrahan 2001)."""
    directions = panorama_directions(64, 128)
    panorama = (1 + 0.5 * directions[1]).expand(1, 3, -1, -1)
    normal = torch.nn.functional.normalize(torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    found = forward_baselines.sh_irradiance(panorama, normal)
    assert found == pytest.approx((1 + normal[:, 1:2] / 3).expand(-1, 3, -1, -1), abs=5e-3)


def test_flattened_light_keeps_its_mean_and_loses_its_directions():
    panorama = np.zeros((2, 32, 64, 3), dtype=np.float32)
    panorama[:, :16] = 2.0  # the upper half of the sphere, but for the half row at the equator
    flat = forward_baselines.flattened(panorama)
    assert flat == pytest.approx(np.full_like(panorama, 1.0), abs=0.05)
    assert np.ptp(flat) == 0


def test_light_ratio_turns_one_even_light_into_another(shots):
    found = forward_baselines.relighting_baselines(*shots)
    assert (found[forward_baselines.UNCHANGED] == shots[0].video).all()
    expected = srgb_encode(np.clip(srgb_decode(shots[0].video) * np.divide(LIGHTS[1], LIGHTS[0]), 0, 1))
    assert found[forward_baselines.LIGHT_RATIO] == pytest.approx(expected, abs=2e-3)


def test_baselines_take_a_clip_that_zooms():
    zooming, still = (Shot(sphere_clip("c", frames=2, size=16, zoom=zoom), "objects", 0, 0) for zoom in (2.0, 1.0))
    seen, expected = forward_baselines.forward_baselines(zooming), forward_baselines.forward_baselines(still)
    for name in (forward_baselines.SPLIT_SUM, forward_baselines.MEAN_LIGHT, forward_baselines.IRRADIANCE):
        assert np.allclose(seen[name][0], expected[name][0], atol=1e-5), name  # both lenses are the same there
        assert not np.allclose(seen[name][1], expected[name][1], atol=0.1), name
    assert np.isfinite(seen[forward_baselines.TRACED]).all()


def test_an_endless_plane_is_seen_through_each_frames_lens():
    normals, heights = np.tile([0.0, 0.6, 0.8], (2, 1)), np.full(2, 4.0)
    camera = sphere_clip("c", frames=2, size=16, zoom=2.0).camera
    both = inverse_baselines.plane(normals, heights, camera.rays(16, 16))
    assert both["normal"].shape == (2, 16, 16, 3)
    falling = -(camera.rays(16, 16) @ normals[0])
    depth = np.where(falling > 1e-6, 4 / falling.clip(1e-6), np.inf)
    assert np.array_equal(both["depth"][..., 0], channels_last(relative_depth(planar(depth[..., None]))[0])[..., 0])
