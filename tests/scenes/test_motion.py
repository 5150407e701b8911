import msgspec
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manifests.contract.camera import Camera
from manifests.contract.environment import Environment, latlong_directions
from scenes.motion import (
    camera_at,
    camera_of,
    camera_to_world,
    draw_handling,
    draw_names,
    frame_times,
    intrinsics,
    light_rotations,
    motion_names,
    moved_at,
    object_at,
    object_to_world,
    shake_at,
    turned_at,
    within_fov,
    zoom_at,
)
from scenes.recipes import load_recipe
from scenes.spec import (
    Builtin,
    CameraView,
    Dolly,
    Flight,
    Footprint,
    Handheld,
    LightRotation,
    Native,
    Object,
    ObjectRotation,
    ObjectTranslation,
    Orbit,
    Oscillation,
    Pan,
    RenderSettings,
    SceneLight,
    SceneSpec,
    Tilt,
    Walk,
    Zoom,
)

RENDER = RenderSettings(width=64, height=48, samples=1)


def view(*motions, **fields):
    given = {"target": (0.3, -0.2, 0.5), "distance": 3.0, "azimuth": 20.0, "elevation": 35.0, "fov": 45.0} | fields
    return CameraView(motions=motions, **given)


def thing(*motions, **fields):
    given = {"scale": 1.5, "yaw": 30.0, "position": (0.5, -0.25)} | fields
    return Object(
        name="object-2",
        instance=2,
        role="object",
        mesh=Builtin(uid="m", generator="box"),
        material=Native(),
        footprint=Footprint(radius=0.5, height=1.0),
        motions=motions,
        **given,
    )


def angles(poses, target):
    arm = poses[:, :3, 3] - np.asarray(target)
    distance = np.linalg.norm(arm, axis=1)
    azimuth = np.degrees(np.unwrap(np.arctan2(arm[:, 1], arm[:, 0])))
    return azimuth, np.degrees(np.arcsin(arm[:, 2] / distance)), distance


ALL = (Orbit(degrees=200.0), Oscillation(azimuth=15.0, elevation=10.0, cycles=1.5), Dolly(factor=0.7))


def test_camera_poses_are_rigid_level_and_right_side_up():
    poses = camera_to_world(view(*ALL), 24)
    rotation = poses[:, :3, :3]
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotation), 1.0)
    assert np.allclose(rotation[:, 2, 0], 0.0)
    assert (rotation[:, 2, 1] > 0).all()
    assert np.array_equal(poses[:, 3], np.tile([0.0, 0.0, 0.0, 1.0], (24, 1)))


def test_target_stays_in_the_middle_of_the_image():
    shot = view(*ALL)
    camera = Camera(intrinsics(shot, RENDER), camera_to_world(shot, 24))
    pixels, depth = camera.project(np.array([shot.target]))
    assert np.allclose(pixels, [32.0, 24.0], atol=1e-9)
    assert np.allclose(depth[:, 0], 3.0 * np.linspace(1, 0.7, 24))


def test_azimuth_zero_is_on_the_x_side_of_the_target():
    pose = camera_to_world(view(azimuth=0.0, elevation=0.0), 1)[0]
    assert np.allclose(pose[:3, 3], [3.3, -0.2, 0.5])
    assert np.allclose(pose[:3, 0], [0, 1, 0])
    assert np.allclose(pose[:3, 1], [0, 0, 1])


def test_orbit_turns_counter_clockwise_by_its_degrees_and_keeps_the_rest():
    azimuth, elevation, distance = angles(camera_to_world(view(Orbit(degrees=90.0)), 10), (0.3, -0.2, 0.5))
    assert np.allclose(azimuth, np.linspace(20, 110, 10))
    assert np.allclose(elevation, 35.0)
    assert np.allclose(distance, 3.0)


def test_oscillation_swings_to_both_sides_and_comes_back_after_whole_cycles():
    motion = Oscillation(azimuth=20.0, elevation=-5.0, cycles=1.0)
    azimuth, elevation, _ = angles(camera_at(view(motion), np.array([0, 0.25, 0.5, 0.75, 1])), (0.3, -0.2, 0.5))
    assert np.allclose(azimuth, [20, 40, 20, 0, 20])
    assert np.allclose(elevation, [35, 30, 35, 40, 35])


def test_dolly_scales_the_distance_in_a_straight_line():
    poses = camera_to_world(view(Dolly(factor=0.5)), 5)
    _, _, distance = angles(poses, (0.3, -0.2, 0.5))
    assert np.allclose(distance, [3, 2.625, 2.25, 1.875, 1.5])
    assert np.allclose(np.diff(poses[:, :3, 3], 2, axis=0), 0.0)


