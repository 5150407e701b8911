"""`Packed`: a decoded clip as the loader keeps and cuts it; `Samples`: cuts of several, as a batch has them.

Eight bits hold what the published models see of colours, roughness and metallic; half floats hold normals (angles to
0.03 degrees), depth (relative error 2^-11) and HDR light. That is a fifth of float32, so a small set stays in memory,
and cropping and mirroring are cheap. Everything passes through this form, cached or not, so that a run's numbers do
not depend on what the cache holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from manifests.attributes import ATTRIBUTES, GBUFFERS
from manifests.camera import Camera, intrinsics_from_fov
from manifests.clip import Clip, coded_dtype, to_codes
from manifests.environment import HALF_MAX, Environment, srgb_decode, srgb_encode
from renderers.environment import panoramas
from renderers.modelspace import FAR_QUANTILE, NEAR_QUANTILE, relative_depth
from training.errors import SourceError

BACKGROUND = "background"
"""Name in `Packed.arrays` of the environment behind every pixel: linear radiance, not exposed."""

_CODES = np.arange(256) / 255
_UNKNOWN_FOV = 45.0
_INFINITY = 0x7C00
"""Bits of +inf as a half float; all positive numbers are below."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A clip, or a cut of one.

    Attributes:
        arrays: planar (T, C, H, W) by name: uint8 for colours (sRGB; rgb exposed), roughness, metallic and mask,
            float16 for normals, for depth in scene units, and for `BACKGROUND` where it was asked for.
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
    arrays = {name: _pack(name, array.transpose(0, 3, 1, 2)) for name, array in clip.arrays.items()}
    light = None
    if panorama is not None:
        if clip.environment is None or clip.camera is None:
            raise SourceError(
                f"clip {clip.key}: has no {'camera' if clip.camera is None else 'environment'}, which light needs"
            )
        rotation, poses = clip.environment.rotation, clip.camera.camera_to_world
        turns = np.concatenate([rotation, poses[:, :3, :3]], axis=1).reshape(len(poses), -1)
        _, which, back = np.unique(turns, axis=0, return_index=True, return_inverse=True)  # many clips never turn
        seen = panoramas(clip.environment.image, rotation[which], poses[which], *panorama)[back]
        light = seen.clamp_max_(HALF_MAX).half().numpy()
        if background:
            arrays[BACKGROUND] = _background(clip.environment, clip.camera, clip.size)
    height, width = clip.size
    known = clip.camera
    intrinsics = intrinsics_from_fov(_UNKNOWN_FOV, height, width) if known is None else known.intrinsics
    return Packed(arrays, light, clip.exposure, intrinsics, None if known is None else known.camera_to_world)


