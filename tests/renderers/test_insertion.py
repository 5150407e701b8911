"""Standing an object, putting its G-buffers among a clip's, and the picture with it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import cv2
import numpy as np
import pytest

from datagen.insert_render import MATERIALS, Insert, LitPicture
from editing import insertion
from editing.anchoring import anchored, floor_of_corners
from editing.compositing import STILL, PlateLook, blend, composite, lay_lit
from editing.film_scene import FilmScene
from editing.insertion import nearer
from editing.scene_mesh import scene_mesh
from editing.settings import FilmRenderers, FilmSettings
from editing.support import Passers, floor_up, hiding, reached, stand
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.contract.environment import Environment
from manifests.errors import InputError
from scenes.spec import Builtin, Principled

HEIGHT, WIDTH = 24, 32
UP = np.array([0.0, 0.0, 1.0])


def camera(pitch: float = 40.0, frames: int = 2) -> Camera:
    """Two units above the ground, looking along +y and down by `pitch` degrees."""
    angle = np.radians(90.0 - pitch)
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    pose[:3, 3] = (0.5, -1.0, 2.0)
    return Camera(intrinsics_from_fov(50.0, HEIGHT, WIDTH), np.repeat(pose[None], frames, axis=0))


def ground(view: Camera, depth: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Depth and normals (1, H, W, C) of the plane z = 0, or of another depth (H, W) with its normals."""
    seen = ground_depth(view) if depth is None else depth
    up = np.broadcast_to(UP @ view.camera_to_world[0, :3, :3], (1, HEIGHT, WIDTH, 3))
    return {"depth": seen[None, ..., None], "normal": up}


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
    place = stand(view, ground(view), (20, 15), UP, scale=0.4, rotate=90.0)
    pixels, depth = view.project(place.position[None])
    assert np.allclose(pixels[0, 0], (20.5, 15.5), atol=1e-9)
    assert np.isclose(depth[0, 0], ground_depth(view)[15, 20])
    assert abs(place.position[2]) < 1e-9
    assert np.allclose(place.object_to_world[:3, :3], 0.4 * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-9)


def test_without_a_scale_the_object_spans_a_quarter_of_the_smaller_side():
    view = camera()
    place = stand(view, ground(view), (16, 12), UP)
    seen = place.scale * view.intrinsics[0, 0] / ground_depth(view)[12, 16]
    assert np.isclose(seen, HEIGHT / 4)


@pytest.mark.parametrize("up", [(0.3, -0.2, 0.9), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)])
def test_the_objects_axis_takes_any_direction_by_a_proper_rotation(up):
    wanted = np.array(up) / np.linalg.norm(up)
    turn = stand(camera(), ground(camera()), (3, 20), 2 * wanted, scale=1.0, rotate=33.0, distance=2.0).object_to_world[
        :3, :3
    ]
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.isclose(np.linalg.det(turn), 1.0)
    assert np.allclose(turn[:, 2], wanted)


def test_a_depth_that_is_given_replaces_what_is_seen():
    view = camera(pitch=0.0)
    sky = ground_depth(view)
    assert not np.isfinite(sky[2, 4])
    place = stand(view, ground(view), (4, 2), UP, distance=3.0)
    assert np.isclose(view.project(place.position[None])[1][0, 0], 3.0)
    with pytest.raises(InputError, match="no surface is seen at pixel 4,2"):
        stand(view, ground(view), (4, 2), UP)
    with pytest.raises(InputError, match="pixel 32,2 is outside of the picture of 32x24"):
        stand(view, ground(view), (32, 2), UP)
    for wrong in ({"scale": 0.0}, {"share": np.inf}, {"distance": np.nan}):
        with pytest.raises(InputError, match="must be positive"):
            stand(view, ground(view), (4, 2), UP, **{"distance": 3.0, **wrong})


def test_up_is_where_most_of_the_floor_looks_and_not_a_wall():
    view = camera(pitch=25.0)
    floor, all_of_it = ground(view)["normal"][0].copy(), np.ones((HEIGHT, WIDTH, 1))
    floor[:14] = (0.0, 0.1, 0.995)  # a wall behind it
    floor[20:, ::3] += (0.3, 0.0, 0.2)  # and stones
    floor /= np.linalg.norm(floor, axis=-1, keepdims=True)
    up = floor_up(view, floor, all_of_it, (16, 18))
    assert np.degrees(np.arccos(up @ UP)) < 2.5
    wall = np.broadcast_to(np.array([0.0, 0.1, 0.995]), (HEIGHT, WIDTH, 3))
    assert np.allclose(floor_up(view, wall, all_of_it, (5, 5)), view.camera_to_world[0, :3, 1])
    assert np.allclose(floor_up(view, floor, 0 * all_of_it, (16, 18)), view.camera_to_world[0, :3, 1])


