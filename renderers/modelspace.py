"""What networks see: videos and G-buffers as users hand them over, in model space, and in a network's own space.

*Model space* is what all networks know of an attribute, in [-1, 1]; a network works on it as pixels or as latents of an
image autoencoder (`Space`). One module holds every encoding, so that training, all backbones and the published
checkpoints cannot disagree about a colour curve, a sign or a depth range. Tensors are planar videos (B, T, C, H, W),
float32.

Conventions of the released models (DiffusionRenderer, arXiv 2501.18590, section 4 and its released code's behaviour):
colours are sRGB-encoded, roughness and metallic stay linear, depth is relative to its clip with the background at the
far end, normals are camera-space unit vectors as they are; the autoencoder sees one-channel attributes as gray.

Input is checked once; each mistake is one InputError. Nothing is resized, rescaled or guessed silently: a picture in
0..255 floats, an image without its frame axis' length or a NaN is refused with what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.clip import Clip
from manifests.contract.color import SRGB_BLACK, SRGB_BLACK_ENCODED, SRGB_OFFSET, SRGB_POWER, SRGB_SCALE, SRGB_SLOPE
from manifests.errors import InputError
from renderers.sampling.windows import OVERLAP, Cut, WindowPlan, plan_windows

Video = np.ndarray | Clip
"""(T, H, W, 3) sRGB, or one image (H, W, 3): uint8, or floats in [0, 1]; or a Clip, whose linear rgb is exposed."""

NEAR_QUANTILE = 0.02
FAR_QUANTILE = 0.98
FARTHEST = 200.0
"""Depth in units of the near depth beyond which estimated inverse depth says nothing."""
DECODE_FRAMES = 24
"""Frames decoded (and encoded) at a time: one window of the published networks. Fewer need less memory."""
_PIXELS = 512 * 512
"""Of the frames that `DECODE_FRAMES` counts; of smaller ones more go through at a time, so that a GPU has work."""
_TOLERANCE = 1e-3
_KNEE = 0.998
"""Relative depth from which on estimated surfaces draw together, and never reach the background's 1."""
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
    curve = SRGB_SCALE * linear.clamp_min(SRGB_BLACK) ** (1 / SRGB_POWER) - SRGB_OFFSET
    return torch.where(linear <= SRGB_BLACK, SRGB_SLOPE * linear, curve)


def srgb_decode(encoded: Tensor) -> Tensor:
    """Inverse of `srgb_encode`; negative input counts as 0."""
    encoded = encoded.clamp_min(0.0)
    curve = ((encoded.clamp_min(SRGB_BLACK_ENCODED) + SRGB_OFFSET) / SRGB_SCALE) ** SRGB_POWER
    return torch.where(encoded <= SRGB_BLACK_ENCODED, encoded / SRGB_SLOPE, curve)


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


def inverse_depth(relative: Tensor, mask: Tensor, limits: Tensor) -> Tensor:
    """Near depth over depth (B, T, 1, H, W) in [0, 1], 0 for background, of relative depth and surface coverage.

    `limits` (B, 2) are the near and far depth that 0 and 1 stand for; near must not be 0.
    """
    near, far = (limit.view(-1, 1, 1, 1, 1) for limit in limits.unbind(dim=1))
    near = near.clamp_min(1e-6)
    return torch.where(mask > 0.5, near / (near + relative * (far - near)), 0.0)


def depth_from_inverse(inverse: Tensor, coverage: Tensor) -> Tensor:
    """Relative depth (B, T, 1, H, W) in [0, 1] of inverse depth in any unit and of coverage; background alone is 1.

    The farthest surfaces, beyond the far quantile, keep their order below 1: the end of a street is not its sky.
    """
    background = coverage <= 0.5
    depth = 1.0 / inverse.clamp_min(1.0 / FARTHEST)
    near, far = (limit.view(-1, 1, 1, 1, 1) for limit in _limits(depth.masked_fill(background, torch.inf)))
    relative = ((depth - near) / (far - near).clamp_min(1e-6)).clamp_min(0.0)
    beyond = (relative - _KNEE).clamp_min(0.0) / (1.0 - _KNEE)
    surface = relative.clamp_max(_KNEE) + (1.0 - _KNEE) * beyond / (1.0 + beyond)
    return torch.where(background, 1.0, surface)


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


