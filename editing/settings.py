"""Which renderers work on films, and how: the weights, the options that relight, edit and insert share, the renderers.

Light to import: renderers, and torch with them, are loaded when they are first used.
"""

from __future__ import annotations

import copy
import importlib.resources
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manifests.errors import CheckpointError, InputError

if TYPE_CHECKING:
    import torch

    from editing.film import Film
    from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
    from renderers.backbone import Backbone
    from renderers.lighting_estimator import Estimator
    from renderers.sampling.windows import WindowPlan

Kind = Literal["inverse", "forward", "lighting"]
Part = Literal["inverse", "forward", "lighting", "lora"]
KINDS: tuple[Kind, ...] = ("inverse", "forward", "lighting")

INDEX = "model_index.json"
LORA = "pytorch_lora_weights.safetensors"

SHIPPED = Path(str(importlib.resources.files("renderers"))) / "weights"
"""The sets of weights that come with the package, a folder each; `python -m benchmarks.weights pack` makes them."""


def found_in(folder: Path) -> dict[Part, str | Path | None]:
    """The checkpoints in `folder`, one subfolder per part, a LoRA being the forward renderer's; None where missing."""
    parts: dict[Part, str | Path | None] = {
        kind: folder / kind if (folder / kind / INDEX).is_file() else None for kind in KINDS
    }
    parts["lora"] = folder / "lora" if (folder / "lora" / LORA).is_file() else None
    return parts


OWN = {name: found_in(SHIPPED / name) for name in ("tiny", "photo")}
"""What comes with the package: `tiny` learnt from table-tops of 64 pixels, `photo` sees photographs."""

DEFAULTS: dict[Kind, str | Path | None] = {kind: OWN["photo"][kind] or OWN["tiny"][kind] for kind in KINDS}
"""Checkpoint folders or hub ids used where none is given. Without one for lighting, light is solved without weights."""

PUBLISHED: dict[str, dict[Kind, str]] = {
    "svd": {"inverse": "nexuslrf/diffusion_renderer-inverse-svd", "forward": "nexuslrf/diffusion_renderer-forward-svd"},
    "cosmos": {
        "inverse": "nvidia/Diffusion_Renderer_Inverse_Cosmos_7B",
        "forward": "nvidia/Diffusion_Renderer_Forward_Cosmos_7B",
    },
}
"""Published weights by name, as hub ids. They are not part of this package and have terms of their own:
docs/weights.md."""


def named(name: str) -> dict[Kind, str]:
    """Checkpoints of a set: a name of `OWN` or `PUBLISHED`, or a folder with `inverse`, `forward`, `lighting`."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    found = OWN[name] if name in OWN else found_in(Path(name))
    there = {kind: str(found[kind]) for kind in KINDS if found[kind] is not None}
    if not there:
        known = ", ".join([*OWN, *PUBLISHED])
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


_HELD = 4
"""Bytes per pixel of a film's frame that waits (docs/benchmarks.md)."""
_LEAST_TILE = 128 * 128


