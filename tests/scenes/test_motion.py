import numpy as np
import pytest

from manifests.contract.camera import Camera
from manifests.contract.environment import Environment, latlong_directions
from scenes.motion import (
    camera_at,
    camera_to_world,
    frame_times,
    intrinsics,
    light_rotations,
    motion_names,
    moved_at,
    object_at,
    object_to_world,
    turned_at,
)
from scenes.spec import (
    Builtin,
    CameraView,
    Dolly,
    Footprint,
    LightRotation,
    Native,
    Object,
    ObjectRotation,
    ObjectTranslation,
    Orbit,
    Oscillation,
    RenderSettings,
    SceneLight,
    SceneSpec,
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
