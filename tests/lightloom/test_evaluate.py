"""`lightloom evaluate` as a user runs it: a benchmark rendered in one process, measured in another."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import UNSET

from manifests.store.dataset import open_dataset
from scenes.catalogue import Catalogue
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import BENCHMARK_RECIPES, load_recipe
from scenes.sampling import sample_scene
from scenes.spec import Native
from tests.lightloom.torchlines import run_python

RUN = """
import sys
from lightloom.cli import run
code = run(sys.argv[1:])
print("loaded:", *sorted({"bpy", "torch"} & set(sys.modules)))
sys.stdout.flush()
import os
os._exit(code)
"""
MEASURE = """
import sys
import torch
from lightloom.cli import run
from renderers.forward import ForwardRenderer
from renderers.tiny.tiny_renderers import TinyForward
torch.set_num_threads(1)
torch.manual_seed(0)
benchmark, out, checkpoint = sys.argv[1:]
ForwardRenderer(TinyForward(widths=(16, 32), depths=(1, 1), embedding=16)).save_pretrained(checkpoint)
code = run(["evaluate", "run", benchmark, out, "--forward", checkpoint])
print("loaded:", *sorted({"bpy", "torch"} & set(sys.modules)))
sys.exit(code)
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    done = python(RUN, "evaluate", "build", folder, "--objects", 0, "--scenes", 0, "--turns", 1, "--seed", 2)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 items finished" in done.stdout
    assert "loaded:\n" in done.stdout  # neither here: Blender runs in workers
    return folder


@pytest.mark.parametrize("name", BENCHMARK_RECIPES)
def test_benchmarks_use_test_assets_and_places_only(name):
    catalogue, recipe = builtin_catalogue(), load_recipe(name)
    assert recipe.name == name
    assert recipe.lights.per_scene == (1 if "turns" in name else 4)
    for index in range(12 if name == "synthetic-scenes-small" else 3):
        spec = sample_scene(catalogue, recipe, 0, index)
        surfaces = [obj.material for obj in spec.objects]
        if spec.setting is UNSET:
            surfaces.append(spec.ground.material)
        else:
            surfaces += [spec.setting.material_of(piece) for piece in spec.setting.pieces]
        uids = {light.map.uid for light in spec.lights} | {obj.mesh.uid for obj in spec.objects}
        uids |= {material.uid for material in surfaces if not isinstance(material, Native)}
        assert {catalogue[uid].split for uid in uids if uid in {a.uid for a in catalogue.assets}} <= {"test", "all"}
        assert all(catalogue[light.map.uid].split == "test" for light in spec.lights)
        if spec.setting is not UNSET:
            assert name == "synthetic-scenes-small"
            continue
        roles = [obj.role for obj in spec.objects]
        assert roles.count("object") == 1 if "objects" in name else roles.count("object") >= 2
        assert ("primitive" in roles) == ("objects" not in name)


def test_only_the_light_turns_in_the_turning_benchmarks():
    catalogue = builtin_catalogue()
    for name in ("synthetic-turns", "synthetic-turns-small", "synthetic-turns-tiny"):
        spec = sample_scene(catalogue, load_recipe(name), 0, 0)
        assert abs(spec.light_motion.degrees) >= 90
        assert not spec.view.motions
        assert not any(obj.motions for obj in spec.objects)


def test_a_built_benchmark_holds_assets_of_the_test_split(benchmark):
    dataset = open_dataset(benchmark / "turns")
    catalogue = Catalogue.load(benchmark / "turns" / "catalogue.parquet")
    (row,) = dataset.rows()
    assert (row.split, row.frames, row.height, row.motions) == ("test", 12, 64, ("light_rotation",))
    assert {catalogue[use.uid].split for use in row.assets} <= {"test", "all"}


def test_measuring_it_loads_no_blender_and_says_which_bars_hold(benchmark, tmp_path):
    code, out, err = run_python(MEASURE, tmp_path, [benchmark, tmp_path / "out", tmp_path / "forward"])
    assert code == 0, err
    assert "shadow turn, true re-render" in out
    assert "not measured base colour" in out
    assert "loaded: torch" in out
    assert (tmp_path / "out" / "report.md").is_file()
