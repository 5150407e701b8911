"""Relighting clips: exposure by the datasets' rule, the same light gives the same picture, detail comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from editing.film import Film
from editing.settings import FilmRenderers, FilmSettings
from manifests.contract.color import luminance, srgb_encode, surface_level
from manifests.contract.environment import Environment, latlong_directions
from renderers import ForwardRenderer, InverseRenderer
from renderers.backbones import BACKBONES
from renderers.light.panoramas import panorama_directions, panoramas
from renderers.modelspace import channels_last, relative_depth
from renderers.sampling.windows import Window
from renderers.shading.split_sum import automatic_exposure, matching_exposure, split_sum
from renderers.shading.view_geometry import camera_rays
from tests.manifests.clips import sphere_clip
from tests.renderers.analytic import materials, scene, zoom

torch.set_num_threads(1)
SIZE = 48
LEVEL = np.array([[0.0, 0.0, -1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def forward() -> ForwardRenderer:
    """A new network of `tiny` corrects nothing: it shows its analytic hints."""
    network = BACKBONES["tiny"].create("forward", widths=(16, 32), depths=(1, 1), embedding=16)
    renderer = ForwardRenderer(network.eval())
    renderer.set_progress_bar_config(disable=True)
    return renderer


def clip(*, ball: bool = True) -> dict[str, np.ndarray]:
    traced = scene(SIZE, ball=ball)
    depth = relative_depth(traced.depth)[0]
    values = {**materials(traced), "depth": depth, "mask": traced.mask}
    return {name: channels_last(value) for name, value in values.items()}


def sky(strength: float = 1.0) -> np.ndarray:
    """Soft light from above, brighter to the left: (32, 64, 3)."""
    x, y, _ = panorama_directions(32, 64).numpy()
    value = strength * (0.5 + 0.4 * y - 0.2 * x)
    return np.repeat(value[..., None], 3, axis=-1).astype(np.float32)


def relit(gbuffers: dict[str, np.ndarray], light: np.ndarray | Environment, **given: Any) -> np.ndarray:
    """The clip under a light, (T, H, W, 3) sRGB, by default as bright as `editing.relight` makes it."""
    exposure = given.pop("exposure", None) or automatic_exposure(gbuffers, light, **given)
    return np.asarray(forward()(gbuffers, light, exposure=exposure, **given).video)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2)))


def test_the_same_light_gives_the_same_picture() -> None:
    values = clip(ball=False)  # nothing that casts shadows: the split sum is the truth
    light = torch.from_numpy(sky()).permute(2, 0, 1)[None, None]
    planes = {name: torch.from_numpy(value).permute(0, 3, 1, 2)[None] for name, value in values.items()}
    shaded = split_sum(planes, light, camera_rays(SIZE, SIZE, fov_degrees=45.0)).radiance
    original = np.clip(srgb_encode(channels_last(shaded)), 0, 1)
    again = relit(values, sky(), exposure=1.0)
    assert psnr(again, original) > 30
    other = relit(values, sky()[::-1].copy(), exposure=1.0)
    assert psnr(other, original) < 30


def test_exposure_takes_the_surfaces_to_the_datasets_brightness() -> None:
    values = clip()
    for strength in (0.01, 1.0, 300.0):
        seen = relit(values, sky(strength))
        linear = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
        level = np.percentile(luminance(linear)[values["mask"][..., 0] > 0.5], 95)
        assert level == pytest.approx(0.7, abs=0.07)  # shadows are not in the rule's shading
    assert automatic_exposure(values, sky(2.0)) == pytest.approx(automatic_exposure(values, sky()) / 2, rel=1e-4)


def test_exposure_of_darkness_is_one() -> None:
    assert automatic_exposure(clip(), np.zeros((16, 32, 3), dtype=np.float32)) == 1.0


def test_an_environment_lights_as_its_panorama_does() -> None:
    values = clip()
    directions = latlong_directions(64, 128)
    image = np.repeat((0.6 + 0.4 * directions[..., 1:2]), 3, axis=-1).astype(np.float32)
    environment = Environment(image, np.eye(3)[None])
    panorama = panoramas(image, environment.rotation, LEVEL[None], 32, 64)[0].permute(1, 2, 0).numpy()
    by_map = relit(values, environment, camera_to_world=LEVEL[None], exposure=0.8)
    by_panorama = relit(values, panorama, exposure=0.8)
    assert psnr(by_map, by_panorama) > 40


def test_an_estimated_light_is_made_as_bright_as_the_video() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    shape = (2, 16, 16)
    maps = {
        "basecolor": np.full((*shape, 3), 0.5, np.float32),
        "normal": np.broadcast_to(np.float32([0, 0, 1]), (*shape, 3)),
        "depth": np.full((*shape, 1), 0.5, np.float32),
        "roughness": np.ones((*shape, 1), np.float32),
        "metallic": np.zeros((*shape, 1), np.float32),
    }
    video = rng.uniform(0.2, 0.8, (*shape, 3)).astype(np.float32)
    light = rng.uniform(0.1, 1.0, (16, 32, 3)).astype(np.float32)
    factor = matching_exposure(video, maps, light)
    assert matching_exposure(video, maps, 4 * light) == pytest.approx(factor / 4, rel=1e-4)
    darker = {**maps, "basecolor": 0.5 * maps["basecolor"]}
    assert factor < matching_exposure(video, darker, light) < 2.05 * factor
    assert matching_exposure(np.zeros_like(video), maps, light) == 1.0


@pytest.mark.parametrize("side, seen, remarked", [(None, 64, False), (32, 32, False), (16, 16, True), (0, 256, True)])
def test_a_size_far_from_the_trained_one_is_said(side: int | None, seen: int, remarked: bool) -> None:
    network = BACKBONES["tiny"].create("inverse", widths=(16, 32), depths=(1, 1), embedding=16)
    inverse = InverseRenderer(network, training={"sizes": [[48, 64]]})
    film = Film("film", sphere_clip("a", frames=1, size=256))
    assert FilmRenderers(FilmSettings(side=side), inverse=inverse).seen_size(film)[1] == seen
    expected = [f"networks see it at {seen} pixels, and best at about 64"] if remarked else []
    assert film.remarks == film.problems == expected


def test_a_film_that_zooms_has_the_lenses_of_each_window_at_the_size_that_networks_see() -> None:
    known = sphere_clip("zoom", frames=5, size=32, zoom=2.0)
    film = Film("zoom", known)
    lens = film.intrinsics((16, 8), Window(1, 4, 4))
    assert lens is not None and known.camera is not None
    np.testing.assert_allclose(lens, np.diag([0.25, 0.5, 1.0]) @ known.camera.intrinsics[1:4])
    still = Film("still", sphere_clip("still", frames=5, size=32))
    assert still.intrinsics((16, 8), Window(1, 4, 4)).shape == (3, 3)


def test_a_zoom_is_exposed_and_relit_through_each_frames_lens() -> None:
    traced = zoom(SIZE)
    values = {**materials(traced), "depth": relative_depth(traced.depth)[0], "mask": traced.mask}
    buffers = {name: channels_last(value) for name, value in values.items()}
    lens = traced.intrinsics[0].numpy()
    light = torch.from_numpy(sky()).permute(2, 0, 1).expand(1, 2, -1, -1, -1)
    shaded = split_sum(values, light, camera_rays(SIZE, SIZE, traced.intrinsics)).radiance
    exposure = automatic_exposure(buffers, sky(), intrinsics=lens)
    covered = channels_last(traced.mask)[..., 0] > 0.5
    assert exposure == pytest.approx(0.7 / surface_level(channels_last(shaded), covered), rel=1e-5)
    assert relit(buffers, sky(), intrinsics=lens).shape == (2, SIZE, SIZE, 3)
