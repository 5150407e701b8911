import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

import scenes
from benchmarks.separation import dense_times, ground_error, vertices, worst_gap
from manifests.errors import SpecError
from scenes.catalogue import Catalogue
from scenes.generators import generator
from scenes.materials_and_light import asset_pools, light_kind
from scenes.motion import camera_at, frame_times, motion_names, object_at
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.spec import File, Native, ObjectTranslation, Procedural, SceneSpec, digest, from_json, to_json

TINY, PAPER = load_recipe("tiny"), load_recipe("paper")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return builtin_catalogue()


@pytest.fixture(scope="module")
def thousand(catalogue) -> list[SceneSpec]:
    return [sample_scene(catalogue, TINY, 7, index) for index in range(1000)]


@pytest.fixture(scope="module")
def papers(catalogue) -> list[SceneSpec]:
    return [sample_scene(catalogue, PAPER, 7, index) for index in range(150)]


def changed(recipe, **sections):
    return msgspec.structs.replace(
        recipe, **{name: msgspec.structs.replace(getattr(recipe, name), **fields) for name, fields in sections.items()}
    )


def test_specs_are_the_same_bytes_in_any_order_and_in_another_process(catalogue, thousand):
    indices = [11, 3, 250]
    program = (
        "from scenes.providers.builtin import builtin_catalogue; from scenes.recipes import load_recipe\n"
        "from scenes.sampling import sample_scene; from scenes.spec import digest\n"
        f"for i in {indices}: print(digest(sample_scene(builtin_catalogue(), load_recipe('tiny'), 7, i)))"
    )
    root = Path(scenes.__file__).parents[1]
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert elsewhere.stdout.split() == [digest(thousand[i]) for i in indices]
    assert to_json(sample_scene(catalogue, TINY, 7, 250)) == to_json(thousand[250])


def test_seed_and_index_both_matter(catalogue, thousand):
    assert sample_scene(catalogue, TINY, 8, 3) != thousand[3]
    first, second = generator(7, 8, "light").random(4), generator(8, 7, "light").random(4)
    assert not np.array_equal(first, second)


def test_specs_survive_their_json(thousand):
    assert all(from_json(to_json(spec)) == spec for spec in thousand[:200])


def test_no_two_scenes_are_alike(thousand):
    assert len({digest(spec) for spec in thousand}) == 1000
    looks = {
        (
            tuple(obj.mesh.uid for obj in spec.objects),
            tuple(getattr(obj.material, "uid", "") for obj in spec.objects),
            tuple(light.map.uid for light in spec.lights),
        )
        for spec in thousand
    }
    assert len(looks) == 1000


def test_nothing_touches_and_nothing_floats_in_a_thousand_scenes(thousand):
    """Real mesh vertices, every frame and four times between, separating axes."""
    assert min(worst_gap(spec) for spec in thousand) >= TINY.placement.margin - 1e-5
    assert max(ground_error(spec) for spec in thousand) < 1e-4


def test_nothing_touches_in_paper_scenes_either(papers):
    assert min(worst_gap(spec) for spec in papers) >= PAPER.placement.margin - 1e-5
    assert any(
        isinstance(motion, ObjectTranslation) for spec in papers for obj in spec.objects for motion in obj.motions
    )


def test_the_independent_check_sees_an_overlap_that_lies_between_frames(thousand):
    spec = next(s for s in thousand if len(s.objects) >= 2)
    first, second = spec.objects[:2]
    run = ObjectTranslation(offset=(20.0, 0.0))
    crossing = (
        msgspec.structs.replace(first, position=(0.0, 0.0), motions=()),
        msgspec.structs.replace(second, position=(-10.0, 0.0), motions=(run,)),
    )
    assert np.linalg.norm(object_at(crossing[1], frame_times(4))[:, :2, 3], axis=1).min() > 2.0  # apart in every frame
    assert worst_gap(msgspec.structs.replace(spec, objects=crossing, frames=4)) < 0
    assert worst_gap(msgspec.structs.replace(spec, objects=crossing[:1], frames=4)) == np.inf


def test_camera_stays_out_of_real_meshes_between_frames(thousand):
    for spec in thousand[:150]:
        times = dense_times(spec.frames)
        eye = camera_at(spec.view, times)[:, :3, 3]
        assert eye[:, 2].min() >= TINY.placement.camera_margin
        for obj in spec.objects:
            pose, points = object_at(obj, times), vertices(obj)
            for time in range(0, len(times), 3):
                world = points @ pose[time, :3, :3].T + pose[time, :3, 3]
                assert np.linalg.norm(world - eye[time], axis=1).min() >= TINY.placement.camera_margin