def test_object_pose_scales_turns_and_moves_the_normalised_mesh():
    pose = object_to_world(thing(yaw=90.0), 3)
    corner = pose @ np.array([0.5, 0.0, 1.0, 1.0])
    assert np.allclose(corner, [0.5, 0.5, 1.5, 1.0])


def test_object_rotation_turns_about_its_own_axis():
    poses = object_to_world(thing(ObjectRotation(degrees=60.0)), 5)
    assert np.allclose(poses[:, :2, 3], [0.5, -0.25])
    heading = np.degrees(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))
    assert np.allclose(heading, [30, 45, 60, 75, 90])


def test_object_translation_ends_at_its_offset_or_returns():
    there = object_to_world(thing(ObjectTranslation(offset=(1.0, -2.0))), 5)[:, :3, 3]
    assert np.allclose(there, np.linspace([0.5, -0.25, 0.0], [1.5, -2.25, 0.0], 5))
    back = object_to_world(thing(ObjectTranslation(offset=(1.0, -2.0), there_and_back=True)), 5)[:, :2, 3]
    assert np.allclose(back, [[0.5, -0.25], [1, -1.25], [1.5, -2.25], [1, -1.25], [0.5, -0.25]])


def test_motions_of_one_object_add_up():
    motions = (ObjectRotation(degrees=10.0), ObjectRotation(degrees=20.0), ObjectTranslation(offset=(1.0, 0.0)))
    assert turned_at(motions, np.array([0.5])) == 15.0
    assert np.array_equal(moved_at(motions, np.array([0.5])), [[0.5, 0.0]])


def test_light_rotation_carries_the_map_counter_clockwise_with_yaw():
    directions = latlong_directions(32, 64)
    image = np.maximum(directions @ np.array([1.0, 0.0, 0.0]), 0)[..., None].repeat(3, axis=2).astype(np.float32)
    rotation = light_rotations(
        SceneLight(map=Builtin(uid="e", generator="sky"), yaw=30.0), LightRotation(degrees=60.0), 3
    )
    environment = Environment(image, rotation)
    for frame, degrees in enumerate((30, 60, 90)):
        bright = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])
        assert environment.radiance(bright, frame)[0] > 0.99
    assert environment.radiance(np.array([0.0, -1.0, 0.0]), 2)[0] == 0.0


def test_light_stands_still_without_a_motion():
    rotation = light_rotations(SceneLight(map=Builtin(uid="e", generator="sky")), None, 4)
    assert np.array_equal(rotation, np.tile(np.eye(3), (4, 1, 1)))


@pytest.mark.parametrize("frames", [1, 2, 24])
def test_frames_are_samples_of_the_continuous_motion(frames):
    times = frame_times(frames)
    assert times[0] == 0.0
    assert frames == 1 or times[-1] == 1.0
    slide = thing(ObjectTranslation(offset=(1.0, 0.0), there_and_back=True))
    assert np.array_equal(camera_to_world(view(*ALL), frames), camera_at(view(*ALL), times))
    assert np.array_equal(object_to_world(slide, frames), object_at(slide, times))


def test_motion_names_are_sorted_and_unique():
    spec = SceneSpec(
        recipe="r",
        seed=0,
        index=0,
        frames=2,
        fps=8.0,
        ground=None,
        objects=(thing(ObjectRotation(degrees=1.0)), thing(ObjectRotation(degrees=2.0))),
        lights=(SceneLight(map=Builtin(uid="e", generator="sky")),),
        light_motion=LightRotation(degrees=3.0),
        view=view(Orbit(degrees=1.0)),
        render=RENDER,
    )
    assert motion_names(spec) == ("light_rotation", "object_rotation", "orbit")


# --- cameras as people hold them -------------------------------------------------------------------------------------


def looks(poses):
    """Azimuth and elevation (T,) in degrees of where cameras look."""
    ahead = -poses[:, :3, 2]
    return np.degrees(np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))), np.degrees(np.arcsin(ahead[:, 2]))


LEVEL = {"azimuth": 180.0, "elevation": 0.0}  # looks along +x


def test_pan_turns_in_place_and_looks_at_the_target_halfway():
    poses = camera_to_world(view(Pan(degrees=40.0)), 5)
    still = camera_to_world(view(), 5)
    azimuth, elevation = looks(poses)
    assert np.allclose(azimuth, looks(still)[0] + [-20, -10, 0, 10, 20])
    assert np.allclose(elevation, -35.0)
    assert np.allclose(poses[:, :3, 3], still[:, :3, 3])
    assert np.allclose(poses[:, 2, 0], 0.0)  # level


def test_tilt_looks_up_in_place():
    poses = camera_to_world(view(Tilt(degrees=20.0)), 5)
    azimuth, elevation = looks(poses)
    assert np.allclose(azimuth, -160.0)
    assert np.allclose(elevation, -35 + np.array([-10, -5, 0, 5, 10]))
    assert np.allclose(np.ptp(poses[:, :3, 3], axis=0), 0.0)


