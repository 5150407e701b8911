from __future__ import annotations

import dataclasses

import torch

from renderers.modelspace import srgb_decode
from renderers.shading.view_geometry import camera_rays
from training.data.batch import Batch


def _batch(size: int = 3) -> Batch:
    video = torch.rand(size, 2, 3, 4, 4)
    return Batch(
        keys=tuple(f"clip{index}" for index in range(size)),
        rgb=video,
        gbuffers={"normal": video + 1},
        mask=video[:, :, :1],
        depth_range=torch.rand(size, 2),
        panorama=None,
        background=None,
        intrinsics=torch.eye(3).expand(size, 3, 3),
        camera_to_world=None,
        confidence={"depth": torch.rand(size)},
        real=torch.zeros(size, dtype=torch.bool),
        unconditional=torch.zeros(size, dtype=torch.bool),
        seeds=torch.arange(size),
    )


def test_a_sample_draws_the_same_noise_whatever_batch_it_is_in() -> None:
    whole = _batch()
    noise = whole.noise((2, 5), whole.generators())
    alone = whole.first(1)
    torch.testing.assert_close(alone.noise((2, 5), alone.generators()), noise[:1], rtol=0, atol=0)
    assert not torch.equal(noise[0], noise[1])


def test_first_keeps_every_field() -> None:
    batch = _batch()
    short = batch.first(2)
    assert short.size == 2 and short.keys == ("clip0", "clip1")
    assert short.panorama is None and short.camera_to_world is None
    for value in (short.rgb, short.gbuffers["normal"], short.confidence["depth"], short.real, short.seeds):
        assert len(value) == 2
    assert torch.equal(short.gbuffers["normal"], batch.gbuffers["normal"][:2])


def test_half_the_size_averages_light_and_keeps_rays_and_unit_normals() -> None:
    batch = _batch()
    half = batch.halved()
    assert half.rgb.shape == (3, 2, 3, 2, 2) and half.mask.shape == (3, 2, 1, 2, 2)
    linear = srgb_decode(0.5 * batch.rgb + 0.5)
    corner = linear[..., :2, :2].mean(dim=(-2, -1))
    torch.testing.assert_close(srgb_decode(0.5 * half.rgb + 0.5)[..., 0, 0], corner)
    assert torch.allclose(half.gbuffers["normal"].norm(dim=2), torch.ones(3, 2, 2, 2))
    lens = torch.tensor([[50.0, 0, 2], [0, 50, 2], [0, 0, 1]]).expand(3, 3, 3)
    rays = camera_rays(4, 4, lens)  # (3, 3, 4, 4)
    between = torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(rays, 2), dim=1)
    halved = dataclasses.replace(batch, intrinsics=lens).halved()
    torch.testing.assert_close(camera_rays(2, 2, halved.intrinsics), between, rtol=0, atol=1e-4)
