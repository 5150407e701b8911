"""The house rules that an architecture page can only promise: read from the source, nothing of ours is imported."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("manifests", "pipeline", "scenes", "renderers", "datagen", "labeling", "training", "editing", "lightloom")
MOST_LINES = 500
MOST_MODULES = 365
MOST_CODE_LINES = 42_000

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees by dotted name; a package has the name of its folder."""
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _path(module: str) -> Path:
    place = ROOT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _is_package(module: str) -> bool:
    return _path(module).name == "__init__.py"


def test_a_module_name_is_used_once() -> None:
    places = defaultdict(set)
    for module in modules():
        if not _is_package(module):
            places[module.rpartition(".")[2]].add(module)
    assert not {name: sorted(found) for name, found in places.items() if len(found) > 1}


def test_a_public_class_name_is_used_in_one_room() -> None:
    places = defaultdict(set)
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(module)
    assert not {name: sorted(found) for name, found in places.items() if len(found) > 1}


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = {module: _imported(module) for module in modules()}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def _imported(module: str) -> set[str]:
    """The modules of ours that a module imports, in functions too; not those that only its type checker sees."""
    found: set[str] = set()
    for node in _without_type_checking(modules()[module]):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in modules() else node.module for name in whole}
    return (found & set(modules())) - {module}


def _without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _without_type_checking(node)


def test_no_module_is_too_long() -> None:
    lengths = {module: len(_path(module).read_text(encoding="utf-8").splitlines()) for module in modules()}
    assert not {module: length for module, length in lengths.items() if length > MOST_LINES}


def test_there_are_not_too_many_modules() -> None:
    assert len(modules()) <= MOST_MODULES


def test_there_is_not_too_much_code() -> None:
    assert sum(map(_code_lines, modules())) <= MOST_CODE_LINES


def _code_lines(module: str) -> int:
    """Without blank lines and docstrings."""
    documented: set[int] = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = _path(module).read_text(encoding="utf-8").splitlines()
    return sum(bool(line.strip()) and number not in documented for number, line in enumerate(lines, 1))


def test_networks_and_training_are_written_for_python_3_12_too() -> None:
    """Blender fixes the version of the rest; machines with GPUs are often behind."""
    for room in ("renderers", "training", "manifests"):
        for path in sorted((ROOT / room).rglob("*.py")):
            ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 12))


def test_every_folder_says_what_it_holds() -> None:
    assert not [module for module, tree in modules().items() if _is_package(module) and not ast.get_docstring(tree)]
    folders = {path for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in {path.parent for path in folders})


def test_errors_below_the_command_line_name_fields_and_no_flags() -> None:
    """`LightloomError.told` makes "--pick" of `pick`, for the command line alone."""
    found = set()
    for module, tree in modules().items():
        if not module.startswith("lightloom"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Raise):
                    texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
                    if any(isinstance(text, str) and re.search(r"(?<!\S)`?--[a-z]", text) for text in texts):
                        found.add(module)
    assert not found


def test_the_wheel_has_every_file_that_is_not_code() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    for room in ROOMS:
        packed = {path for pattern in patterns["*"] + patterns.get(room, []) for path in (ROOT / room).glob(pattern)}
        there = {path for path in (ROOT / room).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert there <= packed, sorted(there - packed)
        assert ROOT / room / "py.typed" in packed


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_files_that_guide_through_the_house_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_changelog_names_modules_that_exist() -> None:
    table = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("### Moved")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| `.*\| (`.*`.*) \|$", table, re.MULTILINE):
        package = ""
        for name in re.findall(r"`([\w.]+)`", row):
            package = package if name.startswith(".") else name.rpartition(".")[0]
            full = f"{package}{name}" if name.startswith(".") else name
            assert full in modules(), full
