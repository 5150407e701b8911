"""`Camera`: projection and rays of a lens that stays as it is and of one that zooms."""

import numpy as np
import pytest

from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.errors import ClipError

WIDE, TELE = intrinsics_from_fov(90.0, 48, 64), intrinsics_from_fov(30.0, 48, 64)
ZOOM = np.stack([WIDE, (WIDE + TELE) / 2, TELE])
POSES = np.tile(np.eye(4), (3, 1, 1))
POSES[:, :3, 3] = [[0, 0, 0], [1, 0, 0], [1, 2, 0]]


def test_points_are_projected_with_each_frames_own_lens():
    points = np.array([[0.5, -0.25, -2.0], [-1.0, 1.0, -5.0]])
    pixels, depth = Camera(ZOOM, POSES).project(points)
    for frame in range(3):
        alone, near = Camera(ZOOM[frame], POSES[frame : frame + 1]).project(points)
        assert np.array_equal(pixels[frame], alone[0])
        assert np.array_equal(depth[frame], near[0])
    focal = 32 / np.tan(np.radians(15))
    assert np.allclose(pixels[2, 0], [32 + focal * (0.5 - 1) / 2, 24 + focal * 2.25 / 2])


def test_rays_come_back_to_their_pixels_in_every_frame():
    camera = Camera(ZOOM, POSES)
    rays = camera.rays(48, 64)
    assert rays.shape == (3, 48, 64, 3)
    for frame in range(3):
        assert np.array_equal(rays[frame], Camera(ZOOM[frame], POSES).rays(48, 64))
        points = rays[frame, [5, 40], [60, 3]] * 7 @ POSES[frame, :3, :3].T + POSES[frame, :3, 3]
        assert np.allclose(camera.project(points)[0][frame], [[60.5, 5.5], [3.5, 40.5]])


def test_frames_are_chosen_with_their_lenses():
    zooming, still = Camera(ZOOM, POSES), Camera(WIDE, POSES)
    assert np.array_equal(zooming.at([2, 0]).intrinsics, ZOOM[[2, 0]])
    assert np.array_equal(zooming.at([2, 0]).camera_to_world, POSES[[2, 0]])
    assert zooming.at(slice(1)).zooms
    assert np.array_equal(still.at(slice(1)).intrinsics, WIDE)
    assert np.array_equal(still.frame_intrinsics, np.stack([WIDE] * 3))
    assert not still.zooms


def test_a_lens_is_one_matrix_or_one_a_frame():
    arrays = {"rgb": np.zeros((3, 4, 4, 3), np.float32)}
    for lens in (WIDE, ZOOM):
        Clip("k", arrays, Camera(lens, POSES))
    with pytest.raises(ClipError, match=r"expected \(3, 3\) or \(3, 3, 3\)"):
        Clip("k", arrays, Camera(ZOOM[:2], POSES))
