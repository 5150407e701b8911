"""Augmentation: which cut of a clip a visit sees, drawn from the visit's own random generator, and how it is made.

Every change keeps a clip a valid clip: mirroring turns normals, camera and light with the picture, an exposure change
brightens picture and light, a permutation of the colour channels holds for picture, base colour and light together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from manifests.contract.color import srgb_decode, srgb_encode
from training.data.batch import ClipCodes

_COLOURS = ("rgb", "basecolor")
_LINEAR = srgb_decode(np.arange(256) / 255).astype(np.float32)
_FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Augmentation:
    """What a visit may look like.

    Attributes:
        frames: T of the window.
        size: (H, W) of the visit: a cut of the picture, scaled down by anything between not at all and as far as the
            picture reaches; None takes the whole picture as it is.
        strides: frame steps to choose from; those that do not fit the clip are left out.
        mirror: whether half of the visits are mirrored left to right.
        permute: whether red, green and blue trade places.
        reverse: whether half of the visits run backwards in time.
        exposure_stops: range of the uniform exposure change in stops. `compact` rgb is clipped at white, so darkening
            shows that white as grey.
        dropout: share of visits whose conditions are to be dropped (`Batch.unconditional`).
        enlarge: the factor by which a picture that is too small for `size` may be enlarged.
    """

    frames: int
    size: tuple[int, int] | None = None
    strides: tuple[int, ...] = (1,)
    mirror: bool = True
    permute: bool = False
    reverse: bool = False
    exposure_stops: tuple[float, float] = (0.0, 0.0)
    dropout: float = 0.0
    enlarge: float = 1.0


@dataclass(frozen=True)
class ClipCut:
    """What a visit sees of a clip: frames, the window (top, left, height, width) in the clip's own pixels, the size
    (H, W) to which that is scaled, and the draws of everything else."""

    frames: tuple[int, ...]
    window: tuple[int, int, int, int]
    size: tuple[int, int]
    mirrored: bool
    channels: tuple[int, int, int]
    gain: float
    unconditional: bool


def fits(augmentation: Augmentation, frames: int, height: int, width: int) -> bool:
    """Whether a clip is long and large enough."""
    rows, columns = augmentation.size or (1, 1)
    reach = (augmentation.frames - 1) * min(augmentation.strides) + 1
    return frames >= reach and augmentation.enlarge * min(height / rows, width / columns) >= 1


def draw_cut(augmentation: Augmentation, frames: int, height: int, width: int, rng: np.random.Generator) -> ClipCut:
    """A cut of a clip that `fits`; every draw happens whatever the options, so that options do not shift others."""
    wanted = augmentation.frames
    strides = [stride for stride in augmentation.strides if (wanted - 1) * stride < frames]
    stride = strides[rng.integers(len(strides))]
    first = int(rng.integers(frames - (wanted - 1) * stride))
    size = augmentation.size or (height, width)
    smallest = max(size[0] / height, size[1] / width)  # at this scale the whole picture is seen, but for its aspect
    scale = max(smallest, smallest ** rng.random())
    rows, columns = min(height, round(size[0] / scale)), min(width, round(size[1] / scale))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    mirrored, order = bool(rng.random() < 0.5), rng.permutation(3)
    stops, dropped = rng.uniform(*augmentation.exposure_stops), rng.random() < augmentation.dropout
    chosen = tuple(range(first, first + (wanted - 1) * stride + 1, stride))
    reversed_ = rng.random() < 0.5
    return ClipCut(
        frames=chosen[::-1] if reversed_ and augmentation.reverse else chosen,
        window=(top, left, rows, columns),
        size=size,
        mirrored=mirrored and augmentation.mirror,
        channels=(int(order[0]), int(order[1]), int(order[2])) if augmentation.permute else (0, 1, 2),
        gain=float(2**stops),
        unconditional=bool(dropped),
    )


def apply_cut(codes: ClipCodes, cut: ClipCut) -> ClipCodes:
    """The cut of a whole clip that `cut` describes, but for its gain, which `collate` applies."""
    return cut_selected(select(codes, cut.frames), cut)


def cut_selected(codes: ClipCodes, cut: ClipCut) -> ClipCodes:
    """As `apply_cut`, of a clip whose frames are selected already."""
    codes = crop(codes, *cut.window)
    if cut.window[2:] != cut.size:
        codes = scaled(codes, *cut.size)
    if cut.mirrored:
        codes = mirror(codes)
    return permute(codes, cut.channels) if cut.channels != (0, 1, 2) else codes


def select(codes: ClipCodes, frames: Sequence[int]) -> ClipCodes:
    """The frames at the indices `frames`, which are evenly spaced, forwards or backwards."""
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    end = frames[-1] + step
    index = slice(frames[0], end if end >= 0 else None, step)  # a view: copying costs as much as the rest of a cut
    return dataclasses.replace(
        codes,
        arrays={name: array[index] for name, array in codes.arrays.items()},
        light=codes.light and codes.light.at(index),
        intrinsics=codes.intrinsics[index] if codes.intrinsics.ndim == 3 else codes.intrinsics,
        camera_to_world=None if codes.camera_to_world is None else codes.camera_to_world[index],
    )


def crop(codes: ClipCodes, top: int, left: int, height: int, width: int) -> ClipCodes:
    """The window of (height, width) pixels at (top, left); the principal point moves with it."""
    intrinsics = codes.intrinsics.copy()
    intrinsics[..., 0, 2] -= left
    intrinsics[..., 1, 2] -= top
    window = (..., slice(top, top + height), slice(left, left + width))
    arrays = {name: array[window] for name, array in codes.arrays.items()}
    light = codes.light and codes.light.cropped(top, left, height, width)
    return dataclasses.replace(codes, arrays=arrays, light=light, intrinsics=intrinsics)


def scaled(codes: ClipCodes, height: int, width: int) -> ClipCodes:
    """The clip at (height, width); intrinsics follow.

    Colours are means of linear light, roughness, metallic and mask means. Normals and depth are those of the pixel
    under each new pixel's centre: means of them belong to no surface.
    """
    rows, columns = codes.arrays["rgb"].shape[-2:]
    y = ((np.arange(height) + 0.5) * rows / height).astype(int)
    x = ((np.arange(width) + 0.5) * columns / width).astype(int)
    arrays = {
        name: array[..., y[:, None], x] if name in ("normal", "depth") else _averaged(name, array, height, width)
        for name, array in codes.arrays.items()
    }
    intrinsics = codes.intrinsics * np.array([[width / columns], [height / rows], [1.0]])
    light = codes.light and codes.light.scaled(height, width)
    return dataclasses.replace(codes, arrays=arrays, light=light, intrinsics=intrinsics)


def _averaged(name: str, array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means (T, C, height, width) of codes (T, C, H, W): of linear light where they are colours."""
    eight = array.dtype == np.uint8
    values = _LINEAR[array] if eight and name in _COLOURS else array.astype(np.float32)
    frames, channels = values.shape[:2]
    flat = np.ascontiguousarray(values.reshape(-1, *values.shape[2:]))
    means = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in flat])
    means = means.reshape(frames, channels, height, width)
    if not eight:
        return means.astype(array.dtype)
    return np.rint(srgb_encode(means) * 255 if name in _COLOURS else means).astype(np.uint8)


