"""Folders of single pictures with G-buffers, in the style of InteriorVerse and HyperSim, as clips of one frame.

    FOLDER/
      images.yaml               what the files hold; without it the defaults below
      <anything>/NAME_rgb.exr   the picture; every other file of the same NAME belongs to it
      <anything>/NAME_basecolor.exr, _normal.exr, _depth.exr, _roughness.exr, _metallic.exr, _mask.exr

Pictures may also be .png or .jpg (8 or 16 bit; rgb and basecolor then sRGB-encoded). images.yaml names the suffix of
each attribute and says what differs from the table of `manifests/contract/attributes.py`:

    suffixes: {rgb: _im, basecolor: _albedo, normal: _normal, depth: _depth, mask: _mask, material: _material}
    normal_axes: [1, 1, 1]      sign of x, y, z against "x right, y up, z toward the viewer"
    normal_encoded: true        files hold (n + 1) / 2
    depth: planar               or `distance`: along the ray, not along the axis (HyperSim)
    fov: 60                     degrees of the larger side
    shorter_side: 256           pictures are averaged down by whole factors while the shorter side stays at least this
    licence: ...                for your own record

`material` is a file whose channels are roughness and metallic (InteriorVerse). Where there is no mask, pixels with
finite positive depth are surfaces. What a set lacks cannot be trained on: it must hold all five G-buffers.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from PIL import Image

from manifests.codec.exr import read_exr
from manifests.contract.attributes import ATTRIBUTES, GBUFFERS
from manifests.contract.camera import Camera, intrinsics_from_fov
from manifests.contract.clip import Clip
from manifests.contract.color import TARGET, srgb_decode, srgb_encode, surface_level
from manifests.contract.environment import sanitize
from manifests.errors import CodecError, DatasetError
from manifests.untrusted import read_yaml
from training.data.batch import ClipEntry

LAYOUT = "images.yaml"
_READABLE = (".exr", ".png", ".jpg", ".jpeg")


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of images.yaml; the module's text says what the fields mean."""

    suffixes: dict[str, str] = {}
    normal_axes: tuple[Literal[-1, 1], Literal[-1, 1], Literal[-1, 1]] = (1, 1, 1)
    normal_encoded: bool = False
    depth: Literal["planar", "distance"] = "planar"
    fov: Annotated[float, Meta(gt=0, lt=180)] = 60.0
    shorter_side: Annotated[int, Meta(ge=1)] = 1 << 30
    licence: str = ""

    def suffix(self, name: str) -> str:
        """What the stem of a file of `name` ends with."""
        return self.suffixes.get(name, f"_{name}")


def is_image_folder(folder: Path) -> bool:
    """Whether `folder` has images.yaml, or a picture named as the defaults say."""
    return (folder / LAYOUT).is_file() or any(
        path.suffix.lower() in _READABLE and path.stem.endswith("_rgb") for path in folder.rglob("*")
    )


class ImageSource:
    """The pictures of a folder, each a clip of one frame; see `clip_sources.ClipSource`."""

    def __init__(self, folder: Path) -> None:
        self._layout = _read_layout(folder)
        files = {path.with_suffix(""): path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _READABLE}
        suffix = self._layout.suffix("rgb")
        stems = [path for path in files if path.name.endswith(suffix)]
        if not stems:
            raise DatasetError(f"holds no picture named *{suffix} with {', '.join(_READABLE)}", where=folder)
        self._pictures = [_Picture(stem, folder, files, self._layout) for stem in stems]
        self.entries: Sequence[ClipEntry] = [picture.entry() for picture in self._pictures]

    def clip(self, index: int, attributes: Collection[str], frames: Sequence[int] | None, *, light: bool) -> Clip:
        """See `clip_sources.ClipSource`; raises DatasetError, and for `light` always: pictures come without it."""
        if light:
            raise DatasetError(
                "single pictures have no light", "train with clips instead", where=f"clip {self.entries[index].key}"
            )
        del frames  # there is only one
        return self._pictures[index].read(attributes)

    def ahead(self, indices: Iterable[int]) -> None:
        """See `clip_sources.ClipSource`; pictures are read when they are needed."""