def model_video(video: Any) -> Tensor:
    """A video as model-space RGB (1, T, 3, H, W).

    `video` is (T, H, W, 3), or one image (H, W, 3), in sRGB: uint8, or floats in [0, 1]; or a Clip, whose linear rgb is
    exposed and encoded.
    """
    if isinstance(video, Clip):
        if "rgb" not in video.arrays:
            raise InputError(f"clip {video.key} holds no rgb", f"it has {', '.join(video.arrays)}")
        return to_model("rgb", planar(video.arrays["rgb"]), exposure=video.exposure)
    frames = checked_array("video", video)
    frames = frames[None] if frames.ndim == 3 else frames  # one image is a video of one frame
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise InputError(f"video has shape {frames.shape}, expected (T, H, W, 3), or (H, W, 3) for one image")
    if 0 in frames.shape:
        raise InputError(f"video is empty: its shape is {frames.shape}")
    if frames.dtype == np.uint8:
        frames = frames.astype(np.float32) / 255.0
    check_finite("video", frames)
    _between("video", frames, 0.0, 1.0, "floats are sRGB in [0, 1]; give 0 to 255 as uint8")
    return 2.0 * planar(frames) - 1.0


def gbuffer_values(gbuffers: Any, *, partial: bool = False) -> dict[str, Tensor]:
    """The five G-buffers (1, T, C, H, W) as values, depth relative; also `mask`, where it is given.

    With `partial`, any of the five, at least one.

    `gbuffers` is a Clip, or a mapping from name to (T, H, W, C). Depth in a Clip is in scene units. Depth in a
    mapping is taken as relative if all of it is within [0, 1], as an InverseRenderer gives it, and else as scene units.
    """
    if not isinstance(gbuffers, Clip | Mapping):
        raise InputError(f"gbuffers are a {type(gbuffers).__name__}, expected a Clip or a mapping from name to array")
    arrays = gbuffers.arrays if isinstance(gbuffers, Clip) else gbuffers
    missing = [name for name in GBUFFERS if name not in arrays]
    if missing and not (partial and len(missing) < len(GBUFFERS)):
        raise InputError(f"G-buffers lack {', '.join(missing)}", f"all of {', '.join(GBUFFERS)} are needed")
    values: dict[str, Tensor] = {}
    size: tuple[int, ...] = ()
    for name in (*GBUFFERS, "mask"):
        if name not in arrays:
            continue
        array = checked_array(name, arrays[name])
        if array.ndim != 4 or array.shape[-1] != ATTRIBUTES[name].channels or 0 in array.shape:
            raise InputError(f"{name} has shape {array.shape}, expected (T, H, W, {ATTRIBUTES[name].channels})")
        size = size or array.shape[:3]
        if array.shape[:3] != size:
            raise InputError(f"{name} has shape {array.shape}, but the other G-buffers have (T, H, W) = {size}")
        _check_values(name, array)
        values[name] = planar(array)
    if "depth" in values and (isinstance(gbuffers, Clip) or float(values["depth"].max()) > 1.0):
        values["depth"] = relative_depth(values["depth"])[0]
    return values


