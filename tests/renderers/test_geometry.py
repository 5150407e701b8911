"""Points from relative depth: the offset comes back from the normals, on every kind of surface that can tell it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manifests.errors import InputError
from renderers.modelspace import relative_depth
from renderers.shading.view_geometry import (
    PRIOR_OFFSET,
    depth_noise,
    depth_offset,
    pinhole,
    plane_rays,
    points,
    surface_coverage,
)
from tests.renderers.analytic import materials, scene, zoom


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_rays_agree_with_the_camera_and_both_ways_to_give_it():
    traced = scene(32)
    rays = plane_rays(32, 32, traced.intrinsics)
    assert torch.allclose(rays, plane_rays(32, 32, fov_degrees=45.0))
    seen = traced.mask.bool().expand_as(traced.points)
    depth = torch.where(torch.isfinite(traced.depth), traced.depth, 1.0)
    assert torch.allclose(points(depth, rays)[seen], traced.points[seen], atol=1e-5)
    with pytest.raises(InputError, match="either"):
        plane_rays(32, 32)


def test_every_frame_of_a_zoom_has_its_own_rays_and_all_share_an_offset():
    traced = zoom(32)
    rays = plane_rays(32, 32, traced.intrinsics)
    assert rays.shape == (1, 2, 3, 32, 32)
    for frame, fov in enumerate((45.0, 30.0)):
        assert torch.equal(rays[0, frame], plane_rays(32, 32, fov_degrees=fov)[0])
    seen = traced.mask.bool().expand_as(traced.points)
    depth = torch.where(torch.isfinite(traced.depth), traced.depth, 1.0)
    assert torch.allclose(points(depth, rays)[seen], traced.points[seen], atol=1e-5)
    relative, near, far = relative_depth(traced.depth)
    found = depth_offset(relative, traced.normal, rays, traced.mask)
    assert torch.allclose(found, near / (far - near), rtol=0.01)


def test_a_lens_of_the_wrong_shape_is_one_line():
    assert pinhole(45.0, np.eye(3), 8, 8, 4).shape == (3, 3)
    assert pinhole(45.0, np.stack([np.eye(3)] * 4), 8, 8, 4).shape == (1, 4, 3, 3)
    with pytest.raises(InputError, match=r"expected finite \(3, 3\) or \(4, 3, 3\)"):
        pinhole(45.0, np.stack([np.eye(3)] * 3), 8, 8, 4)


@pytest.mark.parametrize("ball", [False, True])
def test_offset_of_an_analytic_scene_comes_back(ball):
    traced = scene(ball=ball)
    relative, near, far = relative_depth(traced.depth)
    expected = near / (far - near)
    found = depth_offset(relative, traced.normal, plane_rays(48, 48, traced.intrinsics), traced.mask)
    assert torch.allclose(found, expected, rtol=0.01)


def test_clips_of_a_batch_keep_their_own_offset_and_scale_does_not_matter():
    traced = scene()
    nearer = torch.cat([traced.depth, traced.depth * 7])
    relative, near, far = relative_depth(nearer)
    rays = plane_rays(48, 48, traced.intrinsics)
    found = depth_offset(relative, traced.normal.expand(2, -1, -1, -1, -1), rays)
    assert torch.allclose(found[0], found[1], rtol=1e-3)
    assert torch.allclose(found, near / (far - near), rtol=0.02)


def test_offset_survives_bump_noise_and_a_third_of_wrong_normals():
    traced = scene()
    relative, near, far = relative_depth(traced.depth)
    generator = torch.Generator().manual_seed(0)
    noisy = traced.normal + 0.15 * torch.randn(traced.normal.shape, generator=generator)
    wrong = torch.rand(traced.depth.shape, generator=generator) < 0.33
    noisy = torch.where(wrong, torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1), noisy)
    noisy = noisy / noisy.norm(dim=2, keepdim=True)
    found = depth_offset(relative, noisy, plane_rays(48, 48, traced.intrinsics))
    assert torch.allclose(found, near / (far - near), rtol=0.3)


def test_a_wall_that_faces_the_viewer_gets_the_prior():
    relative = torch.full((1, 1, 1, 16, 16), 0.5)
    normal = torch.zeros(1, 1, 3, 16, 16)
    normal[:, :, 2] = 1
    found = depth_offset(relative, normal, plane_rays(16, 16, fov_degrees=45.0))
    assert found.item() == pytest.approx(PRIOR_OFFSET)


def test_noise_measures_how_far_depth_and_normals_disagree():
    traced = scene()
    clean = depth_noise(traced.points, traced.normal, traced.mask)
    generator = torch.Generator().manual_seed(0)
    amounts = []
    for size in (0.01, 0.03):
        factor = 1 + size * torch.randn(traced.depth.shape, generator=generator)
        amounts.append(depth_noise(traced.points * factor, traced.normal, traced.mask).item())
    assert clean.item() < 1e-3
    assert 0.003 < amounts[0] < 0.02
    assert amounts[1] == pytest.approx(3 * amounts[0], rel=0.25)
    assert depth_noise(traced.points, traced.normal, torch.zeros_like(traced.mask)).item() == 0


def test_background_is_told_from_far_and_from_black_surfaces():
    traced = scene()
    buffers = materials(traced)
    relative = relative_depth(traced.depth)[0]
    guess = surface_coverage(relative, buffers["basecolor"], buffers["normal"])
    assert (guess - traced.mask).abs().max() < 0.05
    black = surface_coverage(relative, torch.zeros_like(buffers["basecolor"]), buffers["normal"])
    assert black[0, 0, 0][traced.ground].min() > 0.5