def test_a_wall_holds_nothing_and_wavy_depth_still_gives_a_place_on_the_plane():
    view = camera(pitch=25.0)
    seen = ground(view)
    seen["normal"] = np.broadcast_to(np.array([0.0, 0.0, 1.0]), seen["normal"].shape)
    with pytest.raises(InputError, match=r"nothing can stand at pixel 70,50: the surface there is upright"):
        stand(view, seen, (16, 18), UP, called=(70, 50))
    rough = ground(view, ground_depth(view) * np.random.default_rng(1).uniform(0.9, 1.1, (HEIGHT, WIDTH)))
    place = stand(view, rough, (16, 18), UP, measured=False)
    assert abs(place.position[2]) < 0.1
    assert np.allclose(place.normal, UP)
    front = -place.object_to_world[:3, 1] / place.scale  # it looks at the camera
    assert front[:2] @ (view.camera_to_world[0, :2, 3] - place.position[:2]) > 0.999 * np.linalg.norm(
        view.camera_to_world[0, :2, 3] - place.position[:2]
    )


def test_a_share_is_of_the_pictures_smaller_side_and_a_low_camera_makes_it_smaller():
    view = camera()
    assert np.isclose(
        stand(view, ground(view), (16, 12), UP, share=0.5).scale,
        2 * stand(view, ground(view), (16, 12), UP, share=0.25).scale,
    )
    metres = stand(view, ground(view), (16, 12), UP, scale=0.8, camera_height=1.6).scale
    assert np.isclose(metres, 0.8 * 2.0 / 1.6)  # it is two units above the ground
    low = camera(pitch=5.0)
    made = stand(low, ground(low), (16, 23), UP)
    assert made.scale < 0.25 * HEIGHT / low.intrinsics[0, 0] * ground_depth(low)[23, 16]


def test_only_what_is_surely_nearer_hides_a_thing_and_floors_never_do():
    view = camera(pitch=25.0)
    true = ground_depth(view)
    rng = np.random.default_rng(0)
    wavy = (0.7 * true + 0.2) * rng.uniform(0.97, 1.03, true.shape)  # its own scale and shift
    seen = ground(view, np.where(np.isfinite(wavy), wavy, np.inf))
    seen = {name: value.copy() for name, value in seen.items()}
    seen["depth"][0, 8:20, 4:10, 0], seen["normal"][0, 8:20, 4:10] = 0.7 * 1.5 + 0.2, (0.0, 0.0, 1.0)  # near, upright
    seen["depth"][0, 8:12, 20:26, 0], seen["normal"][0, 8:12, 20:26] = 0.7 * 20 + 0.2, (0.0, 0.0, 1.0)  # far behind
    place = stand(view, ground(view), (16, 15), UP)
    before, under = hiding(view, seen, place, measured=False)
    assert before[0, 9:19, 5:9].min() == 1
    before[0, 8:20, 4:10] = 0
    assert before.max() == 0
    assert under[0, 22, 20, 0] == 1
    assert under[0, 9:19, 5:9].max() == 0


def test_what_passes_nearer_hides_a_thing_and_what_passes_behind_does_not():
    view = camera(pitch=25.0, frames=8)
    rest = np.random.default_rng(0).integers(60, 120, (4 * HEIGHT, 4 * WIDTH, 3)).astype(np.uint8)
    rest = cv2.GaussianBlur(rest, (0, 0), 2)
    frames = np.repeat(rest[None], 8, axis=0)
    for index, frame in enumerate(frames):
        frame[30:86, 14 * index : 14 * index + 10] = 250  # its feet are low: it is near
        frame[28:44, 90 - 8 * index : 98 - 8 * index] = 10  # far away
    place = stand(view, ground(view), (16, 15), UP, share=0.2)
    passers = Passers(list(frames), view, (HEIGHT, WIDTH), [place])
    found = passers.before(frames[4])[..., 0]
    assert found[40:80, 58:64].min() == 1
    found[26:90, 52:70] = 0
    assert found.max() == 0
    assert passers.before(255 - frames[0]).max() == 0  # all of it changes
    assert Passers(list(frames[:3]), view, (HEIGHT, WIDTH), [place]).before(frames[2]).max() == 0


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
        places = [stand(view, ground(still), pixel, UP) for view in (still, Camera(lens, still.camera_to_world))]
        assert np.array_equal(places[0].object_to_world, places[1].object_to_world)