def test_walk_goes_straight_ahead_bobs_with_every_step_and_sways_with_every_second():
    walk = Walk(distance=2.0, rise=0.4, steps=2.0, bob=0.03, sway=0.01)
    eyes = camera_at(view(walk, **LEVEL), np.array([0, 0.125, 0.25, 0.75, 1]))[:, :3, 3] - [0.3 - 3, -0.2, 0.5]
    assert np.allclose(eyes[:, 0], [0, 0.25, 0.5, 1.5, 2])
    assert np.allclose(eyes[:, 1], [0, 0.01 * np.sqrt(0.5), 0.01, -0.01, 0])
    assert np.allclose(eyes[:, 2] - [0, 0.05, 0.1, 0.3, 0.4], [0, 0.03, 0, 0, 0])


def test_walk_sets_out_at_its_heading_and_keeps_its_look():
    poses = camera_to_world(view(Walk(distance=2.0, heading=90.0, steps=1.0, bob=0.0, sway=0.0), **LEVEL), 3)
    assert np.allclose(poses[:, :3, 3] - poses[0, :3, 3], [[0, 0, 0], [0, 1, 0], [0, 2, 0]], atol=1e-12)
    assert np.allclose(looks(poses)[0], 0.0)


def test_flight_along_a_quarter_of_a_circle_ends_at_right_angles_a_radius_away_and_higher():
    radius = 4.0
    poses = camera_to_world(view(Flight(distance=radius * np.pi / 2, turn=90.0, rise=3.0), **LEVEL), 9)
    eyes = poses[:, :3, 3] - poses[0, :3, 3]
    assert np.allclose(eyes[-1], [radius, radius, 3.0])
    assert np.allclose(np.linalg.norm(eyes[:, :2] - [0, radius], axis=1), radius)  # on the circle
    assert np.allclose(looks(poses)[0], np.linspace(0, 90, 9))
    assert np.allclose(np.linalg.norm(np.diff(eyes, axis=0), axis=1), np.linalg.norm(eyes[1] - eyes[0]))  # one speed


def test_flight_round_its_target_keeps_it_in_the_middle():
    shot = view(Flight(distance=3.0 * np.pi, heading=-90.0, turn=180.0), **LEVEL)
    pixels, depth = camera_of(shot, RENDER, 7).project(np.array([shot.target]))
    assert np.allclose(pixels, [32.0, 24.0])
    assert np.allclose(depth, 3.0)


LONG = np.linspace(0, 1, 400, endpoint=False)
SHAKE = Handheld(seed=5, degrees=0.8, shift=0.02, slowest=3.0, fastest=60.0)


def test_shake_has_the_strength_that_it_says_on_every_axis():
    rolls = np.array([np.concatenate(shake(seed), axis=1) for seed in range(40)])  # (S, T, 6)
    root = np.sqrt((rolls**2).mean(axis=(0, 1)))
    assert np.allclose(root[:3], np.radians(0.8), rtol=0.15)
    assert np.allclose(root[3:], 0.02, rtol=0.15)
    assert abs(np.corrcoef(rolls.reshape(-1, 6).T) - np.eye(6)).max() < 0.1  # each axis by itself


def shake(seed, times=LONG):
    return shake_at(msgspec.structs.replace(SHAKE, seed=seed), times)


def test_shake_is_band_limited_with_the_spectrum_of_a_random_walk():
    times = np.linspace(0, 20, 20 * 400, endpoint=False)  # long, so that frequencies can be told apart
    angles = np.array([shake(seed, times)[0] for seed in range(20)])
    power = (np.abs(np.fft.rfft(angles * np.hanning(len(times))[:, None], axis=1)) ** 2).mean(axis=(0, 2))
    cycles = np.fft.rfftfreq(len(times), 1 / 400)
    assert power[(cycles > 2.8) & (cycles < 62)].sum() > 0.999 * power.sum()
    low, high = (power[(cycles >= f) & (cycles < 2 * f)].sum() for f in (5.0, 20.0))  # octaves, two apart
    assert low / high == pytest.approx(4.0, rel=0.3)


def test_shake_depends_on_its_seed_alone():
    assert np.array_equal(shake(5)[0], shake(5)[0])
    assert not np.allclose(shake(5)[0], shake(6)[0])
    some = np.array([0.1, 0.7])
    assert np.allclose(camera_at(view(SHAKE), some), camera_at(view(SHAKE), np.array([0.0, 0.1, 0.3, 0.7]))[[1, 3]])


