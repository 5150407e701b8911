"""The forward renderer end to end: conditions in the published order, guidance, LoRA, light, and every mistake."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment, latlong_directions
from manifests.errors import CheckpointError, InputError
from renderers import ForwardRenderer, InverseRenderer, modelspace
from renderers.backbones import BACKBONES
from renderers.light.panoramas import encode_directions, encode_ldr, encode_log, given_light, resize_panorama
from renderers.modelspace import gbuffer_values
from tests.renderers.narrow import narrow_checkpoint
from tests.renderers.panorama_lookup import sample_panorama

torch.set_num_threads(1)
SIZE = (64, 64)
"""Of the environment images: the published 512 x 512 would be most of these tests' time."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gbuffers(frames: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    arrays = {
        name: random.random((frames, height, width, ATTRIBUTES[name].channels), dtype=np.float32) for name in GBUFFERS
    }
    arrays["normal"] = arrays["normal"] - 0.5
    arrays["normal"] /= np.linalg.norm(arrays["normal"], axis=-1, keepdims=True)
    return arrays


def sky(frames: int | None = None, seed: int = 0) -> np.ndarray:
    shape = (16, 32, 3) if frames is None else (frames, 16, 32, 3)
    return 5.0 * np.random.default_rng(seed).random(shape, dtype=np.float32)


def load(folder: Path, **settings: Any) -> ForwardRenderer:
    renderer = ForwardRenderer.from_pretrained(folder, **settings)
    renderer.set_progress_bar_config(disable=True)
    return renderer


def tiny(seed: int = 0) -> ForwardRenderer:
    network = BACKBONES["tiny"].create("forward", widths=(16, 32), depths=(1, 1), embedding=16)
    generator = seeded(seed)
    for parameter in network.parameters():  # a fresh network's last layer is zero and would hide everything
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    renderer = ForwardRenderer(network.eval())
    renderer.set_progress_bar_config(disable=True)
    return renderer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_checkpoint(tmp_path_factory.mktemp("narrow") / "forward", "forward", bare=True)


@pytest.fixture(scope="module")
def renderer(folder: Path) -> ForwardRenderer:
    return load(folder, environment_size=SIZE)


def test_a_video_is_taken_apart_and_rendered_again(renderer: ForwardRenderer, tmp_path: Path) -> None:
    inverse = InverseRenderer.from_pretrained(narrow_checkpoint(tmp_path / "inverse", "inverse", bare=True))
    inverse.set_progress_bar_config(disable=True)
    frames = np.random.default_rng(0).random((3, 40, 72, 3), dtype=np.float32)
    estimated = inverse(frames, steps=2, generator=seeded())
    output = renderer(estimated.gbuffers, sky(), steps=2, generator=seeded())
    assert output.video.shape == frames.shape and output.video.dtype == np.float32
    assert output.video.min() >= 0 and output.video.max() <= 1 and output.video.std() > 1e-3


def test_conditions_follow_the_published_order_and_scale(renderer: ForwardRenderer) -> None:
    inputs: list[Tensor] = []
    lights: list[Tensor] = []
    hooks = [
        renderer.unet.conv_in.register_forward_pre_hook(lambda *call: inputs.append(call[1][0])),
        renderer.env_encoder.register_forward_pre_hook(lambda *call: lights.append(call[1][0])),
    ]
    arrays = gbuffers()
    panorama = torch.rand(1, 3, *SIZE, generator=seeded()) * 3
    renderer(arrays, panorama[0].permute(1, 2, 0).numpy(), steps=1, guidance=1.0, generator=seeded())
    for hook in hooks:
        hook.remove()

    def latent(images: Tensor) -> Tensor:
        with torch.no_grad():
            return renderer.vae.encode(images).latent_dist.mode() * renderer.vae.config.scaling_factor

    assert len(inputs) == len(lights) == 1 and inputs[0].shape == (2, 24, 8, 8)
    for index, name in enumerate(("basecolor", "normal", "depth", "roughness", "metallic")):
        model = modelspace.replicate(modelspace.to_model(name, modelspace.planar(arrays[name])))[0]
        torch.testing.assert_close(inputs[0][:, 4 + 4 * index : 8 + 4 * index], latent(model), atol=1e-4, rtol=1e-4)
    images = (encode_ldr(panorama), encode_log(panorama), encode_directions(*SIZE)[None])
    expected = torch.cat([latent(2 * image - 1) for image in images], dim=1)
    torch.testing.assert_close(lights[0][0], expected, atol=1e-4, rtol=1e-4)


