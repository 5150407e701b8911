"""Model space: what the networks see of each attribute, in [-1, 1], and the way back to the attribute table's values.

Tensors are planar videos (B, T, C, H, W), float32. One module holds every encoding, so that training, the tiny and the
latent backbones and the published checkpoints cannot disagree about a colour curve, a sign or a depth range.

Conventions of the released models (DiffusionRenderer, arXiv 2501.18590, section 4 and its released code's behaviour):
colours are sRGB-encoded, roughness and metallic stay linear, depth is relative to its clip with the background at the
far end, normals are camera-space unit vectors as they are; the autoencoder sees one-channel attributes as gray.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.errors import InputError

NEAR_QUANTILE = 0.02
FAR_QUANTILE = 0.98
_COLOURS = ("rgb", "basecolor")


def channels(name: str) -> int:
    """Native channels of the attribute `name`; raises InputError naming the known ones."""
    if name not in ATTRIBUTES:
        raise InputError(f"unknown attribute {name!r}", f"the table knows {', '.join(ATTRIBUTES)}")
    return ATTRIBUTES[name].channels


def planar(array: np.ndarray) -> Tensor:
    """Channels-last frames (T, H, W, C) as a float32 planar video (1, T, C, H, W)."""
    frames = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return frames.permute(0, 3, 1, 2).unsqueeze(0).contiguous()  # (T, H, W, C) -> (1, T, C, H, W)


def channels_last(video: Tensor) -> np.ndarray:
    """A planar video of one clip (1, T, C, H, W) as float32 numpy frames (T, H, W, C)."""
    frames = video.squeeze(0).permute(0, 2, 3, 1)  # (1, T, C, H, W) -> (T, H, W, C)
    return np.ascontiguousarray(frames.detach().float().cpu().numpy())


def srgb_encode(linear: Tensor) -> Tensor:
    """IEC 61966-2-1 encoding; negative input counts as 0, input above 1 goes on along the curve."""
    linear = linear.clamp_min(0.0)
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def srgb_decode(encoded: Tensor) -> Tensor:
    """Inverse of `srgb_encode`; negative input counts as 0."""
    encoded = encoded.clamp_min(0.0)
    curve = ((encoded.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, curve)


def relative_depth(depth: Tensor, limits: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Planar depth (B, T, 1, H, W), background +inf, as (relative depth in [0, 1], near (B,), far (B,)).

    Near and far are the 2 % and 98 % quantiles (nearest rank) of the clip's finite depth; nearer is 0, farther and
    background 1. A clip of background alone is 1 everywhere, with near 0 and far 1. The published training's exact
    normalisation is unknown; quantiles keep one stray near surface from flattening the rest. `limits` are near and far,
    for who knows them already.
    """
    near, far = limits or _limits(depth)
    start = near.view(-1, 1, 1, 1, 1)  # (B,) -> (B, 1, 1, 1, 1)
    span = (far - near).clamp_min(1e-6).view(-1, 1, 1, 1, 1)
    return ((depth - start) / span).clamp(0.0, 1.0), near, far


def _limits(depth: Tensor) -> tuple[Tensor, Tensor]:
    near, far = depth.new_zeros(len(depth)), depth.new_ones(len(depth))
    for index, clip in enumerate(depth):
        finite = clip.masked_select(clip.isfinite())  # (N,)
        if finite.numel():
            last = finite.numel() - 1
            near[index] = finite.kthvalue(1 + round(NEAR_QUANTILE * last)).values
            far[index] = finite.kthvalue(1 + round(FAR_QUANTILE * last)).values
    return near, far


def to_model(name: str, values: Tensor, *, exposure: float | Tensor | None = None) -> Tensor:
    """Values (..., C, H, W) of the table's convention in model space [-1, 1]; depth must be relative already.

    `exposure` multiplies scene-linear rgb before it is encoded: one number, or (B,) for a batch (default 1).
    """
    _check_channels(name, values)
    if ATTRIBUTES[name].is_vector:
        return values.clamp(-1.0, 1.0)
    if name in _COLOURS:
        values = srgb_encode(values if exposure is None else values * _per_clip(exposure, values))
    return 2.0 * values.clamp(0.0, 1.0) - 1.0


def from_model(name: str, model: Tensor) -> Tensor:
    """Model space (..., C, H, W) back to values: clamped, normals of unit length, depth relative in [0, 1].

    rgb comes back linear and exposed, `clip(exposure * radiance)`; `display` gives it as a screen shows it.
    """
    _check_channels(name, model)
    if ATTRIBUTES[name].is_vector:
        length = model.norm(dim=-3, keepdim=True)
        viewer = torch.zeros_like(model)
        viewer[..., 2, :, :] = 1.0  # a vector without direction faces the viewer, as the background does
        return torch.where(length > 1e-6, model / length.clamp_min(1e-6), viewer)
    return srgb_decode(display(model)) if name in _COLOURS else display(model)


def display(model: Tensor) -> Tensor:
    """Model space [-1, 1] as [0, 1], clamped; of rgb that is sRGB, ready for a screen."""
    return (0.5 * model + 0.5).clamp(0.0, 1.0)


def replicate(model: Tensor) -> Tensor:
    """(..., C, H, W) with 1 or 3 channels as 3 channels, gray where it was 1: what an image autoencoder takes."""
    return model.expand(*model.shape[:-3], 3, *model.shape[-2:]) if model.shape[-3] == 1 else model


def unreplicate(model: Tensor) -> Tensor:
    """(..., 3, H, W) gray as (..., 1, H, W): the mean over channels, the inverse of `replicate` on one channel."""
    return model.mean(dim=-3, keepdim=True)


def stack(gbuffers: Mapping[str, Tensor]) -> Tensor:
    """The five G-buffers (B, T, C, H, W) along channels, in GBUFFERS order: (B, T, 9, H, W)."""
    missing = [name for name in GBUFFERS if name not in gbuffers]
    if missing:
        raise InputError(f"G-buffers lack {', '.join(missing)}", f"all of {', '.join(GBUFFERS)} are needed")
    for name in GBUFFERS:
        _check_channels(name, gbuffers[name])
    return torch.cat([gbuffers[name] for name in GBUFFERS], dim=-3)


def split(stacked: Tensor) -> dict[str, Tensor]:
    """Inverse of `stack`: (B, T, 9, H, W) as the five G-buffers by name."""
    sizes = [ATTRIBUTES[name].channels for name in GBUFFERS]
    if stacked.shape[-3] != sum(sizes):
        raise InputError(f"stacked G-buffers have {stacked.shape[-3]} channels, expected {sum(sizes)}")
    return dict(zip(GBUFFERS, stacked.split(sizes, dim=-3), strict=True))


def _per_clip(exposure: float | Tensor, values: Tensor) -> float | Tensor:
    """A (B,) exposure as (B, 1, 1, 1, 1), to be broadcast over its clip; a number as it is."""
    if isinstance(exposure, Tensor) and exposure.ndim:
        return exposure.to(values).view(-1, *[1] * (values.ndim - 1))
    return exposure


def _check_channels(name: str, tensor: Tensor) -> None:
    expected = channels(name)
    if tensor.ndim < 3 or tensor.shape[-3] != expected:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}, expected (..., {expected}, H, W)")
