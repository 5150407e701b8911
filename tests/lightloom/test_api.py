"""`import lightloom`: the public names, what they cost, and what is said when another package hides one of ours."""

import ast
import base64
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lightloom
from lightloom.rooms import HOME, ROOMS

SOURCE = Path(lightloom.__file__)


def python(code: str, *first: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with the folders `first` before Lightloom's on the path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*first, HOME]))}
    command = [sys.executable, "-c", code]
    cwd = first[0] if first else HOME  # Python looks there before anywhere else
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


NOT_EDITABLE = "import sys; sys.meta_path = [one for one in sys.meta_path if '__editable__' not in one.__module__]\n"
"""An editable install finds modules of ours even in a package that is not."""


def package(folder: Path, name: str, text: str = "") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    return folder


def test_importing_lightloom_is_quick_and_loads_nothing_heavy():
    code = """
import sys, time
began = time.process_time()
import lightloom
spent = time.process_time() - began
dir(lightloom), lightloom.__all__
print([name for name in ("torch", "bpy", "ray", "cv2", "diffusers", "numpy") if name in sys.modules], spent < 0.1)
"""
    done = python(code)
    assert done.stdout == "[] True\n", done.stdout + done.stderr
    assert not done.stderr


def test_data_and_scenes_are_used_without_torch_blender_and_ray():
    code = """
import sys, lightloom
lightloom.Clip, lightloom.Dataset, lightloom.open_dataset, lightloom.load_recipe, lightloom.sample_scene
print([name for name in ("torch", "bpy", "ray", "diffusers") if name in sys.modules])
"""
    assert python(code).stdout == "[]\n"


def test_every_public_name_is_there():
    code = "import lightloom\nfor name in lightloom.__all__: print(name, getattr(lightloom, name) is not None)"
    done = python(code)
    assert done.stdout.splitlines() == [f"{name} True" for name in lightloom.__all__], done.stderr
    assert set(lightloom.__all__) <= set(dir(lightloom))


def test_what_type_checkers_see_is_what_there_is():
    seen = set()
    for branch in ast.parse(SOURCE.read_text()).body:
        if isinstance(branch, ast.If):
            for node in branch.body:
                seen |= {name.name for name in node.names} if isinstance(node, ast.ImportFrom) else set()
    assert seen | {"__version__"} == set(lightloom.__all__) == set(lightloom._HOMES) | {"__version__"}
    assert all((HOME / room / "py.typed").is_file() for room in (*ROOMS, "lightloom"))


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Clipp'"):
        lightloom.Clipp  # noqa: B018


def test_a_package_before_ours_is_said_at_import_at_use_and_by_doctor(tmp_path):
    other = package(tmp_path, "renderers")
    said = f"Python finds the package `renderers` in {other}/renderers/__init__.py, not in {HOME}/renderers"
    done = python(NOT_EDITABLE + "import lightloom; print(lightloom.Clip.__name__); lightloom.InverseRenderer", other)
    assert f"RuntimeWarning: {said}" in done.stderr
    assert done.stdout == "Clip\n"
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {said}")
    done = python("from lightloom.commands import doctor; print(doctor._rooms().line())", other)
    assert done.stdout.startswith(f"missing  packages   {said}")
    assert done.stdout.count("\n") == 1


def test_nothing_starts_without_the_packages_that_all_others_need(tmp_path):
    done = python("from lightloom.cli import main; main()", package(tmp_path, "pipeline"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: Python finds the package `pipeline` in ")


def installed(site: Path) -> Path:
    """A small Lightloom as pip installs it, with its record."""
    shutil.copytree(SOURCE.parent, site / "lightloom", ignore=shutil.ignore_patterns("__pycache__"))
    lines = []
    for room in ROOMS:
        digest = hashlib.sha256((package(site, room) / room / "__init__.py").read_bytes()).digest()
        lines.append(f"{room}/__init__.py,sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},0\n")
    (site / "lightloom-1.dist-info").mkdir()
    (site / "lightloom-1.dist-info" / "RECORD").write_text("".join(lines))
    return site


def test_an_installed_lightloom_is_silent(tmp_path):
    assert not python("import lightloom", installed(tmp_path)).stderr


def test_a_package_written_over_ours_is_said(tmp_path):
    room = installed(tmp_path) / "labeling" / "__init__.py"
    room.write_text("labels = 1")
    done = python("import lightloom", tmp_path)
    assert f"RuntimeWarning: {room} was overwritten since Lightloom was installed" in done.stderr


def test_a_package_that_another_took_along_is_said(tmp_path):
    shutil.rmtree(installed(tmp_path) / "scenes")
    (tmp_path / "scenes").mkdir()
    done = python(f"{NOT_EDITABLE}sys.path.remove({str(HOME)!r}); import lightloom", tmp_path)
    assert f"RuntimeWarning: the package `scenes` of Lightloom is not whole in {tmp_path}" in done.stderr
