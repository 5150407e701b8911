"""What users hand to the pipelines, checked once and brought to planar tensors; each mistake is one InputError.

Nothing is resized, rescaled or guessed silently: a picture in 0..255 floats, an image without its frame axis' length, a
NaN or a linear environment in 8 bits are refused with what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.camera import intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment
from manifests.errors import InputError
from renderers import modelspace
from renderers.light.panoramas import lookup, panorama_directions, panorama_position, panoramas, shrink_panorama
from renderers.shading.split_sum import camera_rays

Video = np.ndarray | Clip
_TOLERANCE = 1e-3


def model_video(video: Any) -> Tensor:
    """A video as model-space RGB (1, T, 3, H, W).

    `video` is (T, H, W, 3), or one image (H, W, 3), in sRGB: uint8, or floats in [0, 1]; or a Clip, whose linear rgb is
    exposed and encoded.
    """
    if isinstance(video, Clip):
        if "rgb" not in video.arrays:
            raise InputError(f"clip {video.key} holds no rgb", f"it has {', '.join(video.arrays)}")
        return modelspace.to_model("rgb", modelspace.planar(video.arrays["rgb"]), exposure=video.exposure)
    frames = _array("video", video)
    frames = frames[None] if frames.ndim == 3 else frames  # one image is a video of one frame
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise InputError(f"video has shape {frames.shape}, expected (T, H, W, 3), or (H, W, 3) for one image")
    if 0 in frames.shape:
        raise InputError(f"video is empty: its shape is {frames.shape}")
    if frames.dtype == np.uint8:
        frames = frames.astype(np.float32) / 255.0
    _finite("video", frames)
    _between("video", frames, 0.0, 1.0, "floats are sRGB in [0, 1]; give 0 to 255 as uint8")
    return 2.0 * modelspace.planar(frames) - 1.0


def gbuffer_values(gbuffers: Any) -> dict[str, Tensor]:
    """The five G-buffers (1, T, C, H, W) as values, depth relative; also `mask`, where it is given.

    `gbuffers` is a Clip, or a mapping from name to (T, H, W, C). Depth in a Clip is in scene units. Depth in a
    mapping is taken as relative if all of it is within [0, 1], as an InverseRenderer gives it, and else as scene units.
    """
    if not isinstance(gbuffers, Clip | Mapping):
        raise InputError(f"gbuffers are a {type(gbuffers).__name__}, expected a Clip or a mapping from name to array")
    arrays = gbuffers.arrays if isinstance(gbuffers, Clip) else gbuffers
    missing = [name for name in GBUFFERS if name not in arrays]
    if missing:
        raise InputError(f"G-buffers lack {', '.join(missing)}", f"all of {', '.join(GBUFFERS)} are needed")
    values: dict[str, Tensor] = {}
    size: tuple[int, ...] = ()
    for name in (*GBUFFERS, "mask"):
        if name not in arrays:
            continue
        array = _array(name, arrays[name])
        if array.ndim != 4 or array.shape[-1] != ATTRIBUTES[name].channels or 0 in array.shape:
            raise InputError(f"{name} has shape {array.shape}, expected (T, H, W, {ATTRIBUTES[name].channels})")
        size = size or array.shape[:3]
        if array.shape[:3] != size:
            raise InputError(f"{name} has shape {array.shape}, but the other G-buffers have (T, H, W) = {size}")
        _check_values(name, array)
        values[name] = modelspace.planar(array)
    if isinstance(gbuffers, Clip) or float(values["depth"].max()) > 1.0:
        values["depth"] = modelspace.relative_depth(values["depth"])[0]
    return values


@dataclass(frozen=True, eq=False)
class Light:
    """Light as a user gave it, checked: `panorama` at one size, `behind` the picture that the camera sees of it."""

    source: Environment | Tensor
    poses: np.ndarray | None
    exposure: float

    def panorama(self, height: int, width: int) -> Tensor:
        """Panoramas (1, T, 3, height, width), or (1, 1, ...) where it stays the same, exposed."""
        if isinstance(self.source, Tensor):
            return self.exposure * resize_panorama(self.source, height, width)[None]
        assert self.poses is not None
        return self.exposure * panoramas(self.source.image, self.source.rotation, self.poses, height, width)[None]

    def behind(self, intrinsics: Tensor, height: int, width: int) -> Tensor:
        """The light along every viewing ray, (1, T or 1, 3, height, width), exposed, as finely as it was given."""
        rays = camera_rays(height, width, intrinsics)  # (3, H, W)
        if isinstance(self.source, Tensor):
            column, row = panorama_position(rays, *self.source.shape[-2:])
            return self.exposure * lookup(self.source, column[None], row[None])[None]
        assert self.poses is not None
        directions = rays.permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
        seen = [
            self.source.radiance(directions @ pose[:3, :3].T, frame).astype(np.float32)
            for frame, pose in enumerate(self.poses)
        ]
        return self.exposure * modelspace.planar(np.stack(seen))


def given_light(environment: Any, frames: int, camera_to_world: Any = None, exposure: float = 1.0) -> Light:
    """Check light for T frames, to be multiplied by `exposure`.

    `environment` is a panorama in the camera frame, linear HDR floats (h, w, 3) or one a frame (T, h, w, 3); or an
    `Environment` in the world, with the cameras' poses (T, 4, 4).
    """
    if not (np.isscalar(exposure) and np.isfinite(exposure) and exposure > 0):
        raise InputError(f"exposure is {exposure!r}, expected a positive number")
    if isinstance(environment, Environment):
        return Light(environment, _poses(environment, frames, camera_to_world), float(exposure))
    array = _array("environment", environment)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(f"environment has shape {array.shape}, expected a panorama (h, w, 3) or (T, h, w, 3)")
    if array.ndim == 4 and len(array) != frames:
        raise InputError(f"environment has {len(array)} panoramas for {frames} frames", "give one, or one a frame")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"environment has dtype {array.dtype}, expected linear HDR radiance in floats")
    _finite("environment", array)
    if array.min() < 0:
        raise InputError(
            "environment holds negative radiance", "pass it through manifests.contract.environment.sanitize"
        )
    return Light(modelspace.planar(array if array.ndim == 4 else array[None])[0], None, float(exposure))


def resize_panorama(panorama: Tensor, height: int, width: int) -> Tensor:
    """Panoramas (T, 3, h, w) on the grid (height, width): averaged over solid angles if coarser, else sampled."""
    if height < 4 or width < 4:
        raise InputError(f"a panorama of {height}x{width} pixels", "at least 4x4 are needed")
    if tuple(panorama.shape[-2:]) == (height, width):
        return panorama
    if panorama.shape[-2] >= height and panorama.shape[-1] >= width:
        return shrink_panorama(panorama, height, width)
    column, row = panorama_position(panorama_directions(height, width), *panorama.shape[-2:])
    return lookup(panorama, column[None], row[None])


def pinhole(fov_degrees: float, intrinsics: Any, height: int, width: int) -> Tensor:
    """Intrinsics (3, 3) in pixels: those given, or a centred pinhole whose larger image side spans `fov_degrees`."""
    if intrinsics is None:
        if not 0.0 < fov_degrees < 180.0:
            raise InputError(f"fov_degrees is {fov_degrees}, expected an angle between 0 and 180")
        return torch.from_numpy(intrinsics_from_fov(fov_degrees, height, width)).float()
    matrix = torch.as_tensor(intrinsics, dtype=torch.float32)
    if matrix.shape != (3, 3) or not bool(torch.isfinite(matrix).all()):
        raise InputError(f"intrinsics have shape {tuple(matrix.shape)}, expected a finite (3, 3) matrix in pixels")
    return matrix


def _poses(environment: Environment, frames: int, camera_to_world: Any) -> np.ndarray:
    if camera_to_world is None:
        raise InputError("an Environment lies in the world", "give camera_to_world (T, 4, 4), or a panorama instead")
    poses = np.asarray(camera_to_world)
    if poses.shape != (frames, 4, 4):
        raise InputError(f"camera_to_world has shape {poses.shape}, expected ({frames}, 4, 4)")
    if environment.rotation.shape != (frames, 3, 3):
        raise InputError(f"the environment has {len(environment.rotation)} rotations for {frames} frames")
    _finite("environment", environment.image)
    return poses


def _array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise InputError(f"{name} is a {type(value).__name__}, expected a numpy array")
    if value.dtype != np.uint8 and not np.issubdtype(value.dtype, np.floating):
        raise InputError(f"{name} has dtype {value.dtype}, expected floats or uint8")
    return value


def _check_values(name: str, array: np.ndarray) -> None:
    known = ATTRIBUTES[name]
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{name} has dtype {array.dtype}, expected floats in the attribute table's convention")
    if name == "depth":
        if np.isnan(array).any() or array.min() < 0:
            raise InputError("depth holds NaN or negative values, expected distances, +inf for background")
        return
    _finite(name, array)
    _between(name, array, known.low, known.high, "values follow manifests/contract/attributes.py")


def _finite(name: str, array: np.ndarray) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        frame = int(np.argwhere(bad)[0][0])
        raise InputError(f"{name} holds NaN or infinity ({int(bad.sum())} values, first at index {frame} of axis 0)")


def _between(name: str, array: np.ndarray, low: float, high: float, hint: str) -> None:
    smallest, largest = float(array.min()), float(array.max())
    if smallest < low - _TOLERANCE or largest > high + _TOLERANCE:
        raise InputError(
            f"{name} has values in [{smallest:.4g}, {largest:.4g}], expected [{low:g}, {high:g}]", f"{hint}"
        )


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
        environment: (h, w, 3) float32 linear HDR panorama on `contract.environment.camera_directions(h, w)`: y up,
            centre column +z (behind the camera), in the video's exposure.
        ldr: (h, w, 3) in [0, 1], E_ldr: extended Reinhard, white point 16.
        log: (h, w, 3) in [0, 1], E_log: log1p over log1p(10,000).
    """

    environment: Array
    ldr: Array
    log: Array
