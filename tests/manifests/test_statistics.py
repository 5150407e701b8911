"""Summaries have the values that the pixels have."""

import numpy as np
import pytest

from manifests.contract.clip import Clip
from manifests.contract.clip_summary import BINS, histogram, summarise
from manifests.contract.color import srgb_encode
from manifests.contract.environment import Environment
from tests.manifests.clips import sphere_clip


def flat(**arrays: object) -> dict[str, float]:
    shaped = {name: np.array(value, dtype=np.float32).reshape(2, 1, 2, -1) for name, value in arrays.items()}
    return summarise(Clip("a", shaped))


def test_roughness_is_weighted_by_coverage() -> None:
    values = flat(roughness=[0.2, 0.6, 0.2, 0.5], mask=[1, 0.5, 1, 0])
    assert values["roughness.mean"] == pytest.approx((0.2 + 0.3 + 0.2) / 2.5)
    assert values["mask.coverage"] == pytest.approx(0.625)
    assert values["roughness.std"] == pytest.approx(np.sqrt((2 * 0.08**2 + 0.5 * 0.32**2) / 2.5))


def test_depth_leaves_the_background_out() -> None:
    values = flat(depth=[1.0, 2.0, 3.0, np.inf])
    assert (values["depth.min"], values["depth.median"]) == (1.0, 2.0)
    assert values["depth.p98"] == pytest.approx(2.96)


def test_clip_without_any_surface_has_no_depth_but_finite_values() -> None:
    values = flat(depth=[np.inf] * 4, roughness=[0.5] * 4, mask=[0.0] * 4)
    assert values == {"mask.coverage": 0.0}


def test_brightness_is_that_of_the_exposed_srgb_picture() -> None:
    rgb = np.full((2, 1, 2, 3), 0.25, dtype=np.float32)
    rgb[1] = 8.0
    values = summarise(Clip("a", {"rgb": rgb}, exposure=2.0))
    dark = float(srgb_encode(np.array(0.5)))
    assert values["rgb.brightness"] == pytest.approx((dark + 1) / 2, abs=1e-6)
    assert values["rgb.contrast"] == pytest.approx((1 - dark) / 2, abs=1e-6)
    assert values["rgb.clipped"] == 0.5 and values["rgb.change"] == pytest.approx(1 - dark, abs=1e-6)


def test_histograms_are_shares_in_the_right_bins() -> None:
    values = flat(roughness=[0.0, 1.0, 0.5, 0.5], depth=[1.0, 1.0, 1.0, 1e9])
    roughness, depth = histogram(values, "roughness"), histogram(values, "depth")
    assert roughness is not None and depth is not None
    assert (roughness[0], roughness[8], roughness[15], len(roughness)) == (0.25, 0.5, 0.25, BINS)
    assert (depth[6], depth[15]) == (0.75, 0.25)
    assert histogram(values, "metallic") is None


def test_environment_is_averaged_over_the_sphere() -> None:
    image = np.zeros((4, 8, 3), dtype=np.float32)
    image[0] = 1.0
    clip = Clip("a", {"mask": np.ones((1, 1, 1, 1), np.float32)}, environment=Environment(image, np.eye(3)[None]))
    rings = np.sin((np.arange(4) + 0.5) / 4 * np.pi)
    values = summarise(clip)
    assert values["environment.mean"] == pytest.approx(rings[0] / rings.sum(), rel=1e-5)
    assert values["environment.max"] == pytest.approx(1.0)


def test_synthetic_clip_has_all_and_only_finite_values() -> None:
    values = summarise(sphere_clip("a"))
    assert np.isfinite(list(values.values())).all()
    assert values["instance.count"] == 1.0
    assert {f"{name}.hist.15" for name in ("rgb", "depth", "roughness", "metallic")} <= values.keys()
