"""`lightloom checkpoint`, in a process of its own: other command line tests import Blender, which bears no torch."""

import json
from pathlib import Path

from tests.lightloom.torchlines import run_lines

SETUP = """
from tests.renderers.narrow import narrow_checkpoint
narrow_checkpoint(Path("published"), "forward", bare=True)
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
    results = run_lines(tmp_path, "checkpoint", {" ".join(line): line for line in lines}, SETUP).values()
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
