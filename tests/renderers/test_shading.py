"""Split-sum shading: against Cycles, against brute-force integrals, energy, gradients, batches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.errors import InputError
from renderers.light.panoramas import panorama_directions, panoramas, solid_angles, stored_to_panorama
from renderers.modelspace import planar, srgb_encode
from renderers.shading.brdf import response, smith
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays
from tests.renderers import cycles_reference
from tests.renderers.panorama_lookup import sample_panorama

RAYS = camera_rays(8, 8, fov_degrees=45)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def gbuffers(batch: int = 1, frames: int = 1, seed: int = 0, **constants: float) -> dict[str, Tensor]:
    """Random G-buffers (B, T, C, 8, 8) whose normals face the viewer; `constants` fill the attributes they name."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, frames, 1, 8, 8)
    made = {name: torch.rand(shape, generator=generator) for name in ("roughness", "metallic")}
    made["basecolor"] = torch.rand(batch, frames, 3, 8, 8, generator=generator)
    lean = torch.randn(batch, frames, 3, 8, 8, generator=generator) * 0.6 + torch.tensor([0.0, 0.0, 1.5]).view(3, 1, 1)
    lean[:, :, 2] = lean[:, :, 2].clamp_min(0.8)
    made["normal"] = torch.nn.functional.normalize(lean, dim=2)
    made["mask"] = torch.ones(shape)
    return made | {name: torch.full_like(made[name], value) for name, value in constants.items()}


def hdr(batch: int = 1, frames: int = 1, height: int = 32, seed: int = 0) -> Tensor:
    """Random panoramas (B, T, 3, h, 2 h), some pixels a hundred times brighter than the rest."""
    generator = torch.Generator().manual_seed(seed)
    return 0.1 + 100 * torch.rand(batch, frames, 3, height, 2 * height, generator=generator) ** 40


# --- against Cycles -------------------------------------------------------------------------------------------


def compare(reference: cycles_reference.Reference, height: int = 32) -> tuple[float, float]:
    """PSNR in dB of sRGB after the clip's exposure: on the ball's pixels, and on all."""
    given = {name: planar(array) for name, array in reference.arrays.items()}
    rays = camera_rays(*given["rgb"].shape[-2:], torch.from_numpy(reference.intrinsics))
    light = panoramas(reference.image, reference.rotation, reference.camera_to_world, height, 2 * height)
    shaded = split_sum(given, light[None], rays).radiance
    display = [srgb_encode(reference.exposure * image).clamp(0, 1) for image in (shaded, given["rgb"])]
    error = (display[0] - display[1]) ** 2
    ball = (given["mask"] > 0.5).expand_as(error)
    return -10 * math.log10(error[ball].mean()), -10 * math.log10(error.mean())


def assert_close_to_cycles(bars: dict[str, float], folder: Path) -> None:
    """Print the table of dB, then hold every ball against its bar, and the background with it."""
    references = cycles_reference.render(list(bars), folder)
    found = {name: compare(reference) for name, reference in references.items()}
    for name, (ball, everything) in found.items():
        print(f"{name}: ball {ball:.1f} dB, all {everything:.1f} dB")
    for name, bar in bars.items():
        assert min(found[name]) > bar, name


def test_balls_look_as_cycles_renders_them(tmp_path: Path) -> None:
    assert_close_to_cycles({"dielectric 0.2": 42, "dielectric 0.6": 40, "metal 0.2": 37, "metal 0.5": 33}, tmp_path)


@pytest.mark.slow
def test_every_roughness_looks_as_cycles_renders_it(tmp_path: Path) -> None:
    roughness = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    bars = {f"{kind} {value}": bar for kind, bar in (("dielectric", 40), ("metal", 33)) for value in roughness}
    assert_close_to_cycles(bars, tmp_path)


# --- against integrals ----------------------------------------------------------------------------------------


