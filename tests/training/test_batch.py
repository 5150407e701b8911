from __future__ import annotations

import torch

from training.batch import Batch


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


def test_first_and_to_keep_every_field() -> None:
    batch = _batch()
    short = batch.first(2).to("cpu")
    assert short.size == 2 and short.keys == ("clip0", "clip1")
    assert short.panorama is None and short.camera_to_world is None
    for value in (short.rgb, short.gbuffers["normal"], short.confidence["depth"], short.real, short.seeds):
        assert len(value) == 2
    assert torch.equal(short.gbuffers["normal"], batch.gbuffers["normal"][:2])
