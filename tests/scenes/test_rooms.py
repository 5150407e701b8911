import subprocess
import sys
from functools import cache

import msgspec
import numpy as np
import pytest
from msgspec import UNSET

from scenes.motion import camera_to_world
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import SettingWeights
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.settings.furniture_meshes import STYLES, furniture, shelf_grid
from scenes.settings.interior_meshes import bevelled_boxes, room_slab, room_strip, room_walls
from scenes.settings.pieces import build_piece, copy_poses
from scenes.spec import SceneSpec, digest, from_json, to_json
from tests.scenes.test_meshes import facts

L_PLAN = (-3.0, -2.0, 3.0, -2.0, 3.0, 0.5, 1.0, 0.5, 1.0, 2.0, -3.0, 2.0)
SIZES = {
    "chair": (0.45, 0.5, 0.9),
    "bed": (1.4, 2.1, 0.9),
    "bookshelf": (1.5, 0.3, 1.9),
    "lamp": (0.4, 0.4, 1.6),
    "pendant": (0.4, 0.4, 1.0),
    "plant": (0.5, 0.5, 1.0),
    "rug": (2.0, 1.4, 0.012),
    "round_rug": (1.4, 1.4, 0.012),
    "picture": (0.6, 0.03, 0.8),
    "round_table": (1.0, 1.0, 0.74),
    "sofa": (1.9, 0.9, 0.8),
    "screen": (0.9, 0.2, 0.55),
}


@cache
def rooms(count: int = 60) -> tuple[SceneSpec, ...]:
    recipe = msgspec.structs.replace(load_recipe("train-world"), settings=SettingWeights(room=1.0))
    catalogue = builtin_catalogue()
    return tuple(sample_scene(catalogue, recipe, 11, index) for index in range(count))


def pieces_by_instance(spec: SceneSpec) -> dict[int, list[tuple[str, np.ndarray]]]:
    """World points (N, 3) of each piece by instance."""
    found: dict[int, list[tuple[str, np.ndarray]]] = {}
    for piece in spec.setting.pieces:
        points = build_piece(piece.mesh.generator, piece.mesh.params).vertices.astype(float)
        if not len(points):
            continue
        poses = [np.eye(4)]
        if piece.copies is not UNSET:
            poses = copy_poses(piece.copies.generator, piece.copies.params)
        found.setdefault(piece.instance, []).extend(
            (piece.name, points @ pose[:3, :3].T + pose[:3, 3]) for pose in poses
        )
    return found


def test_a_room_is_the_same_in_every_process():
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.scenes.test_rooms import rooms\n"
        "from scenes.spec import digest\n"
        "print(*[digest(spec) for spec in rooms(4)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert other == [digest(spec) for spec in rooms()[:4]]
    assert all(from_json(to_json(spec)) == spec for spec in rooms()[:4])
    assert len({digest(spec) for spec in rooms()}) == len(rooms())


def test_rooms_have_sensible_sizes_and_enough_openings():
    heights = []
    for spec in rooms():
        walls = next(piece.mesh.params for piece in spec.setting.pieces if piece.name == "walls")
        x, y = np.reshape(walls["corners"], (-1, 2)).T
        area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        heights.append(walls["height"])
        assert 6 < area < 101
        assert sum(portal.size[0] * portal.size[1] for portal in spec.setting.portals) >= 0.14 * area
    assert min(heights) >= 2.3
    assert max(heights) <= 5.0
    assert np.mean([height <= 3.5 for height in heights]) > 0.6


def test_light_passes_the_portals_into_the_room():
    for spec in rooms()[:20]:
        for portal in spec.setting.portals:
            turn = np.radians(portal.yaw)
            inward = np.array([np.cos(turn), np.sin(turn)])
            walls = next(piece.mesh.params for piece in spec.setting.pieces if piece.name == "walls")
            at = np.array(portal.centre[:2])
            assert not _in_plan(walls["corners"], at)
            assert _in_plan(walls["corners"], at + inward * (walls["thickness"] + 0.1))


def _in_plan(corners: tuple[float, ...], point: np.ndarray) -> bool:
    a = np.reshape(corners, (-1, 2))
    b = np.roll(a, -1, axis=0)
    right = (a[:, 0] > point[0]) & ((a[:, 1] > point[1]) != (b[:, 1] > point[1]))
    return bool(right.sum() % 2)


def test_catalogue_things_rest_on_what_is_below_them():
    """The surface's height is read off the built meshes, not off the layout."""
    checked = 0
    for spec in rooms()[:25]:
        points = pieces_by_instance(spec)
        for thing in spec.objects:
            height = 0.0 if thing.height is UNSET else thing.height
            if height == 0.0:
                continue
            tops = [
                found
                for parts in points.values()
                for _, found in parts
                if (found[:, :2].min(axis=0) <= thing.position).all()
                and (found[:, :2].max(axis=0) >= thing.position).all()
            ]
            gaps = [np.abs(found[:, 2] - height).min() for found in tops]
            assert min(gaps) < 1e-5, (spec.index, thing.name, height)
            checked += 1
    assert checked > 40


