"""Memory tools of the `svd` pipelines change memory, not results: slices, offloading, half precision, tiles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import disk_offload

from renderers import modelspace
from renderers.base import Renderer
from renderers.forward import ForwardRenderer
from renderers.inverse import InverseRenderer
from renderers.modelspace import LatentSpace
from renderers.sampling.windows import plan_windows
from tests.renderers.narrow import narrow_checkpoint, narrow_encoder, narrow_forward, narrow_inverse, narrow_vae
from tests.renderers.test_borders import border_ratio, moving_ball

torch.set_num_threads(1)
SEED = 7


def inverse(sampler: str = "diffusion") -> InverseRenderer:
    renderer = InverseRenderer(narrow_inverse(), vae=narrow_vae(1), sampler=sampler)
    renderer.set_progress_bar_config(disable=True)
    return renderer


def gbuffers(renderer: Renderer, video: np.ndarray, **options: object) -> dict[str, np.ndarray]:
    """Two G-buffers, three channels each, in two steps."""
    options = {"attributes": ["basecolor", "normal"]} | options
    output = renderer(video, steps=2, generator=torch.Generator().manual_seed(SEED), **options)
    return dict(output.gbuffers)


def rendered(renderer: Renderer) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    buffers = {name: generator.random((2, 64, 64, size), np.float32) for name, size in SIZES.items()}
    buffers["normal"] = np.broadcast_to(np.float32([0, 0, 1]), (2, 64, 64, 3)).copy()
    light = generator.random((64, 64, 3), np.float32)
    return renderer(buffers, light, steps=1, lora_scale=0.0, generator=torch.Generator().manual_seed(SEED)).video


SIZES = {"basecolor": 3, "normal": 3, "depth": 1, "roughness": 1, "metallic": 1}


def forward() -> ForwardRenderer:
    renderer = ForwardRenderer(narrow_forward(), vae=narrow_vae(1), env_encoder=narrow_encoder(2))
    renderer.set_progress_bar_config(disable=True)
    return renderer


def test_encoding_in_slices_gives_the_same_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelspace, "_PIXELS", 64 * 64)  # as if these frames were of the published size
    video = torch.from_numpy(moving_ball(9)).permute(0, 3, 1, 2)[None] * 2 - 1  # (T, H, W, C) -> (1, T, C, H, W)
    vae = narrow_vae(1)
    with torch.no_grad():
        whole, sliced = LatentSpace(vae, 24).encode(video), LatentSpace(vae, 2).encode(video)
    assert (whole - sliced).abs().max() < 1e-5


def test_small_clips_go_through_the_autoencoder_together_and_large_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, clips = narrow_vae(1), torch.rand(3, 4, 3, 64, 64, generator=torch.Generator().manual_seed(SEED)) * 2 - 1
    space, sizes = LatentSpace(vae, 4), []
    monkeypatch.setattr(
        vae, "decode", lambda flat, **how: sizes.append(len(flat)) or type(vae).decode(vae, flat, **how)
    )
    with torch.no_grad():
        latents = space.encode(clips) * space.scaling
        together = space.decode("rgb", latents)
        monkeypatch.setattr(modelspace, "_PIXELS", 64 * 64)
        alone = space.decode("rgb", latents)
    assert sizes == [12, 4, 4, 4]
    assert (together - alone).abs().max() < 1e-4


def test_decoding_in_slices_shows_no_slice() -> None:
    """The temporal decoder looks across all frames it gets, so slices differ from the whole, but never with a step."""
    vae, frames = narrow_vae(1), 36
    video = torch.from_numpy(moving_ball(frames)).permute(0, 3, 1, 2)[None] * 2 - 1
    with torch.no_grad():
        latents = LatentSpace(vae).encode(video) * vae.config.scaling_factor
        at_once = LatentSpace(vae, frames).decode("basecolor", latents)
        same = LatentSpace(vae, frames + 1).decode("basecolor", latents)
        sliced = LatentSpace(vae, 24).decode("basecolor", latents)
    assert torch.equal(at_once, same)
    difference = ((sliced - at_once).square().mean() / at_once.var()).sqrt().item()
    ratio = border_ratio(sliced[0].permute(0, 2, 3, 1).numpy(), plan_windows(frames))
    print(f"slices of 24 of {frames} frames: {difference:.3f} of the deviation, border ratio {ratio:.2f}")
    assert difference < 0.15
    assert ratio < 1.1


def test_slices_that_hold_the_whole_video_change_nothing() -> None:
    video, renderer = moving_ball(3), inverse("one-step")
    whole = gbuffers(renderer, video)
    renderer.enable_vae_slicing(3)
    sliced = gbuffers(renderer, video)
    for name, values in whole.items():
        assert np.abs(values - sliced[name]).max() < 1e-5
    renderer.enable_vae_slicing(2)
    assert np.abs(gbuffers(renderer, video)["basecolor"] - whole["basecolor"]).max() > 1e-5
    renderer.disable_vae_slicing()
    np.testing.assert_array_equal(gbuffers(renderer, video)["basecolor"], whole["basecolor"])


def test_attributes_batched_or_one_by_one_are_the_same() -> None:
    video = moving_ball(3)
    together, alone = gbuffers(inverse(), video), gbuffers(inverse(), video, batch_attributes=1)
    for name, values in together.items():
        assert np.abs(values - alone[name]).mean() < 1e-5


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the real offloading is tested instead")
def test_networks_run_with_weights_fetched_module_by_module(tmp_path: Path) -> None:
    """Sequential offloading without a GPU: diffusers refuses it, so accelerate's same hooks fetch from disk."""
    with pytest.raises(RuntimeError, match="accelerator"):
        inverse().enable_sequential_cpu_offload()
    video, whole, picture = moving_ball(1), inverse("one-step"), forward()
    expected, expected_picture = gbuffers(whole, video), rendered(picture)
    for index, network in enumerate((whole.unet, whole.vae, picture.unet, picture.vae, picture.env_encoder)):
        disk_offload(network, tmp_path / str(index), execution_device=torch.device("cpu"))
        assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    for name, values in gbuffers(whole, video).items():
        np.testing.assert_array_equal(values, expected[name])
    np.testing.assert_array_equal(rendered(picture), expected_picture)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to offload from")
