"""The pilot of a clip: two of its frames, rendered twice with few samples, and the render settings that they lead to.

The frames are those at a quarter and three quarters of the clip, at full size. What is chosen is a function of their
pixels, never of time, so the same spec chooses the same again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datagen.blender import session
from datagen.blender.cycles_settings import apply_settings, frame_path, set_output
from datagen.blender.passes import enable_passes, read_noisy
from datagen.noise_model import PilotImages, Sampling, choose, fit
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
    shown = sorted({frames // 4, 3 * frames // 4})
    renders = []
    for seed in seeds:
        apply_settings(scene, msgspec.structs.replace(settings, samples=_SAMPLES, adaptive_threshold=0.0), seed)
        set_output(scene, folder, frames, 24.0)
        scene.frame_start, scene.frame_end, scene.frame_step = shown[0], shown[-1], max(shown[-1] - shown[0], 1)
        session.current().render(scene, "pilot", animation=True)
        paths = [frame_path(folder, frame) for frame in shown]
        renders.append([read_noisy(path, (settings.height, settings.width)) for path in paths])
        for path in paths:
            path.unlink()
    layer.cycles.denoising_store_passes = False
    (noisy, denoised), (other, other_denoised) = (
        [np.stack(part) for part in zip(*each, strict=True)] for each in renders
    )
    return choose(fit(PilotImages(_SAMPLES, (noisy, other), (denoised, other_denoised))), quality)


def sampled_as(sampling: Sampling, settings: RenderSettings) -> RenderSettings:
    """`settings` with a choice in place of what they say themselves."""
    return msgspec.structs.replace(
        settings,
        samples=sampling.samples,
        adaptive_threshold=sampling.adaptive_threshold,
        adaptive_minimum=sampling.adaptive_minimum,
        quality="fixed",
    )
