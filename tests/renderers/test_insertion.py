"""Standing an object, putting its G-buffers among a clip's, and the picture with it."""

from __future__ import annotations

import numpy as np
import pytest

from editing.insertion import STILL, blend, composite, ground_up, stand
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.errors import InputError

HEIGHT, WIDTH = 24, 32
UP = np.array([0.0, 0.0, 1.0])


def camera(pitch: float = 40.0, frames: int = 2) -> Camera:
    """Two units above the ground, looking along +y and down by `pitch` degrees."""
    angle = np.radians(90.0 - pitch)
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    pose[:3, 3] = (0.5, -1.0, 2.0)
    return Camera(intrinsics_from_fov(50.0, HEIGHT, WIDTH), np.repeat(pose[None], frames, axis=0))


def ground_depth(view: Camera) -> np.ndarray:
    """(H, W) planar depth of the plane z = 0."""
    pose = view.camera_to_world[0]
    falling = view.rays(HEIGHT, WIDTH) @ pose[2, :3]
    return np.where(falling < 0, -pose[2, 3] / np.minimum(falling, -1e-9), np.inf)


def layers(depth: float, mask: np.ndarray, roughness: float) -> dict[str, np.ndarray]:
    """One frame (1, 1, W, C) of an even surface at `depth` where `mask` (W,) is at least a half."""
    shape = (1, 1, len(mask))
    covered = mask.reshape(*shape, 1).astype(np.float32)
    return {
        "basecolor": np.full((*shape, 3), roughness, np.float32) * (covered > 0),
        "normal": np.broadcast_to(np.array([0, 0, 1], np.float32), (*shape, 3)).copy(),
        "depth": np.where(covered >= 0.5, np.float32(depth), np.float32(np.inf)),
        "roughness": np.where(covered > 0, np.float32(roughness), np.float32(0.5)),
        "metallic": np.zeros((*shape, 1), np.float32),
        "mask": covered,
        "instance": np.where(covered >= 0.5, 2, 0).astype(np.uint16),
    }


def test_an_object_stands_where_the_ray_of_the_pixel_meets_the_ground():
    view = camera()
    place = stand(view, ground_depth(view), (20, 15), UP, scale=0.4, rotate=90.0)
    pixels, depth = view.project(place.position[None])
    assert np.allclose(pixels[0, 0], (20.5, 15.5), atol=1e-9)
    assert np.isclose(depth[0, 0], ground_depth(view)[15, 20])
    assert abs(place.position[2]) < 1e-9
    assert np.allclose(place.object_to_world[:3, :3], 0.4 * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-9)


def test_without_a_scale_the_object_spans_a_quarter_of_the_smaller_side():
    view = camera()
    place = stand(view, ground_depth(view), (16, 12), UP)
    seen = place.scale * view.intrinsics[0, 0] / ground_depth(view)[12, 16]
    assert np.isclose(seen, HEIGHT / 4)


@pytest.mark.parametrize("up", [(0.3, -0.2, 0.9), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)])
def test_the_objects_axis_takes_any_direction_by_a_proper_rotation(up):
    wanted = np.array(up) / np.linalg.norm(up)
    turn = stand(camera(), ground_depth(camera()), (3, 20), 2 * wanted, scale=1.0, rotate=33.0).object_to_world[:3, :3]
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.isclose(np.linalg.det(turn), 1.0)
    assert np.allclose(turn[:, 2], wanted)


def test_a_depth_that_is_given_replaces_what_is_seen():
    view = camera(pitch=0.0)
    sky = ground_depth(view)
    assert not np.isfinite(sky[2, 4])
    place = stand(view, sky, (4, 2), UP, distance=3.0)
    assert np.isclose(view.project(place.position[None])[1][0, 0], 3.0)
    with pytest.raises(InputError, match="no surface is seen at pixel 4,2"):
        stand(view, sky, (4, 2), UP)
    with pytest.raises(InputError, match="pixel 32,2 is outside of the picture of 32x24"):
        stand(view, sky, (32, 2), UP)
    with pytest.raises(InputError, match="must be positive"):
        stand(view, sky, (4, 2), UP, distance=3.0, scale=0.0)


def test_up_is_the_floors_normal_but_not_a_walls():
    view = camera()
    floor = np.broadcast_to(UP @ view.camera_to_world[0, :3, :3], (HEIGHT, WIDTH, 3))
    assert np.allclose(ground_up(view, floor, (0, 23)), UP)
    wall = np.broadcast_to(np.array([0.0, 0.1, 0.995]), (HEIGHT, WIDTH, 3))
    assert np.allclose(ground_up(view, wall, (5, 5)), view.camera_to_world[0, :3, 1])


