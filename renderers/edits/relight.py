"""Relighting: a clip's G-buffers under another light, brought to a sensible exposure and to the video's own size.

Two things that the forward renderer leaves open are settled here. A light from a file has no scale that means anything,
so its exposure is chosen as the datasets choose theirs. And networks may see the video smaller than it is: the detail
that got lost comes back from the video itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch

from manifests.environment import Environment, srgb_decode
from manifests.exposure import TARGET, on_screen, surface_level
from renderers.forward import ForwardRenderer
from renderers.inputs import gbuffer_values, given_light, pinhole
from renderers.modelspace import channels_last
from renderers.shading import camera_rays, split_sum

_FRAMES = 4
_GRID = (32, 64)
_FLOOR = 0.02
_DETAIL = 2.0
_BACKGROUND = 0.999


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
    covered = values.pop("mask", (values["depth"] < _BACKGROUND).float())
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
    level = surface_level(srgb_decode(video), gbuffers["depth"][..., 0] < _BACKGROUND)
    return automatic_exposure(gbuffers, environment, **camera) * level / TARGET if level > 1e-9 else 1.0


def relight(
    forward: ForwardRenderer,
    gbuffers: Mapping[str, np.ndarray],
    environment: np.ndarray | Environment,
    *,
    camera_to_world: np.ndarray | None = None,
    fov_degrees: float = 45.0,
    intrinsics: np.ndarray | None = None,
    exposure: float | None = None,
    steps: int = 20,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """The clip under `environment`: (T, H, W, 3) sRGB in [0, 1].

    gbuffers: (T, H, W, C) by name, as an `InverseRenderer` gives them. environment: panorama or Environment, with poses
    (T, 4, 4), as `ForwardRenderer` takes it. exposure: factor on the light; None is `automatic_exposure`.
    """
    camera: Any = {"camera_to_world": camera_to_world, "fov_degrees": fov_degrees, "intrinsics": intrinsics}
    if exposure is None:
        exposure = automatic_exposure(gbuffers, environment, **camera)
    made = forward(gbuffers, environment, exposure=exposure, steps=steps, generator=generator, **camera)
    return np.asarray(made.video)


def enlarged(
    rendered: np.ndarray, video: np.ndarray, shown: np.ndarray, gbuffers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """A picture rendered smaller, (T, h, w, 3), at the video's size (T, H, W, 3), with the video's detail; all sRGB.

    `shown` (T, h, w, 3) is the video as the network saw it. What the video has beyond it, as a ratio of linear light,
    is mostly texture, which stays under any light; it is laid over surfaces, but not over the background, whose
    picture is the light's own.
    """
    size = video.shape[1:3]
    if rendered.shape[1:3] == size:
        return rendered
    covered = resized((gbuffers["depth"] < _BACKGROUND).astype(np.float32), size)
    detail = (srgb_decode(video) + _FLOOR) / (srgb_decode(resized(shown, size)) + _FLOOR)
    detail = 1 + covered * (np.clip(detail, 1 / _DETAIL, _DETAIL) - 1)
    light = (srgb_decode(resized(rendered, size)) + _FLOOR) * detail - _FLOOR
    return on_screen(light)


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames (T, H, W, C) at another size (height, width): averaged where they shrink, bilinear where they grow."""
    if frames.shape[1:3] == tuple(size):
        return frames
    shrinks = size[0] * size[1] < frames.shape[1] * frames.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    made = [cv2.resize(np.ascontiguousarray(frame), (size[1], size[0]), interpolation=method) for frame in frames]
    return np.stack(made).reshape(len(frames), *size, frames.shape[-1])  # OpenCV drops an axis of one channel
