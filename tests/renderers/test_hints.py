"""Hints: the shading in model space, with the shadows that geometry says, from relative depth alone."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from manifests.codec.codecs import decode_clip
from manifests.store.dataset import open_dataset
from renderers.light.panoramas import panoramas
from renderers.modelspace import planar, relative_depth, to_model
from renderers.shading.hints import CHANNELS, IMAGES, KEY_LIGHTS, LIGHT_FEATURES, harmonics, hints, transport
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays
from renderers.shading.visibility import DepthBuffer, DirectionalLights
from tests.renderers.analytic import UP, Scene, materials, scene, zoom
from tests.renderers.test_visibility import OTHER, SIDE, sky

torch.set_num_threads(1)


def buffers(traced: Scene, **options: float) -> dict[str, torch.Tensor]:
    return {**materials(traced, **options), "depth": relative_depth(traced.depth)[0]}


def picture(image: torch.Tensor, name: str) -> torch.Tensor:
    """A hint image of the first frame, (C, H, W) in [0, 1]."""
    names = [known for known, _ in IMAGES]
    start = sum(count for _, count in IMAGES[: names.index(name)])
    return (image[0, 0, start : start + dict(IMAGES)[name]] + 1) / 2


def test_images_are_in_model_space_and_named():
    traced = scene()
    found = hints(buffers(traced), sky((SIDE, 300.0)), traced.intrinsics)
    assert found.image.shape == (1, 1, CHANNELS, 48, 48)
    assert found.light.shape == (1, 1, LIGHT_FEATURES)
    assert IMAGES[0] == ("shadowed", 3)
    assert found.image.min() >= -1
    assert found.image.max() <= 1
    assert torch.isfinite(found.light).all()
    assert found.light.abs().max() < 3


def test_mixed_precision_of_a_training_step_does_not_reach_the_shading():
    traced = scene()
    light = sky((SIDE, 300.0))
    exact = hints(buffers(traced), light, traced.intrinsics)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = hints(buffers(traced), light, traced.intrinsics)
    torch.testing.assert_close(mixed.image, exact.image)
    torch.testing.assert_close(mixed.light, exact.light)


def test_radiance_is_split_sum_shading_of_the_same_buffers():
    traced = scene()
    values, light = buffers(traced, roughness=0.4), sky((SIDE, 300.0))
    found = hints(values, light, traced.intrinsics, mask=traced.mask).image
    shading = split_sum({**values, "mask": traced.mask}, light, camera_rays(48, 48, traced.intrinsics))
    for name in ("radiance", "diffuse", "specular", "background"):
        expected = (to_model("rgb", getattr(shading, name))[0, 0] + 1) / 2
        assert torch.allclose(picture(found, name), expected, atol=1e-5), name


def test_every_frame_of_a_zoom_is_shaded_through_its_own_lens():
    traced = zoom()
    relative, near, far = relative_depth(traced.depth)
    values = {**materials(traced, roughness=0.4), "depth": relative}
    light, offset = sky((SIDE, 300.0)), near / (far - near)
    together = hints(values, light.expand(-1, 2, -1, -1, -1), traced.intrinsics, mask=traced.mask, offset=offset).image
    for frame in range(2):
        part = slice(frame, frame + 1)
        own = {name: value[:, part] for name, value in values.items()}
        alone = hints(own, light, traced.intrinsics[:, frame], mask=traced.mask[:, part], offset=offset).image
        for name in ("radiance", "diffuse", "specular", "background"):
            assert torch.allclose(picture(together[:, part], name), picture(alone, name), atol=1e-5), name
        assert (picture(together[:, part], "shadowed") - picture(alone, "shadowed")).abs().mean() < 2e-3
    assert not torch.allclose(together[:, 0], together[:, 1], atol=0.1)


def test_the_shadowed_picture_is_dark_in_the_cast_shadow_and_nowhere_else():
    traced = scene()
    found = hints(buffers(traced), sky((SIDE, 600.0)), traced.intrinsics).image
    dark = traced.shadow(SIDE)
    ratio = (picture(found, "shadowed") / picture(found, "radiance").clamp(min=1e-3)).mean(0)
    assert ratio[dark].mean() < 0.75
    assert ratio[traced.ground & ~dark].mean() > 0.93


def test_shadows_turn_with_the_light():
    traced = scene()
    shares = [
        picture(hints(buffers(traced), sky((direction, 600.0)), traced.intrinsics).image, "sky")[0]
        for direction in (SIDE, OTHER)
    ]
    there, here = traced.shadow(OTHER), traced.shadow(SIDE)
    assert shares[0][here & ~there].mean() < shares[1][here & ~there].mean() - 0.3
    assert shares[1][there & ~here].mean() < shares[0][there & ~here].mean() - 0.3


def test_a_plane_without_objects_keeps_its_split_sum_shading():
    traced = scene(ball=False)
    found = hints(buffers(traced), sky((SIDE, 600.0)), traced.intrinsics).image
    assert (picture(found, "shadowed") - picture(found, "radiance")).abs().mean() < 0.01


def test_light_bounces_from_the_ground_onto_the_ball():
    """One light far above, nothing below: what the ball's underside has comes from the ground."""
    traced = scene()
    values = {**buffers(traced), "mask": traced.mask}
    above = normalize(UP + torch.tensor([0.8, 0.0, 0.0]), dim=0)
    view, light = camera_rays(48, 48, traced.intrinsics), sky((above, 400.0))
    lights = DirectionalLights(
        directions=torch.stack([above, -UP])[None, None],
        power=torch.tensor([1.0, 0.0])[None, None, :, None].expand(1, 1, 2, 3),
        solid_angle=torch.full((1, 1, 2), 2 * math.pi),
        spread=torch.zeros(1, 1, 2),
    )
    shading = split_sum(values, light, view)
    white = split_sum(values, torch.ones_like(light), view)
    buffer = DepthBuffer(traced.points[0], traced.normal[0], traced.mask[0], traced.intrinsics)
    lit = transport(shading, white, buffer, values["roughness"], lights)
    up = (traced.normal[0, 0] * UP.view(3, 1, 1)).sum(0)
    gained = (lit.diffuse - shading.diffuse)[0, 0].mean(0)
    ground = shading.diffuse[0, 0, :, traced.ground].mean()
    below = traced.ball & (up < -0.3)
    assert gained[below].mean() > 0.1 * ground
    assert gained[traced.ball & (up > 0.3)].mean() < 0.02 * ground


