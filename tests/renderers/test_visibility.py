"""Lights and shadows from the depth buffer, against closed-form shadows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from renderers.light.panoramas import panorama_directions, solid_angles
from renderers.shading.visibility import DepthBuffer, Marching, Trace, cluster, march
from tests.renderers.analytic import Scene, scene

SIDE = normalize(torch.tensor([0.9, 0.7, 0.1]), dim=0)
OTHER = normalize(torch.tensor([-0.9, 0.7, 0.1]), dim=0)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sky(*lights: tuple[torch.Tensor, float], height: int = 32) -> torch.Tensor:
    """Panorama (1, 1, 3, height, 2 height): gray 0.1, and a light of some radiance in the pixel nearest to each
    direction."""
    panorama = torch.full((1, 1, 3, height, 2 * height), 0.1)
    directions = panorama_directions(height, 2 * height)
    for direction, radiance in lights:
        nearest = (directions * direction[:, None, None]).sum(0).argmax()
        panorama.view(3, -1)[:, nearest] += radiance
    return panorama


def seen(traced: Scene, direction: torch.Tensor, *, thickness: float = 0.12, **changes: torch.Tensor) -> Trace:
    """March toward one direction, through the scene's depth buffer with `changes`."""
    buffer = DepthBuffer(traced.points[0], traced.normal[0], traced.mask[0], traced.intrinsics)
    return march(replace(buffer, **changes), direction[None, None, :, None, None], Marching(thickness=thickness))


def trace(direction: torch.Tensor, *, thickness: float = 0.12) -> torch.Tensor:
    return seen(scene(), direction, thickness=thickness).visibility[0, 0]


def test_parts_cover_the_sphere_and_keep_the_energy():
    generator = torch.Generator().manual_seed(0)
    panorama = torch.rand(2, 3, 3, 16, 32, generator=generator)
    lights = cluster(panorama, 8)
    assert lights.solid_angle.sum(-1) == pytest.approx(4 * math.pi, rel=1e-5)
    total = (panorama * solid_angles(16, 32)).sum((-1, -2))
    assert torch.allclose(lights.power.sum(2), total, rtol=1e-4)
    assert torch.allclose(lights.directions.norm(dim=-1), torch.ones(2, 3, 8), atol=1e-5)


def test_suns_get_parts_of_their_own():
    lights = cluster(sky((SIDE, 500.0), (OTHER, 300.0)), 8)
    strongest = lights.power.sum(-1)[0, 0].topk(2).indices
    found = lights.directions[0, 0, strongest]
    assert (found * torch.stack([SIDE, OTHER])).sum(-1).min() > math.cos(math.radians(4))
    assert lights.spread[0, 0, strongest].max() < 0.03


def test_frames_are_clustered_independently_and_alike():
    texture = torch.rand(2, 1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    panoramas = torch.cat([sky((SIDE, 500.0)), sky((OTHER, 80.0))]) + texture
    together = cluster(panoramas, 6)
    for index in (0, 1):
        alone = cluster(panoramas[index : index + 1], 6)
        assert torch.allclose(together.directions[index], alone.directions[0], atol=1e-5)
        assert torch.allclose(together.power[index], alone.power[0], rtol=1e-4)


@pytest.mark.parametrize("direction", [SIDE, OTHER])
def test_a_ball_casts_its_shadow_where_geometry_says(direction):
    traced = scene()
    expected, found = traced.shadow(direction), trace(direction, thickness=0.5) < 0.5
    found &= traced.ground
    assert expected.sum() > 60
    overlap = (expected & found).sum() / (expected | found).sum()
    assert overlap > 0.6


def test_the_shadow_turns_with_the_light():
    traced = scene()
    dark = [trace(direction)[traced.shadow(SIDE)].mean() for direction in (SIDE, OTHER)]
    assert dark[0] < 0.35
    assert dark[1] > 0.9


def test_open_ground_and_convex_surfaces_do_not_shadow_themselves():
    traced = scene()
    overhead = trace(normalize(torch.tensor([0.1, 0.9, 0.55]), dim=0))
    assert overhead[traced.ground & ~traced.shadow(normalize(torch.tensor([0.1, 0.9, 0.55]), dim=0))].mean() > 0.98
    assert trace(SIDE)[traced.ball].mean() > 0.97


def test_pictures_are_independent_of_scale():
    traced = scene()
    views = [seen(traced, SIDE).visibility, seen(traced, SIDE, points=0.1 * traced.points[0]).visibility]
    assert (views[0] - views[1]).abs().mean() < 1e-3


def test_noisy_depth_shadows_itself_less_when_its_noise_is_known():
    traced = scene()
    generator = torch.Generator().manual_seed(0)
    points = traced.points[0] * (1 + 0.04 * torch.randn(traced.depth[0].shape, generator=generator))
    lit = traced.ground & ~traced.shadow(SIDE)
    means = [
        seen(traced, SIDE, points=points, noise=noise).visibility[0, 0][lit].mean()
        for noise in (torch.tensor([0.0]), torch.tensor([0.03]))
    ]
    assert means[0] < 0.8
    assert means[1] > 0.95


def test_the_least_visibility_is_never_more_and_hits_lie_on_the_blocker():
    traced = scene()
    found = seen(traced, SIDE)
    assert (found.least <= found.visibility).all()
    blocked = (found.visibility[0, 0] < 0.1) & traced.ground
    pixel = ((found.hit[0, 0][blocked] + 1) * 24).floor().long().clamp(0, 47)
    assert traced.ball[pixel[:, 1], pixel[:, 0]].float().mean() > 0.95
