import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import scenes
from benchmarks.settling import contacts, settled_recipe, surface, unrest
from manifests.errors import SpecError
from scenes.catalogue import Catalogue
from scenes.framing import BoundingCylinders
from scenes.meshes import build, collision_shapes
from scenes.motion import frame_times, motion_names, object_at, object_to_world
from scenes.physics.rigid_bodies import GRAVITY
from scenes.providers.builtin import builtin_catalogue
from scenes.recipe_sections import ArrangementRules, FallRules
from scenes.recipes import load_recipe, make_recipe
from scenes.sampling import sample_scene
from scenes.spec import UNSET, Builtin, Fall, File, Footprint, Native, Object, digest, from_json, to_json

KINDS = ("heap", "spill", "stack", "fallen")
CATALOGUE = builtin_catalogue()


def falling_recipe(kind, **fields):
    recipe = settled_recipe(kind)
    motions = msgspec.structs.replace(recipe.motions, fall=FallRules(probability=1.0, start=0.0))
    return msgspec.structs.replace(recipe, motions=motions, **fields)


@pytest.fixture(scope="module")
def settled():
    return {kind: [sample_scene(CATALOGUE, settled_recipe(kind), 5, index) for index in range(3)] for kind in KINDS}


@pytest.fixture(scope="module")
def falls():
    return {kind: sample_scene(CATALOGUE, falling_recipe(kind), 5, 0) for kind in KINDS}


def cube(instance, x, height):
    return Object(
        name=f"object-{instance}",
        instance=instance,
        role="object",
        mesh=Builtin(uid="builtin/mesh/cube", generator="box", params={"x": 1.0, "y": 1.0, "z": 1.0}),
        material=Native(),
        scale=1.0,
        yaw=0.0,
        position=(x, 0.0),
        height=height,
        orientation=(1.0, 0.0, 0.0, 0.0),
        footprint=Footprint(radius=0.7072, height=1.0),
    )


@pytest.mark.parametrize(
    ("apart", "height", "gap", "depth"), [(1.02, 0.02, 0.02, 0.0), (0.97, 0.02, 0.0, 0.03), (2.0, -0.01, 0.0, 0.01)]
)
def test_the_check_finds_gaps_and_depths(settled, apart, height, gap, depth):
    pair = msgspec.structs.replace(settled["stack"][0], objects=(cube(2, 0.0, height), cube(3, apart, height)))
    gaps, depths = contacts(pair)
    assert gaps == pytest.approx([gap] * 2, abs=1e-6)
    assert depths == pytest.approx([depth] * 2, abs=1e-6)


def test_a_small_thing_in_a_large_one_is_seen(settled):
    small = msgspec.structs.replace(cube(3, 0.5 + 0.05 - 0.004, 0.5), scale=0.1)
    pair = msgspec.structs.replace(settled["stack"][0], objects=(cube(2, 0.0, 0.0), small))
    gaps, depths = contacts(pair)
    assert gaps == pytest.approx([0.0, 0.0], abs=1e-6)
    assert depths == pytest.approx([0.04, 0.04], abs=1e-5)


def test_what_would_rest_on_the_air_in_a_spring_is_drawn_again():
    spec = sample_scene(CATALOGUE, settled_recipe("heap"), 0, 6)
    gaps, depths = contacts(spec)
    assert spec.resampled > 0
    assert max(gaps.max(), depths.max()) <= 0.01