def lit(mask: np.ndarray, radiance: tuple[float, float, float], change: float) -> LitPicture:
    """One frame (H, W, 1) of even radiance where `mask` says, and a change of the light everywhere around."""
    rgb = (mask * np.array(radiance)).astype(np.float32)
    height, width = mask.shape[:2]
    whole = (0, 0, height, width)
    even = np.full((height, width, 3), change, np.float32)
    return LitPicture(whole, whole, rgb, mask.astype(np.float32), np.ones((height, width, 1)), even, even)


SHARP = PlateLook(0.0, 0.0, np.zeros(3), moves=True)


def test_what_stands_on_the_plane_becomes_a_mesh_and_the_plane_does_not():
    view = camera(pitch=25.0)
    rays = view.rays(HEIGHT, WIDTH) @ view.camera_to_world[0, :3, :3].T
    wall = (3.0 - view.camera_to_world[0, 1, 3]) / rays[..., 1]  # the plane y = 3
    depth = np.minimum(ground_depth(view), wall)
    seen = ground(view, depth)
    seen["normal"] = np.where((wall < ground_depth(view))[..., None], rays * 0 + (0, 0, 1), seen["normal"][0])[None]
    seen["roughness"] = seen["metallic"] = np.ones((1, HEIGHT, WIDTH, 1))
    seen["basecolor"] = np.full((1, HEIGHT, WIDTH, 3), (0.6, 0.1, 0.1))
    place = stand(view, seen, (16, 20), UP, scale=0.3)
    for measured, metal in ((True, 1.0), (False, 0.0)):
        made = scene_mesh(view, seen, [place], measured=measured)
        assert made is not None
        high = made.vertices[:, 2] > 0.05
        assert np.abs(made.vertices[high, 1] - 3.0).max() < 1e-3
        assert high.mean() > 0.7
        assert made.vertices[:, 2].min() > -0.01
        assert np.allclose(made.basecolor, (0.6, 0.1, 0.1))
        assert (made.metallic == metal).all()
        corners = made.vertices[made.triangles]
        assert np.linalg.norm(np.ptp(corners, axis=1), axis=1).max() < 1.0
    tall = stand(view, seen, (16, 20), UP, scale=1.0)
    front = {**seen, "depth": seen["depth"].copy()}
    front["depth"][0, 10:16, 14:18] = 0.7  # something close before it
    made = scene_mesh(view, front, [tall], measured=False)
    assert made is not None
    assert view.project(made.vertices)[1][0].min() > 0.9


def test_a_place_is_brought_to_the_depth_at_which_the_frames_agree():
    rng = np.random.default_rng(3)
    floor = cv2.GaussianBlur(rng.uniform(0, 255, (512, 512)).astype(np.float32), (0, 0), 1.2)
    floor = np.clip(3 * (floor - floor.mean()) + 128, 0, 255)
    view = camera(frames=5)
    poses = view.camera_to_world.copy()
    poses[:, 0, 3] += np.linspace(0, 0.5, 5)  # it goes to the side
    lens = np.diag([5.0, 5.0, 1.0]) @ view.intrinsics
    view = Camera(lens, poses)
    size = 5 * HEIGHT, 5 * WIDTH
    frames = []
    for pose in poses:
        rays = view.rays(*size) @ pose[:3, :3].T
        hits = pose[:3, 3] - rays * (pose[2, 3] / rays[..., 2:])
        at = ((hits[..., :2] + 4) * 64).astype(np.float32)
        grey = cv2.remap(floor, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        frames.append(np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8))
    truth = stand(camera(), ground(camera()), (16, 14), UP, scale=0.4)
    for factor in (0.9, 1.15):
        place = replace(truth, position=poses[0, :3, 3] + factor * (truth.position - poses[0, :3, 3]))
        assert anchored(frames, view, place) * factor == pytest.approx(1, abs=4e-3)
    plain = [np.full_like(frame, 128) for frame in frames]
    assert anchored(plain, view, place) == 1.0


