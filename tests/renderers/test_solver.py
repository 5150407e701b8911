"""The weight-free light solver: what it gets back, what it does not believe, and that it says the same every time."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.color import srgb_encode
from manifests.errors import InputError
from manifests.store.dataset import open_dataset
from renderers.light.panoramas import panorama_directions, solid_angles
from renderers.light.solver import Fit, solve_light
from renderers.modelspace import channels_last, planar
from renderers.modelspace import srgb_encode as encode
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays
from tests.renderers.analytic import materials, scene, zoom

torch.set_num_threads(1)
QUICK = Fit(pixels=900, rounds=4)


def environment(height: int = 8) -> Tensor:
    """Panorama (3, height, 2 height): a bluish sky, a brown ground, a broad warm light behind the camera's right."""
    directions = panorama_directions(height, 2 * height)
    up = directions[1:2]
    sky = torch.where(
        up > 0, torch.tensor([0.3, 0.5, 0.8])[:, None, None], torch.tensor([0.3, 0.2, 0.1])[:, None, None]
    )
    lamp = normalize(torch.tensor([0.6, 0.5, 0.6]), dim=0)[:, None, None]
    glow = torch.exp(6 * ((directions * lamp).sum(0, keepdim=True) - 1))
    return sky + glow * torch.tensor([6.0, 4.0, 2.0])[:, None, None]


