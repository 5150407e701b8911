"""Clips on their way to an objective, in four stations: kept as codes, visited, stacked, and as values.

    ClipCodes     one clip in the integers of its codec, as the loader caches it, or a cut of it
    Visit         a cut with what was drawn for it and what is known of its clip
    CodedBatch    B visits stacked: what the loader gives, four times smaller than values and cheap to move
    Batch         the values of a batch on its device: what an objective is handed

Codes are those of a `CodedClip`: eight bits hold what the published models see of colours, roughness and metallic,
sixteen hold normals, depth and HDR light, which stays as it is stored (`clip_light.py`). That is a fifth of float32, so
a small set stays in memory, and cropping and mirroring are cheap. Everything passes through this form, cached or not,
so that a run's numbers do not depend on what the cache holds. Codes become values on the device: a table of 256 entries
per clip decodes colours, exposure change included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.azimuthal import STEPS
from manifests.contract.camera import intrinsics_from_fov
from manifests.contract.clip import Clip, CodedClip, to_codes
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.errors import DatasetError
from renderers import modelspace
from renderers.modelspace import FAR_QUANTILE, NEAR_QUANTILE, relative_depth
from training.data.clip_light import ClipLight, stored_light

ENVIRONMENT = "environment"
"""What the light is called where it stands beside G-buffers."""

_UNKNOWN_FOV = 45.0
_CODES = np.arange(256) / 255
_INFINITY = 0x7C00
"""Bits of +inf as a half float; all positive numbers are below."""


@dataclass(frozen=True)
class ClipEntry:
    """What is known of a clip before it is decoded.

    `shard` groups the clips that lie together, `real` says that its G-buffers are auto-labels, `confidence` in [0, 1]
    is by attribute; an attribute that is missing counts as certain.
    """

    key: str
    frames: int
    height: int
    width: int
    shard: int = 0
    real: bool = False
    confidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ClipCodes:
    """A clip, or a cut of one, as codes.

    Attributes:
        arrays: planar (T, C, H, W) by name, as in `CodedClip`: uint8 for colours (sRGB; rgb exposed), roughness,
            metallic and mask, two int16 for normals, float16 for depth in scene units.
        light: as its frames see it, not exposed; None when not asked for.
        exposure: factor that brings the light to the scale of rgb.
        intrinsics: (3, 3) float64 in pixels, or (T, 3, 3) where the camera zooms.
        camera_to_world: (T, 4, 4) float64 or None.
    """

    arrays: Mapping[str, np.ndarray]
    light: ClipLight | None
    exposure: float
    intrinsics: np.ndarray
    camera_to_world: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Size of the pixels and the light, with what is made of it."""
        light = 0 if self.light is None else self.light.stored.nbytes
        return light + sum(array.nbytes for array in self.arrays.values())


def codes_of(
    clip: Clip, panorama: tuple[int, int] | None, *, background: bool = False, partial: bool = False
) -> ClipCodes:
    """The codes of `clip`, a CodedClip or one whose colours are sRGB-encoded.

    `panorama` is the (h, w) of the light, None for none; `background` adds the environment behind every pixel. Raises
    DatasetError when light is wanted of a clip that has none, or no camera to see it with; `partial` ones do without.
    """
    arrays = {
        name: (array if isinstance(clip, CodedClip) else to_codes(ATTRIBUTES[name], array)).transpose(0, 3, 1, 2)
        for name, array in clip.arrays.items()
    }
    light = None
    size, known = clip.size, clip.camera
    lit = clip.environment is not None and clip.camera is not None
    if panorama is not None and (lit or not partial):
        if clip.environment is None or known is None:
            raise DatasetError(
                f"has no {'camera' if clip.camera is None else 'environment'}, which light needs",
                where=f"clip {clip.key}",
            )
        light = stored_light(clip.environment, known, size, panorama, background=background)
    intrinsics = intrinsics_from_fov(_UNKNOWN_FOV, *size) if known is None else known.intrinsics
    return ClipCodes(arrays, light, clip.exposure, intrinsics, None if known is None else known.camera_to_world)