def test_guidance_is_one_batched_call_with_all_conditions_zero(renderer: ForwardRenderer) -> None:
    inputs: list[Tensor] = []
    lights: list[Any] = []
    hooks = [
        renderer.unet.conv_in.register_forward_pre_hook(lambda *call: inputs.append(call[1][0])),
        renderer.unet.register_forward_pre_hook(lambda *call: lights.append(call[1][2])),
    ]
    renderer(gbuffers(), sky(), steps=1, generator=seeded())
    for hook in hooks:
        hook.remove()
    without, given = inputs[0].chunk(2)
    assert len(inputs) == 1 and without.shape == (2, 24, 8, 8)
    torch.testing.assert_close(without[:, :4], given[:, :4])
    assert (without[:, 4:] == 0).all() and given[:, 4:].abs().min(dim=0).values.max() > 0
    for level in lights[0]:
        dark, lit = level.chunk(2)
        assert (dark == 0).all() and lit.abs().max() > 0


def test_guidance_may_rise_over_the_frames(renderer: ForwardRenderer) -> None:
    kept: dict[Any, Tensor] = {}
    for guidance in (1.0, (1.0, 1.5)):

        def keep(_: Any, __: int, ___: Tensor, values: dict[str, Tensor], key: Any = guidance) -> None:
            kept[key] = values["latents"]

        renderer(gbuffers(), sky(), steps=1, guidance=guidance, generator=seeded(), callback_on_step_end=keep)
    change = (kept[(1.0, 1.5)] - kept[1.0]).abs().amax(dim=(0, 2, 3, 4))
    assert change[0] < 1e-2 < change[1]


def test_light_changes_the_picture_frame_by_frame(renderer: ForwardRenderer) -> None:
    still = renderer(gbuffers(), sky(), steps=1, generator=seeded())
    twice = renderer(gbuffers(), np.stack([sky(), sky()]), steps=1, generator=seeded())
    np.testing.assert_allclose(twice.video, still.video, atol=1e-3)
    turned = renderer(gbuffers(), np.stack([sky(), sky(seed=1)]), steps=1, generator=seeded())
    assert np.abs(turned.video - still.video).max() > 1e-3


def test_the_lora_beside_the_weights_is_loaded_and_its_strength_is_free(
    renderer: ForwardRenderer, folder: Path
) -> None:
    def render(**options: Any) -> np.ndarray:
        return renderer(gbuffers(1), sky(), steps=1, generator=seeded(), **options).video

    base = narrow_base(folder)(gbuffers(1), sky(), steps=1, generator=seeded()).video
    np.testing.assert_array_equal(render(lora_scale=0.0), base)
    np.testing.assert_array_equal(render(), render(lora_scale=0.25))
    assert np.abs(render() - base).max() > 1e-4
    with pytest.raises(InputError, match="no LoRA is loaded"):
        narrow_base(folder)(gbuffers(1), sky(), steps=1, lora_scale=0.5)


def narrow_base(folder: Path) -> ForwardRenderer:
    """The checkpoint without its LoRA."""
    loaded = load(folder, environment_size=SIZE)
    loaded.unet.delete_adapters(list(loaded.unet.peft_config))
    return loaded


def test_saving_keeps_base_and_lora_apart_and_loads_equal(renderer: ForwardRenderer, tmp_path: Path) -> None:
    renderer.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert dict(again.config) == dict(renderer.config)
    assert (tmp_path / "saved" / "lora" / "pytorch_lora_weights.safetensors").is_file()
    given: dict[str, Any] = {"steps": 1, "lora_scale": 0.5}
    one = renderer(gbuffers(), sky(), generator=seeded(), **given).video
    np.testing.assert_allclose(again(gbuffers(), sky(), generator=seeded(), **given).video, one, atol=1e-5)


def test_seeds_callbacks_windows_tiles_and_bfloat16(folder: Path, renderer: ForwardRenderer) -> None:
    steps: list[int] = []

    def note(_: Any, step: int, __: Tensor, values: dict[str, Tensor]) -> None:
        steps.append(step)
        assert values["latents"].shape[:3] == (1, 3, 4)

    given: dict[str, Any] = {"steps": 2, "window": 2, "overlap": 1, "tile_pixels": 64 * 128, "guidance": 1.0}
    arrays = gbuffers(3, 50, 130)
    one = renderer(arrays, sky(), generator=seeded(), callback_on_step_end=note, **given).video
    assert one.shape == (3, 50, 130, 3) and steps == [0, 1]
    np.testing.assert_array_equal(one, renderer(arrays, sky(), generator=seeded(), **given).video)
    half = load(folder, environment_size=SIZE, torch_dtype=torch.bfloat16)
    rendered = half(gbuffers(), sky(), steps=1, generator=seeded(), output_type="pt").video
    assert rendered.shape == (2, 3, 64, 64) and bool(torch.isfinite(rendered).all())