def mirror(codes: ClipCodes) -> ClipCodes:
    """The clip as seen in a mirror that swaps left and right: the world is reflected in x with the camera.

    x of normals changes its sign, the principal point and panoramas are flipped (their grid is symmetric), and the
    pose becomes M pose M with M = diag(-1, 1, 1, 1), which is a rotation again.
    """
    arrays = {}
    for name, array in codes.arrays.items():
        arrays[name] = _flipped(array)
        if name == "normal":
            np.negative(arrays[name][:, 0], out=arrays[name][:, 0])
    width = codes.arrays["rgb"].shape[-1]
    intrinsics = codes.intrinsics.copy()
    intrinsics[..., 0, 2] = width - intrinsics[..., 0, 2]
    poses = codes.camera_to_world
    return dataclasses.replace(
        codes,
        arrays=arrays,
        light=codes.light and codes.light.flipped(),
        intrinsics=intrinsics,
        camera_to_world=None if poses is None else _FLIP @ poses @ _FLIP,
    )


def _flipped(array: np.ndarray) -> np.ndarray:
    """A copy of (..., W), of 8 or 16 bits, from right to left; numpy's own way is five times slower."""
    rows = np.ascontiguousarray(array).reshape(-1, array.shape[-1])
    bits = rows if rows.dtype == np.uint8 else rows.view(np.uint16)
    return cv2.flip(bits, 1).view(array.dtype).reshape(array.shape)


def permute(codes: ClipCodes, channels: tuple[int, int, int]) -> ClipCodes:
    """Colour channel i becomes what channel `channels[i]` was, in picture, base colour and light."""
    order = list(channels)
    arrays = {name: array[:, order] if name in _COLOURS else array for name, array in codes.arrays.items()}
    return dataclasses.replace(codes, arrays=arrays, light=codes.light and codes.light.permuted(channels))