def test_files_are_stacked_by_their_shapes():
    box = CATALOGUE["builtin/mesh/cube"]
    file = File(uid="mine/mesh/box", provider="mine", path="box.glb", sha256="0" * 64)
    shape = collision_shapes()[box.uid]
    mine = msgspec.structs.replace(box, uid=file.uid, mesh=file, roles=("any",), collision=shape)
    rest = (asset for asset in CATALOGUE.assets if asset.kind != "mesh")
    spec = sample_scene(Catalogue([mine, *rest], CATALOGUE.roots), settled_recipe("stack"), 5, 0)
    by_height = sorted(spec.objects, key=lambda obj: obj.height)
    assert len(by_height) > 1 and all(obj.mesh == file for obj in by_height)
    tops = [obj.height + obj.scale for obj in by_height]
    assert [obj.height for obj in by_height] == pytest.approx([0.0, *tops[:-1]], abs=0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_things_touch_do_not_sink_and_stay(settled, kind):
    for spec in settled[kind]:
        gaps, depths = contacts(spec)
        assert gaps.max() <= 0.01
        assert depths.max() <= 0.01
        assert unrest(spec, collision_shapes()).max() <= 0.001


def test_a_stack_stands_and_something_fallen_lies(settled):
    for spec in settled["stack"]:
        assert all(object_at(obj, np.zeros(1))[0, 2, 2] > 0.98 * obj.scale for obj in spec.objects)
        assert len(np.unique([obj.height for obj in spec.objects])) == len(spec.objects)
    for spec in settled["fallen"]:
        assert any(object_at(obj, np.zeros(1))[0, 2, 2] < 0.71 * obj.scale for obj in spec.objects)


def test_bytes_do_not_depend_on_order_or_process(settled):
    program = (
        "from benchmarks.settling import settled_recipe; from scenes.providers.builtin import builtin_catalogue\n"
        "from scenes.sampling import sample_scene; from scenes.spec import digest\n"
        "for kind in ('fallen', 'heap'):\n"
        "    for i in (2, 0): print(digest(sample_scene(builtin_catalogue(), settled_recipe(kind), 5, i)))"
    )
    root = Path(scenes.__file__).parents[1]
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert elsewhere.stdout.split() == [digest(settled[kind][i]) for kind in ("fallen", "heap") for i in (2, 0)]


def test_a_spec_keeps_a_fall(falls):
    for spec in falls.values():
        assert from_json(to_json(spec)) == spec
        assert "fall" in motion_names(spec)
        assert not {"object_rotation", "object_translation"} & set(motion_names(spec))


def test_what_falls_falls_freely_and_stays_above_the_ground(falls):
    spec = falls["heap"]
    heights = np.array([[pose[2] for pose in obj.motions[0].poses] for obj in spec.objects])
    speeding = np.diff(heights[:, :3], n=2, axis=1)[:, 0] * spec.fps**2  # nothing has landed before the third frame
    assert speeding == pytest.approx(-GRAVITY, rel=0.01)
    for at in (0.5, 1.0):
        assert min(surface(obj, at).points[:, 2].min() / obj.scale for obj in spec.objects) > -0.05


@pytest.mark.parametrize("kind", KINDS)
def test_cylinders_hold_what_lies_and_what_falls(settled, falls, kind):
    for spec in (settled[kind][0], falls[kind]):
        cylinders = BoundingCylinders.of(spec.objects, spec.frames)
        for row, obj in enumerate(spec.objects):
            mesh = build(obj.mesh.generator, obj.mesh.params).vertices.astype(float)
            poses = object_at(obj, cylinders.times)
            points = np.einsum("tij,nj->tni", poses[:, :3, :3], mesh) + poses[:, None, :3, 3]
            beside = np.linalg.norm(points[..., :2] - cylinders.centres[row][:, None], axis=2)
            assert beside.max() <= cylinders.radii[row] + 1e-4
            assert (points[..., 2] >= cylinders.bottoms[row][:, None] - 1e-4).all()
            assert (points[..., 2] <= cylinders.tops[row][:, None] + 1e-4).all()


def test_a_fall_is_stored_by_frame_and_straight_between():
    turn = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    poses = ((0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, *(-part for part in turn)))
    thing = msgspec.structs.replace(cube(2, 0.0, 2.0), scale=0.5, motions=(Fall(poses=poses),))
    start, middle, end = object_at(thing, np.array([0.0, 0.5, 1.0]))
    assert np.allclose(start, np.diag([0.5, 0.5, 0.5, 1.0]) + np.outer([0, 0, 2, 0], [0, 0, 0, 1]))
    assert np.allclose(middle[:3, 3], [0.5, 0.0, 1.0])
    assert np.allclose(middle[:2, :2], 0.5 * np.sqrt(0.5) * np.array([[1, -1], [1, 1]]))
    assert np.allclose(end[:3, :3], 0.5 * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    assert np.array_equal(object_to_world(thing, 3), object_at(thing, frame_times(3)))


def test_standing_things_draw_as_without_arrangements():
    paper = load_recipe("paper")
    motions = msgspec.structs.replace(paper.motions, fall=FallRules(probability=1.0))
    standing = msgspec.structs.replace(paper, arrangements=ArrangementRules(standing=1.0), motions=motions)
    assert sample_scene(CATALOGUE, standing, 3, 4) == sample_scene(CATALOGUE, paper, 3, 4)


def test_impossible_arrangements_are_said():
    plain = msgspec.to_builtins(load_recipe("paper"))
    with pytest.raises(SpecError, match="every weight is 0"):
        make_recipe(plain | {"arrangements": {}})
    with pytest.raises(SpecError, match="heap of nothing"):
        make_recipe(plain | {"arrangements": {"heap": 1, "count": [0, 3]}})
    none = {"primitives": {"count": [0, 0]}}
    heaps = make_recipe(plain | none | {"arrangements": {"heap": 1}})
    shapeless = Catalogue(
        (asset for asset in CATALOGUE.assets if asset.kind != "mesh" or asset.uid == "builtin/mesh/suzanne"),
        CATALOGUE.roots,
    )
    with pytest.raises(SpecError, match="collision shapes"):
        sample_scene(shapeless, heaps, 0, 0)


def test_an_asset_without_parts_is_written_as_before(tmp_path):
    cube_asset = CATALOGUE["builtin/mesh/cube"]
    assert b"collision" not in msgspec.json.encode(cube_asset)
    with_parts = msgspec.structs.replace(cube_asset, collision=collision_shapes()[cube_asset.uid])
    Catalogue([with_parts, CATALOGUE["builtin/mesh/torus"]]).save(tmp_path / "c.parquet")
    loaded = Catalogue.load(tmp_path / "c.parquet")
    assert loaded["builtin/mesh/cube"] == with_parts
    assert loaded["builtin/mesh/torus"].collision is UNSET


@pytest.mark.slow
def test_a_pile_of_a_thousand_contacts_has_room() -> None:
    spec = sample_scene(CATALOGUE, settled_recipe("stack"), 0, 51)  # one of its draws overran MuJoCo's 14 MiB
    assert len(spec.objects) >= 2
