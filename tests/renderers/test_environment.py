"""Panoramas: the published encodings, turning, energy, and the mirror-ball proof of the light convention in torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.codec import light_file
from manifests.codec.exr import write_exr
from manifests.codec.light_file import read_hdr
from manifests.contract import environment as stored
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.environment import Environment
from manifests.errors import CodecError, InputError
from renderers.light import panoramas as light
from tests.datagen import analytic
from tests.renderers import cycles_reference
from tests.renderers.panorama_lookup import sample_panorama

RADIANCE = torch.from_numpy(np.geomspace(1e-3, 1e4, 5001).astype(np.float32))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rotations(count: int, seed: int = 0) -> np.ndarray:
    """Random proper rotations (count, 3, 3)."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))[0]
    return q * np.sign(np.linalg.det(q))[:, None, None]


def poses(rotation: np.ndarray) -> np.ndarray:
    """Camera poses (T, 4, 4) at the origin."""
    pose = np.tile(np.eye(4), (len(rotation), 1, 1))
    pose[:, :3, :3] = rotation
    return pose


def lobes_about(axes: np.ndarray, directions: Tensor) -> Tensor:
    """Coloured lobes (3, h, w), one a channel about axes (3, 3), for unit directions (3, h, w)."""
    cosine = torch.einsum("ci,ihw->chw", torch.from_numpy(axes.astype(np.float32)), directions)
    return 0.1 + torch.exp(8 * (cosine - 1)) * torch.tensor([5.0, 2.0, 1.0])[:, None, None]


# --- encodings ------------------------------------------------------------------------------------------------


def test_encodings_are_the_published_formulas() -> None:
    x = RADIANCE.double().numpy()

    def srgb(value: np.ndarray) -> np.ndarray:
        return np.where(value <= 0.0031308, 12.92 * value, 1.055 * np.power(value, 1 / 2.4) - 0.055)

    ldr = srgb(np.clip(x * (1 + x / 16**2) / (1 + x), 0, 1))
    log = np.clip(srgb(np.log1p(x) / np.log1p(10_000)), 0, 1)
    np.testing.assert_allclose(light.encode_ldr(RADIANCE).numpy(), ldr, atol=1e-6)
    np.testing.assert_allclose(light.encode_log(RADIANCE).numpy(), log, atol=1e-6)
    np.testing.assert_allclose(light.encode_ldr(RADIANCE).numpy(), stored.encode_ldr(x), atol=1e-6)
    np.testing.assert_allclose(light.encode_log(RADIANCE).numpy(), stored.encode_log(x), atol=1e-6)


@pytest.mark.parametrize("size", [(32, 64), (7, 12), (64, 64)])
def test_direction_image_is_the_published_grid(size: tuple[int, int]) -> None:
    image = light.encode_directions(*size).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(image, stored.encode_directions(*size), atol=1e-6)
    theta = np.linspace(1 / size[0], 1 - 1 / size[0], size[0]) * np.pi
    np.testing.assert_allclose(image[:, 0, 1], 0.5 * np.cos(theta) + 0.5, atol=1e-6)


def test_radiance_survives_the_two_encodings() -> None:
    decoded = light.decode_hdr(light.encode_ldr(RADIANCE), light.encode_log(RADIANCE))
    assert (decoded / RADIANCE - 1).abs().max() < 1e-4
    assert light.decode_hdr(torch.zeros(1), torch.zeros(1)).item() == 0


def test_radiance_survives_8_bit_encodings() -> None:
    ldr, log = ((code * 255).round() / 255 for code in (light.encode_ldr(RADIANCE), light.encode_log(RADIANCE)))
    relative = (light.decode_hdr(ldr, log) / RADIANCE - 1).abs()[RADIANCE > 0.01]
    assert relative.max() < 0.05