def test_the_floor_is_found_among_corners_of_which_half_lie_elsewhere_and_without_corners_it_is_not():
    rng, view, pixel = np.random.default_rng(0), camera(), (16.5, 14.5)
    on = np.column_stack([rng.uniform(-0.5, 1.5, (60, 2)) + np.array([0.0, 1.0]), rng.normal(0, 2e-3, 60)])
    elsewhere = on + np.column_stack([np.zeros((60, 2)), rng.uniform(0.1, 1.2, 60)])
    normal = ground(view)["normal"][0]
    leaning = np.array([0.1, -0.15, 1.0]) / np.linalg.norm([0.1, -0.15, 1.0])
    place, way = floor_of_corners(np.concatenate([on, elsewhere]), view, normal, leaning, pixel)
    assert abs(place[2]) < 5e-3
    assert np.degrees(np.arccos(way[2])) < 0.5
    assert floor_of_corners(on[:5], view, normal, UP, pixel) is None
    assert floor_of_corners(np.zeros((0, 3)), view, normal, UP, pixel) is None
    scattered = rng.uniform(-0.5, 1.0, (60, 3)) + np.array([0.0, 1.0, 0.0])
    assert floor_of_corners(scattered, view, normal, UP, pixel) is None


def test_corners_say_where_a_floor_lies_and_looks_though_the_network_takes_it_for_a_slope():
    still, rng = camera(), np.random.default_rng(0)
    poses = still.camera_to_world.copy()
    poses[1, 0, 3] += 0.3
    view = Camera(still.intrinsics, poses)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    leans = np.radians(np.where((abs(rows - 14) < 4) & (abs(columns - 16) < 4), 55.0, 20.0))  # around the pixel more
    world = np.stack([np.zeros_like(leans), np.sin(leans), np.cos(leans)], axis=-1)
    normal = np.repeat((world @ poses[0, :3, :3])[None], 2, axis=0).astype(np.float32)
    depth = np.repeat(1.2 * ground_depth(still)[None, ..., None], 2, axis=0)
    arrays = {"depth": depth, "normal": normal, "mask": np.ones_like(depth)}
    points = np.column_stack([rng.uniform(-0.5, 1.5, (60, 2)) + np.array([0.0, 1.0]), rng.normal(0, 2e-3, 60)])
    frames = deque([(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0.0)] * 2)
    light = Environment(np.ones((4, 8, 3), np.float32), np.repeat(np.eye(3)[None], 2, axis=0))
    scene = FilmScene(frames, arrays, (1.0, 9.0), view, light, 1.0, False, False, (), points)
    asset = Insert(
        Builtin(uid="ball", generator="ellipsoid", params={}),
        Principled(uid="plain", basecolor=(0.5, 0.5, 0.5), roughness=0.5, metallic=0.0),
        {},
    )
    found = insertion.place(scene, insertion.Thing(asset, (16, 14)))
    assert abs(found.position[2]) < 5e-3
    assert found.up @ UP > np.cos(np.radians(0.5))
    assert np.allclose(found.normal, found.up)
    table = replace(scene, arrays={**arrays, "depth": 0.7 * depth / 1.2})  # it stands above that floor
    found = insertion.place(table, insertion.Thing(asset, (16, 14)))
    assert found.position[2] == pytest.approx(0.6, abs=0.02)


def test_what_is_traced_covers_the_film_shades_it_and_leaves_the_rest_as_it_is():
    frame = np.random.default_rng(2).integers(90, 200, (32, 40, 3)).astype(np.uint8)
    mask = np.zeros((32, 40, 1))
    mask[10:20, 10:20] = 1
    nothing, all_of_it = np.zeros((32, 40, 1)), np.ones((32, 40, 1))
    made, share = lay_lit(frame, 0, lit(mask, (0.3, 0.05, 0.02), 0.5), nothing, all_of_it, SHARP)
    assert np.abs(made[12:18, 12:18] / 255 - srgb_encode(np.array([0.3, 0.05, 0.02]))).max() < 0.01
    assert np.allclose(srgb_decode(made[25:] / 255), 0.5 * srgb_decode(frame[25:] / 255), atol=0.01)
    assert np.allclose(share, mask)
    made, _ = lay_lit(frame, 0, lit(0 * mask, (0, 0, 0), 0.5), nothing, nothing, SHARP)
    assert (made == frame).all()
    made, _ = lay_lit(frame, 0, lit(mask, (0.3, 0.05, 0.02), 0.5), all_of_it, all_of_it, SHARP)
    assert (made == frame).all()  # hidden, and its shadow with it