def checked_array(name: str, value: Any) -> np.ndarray:
    """`value`, if it is a numpy array of floats or uint8."""
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
    check_finite(name, array)
    _between(name, array, known.low, known.high, "values follow manifests/contract/attributes.py")


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise InputError if a value is NaN or infinite."""
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


class Space(Protocol):
    """How model-space videos become what a network sees, and back."""

    @property
    def factor(self) -> int:
        """Pixels per cell of this space, along height and width."""

    @property
    def scaling(self) -> float:
        """What encoded values are multiplied by for the network."""

    def channels(self, name: str) -> int:
        """Channels of attribute `name` in this space."""

    def encode(self, video: Tensor) -> Tensor:
        """Model space (B, T, C, H, W) as (B, T, c, H / factor, W / factor), NOT multiplied by `scaling`."""

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """What a network made for attribute `name` (it works in scaled values) as model space, native channels."""


@dataclass(frozen=True)
class PixelSpace:
    """No autoencoder: the network sees native channels at full resolution."""

    factor: int = 1
    scaling: float = 1.0

    def channels(self, name: str) -> int:
        """Native channels of `name`."""
        return channels(name)

    def encode(self, video: Tensor) -> Tensor:
        """The video itself."""
        return video

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """The output itself; a gray one of three channels as its native one."""
        native = channels(name)
        return unreplicate(latents) if native == 1 and latents.shape[-3] == 3 else latents


@dataclass(frozen=True)
class LatentSpace:
    """SVD's autoencoder (diffusers' AutoencoderKLTemporalDecoder): images in, a temporal decoder out.

    One-channel attributes are replicated to gray and averaged back. Latents are posterior modes, never samples
    (behaviour of the released code). `frames` of 512x512 go through at a time, or as many pixels of smaller ones.
    Decoded chunks of a clip overlap and cross-fade, because what the temporal decoder makes of a frame depends on its
    neighbours.
    """

    vae: Any
    frames: int = DECODE_FRAMES
    decoder: Any = None
    """Distilled decoder (diffusers' AutoencoderTiny) in place of the autoencoder's own; it sees one frame at a time."""

    @property
    def factor(self) -> int:
        """Pixels per latent: 8 for SVD."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def scaling(self) -> float:
        """What latents are multiplied by for the network: 0.18215 for SVD."""
        return float(self.vae.config.scaling_factor)

    def channels(self, name: str) -> int:
        """Latent channels, the same for every attribute: 4 for SVD."""
        return int(self.vae.config.latent_channels)

    def encode(self, video: Tensor) -> Tensor:
        """Posterior modes (B, T, 4, H / 8, W / 8) of (B, T, 1 or 3, H, W) in model space."""
        vae = _safe_precision(self.vae)
        images = replicate(video).flatten(0, 1)  # (B, T, 3, H, W) -> (B * T, 3, H, W)
        parts = images.split(self._together(images.shape[-2] * images.shape[-1]))
        modes = [vae.encode(part.to(vae.dtype)).latent_dist.mode() for part in parts]
        return torch.cat(modes).unflatten(0, video.shape[:2])  # (B * T, 4, h, w) -> (B, T, 4, h, w)

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """Model space (B, T, C, H, W) float32 of scaled latents (B, T, 4, h, w), with the native channels of `name`."""
        if self.decoder is not None:
            return self._distilled(name, latents)
        overlap = min(OVERLAP, self.frames // 4)
        plan = plan_windows(latents.shape[1], self.frames, overlap)
        together = self._together(latents.shape[-2] * latents.shape[-1] * self.factor**2)
        clips = max(1, together // min(latents.shape[1], self.frames))
        videos = [
            plan.blend(self._decode(window.take(some)) for window in plan.windows) for some in latents.split(clips)
        ]
        return native(name, torch.cat(videos))  # few clips at a time: decoding is where memory peaks

    def _distilled(self, name: str, latents: Tensor) -> Tensor:
        flat = (latents / self.decoder.config.scaling_factor).flatten(0, 1).to(self.decoder.dtype)
        frames = [self.decoder.decode(part).sample.float() for part in flat.split(self.frames)]
        return native(name, torch.cat(frames).unflatten(0, latents.shape[:2]))

    def _decode(self, latents: Tensor) -> Tensor:
        """(B, T, 4, h, w) -> (B, T, 3, H, W)."""
        vae = _safe_precision(self.vae)
        flat = (latents / self.scaling).flatten(0, 1).to(vae.dtype)  # (B, T, 4, h, w) -> (B * T, 4, h, w)
        return vae.decode(flat, num_frames=latents.shape[1]).sample.float().unflatten(0, latents.shape[:2])

    def _together(self, pixels: int) -> int:
        """How many frames of so many pixels go through at a time."""
        return self.frames * max(1, _PIXELS // pixels)


Blend = Callable[[str, WindowPlan, Sequence[Tensor]], Tensor]
"""`blend(name, plan, windows) -> video` of the windows of attribute `name`, all in model space."""


@dataclass(frozen=True)
class WindowedSpace:
    """A space of which one window is seen at a time: windows have cells of their own (`sampling.windows.Cut`)."""

    inner: Space
    cut: Cut
    blend: Blend

    @property
    def factor(self) -> int:
        """Of one window."""
        return self.inner.factor

    @property
    def scaling(self) -> float:
        """Of one window."""
        return self.inner.scaling

    def channels(self, name: str) -> int:
        """Of one window."""
        return self.inner.channels(name)

    def encode(self, video: Tensor) -> Tensor:
        """The windows of a whole video, one after the other; one that stands still is encoded once."""
        windows = self.cut.plan.windows
        still = video.shape[1] > 1 and video.stride(1) == 0
        cells = [self.inner.encode(window.take(video)) for window in (windows[:1] if still else windows)]
        return torch.cat(cells * (len(windows) // len(cells)), dim=1)

    def decode(self, name: str, latents: Tensor) -> Tensor:
        """A whole video of the windows' cells, one after the other."""
        windows = self.cut.cell_plan.windows
        return self.blend(name, self.cut.plan, [self.inner.decode(name, one.take(latents)) for one in windows])


def native(name: str, video: Tensor) -> Tensor:
    """Decoded frames with the channels that attribute `name` has."""
    return unreplicate(video) if channels(name) == 1 else video


def _safe_precision(vae: Any) -> Any:
    """SVD's encoder overflows in float16 (its config says `force_upcast`): such an autoencoder runs in float32."""
    if vae.dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)
    return vae
