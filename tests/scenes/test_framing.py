from collections import Counter

import msgspec
import numpy as np
import pytest

from manifests.contract.camera import Camera
from scenes.framing import BoundingCylinders, find_view
from scenes.motion import camera_at, camera_to_world, frame_times, intrinsics, object_at
from scenes.recipes import load_recipe
from scenes.spec import Builtin, Dolly, Footprint, Native, Object, ObjectTranslation, Orbit, Oscillation

TINY = load_recipe("tiny")
RECIPE = msgspec.structs.replace(TINY, framing=msgspec.structs.replace(TINY.framing, size=0.15))


def thing(row, position, *motions, scale=1.0, radius=0.4, height=0.8):
    return Object(
        name=f"object-{row}",
        instance=row,
        role="object",
        mesh=Builtin(uid="m", generator="box"),
        material=Native(),
        scale=scale,
        yaw=0.0,
        position=position,
        footprint=Footprint(radius=radius, height=height),
        motions=motions,
    )


def changed(**sections):
    """The tiny recipe with fields of its sections replaced."""
    return msgspec.structs.replace(
        RECIPE, **{name: msgspec.structs.replace(getattr(RECIPE, name), **fields) for name, fields in sections.items()}
    )


def find(objects, *motions, recipe=RECIPE, seed=0):
    return find_view(BoundingCylinders.of(tuple(objects), recipe.frames), motions, recipe, np.random.default_rng(seed))


def solid(obj):
    """Points (N, 3) on the surface of the normalised bounding cylinder."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * obj.footprint.radius
    return np.concatenate([np.column_stack([ring, np.full(48, z)]) for z in np.linspace(0, obj.footprint.height, 9)])


SCENE = (
    thing(2, (0.2, -0.3), ObjectTranslation(offset=(0.5, 0.4))),
    thing(3, (-0.8, 0.5), scale=1.2),
    thing(4, (1.3, -1.2), ObjectTranslation(offset=(-0.4, 0.1), there_and_back=True), scale=0.5),
)
MOTIONS = (Orbit(degrees=150.0), Oscillation(azimuth=20.0, elevation=10.0, cycles=1.0), Dolly(factor=0.8))


@pytest.mark.parametrize("seed", range(25))
def test_subject_is_in_view_in_every_frame_by_real_projection(seed):
    view, _ = find(SCENE, *MOTIONS, seed=seed)
    camera = Camera(intrinsics(view, RECIPE.render), camera_to_world(view, RECIPE.frames))
    poses = object_at(SCENE[0], frame_times(RECIPE.frames))
    size = np.array([RECIPE.render.width, RECIPE.render.height])
    for frame in range(RECIPE.frames):
        points = solid(SCENE[0]) @ poses[frame, :3, :3].T + poses[frame, :3, 3]
        middle = poses[frame, :3, 3] + [0, 0, 0.4]
        pixels, depth = (a[frame] for a in camera.project(np.vstack([points, middle])))
        assert (depth > 0).all()
        assert ((pixels[-1] >= 0) & (pixels[-1] <= size)).all()
        low, high = pixels[:-1].min(axis=0), pixels[:-1].max(axis=0)
        inside = np.clip(np.minimum(high, size) - np.maximum(low, 0), 0, None).prod() / (high - low).prod()
        assert inside >= RECIPE.framing.inside - 0.03  # the check's rim has fewer points than this one
        assert (high - low).max() >= RECIPE.framing.size * size[1] - 0.5


@pytest.mark.parametrize("seed", range(25))
def test_camera_never_comes_near_a_thing_or_the_ground_even_between_frames(seed):
    view, _ = find(SCENE, *MOTIONS, seed=seed)
    times = np.linspace(0, 1, 1001)
    eye = camera_at(view, times)[:, :3, 3]
    assert eye[:, 2].min() >= RECIPE.placement.camera_margin - 1e-3
    for obj in SCENE:
        sideways = np.linalg.norm(eye[:, :2] - object_at(obj, times)[:, :2, 3], axis=1)
        beside = sideways - obj.scale * obj.footprint.radius
        above = eye[:, 2] - obj.scale * obj.footprint.height
        assert np.maximum(beside, above).min() >= RECIPE.placement.camera_margin


def test_a_wall_in_front_of_the_subject_is_refused():
    subject = thing(2, (0.0, 0.0), radius=0.3)
    wall = thing(3, (1.2, 0.0), radius=0.5, height=2.0)
    beside = changed(camera={"azimuth": 0.0, "elevation": 5.0, "distance": 3.0, "look_at_subject": 1.0})
    view, refused = find([subject, wall], recipe=beside)
    assert view is None
    assert refused == Counter(hidden=128)
    free = changed(camera={"azimuth": 90.0, "elevation": 5.0, "distance": 3.0, "look_at_subject": 1.0})
    assert find([subject, wall], recipe=free)[0] is not None
    over = changed(camera={"azimuth": 0.0, "elevation": 75.0, "distance": 4.0, "look_at_subject": 1.0})
    assert find([subject, wall], recipe=over)[0] is not None


def test_a_wall_may_pass_in_front_for_a_third_of_the_frames():
    subject = thing(2, (0.0, 0.0), radius=0.3)
    wall = thing(3, (1.2, -2.5), ObjectTranslation(offset=(0.0, 5.0)), radius=0.5, height=2.0)
    recipe = changed(camera={"azimuth": 0.0, "elevation": 10.0, "distance": 3.0, "look_at_subject": 1.0})
    assert find([subject, wall], recipe=recipe)[0] is not None
    strict = msgspec.structs.replace(recipe, framing=msgspec.structs.replace(recipe.framing, hidden=0.0))
    assert find([subject, wall], recipe=strict) == (None, Counter(hidden=128))


def test_a_camera_path_through_a_thing_is_refused_although_every_frame_is_outside():
    post = thing(3, (2.5, 0.0), radius=0.05, height=3.0)
    recipe = msgspec.structs.replace(
        changed(
            camera={"azimuth": -20.0, "elevation": 10.0, "distance": 2.5, "look_at_subject": 1.0},
            framing={"hidden": 1.0},
        ),
        frames=2,
    )
    assert find([thing(2, (0.0, 0.0)), post], Orbit(degrees=40.0), recipe=recipe) == (None, Counter(near=128))
    assert find([thing(2, (0.0, 0.0)), post], Orbit(degrees=-40.0), recipe=recipe)[0] is not None


def test_a_subject_that_leaves_the_image_is_refused():
    runner = thing(2, (0.0, 0.0), ObjectTranslation(offset=(6.0, 0.0)))
    recipe = changed(camera={"look_at_subject": 0.0, "elevation": 20.0})
    view, refused = find([runner], recipe=recipe)
    assert view is None
    assert refused["framing"] > 0


def test_a_subject_too_small_in_the_image_is_refused():
    far = changed(camera={"distance": 40.0, "look_at_subject": 1.0})
    assert find([thing(2, (0.0, 0.0))], recipe=far) == (None, Counter(framing=128))


def test_single_frame_scenes_can_be_framed():
    still = msgspec.structs.replace(RECIPE, frames=1)
    assert find(SCENE, recipe=still)[0] is not None
