import msgspec
import pytest

from manifests.errors import SpecError
from scenes.distributions import LogUniform
from scenes.recipes import BUILTIN_RECIPES, Recipe, load_recipe, make_recipe
from scenes.spec import to_json


def load(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return load_recipe(path)


@pytest.mark.parametrize("name", BUILTIN_RECIPES)
def test_shipped_recipes_load_under_their_names(name):
    assert load_recipe(name).name == name


def test_paper_has_the_published_ranges():
    recipe = load_recipe("paper")
    assert (recipe.frames, recipe.render.width, recipe.render.height) == (24, 512, 512)
    assert (recipe.objects.count, recipe.objects.scale, recipe.objects.area) == ((1, 3), (1.0, 1.5), 1.0)
    assert (recipe.primitives.scale, recipe.primitives.area) == ((0.3, 0.8), 1.5)
    assert (recipe.camera.distance, recipe.camera.elevation, recipe.camera.fov) == ((2.0, 4.0), (5.0, 85.0), 45.0)
    assert recipe.lights.per_scene == 1
    motions = msgspec.to_builtins(recipe.motions)
    assert len(motions) == 6  # later ones are left out
    assert all(rules["probability"] > 0 for rules in motions.values())


def test_a_file_changes_only_what_it_says(tmp_path):
    recipe = load(
        tmp_path, "base: paper\nlights: {per_scene: 4}\ncamera: {distance: {kind: log_uniform, low: 2, high: 3}}"
    )
    paper = load_recipe("paper")
    assert recipe.name == "mine"
    assert recipe.lights == msgspec.structs.replace(paper.lights, per_scene=4)
    assert recipe.camera == msgspec.structs.replace(paper.camera, distance=LogUniform(low=2.0, high=3.0))
    assert recipe.objects == paper.objects


def test_a_distribution_replaces_the_one_below_it(tmp_path):
    recipe = load(tmp_path, "base: paper\nmaterials: {roughness: {kind: choice, values: [0.1, 0.9]}}")
    assert recipe.materials.roughness.values == (0.1, 0.9)


def test_a_base_may_be_a_file_beside_it_and_names_carry_over(tmp_path):
    (tmp_path / "below.yaml").write_text("base: tiny\nname: ours\nframes: 5\n")
    assert load(tmp_path, "base: below.yaml\nfps: 4").frames == 5
    assert load(tmp_path, "base: below.yaml\nname: last").name == "last"


def test_json_round_trip_is_exact_and_the_digest_sees_every_change():
    recipe = load_recipe("paper")
    assert msgspec.json.decode(to_json(recipe), type=Recipe) == recipe
    assert to_json(recipe) == to_json(load_recipe("paper"))
    assert to_json(recipe) != to_json(msgspec.structs.replace(recipe, fps=23.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objects: {cuont: [1, 2]}", "objects.cuont: no such field; did you mean count?"),
        ("colour: red", "colour: no such field; known are name, split"),
        ("objects: {count: [3, 2]}", "objects.count: fewest 3 is above most 2"),
        ("objects: {count: [a, 2]}", "objects.count[0]: Expected `int`, got `str`"),
        ("objects: {count: [1, 2, 3]}", "objects.count: Expected `array` of length 2"),
        ("render: {samples: 0}", "render.samples: Expected `int` >= 1"),
        ("render: {denoise: fast}", "render.denoise: no such field; did you mean denoiser?"),
        ("render: {denoiser: best}", "render.denoiser: Invalid enum value 'best'"),
        ("camera: {elevation: [50, 45]}", "camera.elevation: low 50 is above high 45"),
        ("camera: {elevation: [5, 95]}", "camera.elevation: draws 5 to 95, allowed is 0 to 88"),
        ("camera: {elevation: steep}", "camera.elevation: Expected"),
        ("camera: {fov: [.nan, 50]}", "camera.fov: every number must be finite"),
        ("fps: .inf", "fps: inf is not a finite number"),
        (
            "camera: {distance: {kind: log_uniform, lowest: 1, high: 2}}",
            "camera.distance.lowest: no such field; did you",
        ),
        ("camera: {distance: {kind: gaussian, low: 1}}", "camera.distance.kind: Invalid value 'gaussian'"),
        ("camera: {distance: {kind: squared_uniform, low: 2, high: 1}}", "camera.distance: low 2 is above high 1"),
        ("motions: {orbit: {probability: 1.5}}", "motions.orbit.probability: Expected `float` <= 1.0"),
        ("motions: [orbit]", "motions: Expected `object`, got `array`"),
        ("objects: {count: [0, 0]}\nprimitives: {count: [0, 0]}", "objects.count, primitives.count: both 0"),
        ("lights: {kinds: {hdri: 0, sky: 0, studio: 0}}", "lights.kinds: every weight is 0"),
        ("split: training", "split: Invalid enum value 'training'"),
        ("camera: {distance: {kind: {a: 1}}}", "camera.distance.kind: Expected `str`, got `dict`"),
        ("licences: {non_comercial: true}", "licences.non_comercial: no such field; did you mean non_commercial?"),
    ],
)
def test_errors_name_the_file_and_the_field(tmp_path, text, message):
    with pytest.raises(SpecError) as error:
        load(tmp_path, f"base: paper\n{text}\n")
    assert str(error.value).startswith(str(tmp_path / "mine.yaml"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: mine.yaml", "do two of them name each other?"),
        ("base: papr", "did you mean paper?"),
        ("base: 3", "base: expected the name of a recipe or a path, got 3"),
        ("[", "not YAML"),
        ("- 1", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("frames: 3", "missing required field `render`"),
    ],
)
def test_files_that_are_no_recipes_are_refused(tmp_path, text, message):
    with pytest.raises(SpecError) as error:
        load(tmp_path, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_one_line_with_the_shipped_names():
    with pytest.raises(SpecError, match="did you mean tiny"):
        load_recipe("tyni")


def test_recipes_can_be_made_from_plain_data():
    plain = msgspec.to_builtins(load_recipe("tiny")) | {"frames": 3}
    assert make_recipe(plain).frames == 3


def test_motions_that_need_a_setting_are_refused_on_a_table_top():
    for name in ("walk", "flight"):
        with pytest.raises(SpecError, match=rf"motions\.{name}: nothing of it happens on a table-top"):
            make_recipe(msgspec.to_builtins(load_recipe("tiny")) | {"motions": {name: {"probability": 1.0}}})
    world = load_recipe("world")
    assert world.motions.walk.probability > 0
    assert world.camera.fov == (20.0, 90.0)


@pytest.mark.parametrize("name", ["tiny", "paper", "demo", "synthetic-scenes"])
def test_recipes_that_name_no_new_motion_say_nothing_of_it(name):
    assert list(msgspec.to_builtins(load_recipe(name))["motions"]) == [
        *("orbit", "oscillation", "dolly", "light_rotation", "object_rotation", "object_translation")
    ]
