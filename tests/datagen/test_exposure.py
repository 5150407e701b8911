from __future__ import annotations

import numpy as np
import pytest

from datagen.clip_checks import clip_exposure, image_flags
from manifests.contract.color import TARGET, luminance


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.float32)[..., None], 3, axis=-1)


def test_the_95th_percentile_of_the_surfaces_goes_to_the_target() -> None:
    rgb = grey(np.random.default_rng(0).gamma(1.0, 3.0, (2, 32, 32)))
    mask = np.zeros((2, 32, 32, 1), dtype=np.float32)
    mask[:, 8:24] = 1.0
    rgb[:, :8] = 1e4  # a sky that must not count
    exposure = clip_exposure(rgb, mask)
    assert np.percentile(luminance(rgb)[:, 8:24] * exposure, 95) == pytest.approx(TARGET, rel=1e-4)
    assert clip_exposure(rgb) < exposure / 100


def test_scaling_the_light_leaves_the_exposed_image_unchanged() -> None:
    rgb = grey(np.random.default_rng(1).random((1, 16, 16)))
    assert 8 * clip_exposure(8 * rgb) == pytest.approx(clip_exposure(rgb), rel=1e-5)


def test_a_black_clip_has_exposure_one() -> None:
    assert clip_exposure(np.zeros((1, 4, 4, 3), dtype=np.float32)) == 1.0


def images(level: float, objects: float, frames: int = 2) -> tuple[np.ndarray, np.ndarray]:
    instance = np.ones((frames, 10, 20, 1), dtype=np.uint16)
    instance.reshape(frames, -1)[:, : int(200 * objects)] = 2
    return grey(np.full((frames, 10, 20), level)), instance


def test_ordinary_clips_have_no_flag() -> None:
    assert image_flags(*images(0.4, 0.2), exposure=1.0) == ()


@pytest.mark.parametrize(
    ("level", "objects", "flag"),
    [(0.001, 0.2, "black-frames"), (1.5, 0.2, "over-exposed"), (0.4, 0.005, "subject-tiny"), (0.4, 0.0, "no-object")],
)
def test_flags(level: float, objects: float, flag: str) -> None:
    assert image_flags(*images(level, objects), exposure=1.0) == (flag,)


def test_an_object_that_leaves_the_image_is_flagged() -> None:
    rgb, instance = images(0.4, 0.3)
    instance[1] = 1
    assert image_flags(rgb, instance, 1.0) == ("subject-lost",)