def test_tiny_renders_through_the_same_pipeline(tmp_path: Path) -> None:
    renderer = tiny()
    arrays = gbuffers(3, 21, 34)
    output = renderer(arrays, sky(3), window=2, overlap=1)
    assert output.video.shape == (3, 21, 34, 3)
    brighter = renderer(arrays, 4 * sky(3), window=2, overlap=1)
    assert brighter.video.mean() > output.video.mean()
    renderer.save_pretrained(tmp_path / "tiny")
    again = load(tmp_path / "tiny")
    assert again.config["hints"] is True and again.config["environment_size"] == (32, 64)
    np.testing.assert_allclose(again(arrays, sky(3), window=2, overlap=1).video, output.video, atol=1e-5)


def test_a_clip_brings_its_camera_light_and_exposure() -> None:
    renderer = tiny()
    poses = np.tile(np.eye(4), (2, 1, 1))
    turn = np.tile(np.eye(3), (2, 1, 1))
    light = Environment(sky(), turn)
    arrays = gbuffers(2, 16, 16) | {"mask": np.ones((2, 16, 16, 1), np.float32)}
    clip = Clip("room", arrays, Camera(intrinsics_from_fov(60.0, 16, 16), poses), light, exposure=2.0)
    alone = renderer(clip).video
    spelled = renderer(clip.arrays | {"depth": gbuffer_values(clip)["depth"][0].permute(0, 2, 3, 1).numpy()}, light,
                       camera_to_world=poses, fov_degrees=60.0, exposure=2.0).video  # fmt: skip
    np.testing.assert_allclose(alone, spelled, atol=1e-4)
    assert np.abs(renderer(clip, light).video - alone).max() > 1e-3  # light of one's own comes in one's own exposure


def test_an_environment_in_the_world_becomes_what_each_camera_sees() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, :3] = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    light = Environment(sky(), np.tile(np.eye(3), (2, 1, 1)))
    seen = given_light(light, 2, poses, 3.0).panorama(16, 32)
    assert seen.shape == (1, 2, 3, 16, 32)
    for frame in range(2):
        expected = 3.0 * light.in_camera(poses[frame], frame, 16, 32)
        np.testing.assert_allclose(seen[0, frame].permute(1, 2, 0).numpy(), expected, atol=1e-3)


def test_the_view_behind_the_scene_is_as_fine_as_the_light_that_was_given() -> None:
    """A lamp of one texel shows at its own brightness, whether the light is a map in the world or a panorama."""
    poses = np.eye(4)[None]
    image = np.zeros((64, 128, 3), np.float32)
    intrinsics = torch.from_numpy(intrinsics_from_fov(60.0, 33, 33)).float()
    ahead = np.array([[0.0, 0.0, -1.0]])
    towards = latlong_directions(64, 128) @ ahead[0]
    image[np.unravel_index(towards.argmax(), towards.shape)] = 100.0
    given = given_light(Environment(image, np.eye(3)[None]), 1, poses, 2.0)
    seen = given.behind(intrinsics, 33, 33)
    expected = [2.0 * Environment(image, np.eye(3)[None]).radiance(ahead, 0)[0, 0]]
    assert seen.shape == (1, 1, 3, 33, 33)
    np.testing.assert_allclose(seen[0, 0, :1, 16, 16].numpy(), expected, rtol=1e-4)
    panorama = torch.arange(64 * 128.0).view(64, 128, 1).expand(-1, -1, 3).numpy()
    straight = given_light(panorama, 3, None, 1.0).behind(intrinsics, 33, 33)
    assert straight.shape == (1, 1, 3, 33, 33)
    directions = torch.tensor([0.0, 0.0, -1.0]).view(3, 1)
    exact = sample_panorama(torch.from_numpy(panorama).permute(2, 0, 1)[None], directions.T[None])[0, 0]
    torch.testing.assert_close(straight[0, 0, :, 16, 16], exact)


def test_a_zoom_sees_the_light_behind_the_scene_through_each_frames_lens() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    lens = torch.stack([torch.from_numpy(intrinsics_from_fov(fov, 9, 9)).float() for fov in (60.0, 25.0)])
    for given in (given_light(sky(), 2), given_light(Environment(sky(), np.tile(np.eye(3), (2, 1, 1))), 2, poses)):
        seen = given.behind(lens[None], 9, 9)
        assert seen.shape == (1, 2, 3, 9, 9)
        for frame in range(2):
            torch.testing.assert_close(seen[:, frame], given.behind(lens[frame], 9, 9)[:, -1])


def test_a_renderer_takes_a_lens_for_every_frame() -> None:
    renderer, given = tiny(), gbuffers()
    wide, tele = (intrinsics_from_fov(fov, 64, 64) for fov in (60.0, 25.0))

    def render(lens: np.ndarray | None, source: Any = given) -> np.ndarray:
        return np.asarray(renderer(source, sky(), intrinsics=lens, generator=seeded()).video)

    np.testing.assert_allclose(render(np.stack([wide, wide])), render(wide), atol=1e-5)
    zoomed = render(np.stack([wide, tele]))
    assert np.abs(zoomed[1] - render(wide)[1]).max() > 1e-3
    clip = Clip("zoom", given, Camera(np.stack([wide, tele]), np.tile(np.eye(4), (2, 1, 1))))
    np.testing.assert_array_equal(render(None, clip), render(np.stack([wide, tele]), clip))
    with pytest.raises(InputError, match=r"\(2, 3, 3\)"):
        render(np.stack([wide] * 3))


