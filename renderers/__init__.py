"""Inverse, lighting and forward renderers: networks, pipelines, checkpoints, long-video windows.

The names below are imported when they are first used, so that importing the package loads no torch.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renderers.base import Renderer
    from renderers.forward import ForwardRenderer
    from renderers.inverse import InverseRenderer
    from renderers.lighting_estimator import LightingEstimator, SolverLightingEstimator

__all__ = ["ForwardRenderer", "InverseRenderer", "LightingEstimator", "Renderer", "SolverLightingEstimator", "load"]

_HOMES = {
    "ForwardRenderer": "renderers.forward",
    "InverseRenderer": "renderers.inverse",
    "LightingEstimator": "renderers.lighting_estimator",
    "Renderer": "renderers.base",
    "SolverLightingEstimator": "renderers.lighting_estimator",
}


def load(source: str | Path, *, variant: str | None = None, **options: Any) -> Renderer:
    """The pipeline that checkpoint `source` holds, a folder or a hub id; options are those of `from_pretrained`.

    Raises CheckpointError.
    """
    from renderers.checkpoints.reading import locate
    from renderers.checkpoints.summary import PIPELINES, inspect

    hub = {name: options.pop(name) for name in ("revision", "cache_dir", "local_files_only") if name in options}
    root = locate(source, **hub)
    pipeline: type[Renderer] = __getattr__(PIPELINES[inspect(root, variant=variant).kind])
    return pipeline.from_pretrained(root, variant=variant, **options)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