def test_each_encoding_decides_where_it_is_the_better_one() -> None:
    ldr, log = light.encode_ldr(RADIANCE), light.encode_log(RADIANCE)
    wrong_log = torch.where(RADIANCE < 0.5, 0.9 * log, log)
    wrong_ldr = torch.where(RADIANCE > 8.1, 0.9 * ldr, ldr)
    assert (light.decode_hdr(wrong_ldr, wrong_log) / RADIANCE - 1).abs().max() < 1e-4


# --- geometry -------------------------------------------------------------------------------------------------


def test_unshrunk_panoramas_equal_the_stored_environment_along_the_published_directions() -> None:
    image = np.random.default_rng(1).random((16, 32, 3)).astype(np.float32)
    environment, pose = Environment(image, rotations(3)), poses(rotations(3, seed=2))
    made = light.panoramas(image, environment.rotation, pose, 32, 64)
    for frame in range(3):
        expected = environment.in_camera(pose[frame], frame, 32, 64)
        np.testing.assert_allclose(made[frame].permute(1, 2, 0).numpy(), expected, atol=2e-5)


def test_backgrounds_equal_the_stored_environment_along_the_rays() -> None:
    image = np.random.default_rng(1).random((16, 32, 3)).astype(np.float32)
    environment, pose = Environment(image, rotations(3)), poses(rotations(3, seed=2))
    rays = Camera(intrinsics_from_fov(70, 9, 13), pose).rays(9, 13)
    made = light.backgrounds(image, environment.rotation, pose, rays)
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    for frame in range(3):
        expected = environment.radiance(unit @ pose[frame, :3, :3].T, frame)
        np.testing.assert_allclose(made[frame].permute(1, 2, 0).numpy(), expected, atol=2e-5)


def test_shrunk_panoramas_show_the_lobes_where_they_are() -> None:
    image = analytic.lobes(128)
    environment, pose = Environment(image, rotations(2)), poses(rotations(2, seed=2))
    made = light.panoramas(image, environment.rotation, pose, 32, 64)
    for frame in range(2):
        expected = environment.in_camera(pose[frame], frame, 32, 64)
        error = stored.encode_ldr(made[frame].permute(1, 2, 0).numpy()) - stored.encode_ldr(expected)
        assert -10 * np.log10((error**2).mean()) > 40


@pytest.mark.parametrize("row", [3, 20, 64, 100])
def test_a_sun_of_one_texel_keeps_its_energy_wherever_it_falls(row: int) -> None:
    height, turns = 128, torch.from_numpy(rotations(12, seed=row))
    image = np.zeros((height, 2 * height, 3), dtype=np.float32)
    image[row, 17] = (1e4, 2e4, 3e4)
    solid = (math.cos(row / height * math.pi) - math.cos((row + 1) / height * math.pi)) * math.pi / height
    made = light.stored_to_panorama(image, turns, 32, 64)
    energy = (made * light.solid_angles(32, 64)).sum(dim=(2, 3)) / solid / torch.tensor([1e4, 2e4, 3e4])
    assert (energy - 1).abs().max() < 0.06
    assert (energy.mean() - 1).abs() < 0.02


def test_constant_light_stays_constant() -> None:
    image = np.full((128, 256, 3), 2.5, dtype=np.float32)
    made = light.stored_to_panorama(image, torch.from_numpy(rotations(2)), 32, 64)
    torch.testing.assert_close(made, torch.full_like(made, 2.5), rtol=1e-5, atol=0)


