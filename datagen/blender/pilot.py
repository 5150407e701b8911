"""The pilot of a clip: one frame, three times with few samples, and the render settings that it leads to.

The frame is the clip's middle one, at full size. What is chosen is a function of its pixels, never of time, so the same
spec chooses the same again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datagen.blender.cycles_settings import apply_settings, frame_path, set_output
from datagen.blender.passes import enable_passes, read_noisy
from datagen.noise_model import PilotImages, Sampling, choose, fit
from scenes.spec import RenderSettings

_SAMPLES = 16


def choose_settings(
    scene: Any, settings: RenderSettings, frames: int, seed: int, folder: Path, render: Callable[[], object]
) -> tuple[RenderSettings, Sampling]:
    """Settings that reach `settings.quality` (dB), and what the model expects of them.

    `scene` is ready to be rendered but for its settings, output and passes; `render` renders its frames, here one, to
    `folder`. `seed` (below 2^31) decides the pilot's noise.
    """
    if not isinstance(settings.quality, float):
        raise TypeError(f"no quality asked for: {settings.quality!r}")
    fixed = msgspec.structs.replace(settings, adaptive_threshold=0.0)
    enable_passes(scene.view_layers[0], ("rgb",))
    scene.view_layers[0].cycles.denoising_store_passes = True
    images = []
    for number, samples in enumerate((_SAMPLES, _SAMPLES, _SAMPLES // 2)):
        apply_settings(scene, msgspec.structs.replace(fixed, samples=samples), (seed + 7919 * number) % 2**31)
        set_output(scene, folder, frames, 24.0)
        scene.frame_start = scene.frame_end = frames // 2
        render()
        path = frame_path(folder, frames // 2)
        images.append(read_noisy(path, (settings.height, settings.width)))
        path.unlink()
    scene.view_layers[0].cycles.denoising_store_passes = False
    (noisy, denoised), (other, other_denoised), (half, _) = images
    choice = choose(fit(PilotImages(_SAMPLES, (noisy, other), (denoised, other_denoised), half)), settings.quality)
    chosen = msgspec.structs.replace(
        settings, samples=choice.samples, adaptive_threshold=choice.threshold, adaptive_minimum=choice.minimum
    )
    return chosen, choice
