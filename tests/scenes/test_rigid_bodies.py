import numpy as np
import pytest

from benchmarks.make_footprints import shape
from scenes.meshes import build, collision_shapes
from scenes.physics.convex_parts import AIR, collision_shape
from scenes.physics.rigid_bodies import GRAVITY, Body, RigidBodies
from scenes.providers.builtin import mesh_sources
from scenes.spec import Builtin

FPS = 24.0
SOURCES = {source.uid: source for source, _, _ in mesh_sources()}


def parts(generator, **params):
    return shape(Builtin(uid="m", generator=generator, params=params))


def body(shape, height, **fields):
    given = {"orientation": np.array([1.0, 0, 0, 0]), "velocity": np.zeros(3), "spin": np.zeros(3)} | fields
    return Body(shape, 1.0, np.array([0.0, 0.0, height]), **given)


def inside(shape, points, slack):
    """(n,): which points lie within `slack` of a convex part, by the planes through its corners."""
    from scipy.spatial import ConvexHull

    planes = [ConvexHull(corners).equations for corners in shape.points()]
    return np.any([(points @ p[:, :3].T + p[:, 3] <= slack).all(axis=1) for p in planes], axis=0)


def test_a_cube_is_one_part_of_eight_corners():
    (corners,) = parts("box", x=1.0, y=1.0, z=1.0).points()
    assert sorted(map(tuple, corners)) == [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)]


def test_the_surface_of_a_part_faces_outwards():
    a, b, c = np.moveaxis(parts("box", x=1.0, y=0.5, z=0.2).triangles(), 1, 0)
    assert np.einsum("ki,ki->", a, np.cross(b, c)) / 6 == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("uid", ["torus", "bolt/0003", "composite/table/0002", "lathe/bowl/0001"])
def test_parts_cover_the_mesh_to_half_a_per_cent(uid):
    source = SOURCES[f"builtin/mesh/{uid}"]
    vertices = build(source.generator, source.params).vertices
    assert inside(collision_shapes()[source.uid], vertices, 0.0045).all()


def test_the_hole_of_a_ring_is_open():
    ring = collision_shapes()["builtin/mesh/torus"]
    angle = np.linspace(0, 2 * np.pi, 60)
    hole = np.column_stack([0.13 * np.cos(angle), 0.13 * np.sin(angle), np.full(60, 0.15)])
    assert AIR < 0.2 - 0.13
    assert not inside(ring, hole, 0.0).any()


def test_an_open_surface_is_a_thin_plate():
    square = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], dtype=np.float32)
    (corners,) = collision_shape(square, np.array([[0, 1, 2], [0, 2, 3]])).points()
    assert np.ptp(corners, axis=0) == pytest.approx([1.002, 1.002, 0.002], abs=1e-4)


@pytest.mark.parametrize("uid", ["cube", "bolt/0003", "composite/tower/0001"])
def test_shipped_parts_are_those_of_the_meshes(uid):
    source = SOURCES[f"builtin/mesh/{uid}"]
    assert collision_shapes()[source.uid] == shape(source)


def test_every_mesh_that_numpy_builds_has_parts():
    assert collision_shapes().keys() == SOURCES.keys()


def test_free_fall_takes_the_time_that_it_takes():
    height = 1.5
    simulation = RigidBodies([body(parts("box", x=1.0, y=1.0, z=1.0), height)], 240.0)
    heights = simulation.frames(120)[:, 0, 2]
    seconds = np.arange(120) / 240
    expected = np.sqrt(2 * height / GRAVITY)
    flying = seconds < expected - 1 / 240
    step = 1 / 240
    assert heights[flying] == pytest.approx(
        height - GRAVITY * seconds[flying] ** 2 / 2, abs=GRAVITY * expected * step / 2
    )
    assert abs(seconds[np.argmax(heights < 0.001)] - expected) < 1.5 * step
    assert heights[-1] == pytest.approx(0.0, abs=0.001)


def test_frames_are_the_same_physics_at_any_frame_rate():
    slow, fast = (
        RigidBodies([body(parts("capsule", radius=0.25, height=1.0), 1.0)], fps).frames(frames)
        for fps, frames in ((24.0, 7), (48.0, 13))
    )
    assert slow[-1, 0, :3] == pytest.approx(fast[-1, 0, :3], abs=0.01)


def test_friction_brings_a_sliding_box_to_rest_where_it_should():
    flat = parts("box", x=1.0, y=1.0, z=0.2)
    simulation = RigidBodies([body(flat, 0.0, velocity=np.array([4.0, 0.0, 0.0]))], FPS)
    assert simulation.settle()
    assert simulation.poses[0, 0] == pytest.approx(4.0**2 / (2 * 0.7 * GRAVITY), rel=0.1)


def test_spin_is_about_the_axes_of_the_world():
    quarter = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])
    simulation = RigidBodies(
        [body(parts("ellipsoid", x=1.0, y=1.0, z=1.0), 9.0, orientation=quarter, spin=np.array([0.0, 0.0, 3.0]))], FPS
    )
    pose = simulation.frames(2)[1, 0]
    half = 3.0 / FPS / 2
    turned = np.sqrt(0.5) * np.array([np.cos(half), np.cos(half), np.sin(half), np.sin(half)])
    assert abs(pose[3:] @ turned) == pytest.approx(1.0, abs=1e-6)
