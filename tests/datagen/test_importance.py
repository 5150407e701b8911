import numpy as np

from datagen.blender.world import importance_width


def dim(height: int = 128) -> np.ndarray:
    rows = np.linspace(1.0, 0.5, height, dtype=np.float32)[:, None, None]
    return np.broadcast_to(rows, (height, 2 * height, 3)).copy()


def test_a_smooth_light_needs_only_the_narrowest_map():
    assert importance_width(dim(), 4096) == 64


def test_a_small_sun_needs_twice_the_image():
    sun = dim()
    sun[40, 100] = 20_000
    assert importance_width(sun, 4096) == 512


def test_a_soft_lamp_of_many_texels_lies_between():
    rows, columns = np.mgrid[:128, :256]
    glow = np.exp(-((rows - 44) ** 2 + (columns - 100) ** 2) / (2 * 2**2))
    assert 64 < importance_width((dim() + 500 * glow[..., None]).astype(np.float32), 4096) < 512


def test_the_limit_holds_and_the_best_within_it_is_taken():
    sun = dim()
    sun[40, 100] = 20_000
    assert importance_width(sun, 200) in (64, 128)
    assert importance_width(sun, 16) == 16


def test_odd_sizes_and_black_surroundings_are_fine():
    image = np.zeros((33, 66, 3), dtype=np.float32)
    image[10, 10] = 1.0
    assert importance_width(image, 4096) == 132
