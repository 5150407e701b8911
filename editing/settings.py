"""Options that every command which renders shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from editing.weights import named
from manifests.errors import InputError

if TYPE_CHECKING:
    from editing.relighting import Settings


@dataclass(frozen=True)
class Rendering:
    """Which renderers, and how.

    Attributes:
        weights: all checkpoints at once: `svd` (published, downloaded, with terms of its own: docs/weights.md), or a
            folder with `inverse`, `forward`, `lighting`; what comes with the package, if not given.
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


Flags = Annotated[Rendering, tyro.conf.arg(name="")]
DEFAULT = Rendering()


def settings_of(rendering: Rendering) -> Settings:
    """The options as the renderers take them; InputError for what cannot be."""
    from editing.relighting import Settings

    if rendering.side < 0 or rendering.window < 1 or rendering.steps < 1:
        raise InputError("--side takes 0 or more pixels, --window and --steps at least 1")
    if not 0 < rendering.fov < 180:
        raise InputError(f"--fov {rendering.fov} is no field of view", "give degrees between 0 and 180")
    if rendering.exposure is not None and not 0 < rendering.exposure < float("inf"):
        raise InputError(f"--exposure {rendering.exposure} is no factor", "give a positive number")
    return Settings(
        side=rendering.side,
        window=rendering.window,
        fov_degrees=rendering.fov,
        steps=rendering.steps,
        seed=rendering.seed,
        exposure=rendering.exposure,
    )