def shaded(light: Tensor, exposure: float = 0.35, *, ground: bool = True) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Linear picture (1, H, W, 3) and G-buffers of the analytic scene under `light`, unshadowed."""
    traced = scene(40)
    if not ground:
        traced = replace(traced, depth=torch.where(traced.ball, traced.depth, torch.inf))
    values = {**materials(traced, roughness=0.35), "mask": traced.mask}
    picture = split_sum(values, exposure * light[None, None], camera_rays(40, 40, traced.intrinsics)).radiance
    buffers = {name: channels_last(value) for name, value in {**values, "depth": traced.depth}.items()}
    return channels_last(picture), buffers


def irradiance(panorama: np.ndarray) -> np.ndarray:
    """Irradiance (E, 3) of a panorama (h, w, 3) on surfaces that face each of its pixels."""
    height, width = panorama.shape[:2]
    directions = panorama_directions(height, width).flatten(1)
    weight = (directions.T @ directions).clamp(min=0) * solid_angles(height, width).expand(-1, width).reshape(-1)
    return weight.numpy() @ panorama.reshape(-1, 3)


def rerender(light: np.ndarray) -> np.ndarray:
    return shaded(torch.from_numpy(light).permute(2, 0, 1), exposure=1.0)[0]


def visible_error(light: np.ndarray, truth: np.ndarray) -> float:
    """Relative error of the irradiance on normals that the picture shows, those that face the viewer."""
    facing = panorama_directions(*light.shape[:2])[2].reshape(-1).numpy() > 0.3
    found, expected = irradiance(light)[facing], irradiance(truth)[facing]
    return float(np.abs(found - expected).mean() / expected.mean())


def test_a_known_environment_comes_back():
    truth = 0.35 * environment().permute(1, 2, 0).numpy()
    picture, buffers = shaded(environment())
    found = solve_light(picture, buffers, height=8, linear=True, fit=QUICK)
    assert found.shape == (8, 16, 3)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert visible_error(found, truth) < 0.06
    assert np.sqrt(np.square(rerender(found) - picture).mean()) < 0.02
    constant = np.broadcast_to(truth.mean((0, 1)), truth.shape)
    assert visible_error(found, truth) < 0.3 * visible_error(constant, truth)


def test_a_known_environment_comes_back_from_a_zoom():
    truth = 0.35 * environment().permute(1, 2, 0).numpy()
    traced = zoom(32)
    values = {**materials(traced, roughness=0.35), "mask": traced.mask}
    light = 0.35 * environment()[None, None].expand(-1, 2, -1, -1, -1)
    picture = channels_last(split_sum(values, light, camera_rays(32, 32, traced.intrinsics)).radiance)
    buffers = {name: channels_last(value) for name, value in {**values, "depth": traced.depth}.items()}
    lens = traced.intrinsics[0].numpy()
    found = solve_light(picture, buffers, intrinsics=lens, height=8, linear=True, fit=QUICK)
    assert visible_error(found, truth) < 0.08
    still, same = (
        solve_light(picture, buffers, intrinsics=given, height=8, linear=True, fit=QUICK)
        for given in (lens[0], np.repeat(lens[:1], 2, axis=0))
    )
    np.testing.assert_array_equal(still, same)
    assert np.abs(found - still).max() > 0.01


def test_the_result_is_deterministic():
    picture, buffers = shaded(environment())
    results = [solve_light(picture, buffers, height=8, linear=True, fit=QUICK) for _ in range(2)]
    np.testing.assert_array_equal(*results)


def test_outliers_hardly_count():
    truth = 0.35 * environment().permute(1, 2, 0).numpy()
    picture, buffers = shaded(environment())
    generator = np.random.default_rng(0)
    wrong = generator.random(picture.shape[:3]) < 0.15
    dirty = np.where(wrong[..., None], 3 * generator.random(picture.shape), picture).astype(np.float32)
    robust, trusting = (
        visible_error(solve_light(dirty, buffers, height=8, linear=True, fit=fit), truth)
        for fit in (QUICK, Fit(pixels=900, rounds=4, huber=1e6))
    )
    assert robust < 0.12
    assert robust < 0.6 * trusting


def test_clipped_pixels_are_lower_bounds():
    """Where the picture is white, light may be brighter than white."""
    light = environment()
    truth = 1.2 * light.permute(1, 2, 0).numpy()
    picture, buffers = shaded(light, exposure=1.2)
    shown = srgb_encode(picture).clip(0, 1).astype(np.float32)
    assert 0.05 < (shown >= 1).mean() < 0.6
    bounded = solve_light(shown, buffers, height=8, fit=QUICK)
    believed = solve_light(shown, buffers, height=8, fit=Fit(pixels=900, rounds=4, clipped=2.0))
    assert visible_error(bounded, truth) < 0.1
    assert visible_error(bounded, truth) < visible_error(believed, truth)
    assert abs(bounded.max() - truth.max()) < abs(believed.max() - truth.max())


def test_turning_the_camera_turns_the_panorama():
    picture, buffers = shaded(environment())
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # about y: +z to +x
    straight = solve_light(picture, buffers, height=8, linear=True, fit=QUICK)
    turned = solve_light(picture, buffers, height=8, linear=True, fit=QUICK, camera_rotations=quarter[None])
    np.testing.assert_allclose(turned, np.roll(straight, 4, axis=1), rtol=0.02, atol=0.01)


def test_background_is_seen_as_it_is():
    picture, buffers = shaded(environment(), ground=False)
    found = solve_light(picture, buffers, height=8, linear=True, fit=QUICK)
    truth = 0.35 * environment().permute(1, 2, 0).numpy()
    ahead = (slice(3, 5), [0, -1])  # the edges meet straight ahead, at the horizon
    assert np.abs(found[ahead] - truth[ahead]).max() < 0.1 * truth[ahead].max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda picture, buffers: (picture[0], buffers, {}), "rgb has shape"),
        (lambda picture, buffers: (np.full_like(picture, np.nan), buffers, {}), "NaN"),
        (lambda picture, buffers: (picture, {"normal": buffers["normal"]}, {}), "missing"),
        (lambda picture, buffers: (picture, {**buffers, "normal": buffers["normal"][:, 1:]}, {}), "normal has frames"),
        (lambda picture, buffers: (picture, buffers, {"camera_rotations": np.eye(3)}), "camera_rotations"),
    ],
)
def test_bad_input_is_named(change, message):
    picture, buffers, options = change(*shaded(environment()))
    with pytest.raises(InputError, match=message):
        solve_light(picture, buffers, height=8, linear=True, fit=QUICK, **options)


@pytest.mark.slow
def test_rendered_clips_are_explained_better_than_by_even_light(tmp_path):
    program = "import sys; from lightloom.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "datagen", "run", str(tmp_path / "set"), "--recipe", "tiny"]
    subprocess.run([*command, "--clips", "6", "--seed", "6"], check=True, capture_output=True)
    dataset = open_dataset(tmp_path / "set")
    gains = []
    for row in dataset.rows():
        clip = decode_clip(row.key, dataset.files(row), frames=[0])
        assert clip.camera is not None
        shown = srgb_encode(clip.exposure * clip.arrays["rgb"]).clip(0, 1).astype(np.float32)
        buffers = {name: clip.arrays[name] for name in (*GBUFFERS, "mask")}
        found = solve_light(shown, buffers, intrinsics=clip.camera.intrinsics)
        values = {name: planar(buffers[name]) for name in buffers}
        rays = camera_rays(*clip.size, torch.from_numpy(clip.camera.intrinsics).float())
        surface = buffers["mask"][..., 0] > 0.5

        def psnr(light: np.ndarray, values=values, rays=rays, shown=shown, surface=surface) -> float:
            panorama = torch.from_numpy(np.ascontiguousarray(light, np.float32)).permute(2, 0, 1)[None, None]
            again = channels_last(encode(split_sum(values, panorama, rays).radiance).clamp(0, 1))
            return -10 * math.log10(np.square(again - shown)[surface].mean())

        levels = np.geomspace(0.05, 5, 24)
        gains.append(psnr(found) - max(psnr(np.full((16, 32, 3), level)) for level in levels))
    assert np.median(gains) > 2
