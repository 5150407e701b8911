"""The light of a clip as a loader carries it: stored once, turned to the cameras where the batch is.

    StoredLight   a clip's image and every pose from which a frame sees it
    ClipLight     what a cut of the clip sees: which poses, and through which window

Workers read the image and nothing more. `ClipLight.seen`, on the device of the batch, turns it into panoramas and into
what lies behind the pixels, once for each pose that a frame of the cut has, all of them at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from manifests.contract.camera import Camera
from manifests.contract.environment import HALF_MAX, Environment, cell_overlaps
from renderers.light.panoramas import camera_to_environment, stored_to_background, stored_to_panorama
from renderers.shading.view_geometry import plane_rays


@dataclass(frozen=True, eq=False)
class StoredLight:
    """The light of a clip, as it is stored, and from where it is seen.

    Attributes:
        image: (h, w, 3) float16 linear radiance, z up, not exposed.
        turns: (P, 3, 3) float32 camera to environment, one for each pose.
        lenses: (3, 3) float32, or (P, 3, 3) where the camera zooms, in pixels of the whole picture; None leaves
            out what lies behind the pixels.
        size: (H, W) of the whole picture.
        panorama: (h, w) of the panoramas.
        turned: on the CPU, by pose: what was made of it already, for a clip that stays in the loader's cache.
    """

    image: Tensor
    turns: Tensor
    lenses: Tensor | None
    size: tuple[int, int]
    panorama: tuple[int, int]
    turned: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of the image and of all that may be turned."""
        pixels = np.prod(self.panorama) + (0 if self.lenses is None else np.prod(self.size))
        return self.image.nbytes + int(len(self.turns) * 6 * pixels)

    def seen(self, image: Tensor, poses: np.ndarray) -> tuple[Tensor, ...]:
        """Panoramas (T, 3, h, w) and, where wanted, what lies behind pixels (T, 3, H, W), of frames at `poses` (T,).

        Both are float16, on the device of `image`.
        """
        turned = self.turned if image.device.type == "cpu" else {}  # a GPU is quick, and short of memory
        missing = [int(pose) for pose in np.unique(poses) if int(pose) not in turned]
        if missing:
            turns = self.turns[missing]
            made = [stored_to_panorama(image, turns, *self.panorama)]
            if self.lenses is not None:
                lenses = self.lenses if self.lenses.ndim == 2 else self.lenses[missing]
                rays = plane_rays(*self.size, lenses.to(image.device)).reshape(-1, 3, *self.size)
                made.append(stored_to_background(image, turns, rays))
            turned.update(zip(missing, zip(*(_halves(each) for each in made), strict=True), strict=True))
        return tuple(torch.stack(each) for each in zip(*(turned[int(pose)] for pose in poses), strict=True))


@dataclass(frozen=True, eq=False)
class ClipLight:
    """The light as the frames of a cut see it.

    Attributes:
        stored: the clip's.
        poses: (T,) the number of each frame's pose.
        window: (top, left, height, width) in pixels of the whole picture.
        size: (H, W) to which the window is scaled.
        mirrored: whether left and right then trade places.
        channels: which channel each colour channel then was.
    """

    stored: StoredLight
    poses: np.ndarray
    window: tuple[int, int, int, int]
    size: tuple[int, int]
    mirrored: bool = False
    channels: tuple[int, ...] = (0, 1, 2)

    def at(self, frames: slice) -> ClipLight:
        """Of these frames."""
        return dataclasses.replace(self, poses=self.poses[frames])

    def cropped(self, top: int, left: int, height: int, width: int) -> ClipLight:
        """Through a window of the cut, which is neither scaled nor mirrored yet."""
        if self.mirrored or self.size != self.window[2:]:
            raise ValueError("a cut is cropped before it is scaled and mirrored")
        window = (self.window[0] + top, self.window[1] + left, height, width)
        return dataclasses.replace(self, window=window, size=(height, width))

    def scaled(self, height: int, width: int) -> ClipLight:
        """With the window at (height, width), no larger than it is."""
        return dataclasses.replace(self, size=(height, width))

    def flipped(self) -> ClipLight:
        """As seen in a mirror that swaps left and right."""
        return dataclasses.replace(self, mirrored=not self.mirrored)

    def permuted(self, channels: Sequence[int]) -> ClipLight:
        """Colour channel i becomes what channel `channels[i]` was."""
        return dataclasses.replace(self, channels=tuple(self.channels[channel] for channel in channels))

    def seen(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Panoramas (T, 3, h, w) and, where wanted, what lies behind the pixels (T, 3, H, W), float16, not exposed.

        `image` is that of the stored light, on the device where they are made.
        """
        panorama, *behind = self.stored.seen(image, self.poses)
        if not behind:
            return self._changed(panorama), None
        top, left, height, width = self.window
        return self._changed(panorama), self._changed(
            _shrunk(behind[0][..., top : top + height, left : left + width], *self.size)
        )

    def _changed(self, radiance: Tensor) -> Tensor:
        if self.channels != (0, 1, 2):
            radiance = radiance[:, list(self.channels)]
        return radiance.flip(-1) if self.mirrored else radiance


def stored_light(
    environment: Environment, camera: Camera, size: tuple[int, int], panorama: tuple[int, int], *, background: bool
) -> ClipLight:
    """The light of a whole clip whose pictures are of `size`; many clips never turn, so that one pose serves them."""
    turns = camera_to_environment(environment.rotation, camera.camera_to_world).float()
    zooms = background and camera.zooms
    views = turns if not zooms else torch.cat([turns, torch.from_numpy(camera.intrinsics).float()], dim=1)
    flat = views.reshape(len(views), -1).numpy()
    which, poses = np.zeros(1, int), np.zeros(len(flat), int)
    if (flat != flat[0]).any():
        _, which, poses = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    lenses = torch.from_numpy(camera.intrinsics[which] if zooms else camera.intrinsics).float() if background else None
    image = torch.from_numpy(environment.image).clamp_max(HALF_MAX).half()
    return ClipLight(StoredLight(image, turns[which], lenses, size, panorama), poses, (0, 0, *size), size)


def _halves(radiance: Tensor) -> Tensor:
    return radiance.clamp_max_(HALF_MAX).half()


def _shrunk(video: Tensor, height: int, width: int) -> Tensor:
    """Means (T, 3, height, width) over the pixels of a larger (T, 3, H, W) that each covers."""
    if tuple(video.shape[-2:]) == (height, width):
        return video
    rows, columns = (
        torch.from_numpy(cell_overlaps(np.linspace(0, 1, old + 1), np.linspace(0, 1, new + 1))).to(video.device)
        for old, new in zip(video.shape[-2:], (height, width), strict=True)
    )
    return _halves(rows @ video.float() @ columns.T)
