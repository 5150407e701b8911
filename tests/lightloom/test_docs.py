"""README.md and docs/ say what is there: commands parse, options, files and error messages exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache

import pytest

from lightloom.cli import app
from lightloom.commands.completion import script
from tests.lightloom import doclines
from tests.lightloom.doclines import PAGES, ROOT

_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROOMS = ("manifests", "pipeline", "scenes", "datagen", "renderers", "labeling", "training", "editing", "lightloom")


def prose(page: str) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", doclines.source(page))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_the_command_line_takes(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in doclines.commands(page):
        program, *words = line.words
        if program == "lightloom":
            try:
                called, _ = doclines.parse(words)
            except SystemExit:
                pytest.fail(f"{page}: {line.text}\n{capsys.readouterr().err}")
            assert called
        elif not line.reason:
            assert words[0] == "-m", f"{page}: {line.text}: bash blocks that are run hold commands of ours"
            assert words[1].startswith("benchmarks.") and importlib.util.find_spec(words[1]), line.text


def test_the_guides_have_commands_and_all_of_them_are_looked_at() -> None:
    assert sum(len(doclines.commands(page)) for page in PAGES) > 50
    for page in PAGES:
        others = [body for kind, body in _FENCE.findall(doclines.source(page)) if kind != "bash"]
        indented = re.findall(r"^ {4,}.*", prose(page), re.MULTILINE)
        hidden = re.findall(
            r"^ *(?:lightloom|python -m benchmarks[.]) *[a-z].*", "\n".join([*indented, *others]), re.MULTILINE
        )
        assert not hidden, f"{page}: commands stand in blocks marked bash"


def test_every_command_of_the_product_is_in_the_guides() -> None:
    everything = " ".join(" ".join(doclines.source(page).split()) for page in PAGES)
    missing = [name for name in map(" ".join, doclines.subcommands()) if f"lightloom {name}" not in everything]
    assert not missing, missing


@cache
def flags() -> set[str]:
    """Every option of every command, and of the benchmarks."""
    texts = [script(app, "bash"), *(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))]
    return {"--debug"} | {flag for text in texts for flag in re.findall(r"['\"](--[a-z][a-z-]*)['\"]", text)}


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_named_in_sentences_exist(page: str) -> None:
    names = doclines.subcommands()
    for code in _CODE.findall(prose(page)):
        words = code.split()
        if words[0] == "lightloom" and len(words) > 1 and words[1].islower():
            alternatives = [word.split("|") for word in words[1:3]]
            first = [(a,) for a in alternatives[0]] + [(a, b) for a in alternatives[0] for b in alternatives[-1]]
            groups = {name[:1] for name in names}
            assert any(choice in names or (len(words) == 2 and choice in groups) for choice in first), code
        if words[0] == "lightloom" or words[0].startswith("--"):
            unknown = [word for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", code) if word not in flags()]
            assert not unknown, f"{page}: {code}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in _LINK.findall(doclines.source(page)):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_index_and_the_readme_name_every_page() -> None:
    for page in PAGES:
        name = page.removeprefix("docs/")
        if name not in ("README.md", "index.md"):
            assert f"]({name})" in doclines.source("docs/index.md"), name
            assert f"](docs/{name})" in doclines.source("README.md"), name


def test_every_picture_is_shown_somewhere() -> None:
    everything = "".join(map(doclines.source, PAGES))
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"images/{picture.name}" in everything, picture.name


@cache
def messages() -> str:
    """Every string of the product's code, with " ... " for what is filled in; with `pick` also as "--pick"."""
    found = []
    for room in _ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else " ... " for part in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    flagged = [re.sub(r"`([a-z_]+)`", lambda name: f"--{name[1].replace('_', '-')}", text) for text in found]
    return "\n".join([*found, *flagged])


def test_the_messages_of_troubleshooting_are_those_of_the_code() -> None:
    quoted = re.findall(r"^\| `([^`]+)` \|", doclines.source("docs/troubleshooting.md"), re.MULTILINE)
    assert len(quoted) > 30
    seam = r"\s*\.\.\.\s*|(?:: |; )"  # what is filled in, and where an error puts its fields together
    options = re.sub(r"`([a-z_]+)`", lambda field: f"--{field[1].replace('_', '-')}", messages())  # as `told` has it
    for message in quoted:
        for fragment in re.split(seam, message):
            known = fragment.strip() in messages() or fragment.strip() in options
            assert known, f"{message!r}: {fragment!r} is in no message"
