"""The inverse renderer end to end: narrow `svd` and `tiny`, any size and length, every mistake a caller can make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.contract.attributes import GBUFFERS
from manifests.contract.clip import Clip
from manifests.errors import CheckpointError, InputError
from renderers import InverseRenderer, Renderer, modelspace
from renderers.backbones import BACKBONES
from tests.renderers.narrow import narrow_checkpoint, narrow_vae

torch.set_num_threads(1)
TINY: dict[str, Any] = {"widths": (16, 32), "depths": (1, 1), "embedding": 16}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def video(frames: int = 2, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(frames).random((frames, height, width, 3), dtype=np.float32)


def load(folder: Path, **settings: Any) -> InverseRenderer:
    renderer = InverseRenderer.from_pretrained(folder, **settings)
    renderer.set_progress_bar_config(disable=True)
    return renderer


def tiny(seed: int = 0, *, joint: bool = True) -> InverseRenderer:
    torch.manual_seed(seed)
    network = BACKBONES["tiny"].create("inverse", joint=joint, **TINY)
    for parameter in network.parameters():  # a fresh network's last layer is zero and would hide everything
        torch.nn.init.normal_(parameter, std=0.2)
    renderer = InverseRenderer(network.eval())
    renderer.set_progress_bar_config(disable=True)
    return renderer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_checkpoint(tmp_path_factory.mktemp("narrow") / "inverse", "inverse")


@pytest.fixture(scope="module")
def renderer(folder: Path) -> InverseRenderer:
    return load(folder)


def difference(one: Any, other: Any) -> float:
    assert one.gbuffers.keys() == other.gbuffers.keys()
    return max(float(np.abs(one.gbuffers[name] - other.gbuffers[name]).max()) for name in one.gbuffers)


def test_a_video_gives_all_five_gbuffers_in_the_tables_conventions(renderer: InverseRenderer) -> None:
    output = renderer(video(), steps=2, generator=seeded())
    assert tuple(output.gbuffers) == GBUFFERS
    for name, array in output.gbuffers.items():
        assert array.shape == (2, 64, 64, modelspace.channels(name)) and array.dtype == np.float32
    Clip("estimated", output.gbuffers)  # validates ranges and unit normals
    assert output.gbuffers["depth"].max() <= 1.0
    assert min(array.std() for array in output.gbuffers.values()) > 1e-3


def test_seeds_reproduce_and_attributes_do_not_depend_on_their_company(renderer: InverseRenderer) -> None:
    together = renderer(video(), steps=2, generator=seeded(), attributes=("depth", "metallic"))
    apart = renderer(video(), steps=2, generator=seeded(), attributes=("depth", "metallic"), batch_attributes=1)
    assert difference(together, apart) < 1e-4
    alone = renderer(video(), steps=2, generator=seeded(), attributes=["depth"])
    np.testing.assert_allclose(alone.gbuffers["depth"], together.gbuffers["depth"], atol=1e-4)
    assert difference(alone, renderer(video(), steps=2, generator=seeded(), attributes=["depth"])) == 0.0
    assert difference(alone, renderer(video(), steps=2, generator=seeded(1), attributes=["depth"])) > 0.01


def test_the_rgb_latent_is_encoded_once_unscaled_and_follows_the_noisy_latent(renderer: InverseRenderer) -> None:
    encoded: list[Tensor] = []
    inputs: list[Tensor] = []
    hooks = [
        renderer.vae.encoder.register_forward_hook(lambda *call: encoded.append(call[1][0])),
        renderer.unet.conv_in.register_forward_pre_hook(lambda *call: inputs.append(call[1][0])),
    ]
    frames = video()
    renderer(frames, steps=2, generator=seeded(), attributes=("basecolor", "depth"), batch_attributes=1)
    for hook in hooks:
        hook.remove()
    assert len(encoded) == 1 and len(inputs) == 4
    with torch.no_grad():
        images = 2 * modelspace.planar(frames)[0] - 1
        mode = renderer.vae.encode(images).latent_dist.mode()
    for given in inputs:
        assert given.shape[1] == 8
        torch.testing.assert_close(given[:, 4:], mode)


@pytest.mark.parametrize("shape", [(64, 64, 3), (1, 37, 70, 3), (5, 21, 16, 3)])
def test_any_size_a_single_image_and_longer_videos_keep_their_shape(
    renderer: InverseRenderer, shape: tuple[int, ...]
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    output = renderer(frames, steps=1, window=3, overlap=1, generator=seeded(), attributes=("depth", "normal"))
    expected = shape if len(shape) == 4 else (1, *shape)
    assert output.gbuffers["normal"].shape == expected
    assert output.gbuffers["depth"].shape == (*expected[:3], 1)


def test_a_pictures_tiles_are_rendered_at_their_own_size(renderer: InverseRenderer) -> None:
    sizes: set[tuple[int, ...]] = set()
    hook = renderer.unet.conv_in.register_forward_pre_hook(lambda *call: sizes.add(tuple(call[1][0].shape[-2:])))
    output = renderer(video(1, 64, 200), steps=1, tile_pixels=128 * 64, attributes=["depth"], generator=seeded())
    hook.remove()
    assert sizes == {(8, 16)}
    assert output.gbuffers["depth"].shape == (1, 64, 200, 1)


def test_callbacks_see_every_step_and_may_replace_the_latents(renderer: InverseRenderer) -> None:
    seen: list[tuple[int, float]] = []

    def erase(pipeline: Any, step: int, timestep: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
        assert pipeline is renderer
        seen.append((step, float(timestep)))
        return {"latents": torch.zeros_like(values["latents"])}

    one = renderer(video(), steps=3, generator=seeded(), attributes=["depth"], callback_on_step_end=erase)
    two = renderer(video(), steps=3, generator=seeded(1), attributes=["depth"], callback_on_step_end=erase)
    assert [step for step, _ in seen[:3]] == [0, 1, 2] and seen[0][1] > seen[2][1]
    assert difference(one, two) == 0.0


def test_bfloat16_runs_on_the_cpu_and_stays_close(folder: Path, renderer: InverseRenderer) -> None:
    half = load(folder, torch_dtype=torch.bfloat16)
    assert half.unet.dtype == half.vae.dtype == torch.bfloat16
    output = half(video(), steps=2, generator=seeded(), attributes=["roughness"])
    exact = renderer(video(), steps=2, generator=seeded(), attributes=["roughness"])
    assert np.isfinite(output.gbuffers["roughness"]).all()
    assert np.abs(output.gbuffers["roughness"] - exact.gbuffers["roughness"]).mean() < 0.05


def test_sequential_offload_gives_the_same(folder: Path, renderer: InverseRenderer) -> None:
    offloaded = load(folder)
    for network in (offloaded.unet, offloaded.vae):  # what enable_sequential_cpu_offload does, which wants a GPU
        accelerate.cpu_offload(network, torch.device("cpu"), offload_buffers=True)
    assert all(parameter.device.type == "meta" for parameter in offloaded.unet.parameters())
    given: dict[str, Any] = {"steps": 1, "attributes": ["depth"]}
    kept = renderer(video(), generator=seeded(), **given)
    assert difference(offloaded(video(), generator=seeded(), **given), kept) < 1e-5
    with pytest.raises(RuntimeError, match="requires accelerator"):
        renderer.enable_sequential_cpu_offload()


def test_slices_of_the_autoencoder_change_little(renderer: InverseRenderer) -> None:
    whole = renderer(video(6), steps=1, generator=seeded(), attributes=["basecolor"])
    renderer.enable_vae_slicing(4)
    sliced = renderer(video(6), steps=1, generator=seeded(), attributes=["basecolor"])
    renderer.disable_vae_slicing()
    assert 0 < np.abs(whole.gbuffers["basecolor"] - sliced.gbuffers["basecolor"]).mean() < 0.05
    with pytest.raises(InputError, match="slices of 0"):
        renderer.enable_vae_slicing(0)


def test_attributes_are_batched_in_halves_where_memory_runs_out(renderer: InverseRenderer) -> None:
    batches: list[int] = []

    def full(_: Any, __: int, ___: Tensor, values: dict[str, Tensor]) -> None:
        batches.append(len(values["latents"]))
        if len(values["latents"]) > 2:
            raise torch.OutOfMemoryError("no room for more than two")

    output = renderer(video(1), steps=1, generator=seeded(), callback_on_step_end=full)
    assert batches == [5, 2, 2, 1]
    whole = renderer(video(1), steps=1, generator=seeded())
    assert difference(output, whole) < 1e-3  # kernels round as batches are large, and unit length magnifies it


def test_a_joint_network_predicts_all_attributes_in_one_pass(tmp_path: Path) -> None:
    joint = load(narrow_checkpoint(tmp_path / "joint", "inverse", joint=True))
    assert joint.config["joint"] is True
    batches: list[int] = []
    hook = joint.unet.register_forward_pre_hook(lambda *call: batches.append(len(call[1][0])))
    output = joint(video(), steps=2, generator=seeded())
    hook.remove()
    assert batches == [1, 1] and tuple(output.gbuffers) == GBUFFERS


def test_one_step_asks_the_network_once_and_negates_v(folder: Path) -> None:
    renderer = load(folder, sampler="one-step")
    outputs: list[Tensor] = []
    hook = renderer.unet.register_forward_hook(lambda *call: outputs.append(call[2]))
    output = renderer(video(), attributes=["metallic"], output_type="pt")
    hook.remove()
    assert len(outputs) == 1
    with torch.no_grad():
        decoded = renderer.space.decode("metallic", -outputs[0])
    torch.testing.assert_close(output.gbuffers["metallic"], modelspace.from_model("metallic", decoded)[0])
    assert output.gbuffers["metallic"].shape == (2, 1, 64, 64)


def test_saving_and_loading_gives_the_same_renderer(renderer: InverseRenderer, tmp_path: Path) -> None:
    renderer.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert dict(again.config) == dict(renderer.config)
    given: dict[str, Any] = {"steps": 2, "attributes": ["normal"]}
    assert (
        difference(again(video(), generator=seeded(), **given), renderer(video(), generator=seeded(), **given)) < 1e-5
    )


def test_lists_and_clips_are_videos_too(renderer: InverseRenderer) -> None:
    linear = video()
    clip = Clip("kitchen", {"rgb": linear}, exposure=0.5)
    shown = modelspace.srgb_encode(torch.from_numpy(0.5 * linear)).numpy()
    outputs = renderer([clip, shown], steps=1, generator=seeded(), attributes=["depth"], batch_attributes=1)
    assert isinstance(outputs, list) and len(outputs) == 2
    np.testing.assert_allclose(
        renderer(clip, steps=1, generator=seeded(), attributes=["depth"]).gbuffers["depth"],
        renderer(shown, steps=1, generator=seeded(), attributes=["depth"]).gbuffers["depth"],
        atol=1e-3,
    )


@pytest.mark.parametrize("joint", [True, False])
def test_tiny_goes_through_the_same_pipeline(tmp_path: Path, joint: bool) -> None:
    renderer = tiny(joint=joint)
    output = renderer(video(9, 21, 30), window=4, overlap=2)
    assert {name: array.shape for name, array in output.gbuffers.items()} == {
        name: (9, 21, 30, modelspace.channels(name)) for name in GBUFFERS
    }
    Clip("estimated", output.gbuffers)
    renderer.save_pretrained(tmp_path / "tiny")
    again = load(tmp_path / "tiny")
    assert again.vae is None and again.config["joint"] is joint and again.config["backbone"] == "tiny"
    assert difference(output, again(video(9, 21, 30), window=4, overlap=2)) < 1e-5


def test_tiny_tiles_large_pictures_and_brings_their_depth_to_one_scale() -> None:
    renderer = tiny()
    output = renderer(video(2, 24, 90), tile_pixels=24 * 80)
    assert output.gbuffers["depth"].shape == (2, 24, 90, 1)
    Clip("estimated", output.gbuffers)


def test_tiny_sees_what_it_is_asked_for() -> None:
    renderer = tiny(joint=False)
    both = renderer(video(1), attributes=("roughness", "metallic"))
    assert np.abs(both.gbuffers["roughness"] - both.gbuffers["metallic"]).max() > 1e-3


BAD_VIDEOS: list[tuple[Any, str]] = [
    (np.zeros((2, 64, 64), np.float32), "video has shape"),
    (np.zeros((2, 64, 64, 4), np.float32), "video has shape"),
    (np.zeros((0, 64, 64, 3), np.float32), "video is empty"),
    (np.full((2, 8, 8, 3), np.nan, np.float32), "NaN"),
    (np.full((2, 8, 8, 3), 255.0, np.float32), "give 0 to 255 as uint8"),
    (np.zeros((2, 8, 8, 3), np.int64), "dtype int64"),
    ("video.mp4", "video is a str"),
    ([], "list of videos is empty"),
    (Clip("dark", {"depth": np.ones((1, 4, 4, 1), np.float32)}), "clip dark holds no rgb"),
]


@pytest.mark.parametrize(("given", "message"), BAD_VIDEOS)
def test_a_bad_video_is_one_clear_error(renderer: InverseRenderer, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        renderer(given, steps=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ["albedo"]}, "cannot estimate 'albedo'"),
        ({"attributes": []}, "an empty list"),
        ({"batch_attributes": 0}, "batch_attributes is 0"),
        ({"output_type": "pil"}, "output_type is 'pil'"),
        ({"steps": 0}, "0 steps"),
        ({"overlap": -1}, "cannot overlap by -1"),
        ({"window": 0}, "windows of 0 frames"),
    ],
)
def test_bad_options_are_one_clear_error(renderer: InverseRenderer, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        renderer(video(1), **({"steps": 1} | options))


def test_components_that_do_not_make_an_inverse_renderer_are_refused() -> None:
    network = BACKBONES["tiny"].create("inverse", **TINY)
    with pytest.raises(CheckpointError, match="needs a vae"):
        with torch.device("meta"):
            narrow = BACKBONES["svd"].create("inverse")
        InverseRenderer(narrow)
    with pytest.raises(CheckpointError, match="joint network predicts"):
        InverseRenderer(network, attributes=("normal",))
    with pytest.raises(CheckpointError, match="no registered backbone"):
        InverseRenderer(narrow_vae())
    assert isinstance(InverseRenderer(network), Renderer)
