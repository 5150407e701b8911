"""The street: the same bytes anywhere, nothing in anything else, all on its feet, cameras clear, meshes sound."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import UNSET

import scenes
from scenes.generators import generator
from scenes.materials_and_light import asset_pools
from scenes.motion import camera_at, frame_times
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.settings import street_meshes, vehicle_meshes
from scenes.settings.facade_meshes import PARTS, building
from scenes.settings.pieces import build_piece, copy_poses
from scenes.settings.quad_shapes import boxes, quad_mesh, ribbons
from scenes.settings.road_meshes import PAVEMENT
from scenes.settings.setting_layout import SettingDraws
from scenes.settings.street import lay_out_street
from scenes.settings.street_plan import Line
from scenes.spec import digest, from_json, to_json

WORLD = load_recipe("train-world")
STREETS = msgspec.structs.replace(
    WORLD, settings=msgspec.structs.replace(WORLD.settings, table=0.0, room=0.0, terrain=0.0, street=1.0)
)
CATALOGUE = builtin_catalogue()
HOUSE = {
    **{"width": 12.0, "depth": 10.0, "floors": 4, "storey": 3.0, "ground": 3.6, "bay": 2.6, "window": "casement"},
    **{"front": "shops", "roof": "flat", "rise": 0.8, "bare": 0, "detail": 0b1111, "balconies": 0.6, "seed": 3},
}


@pytest.fixture(scope="module")
def specs():
    return [sample_scene(CATALOGUE, STREETS, 11, index) for index in range(200)]


@pytest.fixture(scope="module")
def layouts():
    pools = asset_pools(CATALOGUE, STREETS)
    return [lay_out_street(SettingDraws(STREETS, pools, 11, index, 0)) for index in range(30)]


def volume(mesh):
    a, b, c = mesh.vertices.astype(float)[mesh.corners[mesh.triangles()]].swapaxes(0, 1)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def normals_and_middles(mesh):
    corners = mesh.vertices.astype(float)[mesh.corners[mesh.triangles()]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals, corners.mean(axis=1)


def test_specs_are_the_same_bytes_in_another_process_and_survive_their_json(specs):
    program = (
        "from tests.scenes.test_street import CATALOGUE, STREETS\n"
        "from scenes.sampling import sample_scene; from scenes.spec import digest\n"
        "print(digest(sample_scene(CATALOGUE, STREETS, 11, 7)))"
    )
    root = Path(scenes.__file__).parents[1]
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert elsewhere.stdout.split() == [digest(specs[7])]
    assert all(from_json(to_json(spec)) == spec for spec in specs[:20])


def test_cameras_are_clear_of_everything_and_above_the_ground(specs):
    pools = asset_pools(CATALOGUE, STREETS)
    for spec in specs:
        layout = lay_out_street(SettingDraws(STREETS, pools, 11, spec.index, spec.resampled))
        assert layout.setting.shared() == spec.setting
        eyes = camera_at(spec.view, frame_times(31))[:, :3, 3]
        assert layout.taken.clearance(eyes).min() >= STREETS.placement.camera_margin - 1e-6
        assert eyes[:, 2].min() > PAVEMENT


def test_instances_are_told_apart_and_the_ground_is_the_first(specs):
    for spec in specs[:20]:
        by_instance = {}
        for piece in spec.setting.pieces:
            by_instance.setdefault(piece.instance, set()).add(piece.mesh.generator)
        assert by_instance[1] <= {"land", "road", "strips", "pavements", "kerbs", "markings", "covers"}
        assert all(len(generators) == 1 for instance, generators in by_instance.items() if instance > 1)
        assert not {thing.instance for thing in spec.objects} & by_instance.keys()
        houses = [piece for piece in spec.setting.pieces if piece.mesh.generator == "building" and piece.copies]
        assert len({piece.instance for piece in houses}) > 15


def corners_of(centre, half, yaw):
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    turn = np.radians(yaw)
    return centre + signs @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def overlap(a, b):
    """Depth by which two convex quadrilaterals (4, 2) overlap; negative or 0 with a separating axis."""
    axes = [one[i] - one[i - 1] for one in (a, b) for i in (0, 1)]
    depths = []
    for x, y in axes:
        normal = np.array([-y, x]) / np.hypot(x, y)
        p, q = a @ normal, b @ normal
        depths.append(min(p.max() - q.min(), q.max() - p.min()))
    return min(depths)


def test_no_house_and_no_car_stands_in_another_one(layouts):
    for layout in layouts:
        grounds = []
        for piece in layout.setting.pieces:
            if piece.copies is UNSET or piece.copies.generator != "fixed_poses":
                continue
            if piece.name.startswith("house wall") or piece.name.endswith("paint"):
                mesh = piece.mesh.params
                size = (
                    (mesh["width"], mesh["depth"])
                    if "width" in mesh
                    else vehicle_meshes.car_size(mesh["kind"], mesh["stretch"])[:2]
                )
                x, y, _, yaw = piece.copies.params["poses"]
                grounds.append(corners_of(np.array([x, y]), np.array(size) / 2, yaw))
        worst = max(overlap(a, b) for i, a in enumerate(grounds) for b in grounds[:i])
        assert len(grounds) > 20
        assert worst < 0.05


def test_things_of_the_catalogue_stand_on_the_pavement_and_apart(layouts):
    counted = 0
    for layout in layouts:
        road = next(piece.mesh.params for piece in layout.setting.pieces if piece.name == "road")
        half, bend = road["spans"][3], road["bend"]
        places = np.array([thing.position for thing in layout.objects]).reshape(-1, 2)
        radii = np.array([thing.scale * thing.footprint.radius for thing in layout.objects])
        for (x, y), radius, thing in zip(places, radii, layout.objects, strict=True):
            aside = abs(y) if bend == 0 else abs(np.hypot(x, y - 1 / bend) - abs(1 / bend))
            assert aside - radius >= half
            assert thing.height == PAVEMENT
            counted += 1
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) - radii[:, None] - radii[None]
        assert (gaps[~np.eye(len(places), dtype=bool)] > 0).all()
    assert counted > 30


def test_what_stands_has_its_feet_on_pavement_or_road(layouts):
    for layout in layouts[:8]:
        for piece in layout.setting.pieces:
            if piece.copies is UNSET or piece.copies.generator != "fixed_poses" or piece.name == "wires":
                continue
            heights = np.array(piece.copies.params["poses"]).reshape(-1, 4)[:, 2]
            assert set(heights) == {0.0 if piece.mesh.generator == "car" else PAVEMENT}


@pytest.mark.parametrize("kind", vehicle_meshes.KINDS)
def test_a_car_touches_the_ground_and_has_the_size_that_it_states(kind):
    parts = [vehicle_meshes.car(part, kind) for part in vehicle_meshes.PARTS]
    points = np.concatenate([part.vertices for part in parts])
    length, width, height = vehicle_meshes.car_size(kind)
    assert points[:, 2].min() == pytest.approx(0.0, abs=2e-3)
    assert np.ptp(points, axis=0) == pytest.approx([length, width, height], abs=0.06)
    paint = vehicle_meshes.car("paint", kind)
    normals, middles = normals_and_middles(paint)
    upper = (middles[:, 2] > 1.0) & (np.abs(middles[:, 1]) < 0.6)
    assert (normals[upper, 2] > 0).mean() > 0.9


@pytest.mark.parametrize("kind", street_meshes.KINDS)
def test_street_furniture_is_finite_and_faces_outward(kind):
    for seed in range(3):
        parts = street_meshes._made(kind, 3.0, seed)
        for part, mesh in parts.items():
            assert np.isfinite(mesh.vertices).all()
            if not len(mesh.sizes):
                continue
            assert mesh.corners.max() < len(mesh.vertices)
            if part != "leaf":
                assert volume(mesh) > 0
            normals, _ = normals_and_middles(mesh)
            assert (np.linalg.norm(normals, axis=1) > 1e-12).mean() > 0.98
        if kind != "wires":
            low = min(mesh.vertices[:, 2].min() for mesh in parts.values() if len(mesh.sizes))
            assert -0.2 <= low <= 1e-6


@pytest.mark.parametrize("roof", ["flat", "gable", "hip"])
@pytest.mark.parametrize("window", ["casement", "tall", "ribbon", "curtain"])
@pytest.mark.parametrize("front", ["homes", "shops", "lobby", "sheds"])
def test_a_house_is_sound_and_its_walls_face_outward(roof, window, front):
    params = HOUSE | {"roof": roof, "window": window, "front": front, "rise": 0.8 if roof == "flat" else 3.0}
    for part in PARTS:
        mesh = building(part, **params)
        assert np.isfinite(mesh.vertices).all()
        assert len(mesh.sizes) or part in ("blind", "gear", "frame", "door", "trim")
    walls = building("wall+base+glass+blind", **(params | {"detail": 0, "roof": "flat"}))
    normals, middles = normals_and_middles(walls)
    front_faces = (np.abs(middles[:, 1] + HOUSE["depth"] / 2) < 0.5) & (np.abs(normals[:, 1]) > 1e-3)
    front_faces &= (middles[:, 2] < 11.0) & (middles[:, 2] > 0.0)
    area = np.abs(normals[:, 1])
    assert area[front_faces & (normals[:, 1] < 0)].sum() > 0.97 * area[front_faces].sum()


def test_panes_and_walls_together_close_a_facade():
    """Seen from the front, wall and panes cover the front exactly once."""
    walls = building("wall+base+glass+blind", **(HOUSE | {"detail": 0, "front": "homes", "window": "tall"}))
    normals, middles = normals_and_middles(walls)
    shown = (normals[:, 1] < -1e-9) & (middles[:, 1] < 0) & (middles[:, 2] < 12.6)
    covered = -normals[shown, 1].sum() / 2
    assert covered == pytest.approx(12.0 * (12.6 + 0.3), rel=0.06)


def test_a_bent_ribbon_keeps_to_its_road():
    bend, half = 1 / 120, 4.0
    mesh = ribbons(np.array([(-60.0, 60.0, -half, half)]), (-0.2, 0.0), bend)
    aside = np.abs(np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1] - 1 / bend) - 1 / bend)
    np.testing.assert_allclose(aside, half, atol=1e-9)
    assert volume(mesh) == pytest.approx(120 * 8 * 0.2, rel=1e-3)
    line = Line(0.0, 0.0, 0.0, bend)
    np.testing.assert_allclose(line.at(60.0, 0.0), [np.sin(0.5) / bend, (1 - np.cos(0.5)) / bend])


def test_boxes_are_closed_and_outward():
    generated = generator(0, 0, "test").uniform(0.1, 1.0, (5, 3))
    assert volume(quad_mesh(boxes(-generated, generated))) == pytest.approx(8 * generated.prod(axis=1).sum())


def test_pieces_are_built_from_their_specs_alone(specs):
    for piece in specs[0].setting.pieces:
        mesh = build_piece(piece.mesh.generator, piece.mesh.params)
        assert np.isfinite(mesh.vertices).all()
        assert mesh.sizes.sum() == len(mesh.corners) == len(mesh.uvs)
        if piece.copies is not UNSET:
            poses = copy_poses(piece.copies.generator, piece.copies.params)
            assert np.isfinite(poses).all()
            assert len(poses)


def test_what_several_pieces_are_made_of_is_said_once(layouts):
    setting = layouts[0].setting
    shared = setting.shared()
    assert [shared.material_of(piece) for piece in shared.pieces] == [piece.material for piece in setting.pieces]
    assert len(set(map(msgspec.json.encode, shared.materials))) == len(shared.materials) > 10
    assert len(msgspec.json.encode(shared)) < 0.8 * len(msgspec.json.encode(setting))
    assert shared.shared() == shared
