"""Whether the rooms that Python finds are those that came with this Lightloom.

Lightloom is installed as nine packages side by side, and some of their names are common ones: PyPI has other
distributions that install a package `labeling`, `manifests`, `pipeline` or `renderers`. One of them may stand earlier
on Python's path, or may have written over our files in the same folder. Either is found here without importing a room.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOMS = ("datagen", "editing", "labeling", "manifests", "pipeline", "renderers", "scenes", "training")
HOME = Path(__file__).resolve().parents[1]
"""The folder in which the rooms stand beside `lightloom`."""
ADVICE = "keep Lightloom in an environment of its own, and run Python where no folder has that name"


def strangers(home: Path = HOME) -> dict[str, str]:
    """What is wrong with a room, in one line, by its name; empty where all rooms are ours."""
    ours = _installed(home)
    return {room: said for room in ROOMS for said in _wrong(room, home, ours.get(f"{room}/__init__.py", ""))}


def _wrong(room: str, home: Path, digest: str) -> Iterator[str]:
    own = home / room / "__init__.py"
    spec = _spec(room)
    if spec is None or (found := _place(spec)) == own.parent.resolve():
        yield f"the package `{room}` of Lightloom is not whole in {home}; install Lightloom again"
    elif found != own.resolve():
        yield f"Python finds the package `{room}` in {found}, not in {own.parent}, where Lightloom's is; {ADVICE}"
    elif digest and digest != _digest(own):
        yield f"{own} was overwritten since Lightloom was installed, maybe by another `{room}` of PyPI; {ADVICE}"


def _spec(room: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(room)
    except ValueError:  # a module that somebody put together at run time
        return None


def _place(spec: ModuleSpec) -> Path:
    """The file that an import would run; the folder where there is none (a folder without `__init__.py`)."""
    place = spec.origin or next(iter(spec.submodule_search_locations or ()), spec.name)
    return Path(place).resolve()


def _installed(home: Path) -> dict[str, str]:
    """Digests of Lightloom's files as pip recorded them; none in a checkout, which pip does not record."""
    records = sorted(home.glob("lightloom-*.dist-info/RECORD"))
    if not records:
        return {}
    with records[-1].open(newline="", encoding="utf-8") as file:
        return {row[0]: row[1].removeprefix("sha256=") for row in csv.reader(file) if len(row) > 1}


def _digest(path: Path) -> str:
    """As wheels write it."""
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
