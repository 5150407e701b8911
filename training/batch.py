"""`Batch`: what an objective is handed, as torch tensors in the conventions that every network shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from renderers import modelspace


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