def test_soft_edges_average_over_surface_and_hard_ones_follow_the_centre():
    scene = layers(5.0, np.ones(6), 0.8)
    made, coverage = composite(scene, layers(3.0, np.array([0, 0.25, 1, 1, 0.5, 0]), 0.2))
    assert np.allclose(coverage.ravel(), [0, 0.25, 1, 1, 0.5, 0])
    assert np.allclose(made["roughness"].ravel(), [0.8, 0.65, 0.2, 0.2, 0.5, 0.8])
    assert np.allclose(made["depth"].ravel(), [5, 5, 3, 3, 3, 5])
    assert made["instance"].ravel().tolist() == [2, 2, 3, 3, 3, 2]
    assert (made["mask"] == 1).all()
    assert (made["basecolor"][0, 0, [0, 5]] == scene["basecolor"][0, 0, [0, 5]]).all()


def test_before_the_sky_a_soft_edge_keeps_the_objects_own_values():
    made, _ = composite(layers(5.0, np.zeros(4), 0.8), layers(3.0, np.array([0, 0.4, 1, 1]), 0.2))
    assert np.allclose(made["mask"].ravel(), [0, 0.4, 1, 1])
    assert np.allclose(made["roughness"].ravel(), [0.5, 0.2, 0.2, 0.2])
    assert made["instance"].ravel().tolist() == [0, 0, 2, 2]


def test_what_stands_in_front_hides_the_object():
    scene = layers(2.0, np.array([0, 0, 1, 1]), 0.8)
    made, coverage = composite(scene, layers(3.0, np.ones(4), 0.2))
    assert coverage.ravel().tolist() == [1, 1, 0, 0]
    assert (made["depth"].ravel() == [3, 3, 2, 2]).all()
    for name in ("basecolor", "normal", "roughness"):
        assert (made[name][0, 0, 2:] == scene[name][0, 0, 2:]).all()


def test_a_scene_without_mask_and_instance_is_all_surface():
    scene = {name: value for name, value in layers(5.0, np.ones(3), 0.8).items() if name not in ("mask", "instance")}
    made, _ = composite(scene, layers(3.0, np.array([0, 1, 0]), 0.2))
    assert (made["mask"] == 1).all()
    assert made["instance"].ravel().tolist() == [0, 2, 0]


def test_the_picture_keeps_the_video_takes_the_object_and_darkens_the_shadow():
    rng = np.random.default_rng(3)
    video = rng.uniform(0.3, 0.8, (2, 4, 6, 3)).astype(np.float32)
    before = np.full_like(video, 0.5)
    after = before.copy()
    coverage, surface = np.zeros((2, 4, 6, 1), np.float32), np.ones((2, 4, 6, 1), np.float32)
    coverage[:, :, 0] = 1.0
    after[:, :, 0] = (0.9, 0.1, 0.1)
    after[:, :, 1] = 0.25
    after[:, :, 5], surface[:, :, 5] = 0.25, 0.0
    after[:, :, 4] = 0.5 * (1 + STILL / 4)
    made = blend(video, before, after, coverage, surface)
    assert np.allclose(made[:, :, 0], (0.9, 0.1, 0.1), atol=1e-6)
    assert (made[:, :, 2:] == video[:, :, 2:]).all()
    shaded, detail = made[:, :, 1], video[:, :, 1]
    assert (shaded < 0.75 * detail).all()
    assert np.corrcoef(shaded.ravel(), detail.ravel())[0, 1] > 0.99  # the texture is still there


def test_a_soft_edge_mixes_the_object_with_the_video_behind_it():
    video, before = np.full((1, 3, 5, 3), 0.7, np.float32), np.full((1, 3, 5, 3), 0.5, np.float32)
    coverage = np.broadcast_to(np.array([1, 1, 0.5, 0, 0], np.float32)[None, None, :, None], (1, 3, 5, 1)).copy()
    after = before.copy()
    after[:, :, :2] = (0.9, 0.0, 0.0)
    after[:, :, 2] = (0.7, 0.3, 0.2)  # the renderer's own mixture
    made = blend(video, before, after, coverage, np.ones_like(coverage))
    expected = srgb_encode(0.5 * srgb_decode(np.array([0.9, 0.0, 0.0])) + 0.5 * srgb_decode(np.array(0.7)))
    assert np.allclose(made[:, :, 2], expected, atol=1e-5)
    assert (made[:, :, 3:] == video[:, :, 3:]).all()


def test_where_the_camera_zooms_the_first_frames_lens_places_the_object():
    still = camera()
    lens = np.stack([still.intrinsics, still.intrinsics * [[2.0], [2.0], [1.0]]])
    for pixel in ((20, 15), (3, 22)):
        places = [stand(view, ground_depth(still), pixel, UP) for view in (still, Camera(lens, still.camera_to_world))]
        assert np.array_equal(places[0].object_to_world, places[1].object_to_world)