def test_what_things_reach_is_followed_and_frames_that_show_nothing_are_left_out():
    still = camera(pitch=25.0, frames=12)
    poses = still.camera_to_world.copy()
    poses[:, 1, 3] += np.arange(12)  # walks past the thing, and away
    view = Camera(still.intrinsics, poses)
    one = stand(view, ground(view), (16, 12), UP, scale=0.5)
    made = reached(view, [one], (HEIGHT, WIDTH))
    assert 2 <= len(made) < 12
    assert list(made) == list(range(len(made)))
    parts, around = np.array(list(made.values())).swapaxes(0, 1)
    for several in (parts, around):
        assert (np.ptp(several[:, 2:] - several[:, :2], axis=0) == 0).all()
        assert several.min() >= 0
        assert (several[:, 2:] <= (HEIGHT, WIDTH)).all()
    assert (parts[:, :2] >= around[:, :2]).all()
    assert (parts[:, 2:] <= around[:, 2:]).all()
    assert (parts[1] != parts[0]).any()
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)])
    pixels, depth = view.project(corners @ one.object_to_world[:3, :3].T + one.position)
    for frame in range(12):
        seen = (depth[frame] > 0)[:, None] & (pixels[frame] >= 0) & (pixels[frame] < (WIDTH, HEIGHT))
        for x, y in pixels[frame][seen.all(axis=1)]:
            top, left, bottom, right = made[frame][0]
            assert left <= x <= right
            assert top <= y <= bottom
    behind = Camera(still.intrinsics, poses[-1:])
    assert not reached(behind, [one], (HEIGHT, WIDTH))


def test_exact_depth_hides_things_and_nothing_beside_them():
    mask = np.zeros((10, 12, 1))
    mask[3:7, 3:7] = 1
    seen = replace(lit(mask, (0.3, 0.3, 0.3), 0.5), depth=np.where(mask > 0, 4.0, np.inf))
    depth = np.full((2, 10, 12, 1), 5.0)
    assert nearer(depth, dict.fromkeys(range(2), seen)).max() == 0
    depth[1, :, :5] = 3.0
    hidden = nearer(depth, dict.fromkeys(range(2), seen))
    assert hidden[0].max() == 0
    assert hidden[1, 3:7, 3:5].min() == 1
    assert hidden[1, :, 5:].max() == 0
    assert hidden[1, 9].max() == 0  # a shadow there is not hidden


def test_a_films_blur_grain_and_black_are_measured_and_given_to_what_is_laid_over_it():
    rng = np.random.default_rng(0)
    squares = np.kron(rng.uniform(0.2, 0.8, (16, 20)), np.ones((16, 16))).astype(np.float32)
    soft = cv2.GaussianBlur(squares, (0, 0), 1.5)
    for sharpness, least, most in ((squares, 0.0, 0.5), (soft, 1.4, 1.7)):  # a raster is no sharper than half a pixel
        frame = np.repeat((255 * sharpness + 0.5).astype(np.uint8)[..., None], 3, axis=-1)
        assert least <= PlateLook.of([frame]).blur < most
    noisy = [soft + 0.02 * rng.standard_normal(soft.shape) for _ in range(2)]
    noisy = [np.repeat((255 * np.clip(one, 0.1, 1) + 0.5).astype(np.uint8)[..., None], 3, axis=-1) for one in noisy]
    look = PlateLook.of(noisy)
    assert 0.015 < look.grain < 0.025
    assert look.moves
    assert not PlateLook.of([noisy[0], noisy[0]]).moves
    assert 0 < look.black.max() <= srgb_decode(np.array(0.07))
    mask = np.ones((32, 40, 1))
    dark = lit(mask, (0.2, 0.2, 0.2), 1.0)
    frame, nothing = np.zeros((32, 40, 3), np.uint8), np.zeros((32, 40, 1))
    grainy = [lay_lit(frame, index, dark, nothing, nothing, look)[0][..., 1] / 255 for index in (0, 1)]
    assert abs(np.std(grainy[0]) - look.grain) < 0.2 * look.grain
    assert np.corrcoef(grainy[0].ravel(), grainy[1].ravel())[0, 1] < 0.2
    black = lay_lit(frame, 0, lit(mask, (0, 0, 0), 1.0), nothing, nothing, replace(look, grain=0.0, blur=0.0))[0]
    assert np.allclose(srgb_decode(black / 255), look.black, atol=2e-3)


