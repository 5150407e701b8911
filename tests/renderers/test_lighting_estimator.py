"""The lighting estimator: both backbones through one pipeline, and the solver that needs no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.environment import camera_directions
from manifests.errors import CheckpointError, InputError
from renderers import LightingEstimator, SolverLightingEstimator, load, modelspace
from renderers.backbones import BACKBONES
from renderers.light.panoramas import decode_hdr
from renderers.lighting_estimator import estimator, observe
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays
from tests.renderers.narrow import narrow_checkpoint

torch.set_num_threads(1)
SIZE = (64, 64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def video(frames: int = 2, size: int = 32) -> np.ndarray:
    return np.random.default_rng(frames).random((frames, size, size, 3), dtype=np.float32)


def gbuffers(frames: int = 2, size: int = 32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    arrays = {
        name: random.random((frames, size, size, ATTRIBUTES[name].channels), dtype=np.float32) for name in GBUFFERS
    }
    arrays["normal"] = arrays["normal"] - 0.5
    arrays["normal"] /= np.linalg.norm(arrays["normal"], axis=-1, keepdims=True)
    return arrays


def quiet(renderer: Any) -> Any:
    renderer.set_progress_bar_config(disable=True)
    return renderer


def tiny() -> LightingEstimator:
    network = BACKBONES["tiny"].create("lighting", widths=(32, 32), depths=(1, 1), embedding=16)
    generator = seeded()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return quiet(LightingEstimator(network.eval()))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> LightingEstimator:
    folder = narrow_checkpoint(tmp_path_factory.mktemp("narrow") / "lighting", "lighting")
    return quiet(LightingEstimator.from_pretrained(folder, environment_size=SIZE))


def test_a_video_gives_an_hdr_panorama_fused_from_its_two_images(narrow: LightingEstimator) -> None:
    output = narrow(video(), gbuffers(), steps=2, generator=seeded(), height=16)
    assert output.environment.shape == (16, 32, 3) and output.environment.dtype == np.float32
    assert output.ldr.shape == output.log.shape == (*SIZE, 3)
    assert output.environment.min() >= 0 and np.isfinite(output.environment).all()
    assert output.ldr.min() >= 0 and output.log.max() <= 1
    again = narrow(video(), gbuffers(), steps=2, generator=seeded(), height=16)
    np.testing.assert_array_equal(again.environment, output.environment)
    other = narrow(video(), gbuffers(), steps=2, generator=seeded(1), height=16)
    assert np.abs(other.ldr - output.ldr).max() > 1e-3


def test_the_noisy_light_stands_before_its_directions_and_the_video_is_encoded_unscaled(
    narrow: LightingEstimator,
) -> None:
    inputs: list[Tensor] = []
    seen: list[Tensor] = []
    hooks = [
        narrow.unet.conv_in.register_forward_pre_hook(lambda *call: inputs.append(call[1][0])),
        narrow.env_encoder.register_forward_pre_hook(lambda *call: seen.append(call[1][0])),
    ]
    narrow(video(), gbuffers(), steps=1, generator=seeded())
    for hook in hooks:
        hook.remove()
    assert inputs[0].shape == (2, 12, 8, 8) and seen[0].shape == (1, 2, 24, 4, 4)
    with torch.no_grad():
        rgb = narrow.vae.encode(2 * modelspace.planar(video())[0] - 1).latent_dist.mode()
    torch.testing.assert_close(seen[0][0, :, :4], rgb)
    torch.testing.assert_close(inputs[0][0, 8:], inputs[0][1, 8:])


def test_a_network_trained_with_gbuffers_says_so(narrow: LightingEstimator) -> None:
    with pytest.raises(InputError, match="give gbuffers as well"):
        narrow(video(), steps=1)


def test_tiny_estimates_with_and_without_gbuffers_and_survives_saving(tmp_path: Path) -> None:
    estimator = tiny()
    known = estimator(video(3, 34), gbuffers(3, 34), fov_degrees=60.0)
    assert known.environment.shape == known.ldr.shape == (32, 64, 3)
    fused = decode_hdr(torch.from_numpy(known.ldr), torch.from_numpy(known.log)).numpy()
    np.testing.assert_allclose(known.environment, fused, rtol=1e-5)
    assert np.abs(estimator(video(3, 34), fov_degrees=60.0).ldr - known.ldr).max() > 1e-4
    estimator.save_pretrained(tmp_path / "tiny")
    again = quiet(load(tmp_path / "tiny"))
    assert isinstance(again, LightingEstimator)
    np.testing.assert_allclose(again(video(3, 34), gbuffers(3, 34), fov_degrees=60.0).ldr, known.ldr, atol=1e-5)


def test_a_clip_brings_its_camera_and_long_videos_are_sampled_evenly() -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    poses[0, :3, :3] = turn
    clip = Clip("walk", {"rgb": video(5)}, Camera(intrinsics_from_fov(70.0, 32, 32), poses))
    seen = observe(clip, None, 45.0, None, None, frames=3, height=32)
    assert seen.rgb.shape[1] == 3 and seen.rotations is not None
    torch.testing.assert_close(seen.rgb[:, 2], modelspace.to_model("rgb", modelspace.planar(clip.arrays["rgb"]))[:, 4])
    torch.testing.assert_close(seen.rotations[0, 0], torch.eye(3))
    torch.testing.assert_close(seen.rotations[0, 2], torch.from_numpy(turn.T).float())
    assert seen.intrinsics[0, 0].item() == pytest.approx(0.5 * 32 / np.tan(np.radians(35.0)))


def test_a_zoom_is_seen_through_each_frames_lens() -> None:
    lens = np.stack([intrinsics_from_fov(fov, 32, 32) for fov in (70.0, 60.0, 50.0, 40.0, 30.0)])
    clip = Clip("zoom", {"rgb": video(5)}, Camera(lens, np.tile(np.eye(4), (5, 1, 1))))
    seen = observe(clip, None, 45.0, None, None, frames=3, height=32)
    np.testing.assert_allclose(seen.intrinsics[0].numpy(), lens[[0, 2, 4]], rtol=1e-6)
    estimate = tiny()
    once, still, zooming = (
        estimate(video(5), intrinsics=given).ldr for given in (lens[0], np.repeat(lens[:1], 5, axis=0), lens)
    )
    np.testing.assert_allclose(once, still, atol=1e-6)
    assert np.abs(zooming - once).max() > 1e-4
    solved = SolverLightingEstimator(rows=4)(video(5), gbuffers(5), intrinsics=lens, height=8)
    assert np.isfinite(solved.environment).all()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((0, 8, 8, 3), np.float32),), {}, "video is empty"),
        ((np.full((1, 8, 8, 3), np.nan, np.float32),), {}, "NaN"),
        ((video(), gbuffers(3)), {}, "2 frames, its G-buffers 3"),
        ((video(), gbuffers(2, 16)), {}, "G-buffers of"),
        ((video(), {"depth": np.ones((2, 32, 32, 1), np.float32)}), {}, "lack basecolor"),
        ((video(),), {"camera_rotations": np.eye(3)}, "camera_rotations have shape"),
        ((video(),), {"height": 2}, "panorama of 2x4"),
        ((video(1, 2),), {}, "too small"),
        ((video(),), {"fov_degrees": 0.0}, "fov_degrees is 0"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny()(*arguments, **options)


def test_a_lighting_checkpoint_needs_its_encoder(narrow: LightingEstimator) -> None:
    bare = LightingEstimator(narrow.unet, vae=narrow.vae, environment_size=SIZE)
    with pytest.raises(CheckpointError, match="no env_encoder"):
        bare(video(), gbuffers(), steps=1)


def lit_ball(panorama: np.ndarray, size: int = 24) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A matte ball before nothing, shaded by split-sum under `panorama`: (video, G-buffers)."""
    y, x = np.meshgrid(1 - 2 * (np.arange(size) + 0.5) / size, 2 * (np.arange(size) + 0.5) / size - 1, indexing="ij")
    inside = x**2 + y**2 < 0.8
    z = np.sqrt(np.maximum(0.8 - x**2 - y**2, 0))
    normal = np.where(inside[..., None], np.stack([x, y, z], axis=-1) / np.sqrt(0.8), [0.0, 0.0, 1.0])
    arrays = {
        "basecolor": np.where(inside[..., None], 0.5, 0.0) * np.ones(3),
        "normal": normal,
        "depth": np.where(inside, 5.0 - z, np.inf)[..., None],
        "roughness": np.full((size, size, 1), 0.6),
        "metallic": np.zeros((size, size, 1)),
        "mask": inside[..., None].astype(float),
    }
    frames = {name: array[None].astype(np.float32) for name, array in arrays.items()}
    values = {name: modelspace.planar(array) for name, array in frames.items()}
    light = modelspace.planar(panorama[None])
    picture = split_sum(values, light, camera_rays(size, size, fov_degrees=45.0)).radiance
    return modelspace.channels_last(modelspace.display(modelspace.to_model("rgb", picture))), frames


def test_the_solver_needs_no_weights_and_finds_where_the_light_is() -> None:
    panorama = np.full((16, 32, 3), 0.1, np.float32)
    panorama[5:8, 22:25] = 6.0  # to the right, above
    frames, arrays = lit_ball(panorama)
    output = estimator()(frames, arrays, height=16)
    assert isinstance(estimator(), SolverLightingEstimator)
    assert output.environment.shape == output.ldr.shape == (16, 32, 3) and output.environment.min() >= 0
    weight = (output.environment.sum(-1) * np.sin((np.arange(16) + 0.5) / 16 * np.pi)[:, None])[..., None]
    found = (weight * camera_directions(16, 32)).sum((0, 1))
    true = camera_directions(16, 32)[6, 23]
    assert found @ true / np.linalg.norm(found) > 0.8
    with pytest.raises(InputError, match="without G-buffers"):
        estimator()(frames)


def test_a_checkpoint_takes_the_solvers_place(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "tiny")
    assert isinstance(estimator(tmp_path / "tiny"), LightingEstimator)
