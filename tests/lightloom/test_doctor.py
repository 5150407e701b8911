"""`lightloom doctor`, in processes of its own: it asks Blender and torch."""

import json
import os
import subprocess
import sys

from lightloom.commands import doctor
from manifests import yaml_presets

COMMAND = [sys.executable, "-c", "from lightloom.cli import main; main()", "doctor"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    quiet = {"OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=os.environ | quiet, check=False, timeout=300
    )


def test_a_machine_that_runs_these_tests_has_all_that_is_required(tmp_path):
    done = run("--json", "--folder", str(tmp_path / "not" / "there"))
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert {name for name, one in found.items() if one["state"] != "ok"} <= {"view", "studio", "cameras"}
    assert "bpy 5." in found["blender"]["found"]
    assert "CPU" in found["cycles"]["found"]
    assert "bf16" in found["torch"]["found"]
    assert "libx264" in found["ffmpeg"]["found"]
    assert found["disk"]["found"].endswith(str(tmp_path))
    assert not (tmp_path / "not").exists()


def test_what_is_required_and_missing_is_named_with_what_to_do(tmp_path):
    (tmp_path / "bpy.py").write_text("raise ImportError('no bpy here')")
    (tmp_path / "torch.py").write_text("import os; os.kill(os.getpid(), 11)")
    done = run(PYTHONPATH=str(tmp_path))
    lines = {line.split()[1]: line for line in done.stdout.splitlines()[:-1]}
    assert done.returncode == 1
    assert lines["blender"].startswith("missing")
    assert "no bpy here" in lines["blender"]
    assert "pip install" in lines["blender"]
    assert "ended with code -11" in lines["torch"]
    assert done.stdout.splitlines()[-1] == "required and missing: blender, torch"


def test_an_absent_extra_is_no_failure(monkeypatch):
    monkeypatch.setitem(doctor._EXTRAS, "view", ("lightloom-no-such-package", "lightloom view"))
    check = doctor._extra("view", *doctor._EXTRAS["view"])
    assert check.state == "absent"
    assert check.line().endswith("pip install 'lightloom[view]'")


def test_guides_are_those_of_the_checkout_or_of_the_wheel(monkeypatch, tmp_path):
    assert doctor._guides().state == "ok"
    assert yaml_presets.guide("docs/recipes.md").is_file()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(yaml_presets, "__file__", str(tmp_path / "lib" / "manifests" / "yaml_presets.py"))
    check = doctor._guides()
    assert (check.state, str(tmp_path / "share" / "doc" / "lightloom") in check.found) == ("absent", True)


def test_what_the_published_cosmos_weights_need_is_said_for_common_cards_and_this_one(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda folder: iter(()))
    assert doctor.doctor(weights="cosmos") == 0
    lines = capsys.readouterr().out.splitlines()
    cards = [line.split("cosmos")[1].split(",")[0].strip() for line in lines]
    assert list(dict.fromkeys(cards))[:4] == ["16 GB card", "24 GB card", "48 GB card", "80 GB card"]
    assert cards.count("16 GB card") == 4, "each kind, one picture and 57 frames"
    assert "24 GB card, inverse, 57 of 704x1280: all on the GPU: 18.9 GB" in "\n".join(lines)
    assert cards[-1] == "this GPU" or "this machine, no GPU; 24 GB of GPU memory" in lines[-1]
