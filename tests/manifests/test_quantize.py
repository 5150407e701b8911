"""Schemes: exact where they promise it, within their step elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.codec.clip_json import Stored
from manifests.codec.quantize import DEPTH_STEP, Restorer, depth_range, quantize
from manifests.contract.color import srgb_encode


def round_trip(values: np.ndarray, stored: Stored, factor: float = 1.0) -> np.ndarray:
    planes = quantize(values, stored, factor)
    out = np.empty((1, values.shape[2], *values.shape[:2]), values.dtype)
    Restorer(stored, factor).restore([plane[None] for plane in planes], out)
    return out[0].transpose(1, 2, 0)


def test_colours_come_back_within_ten_bits_at_any_exposure() -> None:
    steps = np.linspace(0, 1, 13, dtype=np.float32)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(13, 169, 3)
    for factor in (1.0, 0.25, 40.0):
        back = round_trip(cube / np.float32(factor), Stored(scheme="srgb"), factor)
        assert np.abs(srgb_encode(back * factor) - srgb_encode(cube)).max() < 2.5 / 1023


def test_radiance_above_one_saturates_and_black_stays_black() -> None:
    image = np.array([[[0.0, 0.0, 0.0], [5.0, 900.0, 65504.0]]], np.float32)
    np.testing.assert_array_equal(round_trip(image, Stored(scheme="srgb")), [[[0, 0, 0], [1, 1, 1]]])


def test_coverage_keeps_zero_and_one_exactly_and_nothing_else_becomes_them() -> None:
    values = np.array([0.0, 1e-6, 0.25, 0.5, 0.9999, 1.0], np.float32).reshape(1, 6, 1)
    back = round_trip(values, Stored(scheme="coverage"))[0, :, 0]
    assert back[0] == 0 and back[5] == 1
    assert np.all((back[1:5] > 0) & (back[1:5] < 1))
    assert np.abs(back - values[0, :, 0]).max() <= 1 / 255


def test_directions_come_back_unit_long_and_close_over_the_whole_sphere() -> None:
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(64, 64, 3))
    normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)
    normal[0, :3] = [[0, 0, 1], [0, 0, -1], [1, 0, 0]]
    back = round_trip(normal, Stored(scheme="azimuthal"))
    np.testing.assert_allclose(np.linalg.norm(back, axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(back[0, 0], [0, 0, 1])
    np.testing.assert_allclose(back[0, 1], [0, 0, -1], atol=1e-6)
    angle = np.degrees(np.arccos(np.clip((back * normal).sum(-1), -1, 1)))
    assert angle[normal[..., 2] > -0.5].max() < 0.35


@pytest.mark.parametrize("far", [2.5, 40.0, 1e4, 1e6])
def test_depth_keeps_infinity_and_its_relative_step(far: float) -> None:
    depth = np.geomspace(2.0, far, 5000).astype(np.float32).reshape(50, 100, 1)
    depth[0, :7] = np.inf
    low, high, levels = depth_range(depth)
    back = round_trip(depth, Stored(scheme="log-depth", low=low, high=high, levels=levels))
    np.testing.assert_array_equal(np.isinf(back), np.isinf(depth))
    finite = np.isfinite(depth)
    assert (np.abs(back[finite] - depth[finite]) / depth[finite]).max() < 0.51 * DEPTH_STEP


def test_depth_that_is_constant_or_nowhere_finite_survives() -> None:
    for depth in (np.full((2, 2, 1), 3.0, np.float32), np.full((2, 2, 1), np.inf, np.float32)):
        low, high, levels = depth_range(depth)
        back = round_trip(depth, Stored(scheme="log-depth", low=low, high=high, levels=levels))
        np.testing.assert_allclose(back, depth, rtol=1e-6)
