"""Which renderers work on films, and how: the weights, the options that relight, edit and insert share, the renderers.

Light to import: renderers, and torch with them, are loaded when they are first used.
"""

from __future__ import annotations

import copy
import importlib.resources
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manifests.errors import CheckpointError, InputError

if TYPE_CHECKING:
    import torch

    from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
    from renderers.lighting_estimator import Estimator
    from renderers.sampling.windows import WindowPlan

Kind = Literal["inverse", "forward", "lighting"]
Part = Literal["inverse", "forward", "lighting", "lora"]
KINDS: tuple[Kind, ...] = ("inverse", "forward", "lighting")

INDEX = "model_index.json"
LORA = "pytorch_lora_weights.safetensors"

SHIPPED = Path(str(importlib.resources.files("renderers"))) / "weights" / "tiny"
"""Where `python -m benchmarks.weights pack` puts what the package ships."""


def found_in(folder: Path) -> dict[Part, str | Path | None]:
    """The checkpoints in `folder`, one subfolder per part; None for those that are not there."""
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
    },
    "cosmos": {
        "inverse": "nvidia/Diffusion_Renderer_Inverse_Cosmos_7B",
        "forward": "nvidia/Diffusion_Renderer_Forward_Cosmos_7B",
    },
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
            f"no folder with {', '.join(KINDS)} checkpoints, and not one of {known}",
            where=f"`weights` {name}",
            fields=("weights",),
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


def at_hand(source: str | Path) -> str | Path:
    """The checkpoint to load for `source`: itself, or what a repository of `cosmos` was converted to, now if need be.

    What is downloaded, under which licence, is said on stderr. Raises CheckpointError.
    """
    if source not in PUBLISHED["cosmos"].values():
        return source
    from renderers.cosmos.published_weights import fetch

    return fetch(str(source), lambda line: print(line, file=sys.stderr, flush=True))


@dataclass(frozen=True)
class FilmSettings:
    """Which renderers, and how. InputError or CheckpointError for what cannot be.

    Attributes:
        weights: all checkpoints at once: `svd` or `cosmos` (published, downloaded, with terms of their own:
            docs/weights.md), or a folder with `inverse`, `forward`, `lighting`; what comes with the package, if not
            given.
        inverse: checkpoint of the inverse renderer, a folder or a hub id.
        forward: checkpoint of the forward renderer.
        lighting: checkpoint of the lighting estimator; without one, light is solved from the G-buffers.
        side: networks see pictures whose larger side is at most this many pixels; 0 is the video's own size.
        window: frames that are held and rendered at a time.
        fov: field of view of the larger image side, in degrees.
        exposure: factor on the light; if not given, surfaces become as bright as in the datasets.
        steps: denoising steps of diffusion checkpoints.
        seed: of their noise.
        device: cpu, cuda, ...; the GPU where there is one, if not given.
    """

    weights: str | None = None
    inverse: str | None = None
    forward: str | None = None
    lighting: str | None = None
    side: int = 512
    window: int = 24
    fov: float = 45.0
    exposure: float | None = None
    steps: int = 20
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            for kind, checkpoint in named(self.weights).items():
                if getattr(self, kind) is None:
                    object.__setattr__(self, kind, checkpoint)
        if self.side < 0 or self.window < 1 or self.steps < 1:
            raise InputError(
                "`side` takes 0 or more pixels, `window` and `steps` at least 1", fields=("side", "window", "steps")
            )
        if not 0 < self.fov < 180:
            raise InputError(f"`fov` {self.fov} is no field of view", "give degrees between 0 and 180", fields=("fov",))
        if self.exposure is not None and not 0 < self.exposure < float("inf"):
            raise InputError(f"`exposure` {self.exposure} is no factor", "give a positive number", fields=("exposure",))

    @property
    def overlap(self) -> int:
        """Frames that two windows share: as the released code has it, fewer where windows are short."""
        from renderers.sampling.windows import OVERLAP

        return min(OVERLAP, self.window // 2)

    def plan(self, frames: int) -> WindowPlan:
        """The windows of a film of so many frames."""
        from renderers.sampling.windows import plan_windows

        return plan_windows(frames, self.window, self.overlap)

    def noise(self) -> torch.Generator:
        """The source of noise, the same in every window."""
        import torch

        return torch.Generator().manual_seed(self.seed)


DEFAULT = FilmSettings()


class FilmRenderers:
    """The renderers that settings name, each loaded when it is first needed, quiet, and kept.

    `inverse`, `forward` and `estimator` stand in place of those that the settings name.
    """

    def __init__(
        self,
        settings: FilmSettings = DEFAULT,
        *,
        inverse: InverseRenderer | None = None,
        forward: ForwardRenderer | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        self._settings, self._lora = settings, True
        given = {"inverse": inverse, "forward": forward, "forward, no LoRA": forward, "estimator": estimator}
        self._loaded: dict[str, Any] = {name: renderer for name, renderer in given.items() if renderer is not None}

    def require(self, *kinds: Literal["inverse", "forward"]) -> None:
        """Raise CheckpointError for the first of `kinds` of which there is no checkpoint; loads none."""
        for kind in kinds:
            if kind not in self._loaded:
                chosen(kind, getattr(self._settings, kind))

    def without_lora(self) -> FilmRenderers:
        """These renderers for rendered clips: the default forward renderer's LoRA is for footage."""
        same = copy.copy(self)  # what is loaded is shared
        same._lora = False
        return same

    @property
    def inverse(self) -> InverseRenderer:
        """The inverse renderer. Raises CheckpointError, as the others do."""
        renderer: InverseRenderer = self._once("inverse", self._load_inverse)
        return renderer

    @property
    def forward(self) -> ForwardRenderer:
        """The forward renderer; the default one has its LoRA, unless these are `without_lora`."""
        renderer: ForwardRenderer = self._once("forward" if self._lora else "forward, no LoRA", self._load_forward)
        return renderer

    @property
    def estimator(self) -> Estimator:
        """The lighting estimator of a checkpoint, or the one that needs no weights."""
        renderer: Estimator = self._once("estimator", self._load_estimator)
        return renderer

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load()
        return self._loaded[name]

    def _load_inverse(self) -> InverseRenderer:
        from renderers import InverseRenderer

        return self._ready(InverseRenderer.from_pretrained(at_hand(chosen("inverse", self._settings.inverse))))

    def _load_forward(self) -> ForwardRenderer:
        from renderers import ForwardRenderer

        renderer = ForwardRenderer.from_pretrained(at_hand(chosen("forward", self._settings.forward)))
        adapter = DEFAULTS["lora"]
        if self._lora and self._settings.forward is None and adapter is not None:
            renderer.load_lora(adapter)
        return self._ready(renderer)

    def _load_estimator(self) -> Estimator:
        from renderers import LightingEstimator, SolverLightingEstimator

        source = self._settings.lighting if self._settings.lighting is not None else DEFAULTS["lighting"]
        return SolverLightingEstimator() if source is None else self._ready(LightingEstimator.from_pretrained(source))

    def _ready[R: (InverseRenderer, ForwardRenderer, LightingEstimator)](self, renderer: R) -> R:
        import torch

        renderer.set_progress_bar_config(disable=True)
        device = self._settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(0, device=device)  # nothing else says so early, and in one line, that there is none
        except (RuntimeError, AssertionError, NotImplementedError) as error:  # a torch without CUDA asserts
            reason = str(error).partition("\n")[0].rstrip(".")
            raise InputError(
                f"`device` {device} cannot be used: {reason}", "cpu always can", fields=("device",)
            ) from None
        renderer.to(device)
        return renderer
