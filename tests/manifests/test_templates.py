"""Templates lie beside the code of any package; HTML is escaped, Markdown is not, and a missing value is an error."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from manifests.report.grids import tiled
from manifests.report.templates import macro, render

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "templates_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "a.html").write_text("{% macro b(text) %}<b>{{ text }}</b>{% endmacro %}\n{{ b(text) }}\n")
    (folder / "a.md").write_text("{% for text in texts %}\n- {{ text }}\n{% endfor %}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)  # that of the test before, whose files are gone
    return folder.name


def test_html_is_escaped_and_macros_are_not_twice(package: str) -> None:
    assert render(f"{package}/a.html", text="<i>&") == "<b>&lt;i&gt;&amp;</b>\n"


def test_a_macro_of_a_template_can_be_called() -> None:
    drawn = macro("manifests.report/macros.html", "chart", "<title>", "note", "<svg>")
    assert "<b>&lt;title&gt;</b> note" in drawn and "&lt;svg&gt;" in drawn


def test_markdown_is_text(package: str) -> None:
    assert render(f"{package}/a.md", texts=["<i>", "a & b"]) == "- <i>\n- a & b\n"


def test_a_value_that_is_not_given_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="'texts' is undefined"):
        render(f"{package}/a.md")


def test_every_template_is_package_data() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for room in ("manifests", "training", "editing", "lightloom"):
        found = {path for kind in ("html", "css", "js", "md") for path in (ROOT / room).rglob(f"*.{kind}")}
        shipped = {path for pattern in patterns[room] for path in (ROOT / room).glob(pattern)}
        assert found and found <= shipped, room


def test_videos_of_one_grid_start_together_and_shorter_ones_end_early() -> None:
    long, short = (np.full((frames, 10, 20, 3), 255, dtype=np.uint8) for frames in (4, 1))
    grid = tiled({"long": long, "short": short, "": long}, 8.0, 2, largest=40)
    assert (grid.columns, grid.rows, grid.names, grid.frames, grid.fps) == (2, 2, ("long", "short"), 4, 8.0)
    assert (grid.width, grid.height) == (2 * 40 + 4, 2 * 20 + 4)
