"""The pilot of a clip: a few of its frames, rendered twice, and the render settings that they lead to.

First those at a quarter and three quarters of the clip, with few samples, then the middle one, sampled as they say.
What is chosen is a function of their pixels, never of time, so the same spec chooses the same again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datagen.blender import session
from datagen.blender.cycles_settings import apply_settings, frame_path, set_output
from datagen.blender.passes import enable_passes, read_noisy
from datagen.noise_model import PilotImages, Sampling, choose, corrected, fit
from scenes.spec import RenderSettings

_SAMPLES = 16


def sampling_for(
    quality: float, scene: Any, settings: RenderSettings, frames: int, seeds: tuple[int, int], folder: Path
) -> Sampling:
    """How to sample the `frames` frames of `scene`, lit and ready, so that they reach `quality` (PSNR in dB).

    `seeds` (below 2^31) decide the pilot's noise. Its frames pass through `folder`. Raises RenderError.
    """
    layer = scene.view_layers[0]
    enable_passes(layer, ("rgb",))
    layer.cycles.denoising_store_passes = True
    even = msgspec.structs.replace(settings, samples=_SAMPLES, adaptive_threshold=0.0)
    model = fit(_pictures(scene, even, _SAMPLES, sorted({frames // 4, 3 * frames // 4}), seeds, folder))
    first = choose(model, quality)
    seen = _pictures(scene, sampled_as(first, settings), first.mean_samples, [frames // 2], seeds, folder)
    layer.cycles.denoising_store_passes = False
    return choose(corrected(model, first, seen), quality, like=first)


def _pictures(
    scene: Any, settings: RenderSettings, samples: float, shown: list[int], seeds: tuple[int, int], folder: Path
) -> PilotImages:
    """The frames `shown` (one or two), rendered with each seed."""
    renders = []
    for seed in seeds:
        apply_settings(scene, settings, seed)
        set_output(scene, folder, shown[-1] + 1, 24.0)
        scene.frame_start, scene.frame_end, scene.frame_step = shown[0], shown[-1], max(shown[-1] - shown[0], 1)
        session.current().render(scene, "pilot", animation=True)
        paths = [frame_path(folder, frame) for frame in shown]
        renders.append([read_noisy(path, (settings.height, settings.width)) for path in paths])
        for path in paths:
            path.unlink()
    (noisy, denoised), (other, other_denoised) = (
        [np.stack(part) for part in zip(*each, strict=True)] for each in renders
    )
    return PilotImages(samples, (noisy, other), (denoised, other_denoised))


def sampled_as(sampling: Sampling, settings: RenderSettings) -> RenderSettings:
    """`settings` with a choice in place of what they say themselves."""
    return msgspec.structs.replace(
        settings,
        samples=sampling.samples,
        adaptive_threshold=sampling.adaptive_threshold,
        adaptive_minimum=sampling.adaptive_minimum,
        quality="fixed",
    )
