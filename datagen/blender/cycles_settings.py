"""Cycles' settings of a scene, from `RenderSettings`, where frames go, and the samples that each really took.

All settings are set: nothing is inherited from anybody's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import msgspec

from datagen.blender.material_aovs import ALPHA_THRESHOLD
from scenes.spec import RenderSettings

_ADAPTIVE_MIN_SAMPLES = 16  # what Cycles chooses at these thresholds costs 40 % more for 0.4 dB
_STATUS = re.compile(r"\bSample (\d+)/\d+")
# prefilter of the guiding passes, quality of the filter itself
_DENOISER = {"fast": ("FAST", "FAST"), "balanced": ("ACCURATE", "BALANCED"), "accurate": ("ACCURATE", "HIGH")}


def apply_settings(scene: Any, settings: RenderSettings, seed: int) -> None:
    """Set up sampling, light paths, film and denoiser. `seed` (below 2^31) decides the noise, another in each frame."""
    cycles = scene.cycles
    cycles.seed, cycles.use_animated_seed = seed, True
    cycles.samples = settings.samples
    cycles.use_adaptive_sampling = settings.adaptive_threshold > 0
    cycles.adaptive_threshold = max(settings.adaptive_threshold, 1e-5)
    minimum = settings.adaptive_minimum
    cycles.adaptive_min_samples = _ADAPTIVE_MIN_SAMPLES if minimum is msgspec.UNSET else minimum
    cycles.time_limit = 0.0
    cycles.use_light_tree = settings.light_tree
    cycles.use_guiding = False
    cycles.use_denoising = settings.denoiser != "none"
    if settings.denoiser != "none":
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        cycles.denoising_prefilter, cycles.denoising_quality = _DENOISER[settings.denoiser]
    bounces = settings.max_bounces
    cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = cycles.transmission_bounces = bounces
    cycles.volume_bounces = 0
    cycles.transparent_max_bounces = settings.transparent_bounces
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = 0.0, settings.clamp_indirect
    cycles.caustics_reflective = cycles.caustics_refractive = True  # light that metals throw on the ground is real
    cycles.blur_glossy = 1.0
    cycles.use_fast_gi = False
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
    cycles.film_exposure = 1.0
    cycles.shading_system = False  # AOVs stay empty under OSL
    scene.view_layers[0].pass_alpha_threshold = ALPHA_THRESHOLD
    scene.render.film_transparent = False
    scene.render.use_motion_blur = False
    scene.render.use_compositing = scene.render.use_sequencer = False
    scene.render.use_border = False


def set_output(scene: Any, folder: Path, frames: int, fps: float) -> None:
    """Render frames 0 .. frames - 1 to `folder` as uncompressed 32-bit multilayer EXR (see `frame_path`)."""
    scene.frame_start, scene.frame_end, scene.frame_step = 0, frames - 1, 1
    scene.render.fps, scene.render.fps_base = 1000, 1000 / fps
    image = scene.render.image_settings
    image.media_type = "MULTI_LAYER_IMAGE"
    image.file_format, image.color_depth, image.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    scene.render.use_overwrite, scene.render.use_placeholder = True, False
    scene.render.use_persistent_data = True
    scene.render.filepath = str(folder / "####")


def frame_path(folder: Path, frame: int) -> Path:
    """Where `set_output` has frame `frame` written."""
    return folder / f"{frame:04d}.exr"


@contextmanager
def counted() -> Iterator[list[int]]:
    """Yield a list that gets, for each frame rendered in the block, the samples of its most sampled pixel.

    Adaptive sampling stops early, and no file says when: the Debug Sample Count pass is relative to this number, which
    is only told in the status line that Cycles updates while it renders.
    """
    frames: list[int] = []
    most = 0

    def read_status(status: Any, *_: Any) -> None:
        nonlocal most
        if found := _STATUS.search(str(status)):
            most = max(most, int(found[1]))

    def end_frame(*_: Any) -> None:
        nonlocal most
        frames.append(most)
        most = 0

    handlers = bpy.app.handlers
    handlers.render_stats.append(read_status)
    handlers.render_write.append(end_frame)
    try:
        yield frames
    finally:
        handlers.render_stats.remove(read_status)
        handlers.render_write.remove(end_frame)
