"""Cameras in settings: a toy room, field and street of boxes, and the table-top, over several hundred scenes."""

import time

import msgspec
import numpy as np
import pytest

from scenes.generators import generator
from scenes.motion import (
    camera_at,
    camera_of,
    clip_seconds,
    draw_camera,
    draw_handling,
    draw_names,
    frame_times,
    motion_names,
    object_at,
)
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import SettingWeights
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.settings.camera_search import find_setting_view
from scenes.settings.setting_layout import SettingLayout, TakenSpace, Viewpoints
from scenes.spec import CameraView, Flight, Pan, Setting, Walk

WORLD = load_recipe("world")
TABLE = msgspec.structs.replace(WORLD, settings=SettingWeights(table=1.0))
MARGIN = WORLD.placement.camera_margin


def hills(places):
    return 0.8 * np.sin(0.3 * places[..., 0]) + 0.5 * np.cos(0.4 * places[..., 1])


def toy(kind, seed, *, boxes=40):
    """A layout of boxes: a furnished room, a hilly field of rocks, or a street between two rows of houses."""
    rng = np.random.default_rng(seed)
    reach = {"room": 3.0, "terrain": 30.0, "street": 30.0}[kind]
    size = {"room": 0.4, "terrain": 1.0, "street": 3.0}[kind]
    halves = rng.uniform(0.2, 1.0, (boxes, 3)) * size
    centres = rng.uniform(-reach, reach, (boxes, 3)) * [1, 1, 0]
    if kind == "street":
        centres[:, 1] = np.where(rng.random(boxes) < 0.5, -1, 1) * (5 + halves[:, 1] + rng.uniform(0, 2, boxes))
    ground = hills if kind == "terrain" else (lambda places: np.zeros(places.shape[:-1]))
    centres[:, 2] = halves[:, 2] + ground(centres[:, :2])
    subject = None
    if rng.random() < 0.8:
        centre = np.array([*rng.uniform(-0.3, 0.3, 2) * reach, 0.0])
        centre[2] = ground(centre[:2]) + 0.5
        centres[0], halves[0] = centre, 0.4
        subject = (centre, 0.7)
    bounds = np.array([[-reach, -reach, 0.0], [reach, reach, 2.6]]) if kind == "room" else None
    taken = TakenSpace(centres, halves, rng.uniform(0, 360, boxes), ground, bounds)

    def viewpoints(draws, count):
        eyes = draws.uniform(-reach, reach, (count, 3))
        eyes[:, 1] *= 0.15 if kind == "street" else 1.0
        eyes[:, 2] = ground(eyes[:, :2]) + draws.uniform(1.2, 1.8, count)
        targets = draws.uniform(-reach, reach, (count, 3))
        targets[:, 2] = ground(targets[:, :2]) + 1.0
        if subject is not None:
            targets[:] = subject[0] + draws.normal(0, 0.2, (count, 3))
        return Viewpoints(eyes, targets, draws.uniform(20.0, 90.0, count))

    return SettingLayout(Setting(kind=kind, pieces=()), (), (), taken, viewpoints, subject)


def drawn_motions(kind, seed, recipe=WORLD):
    names = draw_names(recipe.motions, generator(seed, 0, "motion plan"), kind)
    seconds = clip_seconds(recipe.frames, recipe.fps)
    about = draw_camera(recipe.motions, names, generator(seed, 0, "motion"))
    return about + draw_handling(recipe.motions, names, seconds, generator(seed, 0, "camera handling"))


def search(layout, motions, seed=0, recipe=WORLD):
    return find_setting_view(layout, motions, recipe, generator(seed, 0, "camera"))


@pytest.fixture(scope="module")
def found():
    """(layout, view) of a hundred scenes of each kind; those without a place for the camera are left out."""
    views = {}
    for kind in ("room", "terrain", "street"):
        layouts = [toy(kind, seed) for seed in range(100)]
        pairs = [(layout, search(layout, drawn_motions(kind, n), n)) for n, layout in enumerate(layouts)]
        views[kind] = [pair for pair in pairs if pair[1] is not None]
    return views