class _Picture:
    """One picture and the files that belong to it."""

    def __init__(self, stem: Path, folder: Path, files: dict[Path, Path], layout: Layout) -> None:
        self._layout = layout
        base = stem.name.removesuffix(layout.suffix("rgb"))
        names = (*("rgb", "mask", "material"), *GBUFFERS)
        places = {name: files.get(stem.with_name(base + layout.suffix(name))) for name in names}
        self._files = {name: path for name, path in places.items() if path is not None}
        relative = stem.with_name(base).relative_to(folder)
        self.key = "-".join("".join(c if c.isalnum() else "_" for c in part.lower()) for part in relative.parts)
        self._path = stem
        combined = ("roughness", "metallic") if "material" in self._files else ()
        missing = [name for name in GBUFFERS if name not in self._files and name not in combined]
        if missing:
            raise DatasetError(
                f"has no {missing[0]} beside it (a file ending in {layout.suffix(missing[0])})", where=stem
            )

    def entry(self) -> ClipEntry:
        height, width = _size(self._files["rgb"])
        factor = self._factor(height, width)
        return ClipEntry(self.key, 1, height // factor, width // factor)

    def read(self, attributes: Collection[str]) -> Clip:
        """The clip, colours sRGB-encoded, rgb exposed."""
        surface = self._surface()
        factor = self._factor(*surface.shape)
        arrays, exposure = {}, 1.0
        for name in attributes:
            image = surface[..., None].astype(np.float32) if name == "mask" else self._values(name)
            if name == "rgb":
                exposure = _exposure(image, surface)
            background = np.asarray(ATTRIBUTES[name].background, np.float32)
            if name not in ("rgb", "mask"):
                image = np.where(surface[..., None], image, background)
            image = _shrunk(name, image, factor)
            if name in ("rgb", "basecolor"):
                image = np.clip(srgb_encode(image * (exposure if name == "rgb" else 1.0)), 0, 1)
            arrays[name] = image[None].astype(np.float32)
        height, width = next(iter(arrays.values())).shape[1:3]
        camera = Camera(intrinsics_from_fov(self._layout.fov, height, width), np.eye(4)[None])
        return Clip(self.key, arrays, camera, exposure=exposure)

    def _factor(self, height: int, width: int) -> int:
        return max(1, min(height, width) // self._layout.shorter_side)

    def _values(self, name: str) -> np.ndarray:
        """(H, W, C) in the table's conventions, before the background is laid over it."""
        if name in ("roughness", "metallic") and name not in self._files:
            return _load(self._files["material"])[..., ("roughness", "metallic").index(name)][..., None]
        path = self._files[name]
        image = _load(path)[..., : ATTRIBUTES[name].channels]
        if name in ("rgb", "basecolor"):
            linear = image if path.suffix == ".exr" else srgb_decode(image)
            return sanitize(linear)[0] if name == "rgb" else np.clip(linear, 0, 1)
        if name == "normal":
            image = (2 * image - 1 if self._layout.normal_encoded else image) * np.array(self._layout.normal_axes)
            length = np.linalg.norm(image, axis=-1, keepdims=True)
            return np.where(length > 1e-3, image / np.maximum(length, 1e-3), ATTRIBUTES["normal"].background_array())
        if name == "depth":
            return self._planar(image)
        return np.clip(image, 0, 1)

    def _planar(self, depth: np.ndarray) -> np.ndarray:
        if self._layout.depth == "planar":
            return depth
        height, width = depth.shape[:2]
        camera = Camera(intrinsics_from_fov(self._layout.fov, height, width), np.eye(4)[None])
        return depth / np.linalg.norm(camera.rays(height, width), axis=-1, keepdims=True)

    def _surface(self) -> np.ndarray:
        """(H, W) bool: where there is a surface."""
        depth = _load(self._files["depth"])[..., 0]
        known = np.isfinite(depth) & (depth > 0)
        return known & (_load(self._files["mask"])[..., 0] > 0.5) if "mask" in self._files else known


def _read_layout(folder: Path) -> Layout:
    path = folder / LAYOUT
    if not path.is_file():
        return Layout()
    try:
        plain = read_yaml(path) or {}
        unknown = [name for name in plain if name not in Layout.__struct_fields__] if isinstance(plain, dict) else []
        if not unknown:
            return msgspec.convert(plain, Layout)
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot be read ({' '.join(str(error).split())})", where=path) from None
    near = difflib.get_close_matches(str(unknown[0]), Layout.__struct_fields__)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(Layout.__struct_fields__)}"
    raise DatasetError(f"{unknown[0]}: no such field", hint, where=path)


def _size(path: Path) -> tuple[int, int]:
    if path.suffix == ".exr":
        height, width = _load(path).shape[:2]
        return height, width
    with Image.open(path) as image:
        return image.height, image.width


def _load(path: Path) -> np.ndarray:
    """A file as float32 (H, W, C), integers as shares of their range; raises DatasetError."""
    try:
        if path.suffix == ".exr":
            planes = read_exr(path.read_bytes())
            named = [name for letters in ("RGB", "XYZ", "Y", "Z", "R", "V") for name in letters if name in planes]
            chosen = list(dict.fromkeys(named)) or sorted(planes)
            return np.stack([planes[name] for name in chosen], axis=-1).astype(np.float32)
        with Image.open(path) as image:
            array = np.asarray(image)
    except (OSError, CodecError, ValueError) as error:
        raise DatasetError(f"cannot be read as a picture ({error})", where=path) from None
    array = array[..., None] if array.ndim == 2 else array
    top = 255 if array.dtype == np.uint8 else 65535
    return array.astype(np.float32) / top


def _exposure(radiance: np.ndarray, surface: np.ndarray) -> float:
    """Factor that brings the surfaces to the brightness that datasets have, or the whole picture without a surface."""
    level = surface_level(radiance, surface if surface.any() else None)
    return TARGET / level if level > 0 and math.isfinite(level) else 1.0


def _shrunk(name: str, image: np.ndarray, factor: int) -> np.ndarray:
    """Averaged over blocks of factor x factor; depth takes the middle pixel, normals get unit length again."""
    if factor == 1:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    if name == "depth":
        return blocks[:, factor // 2, :, factor // 2]
    small = blocks.mean(axis=(1, 3))
    return small / np.maximum(np.linalg.norm(small, axis=-1, keepdims=True), 1e-6) if name == "normal" else small
