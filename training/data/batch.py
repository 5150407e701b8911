"""`Batch`: what an objective is handed, as torch tensors in the conventions that every network shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.azimuthal import STEPS
from manifests.contract.camera import intrinsics_from_fov
from manifests.contract.clip import Clip, CodedClip, to_codes
from manifests.contract.environment import HALF_MAX, srgb_decode, srgb_encode
from manifests.errors import DatasetError
from renderers import modelspace
from renderers.light.panoramas import backgrounds, panoramas
from renderers.modelspace import FAR_QUANTILE, NEAR_QUANTILE, relative_depth


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """The pixels, light and cameras of B clips of T frames, float32; "planar" means (B, T, C, H, W).

    Attributes:
        rgb: (B, T, 3, H, W), model space: sRGB(exposure * radiance) clipped to [0, 1], then brought to [-1, 1].
        gbuffers: (B, T, C, H, W) by name in the order of `GBUFFERS`, only those asked for, as values of the attribute
            table: linear basecolor, unit camera-space normals, roughness and metallic in [0, 1]; only depth is
            relative, in [0, 1] with background 1.
        mask: (B, T, 1, H, W) surface coverage in [0, 1].
        depth_range: (B, 2) the near and far depth, in scene units, that relative depth 0 and 1 stand for.
        panorama: (B, T, 3, h, w) linear HDR in the camera frame on the grid of `camera_directions`, times the clip's
            exposure; None where the light was not asked for.
        background: (B, T, 3, H, W) what the environment would show in every pixel if nothing stood before it, linear,
            exposed as the panorama is; None where it was not asked for.
        intrinsics: (B, 3, 3) in pixels of this crop; a 45 degree field of view where the camera is unknown.
        camera_to_world: (B, T, 4, 4), or None where a clip of the batch has no known poses.
    """

    rgb: Tensor
    gbuffers: Mapping[str, Tensor]
    mask: Tensor
    depth_range: Tensor
    panorama: Tensor | None
    background: Tensor | None
    intrinsics: Tensor
    camera_to_world: Tensor | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch(Samples):
    """Samples, and what is known of them.

    Attributes:
        keys: the clips' keys, for messages.
        confidence: (B,) in [0, 1] by attribute; 1 for rendered truth.
        real: (B,) bool, True for auto-labelled footage.
        unconditional: (B,) bool, True where the conditions are to be dropped (classifier-free guidance).
        seeds: (B,) int64, one a sample and a visit: whatever an objective draws for a sample comes from its seed, so
            that the draw does not depend on how samples are spread over workers.
    """

    keys: tuple[str, ...]
    confidence: Mapping[str, Tensor]
    real: Tensor
    unconditional: Tensor
    seeds: Tensor

    @property
    def size(self) -> int:
        """B."""
        return len(self.keys)

    def first(self, count: int) -> Batch:
        """The first `count` clips."""
        return dataclasses.replace(changed(self, lambda tensor: tensor[:count]), keys=self.keys[:count])

    def halved(self) -> Batch:
        """Half the height and width: means over 2 x 2 pixels of linear light, colours and surfaces.

        Four times as many pictures a second, for the beginning of a training. Sizes that are odd lose a row or column.
        """
        gbuffers = {name: _pooled(values) for name, values in self.gbuffers.items()}
        if "normal" in gbuffers:
            gbuffers["normal"] = torch.nn.functional.normalize(gbuffers["normal"], dim=2)
        linear = modelspace.srgb_decode(0.5 * self.rgb + 0.5)
        scale = self.intrinsics.new_tensor([0.5, 0.5, 1.0])[:, None]  # pixel edges stay at whole numbers
        return dataclasses.replace(
            self,
            rgb=2 * modelspace.srgb_encode(_pooled(linear)) - 1,
            gbuffers=gbuffers,
            mask=_pooled(self.mask),
            background=None if self.background is None else _pooled(self.background),
            intrinsics=self.intrinsics * scale,
        )

    def generators(self) -> list[torch.Generator]:
        """One freshly seeded generator a sample, on the device of the batch."""
        return [torch.Generator(self.rgb.device).manual_seed(int(seed)) for seed in self.seeds]

    def noise(self, shape: tuple[int, ...], generators: list[torch.Generator]) -> Tensor:
        """Standard normal (B, *shape), sample i drawn from generator i."""
        return torch.stack([torch.randn(shape, generator=g, device=self.rgb.device) for g in generators])


def changed[Held](holder: Held, change: Callable[[Tensor], Tensor]) -> Held:
    """A dataclass whose tensors, in mappings and in dataclasses of it too, are all changed in the same way."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(holder):  # type: ignore[arg-type]
        value = getattr(holder, field.name)
        if isinstance(value, Tensor):
            values[field.name] = change(value)
        elif isinstance(value, Mapping):
            values[field.name] = {name: change(tensor) for name, tensor in value.items()}
        elif dataclasses.is_dataclass(value):
            values[field.name] = changed(value, change)
    return dataclasses.replace(holder, **values)  # type: ignore[type-var]


def _pooled(video: Tensor) -> Tensor:
    """Means (B, T, C, H/2, W/2) over 2 x 2 pixels."""
    flat = torch.nn.functional.avg_pool2d(video.flatten(0, 1), 2)  # (B, T, C, H, W) -> (B*T, C, H/2, W/2)
    return flat.unflatten(0, video.shape[:2])


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
    DatasetError when light is wanted of a clip that has none, or no camera to see it with.
    """
    arrays = {
        name: (array if isinstance(clip, CodedClip) else to_codes(ATTRIBUTES[name], array)).transpose(0, 3, 1, 2)
        for name, array in clip.arrays.items()
    }
    light = None
    if panorama is not None:
        if clip.environment is None or clip.camera is None:
            raise DatasetError(
                f"has no {'camera' if clip.camera is None else 'environment'}, which light needs",
                where=f"clip {clip.key}",
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
    """Unit vectors (B, T, 3, H, W) of their `codes` (B, T, 2, H, W) in the plane of `manifests.contract.azimuthal`."""
    x, y = codes.float().div_(STEPS).unbind(dim=2)
    square = x.square().addcmul_(y, y).clamp_max_(4)
    shrunk = (1 - square / 4).sqrt_()
    return torch.stack([x * shrunk, y * shrunk, 1 - square / 2], dim=2)
