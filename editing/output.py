"""What else the editing commands write: comparison sheets, G-buffers and lights that people can look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from PIL import Image

from editing.film import VideoWriter, eight_bits, facing_camera, make_folder
from manifests.codec.exr import write_exr
from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.color import srgb_encode
from manifests.display import PAPER, light_picture
from manifests.files import atomic_file, write_bytes

_NARROWEST_LABEL = 96
_LIGHT_HEIGHT = 256
_CHANNELS = {1: ("Y",), 3: ("R", "G", "B")}


class Sheet:
    """A grid of pictures of one size, each with its name under it where there is room.

    names: one per picture, in order. size: (H, W) of one picture; `self.size` is the sheet's.
    """

    def __init__(self, names: Sequence[str], size: tuple[int, int]) -> None:
        self._columns = math.ceil(math.sqrt(len(names)))
        height, width = size
        self._strip = max(16, height // 16) if width >= _NARROWEST_LABEL else 0
        self._height = height + self._strip
        self.size = (-(-len(names) // self._columns) * self._height, self._columns * width)
        self._empty = np.full((*self.size, 3), PAPER, dtype=np.uint8)
        for name, picture in zip(names, self._places(self._empty), strict=False):
            if self._strip:
                label = np.full((self._strip, width, 3), PAPER, dtype=np.uint8)
                place, face = (4, round(0.72 * self._strip)), cv2.FONT_HERSHEY_SIMPLEX
                cv2.putText(label, name, place, face, self._strip / 40, (235, 235, 235), 1, cv2.LINE_AA)
                picture[height:] = label

    def lay(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures (H, W, 3), uint8 or floats in [0, 1], as one sheet, uint8."""
        sheet = self._empty.copy()
        for picture, place in zip(pictures, self._places(sheet), strict=False):
            place[: len(picture)] = eight_bits(picture)
        return sheet

    def _places(self, sheet: np.ndarray) -> Iterator[np.ndarray]:
        """The part of a sheet that each picture has, its label below it, row by row."""
        for row in np.split(sheet, len(sheet) // self._height):
            yield from np.split(row, self._columns, axis=1)


class GbufferFiles:
    """Writes G-buffers to a folder: an mp4 and a still (first frame) of each, and with `exact` an EXR per frame.

    A context manager. Pictures are as networks see them: sRGB base colour, normals 0.5 n + 0.5, near depth dark.
    """

    def __init__(self, folder: Path, size: tuple[int, int], fps: float, *, exact: bool) -> None:
        self._folder, self._exact, self._frame = folder, exact, 0
        make_folder(folder)
        self._stack = ExitStack()
        self._videos = {
            name: self._stack.enter_context(VideoWriter(folder / f"{name}.mp4", size, fps)) for name in GBUFFERS
        }

    def write(self, gbuffers: Mapping[str, np.ndarray], seconds: float) -> None:
        """Append one frame, (H, W, C) by name; normals are brought to unit length, which averages of windows lack."""
        normal = gbuffers["normal"]
        gbuffers = {**gbuffers, "normal": normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)}
        for name in GBUFFERS:
            picture = _picture(name, gbuffers[name])
            self._videos[name].write(picture, seconds)
            if self._frame == 0:
                with atomic_file(self._folder / f"{name}.png") as file:
                    Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(file, "PNG")
        if self._exact:
            planes = {
                f"{name}.{channel}": np.ascontiguousarray(gbuffers[name][..., index], dtype=np.float32)
                for name in GBUFFERS
                for index, channel in enumerate(_CHANNELS[ATTRIBUTES[name].channels])
            }
            write_bytes(self._folder / f"{self._frame:06d}.exr", write_exr(planes))
        self._frame += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def stored_light(panorama: np.ndarray, pose: np.ndarray | None = None) -> np.ndarray:
    """A panorama (h, w, 3) in the frame of a camera at `pose` (4, 4) as a light in the world, as datasets store it.

    Without a pose the camera looks at the middle of the light's image (`facing_camera`).
    """
    import torch

    from renderers.light.panoramas import panorama_to_stored
    from renderers.modelspace import planar

    pose = facing_camera(1)[0] if pose is None else pose
    seen = planar(panorama[None])[0, 0]  # (1, h, w, 3) -> (3, h, w)
    return panorama_to_stored(seen, torch.from_numpy(pose).float(), *panorama.shape[:2]).numpy()


def write_light(image: np.ndarray, stem: Path) -> tuple[Path, Path]:
    """A stored light (h, 2h, 3) as STEM.light.exr, which `find_light` reads, and as the picture STEM.light.png."""
    exact, picture = stem.with_name(f"{stem.name}.light.exr"), stem.with_name(f"{stem.name}.light.png")
    make_folder(exact.parent)
    planes = {channel: np.ascontiguousarray(image[..., index]) for index, channel in enumerate("RGB")}
    write_bytes(exact, write_exr(planes))
    with atomic_file(picture) as file:
        light_picture(image, _LIGHT_HEIGHT).save(file, "PNG")
    return exact, picture


def _picture(name: str, values: np.ndarray) -> np.ndarray:
    """(H, W, 3) in [0, 1]."""
    if name == "basecolor":
        values = srgb_encode(values)
    elif ATTRIBUTES[name].is_vector:
        values = 0.5 * values + 0.5
    return np.broadcast_to(np.clip(values, 0.0, 1.0), (*values.shape[:2], 3)).astype(np.float32)
