"""How bright a relit clip should be: the datasets' exposure rule, applied to what G-buffers show under a light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from manifests.contract.color import TARGET, srgb_decode, surface_level
from manifests.contract.environment import Environment
from renderers.base import pinhole
from renderers.forward import given_light
from renderers.modelspace import channels_last, gbuffer_values
from renderers.shading.split_sum import camera_rays, split_sum

BACKGROUND = 0.999
"""Relative depth from which a pixel shows no surface."""

_FRAMES = 4
_GRID = (32, 64)


@torch.no_grad()
def automatic_exposure(
    gbuffers: Mapping[str, np.ndarray],
    environment: np.ndarray | Environment,
    *,
    camera_to_world: np.ndarray | None = None,
    fov_degrees: float = 45.0,
    intrinsics: np.ndarray | None = None,
) -> float:
    """Factor on the light that takes the 95th percentile of the surfaces' luminance to 0.7, as in the datasets.

    Surfaces are shaded by the split sum, without shadows, in at most 4 frames. Arguments as `ForwardRenderer` takes
    them. Without light or surfaces it is 1.
    """
    frames = len(gbuffers["depth"])
    chosen = sorted({round(t) for t in np.linspace(0, frames - 1, _FRAMES)})
    values = {name: value[:, chosen] for name, value in gbuffer_values(gbuffers).items()}
    height, width = values["depth"].shape[-2:]
    light = given_light(environment, frames, camera_to_world).panorama(*_GRID)
    light = light[:, chosen] if light.shape[1] == frames else light.expand(-1, len(chosen), -1, -1, -1)
    covered = values.pop("mask", (values["depth"] < BACKGROUND).float())
    rays = camera_rays(height, width, pinhole(fov_degrees, intrinsics, height, width))
    shaded = split_sum({**values, "mask": torch.ones_like(covered)}, light, rays).radiance
    level = surface_level(channels_last(shaded), channels_last(covered)[..., 0] > 0.5)
    return TARGET / level if level > 1e-9 else 1.0


def matching_exposure(
    video: np.ndarray, gbuffers: Mapping[str, np.ndarray], environment: np.ndarray | Environment, **camera: Any
) -> float:
    """Factor on an estimated light under which the surfaces come out as bright as they are in the video.

    Base colour and light are each known up to a factor; together they have to give the picture that they came from.
    video: (T, H, W, 3) sRGB, as large as the G-buffers. The other arguments as `automatic_exposure` takes them.
    """
    level = surface_level(srgb_decode(video), gbuffers["depth"][..., 0] < BACKGROUND)
    return automatic_exposure(gbuffers, environment, **camera) * level / TARGET if level > 1e-9 else 1.0