def test_diffuse_light_is_the_cosine_integral() -> None:
    given, light = gbuffers(metallic=0.0, basecolor=1.0, roughness=0.5), hdr()
    directions = panorama_directions(32, 64)
    cosine = torch.einsum("chw,cyx->hwyx", given["normal"][0, 0], directions).clamp_min(0)
    expected = torch.einsum("hwyx,cyx->chw", cosine * solid_angles(32, 64), light[0, 0]) / math.pi
    facing = -(given["normal"] * RAYS).sum(dim=2)[0]
    passed = 1 - response(facing[None], given["roughness"][0]).dielectric[0]
    found = split_sum(given, light, RAYS).diffuse[0, 0]
    assert (found / (passed * expected) - 1).abs().max() < 0.03


@pytest.mark.parametrize("roughness", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("tilt", [0.0, 50.0])
def test_metal_reflects_the_integral_of_its_brdf(roughness: float, tilt: float) -> None:
    """Smooth light, brute force over the sphere with Cycles' own BRDF, energy compensation included."""
    normal = torch.tensor([math.sin(math.radians(tilt)), 0.0, math.cos(math.radians(tilt))])
    given = gbuffers(roughness=roughness, metallic=1.0, basecolor=0.6)
    given["normal"] = normal.view(3, 1, 1).expand(1, 1, 3, 8, 8)
    rays = torch.tensor([0.0, 0.0, -1.0]).view(3, 1, 1).expand(3, 8, 8)
    directions = panorama_directions(128, 256)
    sun = torch.tensor([[0.3, 0.2, 0.93], [-0.8, 0.1, 0.6], [0.9, -0.3, 0.2]])
    light = 0.2 + torch.exp(
        6 * (torch.einsum("ci,ihw->chw", torch.nn.functional.normalize(sun, dim=1), directions) - 1)
    )
    shaded = split_sum(given, light[None, None], rays).radiance[0, 0, :, 0, 0]

    view, alpha = np.array([0.0, 0.0, 1.0]), roughness**2
    n, d = normal.double().numpy(), directions.double().numpy()
    half = d + view[:, None, None]
    half /= np.maximum(np.linalg.norm(half, axis=0), 1e-9)
    nl, nh, nv = np.tensordot(n, d, 1), np.tensordot(n, half, 1), float(n @ view)
    ggx = alpha**2 / math.pi / (nh**2 * (alpha**2 - 1) + 1) ** 2
    lobe = np.where(nl > 0, ggx / (1 + smith(np.array(nv), alpha) + smith(nl, alpha)) / (4 * nv), 0.0)
    lobe *= solid_angles(128, 256).numpy()
    schlick = 0.6 + 0.4 * (1 - np.tensordot(view, half, 1)) ** 5
    surface = response(torch.full((1, 1, 1, 1), nv), torch.full((1, 1, 1, 1), roughness))
    again = 0.6 + 0.4 / 21
    again = again * surface.average / (1 - again * (1 - surface.average))
    gain = 1 + (again * (1 - lobe.sum()) / lobe.sum()).item()
    expected = gain * (lobe * schlick * light.double().numpy()).sum(axis=(1, 2))
    np.testing.assert_allclose(shaded.numpy(), expected, rtol=0.05)


def test_a_mirror_shows_the_panorama_at_the_mirror_direction() -> None:
    given, light = gbuffers(roughness=0.0, metallic=1.0, basecolor=1.0), hdr(height=16)
    view = -RAYS
    mirror = 2 * (given["normal"][0, 0] * view).sum(dim=0) * given["normal"][0, 0] - view
    expected = sample_panorama(light[0], mirror.permute(1, 2, 0)[None])[0].permute(2, 0, 1)
    torch.testing.assert_close(split_sum(given, light, RAYS).radiance[0, 0], expected, rtol=2e-3, atol=2e-3)


def test_fine_panoramas_are_mirrored_and_seen_as_they_are() -> None:
    """Stripes of one pixel of a 128x256 panorama would be gray at the filters' 64x128."""
    stripes = torch.zeros(1, 1, 3, 128, 256)
    stripes[..., ::2] = 1.0
    given = gbuffers(roughness=0.0, metallic=1.0, basecolor=1.0)
    given["mask"][..., 4:] = 0.0
    shown = split_sum(given, stripes, RAYS)
    seen = sample_panorama(stripes[0], RAYS.permute(1, 2, 0)[None])[0].permute(2, 0, 1)
    torch.testing.assert_close(shown.radiance[0, 0, :, :, 4:], seen[..., 4:])
    assert shown.radiance[..., :4].std() > 0.2
    rough = split_sum(gbuffers(roughness=0.5, metallic=1.0, basecolor=1.0), stripes, RAYS).radiance
    torch.testing.assert_close(rough, torch.full_like(rough, 0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("height", [32, 64])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_white_surfaces_in_white_light_neither_lose_nor_make_energy(metallic: float, height: int) -> None:
    for roughness in np.linspace(0, 1, 9):
        given = gbuffers(roughness=float(roughness), metallic=metallic, basecolor=1.0)
        shown = split_sum(given, torch.ones(1, 1, 3, height, 2 * height), RAYS).radiance
        assert (shown - 1).abs().max() < 0.01, roughness


def test_directional_albedo_matches_an_integral_over_the_hemisphere() -> None:
    """The table's energy against plain quadrature: single scattering is `scale + bias` for base colour 1."""
    theta, phi = np.meshgrid((np.arange(800) + 0.5) / 800 * math.pi / 2, (np.arange(400) + 0.5) / 400 * 2 * math.pi)
    light = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    area = np.sin(theta) * (math.pi / 2 / 800) * (2 * math.pi / 400)
    for roughness, nv in ((0.4, 0.9), (0.7, 0.5), (1.0, 0.2)):
        alpha, view = roughness**2, np.array([math.sqrt(1 - nv**2), 0.0, nv])
        half = light + view[:, None, None]
        half /= np.linalg.norm(half, axis=0)
        ggx = alpha**2 / math.pi / (half[2] ** 2 * (alpha**2 - 1) + 1) ** 2
        lobe = ggx / (1 + smith(np.array(nv), alpha) + smith(light[2], alpha)) / (4 * nv) * area
        surface = response(torch.full((1, 1, 1, 1), nv), torch.full((1, 1, 1, 1), roughness))
        assert abs((surface.scale + surface.bias).item() - lobe.sum()) < 0.01
        bias = (lobe * (1 - np.tensordot(view, half, 1)) ** 5).sum()
        assert abs(surface.bias.item() - bias) < 0.01


# --- pixels, gradients, batches -------------------------------------------------------------------------------


def test_background_shows_the_panorama_along_the_viewing_ray() -> None:
    given, light = gbuffers(), hdr()
    del given["mask"]
    given["depth"] = torch.full((1, 1, 1, 8, 8), 2.0)
    given["depth"][..., :4] = math.inf
    shown = split_sum(given, light, RAYS)
    expected = sample_panorama(light[0], RAYS.permute(1, 2, 0)[None])[0].permute(2, 0, 1)
    torch.testing.assert_close(shown.radiance[0, 0, :, :, :4], expected[..., :4])
    assert shown.diffuse[..., :4].abs().max() == 0 and shown.specular[..., :4].abs().max() == 0
    assert shown.background[..., 4:].abs().max() == 0


def test_a_half_covered_pixel_mixes_surface_and_background() -> None:
    light = hdr()
    full, none, half = (split_sum(gbuffers(mask=share), light, RAYS).radiance for share in (1.0, 0.0, 0.5))
    torch.testing.assert_close(half, 0.5 * (full + none))


@pytest.mark.parametrize("name", ["basecolor", "roughness", "metallic", "normal", "panorama"])
def test_gradients_are_those_of_the_function(name: str) -> None:
    """Along a random direction, autograd against a central difference."""
    generator = torch.Generator().manual_seed(3)
    base = {key: value.double() for key, value in gbuffers(seed=1).items()}
    base["roughness"] = 0.15 + 0.7 * base["roughness"]
    base["panorama"] = torch.nn.functional.avg_pool2d(hdr(height=32)[0], 5, 1, 2)[None].double()
    change = torch.randn(base[name].shape, generator=generator, dtype=torch.float64)

    def shade(step: float | Tensor) -> Tensor:
        given = base | {name: base[name] + step * change}
        return split_sum(given, given.pop("panorama"), RAYS.double()).radiance.log().sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(shade(step), step)
    difference = (shade(1e-5) - shade(-1e-5)) / 2e-5
    assert abs(slope.item() - difference.item()) < 0.02 * abs(difference.item()) + 0.05


def test_gradients_stay_finite_where_directions_degenerate() -> None:
    given = gbuffers(roughness=0.0)
    given["normal"] = -RAYS.expand(1, 1, 3, 8, 8).clone()  # n = v = r
    given["normal"][..., :4] = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)  # the panorama's pole
    given["normal"][..., 0, :] = torch.tensor([0.0, 0.0, -1.0]).view(3, 1)  # turned away
    inputs = [given[key].requires_grad_() for key in ("normal", "roughness", "metallic", "basecolor")]
    light = hdr().requires_grad_()
    split_sum(given, light, RAYS).radiance.sum().backward()
    for tensor in (*inputs, light):
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()


def test_a_batch_is_its_clips_one_by_one() -> None:
    given, light = gbuffers(2, 3), hdr(2, 3)
    cameras = torch.stack([torch.from_numpy(intrinsics_from_fov(fov, 8, 8)) for fov in (30.0, 60.0)])
    rays = camera_rays(8, 8, cameras)
    together = split_sum(given, light, rays).radiance
    for clip in range(2):
        alone = {name: value[clip : clip + 1] for name, value in given.items()}
        torch.testing.assert_close(split_sum(alone, light[clip : clip + 1], rays[clip]).radiance[0], together[clip])


def test_constants_cached_in_inference_mode_serve_training_too() -> None:
    given, light = gbuffers(), hdr(height=12)  # a size of its own, so that its constants are not there yet
    with torch.inference_mode():
        split_sum(given, light, RAYS)
    light.requires_grad_()
    split_sum(given, light, RAYS).radiance.sum().backward()
    assert light.grad is not None and light.grad.abs().sum() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same() -> None:
    given, image, turns = gbuffers(1, 2), torch.rand(128, 256, 3), torch.eye(3).expand(2, 3, 3)
    shaded = {}
    for device in ("cpu", "cuda"):
        there = {name: value.to(device) for name, value in given.items()}
        light = stored_to_panorama(image.to(device), turns, 32, 64)
        shaded[device] = split_sum(there, light[None], RAYS.to(device)).radiance
    assert shaded["cuda"].is_cuda
    torch.testing.assert_close(shaded["cuda"].cpu(), shaded["cpu"], atol=1e-4, rtol=1e-4)


def test_camera_rays_are_the_clip_camera_s() -> None:
    camera = Camera(intrinsics_from_fov(50.0, 6, 10), np.eye(4)[None])
    expected = camera.rays(6, 10) / np.linalg.norm(camera.rays(6, 10), axis=-1, keepdims=True)
    for rays in (camera_rays(6, 10, fov_degrees=50.0), camera_rays(6, 10, torch.from_numpy(camera.intrinsics))):
        np.testing.assert_allclose(rays.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_missing_or_misshapen_input_is_one_clear_error() -> None:
    given = gbuffers()
    with pytest.raises(InputError, match="roughness"):
        split_sum({name: value for name, value in given.items() if name != "roughness"}, hdr(), RAYS)
    with pytest.raises(InputError, match="mask or depth"):
        split_sum({name: value for name, value in given.items() if name != "mask"}, hdr(), RAYS)
    with pytest.raises(InputError, match=r"\(B, T, 3, h, w\)"):
        split_sum(given, hdr(frames=2), RAYS)
    with pytest.raises(InputError, match="fov_degrees"):
        camera_rays(8, 8)