def box_distance(taken, points):
    """Least distance (T,) of points (T, 3) to the boxes, negative inside: by corners of the turned box, one by one."""
    least = np.full(len(points), np.inf)
    for centre, half, yaw in zip(taken.centres, taken.halves, np.radians(taken.yaws), strict=True):
        axes = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [-np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        beyond = np.abs((points - centre) @ axes.T) - half
        inside = (beyond < 0).all(axis=1)
        apart = np.where(inside, beyond.max(axis=1), np.linalg.norm(beyond.clip(0), axis=1))
        least = np.minimum(least, apart)
    return least


@pytest.mark.parametrize("kind", ["room", "terrain", "street"])
def test_nearly_every_scene_has_a_place_for_the_camera(found, kind):
    assert len(found[kind]) >= 95


@pytest.mark.parametrize("kind", ["room", "terrain", "street"])
def test_cameras_are_never_inside_of_anything_even_between_frames(found, kind):
    for layout, view in found[kind]:
        eyes = camera_at(view, np.linspace(0, 1, 301))[:, :3, 3]
        assert box_distance(layout.taken, eyes).min() >= MARGIN
        assert (eyes[:, 2] - layout.taken.ground(eyes[:, :2])).min() >= MARGIN
        if layout.taken.bounds is not None:
            low, high = layout.taken.bounds
            assert ((eyes >= low + MARGIN) & (eyes <= high - MARGIN)).all()


@pytest.mark.parametrize("kind", ["room", "terrain", "street"])
def test_the_subject_is_in_view_in_three_quarters_of_the_frames_and_mostly_not_hidden(found, kind):
    size = np.array([WORLD.render.width, WORLD.render.height])
    with_subject = [(layout, view) for layout, view in found[kind] if layout.subject is not None]
    assert len(with_subject) > 60
    for layout, view in with_subject:
        centre, radius = layout.subject
        camera = camera_of(view, WORLD.render, WORLD.frames)
        pixels, depth = camera.project(centre[None])
        seen = (depth[:, 0] > 0) & ((pixels[:, 0] >= 0) & (pixels[:, 0] <= size)).all(axis=1)
        assert seen.mean() >= 0.75
        others = TakenSpace(layout.taken.centres[1:], layout.taken.halves[1:], layout.taken.yaws[1:])
        apart = box_distance(others, centre[None])[0]
        hidden = 0
        for eye in camera.camera_to_world[:, :3, 3]:
            length = np.linalg.norm(centre - eye)
            line = eye + (centre - eye) * np.linspace(0, max(1 - radius / length, 0.0), 100)[:, None]
            hidden += apart > 0 and box_distance(others, line).min() < -0.01
        assert hidden / WORLD.frames <= WORLD.framing.hidden


@pytest.mark.parametrize("scenes", [50, pytest.param(300, marks=pytest.mark.slow)])
def test_the_table_top_keeps_its_subject_in_view_and_its_camera_out_of_things_in_world_too(scenes):
    catalogue, size = builtin_catalogue(), np.array([WORLD.render.width, WORLD.render.height])
    names = set()
    for index in range(scenes):
        spec = sample_scene(catalogue, TABLE, 3, index)
        names |= set(motion_names(spec))
        subject, times = spec.objects[0], frame_times(spec.frames)
        middle = object_at(subject, times) @ [0.0, 0.0, subject.footprint.height / 2, 1.0]
        camera = camera_of(spec.view, spec.render, spec.frames)
        pixels, depth = (part[range(spec.frames), range(spec.frames)] for part in camera.project(middle[:, :3]))
        assert (depth > 0).all()
        assert ((pixels >= 0) & (pixels <= size)).all()
        often = np.linspace(0, 1, 301)
        eyes = camera_at(spec.view, often)[:, :3, 3]
        assert eyes[:, 2].min() > 0
        for obj in spec.objects:
            sideways = np.linalg.norm(eyes[:, :2] - object_at(obj, often)[:, :2, 3], axis=1)
            beside = sideways - obj.scale * obj.footprint.radius
            assert np.maximum(beside, eyes[:, 2] - obj.scale * obj.footprint.height).min() >= MARGIN
    assert {"pan", "tilt", "handheld", "zoom", "orbit"} <= names
    assert not {"walk", "flight"} & names


def wall(*, ground=None, bounds=None):
    """One box, 2 wide across x, between the only viewpoint at x = 6 and a subject at the origin."""
    taken = TakenSpace(np.array([[3.0, 0, 1]]), np.array([[0.2, 1, 1]]), np.zeros(1), ground, bounds)
    one = Viewpoints(np.array([[6.0, 0, 1.5]]), np.array([[0.0, 0, 0.5]]), np.array([50.0]))
    many = lambda rng, count: Viewpoints(*(np.repeat(part, count, axis=0) for part in vars(one).values()))  # noqa: E731
    subject = (np.array([0.0, 0.0, 0.5]), 0.3)
    return SettingLayout(Setting(kind="room", pieces=()), (), (), taken, many, subject)


def test_a_subject_behind_a_wall_or_a_hill_is_not_shown():
    assert search(wall(), ()) is None
    behind = wall(ground=lambda places: np.where(np.abs(places[..., 0] - 2) < 0.7, 1.2, 0.0))
    assert search(hidden_by_ground_only(behind), ()) is None
    flat = wall(ground=lambda places: np.zeros(places.shape[:-1]))
    assert search(hidden_by_ground_only(flat), ()) is not None


def hidden_by_ground_only(layout):
    """The layout without its box."""
    taken = TakenSpace(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), layout.taken.ground)
    return SettingLayout(layout.setting, (), (), taken, layout.viewpoints, layout.subject)


def test_a_path_through_a_thin_wall_is_found_between_the_checked_places():
    thin = wall()
    taken = TakenSpace(thin.taken.centres, np.array([[1e-4, 50, 50]]), np.zeros(1))
    layout = SettingLayout(thin.setting, (), (), taken, thin.viewpoints, None)
    assert search(layout, (Flight(distance=1.0),)) is not None
    assert search(layout, (Flight(distance=8.0),)) is None
    assert search(layout, (Flight(distance=300.0),)) is None


def test_a_walker_keeps_to_the_ground():
    slope = wall(ground=lambda places: 0.05 * (6.0 - places[..., 0]))
    walk = Walk(distance=1.0, steps=2.0, bob=0.02, sway=0.01)
    view = search(hidden_by_ground_only(slope), (walk,))
    assert isinstance(view, CameraView)
    eyes = camera_at(view, np.array([0.0, 1.0]))[:, :3, 3]
    assert np.allclose(eyes[:, 2] - 0.05 * (6.0 - eyes[:, 0]), 1.5, atol=1e-5)


def test_a_pan_may_leave_the_subject_in_a_quarter_of_the_frames_only():
    layout = hidden_by_ground_only(wall(ground=lambda places: np.zeros(places.shape[:-1])))
    assert search(layout, (Pan(degrees=60.0),)) is not None  # of 50 degrees, 5 / 6 of the time
    assert search(layout, (Pan(degrees=80.0),)) is None


def test_a_search_is_quick_among_hundreds_of_boxes():
    layouts = [toy("street", seed, boxes=300) for seed in range(20)]
    began = time.process_time()
    for seed, layout in enumerate(layouts):
        search(layout, drawn_motions("street", seed), seed)
    assert (time.process_time() - began) / len(layouts) < 0.05