def test_solid_angles_cover_the_sphere_and_shrinking_keeps_energy() -> None:
    fine = torch.rand(2, 3, 64, 128) ** 8 * 100
    small = light.shrink_panorama(fine, 32, 64)
    assert abs(64 * light.solid_angles(32, 64).sum().item() - 4 * math.pi) < 1e-4
    before, after = ((p * light.solid_angles(*p.shape[-2:])).sum(dim=(2, 3)) for p in (fine, small))
    torch.testing.assert_close(before, after, rtol=1e-5, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_rotating_a_panorama_moves_its_lights_about_any_axis(seed: int) -> None:
    axes, (turn,) = rotations(1, seed=9)[0], rotations(1, seed=seed)
    directions = light.panorama_directions(64, 128)
    turned = light.rotate(lobes_about(axes, directions)[None], torch.from_numpy(turn))[0]
    expected = lobes_about(axes @ turn.T, directions)
    assert (turned - expected).abs().max() < 0.05
    assert (turned - lobes_about(axes @ turn, directions)).abs().max() > 0.5


def test_each_panorama_of_a_batch_has_its_own_rotation() -> None:
    panorama, turns = torch.rand(3, 3, 16, 32), torch.from_numpy(rotations(3)).float()
    together = light.rotate(panorama, turns)
    for index in range(3):
        torch.testing.assert_close(together[index], light.rotate(panorama[index : index + 1], turns[index])[0])


def test_rotating_by_nothing_changes_nothing() -> None:
    panorama = torch.rand(1, 3, 32, 64)
    torch.testing.assert_close(light.rotate(panorama, torch.eye(3)), panorama, atol=1e-4, rtol=0)


def test_a_panorama_comes_back_as_a_stored_image_of_the_world() -> None:
    image, pose = analytic.lobes(64), poses(rotations(1, seed=5))
    panorama = light.panoramas(image, np.eye(3)[None], pose, 64, 128)[0]
    back = light.panorama_to_stored(panorama, torch.from_numpy(pose[0]), 64, 128)
    error = light.encode_ldr(back) - light.encode_ldr(torch.from_numpy(image))
    assert -10 * math.log10((error**2).mean()) > 38


def test_sampling_along_the_grid_returns_the_pixels_and_wraps_around() -> None:
    panorama = torch.rand(2, 3, 16, 32)
    directions = light.panorama_directions(16, 32).permute(1, 2, 0).expand(2, -1, -1, -1)
    torch.testing.assert_close(sample_panorama(panorama, directions).permute(0, 3, 1, 2), panorama, atol=1e-4, rtol=0)
    seam = sample_panorama(panorama[:1], torch.tensor([[[0.0, math.cos(math.pi / 16), -math.sin(math.pi / 16)]]]))
    torch.testing.assert_close(seam[0, 0], 0.5 * (panorama[0, :, 0, 0] + panorama[0, :, 0, -1]), atol=1e-4, rtol=0)


def test_gradients_stay_finite_at_the_poles() -> None:
    panorama = torch.rand(1, 3, 16, 32, requires_grad=True)
    directions = torch.tensor([[[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]], requires_grad=True)
    sample_panorama(panorama, directions).sum().backward()
    assert panorama.grad is not None and directions.grad is not None
    assert torch.isfinite(panorama.grad).all() and torch.isfinite(directions.grad).all()


def test_wrong_shapes_are_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"\(h, w, 3\)"):
        light.stored_to_panorama(np.zeros((3, 8, 16)), torch.eye(3)[None], 8, 16)
    with pytest.raises(InputError, match="4x4"):
        light.stored_to_panorama(np.zeros((8, 16, 3)), torch.eye(3)[None], 2, 4)


# --- the mirror ball ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> cycles_reference.Reference:
    return cycles_reference.render(["mirror"], tmp_path_factory.mktemp("mirror"))["mirror"]


def mirror_psnr(ball: cycles_reference.Reference, panorama: Tensor) -> float:
    """PSNR in dB of the ball's tone-mapped pixels against panoramas (T, 3, h, w) seen by reflection."""
    errors = []
    for frame, pose in enumerate(ball.camera_to_world):
        camera = ball.camera
        size = ball.arrays["rgb"].shape[1:3]
        inside, normals, _ = analytic.sphere_hits(camera, frame, size)
        rays = camera.rays(*size) / np.linalg.norm(camera.rays(*size), axis=-1, keepdims=True)
        normals = normals @ pose[:3, :3]  # world to camera
        reflected = torch.from_numpy((rays - 2 * (rays * normals).sum(-1, keepdims=True) * normals)[inside])
        seen = sample_panorama(panorama[frame : frame + 1], reflected.float()[None])[0]
        rendered = torch.from_numpy(ball.arrays["rgb"][frame][inside])
        errors.append((light.encode_ldr(seen) - light.encode_ldr(rendered)) ** 2)
    return -10 * math.log10(torch.cat(errors).mean())


@pytest.mark.parametrize("height", [32, 128])
def test_mirror_ball_shows_the_panoramas(mirror: cycles_reference.Reference, height: int) -> None:
    made = light.panoramas(mirror.image, mirror.rotation, mirror.camera_to_world, height, 2 * height)
    assert mirror_psnr(mirror, made) > 38


@pytest.mark.parametrize(
    "wrong", ["mirrored", "upside down", "inverse light", "inverse camera", "no camera", "half turn"]
)
def test_any_other_convention_fails_the_mirror_ball(mirror: cycles_reference.Reference, wrong: str) -> None:
    turn, pose = mirror.rotation, mirror.camera_to_world
    if wrong == "inverse light":
        turn = np.swapaxes(turn, 1, 2)
    elif wrong == "inverse camera":
        pose = poses(np.swapaxes(pose[:, :3, :3], 1, 2))
    elif wrong == "no camera":
        pose = poses(np.tile(np.eye(3), (len(pose), 1, 1)))
    made = light.panoramas(mirror.image, turn, pose, 64, 128)
    other = {"mirrored": made.flip(-1), "upside down": made.flip(-2), "half turn": made.roll(64, dims=-1)}
    assert mirror_psnr(mirror, other.get(wrong, made)) < 20


# --- files ----------------------------------------------------------------------------------------------------


def test_exr_light_is_read_and_sanitised(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((8, 16, 3)).astype(np.float32)
    image[0, 0], image[1, 1], image[2, 2] = np.nan, -4.0, 1e9
    path = tmp_path / "light.exr"
    path.write_bytes(write_exr({name: np.ascontiguousarray(image[..., i]) for i, name in enumerate("RGB")}))
    found = read_hdr(path)
    assert found.dtype == np.float32 and found[0, 0].max() == 0 and found[1, 1].max() == 0 and found[2, 2, 0] == 65504
    np.testing.assert_array_equal(found[3:], image[3:])


def radiance_file(width: int, height: int, header: bytes = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n") -> bytes:
    """An uncompressed Radiance picture of (1, 0.5, 4) times the column."""
    column = np.arange(width)[None, :, None] * np.ones((height, 1, 1))
    mantissa = column * np.array([16.0, 8.0, 64.0])  # times 2^(132 - 136) = 1/16
    pixels = np.concatenate([mantissa, np.full_like(column, 132)], axis=-1).astype(np.uint8)
    return header + f"-Y {height} +X {width}\n".encode() + pixels.tobytes()


def test_radiance_light_may_be_as_large_as_panoramas_are_sold() -> None:
    light_file._check_shape(8192, 16384)
    with pytest.raises(CodecError, match="are accepted"):
        light_file._check_shape(16384, 32768)


def test_radiance_light_is_read(tmp_path: Path) -> None:
    path = tmp_path / "light.hdr"
    path.write_bytes(radiance_file(4, 2))
    expected = np.arange(4)[None, :, None] * np.array([1.0, 0.5, 4.0]) * np.ones((2, 1, 1))
    np.testing.assert_allclose(read_hdr(path), expected, rtol=0.04)


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"a text",
        b"#?RADIANCE\n\n-Y 99999999 +X 99999999\n",
        b"#?RADIANCE\n\n-Y 4 -Y 2\n" + bytes(32),
        radiance_file(4, 2)[:60],
        radiance_file(4, 4),
        write_exr({"Z": np.zeros((4, 8), np.float32)}),
        write_exr({name: np.zeros((4, 8), np.float32) for name in "RGB"})[:200],
    ],
)
def test_unreadable_lights_are_one_clear_error(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "light.hdr"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"light\.hdr: ") as caught:
        read_hdr(path)
    assert "\n" not in str(caught.value)