@dataclass(frozen=True)
class FilmSettings:
    """Which renderers, and how. InputError or CheckpointError for what cannot be.

    Attributes:
        weights: all checkpoints at once: `photo` or `tiny`, which come with the package, `svd` and `cosmos`
            (published, downloaded, with terms of their own: docs/weights.md), or a folder with `inverse`, `forward`,
            `lighting`; if not given, `photo`, and `tiny` for what it lacks.
        inverse: checkpoint of the inverse renderer, a folder or a hub id.
        forward: checkpoint of the forward renderer.
        lighting: checkpoint of the lighting estimator; without one, light is solved from the G-buffers.
        side: networks see pictures whose larger side is at most this many pixels, by default as many as the inverse
            renderer was trained at; 0 is the video's own size.
        window: frames that are held and rendered at a time, at most: fewer where memory is short; if not given, as
            suits the renderers: 24, and 57 of `cosmos`.
        memory: GiB that frames and networks' work may take beside the loaded program; if not given, 2, and 16 of
            `cosmos`, whose networks work in the GPU's.
        shading: who says what a new light does: the forward renderer ("network"), or shading with traced shadows
            without one ("analytic"); "auto" is the network where it sees the video at its own size, or was chosen.
        camera: `assume` a camera that stands still and level; `solve` it from the film, kept beside the result; or its
            file: what was kept, a COLMAP folder, transforms.json. If not given, insertion solves it, the others assume
            one. A dataset's clip has its own.
        fov: field of view of the larger image side, in degrees, where the camera does not say it.
        exposure: factor on the light; if not given, surfaces stay as bright as they are.
        steps: denoising steps of diffusion checkpoints; if not given, 20, and 15 of `cosmos`.
        seed: of their noise.
        device: cpu, cuda, ...; the GPU where there is one, if not given.
    """

    weights: str | None = None
    inverse: str | None = None
    forward: str | None = None
    lighting: str | None = None
    side: int | None = None
    window: int | None = None
    memory: float | None = None
    shading: Literal["auto", "analytic", "network"] = "auto"
    camera: str | None = None
    fov: float = 45.0
    exposure: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        if self.weights not in (None, "photo"):  # which is what is used anyway
            for kind, checkpoint in named(self.weights).items():
                if getattr(self, kind) is None:
                    object.__setattr__(self, kind, checkpoint)
        if (self.side or 0) < 0 or min(one for one in (self.window, self.steps, 1) if one is not None) < 1:
            raise InputError(
                "`side` takes 0 or more pixels, `window` and `steps` at least 1", fields=("side", "window", "steps")
            )
        if self.memory is not None and not 0 < self.memory < float("inf"):
            raise InputError(f"`memory` {self.memory} is no size", "give GiB, such as 2", fields=("memory",))
        if not 0 < self.fov < 180:
            raise InputError(f"`fov` {self.fov} is no field of view", "give degrees between 0 and 180", fields=("fov",))
        if self.exposure is not None and not 0 < self.exposure < float("inf"):
            raise InputError(f"`exposure` {self.exposure} is no factor", "give a positive number", fields=("exposure",))

    def plan(
        self, family: Backbone, frames: int, size: tuple[int, int] = (0, 0), seen: tuple[int, int] = (0, 0)
    ) -> WindowPlan:
        """The windows of a film of so many frames (H, W), of which networks see (h, w): as long as memory allows."""
        from renderers.sampling.windows import plan_windows

        frame = _HELD * math.prod(size) + min(math.prod(seen), self.tile_pixels(family)) * family.frame_bytes
        window = family.window if self.window is None else self.window
        window = max(1, min(window, int(self._bytes(family) / max(frame, 1))))
        return plan_windows(frames, window, min(family.overlap, window // 2))

    def sampling(self, family: Backbone) -> dict[str, Any]:
        """How a renderer of that backbone is called."""
        window = family.window if self.window is None else self.window
        windows = {"window": window, "overlap": min(family.overlap, window // 2)}
        return {"steps": self.steps, **windows, "generator": self.noise()}

    def tile_pixels(self, family: Backbone) -> int:
        """Pixels of a window of two frames on which networks work within the memory; larger pictures are tiled."""
        return max(_LEAST_TILE, int(self._bytes(family) / (2 * family.frame_bytes)))

    def _bytes(self, family: Backbone) -> float:
        return (family.memory if self.memory is None else self.memory) * 2**30

    def shades(self, whole: bool) -> bool:
        """Whether the forward renderer says what a light does; `whole`: it sees the video at its own size."""
        return self.shading == "network" or (self.shading == "auto" and (whole or self.forward is not None))

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
        """These renderers for rendered clips: a forward renderer's LoRA is for footage."""
        same = copy.copy(self)  # what is loaded is shared
        same._lora = False
        return same

    def seen_size(self, film: Film) -> tuple[int, int]:
        """(H, W) at which networks see a film; one far from what they learnt from becomes a remark on it."""
        given, best = self._settings.side, self.inverse.side
        size = film.seen_size(best if given is None else given)
        if self.inverse.config["training"].get("sizes") and not best <= 2 * max(size) <= 4 * best:
            film.remarks.append(f"networks see it at {max(size)} pixels, and best at about {best}")
        return size

    @property
    def inverse(self) -> InverseRenderer:
        """The inverse renderer. Raises CheckpointError, as the others do."""
        renderer: InverseRenderer = self._once("inverse", self._load_inverse)
        return renderer

    @property
    def forward(self) -> ForwardRenderer:
        """The forward renderer, with the LoRA that lies beside it, unless these are `without_lora`."""
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

        return self._ready(InverseRenderer, at_hand(chosen("inverse", self._settings.inverse)))

    def _load_forward(self) -> ForwardRenderer:
        from renderers import ForwardRenderer

        source = at_hand(chosen("forward", self._settings.forward))
        renderer = self._ready(ForwardRenderer, source)
        adapter = found_in(Path(source).parent)["lora"]
        if self._lora and adapter is not None:
            renderer.load_lora(adapter)
        return renderer

    def _load_estimator(self) -> Estimator:
        from renderers import LightingEstimator, SolverLightingEstimator

        source = self._settings.lighting if self._settings.lighting is not None else DEFAULTS["lighting"]
        return SolverLightingEstimator() if source is None else self._ready(LightingEstimator, source)

    def _ready[R: (InverseRenderer, ForwardRenderer, LightingEstimator)](self, kind: type[R], source: str | Path) -> R:
        import torch

        from renderers.cosmos.memory_planner import load_placed

        device = self._settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(0, device=device)  # nothing else says so early, and in one line, that there is none
        except (RuntimeError, AssertionError, NotImplementedError) as error:  # a torch without CUDA asserts
            reason = str(error).partition("\n")[0].rstrip(".")
            raise InputError(
                f"`device` {device} cannot be used: {reason}", "cpu always can", fields=("device",)
            ) from None
        renderer = load_placed(kind, source, device)
        renderer.set_progress_bar_config(disable=True)
        return renderer
