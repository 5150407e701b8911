"""Model space: what the networks see of each attribute, against the table, numpy's formulas and hand-made values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manifests.contract import color
from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.errors import InputError
from renderers import modelspace

torch.set_num_threads(1)


def random_values(name: str, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(2, 3, ATTRIBUTES[name].channels, 4, 5, generator=generator)
    return torch.nn.functional.normalize(2 * values - 1, dim=2) if ATTRIBUTES[name].is_vector else values


@pytest.mark.parametrize("name", [*GBUFFERS, "rgb", "mask"])
def test_values_survive_model_space(name: str) -> None:
    values = random_values(name)
    model = modelspace.to_model(name, values)
    assert model.min() >= -1 and model.max() <= 1
    torch.testing.assert_close(modelspace.from_model(name, model), values, atol=2e-6, rtol=0)


def test_srgb_is_the_formula_of_the_dataset_contract() -> None:
    linear = np.linspace(0, 1.5, 301)
    encoded = modelspace.srgb_encode(torch.from_numpy(linear))
    np.testing.assert_allclose(encoded.numpy(), color.srgb_encode(linear), atol=1e-12)
    np.testing.assert_allclose(modelspace.srgb_decode(encoded).numpy(), linear, atol=1e-12)


def test_model_space_encodes_colours_and_leaves_the_rest_linear() -> None:
    half = torch.full((1, 1, 1, 1, 1), 0.5)
    assert modelspace.to_model("roughness", half).item() == 0.0
    colour = modelspace.to_model("basecolor", half.expand(1, 1, 3, 1, 1))
    assert colour[0, 0, 0].item() == pytest.approx(2 * 0.7353569 - 1, abs=1e-5)


def test_exposure_multiplies_each_clip_before_encoding() -> None:
    radiance = torch.full((2, 1, 3, 1, 1), 0.1)
    model = modelspace.to_model("rgb", radiance, exposure=torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(modelspace.from_model("rgb", model)[:, 0, 0, 0, 0], torch.tensor([0.1, 0.5]))
    assert modelspace.to_model("rgb", radiance, exposure=100.0).max() == 1.0


def test_relative_depth_spans_the_clips_quantiles_and_puts_the_background_last() -> None:
    depth = torch.linspace(10.0, 20.0, 101).reshape(1, 1, 1, 1, 101).clone()
    depth = torch.cat([depth, torch.full_like(depth, torch.inf)], dim=1)
    relative, near, far = modelspace.relative_depth(depth)
    assert (near.item(), far.item()) == pytest.approx((10.2, 19.8))
    assert relative[0, 0, 0, 0, 0] == 0.0 and relative[0, 0, 0, 0, 100] == 1.0
    assert relative[0, 0, 0, 0, 50].item() == pytest.approx(0.5)
    assert (relative[0, 1] == 1.0).all()


def test_a_clip_of_background_alone_is_far_everywhere_and_clips_do_not_mix() -> None:
    depth = torch.stack([torch.full((1, 1, 2, 2), torch.inf), torch.tensor([1.0, 2, 3, 4]).view(1, 1, 2, 2)])
    relative, near, far = modelspace.relative_depth(depth)
    assert (relative[0] == 1).all() and (near[0], far[0]) == (0.0, 1.0)
    assert relative[1].min() == 0.0 and relative[1].max() == 1.0


def test_normals_come_back_with_unit_length_and_no_direction_faces_the_viewer() -> None:
    model = torch.tensor([0.0, 0.0, 0.0]).view(1, 1, 3, 1, 1)
    assert modelspace.from_model("normal", model).flatten().tolist() == [0, 0, 1]
    model = torch.tensor([0.3, 0.0, -0.4]).view(1, 1, 3, 1, 1)
    torch.testing.assert_close(modelspace.from_model("normal", model).flatten(), torch.tensor([0.6, 0.0, -0.8]))


def test_stacking_keeps_the_published_order() -> None:
    gbuffers = {name: random_values(name, seed) for seed, name in enumerate(GBUFFERS)}
    stacked = modelspace.stack(dict(reversed(gbuffers.items())))
    assert stacked.shape == (2, 3, 9, 4, 5)
    torch.testing.assert_close(stacked[:, :, 6:7], gbuffers["depth"])
    assert {
        name: torch.equal(part, gbuffers[name]) for name, part in modelspace.split(stacked).items()
    } == dict.fromkeys(GBUFFERS, True)


def test_gray_is_replicated_and_averaged_back() -> None:
    gray = random_values("depth")
    assert modelspace.replicate(gray).shape[2] == 3
    torch.testing.assert_close(modelspace.unreplicate(modelspace.replicate(gray)), gray)


def test_numpy_frames_and_planar_videos_are_the_same() -> None:
    frames = np.random.default_rng(0).random((3, 4, 5, 2), dtype=np.float32)
    video = modelspace.planar(frames)
    assert video.shape == (1, 3, 2, 4, 5)
    np.testing.assert_array_equal(modelspace.channels_last(video), frames)


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="unknown attribute 'albedo'"):
        modelspace.channels("albedo")
    with pytest.raises(InputError, match="depth has shape"):
        modelspace.to_model("depth", torch.zeros(1, 1, 3, 2, 2))
    with pytest.raises(InputError, match="lack normal, depth"):
        modelspace.stack({name: random_values(name) for name in ("basecolor", "roughness", "metallic")})
