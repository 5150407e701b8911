"""Films in, films out: another light, another material, an object put in. `relight`, `edit` and `insert` are the API.

    editing.relight("cat.mp4", "courtyard", "out/cat.mp4", rotate=360)
    editing.edit("cat.mp4", {"roughness": 0.1, "metallic": 1}, "out/metal.mp4", pick=(320, 240))
    editing.insert("cat.mp4", "chair.glb", (320, 400), "out/chair.mp4")

Each name is loaded when it is first used, and torch with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editing.insertion import insert
    from editing.material_edits import edit
    from editing.relighting import relight
    from editing.settings import FilmRenderers, FilmSettings

__all__ = ["FilmRenderers", "FilmSettings", "edit", "insert", "relight"]

_HOMES = {
    "FilmRenderers": "editing.settings",
    "FilmSettings": "editing.settings",
    "edit": "editing.material_edits",
    "insert": "editing.insertion",
    "relight": "editing.relighting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