def test_relative_depth_gives_the_shadows_of_true_depth():
    traced = scene()
    values, light = buffers(traced), sky((SIDE, 600.0))
    _, near, far = relative_depth(traced.depth)
    guessed = hints(values, light, traced.intrinsics)
    known = hints(values, light, traced.intrinsics, mask=traced.mask, offset=near / (far - near))
    difference = picture(guessed.image, "shadowed") - picture(known.image, "shadowed")
    assert difference.abs().mean() < 0.01


def test_noisy_buffers_keep_the_shadow_and_do_not_darken_the_rest():
    traced = scene()
    generator = torch.Generator().manual_seed(0)
    values = buffers(traced)
    values["depth"] = values["depth"] + 0.02 * torch.randn(values["depth"].shape, generator=generator)
    values["depth"] = values["depth"].clamp(0, 1)
    noisy = values["normal"] + 0.15 * torch.randn(values["normal"].shape, generator=generator)
    values["normal"] = noisy / noisy.norm(dim=2, keepdim=True)
    share = picture(hints(values, sky((SIDE, 600.0)), traced.intrinsics).image, "sky")[0]
    dark = traced.shadow(SIDE)
    assert share[traced.ground & ~dark].mean() > 0.85
    assert share[dark].mean() < share[traced.ground & ~dark].mean() - 0.25


def test_a_finer_background_takes_the_place_of_the_panoramas():
    traced = scene()
    finer = torch.rand(1, 1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    found = hints(buffers(traced), sky(), traced.intrinsics, mask=traced.mask, behind=finer).image
    empty = (traced.mask[0, 0, 0] == 0).expand(3, -1, -1)
    assert empty.any()
    expected = (to_model("rgb", finer)[0, 0] + 1) / 2
    assert torch.allclose(picture(found, "shadowed")[empty], expected[empty], atol=1e-5)
    assert torch.allclose(picture(found, "radiance")[empty], expected[empty], atol=1e-5)


def test_the_light_vector_names_the_sun_and_the_harmonics_are_orthonormal():
    found = hints(buffers(scene()), sky((SIDE, 600.0)), scene().intrinsics).light[0, 0]
    directions = found[54 : 54 + 3 * KEY_LIGHTS].reshape(KEY_LIGHTS, 3)
    assert (directions[0] @ SIDE).item() > 0.995
    points = torch.randn(40_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis = harmonics(points / points.norm(dim=1, keepdim=True))
    gram = basis.T @ basis / len(points)
    assert torch.allclose(gram, torch.eye(9, dtype=torch.float64), atol=0.04)


def test_clips_of_a_batch_do_not_mix():
    traced = scene()
    values = buffers(traced)
    light = torch.cat([sky((SIDE, 600.0)), sky((OTHER, 50.0))])
    pair = {name: value.expand(2, *value.shape[1:]) for name, value in values.items()}
    both = hints(pair, light, traced.intrinsics.expand(2, 3, 3)).image
    alone = hints(values, light[1:], traced.intrinsics).image
    assert (both[1:] - alone).abs().mean() < 2e-3


@pytest.mark.slow
def test_shadows_of_rendered_clips_are_nearer_to_the_render_than_split_sum(tmp_path):
    program = "import sys; from lightloom.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "datagen", "run", str(tmp_path / "set"), "--recipe", "tiny"]
    subprocess.run([*command, "--clips", "8", "--seed", "5"], check=True, capture_output=True)
    dataset = open_dataset(tmp_path / "set")
    errors = {"shadowed": [0.0, 0.0], "radiance": [0.0, 0.0]}
    for row in dataset.rows():
        clip = decode_clip(row.key, dataset.files(row))
        assert clip.camera is not None
        assert clip.environment is not None
        light = panoramas(clip.environment.image, clip.environment.rotation, clip.camera.camera_to_world, 32, 64)
        values = {name: planar(clip.arrays[name]) for name in ("basecolor", "normal", "roughness", "metallic")}
        values["depth"] = relative_depth(planar(clip.arrays["depth"]))[0]
        intrinsics = torch.from_numpy(clip.camera.intrinsics).float()[None]
        image = hints(values, light[None] * clip.exposure, intrinsics).image
        truth = to_model("rgb", planar(clip.arrays["rgb"]) * clip.exposure)
        ground = (planar(clip.arrays["instance"].astype(np.float32)) == 1) & (planar(clip.arrays["mask"]) > 0.99)
        shadow = ground & (truth.mean(2, keepdim=True) + 1 < 0.8 * (image[:, :, 3:6].mean(2, keepdim=True) + 1))
        for name, start in (("shadowed", 0), ("radiance", 3)):
            wrong = (image[:, :, start : start + 3] - truth).square().mean(2, keepdim=True)
            for slot, where in enumerate((torch.ones_like(shadow), shadow)):
                errors[name][slot] += wrong[where].sum().item()
    assert errors["shadowed"][0] < 0.85 * errors["radiance"][0]
    assert errors["shadowed"][1] < 0.6 * errors["radiance"][1]
