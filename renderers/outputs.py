"""Typed results of the three pipelines: numpy, channels last (`output_type="np"`), or torch (T, C, H, W) (`"pt"`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from diffusers.utils import BaseOutput
from torch import Tensor

Array = np.ndarray | Tensor


@dataclass
class InverseOutput(BaseOutput):
    """G-buffers of one video.

    Attributes:
        gbuffers: by attribute name (T, H, W, C) float32 in the table's conventions (linear base colour, unit
            camera-space normals, linear roughness and metallic); depth, however, is relative to its clip:
            near 0, far and background 1.
        expected_errors: by attribute, what a checkpoint with a judge expects the clip's labels to be wrong by on
            surfaces: RMSE, of base colour in sRGB, of depth after the best scale and shift; normals in degrees.
            None without a judge, and where not all five attributes were asked for.
    """

    gbuffers: Mapping[str, Array] = field(default_factory=dict)
    expected_errors: Mapping[str, float] | None = None


@dataclass
class ForwardOutput(BaseOutput):
    """One rendered video: (T, H, W, 3) float32 sRGB in [0, 1]."""

    video: Array


@dataclass
class LightingOutput(BaseOutput):
    """Estimated light of one video, in the frame of its first camera.

    Attributes:
        environment: (h, w, 3) float32 linear HDR panorama on `manifests.environment.camera_directions(h, w)`: y up,
            centre column +z (behind the camera), in the video's exposure.
        ldr: (h, w, 3) in [0, 1], E_ldr: extended Reinhard, white point 16.
        log: (h, w, 3) in [0, 1], E_log: log1p over log1p(10,000).
    """

    environment: Array
    ldr: Array
    log: Array