@dataclass(frozen=True, eq=False)
class Visit:
    """One sample of a batch: a cut, and what was drawn for it and is known of its clip.

    Attributes:
        codes: the cut.
        entry: the clip that it was cut from.
        gain: exposure change of rgb and light alike.
        real: whether it is auto-labelled footage.
        unconditional: whether its conditions are to be dropped.
        seed: of whatever an objective draws for it.
    """

    codes: ClipCodes
    entry: ClipEntry
    gain: float = 1.0
    real: bool = False
    unconditional: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class _Clips:
    """What both kinds of batches have."""

    depth_range: Tensor
    intrinsics: Tensor
    camera_to_world: Tensor | None
    keys: tuple[str, ...]
    confidence: Mapping[str, Tensor]
    real: Tensor
    unconditional: Tensor
    seeds: Tensor
    missing: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class CodedBatch(_Clips):
    """B visits of equal shape, stacked; fields that are not named here are those of `Batch`.

    Attributes:
        arrays: (B, T, C, H, W) by name, in the types of `ClipCodes.arrays`; all surface where no mask is known.
        lights: by clip, how its frames see its light; None for one that has none, or where it was not asked for.
        images: (h, w, 3) stored light by the number of the clip.
        missing: (B,) bool by name of a G-buffer or `environment`: clips that lack it, and hold zeros in its place;
            only of those that some clip has and some other lacks.
        depth_range: (B, 2) near and far depth (`depth_limits`).
        tables: (B, 256) model-space value of each rgb code, after the exposure change of the visit.
        exposures: (B,) factors that bring the light to the scale of rgb, exposure change included.
    """

    arrays: Mapping[str, Tensor]
    lights: tuple[ClipLight | None, ...]
    images: Mapping[int, Tensor]
    tables: Tensor
    exposures: Tensor

    def pinned(self) -> CodedBatch:
        """The same batch in memory that a GPU can fetch from by itself."""
        return _changed(self, Tensor.pin_memory)

    def to(self, device: torch.device | str) -> Batch:
        """The values on `device`, seeds excepted, where light is turned; copies do not block where memory is pinned."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=True))._values(self.seeds)

    def _values(self, seeds: Tensor) -> Batch:
        linear, colours = (_repeated(table, self.tables) for table in (_CODES, srgb_decode(_CODES)))
        gbuffers: dict[str, Tensor] = {}
        for name in (name for name in GBUFFERS if name in self.arrays):
            array = self.arrays[name]
            if name == "depth":
                gbuffers[name] = relative_depth(array.float(), (self.depth_range[:, 0], self.depth_range[:, 1]))[0]
            elif array.dtype == torch.uint8:
                gbuffers[name] = _looked_up(colours if name == "basecolor" else linear, array)
            else:
                gbuffers[name] = _directions(array)
        panorama, background = self._radiance()
        return Batch(
            rgb=_looked_up(self.tables, self.arrays["rgb"]),
            gbuffers=gbuffers,
            mask=_looked_up(linear, self.arrays["mask"]),
            depth_range=self.depth_range,
            panorama=panorama,
            background=background,
            intrinsics=self.intrinsics,
            camera_to_world=self.camera_to_world,
            keys=self.keys,
            confidence=self.confidence,
            real=self.real,
            unconditional=self.unconditional,
            seeds=seeds,
            missing=self.missing,
        )

    def _radiance(self) -> tuple[Tensor | None, Tensor | None]:
        """Panoramas, zeros for clips without light, and what lies behind pixels where all clips have it; exposed."""
        seen = {clip: light.seen(self.images[clip]) for clip, light in enumerate(self.lights) if light is not None}
        if not seen:
            return None, None
        nothing = torch.zeros_like(next(iter(seen.values()))[0])
        panoramas = [seen[clip][0] if clip in seen else nothing for clip in range(len(self.lights))]
        behind = [each for _, each in seen.values() if each is not None]
        exposures = self.exposures.view(-1, 1, 1, 1, 1)
        return (
            torch.stack(panoramas).float().mul_(exposures),
            torch.stack(behind).float().mul_(exposures) if len(behind) == len(self.lights) else None,
        )


def collate(visits: Sequence[Visit]) -> CodedBatch:
    """Visits of equal shape as one batch."""
    cuts, entries = [visit.codes for visit in visits], [visit.entry for visit in visits]
    names = dict.fromkeys(name for cut in cuts for name in cut.arrays if name != "mask")
    held = {name: [cut.arrays.get(name) for cut in cuts] for name in names}
    arrays = {name: _filled(parts) for name, parts in held.items()}
    lights = tuple(cut.light for cut in cuts)
    parts = held | ({ENVIRONMENT: lights} if any(lights) else {})
    missing = {name: torch.tensor([part is None for part in each]) for name, each in parts.items()}
    unknown = np.full_like(cuts[0].arrays["rgb"][:, :1], 255)  # without a mask all is surface
    arrays["mask"] = _tensor([cut.arrays.get("mask", unknown) for cut in cuts])
    poses = _if_all([cut.camera_to_world for cut in cuts])
    depth_range = torch.tensor([0.0, 1.0]).repeat(len(cuts), 1)
    if "depth" in arrays:
        depth_range = torch.stack([depth_limits(part) for part in arrays["depth"].numpy()])
    return CodedBatch(
        arrays=arrays,
        lights=lights,
        images={clip: light.stored.image for clip, light in enumerate(lights) if light is not None},
        depth_range=depth_range,
        tables=torch.from_numpy(np.stack([_exposed(visit.gain) for visit in visits])).float(),
        exposures=torch.tensor([visit.codes.exposure * visit.gain for visit in visits]),
        intrinsics=torch.from_numpy(np.stack(np.broadcast_arrays(*(cut.intrinsics for cut in cuts)))).float(),
        camera_to_world=None if poses is None else poses.float(),
        keys=tuple(entry.key for entry in entries),
        confidence={
            name: torch.tensor([entry.confidence.get(name, 1.0) for entry in entries])
            for name in (*GBUFFERS, ENVIRONMENT)
        },
        real=torch.tensor([visit.real for visit in visits]),
        unconditional=torch.tensor([visit.unconditional for visit in visits]),
        seeds=torch.tensor([visit.seed for visit in visits], dtype=torch.int64),
        missing={name: gone for name, gone in missing.items() if bool(gone.any())},
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch(_Clips):
    """B clips of T frames as float32 values in the conventions that every network shares.

    "Planar" means (B, T, C, H, W).

    Attributes:
        rgb: (B, T, 3, H, W), model space: sRGB(exposure * radiance) clipped to [0, 1], then brought to [-1, 1].
        gbuffers: (B, T, C, H, W) by name in the order of `GBUFFERS`, only those asked for, as values of the attribute
            table: linear basecolor, unit camera-space normals, roughness and metallic in [0, 1]; only depth is
            relative, in [0, 1] with background 1.
        mask: (B, T, 1, H, W) surface coverage in [0, 1].
        depth_range: (B, 2) the near and far depth, in scene units, that relative depth 0 and 1 stand for.
        panorama: (B, T, 3, h, w) linear HDR in the camera frame on the grid of `camera_directions`, times the clip's
            exposure; None where the light was not asked for, or no clip has it.
        background: (B, T, 3, H, W) what the environment would show in every pixel if nothing stood before it, linear,
            exposed as the panorama is; None where it was not asked for.
        intrinsics: (B, 3, 3), or (B, T, 3, 3) where a clip zooms, in pixels of this crop; a 45 degree field of view
            where the camera is unknown.
        camera_to_world: (B, T, 4, 4), or None where a clip of the batch has no known poses.
        keys: the clips' keys, for messages.
        confidence: (B,) in [0, 1] by attribute; 1 for rendered truth.
        real: (B,) bool, True for auto-labelled footage.
        unconditional: (B,) bool, True where the conditions are to be dropped (classifier-free guidance).
        seeds: (B,) int64, one per sample and visit: whatever an objective draws for a sample comes from its seed, so
            that the draw does not depend on how samples are spread over workers.
        missing: (B,) bool by name of a G-buffer or `environment`: clips that lack it; what no clip has is not there.
    """

    rgb: Tensor
    gbuffers: Mapping[str, Tensor]
    mask: Tensor
    panorama: Tensor | None
    background: Tensor | None

    @property
    def size(self) -> int:
        """B."""
        return len(self.keys)

    def lacks(self, name: str, clip: int) -> bool:
        """Whether a clip of the batch lacks what others have."""
        return name in self.missing and bool(self.missing[name][clip])

    def first(self, count: int) -> Batch:
        """The first `count` clips."""
        return dataclasses.replace(_changed(self, lambda tensor: tensor[:count]), keys=self.keys[:count])

    def halved(self) -> Batch:
        """Half the height and width: means over 2 x 2 pixels of linear light, colours and surfaces.

        Four times as many pictures per second, for the beginning of a training. Odd sizes lose a row or column.
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
        """One freshly seeded generator per sample, on the device of the batch."""
        return [torch.Generator(self.rgb.device).manual_seed(int(seed)) for seed in self.seeds]

    def noise(self, shape: tuple[int, ...], generators: list[torch.Generator]) -> Tensor:
        """Standard normal (B, *shape), sample i drawn from generator i."""
        return torch.stack([torch.randn(shape, generator=g, device=self.rgb.device) for g in generators])


def _changed[Held](holder: Held, change: Callable[[Tensor], Tensor]) -> Held:
    """A dataclass whose tensors, those in mappings too, are all changed in the same way."""
    values: dict[str, Any] = {}
    for member in dataclasses.fields(holder):  # type: ignore[arg-type]
        value = getattr(holder, member.name)
        if isinstance(value, Tensor):
            values[member.name] = change(value)
        elif isinstance(value, Mapping):
            values[member.name] = {name: change(tensor) for name, tensor in value.items()}
    return dataclasses.replace(holder, **values)  # type: ignore[type-var]


def _pooled(video: Tensor) -> Tensor:
    """Means (B, T, C, H/2, W/2) over 2 x 2 pixels."""
    flat = torch.nn.functional.avg_pool2d(video.flatten(0, 1), 2)  # (B, T, C, H, W) -> (B*T, C, H/2, W/2)
    return flat.unflatten(0, video.shape[:2])


def _tensor(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _filled(arrays: Sequence[np.ndarray | None]) -> Tensor:
    """The stacked arrays, zeros where one is missing; not all are."""
    known = next(array for array in arrays if array is not None)
    return _tensor([np.zeros_like(known) if array is None else array for array in arrays])


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
