"""The studio speaks of what is on its page: no option of the command line is named there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from manifests.errors import InputError

STUDIO = Path(__file__).parents[2] / "lightloom" / "studio"
ROOMS = ("editing", "renderers", "labeling", "datagen", "manifests")
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def strings(tree: ast.AST) -> list[str]:
    """Every string constant that is no docstring."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone]
    return [node.value for node in constants if isinstance(node.value, str)]


@pytest.mark.parametrize("path", sorted(STUDIO.glob("*.py")), ids=lambda path: path.stem)
def test_no_string_of_the_page_names_an_option(path: Path) -> None:
    assert not [text for text in strings(ast.parse(path.read_text())) if FLAG.search(text)]


def test_a_message_names_what_the_page_shows() -> None:
    pytest.importorskip("gradio", reason="the extra `studio` is not installed")
    from lightloom.studio.app import label_of

    error = InputError("`tolerance` is 3, expected a number above 0, at most 1", fields=("tolerance",))
    assert error.told(label_of) == "Tolerance of the selection is 3, expected a number above 0, at most 1"


def test_every_argument_that_a_room_names_becomes_words_without_dashes() -> None:
    pytest.importorskip("gradio", reason="the extra `studio` is not installed")
    from lightloom.studio.app import label_of

    fields = set()
    for room in ROOMS:
        for path in (STUDIO.parents[1] / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "fields" and isinstance(node.value, ast.Tuple):
                    fields |= {part.value for part in node.value.elts if isinstance(part, ast.Constant)}
    assert {"pick", "mask", "change", "depth", "side"} <= fields
    assert not [field for field in fields if re.search(r"--|_|`", label_of(field))]
