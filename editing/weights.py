"""Which weights the front door's commands use: those that were given, else those that come with the package."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from manifests.errors import CheckpointError

if TYPE_CHECKING:
    from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
    from renderers.lighting_estimator import Estimator

Kind = Literal["inverse", "forward", "lighting"]
Part = Literal["inverse", "forward", "lighting", "lora"]
KINDS: tuple[Kind, ...] = ("inverse", "forward", "lighting")

INDEX = "model_index.json"
LORA = "pytorch_lora_weights.safetensors"

SHIPPED = Path(str(importlib.resources.files("renderers"))) / "weights" / "tiny"
"""Where `python -m benchmarks.weights pack` puts what the package ships."""


def found_in(folder: Path) -> dict[Part, str | Path | None]:
    """The checkpoints in `folder`, one subfolder a part; None for those that are not there."""
    parts: dict[Part, str | Path | None] = {
        kind: folder / kind if (folder / kind / INDEX).is_file() else None for kind in KINDS
    }
    parts["lora"] = folder / "lora" if (folder / "lora" / LORA).is_file() else None
    return parts


DEFAULTS: dict[Part, str | Path | None] = found_in(SHIPPED)
"""Checkpoint folders or hub ids used where none is given. Without one for lighting, light is solved without weights."""


PUBLISHED: dict[str, dict[Kind, str]] = {
    "svd": {
        "inverse": "nexuslrf/diffusion_renderer-inverse-svd",
        "forward": "nexuslrf/diffusion_renderer-forward-svd",
    }
}
"""Published weights by name, as hub ids. They are not part of this package and have terms of their own:
docs/weights.md."""


def named(name: str) -> dict[Kind, str]:
    """Checkpoints of a set of weights: a name of `PUBLISHED`, or a folder with `inverse`, `forward`, `lighting`."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    found = found_in(Path(name))
    there = {kind: str(found[kind]) for kind in KINDS if found[kind] is not None}
    if not there:
        known = ", ".join(PUBLISHED)
        raise CheckpointError(
            f"no folder with {', '.join(KINDS)} checkpoints, and not one of {known}", where=f"--weights {name}"
        )
    return there


def chosen(kind: Kind, given: str | None) -> str | Path:
    """The checkpoint to load; CheckpointError when none was given and there is no default."""
    found = given if given is not None else DEFAULTS[kind]
    if found is None:
        raise CheckpointError(
            f"no {kind} renderer", f"give `{kind}` CHECKPOINT, a folder as `lightloom train` makes them", fields=(kind,)
        )
    return found


def check(**given: str | None) -> None:
    """Raise CheckpointError for the first kind that was not given and has no default."""
    for kind, checkpoint in given.items():
        chosen(cast(Kind, kind), checkpoint)


def load_inverse(given: str | None, device: str | None = None) -> InverseRenderer:
    """The inverse renderer, ready and quiet, on `device` (None: the GPU where there is one)."""
    from renderers import InverseRenderer

    return _ready(InverseRenderer.from_pretrained(chosen("inverse", given)), device)


def load_forward(given: str | None, device: str | None = None, *, lora: bool = True) -> ForwardRenderer:
    """The forward renderer, ready and quiet, on `device`.

    lora: give the default renderer its LoRA, which is for footage; right for rendered clips is to do without.
    """
    from renderers import ForwardRenderer

    renderer = ForwardRenderer.from_pretrained(chosen("forward", given))
    adapter = DEFAULTS["lora"]
    if lora and given is None and adapter is not None:
        renderer.load_lora(adapter)
    return _ready(renderer, device)


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
