"""From Cycles' passes to the attributes of a clip, as the attribute table defines them.

AOVs and the Normal pass are averages over a pixel's samples in which the background counts as 0, so a half-covered
pixel would come out half black. Divided by the coverage (the `mask` AOV, which sees the same samples) they are
averages over the surface alone: a pixel with any coverage holds the surface's value, a pixel with none the
table's background value, and `mask` tells how much of the pixel the surface takes. Depth and instance are those of
the surface at the pixel centre.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from datagen.blender.cycles_settings import frame_path
from manifests.codec.exr import read_exr
from manifests.contract.attributes import ATTRIBUTES, Attribute
from manifests.errors import CodecError, RenderError

LAYER = "ViewLayer"
SAMPLES = "Debug Sample Count.X"
_FAR = 9e9  # Cycles writes 1e10 where a ray hits nothing
_AOV_TYPES = {1: "VALUE", 3: "COLOR"}
_BUILTIN_PASSES = {"Combined", "Normal", "Depth", "Object Index"}


def attribute_names(geometric_normal: bool) -> tuple[str, ...]:
    """Return the attributes that Cycles renders for a clip, in the order of the table."""
    return tuple(name for name, known in ATTRIBUTES.items() if known.cycles and (known.required or geometric_normal))


def enable_passes(view_layer: Any, names: Iterable[str]) -> None:
    """Switch on what `read_frame` needs for the attributes `names`, and nothing else."""
    view_layer.name = LAYER
    wanted = {ATTRIBUTES[name].cycles[0].rpartition(".")[0] for name in names}
    view_layer.use_pass_combined = True
    view_layer.use_pass_normal = "Normal" in wanted
    view_layer.use_pass_z = "Depth" in wanted
    view_layer.use_pass_object_index = "Object Index" in wanted
    view_layer.cycles.pass_debug_sample_count = True
    while len(view_layer.aovs):
        view_layer.aovs.remove(view_layer.aovs[0])
    for name in names:
        layer = ATTRIBUTES[name].cycles[0].rpartition(".")[0]
        if layer not in _BUILTIN_PASSES:
            aov = view_layer.aovs.add()
            aov.name, aov.type = layer, _AOV_TYPES[ATTRIBUTES[name].channels]


def read_frames(
    folder: Path,
    names: Sequence[str],
    size: tuple[int, int],
    rotations: np.ndarray,
    what: str,
    log: str = "",
    threads: int = 1,
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Arrays (T, H, W, C) by attribute of the frames in `folder`, and of each the share that `read_frame` gives.

    `rotations` (T, 3, 3) take camera vectors to the world. `threads` frames are read at a time. The files are deleted.
    Raises RenderError (`render-error`), beginning with `what` and with the log of the rendering, for a frame that is
    missing or damaged.
    """
    arrays: dict[str, np.ndarray] = {}

    def read(frame: int) -> float:
        path = frame_path(folder, frame)
        try:
            found, share = read_frame(path, names, size, rotations[frame])
        except (OSError, CodecError) as error:
            raise RenderError("render-error", f"frame {frame}: {error}", where=what, log_tail=log) from None
        for name, image in found.items():
            if frame == 0:
                arrays[name] = np.empty((len(rotations), *image.shape), dtype=image.dtype)
            arrays[name][frame] = image
        path.unlink()
        return share

    first = read(0)  # the others find the arrays that it has made
    with ThreadPoolExecutor(threads, "read") as pool:
        return arrays, [first, *pool.map(read, range(1, len(rotations)))]


def read_frame(
    path: Path, names: Iterable[str], size: tuple[int, int], rotation: np.ndarray
) -> tuple[dict[str, np.ndarray], float]:
    """Attributes (H, W, C) of one rendered frame, and its mean samples as a share of the most sampled pixel's.

    `rotation` (3, 3) takes camera vectors to the world in this frame. NaN in `rgb` passes through, for the caller
    to count. Raises CodecError when a channel is missing.
    """
    channels = read_exr(path.read_bytes(), size)

    def planes(known: Attribute) -> np.ndarray:
        return np.stack([_channel(channels, name) for name in known.cycles], axis=-1)

    names = tuple(names)
    found: dict[str, np.ndarray] = {}
    coverage = np.clip(planes(ATTRIBUTES["mask"]), 0.0, 1.0) if "mask" in names else None
    for name in names:
        known = ATTRIBUTES[name]
        if name == "mask" and coverage is not None:
            found[name] = coverage
        elif name == "depth":
            depth = planes(known)
            found[name] = np.where(depth < _FAR, depth, np.float32(np.inf))
        elif name == "instance":
            found[name] = np.rint(planes(known)).astype(np.uint16)
        elif coverage is not None and known.is_vector:
            found[name] = _camera_vectors(planes(known), coverage, rotation, known)
        elif coverage is not None and known.sampling == "filtered" and name != "rgb":
            found[name] = _surface_average(planes(known), coverage, known)
        else:
            found[name] = planes(known)
    return found, float(_channel(channels, SAMPLES).mean())


def read_caught(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A frame's factor (H, W, 3) on the light of shadow catchers; 1 where there are none.

    Raises RenderError (`render-error`) for a frame that is missing or damaged.
    """
    try:
        channels = read_exr(path.read_bytes(), size)
        caught = np.stack([_channel(channels, f"Shadow Catcher.{name}") for name in "RGB"], axis=-1)
    except (OSError, CodecError) as error:
        raise RenderError("render-error", f"frame: {error}") from None
    return np.nan_to_num(np.maximum(caught, 0.0), nan=1.0, posinf=1.0)


def read_noisy(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A frame's radiance (H, W, 3) before and after the denoiser, if it was told to keep both; the same without one.

    Raises RenderError (`render-error`) for a frame that is missing or damaged.
    """
    try:
        channels = read_exr(path.read_bytes(), size)
        denoised = np.stack([_channel(channels, f"Combined.{name}") for name in "RGB"], axis=-1)
        if f"{LAYER}.Noisy Image.R" not in channels:
            return denoised, denoised
        return np.stack([_channel(channels, f"Noisy Image.{name}") for name in "RGB"], axis=-1), denoised
    except (OSError, CodecError) as error:
        raise RenderError("render-error", f"pilot: {error}") from None


def _channel(channels: dict[str, np.ndarray], name: str) -> np.ndarray:
    try:
        return channels[f"{LAYER}.{name}"]
    except KeyError:
        raise CodecError(f"Cycles wrote no channel {LAYER}.{name}, only {', '.join(sorted(channels))}") from None


def _surface_average(planes: np.ndarray, coverage: np.ndarray, known: Attribute) -> np.ndarray:
    values = planes / np.maximum(coverage, np.float32(1e-6))
    clamped = np.clip(values, known.low, known.high).astype(np.float32)
    return np.where(coverage > 0, clamped, known.background_array())


def _camera_vectors(planes: np.ndarray, coverage: np.ndarray, rotation: np.ndarray, known: Attribute) -> np.ndarray:
    """World vectors to camera frame at unit length; where opposite ones cancel out, as on the background."""
    vectors = planes @ rotation.astype(np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    usable = (coverage > 0) & (length > 1e-6)
    return np.where(usable, vectors / np.maximum(length, np.float32(1e-6)), known.background_array())
