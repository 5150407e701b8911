"""Changing materials: only the selection changes, exactly; a perfect renderer's edit is shown as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from editing.material_edits import MaterialChange, composite, rematerial, softened
from manifests.contract.color import srgb_encode
from manifests.errors import InputError
from renderers.light.panoramas import panorama_directions
from renderers.modelspace import channels_last
from renderers.shading.split_sum import split_sum
from renderers.shading.view_geometry import camera_rays
from tests.renderers.analytic import materials, scene

torch.set_num_threads(1)
SIZE = 48
RED = np.array([0.6, 0.05, 0.02], dtype=np.float32)


def clip() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """G-buffers of the ball on its plane, and the ball's pixels (1, H, W, 1)."""
    traced = scene(SIZE)
    values = {**materials(traced), "mask": traced.mask}
    arrays = {name: channels_last(value) for name, value in values.items()}
    return arrays, traced.ball.numpy()[None, ..., None].astype(np.float32)


def shown(values: dict[str, np.ndarray]) -> np.ndarray:
    light = (0.7 + 0.5 * panorama_directions(16, 32)[1]).clamp_min(0).expand(1, 1, 3, 16, 32)
    planes = {name: torch.from_numpy(value).permute(0, 3, 1, 2)[None] for name, value in values.items()}
    shaded = split_sum(planes, light, camera_rays(SIZE, SIZE, fov_degrees=45.0)).radiance
    return np.clip(srgb_encode(channels_last(shaded)), 0, 1).astype(np.float32)


@pytest.mark.parametrize("material", [MaterialChange(basecolor=RED), MaterialChange(roughness=0.1, metallic=1.0)])
def test_with_true_gbuffers_only_the_selection_changes_and_it_is_the_true_edit(material: MaterialChange) -> None:
    values, ball = clip()
    before, after = shown(values), shown(rematerial(values, ball, material))
    edited = composite(before, before, after, ball, material)
    outside = ball[..., 0] == 0
    np.testing.assert_array_equal(edited[outside], before[outside])
    np.testing.assert_array_equal(after[outside], before[outside])  # the split sum has no light between surfaces
    np.testing.assert_allclose(edited, after, atol=2e-3)
    assert np.abs(edited - before)[~outside].mean() > 0.05


def test_colour_keeps_the_inputs_detail_where_the_renderer_has_none() -> None:
    values, ball = clip()
    before = shown(values)
    stripes = np.where(np.arange(SIZE) % 4 < 2, 1.0, 0.8)[None, None, :, None]
    material = MaterialChange(basecolor=RED)
    edited = composite(
        (before * stripes).astype(np.float32), before, shown(rematerial(values, ball, material)), ball, material
    )
    row = edited[0, SIZE // 2, SIZE // 2 - 4 : SIZE // 2 + 4, 0]
    assert row[np.arange(8) % 4 < 2].mean() > 1.1 * row[np.arange(8) % 4 >= 2].mean()


@pytest.mark.parametrize("material", [MaterialChange(basecolor=RED), MaterialChange(roughness=0.1, metallic=1.0)])
def test_strength_goes_from_the_input_to_the_whole_edit(material: MaterialChange) -> None:
    values, ball = clip()
    before, after = shown(values), shown(rematerial(values, ball, material))
    made = [composite(before, before, after, ball, material, strength) for strength in (0.0, 0.25, 0.75, 1.0)]
    np.testing.assert_allclose(made[0], before, atol=1e-5)
    np.testing.assert_array_equal(made[-1], composite(before, before, after, ball, material))
    far = [np.abs(picture - after).mean() for picture in made]
    assert far == sorted(far, reverse=True) and far[1] > 1.5 * far[2]


def test_values_are_set_and_everything_else_is_kept() -> None:
    values, ball = clip()
    edited = rematerial(values, ball, MaterialChange(roughness=0.25))
    np.testing.assert_array_equal(edited["roughness"][ball > 0], np.float32(0.25))
    np.testing.assert_array_equal(edited["roughness"][ball == 0], values["roughness"][ball == 0])
    assert edited["basecolor"] is values["basecolor"]


def test_a_texture_moves_with_its_selection() -> None:
    texture = np.random.default_rng(0).random((6, 6, 3)).astype(np.float32)
    mask = np.zeros((2, 40, 40, 1), dtype=np.float32)
    mask[0, 5:21, 4:20], mask[1, 12:28, 15:31] = 1, 1
    laid = rematerial(
        {"basecolor": np.zeros((2, 40, 40, 3), dtype=np.float32)}, mask, MaterialChange(basecolor=texture)
    )
    colour = laid["basecolor"]
    np.testing.assert_allclose(colour[0, 5:21, 4:20], colour[1, 12:28, 15:31], atol=2e-3)
    assert colour[0, 5:21, 4:20].std() > 0.1
    assert not colour[mask[..., 0] == 0].any()


def test_softening_reaches_one_pixel_and_keeps_the_inside() -> None:
    mask = np.zeros((1, 12, 12, 1), dtype=np.float32)
    mask[0, 4:8, 4:8] = 1
    soft = softened(mask)
    assert soft[0, 5, 5, 0] == pytest.approx(1)
    assert 0 < soft[0, 3, 5, 0] < 0.5
    assert not soft[0, :3].any()


@pytest.mark.parametrize(
    "values",
    [{"roughness": 1.5}, {"metallic": -0.1}, {"basecolor": np.array([0.1, 2.0, 0.1])}, {"basecolor": np.zeros((4, 3))}],
)
def test_impossible_materials_are_refused(values: dict) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        MaterialChange(**values)