def test_panoramas_keep_their_light_on_another_grid() -> None:
    uniform = torch.full((1, 3, 16, 32), 2.0)
    for size in ((8, 16), (64, 64), (16, 32)):
        torch.testing.assert_close(resize_panorama(uniform, *size), torch.full((1, 3, *size), 2.0))
    gradient = resize_panorama(
        resize_panorama(torch.linspace(0, 1, 16).view(1, 1, 16, 1).expand(1, 3, 16, 32), 32, 64), 16, 32
    )
    torch.testing.assert_close(gradient[0, 0, :, 0], torch.linspace(0, 1, 16), atol=0.05, rtol=0)


def test_relative_and_metric_depth_are_told_apart() -> None:
    relative = gbuffers()
    torch.testing.assert_close(gbuffer_values(relative)["depth"], modelspace.planar(relative["depth"]))
    metric = relative | {"depth": 10 * relative["depth"]}
    torch.testing.assert_close(
        gbuffer_values(metric)["depth"], modelspace.relative_depth(modelspace.planar(metric["depth"]))[0]
    )


def broken(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    return gbuffers(1, 8, 8) | {name: array}


BAD_GBUFFERS: list[tuple[Any, str]] = [
    ({"depth": np.ones((1, 8, 8, 1), np.float32)}, "lack basecolor, normal, roughness, metallic"),
    ([1, 2], "gbuffers are a list"),
    (broken("depth", np.ones((1, 8, 8, 3), np.float32)), "depth has shape"),
    (broken("roughness", np.ones((2, 8, 8, 1), np.float32)), "the other G-buffers have"),
    (broken("metallic", np.full((1, 8, 8, 1), np.nan, np.float32)), "metallic holds NaN"),
    (broken("depth", np.full((1, 8, 8, 1), np.nan, np.float32)), "depth holds NaN"),
    (broken("basecolor", np.full((1, 8, 8, 3), 200.0, np.float32)), "basecolor has values in"),
    (broken("basecolor", np.zeros((1, 8, 8, 3), np.uint8)), "basecolor has dtype uint8"),
    (broken("normal", "up"), "normal is a str"),
]
BAD_LIGHT: list[tuple[Any, str]] = [
    (None, "no light was given"),
    ("sunset.hdr", "environment is a str"),
    (np.zeros((16, 32), np.float32), "environment has shape"),
    (np.zeros((16, 32, 4), np.float32), "environment has shape"),
    (np.zeros((3, 16, 32, 3), np.float32), "3 panoramas for 1 frames"),
    (np.zeros((16, 32, 3), np.uint8), "expected linear HDR"),
    (np.full((16, 32, 3), np.inf, np.float32), "environment holds NaN or infinity"),
    (np.full((16, 32, 3), -1.0, np.float32), "negative radiance"),
    (Environment(sky(), np.eye(3)[None]), "give camera_to_world"),
]


@pytest.mark.parametrize(("given", "message"), BAD_GBUFFERS)
def test_bad_gbuffers_are_one_clear_error(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny()(given, sky())


@pytest.mark.parametrize(("given", "message"), BAD_LIGHT)
def test_bad_light_is_one_clear_error(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny()(gbuffers(1, 8, 8), given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fov_degrees": 200.0}, "fov_degrees is 200"),
        ({"intrinsics": np.eye(4)}, "intrinsics have shape"),
        ({"exposure": 0.0}, "exposure is 0"),
        ({"guidance": 0.5}, "guidance 0.5"),
        ({"lora_scale": 0.5}, "no LoRA is loaded"),
        ({"output_type": "pil"}, "output_type is 'pil'"),
    ],
)
def test_bad_options_are_one_clear_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny()(gbuffers(1, 8, 8), sky(), **options)


def test_a_lora_that_is_a_pickle_or_missing_is_refused(folder: Path, tmp_path: Path) -> None:
    base = narrow_base(folder)
    (tmp_path / "pytorch_lora_weights.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(CheckpointError, match="pickles are never opened"):
        base.load_lora(tmp_path)


def test_a_forward_checkpoint_needs_its_environment_encoder(folder: Path) -> None:
    loaded = load(folder)
    bare = ForwardRenderer(loaded.unet, vae=loaded.vae, environment_size=SIZE)
    with pytest.raises(CheckpointError, match="no env_encoder"):
        bare(gbuffers(1), sky(), steps=1)