def test_every_clip_moves_and_every_motion_occurs(thousand):
    names = [motion_names(spec) for spec in thousand]
    assert all(names)
    shares = {name: np.mean([name in found for found in names]) for name in msgspec.to_builtins(TINY.motions)}
    for name, share in shares.items():
        probability = getattr(TINY.motions, name).probability
        assert 0.85 * probability <= share <= probability + 0.2, name
    assert 0.2 < np.mean([len(found) >= 2 for found in names]) < 0.8


def test_draws_stay_within_the_recipe(papers):
    for spec in papers:
        objects = [obj for obj in spec.objects if obj.role == "object"]
        primitives = [obj for obj in spec.objects if obj.role == "primitive"]
        assert 1 <= len(objects) <= 3
        assert len(primitives) <= 4
        assert [obj.instance for obj in spec.objects] == list(range(2, 2 + len(spec.objects)))
        assert spec.objects[0].role == "object"
        assert all(1.0 <= obj.scale <= 1.5 and max(map(abs, obj.position)) <= 1.0 for obj in objects)
        assert all(0.3 <= obj.scale <= 0.8 and max(map(abs, obj.position)) <= 1.5 for obj in primitives)
        assert 2.0 <= spec.view.distance <= 4.0
        assert 5.0 <= spec.view.elevation <= 85.0
        assert spec.view.fov == 45.0
    assert {len(spec.objects) for spec in papers} == set(range(1, 8))


def test_grounds_are_textured_and_mostly_there(thousand):
    grounds = [spec.ground for spec in thousand]
    assert 0.9 < np.mean([ground is not None for ground in grounds]) < 0.99
    assert np.mean([isinstance(ground.material, Procedural) for ground in grounds if ground]) > 0.5


def test_all_kinds_of_light_shine_as_often_as_weighted(catalogue, thousand):
    kinds = [light_kind(_environment(catalogue, spec.lights[0].map.uid)) for spec in thousand]
    for kind in ("hdri", "sky", "studio"):
        assert np.mean([found == kind for found in kinds]) == pytest.approx(getattr(TINY.lights.kinds, kind), abs=0.05)


def _environment(catalogue, uid):
    return next(a for a in catalogue.assets if a.environment is not None and a.environment.uid == uid)


def test_constants_are_near_the_ends_in_metalness_and_mostly_glossy(thousand):
    constants = [
        obj.material
        for spec in thousand
        for obj in spec.objects
        if getattr(obj.material, "uid", "").startswith("constant/")
    ]
    share = len(constants) / sum(len(spec.objects) for spec in thousand)
    assert share == pytest.approx(TINY.materials.constant, abs=0.05)
    metallic = np.array([m.metallic for m in constants])
    assert np.mean((metallic < 0.25) | (metallic > 0.75)) == pytest.approx(0.68, abs=0.08)
    assert np.median([m.roughness for m in constants]) == pytest.approx(0.16, abs=0.04)
    assert not any(isinstance(obj.material, Native) for spec in thousand for obj in spec.objects)


def test_a_subsystem_can_change_without_disturbing_the_others(catalogue):
    for index in range(30):
        base = sample_scene(catalogue, TINY, 1, index)
        lit = sample_scene(catalogue, changed(TINY, lights={"per_scene": 4, "mirror": 0.0}), 1, index)
        assert len({light.map.uid for light in lit.lights}) == 4
        assert msgspec.structs.replace(lit, lights=base.lights) == base
        worn = sample_scene(catalogue, changed(TINY, materials={"constant": 1.0}, ground={"size": 77.0}), 1, index)
        assert worn.lights == base.lights
        assert worn.view == base.view
        assert [obj.position for obj in worn.objects] == [obj.position for obj in base.objects]
        seen = sample_scene(catalogue, changed(TINY, camera={"azimuth": 90.0, "distance": 3.5}), 1, index)
        assert (seen.ground, seen.lights, seen.light_motion) == (base.ground, base.lights, base.light_motion)
        if seen.resampled == base.resampled:
            assert seen.objects == base.objects


