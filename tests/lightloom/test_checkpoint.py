"""`lightloom checkpoint`, in a process of its own: other command line tests import Blender, which bears no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

DRIVER = """
import contextlib, io, json, sys
from pathlib import Path
from lightloom.cli import run
import lightloom.commands.checkpoint
lazy = "torch" not in sys.modules
from tests.renderers.narrow import narrow_checkpoint
narrow_checkpoint(Path("published"), "forward", bare=True)
results = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(arguments)
        except SystemExit as stop:
            code = stop.code
    results.append((code, out.getvalue(), err.getvalue()))
print(json.dumps([lazy, results]))
"""
FORWARD = ("--kind", "forward", "--licence", "LicenseRef-NC")
INVERSE = ("--kind", "inverse", "--licence", "LicenseRef-NC")


def test_inspect_and_convert_a_published_folder(tmp_path: Path) -> None:
    lines = [
        ("inspect", "published"),
        ("convert", "published", "converted", *FORWARD),
        ("inspect", "converted", "--json"),
        ("convert", "published", "other", *INVERSE),
        ("inspect", "nowhere"),
        ("inspect", "--help"),
        ("convert", "--help"),
    ]
    command = [sys.executable, "-c", DRIVER, json.dumps([("checkpoint", *line) for line in lines])]
    root = Path(__file__).parents[2]
    made = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert made.returncode == 0, made.stderr
    lazy, results = json.loads(made.stdout.splitlines()[-1])
    assert lazy  # the command line alone imports no torch
    shown, converted, as_json, wrong_kind, nowhere, *helps = results
    assert shown[0] == 0
    assert "published: forward renderer, backbone svd, bare published layout" in shown[1]
    assert converted[0] == 0
    assert "LicenseRef-NC" in converted[1]
    record = json.loads(as_json[1])
    assert (record["kind"], record["layout"], record["path"]) == ("forward", "lightloom", "converted")
    assert wrong_kind[0] == nowhere[0] == 1
    assert len(wrong_kind[2].splitlines()) == len(nowhere[2].splitlines()) == 1
    assert "forward renderer" in wrong_kind[2]
    assert not (tmp_path / "other").exists()
    for name, (code, text, _) in zip(("inspect", "convert"), helps, strict=True):
        assert code == 0
        assert f"Example: lightloom checkpoint {name}" in " ".join(text.split())
