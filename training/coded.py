"""`Coded`: cuts of several clips, as the loader hands them over: few bytes, made values where a network wants them.

A batch of float32 has three times the bytes of its 8-bit and 16-bit codes. So it is these that loader threads put
together and that a GPU fetches; tables on the device turn them into values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from manifests.attributes import GBUFFERS
from manifests.azimuthal import STEPS
from manifests.environment import srgb_decode, srgb_encode
from renderers.modelspace import FAR_QUANTILE, NEAR_QUANTILE, relative_depth
from training.batch import Batch, Samples, changed
from training.samples import BACKGROUND, Packed

_CODES = np.arange(256) / 255
_INFINITY = 0x7C00
"""Bits of +inf as a half float; all positive numbers are below."""


@dataclass(frozen=True, eq=False)
class Coded:
    """Cuts of B clips of equal shape.

    Attributes:
        arrays: (B, T, C, H, W) by name, in the types of `Packed.arrays`; all surface where no mask is known.
        panorama: (B, T, 3, h, w) float16 linear radiance in the camera frame, not exposed; None where not all have it.
        background: (B, T, 3, H, W), likewise.
        depth_range: (B, 2) near and far depth (`depth_limits`).
        tables: (B, 256) model-space value of each rgb code, after the exposure change of the visit.
        exposures: (B,) factors that bring panorama and background to the scale of rgb, exposure change included.
        intrinsics, camera_to_world: as in `Batch`.
    """

    arrays: Mapping[str, Tensor]
    panorama: Tensor | None
    background: Tensor | None
    depth_range: Tensor
    tables: Tensor
    exposures: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor | None

    def samples(self) -> Samples:
        """Values and model space, on the device where the codes are."""
        arrays = self.arrays
        linear, colours = (_repeated(table, self.tables) for table in (_CODES, srgb_decode(_CODES)))
        gbuffers: dict[str, Tensor] = {}
        for name in (name for name in GBUFFERS if name in arrays):
            array = arrays[name]
            if name == "depth":
                gbuffers[name] = relative_depth(array.float(), (self.depth_range[:, 0], self.depth_range[:, 1]))[0]
            elif array.dtype == torch.uint8:
                gbuffers[name] = _looked_up(colours if name == "basecolor" else linear, array)
            else:
                gbuffers[name] = _directions(array)
        return Samples(
            rgb=_looked_up(self.tables, arrays["rgb"]),
            gbuffers=gbuffers,
            mask=_looked_up(linear, arrays["mask"]),
            depth_range=self.depth_range,
            panorama=self._radiance(self.panorama),
            background=self._radiance(self.background),
            intrinsics=self.intrinsics,
            camera_to_world=self.camera_to_world,
        )

    def _radiance(self, halves: Tensor | None) -> Tensor | None:
        return None if halves is None else halves.float().mul_(self.exposures.view(-1, 1, 1, 1, 1))


@dataclass(frozen=True, eq=False)
class CodedBatch:
    """What the loader gives: a `Batch` whose pixels are still `Coded`. The other fields are those of `Batch`."""

    keys: tuple[str, ...]
    coded: Coded
    confidence: Mapping[str, Tensor]
    real: Tensor
    unconditional: Tensor
    seeds: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`, seeds excepted; copies do not block where the memory is pinned."""
        moved = changed(self, lambda tensor: tensor.to(device, non_blocking=True))
        return Batch(
            keys=self.keys,
            **vars(moved.coded.samples()),
            confidence=moved.confidence,
            real=moved.real,
            unconditional=moved.unconditional,
            seeds=self.seeds,
        )

    def pinned(self) -> CodedBatch:
        """The same batch in memory that a GPU can fetch from by itself."""
        return changed(self, Tensor.pin_memory)


