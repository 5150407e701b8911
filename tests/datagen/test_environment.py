from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.blender.light_image import light_image, resize_latlong
from datagen.blender.render import render_scene
from datagen.resolver import Resolver
from manifests.codec.light_file import read_light
from manifests.contract.environment import HALF_MAX, latlong_directions
from manifests.errors import RenderError
from scenes.spec import Builtin, SceneLight
from tests.datagen import analytic


def solid_angles(height: int) -> np.ndarray:
    edges = np.cos(np.arange(height + 1) / height * np.pi)
    return np.broadcast_to(((edges[:-1] - edges[1:]) * np.pi / height)[:, None], (height, 2 * height))


def light(name: str, **changes: object) -> SceneLight:
    return SceneLight(map=analytic.environment_file(name), **changes)  # type: ignore[arg-type]


def put(resolver: Resolver, name: str, image: np.ndarray) -> None:
    analytic.write_environment(resolver.roots["test"] / name, image)


def sky(**params: float) -> SceneLight:
    return SceneLight(map=Builtin(uid="sky", generator="sky", params=dict(params)))


@pytest.mark.parametrize("height", [8, 20, 33])
def test_shrinking_keeps_the_energy(height: int) -> None:
    image = np.random.default_rng(0).gamma(0.3, 5.0, (48, 96, 3)).astype(np.float32)
    image[11, 70] = 60_000.0
    small = resize_latlong(image, height)
    assert small.shape == (height, 2 * height, 3)
    np.testing.assert_allclose(
        np.einsum("hw,hwc->c", solid_angles(height), small), np.einsum("hw,hwc->c", solid_angles(48), image), rtol=1e-4
    )


def test_shrinking_keeps_directions() -> None:
    fine, coarse = latlong_directions(128, 256), latlong_directions(32, 64)
    resized = resize_latlong(fine.astype(np.float32), 32)
    assert np.abs(resized - coarse).max() < 0.02


def test_enlarging_is_smooth() -> None:
    large = resize_latlong(analytic.lobes(32), 64)
    assert large.shape == (64, 128, 3)
    np.testing.assert_allclose(large[8:-8], analytic.lobes(64)[8:-8], rtol=0.1, atol=0.02)


def test_mirror_and_strength_change_the_stored_image(resolver: Resolver) -> None:
    plain = light_image(light("lobes.exr"), 64, resolver)
    changed = light_image(light("lobes.exr", mirror=True, strength=3.0, yaw=50.0), 64, resolver)
    np.testing.assert_allclose(changed.image, 3 * plain.image[:, ::-1], rtol=1e-6)
    assert changed.sanitized == 0


def test_bad_values_are_replaced_and_counted(resolver: Resolver) -> None:
    image = analytic.lobes()
    image[3, 4] = np.nan
    image[5, 6, 0] = -1.0
    image[7, 8, 1] = np.inf
    put(resolver, "few.exr", image)
    made = light_image(light("few.exr"), 64, resolver)
    assert made.sanitized == 5
    assert (made.image[3, 4] == 0).all() and made.image[5, 6, 0] == 0 and made.image[7, 8, 1] == HALF_MAX


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_a_map_without_light_is_a_typed_failure(resolver: Resolver, tmp_path: Path, cpu: None, value: float) -> None:
    put(resolver, "dark.exr", np.full((16, 32, 3), value, dtype=np.float32))
    with pytest.raises(RenderError, match=r"dark\.exr: the environment map holds no light") as caught:
        render_scene(analytic.scene(lights=(light("dark.exr"),)), resolver, tmp_path)
    assert caught.value.reason == "bad-environment"


@pytest.mark.parametrize("name", ["cut.exr", "text.hdr", "empty.hdr"])
def test_an_unreadable_map_is_a_typed_failure(resolver: Resolver, cpu: None, name: str) -> None:
    content = (resolver.roots["test"] / "lobes.exr").read_bytes()[:2000] if name == "cut.exr" else b"no image"
    (resolver.roots["test"] / name).write_bytes(b"" if name == "empty.hdr" else content)
    with pytest.raises(RenderError, match=f"{name}: cannot be read as an environment map") as caught:
        light_image(light(name), 64, resolver)
    assert caught.value.reason == "bad-environment"


def test_an_image_that_is_no_latlong_is_refused(resolver: Resolver) -> None:
    put(resolver, "square.exr", np.ones((32, 32, 3), dtype=np.float32))
    with pytest.raises(RenderError, match="32x32 pixels is not a lat-long image"):
        light_image(light("square.exr"), 64, resolver)


def test_radiance_hdr_files_are_read_the_right_way_up(tmp_path: Path, cpu: None) -> None:
    image = np.zeros((4, 8, 3))
    image[0, 1] = (2.0, 0.5, 0.25)
    image[3, 6] = (100.0, 50.0, 25.0)
    exponent = np.ceil(np.log2(np.maximum(image.max(axis=-1), 1e-9))) + 1
    pixels = np.zeros((4, 8, 4), dtype=np.uint8)
    pixels[..., :3] = image * 256 / 2 ** exponent[..., None]
    pixels[..., 3] = np.where(image.max(axis=-1) > 0, exponent + 128, 0)
    path = tmp_path / "small.hdr"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 8\n" + pixels.tobytes())
    half_step = np.where(image.max(axis=-1) > 0, 2**exponent / 512, 0)[..., None]
    np.testing.assert_allclose(read_light(path), image + half_step, rtol=1e-6)


def test_the_sun_stands_over_the_centre_column_at_its_elevation_with_the_same_energy_at_any_size(
    resolver: Resolver, cpu: None
) -> None:
    energies = []
    for height in (32, 96):
        image = light_image(sky(sun_elevation=40.0), height, resolver).image
        weight = (image.sum(axis=-1) * solid_angles(height))[..., None]
        bright = image.sum(axis=-1) > 0.5 * image.sum(axis=-1).max()
        towards = (latlong_directions(height, 2 * height) * weight)[bright].sum(axis=0)
        towards /= np.linalg.norm(towards)
        expected = np.array([np.cos(np.radians(40)), 0.0, np.sin(np.radians(40))])
        assert np.degrees(np.arccos(towards @ expected)) < 180 / height
        energies.append(np.einsum("hw,hwc->c", solid_angles(height), image))
    np.testing.assert_allclose(energies[0], energies[1], rtol=0.01)


def test_a_sky_is_baked_once(resolver: Resolver, cpu: None) -> None:
    first = light_image(sky(sun_elevation=20.0), 16, resolver).image
    (kept,) = (resolver.cache / "sky").iterdir()
    age = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(light_image(sky(sun_elevation=20.0), 16, resolver).image, first)
    assert [(path, path.stat().st_mtime_ns) for path in (resolver.cache / "sky").iterdir()] == [(kept, age)]


def test_an_unknown_generator_is_named(resolver: Resolver) -> None:
    with pytest.raises(RenderError, match="no environment generator 'moon'"):
        light_image(SceneLight(map=Builtin(uid="moon", generator="moon")), 16, resolver)