def test_drawing_again_is_counted_and_bounded(catalogue, papers):
    assert 0.0 < np.mean([spec.resampled > 0 for spec in papers]) < 0.3
    assert max(spec.resampled for spec in papers) < PAPER.placement.attempts
    crowded = changed(PAPER, objects={"area": 0.1, "count": (3, 3)}, placement={"attempts": 5})
    with pytest.raises(SpecError, match=r"none of 5 draws fits; mostly objects\.count, objects\.scale, objects\.area"):
        sample_scene(catalogue, crowded, 0, 0)


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"camera": {"distance": 0.3}}, "camera.distance"),
        ({"framing": {"size": 1.0}, "camera": {"distance": 4.0}}, "framing.size"),
    ],
)
def test_impossible_recipes_name_the_fields_that_conflict(catalogue, sections, field):
    recipe = changed(TINY, **sections, placement={"attempts": 3})
    with pytest.raises(SpecError) as error:
        sample_scene(catalogue, recipe, 0, 5)
    assert field in str(error.value)
    assert "scene 5" in str(error.value)


def test_meshes_that_keep_their_own_materials_need_no_others(catalogue):
    mesh = next(asset for asset in catalogue.assets if asset.kind == "mesh")
    file = File(uid="mine/a", provider="mine", path="a.glb", sha256="0" * 64)
    mine = msgspec.structs.replace(mesh, uid="mine/a", provider="mine", mesh=file, roles=("object",))
    lights = [asset for asset in catalogue.assets if asset.kind == "environment"]
    recipe = changed(TINY, materials={"native": 1.0, "constant": 0.0}, primitives={"count": (0, 0)})
    recipe = changed(recipe, ground={"probability": 0.0}, objects={"count": (1, 1)})
    scene = sample_scene(Catalogue([mine, *lights]), recipe, 7, 0)
    assert [obj.material for obj in scene.objects] == [Native()]
    for other in (changed(recipe, materials={"native": 0.9}), changed(recipe, ground={"probability": 0.5})):
        with pytest.raises(SpecError, match=r"materials\.constant needs|ground\.probability needs"):
            sample_scene(Catalogue([mine, *lights]), other, 7, 0)


def test_what_the_catalogue_lacks_is_named(catalogue):
    meshes = Catalogue(asset for asset in catalogue.assets if asset.kind != "environment")
    with pytest.raises(SpecError, match="lights needs"):
        sample_scene(meshes, TINY, 0, 0)
    lamps = Catalogue(a for a in catalogue.assets if a.kind != "environment" or light_kind(a) == "studio")
    with pytest.raises(SpecError, match=r"lights\.kinds gives no weight"):
        sample_scene(
            lamps, changed(TINY, lights={"kinds": msgspec.structs.replace(TINY.lights.kinds, studio=0.0)}), 0, 0
        )
    assert sample_scene(lamps, TINY, 0, 0)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_negative_seeds_and_indices_are_refused(catalogue, seed, index):
    with pytest.raises(SpecError, match="must be 0 or more"):
        sample_scene(catalogue, TINY, seed, index)


def test_splits_share_no_assets(catalogue):
    used = {}
    for split in ("train", "val", "test"):
        choices = asset_pools(catalogue, msgspec.structs.replace(TINY, split=split))
        lights = [asset for kind in choices.lights.values() for asset in kind]
        used[split] = {a.uid for a in (*choices.objects, *choices.surfaces, *choices.grounds, *lights)}
        assert used[split]
    for one, other in pairwise(["train", "val", "test", "train"]):
        assert not used[one] & used[other]


def test_recipes_without_motions_give_still_clips(catalogue):
    still = changed(
        TINY,
        motions={
            name: msgspec.structs.replace(getattr(TINY.motions, name), probability=0.0)
            for name in msgspec.to_builtins(TINY.motions)
        },
    )
    assert motion_names(sample_scene(catalogue, still, 0, 0)) == ()


def test_a_scene_of_primitives_alone_has_a_primitive_for_its_subject(catalogue):
    recipe = changed(TINY, objects={"count": (0, 0)}, primitives={"count": (0, 2)})
    specs = [sample_scene(catalogue, recipe, 0, index) for index in range(30)]
    assert all(spec.objects and spec.objects[0].role == "primitive" for spec in specs)


def test_no_module_of_the_room_uses_global_random_state():
    """Only `np.random.Generator` and what makes one may be named; the `random` module not at all."""
    allowed = {"Generator", "PCG64", "SeedSequence", "default_rng"}
    for path in Path(scenes.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert "random" not in names, path
                assert not any(name.startswith(("random.", "numpy.random")) for name in names), path
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and node.value.attr == "random"
            ):
                assert node.attr in allowed, f"{path}: numpy.random.{node.attr}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "default_rng":
                assert node.args, f"{path}: an unseeded generator"
