"""Gains of a change of light on an analytic scene: the old light is found again, and what is no surface stays calm."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from editing.full_size import LIFT
from editing.light_change import balance, gains, old_shading, relit, steadied
from manifests.contract.color import luminance, srgb_decode, srgb_encode

SIDE = 48


def ball(frames: int = 1) -> dict[str, np.ndarray]:
    """G-buffers (frames, h, w, C) of a ball before a background, base colour in stripes."""
    y, x = np.mgrid[1 : -1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = x**2 + y**2 < 0.8
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0.05, 1))
    normal = np.stack([x, y, z], axis=-1)
    colour = np.where((x * 8).astype(int)[..., None] % 2 == 0, [0.7, 0.3, 0.2], [0.2, 0.5, 0.6])
    values = {
        "basecolor": colour,
        "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        "depth": np.where(inside, 0.4, 1.0)[..., None],
        "roughness": np.ones((SIDE, SIDE, 1)),
        "metallic": np.zeros((SIDE, SIDE, 1)),
        "mask": inside[..., None],
    }
    return {name: np.repeat(value[None], frames, axis=0).astype(np.float32) for name, value in values.items()}


def lit(maps: dict[str, np.ndarray], direction: tuple[float, float, float]) -> np.ndarray:
    """Linear radiance under light that is an affine function of the normal's direction: two bands of harmonics."""
    cosine = maps["normal"] @ np.array(direction, dtype=np.float32) / np.linalg.norm(direction)
    return (maps["basecolor"] * (0.5 + 0.35 * cosine[..., None]) * maps["mask"]).astype(np.float32)


def test_the_old_light_is_found_again_although_a_shadow_lies_on_the_picture() -> None:
    maps = ball()
    true = lit(maps, (0.6, 0.5, 0.6))
    picture = true.copy()
    picture[:, 30:40, 10:25] *= 0.3
    found = old_shading(np.clip(srgb_encode(picture), 0, 1).astype(np.float32), maps, maps["mask"])
    inside = maps["mask"][..., 0] > 0
    np.testing.assert_allclose(found[inside], true[inside], atol=0.02)


def test_the_ratio_gives_the_truth_and_the_render_takes_a_shadow_away() -> None:
    maps = ball()
    old, new = lit(maps, (0.6, 0.5, 0.6)), lit(maps, (-0.6, 0.2, 0.8))
    inside = maps["mask"][..., 0] > 0
    seen = srgb_encode(old.copy()).astype(np.float32)
    np.testing.assert_allclose(relit(seen, old, new, 0.0)[inside], new[inside], atol=2e-3)
    shadowed = old.copy()
    shadowed[:, 30:40, 10:25] *= 0.3
    seen = srgb_encode(shadowed.copy()).astype(np.float32)
    errors = [float(np.abs(relit(seen, old, new, part) - new)[inside].mean()) for part in (0.0, 0.5, 1.0)]
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]


def test_surfaces_stay_as_bright_as_they_are_and_half_of_a_new_colour_is_taken_back() -> None:
    maps = ball()
    old = lit(maps, (0.6, 0.5, 0.6))
    seen = srgb_encode(old.copy()).astype(np.float32)
    np.testing.assert_allclose(balance(seen, 5 * old, maps["mask"]), 0.2, rtol=1e-3)
    factors = balance(seen, old * np.float32([4, 1, 1]), maps["mask"])
    assert factors[0] / factors[1] == pytest.approx(0.5, rel=1e-3)
    made = factors * old * np.float32([4, 1, 1])
    assert luminance(made).mean() == pytest.approx(luminance(old).mean(), rel=1e-3)
    assert (balance(np.zeros_like(seen), old, maps["mask"]) == 1.0).all()


def test_a_saturated_surface_gets_no_fog() -> None:
    red = np.broadcast_to(np.float32([0.5, 0.01, 0.004]), (1, 4, 4, 3))
    made = relit(srgb_encode(red.copy()).astype(np.float32), red, 3 * red, 0.0)
    np.testing.assert_allclose(made, 3 * red, rtol=0.1)


def test_gains_of_surfaces_do_not_bleed_into_what_is_none_nor_the_other_way() -> None:
    maps = ball()
    seen = np.full((1, SIDE, SIDE, 3), 0.5, dtype=np.float32)
    made = np.where(maps["mask"] > 0, 0.1, 4.0) * np.ones(3, dtype=np.float32)
    inside = float((srgb_encode(np.array([0.1]))[0] + LIFT) / (0.5 + LIFT))
    for graded in (True, False):
        found = gains(seen, made.astype(np.float32), maps["mask"], graded=graded)
        np.testing.assert_allclose(found, inside, rtol=0.02)


def test_light_beyond_white_rolls_off_and_white_stays_white() -> None:
    maps = ball()
    white = np.ones((1, SIDE, SIDE, 3), dtype=np.float32)
    same = gains(white, srgb_decode(white), maps["mask"], graded=True)
    np.testing.assert_allclose(same, 1.0, atol=1e-4)
    grey = np.full_like(white, 0.5)
    steps = [gains(grey, np.full_like(grey, level), maps["mask"], graded=True).max() for level in (0.8, 1.5, 5.0)]
    assert steps[0] < steps[1] < steps[2] <= (1 + LIFT) / (0.5 + LIFT)
    orange = np.broadcast_to(np.float32([4.0, 2.0, 1.0]), grey.shape)
    linear = srgb_decode(gains(grey, orange, maps["mask"], graded=True) * (grey + LIFT) - LIFT)
    np.testing.assert_allclose(linear[0, SIDE // 2, SIDE // 2, :2] / linear[0, SIDE // 2, SIDE // 2, 1:], 2, rtol=0.02)


def test_steadied_maps_flicker_less_and_follow_what_moves() -> None:
    rng = np.random.default_rng(0)
    texture = rng.random((80, 120, 3)).astype(np.float32)
    texture = cv2.blur(texture, (3, 3))
    seen = np.stack([texture[8:72, 8 + t : 104 + t] for t in range(6)])
    true = np.stack([np.repeat(texture[8:72, 8 + t : 104 + t, :1], 3, axis=-1) for t in range(6)])
    noisy = true + 0.1 * rng.standard_normal(true.shape).astype(np.float32)
    normal = np.broadcast_to(np.float32([0, 0, 1]), true.shape)
    made = steadied({"basecolor": noisy, "normal": normal}, seen)["basecolor"]
    inner = np.s_[:, 8:-8, 8:-8]
    before, after = (float(np.square(part - true)[inner].mean()) for part in (noisy, made))
    assert after < 0.55 * before
