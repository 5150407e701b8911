"""Which weights the front door's commands use: those that were given, else the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from manifests.errors import LightloomError

if TYPE_CHECKING:
    from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
    from renderers.lighting_estimator import Estimator

Kind = Literal["inverse", "forward", "lighting"]

DEFAULTS: dict[Kind, str | Path | None] = {"inverse": None, "forward": None, "lighting": None}
"""Checkpoint folders or hub ids used where none is given. None has no default; light is then solved without weights."""


class WeightsError(LightloomError):
    """Weights that are needed and were not given."""


def chosen(kind: Kind, given: str | None) -> str | Path:
    """The checkpoint to load; WeightsError when none was given and there is no default."""
    found = given if given is not None else DEFAULTS[kind]
    if found is None:
        raise WeightsError(f"no {kind} renderer: give --{kind} CHECKPOINT, a folder as `lightloom train` makes them")
    return found


def check(**given: str | None) -> None:
    """Raise WeightsError for the first kind that was not given and has no default."""
    for kind, checkpoint in given.items():
        chosen(cast(Kind, kind), checkpoint)


def load_inverse(given: str | None, device: str | None = None) -> InverseRenderer:
    """The inverse renderer, ready and quiet, on `device` (None: the GPU where there is one)."""
    from renderers import InverseRenderer

    return _ready(InverseRenderer.from_pretrained(chosen("inverse", given)), device)


def load_forward(given: str | None, device: str | None = None) -> ForwardRenderer:
    """The forward renderer, ready and quiet, on `device`."""
    from renderers import ForwardRenderer

    return _ready(ForwardRenderer.from_pretrained(chosen("forward", given)), device)


def load_estimator(given: str | None, device: str | None = None) -> Estimator:
    """The lighting estimator of a checkpoint, or the one that needs no weights."""
    from renderers import LightingEstimator, SolverLightingEstimator

    source = given if given is not None else DEFAULTS["lighting"]
    return SolverLightingEstimator() if source is None else _ready(LightingEstimator.from_pretrained(source), device)


def _ready[R: (InverseRenderer, ForwardRenderer, LightingEstimator)](renderer: R, device: str | None) -> R:
    import torch

    renderer.set_progress_bar_config(disable=True)
    renderer.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return renderer
