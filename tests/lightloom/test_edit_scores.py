"""Scored edits: the specs are exact, and the command renders once, scores and reports."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from editing.benchmark.cases import Case, InsertedObject, circled, material_cases, plain, shortened, still, subject_of
from editing.benchmark.edit_report import Findings
from editing.benchmark.edit_run import boxed, foot_off
from editing.benchmark.edit_videos import ASSUMED, OURS
from editing.benchmark.truth import Truths
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.errors import RunError
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe
from scenes.sampling import sample_scene
from scenes.spec import Principled, SceneSpec
from tests.lightloom.torchlines import run_python
from training.evaluation.scores import Score

DRIVER = """
import contextlib, io, json, os, sys
import msgspec
from pathlib import Path
from datagen.generation import DatagenSettings, generate
from pipeline.options import RunOptions
from scenes.providers.builtin import builtin_catalogue
from scenes.recipes import load_recipe, make_recipe
from lightloom.cli import run
import editing.benchmark.cases as cases
cases.FRAMES, cases.SAMPLES = 2, 8
cases.MOVING_FRAMES, cases.MOVING_SIDE, cases.MOVING_SAMPLES = 3, 48, 4
plain = msgspec.to_builtins(load_recipe("synthetic-scenes-tiny"))
plain["frames"], plain["lights"]["per_scene"] = 2, 1
plain["render"] |= {"width": 32, "height": 32, "samples": 4, "denoiser": "none"}
recipe = make_recipe(plain)
generate(Path("benchmark/scenes"), DatagenSettings(recipe, 1, 3, "exact", 1), builtin_catalogue(), RunOptions())
import torch
torch.set_num_threads(1)
from renderers import ForwardRenderer, InverseRenderer
from renderers.backbones import BACKBONES
small = dict(widths=(16, 32), depths=(1, 1), embedding=16)
for kind, pipeline in (("inverse", InverseRenderer), ("forward", ForwardRenderer)):
    pipeline(BACKBONES["tiny"].create(kind, **small)).save_pretrained(kind)
results = []
weights = ("--inverse", "inverse", "--forward", "forward", "--device", "cpu")
for arguments in (("benchmark", "out"), ("benchmark", "out"), ("nowhere", "no")):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["evaluate", "edits", *arguments, *weights])
    made = {str(path): path.stat().st_mtime_ns for path in Path("out/truth").glob("*/*")}
    results.append((code, out.getvalue(), err.getvalue(), made))
print(json.dumps(results))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def spec() -> SceneSpec:
    return sample_scene(builtin_catalogue(), load_recipe("synthetic-scenes-tiny"), 0, 0)


def clip_of(spec: SceneSpec) -> Clip:
    """A clip in which the first object fills a quarter of the picture, striped in two colours."""
    size = (2, 16, 16)
    instance = np.ones((*size, 1), dtype=np.uint16)
    instance[:, 4:12, 4:12] = spec.objects[0].instance
    stripes = np.where(np.arange(16) % 2, 0.2, 0.4)[None, None, :, None]
    arrays = {
        "instance": instance,
        "mask": np.ones((*size, 1), dtype=np.float32),
        "basecolor": np.broadcast_to(stripes * [1.0, 0.5, 0.25], (*size, 3)).astype(np.float32),
        "roughness": np.full((*size, 1), 0.3, dtype=np.float32),
        "metallic": np.full((*size, 1), 0.1, dtype=np.float32),
    }
    return Clip("00000000-00", arrays)


def look_at_origin(frames: int) -> Camera:
    """From three units above the origin straight down."""
    pose = np.eye(4)
    pose[2, 3] = 3.0
    return Camera(intrinsics_from_fov(50.0, 16, 16), np.repeat(pose[None], frames, axis=0))


def test_the_subject_is_the_largest_object_and_becomes_its_own_mean(spec):
    textured = msgspec.structs.replace(
        spec, objects=tuple(thing for thing in spec.objects if not isinstance(thing.material, Principled))
    )
    clip = clip_of(textured)
    subject = subject_of(textured, clip)
    assert subject == textured.objects[0]
    base, own = plain(textured, subject, clip)
    assert own.basecolor == pytest.approx((0.3, 0.15, 0.075), abs=1e-3)
    assert (own.roughness, own.metallic) == (pytest.approx(0.3), 0.0)
    assert base.objects[0].material == own
    assert base.objects[1:] == textured.objects[1:]