def _background(environment: Environment, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """The environment along the viewing rays: (T, 3, H, W) float16."""
    rays = camera.rays(*size)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    poses = camera.camera_to_world[:, :3, :3]
    seen = [environment.radiance(rays @ pose.T, frame) for frame, pose in enumerate(poses)]
    return np.stack(seen).transpose(0, 3, 1, 2).astype(np.float16)  # (T, H, W, 3) -> (T, 3, H, W)


def _pack(name: str, planar: np.ndarray) -> np.ndarray:
    if planar.dtype == np.uint8:
        return planar
    if _is_coded(name):
        return to_codes(planar)
    return torch.from_numpy(planar).half().numpy()  # torch converts halves twenty times faster than numpy


def _is_coded(name: str) -> bool:
    return coded_dtype(ATTRIBUTES[name]) == "uint8"


@dataclass(frozen=True, eq=False)
class Samples:
    """Tensors of the clips of a batch; fields as in `Batch`. What not all clips have is None."""

    rgb: Tensor
    gbuffers: Mapping[str, Tensor]
    mask: Tensor
    depth_range: Tensor
    panorama: Tensor | None
    background: Tensor | None
    intrinsics: Tensor
    camera_to_world: Tensor | None


def unpack(packs: Sequence[Packed], gains: Sequence[float] | None = None) -> Samples:
    """Values and model space from the packed form of clips of equal shape, written once, straight into the batch.

    `gains` are exposure changes of rgb and panorama alike, 1 if not given.
    """
    gains = gains or [1.0] * len(packs)
    shape = packs[0].arrays["rgb"].shape
    gbuffers: dict[str, Tensor] = {}
    depth_range = torch.tensor([0.0, 1.0]).repeat(len(packs), 1)
    for name in (name for name in GBUFFERS if name in packs[0].arrays):
        array = np.stack([packed.arrays[name] for packed in packs])  # (B, T, C, H, W)
        if name == "basecolor":
            gbuffers[name] = _looked_up([srgb_decode(_CODES)] * len(packs), array)
        elif _is_coded(name):
            gbuffers[name] = _looked_up([_CODES] * len(packs), array)
        elif name == "depth":
            depth_range = torch.stack([depth_limits(clip) for clip in array])
            gbuffers[name] = relative_depth(torch.from_numpy(array).float(), (depth_range[:, 0], depth_range[:, 1]))[0]
        else:
            gbuffers[name] = _unit(torch.from_numpy(array).float())
    unknown = np.full((shape[0], 1, *shape[2:]), 255, np.uint8)  # without a mask all is surface
    masks = np.stack([packed.arrays.get("mask", unknown) for packed in packs])
    return Samples(
        rgb=_looked_up([_exposed(gain) for gain in gains], np.stack([packed.arrays["rgb"] for packed in packs])),
        gbuffers=gbuffers,
        mask=_looked_up([_CODES] * len(packs), masks),
        depth_range=depth_range,
        panorama=_radiance([packed.panorama for packed in packs], packs, gains),
        background=_radiance([packed.arrays.get(BACKGROUND) for packed in packs], packs, gains),
        intrinsics=torch.from_numpy(np.stack([packed.intrinsics for packed in packs]).astype(np.float32)),
        camera_to_world=_poses(packs),
    )


def _radiance(halves: Sequence[np.ndarray | None], packs: Sequence[Packed], gains: Sequence[float]) -> Tensor | None:
    known = [array for array in halves if array is not None]
    if len(known) < len(halves):
        return None
    exposures = [packed.exposure * gain for packed, gain in zip(packs, gains, strict=True)]
    return torch.from_numpy(np.stack(known)).float().mul_(torch.tensor(exposures).view(-1, 1, 1, 1, 1))


def _poses(packs: Sequence[Packed]) -> Tensor | None:
    known = [packed.camera_to_world for packed in packs if packed.camera_to_world is not None]
    return torch.from_numpy(np.stack(known).astype(np.float32)) if len(known) == len(packs) else None


def _exposed(gain: float) -> np.ndarray:
    """Model-space value of each rgb code after an exposure change."""
    codes = _CODES if gain == 1 else np.minimum(srgb_encode(gain * srgb_decode(_CODES)), 1)
    return 2 * codes - 1


def depth_limits(halves: np.ndarray) -> Tensor:
    """(near, far) as `relative_depth` finds them, for the depth of one clip in half floats.

    Positive halves are ordered as their bits are, so counting those is enough: ten times faster than selecting.
    """
    counts = np.bincount(halves.view(np.uint16).ravel(), minlength=_INFINITY)[:_INFINITY].cumsum()
    if counts[-1] == 0:
        return torch.tensor([0.0, 1.0])
    ranks = [1 + round(share * (int(counts[-1]) - 1)) for share in (NEAR_QUANTILE, FAR_QUANTILE)]
    return torch.from_numpy(np.searchsorted(counts, ranks).astype(np.uint16).view(np.float16)).float()


def _looked_up(tables: Sequence[np.ndarray], codes: np.ndarray) -> Tensor:
    """Each clip's `codes` (B, ...) in its table."""
    values = torch.empty(codes.shape)
    for clip, table, out in zip(codes, tables, values.numpy(), strict=True):
        cv2.LUT(clip.reshape(len(clip), -1), table.astype(np.float32), out.reshape(len(clip), -1))
    return values


def _unit(vectors: Tensor) -> Tensor:
    """Half-precision unit vectors (B, T, 3, H, W), now float32, of unit length again; in place."""
    x, y, z = vectors.unbind(dim=2)
    return vectors.mul_(x.square().addcmul_(y, y).addcmul_(z, z).rsqrt_().unsqueeze(2))