def test_nothing_reaches_into_walls_and_floors():
    for spec in rooms()[:25]:
        walls = next(piece.mesh.params for piece in spec.setting.pieces if piece.name == "walls")
        for parts in pieces_by_instance(spec).values():
            for name, points in parts:
                if name.split()[0] in {*STYLES} - {"pendant"}:
                    inside = [_in_plan(walls["corners"], point) for point in points[:: max(1, len(points) // 60), :2]]
                    assert all(inside), (spec.index, name)
                    assert points[:, 2].min() > -1e-6
                    assert points[:, 2].max() < walls["height"]
        for thing in spec.objects:
            reach = thing.scale * thing.footprint.radius * 0.99
            for side in ((reach, 0), (-reach, 0), (0, reach), (0, -reach)):
                assert _in_plan(walls["corners"], np.asarray(thing.position) + side)


def test_furniture_does_not_stand_in_furniture():
    """By boxes around the built meshes; what belongs together (chairs at a table, a lamp on a chest) may touch."""
    for spec in rooms()[:25]:
        boxes = [
            (name, np.array([points.min(axis=0), points.max(axis=0)]))
            for parts in pieces_by_instance(spec).values()
            for name, points in [(parts[0][0].split()[0], np.concatenate([points for _, points in parts]))]
            if name in {*STYLES} - {"chair", "rug", "round_rug", "table", "round_table"}
        ]
        for number, (name, box) in enumerate(boxes):
            for other, another in boxes[:number]:
                shared = np.minimum(box[1], another[1]) - np.maximum(box[0], another[0])
                assert not (shared > 2e-3).all(), (spec.index, name, other)


def test_cameras_are_inside_and_clear_of_everything():
    for spec in rooms()[:25]:
        eyes = camera_to_world(spec.view, spec.frames)[:, :3, 3]
        walls = next(piece.mesh.params for piece in spec.setting.pieces if piece.name == "walls")
        for eye in eyes:
            assert _in_plan(walls["corners"], eye[:2])
            assert 0.1 < eye[2] < walls["height"] - 0.1
        for parts in pieces_by_instance(spec).values():
            for name, points in parts:
                nearest = np.linalg.norm(points[:, None] - eyes[None], axis=2).min()
                assert nearest > 0.13, (spec.index, name)


def test_things_have_indices_of_their_own():
    for spec in rooms():
        things = [thing.instance for thing in spec.objects]
        pieces = {piece.instance for piece in spec.setting.pieces}
        assert things == list(range(2, 2 + len(things)))
        assert not pieces & set(things)
        assert next(piece.instance for piece in spec.setting.pieces if piece.name == "floor") == 1


@pytest.mark.parametrize("style", STYLES)
def test_furniture_is_closed_outward_and_fills_its_box(style):
    size = SIZES.get(style, (1.2, 0.5, 0.8))
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for seed in range(6):
        names = STYLES[style](np.random.default_rng(seed), *size, **({"seed": seed} if style == "bookshelf" else {}))
        for part in names:
            mesh = furniture(style, part, *size, seed)
            if not len(mesh.sizes):
                continue
            found = facts(mesh)
            assert found["open"] == 0, (part, seed)
            assert found["volume"] > 0
            assert found["uv_folded"] == 0, (part, seed)
            assert np.isfinite(mesh.uvs).all()
            half = np.array(size) / 2
            assert (np.abs(mesh.vertices[:, :2]) <= half[:2] + 1e-6).all(), (part, seed)
            assert mesh.vertices[:, 2].min() >= -1e-6
            assert mesh.vertices[:, 2].max() <= size[2] + 1e-6
            low, high = np.minimum(low, mesh.vertices.min(axis=0)), np.maximum(high, mesh.vertices.max(axis=0))
    assert (high - low > 0.8 * np.array(size)).all()


def test_a_shelf_has_boards_where_things_are_put():
    found = build_piece(
        "furniture", {"style": "bookshelf", "part": "body", "width": 1.5, "depth": 0.3, "height": 1.9, "seed": 3}
    )
    for board in shelf_grid(1.5, 1.9)[1]:
        assert np.abs(found.vertices[:, 2] - board).min() < 1e-6


@pytest.mark.parametrize("corners", [(-2.0, -1.5, 2.0, -1.5, 2.0, 1.5, -2.0, 1.5), L_PLAN])
def test_walls_close_around_their_openings_and_have_their_volume(corners):
    openings = (0.0, 0.5, 1.7, 0.9, 2.1, 1.0, 0.6, 1.6, 0.0, 2.0)
    points = np.reshape(corners, (-1, 2))
    around = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1).sum()
    mesh = room_walls(corners, 2.5, 0.2, openings)
    found = facts(mesh)
    assert found["open"] == 0
    assert found["uv_folded"] == 0
    assert found["uv_scale"] == pytest.approx(1)
    plan = (around + 4 * 0.2) * 0.2
    assert found["volume"] == pytest.approx(plan * 2.6 - 0.2 * (1.2 * 1.2 + 1.0 * 2.025))


def test_slabs_and_skirting_follow_an_l_shaped_plan():
    slab = facts(room_slab(L_PLAN, 0.1, -0.2, 0.0))
    assert slab["open"] == 0
    assert slab["volume"] == pytest.approx(0.2 * (6.2 * 4.2 - 2.0 * 1.5))
    strip = facts(room_strip(L_PLAN, 0.0, 0.1, 0.01, (0.0, 1.0, 2.0)))
    assert strip["open"] == 0
    length = 20.0 - 1.0 - 4 * 0.01  # inside corners cost a depth each, the outside corner's two halves make up
    assert strip["volume"] == pytest.approx(0.1 * 0.014 * length, rel=0.02)


def test_a_bevelled_box_is_a_box_less_its_edges():
    found = facts(bevelled_boxes([[1.0, 2.0, 0.5, 3.0, 0.0, 0.0]], 0.01))
    assert found["open"] == 0
    edges = 4 * (1.0 + 2.0 + 0.5) * 0.01**2 / 2
    assert found["volume"] == pytest.approx(1.0 - edges, abs=1e-5)