def test_each_edit_changes_one_value_of_one_instance(spec):
    subject, clip = spec.objects[0], clip_of(spec)
    base, own = plain(spec, subject, clip)
    cases = material_cases(0, base, subject, own)
    changed = {"colour": "basecolor", "gloss": "roughness", "metal": "metallic"}
    assert [case.edit for case in cases] == list(changed)
    for case in cases:
        assert case.before == base
        assert msgspec.structs.replace(case.after, objects=case.before.objects) == case.before
        before, after = (scene.objects[0].material for scene in (case.before, case.after))
        assert case.after.objects[1:] == case.before.objects[1:]
        differing = [name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)]
        assert differing == [changed[case.edit]]
        assert getattr(case.change, differing[0]) == getattr(after, differing[0])


def test_a_case_is_the_same_scene_under_one_light_and_a_still_one_keeps_all_but_the_camera(spec):
    short = shortened(spec, 2)
    assert short.lights == (spec.lights[2],)
    assert (short.view, short.objects, short.seed, short.index) == (spec.view, spec.objects, spec.seed, spec.index)
    fixed = still(short)
    assert fixed.view.motions == ()
    assert msgspec.structs.replace(fixed, view=short.view) == short


def test_a_circled_scene_is_larger_and_nothing_in_it_moves_but_the_camera(spec):
    around = circled(shortened(spec, 0))
    assert max(around.render.width, around.render.height) == 192
    assert [type(motion).__name__ for motion in around.view.motions] == ["Orbit"]
    assert not any(thing.motions for thing in around.objects)


def test_the_box_around_a_thing_is_twice_its_size_and_ends_with_the_picture():
    thing = np.zeros((2, 20, 30), dtype=bool)
    thing[0, 8:12, 10:16] = True
    boxes = boxed(thing)
    assert boxes[0, 6:14, 7:19].all()
    assert boxes[0].sum() == 8 * 12
    assert not boxes[1].any()
    thing[1, 0:4, 28:30] = True
    assert boxed(thing)[1, :6, 27:].all()


def test_a_foot_is_off_by_pixels_from_the_true_one_in_each_frame(spec):
    thing = msgspec.structs.replace(spec.objects[0], position=(0.0, 0.0))
    case = Case("insert, camera moves", 0, spec, spec, 9, inserted=InsertedObject(thing, (8, 8)))
    camera = look_at_origin(2)
    clip = replace(clip_of(spec), camera=camera)
    true = camera.project(np.zeros((1, 3)))[0][:, 0]
    assert foot_off(case, true + np.array([[0.0, 0.0], [3.0, 4.0]]), clip) == pytest.approx([0.0, 5.0])


def test_feet_and_the_gain_over_a_still_camera_are_bars_of_their_own():
    def score(method: str, value: float) -> Score:
        return Score("insert, camera moves", 0, 0, "pixels", method, "", "box_psnr", value)

    findings = Findings({}, [score(OURS, 24.0), score(ASSUMED, 20.5)])
    assert [bar.holds for bar in findings.bars()[-2:]] == [True, None]
    findings.feet["pixels", "insert, camera moves"] = [0.5] * 30 + [9.0] * 10
    box, foot = findings.bars()[-2:]
    assert (box.measured, foot.measured, foot.holds) == (3.5, 9.0, False)


def test_a_spec_that_cannot_be_rendered_is_named(spec, tmp_path):
    truths = Truths(tmp_path / "truth", tmp_path / "no.parquet")
    with pytest.raises(RunError, match=r"scene 0: not rendered .*its spec is"):
        truths.clip(shortened(spec, 0))


def test_the_process_that_edits_does_not_load_blender(tmp_path: Path) -> None:
    code = "import sys, editing.benchmark.edit_run; print('bpy' in sys.modules)"
    assert run_python(code, tmp_path)[:2] == (0, "False\n")


@pytest.mark.slow
def test_edits_are_rendered_once_and_scored(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    first, second, nowhere = json.loads(ran.stdout.splitlines()[-1])
    assert first[0] == 0, first[2]
    assert "colour, true G-buffers, camera and light" in first[1]
    assert first[3] == second[3]  # the truth was not touched again
    found = json.loads((tmp_path / "out" / "edits.json").read_text())
    assert {score["part"] for score in found["scores"]} >= {"colour", "gloss", "metal"}
    assert {score["task"] for score in found["scores"]} == {"truth", "pixels"}
    unchanged = [score for score in found["scores"] if score["method"] == "input unchanged"]
    assert all(score["value"] < 60 for score in unchanged if score["metric"] == "region_psnr")
    assert (tmp_path / "out" / "edits.webp").is_file()
    assert "| ours |" in (tmp_path / "out" / "edits.md").read_text()
    assert nowhere[0] == 1
    assert "no benchmark here" in nowhere[2]
