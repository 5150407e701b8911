"""The tiny networks: what they start from, what reaches what, and that they learn."""

from __future__ import annotations

import math

import pytest
import torch

from manifests.contract.attributes import ATTRIBUTES
from manifests.errors import InputError
from renderers.light.panoramas import encode_log, panorama_pixels
from renderers.shading import hints
from renderers.tiny import TinyForward, TinyInverse, TinyLighting, tiny_lighting
from renderers.tiny.video_unet import VideoUNet, shift_in_time

SMALL = {"widths": (32, 32, 64), "depths": (1, 1, 1), "embedding": 16}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def awake(network):
    """The network with all of its parameters random: layers that start at zero would hide what reaches what."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                deviation = 1 / math.sqrt(parameter[0].numel())
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
    return network.eval()


def rays(height: int, width: int) -> torch.Tensor:
    x = (torch.arange(width) + 0.5 - width / 2) / width
    y = -(torch.arange(height) + 0.5 - height / 2) / width
    planar = torch.stack([x.expand(height, width), y[:, None].expand(height, width), -torch.ones(height, width)])
    return (planar / planar.norm(dim=0))[None]


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_any_number_of_frames_and_any_multiple_goes_through(frames, size):
    network = awake(TinyInverse(**SMALL))
    assert size[0] % network.multiple == 0
    assert network(condition=random(2, frames, 3, *size)).shape == (2, frames, 9, *size)


def test_networks_hold_a_few_million_parameters():
    for network in (TinyInverse(), TinyInverse(joint=False), TinyForward(), TinyLighting()):
        assert 5e5 < sum(parameter.numel() for parameter in network.parameters()) < 5e6


def test_new_inverse_network_says_that_rgb_is_the_basecolor_and_that_normals_face_the_viewer():
    video = random(1, 2, 3, 16, 16)
    basecolor, normal, rest = TinyInverse(**SMALL)(condition=video).split([3, 3, 3], dim=2)
    assert torch.equal(basecolor, video)
    assert torch.allclose(normal.mean(dim=(0, 1, 3, 4)), torch.tensor([0.0, 0.0, 1.0]))
    assert not rest.any()


def test_new_forward_network_returns_the_first_hint():
    condition = random(1, 2, 9 + hints.CHANNELS, 16, 16)
    picture = TinyForward(**SMALL)(condition=condition, light=random(1, 2, hints.LIGHT_FEATURES))
    assert torch.equal(picture, condition[:, :, 9:12])
    assert hints.IMAGES[0] == ("shadowed", 3)


def test_normals_have_unit_length_in_both_modes():
    video = random(1, 2, 3, 16, 16)
    joint = awake(TinyInverse(**SMALL))(condition=video)[:, :, 3:6]
    row = torch.tensor([ATTRIBUTES["normal"].embedding])
    single = awake(TinyInverse(joint=False, **SMALL))(condition=video, attribute=row)
    for normal in (joint, single):
        assert torch.allclose(normal.norm(dim=2), torch.ones(1, 2, 16, 16), atol=1e-5)
        assert normal.std() > 0.1


def test_one_attribute_a_pass_answers_what_is_asked_for():
    network = awake(TinyInverse(joint=False, **SMALL))
    video = random(1, 2, 3, 16, 16)
    rows = torch.tensor([ATTRIBUTES["basecolor"].embedding, ATTRIBUTES["roughness"].embedding])
    both = network(condition=video.expand(2, -1, -1, -1, -1), attribute=rows)
    alone = network(condition=video, attribute=rows[1:])
    assert both.shape == (2, 2, 3, 16, 16)
    assert torch.allclose(both[1:], alone, atol=1e-5)
    assert (both[0] - both[1]).abs().mean() > 0.01


def test_one_attribute_a_pass_needs_to_know_which():
    with pytest.raises(InputError, match="which"):
        TinyInverse(joint=False, **SMALL)(condition=random(1, 1, 3, 16, 16))


def test_frames_learn_from_each_other_but_clips_do_not():
    network = awake(TinyInverse(**SMALL))
    video = random(2, 6, 3, 16, 16)
    changed = video.clone()
    changed[0, 5] = random(3, 16, 16, seed=7)
    with torch.no_grad():
        difference = (network(condition=changed) - network(condition=video)).abs().amax(dim=(2, 3, 4))  # (B, T)
    assert (difference[0] > 1e-4).all()
    assert difference[1].max() < 1e-5


def test_shift_takes_channels_from_both_neighbours():
    features = torch.arange(6.0).repeat_interleave(8).view(6, 8, 1, 1)  # two clips of three frames
    shifted = shift_in_time(features, 3)[:, :, 0, 0]
    assert shifted[:, 0].tolist() == [0, 0, 1, 3, 3, 4]
    assert shifted[:, 1].tolist() == [1, 2, 2, 4, 5, 5]
    assert torch.equal(shifted[:, 2:], features[:, 2:, 0, 0])


def test_light_of_a_frame_reaches_its_picture():
    network = awake(TinyForward(**SMALL))
    condition, light = random(1, 2, 9 + hints.CHANNELS, 16, 16), random(1, 2, hints.LIGHT_FEATURES)
    with torch.no_grad():
        difference = network(condition=condition, light=-light) - network(condition=condition, light=light)
    assert difference.abs().mean() > 0.01


def test_saved_networks_come_back_the_same(tmp_path):
    network = awake(TinyInverse(joint=False, **SMALL))
    network.save_pretrained(tmp_path)
    assert [path.suffix for path in tmp_path.glob("*model*")] == [".safetensors"]
    again = TinyInverse.from_pretrained(tmp_path)
    video, row = random(1, 3, 3, 16, 16), torch.tensor([3])
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.allclose(again(condition=video, attribute=row), network(condition=video, attribute=row), atol=1e-5)


def test_unet_learns_a_turned_light_from_its_embedding():
    """Overfitting one clip: the target depends on position, on the frame's embedding and on the neighbouring frame."""
    torch.manual_seed(0)
    network = VideoUNet(3, 1, (32, 32), (1, 1), 4)
    video, embedding = random(2, 3, 3, 16, 16), random(2, 3, 4, seed=3)
    target = 0.5 * video[:, :, :1] * embedding[:, :, :1, None, None] + 0.5 * video.roll(1, dims=1)[:, :, 1:2] * 0.5
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(80):
        loss = (network(video, embedding) - target).square()[:, 1:].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def surfaces(background: bool, normal: tuple[float, float, float], metallic: float) -> torch.Tensor:
    """G-buffers (1, 1, 9, 8, 8) in model space, the same everywhere: mid-gray, smooth."""
    values = [0.0, 0.0, 0.0, *normal, 1.0 if background else 0.0, -1.0, 2 * metallic - 1]
    return torch.tensor(values).view(1, 1, 9, 1, 1).expand(1, 1, 9, 8, 8)


