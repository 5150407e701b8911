"""Augmentation: which cut of a clip a visit sees, drawn from the visit's own random generator, and how it is made.

Every change keeps a clip a valid clip: mirroring turns normals, camera and light with the picture, an exposure change
brightens picture and light, a permutation of the colour channels (of red, green and blue light, so to speak) holds
for picture, base colour and light together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from training.data.batch import BACKGROUND, Packed

_COLOURS = ("rgb", "basecolor", BACKGROUND)
_FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Augmentation:
    """What a visit may look like.

    Attributes:
        frames: T of the window.
        size: (H, W) of the crop; None takes the whole picture.
        strides: frame steps to choose from; those that do not fit the clip are left out.
        mirror: whether half of the visits are mirrored left to right.
        permute: whether red, green and blue trade places.
        reverse: whether half of the visits run backwards in time.
        exposure_stops: range of the uniform exposure change in stops. `compact` rgb is clipped at white, so darkening
            shows that white as grey.
        dropout: share of visits whose conditions are to be dropped (`Batch.unconditional`).
    """

    frames: int
    size: tuple[int, int] | None = None
    strides: tuple[int, ...] = (1,)
    mirror: bool = True
    permute: bool = False
    reverse: bool = False
    exposure_stops: tuple[float, float] = (0.0, 0.0)
    dropout: float = 0.0


@dataclass(frozen=True)
class View:
    """One visit's cut: frame indices, crop origin and size, and the draws of everything else."""

    frames: tuple[int, ...]
    top: int
    left: int
    size: tuple[int, int]
    mirrored: bool
    channels: tuple[int, int, int]
    gain: float
    unconditional: bool


def fits(augmentation: Augmentation, frames: int, height: int, width: int) -> bool:
    """Whether a clip is long and large enough."""
    rows, columns = augmentation.size or (1, 1)
    reach = (augmentation.frames - 1) * min(augmentation.strides) + 1
    return frames >= reach and height >= rows and width >= columns


def draw_view(augmentation: Augmentation, frames: int, height: int, width: int, rng: np.random.Generator) -> View:
    """A view of a clip that `fits`; every draw happens whatever the options, so that options do not shift others."""
    wanted = augmentation.frames
    strides = [stride for stride in augmentation.strides if (wanted - 1) * stride < frames]
    stride = strides[rng.integers(len(strides))]
    first = int(rng.integers(frames - (wanted - 1) * stride))
    rows, columns = augmentation.size or (height, width)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    mirrored, order = bool(rng.random() < 0.5), rng.permutation(3)
    stops, dropped = rng.uniform(*augmentation.exposure_stops), rng.random() < augmentation.dropout
    chosen = tuple(range(first, first + (wanted - 1) * stride + 1, stride))
    reversed_ = rng.random() < 0.5
    return View(
        frames=chosen[::-1] if reversed_ and augmentation.reverse else chosen,
        top=top,
        left=left,
        size=(rows, columns),
        mirrored=mirrored and augmentation.mirror,
        channels=(int(order[0]), int(order[1]), int(order[2])) if augmentation.permute else (0, 1, 2),
        gain=float(2**stops),
        unconditional=bool(dropped),
    )


def apply_view(packed: Packed, view: View) -> Packed:
    """The cut of a whole clip that `view` describes, but for its gain, which `stacked` applies."""
    return cut(select(packed, view.frames), view)


def cut(packed: Packed, view: View) -> Packed:
    """As `apply_view`, of a clip whose frames were selected before."""
    packed = crop(packed, view.top, view.left, *view.size)
    if view.mirrored:
        packed = mirror(packed)
    return permute(packed, view.channels) if view.channels != (0, 1, 2) else packed


def select(packed: Packed, frames: Sequence[int]) -> Packed:
    """The frames at the indices `frames`, which are evenly spaced, forwards or backwards."""
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    end = frames[-1] + step
    index = slice(frames[0], end if end >= 0 else None, step)  # a view: copying costs as much as the rest of a cut
    return dataclasses.replace(
        packed,
        arrays={name: array[index] for name, array in packed.arrays.items()},
        panorama=None if packed.panorama is None else packed.panorama[index],
        camera_to_world=None if packed.camera_to_world is None else packed.camera_to_world[index],
    )


def crop(packed: Packed, top: int, left: int, height: int, width: int) -> Packed:
    """The window of (height, width) pixels at (top, left); the principal point moves with it."""
    intrinsics = packed.intrinsics.copy()
    intrinsics[0, 2] -= left
    intrinsics[1, 2] -= top
    window = (..., slice(top, top + height), slice(left, left + width))
    arrays = {name: array[window] for name, array in packed.arrays.items()}
    return dataclasses.replace(packed, arrays=arrays, intrinsics=intrinsics)


def mirror(packed: Packed) -> Packed:
    """The clip as seen in a mirror that swaps left and right: the world is reflected in x with the camera.

    x of normals changes its sign, the principal point and the panorama are flipped (its grid is symmetric), and the
    pose becomes M pose M with M = diag(-1, 1, 1, 1), which is a rotation again.
    """
    arrays = {}
    for name, array in packed.arrays.items():
        arrays[name] = _flipped(array)
        if name == "normal":
            np.negative(arrays[name][:, 0], out=arrays[name][:, 0])
    width = packed.arrays["rgb"].shape[-1]
    intrinsics = packed.intrinsics.copy()
    intrinsics[0, 2] = width - intrinsics[0, 2]
    poses = packed.camera_to_world
    return dataclasses.replace(
        packed,
        arrays=arrays,
        panorama=None if packed.panorama is None else packed.panorama[..., ::-1],
        intrinsics=intrinsics,
        camera_to_world=None if poses is None else _FLIP @ poses @ _FLIP,
    )


def _flipped(array: np.ndarray) -> np.ndarray:
    """A copy of (..., W), of 8 or 16 bits, from right to left; numpy's own way is five times slower."""
    rows = np.ascontiguousarray(array).reshape(-1, array.shape[-1])
    bits = rows if rows.dtype == np.uint8 else rows.view(np.uint16)
    return cv2.flip(bits, 1).view(array.dtype).reshape(array.shape)


def permute(packed: Packed, channels: tuple[int, int, int]) -> Packed:
    """Colour channel i becomes what channel `channels[i]` was, in picture, base colour and light."""
    order = list(channels)
    arrays = {name: array[:, order] if name in _COLOURS else array for name, array in packed.arrays.items()}
    light = None if packed.panorama is None else packed.panorama[:, order]
    return dataclasses.replace(packed, arrays=arrays, panorama=light)
