"""Lightloom: neural inverse and forward rendering of videos, and the data factory for it.

The names below are the public API; everything else is internal and may move. They are imported when they are first
used, so that `import lightloom` loads neither torch nor Blender.

>>> import lightloom
>>> dataset = lightloom.open_dataset("out/set")
>>> lightloom.relight("cat.mp4", "courtyard", "out/lit.mp4")
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from lightloom.rooms import strangers as _strangers

if TYPE_CHECKING:
    from editing import edit, insert, relight
    from manifests.codec.codecs import decode_clip
    from manifests.contract.clip import Clip
    from manifests.store.dataset import Dataset, open_dataset
    from renderers import ForwardRenderer, InverseRenderer, LightingEstimator, SolverLightingEstimator
    from scenes.providers.builtin import builtin_catalogue
    from scenes.recipes import load_recipe
    from scenes.sampling import sample_scene

    __version__: str

__all__ = [
    "Clip",
    "Dataset",
    "ForwardRenderer",
    "InverseRenderer",
    "LightingEstimator",
    "SolverLightingEstimator",
    "__version__",
    "builtin_catalogue",
    "decode_clip",
    "edit",
    "insert",
    "load_recipe",
    "open_dataset",
    "relight",
    "sample_scene",
]

_HOMES = {
    "Clip": "manifests.contract.clip",
    "Dataset": "manifests.store.dataset",
    "ForwardRenderer": "renderers",
    "InverseRenderer": "renderers",
    "LightingEstimator": "renderers",
    "SolverLightingEstimator": "renderers",
    "builtin_catalogue": "scenes.providers.builtin",
    "decode_clip": "manifests.codec.codecs",
    "edit": "editing",
    "insert": "editing",
    "load_recipe": "scenes.recipes",
    "open_dataset": "manifests.store.dataset",
    "relight": "editing",
    "sample_scene": "scenes.sampling",
}
_STRANGERS = _strangers()
for _room, _said in _STRANGERS.items():
    if _room in ("manifests", "pipeline"):  # nothing of Lightloom works without them, not even its command line
        raise ImportError(_said)
    warnings.warn(_said, RuntimeWarning, stacklevel=2)  # the rest works, and `lightloom doctor` can say it again

if not TYPE_CHECKING:  # or type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("lightloom")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            found = getattr(importlib.import_module(_HOMES[name]), name)
        except (ImportError, AttributeError) as error:
            if _STRANGERS:
                raise ImportError("; ".join(_STRANGERS.values())) from error
            raise
        return globals().setdefault(name, found)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