def cell(direction: tuple[float, float, float]) -> tuple[int, int]:
    column, row = panorama_pixels(torch.tensor(direction).view(3, 1), 16, 32)
    return int(row.round()), int(column.round()) % 32


def gathered(gbuffers, rotations=None, video=None):
    video = random(1, 1, 3, 8, 8) if video is None else video
    return tiny_lighting.gather(video, gbuffers, rays(8, 8), rotations, height=16, width=32)[0]


def test_background_is_the_light_behind_it():
    found = gathered(surfaces(True, (0, 0, 1), 0), video=torch.ones(1, 1, 3, 8, 8))
    row, column = cell((0.06, 0.06, -1.0))
    assert found[7, row, column] > 0.3
    assert torch.allclose(found[4:7, row, column], encode_log(torch.ones(3)), atol=1e-2)
    behind = cell((0.0, 0.06, 1.0))
    assert found[7, behind[0], behind[1]] == 0


def test_mirror_shows_what_is_behind_the_camera():
    found = gathered(surfaces(False, (0, 0, 1), 1.0), video=torch.ones(1, 1, 3, 8, 8))
    row, column = cell((0.06, 0.06, 1.0))
    assert found[11, row, column] > 0.3
    ahead = cell((0.06, 0.06, -1.0))
    assert found[11, ahead[0], ahead[1]] == 0


def test_matte_surface_speaks_of_the_light_around_its_normal():
    found = gathered(surfaces(False, (0, 1, 0), 0.0), video=torch.zeros(1, 1, 3, 8, 8))
    row, column = cell((0.0, 1.0, 1e-3))
    assert found[15, row, column] > 0.3
    assert (found[15] > 0).sum() == 1


def test_evidence_turns_with_the_camera():
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # about y: eight of 32 columns
    still = gathered(surfaces(True, (0, 0, 1), 0))
    turned = gathered(surfaces(True, (0, 0, 1), 0), quarter.view(1, 1, 3, 3))
    shifts = [k for k in range(32) if torch.allclose(still.roll(k, dims=-1), turned, atol=1e-3)]
    assert shifts == [8]


def test_without_gbuffers_only_what_is_seen_counts():
    found = gathered(None)
    assert found[3].max() > 0.3
    assert not found[4:].any()


def test_new_lighting_network_answers_with_the_usual_light():
    found = TinyLighting(height=16, **SMALL)(condition=random(1, 2, 3, 8, 8), rays=rays(8, 8))
    ldr, log = found.split(3, dim=1)
    assert torch.allclose(ldr, torch.tensor(0.401), atol=1e-3)
    assert torch.allclose(log, torch.tensor(0.119), atol=1e-3)


@pytest.mark.parametrize("known", [True, False])
def test_lighting_gives_both_encodings_of_a_panorama(known):
    network = awake(TinyLighting(height=16, **SMALL))
    gbuffers = random(2, 3, 9, 8, 8) if known else None
    found = network(condition=random(2, 3, 3, 8, 8), gbuffers=gbuffers, rays=rays(8, 8).expand(2, -1, -1, -1))
    assert found.shape == (2, 6, 16, 32)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0.01
