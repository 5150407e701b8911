"""Maps laid over large frames: exact where sizes agree, edges from the picture, background behind."""

from __future__ import annotations

import numpy as np

from editing.full_size import LIFT, Background, lay


def split_frame() -> tuple[np.ndarray, np.ndarray]:
    """A large frame (192, 256, 3) uint8 with a slanted edge and texture, and which side of it pixels are on."""
    y, x = np.mgrid[:192, :256]
    left = x + 0.5 * y < 170
    noise = np.random.default_rng(0).integers(-6, 7, (192, 256))
    return np.repeat((np.where(left, 70, 180) + noise).astype(np.uint8)[..., None], 3, axis=-1), left


def test_a_gain_of_one_is_the_frame_and_an_equal_size_is_exact() -> None:
    frame, _ = split_frame()
    np.testing.assert_array_equal(lay(frame, np.ones((24, 32, 3), dtype=np.float32)), frame)
    gain = np.random.default_rng(1).uniform(0.5, 1.2, (192, 256, 3)).astype(np.float32)
    expected = np.clip(gain * (frame + 255 * LIFT) - 255 * LIFT, 0, 255)
    assert np.abs(lay(frame, gain) - expected).max() <= 0.51


def test_edges_of_a_small_gain_are_the_pictures_and_texture_is_kept() -> None:
    frame, left = split_frame()
    small = np.where(left[4::8, 4::8], 1.6, 0.7).astype(np.float32)[..., None].repeat(3, axis=-1)
    made = lay(frame, small).astype(np.float32)
    wanted = np.where(left[..., None], 1.6, 0.7) * (frame + 255 * LIFT) - 255 * LIFT
    error = np.abs(made - wanted)
    assert float(np.percentile(error, 99)) < 12  # a bilinear gain is off by 40 and more along the edge
    assert float(error.mean()) < 3


def test_a_highlight_gets_no_gain_that_nothing_around_it_has() -> None:
    small = np.full((64, 64), 60, dtype=np.uint8)
    small[:, 32:] = 120
    small[32, 34] = 250  # of the whole picture, the line is found from the two halves
    frame = np.repeat(np.kron(small, np.ones((4, 4), dtype=np.uint8))[..., None], 3, axis=-1)
    gain = np.where(small[..., None] > 100, np.float32([0.6, 1.0, 1.4]), np.float32([1.2, 1.0, 0.7]))
    made = (lay(frame, gain.astype(np.float32)).astype(np.float32) + 255 * LIFT) / (frame + 255 * LIFT)
    assert made[..., 0].min() > 0.58 and made[..., 2].max() < 1.42


def test_a_background_stands_behind_what_is_covered() -> None:
    frame, left = split_frame()
    coverage = left[4::8, 4::8, None].astype(np.float32)
    behind = np.full_like(frame, 30)
    made = lay(frame, np.ones((24, 32, 3), dtype=np.float32), Background(behind, coverage)).astype(int)
    y, x = np.mgrid[:192, :256]
    far = np.abs(x + 0.5 * y - 170) > 30
    assert np.abs(made - frame.astype(int))[left & far].max() <= 2
    assert np.abs(made - 30)[~left & far].max() <= 8


def test_frames_of_any_size_are_taken() -> None:
    for height, width in ((1, 1), (49, 3), (97, 130)):
        frame = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
        small = np.ones((max(1, height // 4), max(1, width // 4), 3), dtype=np.float32)
        np.testing.assert_array_equal(lay(frame, small), frame)
        turned = np.moveaxis(np.ascontiguousarray(np.moveaxis(frame, -1, 0)), 0, -1)  # the same in another order
        np.testing.assert_array_equal(lay(turned, small), frame)