def stacked(packs: Sequence[Packed], gains: Sequence[float] | None = None) -> Coded:
    """The packed form of clips of equal shape; `gains` are exposure changes of rgb and light alike, 1 if not given."""
    gains = gains or [1.0] * len(packs)
    names = [name for name in packs[0].arrays if name not in ("mask", BACKGROUND)]
    arrays = {name: _tensor([packed.arrays[name] for packed in packs]) for name in names}
    unknown = np.full_like(packs[0].arrays["rgb"][:, :1], 255)  # without a mask all is surface
    arrays["mask"] = _tensor([packed.arrays.get("mask", unknown) for packed in packs])
    poses = _if_all([packed.camera_to_world for packed in packs])
    depth_range = torch.tensor([0.0, 1.0]).repeat(len(packs), 1)
    if "depth" in arrays:
        depth_range = torch.stack([depth_limits(packed.arrays["depth"]) for packed in packs])
    return Coded(
        arrays=arrays,
        panorama=_if_all([packed.panorama for packed in packs]),
        background=_if_all([packed.arrays.get(BACKGROUND) for packed in packs]),
        depth_range=depth_range,
        tables=torch.from_numpy(np.stack([_exposed(gain) for gain in gains])).float(),
        exposures=torch.tensor([packed.exposure * gain for packed, gain in zip(packs, gains, strict=True)]),
        intrinsics=torch.from_numpy(np.stack([packed.intrinsics for packed in packs])).float(),
        camera_to_world=None if poses is None else poses.float(),
    )


def depth_limits(halves: np.ndarray) -> Tensor:
    """(near, far) as `relative_depth` finds them, for the depth of one clip in half floats.

    Positive halves are ordered as their bits are, so counting those is enough: thirty times faster than selecting.
    """
    bits = np.ascontiguousarray(halves).view(np.uint16).reshape(-1, halves.shape[-1])
    counts = cv2.calcHist([bits], [0], None, [_INFINITY], [0, _INFINITY]).astype(np.int64).cumsum()
    if counts[-1] == 0:
        return torch.tensor([0.0, 1.0])
    ranks = [1 + round(share * (int(counts[-1]) - 1)) for share in (NEAR_QUANTILE, FAR_QUANTILE)]
    return torch.from_numpy(np.searchsorted(counts, ranks).astype(np.uint16).view(np.float16)).float()


def _tensor(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _if_all(arrays: Sequence[np.ndarray | None]) -> Tensor | None:
    """The stacked arrays, or None where one is missing."""
    known = [array for array in arrays if array is not None]
    return _tensor(known) if len(known) == len(arrays) else None


def _exposed(gain: float) -> np.ndarray:
    """Model-space value of each rgb code after an exposure change."""
    codes = _CODES if gain == 1 else np.minimum(srgb_encode(gain * srgb_decode(_CODES)), 1)
    return 2 * codes - 1


def _repeated(table: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(table).to(like).expand(len(like), -1)


def _looked_up(tables: Tensor, codes: Tensor) -> Tensor:
    """Each clip's `codes` (B, ...) in its row of `tables` (B, 256)."""
    if codes.device.type != "cpu":
        return _indexed(tables, codes)
    values = torch.empty(codes.shape)
    for clip, table, out in zip(codes.numpy(), tables.numpy(), values.numpy(), strict=True):
        cv2.LUT(clip.reshape(len(clip), -1), table, out.reshape(len(clip), -1))  # ten times faster than indexing
    return values


def _indexed(tables: Tensor, codes: Tensor) -> Tensor:
    """`_looked_up` as a GPU does it best."""
    return torch.stack([table[clip.int()] for table, clip in zip(tables, codes, strict=True)])


def _directions(codes: Tensor) -> Tensor:
    """Unit vectors (B, T, 3, H, W) of their `codes` (B, T, 2, H, W) in the plane of `manifests.azimuthal`."""
    x, y = codes.float().div_(STEPS).unbind(dim=2)
    square = x.square().addcmul_(y, y).clamp_max_(4)
    shrunk = (1 - square / 4).sqrt_()
    return torch.stack([x * shrunk, y * shrunk, 1 - square / 2], dim=2)
