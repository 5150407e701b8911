"""Inverse, lighting and forward renderers: networks, pipelines, checkpoints, long-video windows, edits.

The names below are imported when they are first used, so that importing the package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renderers.base import Renderer
    from renderers.forward import ForwardRenderer
    from renderers.inverse import InverseRenderer
    from renderers.lighting_estimator import LightingEstimator, SolverLightingEstimator

__all__ = ["ForwardRenderer", "InverseRenderer", "LightingEstimator", "Renderer", "SolverLightingEstimator"]

_HOMES = {
    "ForwardRenderer": "renderers.forward",
    "InverseRenderer": "renderers.inverse",
    "LightingEstimator": "renderers.lighting_estimator",
    "Renderer": "renderers.base",
    "SolverLightingEstimator": "renderers.lighting_estimator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
