"""`Packed`: a decoded clip as the loader keeps and cuts it.

It is the form of a `CodedClip`: eight bits hold what the published models see of colours, roughness and metallic,
sixteen hold normals, depth and HDR light. That is a fifth of float32, so a small set stays in memory, and cropping and
mirroring are cheap. Everything passes through this form, cached or not, so that a run's numbers do not depend on what
the cache holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from manifests.attributes import ATTRIBUTES
from manifests.camera import intrinsics_from_fov
from manifests.clip import Clip, CodedClip, to_codes
from manifests.environment import HALF_MAX
from renderers.environment import backgrounds, panoramas
from training.errors import SourceError

BACKGROUND = "background"
"""Name in `Packed.arrays` of the environment behind every pixel: linear radiance, not exposed."""

_UNKNOWN_FOV = 45.0


@dataclass(frozen=True, eq=False)
class Packed:
    """A clip, or a cut of one.

    Attributes:
        arrays: planar (T, C, H, W) by name, as in `CodedClip`: uint8 for colours (sRGB; rgb exposed), roughness,
            metallic and mask, two int16 for normals, float16 for depth in scene units; and float16 for `BACKGROUND`
            where it was asked for.
        panorama: (T, 3, h, w) float16 linear radiance in the camera frame, not exposed; None when not asked for.
        exposure: factor that brings the panorama to the scale of rgb.
        intrinsics: (3, 3) float64 in pixels.
        camera_to_world: (T, 4, 4) float64 or None.
    """

    arrays: Mapping[str, np.ndarray]
    panorama: np.ndarray | None
    exposure: float
    intrinsics: np.ndarray
    camera_to_world: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Size of the pixels and the light."""
        light = 0 if self.panorama is None else self.panorama.nbytes
        return light + sum(array.nbytes for array in self.arrays.values())


def pack(clip: Clip, panorama: tuple[int, int] | None, *, background: bool = False) -> Packed:
    """The packed form of `clip`, a CodedClip or one whose colours are sRGB-encoded.

    `panorama` is the (h, w) of the light, None for none; `background` adds the environment behind every pixel. Raises
    SourceError when light is wanted of a clip that has none, or no camera to see it with.
    """
    arrays = {
        name: (array if isinstance(clip, CodedClip) else to_codes(ATTRIBUTES[name], array)).transpose(0, 3, 1, 2)
        for name, array in clip.arrays.items()
    }
    light = None
    if panorama is not None:
        if clip.environment is None or clip.camera is None:
            raise SourceError(
                f"clip {clip.key}: has no {'camera' if clip.camera is None else 'environment'}, which light needs"
            )
        rotation, poses = clip.environment.rotation, clip.camera.camera_to_world
        turns = np.concatenate([rotation, poses[:, :3, :3]], axis=1).reshape(len(poses), -1)
        _, which, back = np.unique(turns, axis=0, return_index=True, return_inverse=True)  # many clips never turn
        image, rotation, poses = clip.environment.image, rotation[which], poses[which]
        light = _halves(panoramas(image, rotation, poses, *panorama))[back]
        if background:
            arrays[BACKGROUND] = _halves(backgrounds(image, rotation, poses, clip.camera.rays(*clip.size)))[back]
    height, width = clip.size
    known = clip.camera
    intrinsics = intrinsics_from_fov(_UNKNOWN_FOV, height, width) if known is None else known.intrinsics
    return Packed(arrays, light, clip.exposure, intrinsics, None if known is None else known.camera_to_world)


def _halves(radiance: Tensor) -> np.ndarray:
    return radiance.clamp_max_(HALF_MAX).half().numpy()