def test_shake_turns_and_moves_the_camera_by_what_it_is():
    poses, still = camera_to_world(view(SHAKE), 50), camera_to_world(view(), 50)
    angles, shift = shake_at(SHAKE, frame_times(50))
    turns = still[:, :3, :3].transpose(0, 2, 1) @ poses[:, :3, :3]
    expected = [np.asarray(Rotation.from_rotvec(angle).as_matrix()) for angle in angles]
    assert np.allclose(turns, expected)
    moved = poses[:, :3, 3] - still[:, :3, 3]
    assert np.allclose(moved, (still[:, :3, :3] @ shift[..., None])[..., 0])


def test_zoom_changes_the_focal_length_gently_and_nothing_else():
    shot = view(Zoom(factor=2.0))
    camera = camera_of(shot, RENDER, 25)
    focal = 32 / np.tan(np.radians(22.5))
    assert camera.intrinsics.shape == (25, 3, 3)
    for axis in (0, 1):
        assert np.allclose(camera.intrinsics[[0, 12, 24], axis, axis], [focal, focal * np.sqrt(2), focal * 2])
    assert np.allclose(camera.intrinsics[:, :2, 2], [32, 24])
    growth = np.diff(np.log(camera.intrinsics[:, 0, 0]))
    assert growth[0] < 0.2 * growth.max()
    assert growth[-1] < 0.2 * growth.max()
    assert np.array_equal(camera.camera_to_world, camera_to_world(view(), 25))
    assert np.allclose(zoom_at((Zoom(factor=2.0), Zoom(factor=3.0)), np.ones(1)), 6.0)


@pytest.mark.parametrize(("motions", "frames"), [((), 8), (ALL, 8), ((Zoom(factor=2.0),), 1)])
def test_intrinsics_are_one_matrix_unless_the_lens_moves(motions, frames):
    assert camera_of(view(*motions), RENDER, frames).intrinsics.shape == (3, 3)


def test_motions_apply_in_one_order_whatever_the_order_they_are_listed_in():
    motions = (*ALL, Walk(distance=1.0, steps=2.0, bob=0.1, sway=0.1, turn=20.0), Pan(degrees=30.0), SHAKE)
    times = frame_times(9)
    assert np.allclose(camera_at(view(*motions), times), camera_at(view(*reversed(motions)), times))


def test_walks_and_shakes_are_timed_by_the_clock_and_turns_by_the_clip():
    rules = load_recipe("world").motions
    names = frozenset({"walk", "flight", "pan", "tilt", "handheld", "zoom"})
    short, long = (
        {type(m): m for m in draw_handling(rules, names, seconds, np.random.default_rng(1))} for seconds in (1.0, 4.0)
    )
    for kind, fields in (
        (Walk, ("distance", "steps")),
        (Flight, ("distance", "rise")),
        (Handheld, ("slowest", "fastest")),
    ):
        for name in fields:
            assert getattr(long[kind], name) == pytest.approx(4 * getattr(short[kind], name), abs=1e-5)
    assert long[Handheld].degrees == short[Handheld].degrees
    for kind in (Pan, Tilt, Zoom):
        assert long[kind] == short[kind]


def test_a_setting_has_only_motions_that_suit_it():
    rules = load_recipe("world").motions
    drawn = {
        kind: set().union(*(draw_names(rules, np.random.default_rng(seed), kind) for seed in range(300)))
        for kind in ("table", "room", "terrain", "street")
    }
    assert "orbit" not in drawn["room"] | drawn["street"] | drawn["terrain"]
    assert not {"object_rotation", "object_translation"} & (drawn["room"] | drawn["street"] | drawn["terrain"])
    assert not {"walk", "flight"} & drawn["table"]
    assert "flight" not in drawn["room"]
    assert all({"handheld", "zoom", "pan", "tilt", "light_rotation"} <= names for names in drawn.values())


def test_recipes_without_new_motions_draw_what_they_drew():
    rules = load_recipe("paper").motions
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weights = [0.35, 0.25, 0.15, 0.3, 0.3, 0.3]
        happens = rng.random(6) < weights
        names = ("orbit", "oscillation", "dolly", "light_rotation", "object_rotation", "object_translation")
        if happens.any():
            expected = {name for name, does in zip(names, happens, strict=True) if does}
            assert draw_names(rules, np.random.default_rng(seed)) == expected


def test_a_zoom_stays_within_the_fields_of_view_of_the_recipe():
    fov, rules = np.array([25.0, 50.0, 85.0]), load_recipe("world").camera
    assert within_fov(fov, (), rules).all()
    assert within_fov(fov, (Zoom(factor=1.5),), rules).tolist() == [False, True, True]
    assert within_fov(fov, (Zoom(factor=0.7),), rules).tolist() == [True, True, False]
    assert within_fov(fov, (Zoom(factor=0.7),), load_recipe("paper").camera).all()