@pytest.mark.parametrize("how", ["enable_sequential_cpu_offload", "enable_model_cpu_offload"])
def test_offloading_to_the_cpu_gives_the_same_result(how: str) -> None:
    video = moving_ball(2)
    for make, run in ((inverse, lambda renderer: gbuffers(renderer, video)["basecolor"]), (forward, rendered)):
        expected, renderer = run(make().to("cuda")), make()
        getattr(renderer, how)()
        assert np.abs(run(renderer) - expected).max() < 1e-3
        assert renderer.unet.conv_in.weight.device.type != "cuda"


def test_model_offload_works_where_the_cpu_is_the_device() -> None:
    video, renderer = moving_ball(2), inverse()
    expected = gbuffers(inverse(), video)
    renderer.enable_model_cpu_offload(device="cpu")
    for name, values in gbuffers(renderer, video).items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_half_precision_weights_give_nearly_the_same(tmp_path: Path, dtype: torch.dtype, tolerance: float) -> None:
    video, folder = moving_ball(3), narrow_checkpoint(tmp_path / "inverse", "inverse")
    full, half = InverseRenderer.from_pretrained(folder), InverseRenderer.from_pretrained(folder, torch_dtype=dtype)
    assert half.unet.dtype == dtype
    assert half.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype)  # SVD's encoder overflows in fp16
    for renderer in (full, half):
        renderer.set_progress_bar_config(disable=True)
    expected = gbuffers(full, video)
    for name, values in gbuffers(half, video).items():
        assert values.dtype == np.float32
        relative = np.sqrt(np.square(values - expected[name]).mean() / expected[name].var())
        print(f"{dtype}, {name}: {relative:.4f} of the deviation")
        assert relative < tolerance


def test_a_tiled_picture_of_odd_size_keeps_its_size() -> None:
    renderer = inverse("one-step")
    output = gbuffers(renderer, moving_ball(1, 200)[:, :75], attributes=["basecolor", "depth"], tile_pixels=128 * 192)
    assert output["basecolor"].shape == (1, 75, 200, 3)
    assert np.isfinite(output["depth"]).all()
