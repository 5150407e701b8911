"""The command lines of README.md and docs/: those in its blocks marked `bash`.

Two comments, which readers do not see, say how a page is run: `<!-- given: NAMES -->` lists what must be there before
its first command, and `<!-- not run: REASON -->` before a block keeps the block from being run; it is parsed all the
same.
"""

from __future__ import annotations

import functools
import inspect
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.extras import SubcommandApp

from lightloom.cli import app

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]*?) -->\n+)?^```bash\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_GIVEN = re.compile(r"<!-- given: (.*?) -->")


@dataclass(frozen=True)
class Line:
    """A command; `text` is without its comment, `reason` says why it is not run ("" if it is)."""

    page: str
    text: str
    reason: str

    @property
    def words(self) -> list[str]:
        """Without a redirection."""
        words = shlex.split(self.text)
        return words[: words.index(">")] if ">" in words else words


def source(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> list[Line]:
    """In the page's order."""
    found = []
    for block in _BLOCK.finditer(source(page)):
        for line in block["body"].replace("\\\n", " ").splitlines():
            text = re.sub(r"(^|\s)#\s.*", "", line).rstrip()
            if text:
                found.append(Line(page, text, block["reason"] or ""))
    return found


def given(page: str) -> list[str]:
    """Names of what the page takes as there."""
    return [name for listed in _GIVEN.findall(source(page)) for name in listed.split()]


def parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What the command line would call with what. SystemExit(2), with the reason on stderr, for what it refuses."""
    words = [word for word in words if word != "--debug"]
    called: tuple[str, dict[str, Any]] = _recording(app).cli(prog="lightloom", args=words)
    return called


def subcommands(group: SubcommandApp = app) -> dict[tuple[str, ...], Callable[..., Any]]:
    """Every command that can be run, by the words that name it."""
    found: dict[tuple[str, ...], Callable[..., Any]] = {}
    for name, command in group._subcommands.items():
        word = name.replace("_", "-")  # as tyro does
        if isinstance(command.target, SubcommandApp):
            found |= {(word, *rest): target for rest, target in subcommands(command.target).items()}
        else:
            found[word,] = command.target
    return found


def _recording(group: SubcommandApp) -> SubcommandApp:
    """The same commands with the same options, which say how they were called in place of doing it."""
    copy = SubcommandApp()
    for name, command in group._subcommands.items():
        target = command.target
        copy.command(_recording(target) if isinstance(target, SubcommandApp) else _recorder(target), name=name)
    return copy


def _recorder(target: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(target)
    def record(*positional: Any, **named: Any) -> tuple[str, dict[str, Any]]:
        bound = inspect.signature(target).bind(*positional, **named)
        return target.__name__, dict(bound.arguments)

    return record
