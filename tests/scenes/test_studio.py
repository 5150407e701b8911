import numpy as np
import pytest

from manifests.errors import InputError
from scenes.studio_light import black_body, studio_image


def irradiance(image: np.ndarray) -> np.ndarray:
    edges = np.cos(np.arange(len(image) + 1) / len(image) * np.pi)
    weights = (edges[:-1] - edges[1:]) * np.pi / len(image)
    return (image * weights[:, None, None]).sum(axis=(0, 1))


def test_a_seed_gives_the_same_bytes_and_another_seed_another_studio():
    one = studio_image({"seed": 11}, 32)
    assert one.shape == (32, 64, 3)
    assert one.dtype == np.float32
    assert one.tobytes() == studio_image({"seed": 11}, 32).tobytes()
    assert not np.array_equal(one, studio_image({"seed": 12}, 32))


def test_studios_are_lit_finite_and_of_high_dynamic_range():
    images = [studio_image({"seed": seed}, 64) for seed in range(40)]
    peaks = np.array([image.max() for image in images])
    assert all(np.isfinite(image).all() and (image >= 0).all() and image.max() <= 65504 for image in images)
    assert peaks.min() > 1
    assert (peaks > 500).mean() > 0.3
    assert 0.02 < np.median([image.mean() for image in images]) < 2


def test_resolution_changes_neither_the_light_nor_its_direction():
    for seed in range(12):
        fine, coarse = studio_image({"seed": seed}, 256), studio_image({"seed": seed}, 64)
        np.testing.assert_allclose(irradiance(coarse), irradiance(fine), rtol=0.06)
        pooled = fine.reshape(64, 4, 128, 4, 3).mean(axis=(1, 3))
        assert np.corrcoef(np.log1p(pooled).ravel(), np.log1p(coarse).ravel())[0, 1] > 0.98


def test_black_body_goes_from_red_over_white_to_blue():
    warm, white, cold = black_body(2200), black_body(6504), black_body(15000)
    assert warm[0] > 2 * warm[1] > 4 * warm[2]
    np.testing.assert_allclose(white, 1, atol=0.06)
    assert cold[2] > 1.3 * cold[0]
    for colour in (warm, white, cold):
        assert colour @ [0.2126, 0.7152, 0.0722] == pytest.approx(1, abs=0.03)


def test_wrong_parameters_are_named():
    with pytest.raises(InputError, match="seed >= 0"):
        studio_image({"seed": -1}, 16)
    with pytest.raises(InputError, match="lamps"):
        studio_image({"seed": 1, "lamps": 3}, 16)