@pytest.mark.parametrize("shade", [1.0, 0.4])
def test_a_film_gets_what_is_traced_and_in_the_shade_it_is_lit_less(shade, monkeypatch, tmp_path):
    view = camera(pitch=25.0, frames=3)
    seen = ground(view, 0.8 * ground_depth(view))
    maps = {name: np.repeat(value, 3, axis=0) for name, value in seen.items()}
    covered = np.isfinite(maps["depth"]).astype(np.float32)
    flat = np.ones_like(covered)
    maps |= {"mask": covered, "basecolor": np.full((*flat.shape[:3], 3), 0.5), "roughness": flat, "metallic": 0 * flat}
    light = Environment(np.ones((16, 32, 3), np.float32), np.tile(np.eye(3), (3, 1, 1)))
    linear = np.full((4 * HEIGHT, 4 * WIDTH, 3), 0.5 * shade)  # the ground under that light is 0.5
    frame = (255 * srgb_encode(linear) + 0.5).astype(np.uint8)
    frames = deque((frame.copy(), index / 10) for index in range(3))
    scene = FilmScene(frames, maps, (1.0, 9.0), view, light, 1.0, True, False, ())
    given = {}

    def traced(placed, catchers, light, camera, size, parts, out, *, relief, samples):
        given.update(
            light=light.image.mean(),
            relief=relief,
            catchers=len(catchers),
            frames=[len(one.object_to_world) for one in placed],
        )
        out.mkdir()
        (out / MATERIALS).write_bytes(b"[]")
        assert parts == [parts[0]] * 3
        (top, left, bottom, right), (a, b, c, d) = parts[0]
        mask = np.zeros((bottom - top, right - left, 1), np.float32)
        mask[4:-4, 4:-4] = 1
        rgb = mask * np.array([0.3, 0.0, 0.0], np.float32)
        depth = np.where(mask > 0, 4.0, np.inf)
        change, around = (np.full((*size, 3), 0.5, np.float32) for size in (mask.shape[:2], (c - a, d - b)))
        return [LitPicture(*parts[0], rgb, mask, depth, change, around)]

    monkeypatch.setattr(insertion, "render_lit", traced)
    asset = Insert(
        Builtin(uid="ball", generator="ellipsoid", params={}),
        Principled(uid="grey", basecolor=(0.5, 0.5, 0.5), roughness=0.5, metallic=0.0),
        {},
    )
    thing = insertion.Thing(asset, (66, 66), scale="20%")
    made = insertion.put(scene, [thing], FilmRenderers(), FilmSettings(), tmp_path)
    video = list(made.video)
    assert given["catchers"] == 1
    assert given["relief"] is None  # there is nothing but the ground
    assert given["frames"] == [1]
    assert given["light"] == pytest.approx(shade, rel=0.03)
    assert len(video) == 3
    pixel, _ = view.project(made.stands[0].position[None] + [[0, 0, 0.5 * made.stands[0].scale]])
    x, y = (4 * pixel[0, 0]).astype(int)
    assert video[1][y, x, 0] > video[1][y, x, 1] + 60  # it is red
    foot = (4 * view.project(made.stands[0].position[None])[0][0, 0]).astype(int)
    shaded = video[2][foot[1] + 3, foot[0] - 14 : foot[0] + 14].mean()
    assert shaded < frame.mean() - 10
    assert (video[0][:8] == frame[:8]).all()
    with pytest.raises(InputError, match="pixel 500,3 is outside of the picture of 128x96 pixels"):
        insertion.put(scene, [insertion.Thing(asset, (500, 3))], FilmRenderers(), FilmSettings(), tmp_path)
    with pytest.raises(InputError, match="`spin` nan is no angle"):
        insertion.put(scene, [insertion.Thing(asset, (66, 66), spin=np.nan)], FilmRenderers(), FilmSettings(), tmp_path)
    with pytest.raises(InputError, match="'big' is no size"):
        insertion.put(scene, [insertion.Thing(asset, (66, 66), scale="big")], FilmRenderers(), FilmSettings(), tmp_path)
