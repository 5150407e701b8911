"""Scalar summaries of a clip for its manifest row: what the report draws and what a training run may filter by."""

from __future__ import annotations

import numpy as np

from manifests.contract.clip import Clip
from manifests.contract.color import luminance, srgb_encode

BINS = 16
"""Bins of every histogram; the values are shares that add up to 1."""

RANGES = {"rgb": (0.0, 1.0), "depth": (-3.0, 5.0), "roughness": (0.0, 1.0), "metallic": (0.0, 1.0)}
"""What each histogram spans; depth as log2 of scene units. Values outside count in the first or last bin."""


def summarise(clip: Clip) -> dict[str, float]:
    """Summaries by "attribute.statistic", all finite; absent where the clip lacks the attribute or any surface.

    - `rgb.brightness`, `rgb.contrast`: mean and standard deviation of the sRGB-encoded luminance in [0, 1];
      `rgb.clipped`: share of pixels with a channel at 1; `rgb.change`: mean absolute difference of successive frames.
    - `depth.min`, `depth.median`, `depth.p98`: planar depth of surface pixels, in scene units.
    - `roughness|metallic|basecolor.mean|std`: over surface pixels, weighted by the mask.
    - `mask.coverage`: mean of the mask. `instance.count`: objects seen, ground and background left out.
    - `environment.mean|max|contrast`: mean luminance over the sphere, its maximum, and max / mean.
    - `rgb|depth|roughness|metallic.hist.00` to `.15`: histograms over `RANGES`.
    """
    values: dict[str, float] = {}
    weight = clip.arrays["mask"][..., 0].astype(np.float64) if "mask" in clip.arrays else None
    _brightness(clip, values)
    _depth(clip, values)
    for name in ("basecolor", "roughness", "metallic"):
        if name in clip.arrays:
            channels = [clip.arrays[name][..., channel] for channel in range(clip.arrays[name].shape[-1])]
            _surface(name, sum(channels[1:], channels[0]) / len(channels), weight, values)
    if weight is not None:
        values["mask.coverage"] = float(weight.mean())
    if "instance" in clip.arrays:
        values["instance.count"] = float(np.count_nonzero(np.bincount(clip.arrays["instance"].ravel())[2:]))
    _environment(clip, values)
    return values


def histogram(values: dict[str, float], name: str) -> list[float] | None:
    """The histogram of attribute `name` out of a row's statistics, or None when it is not there."""
    bins = [values.get(f"{name}.hist.{index:02d}") for index in range(BINS)]
    return [float(share) for share in bins if share is not None] if None not in bins else None


def _brightness(clip: Clip, values: dict[str, float]) -> None:
    if "rgb" not in clip.arrays:
        return
    brightness, clipped = np.empty(clip.arrays["rgb"].shape[:3], np.float32), 0
    for frame, radiance in enumerate(clip.arrays["rgb"]):  # one at a time: a whole clip leaves the cache
        encoded = np.minimum(srgb_encode(radiance * np.float32(clip.exposure)), 1.0)
        brightness[frame] = luminance(encoded)
        clipped += int(np.count_nonzero((encoded >= 1.0).any(axis=-1)))
    values["rgb.brightness"] = float(brightness.mean(dtype=np.float64))
    values["rgb.contrast"] = float(brightness.std(dtype=np.float64))
    values["rgb.clipped"] = clipped / brightness.size
    if clip.frames > 1:
        values["rgb.change"] = float(np.abs(np.diff(brightness, axis=0)).mean(dtype=np.float64))
    _histogram("rgb", brightness, None, values)


def _depth(clip: Clip, values: dict[str, float]) -> None:
    if "depth" not in clip.arrays:
        return
    depth = clip.arrays["depth"][np.isfinite(clip.arrays["depth"])]
    if depth.size == 0:
        return
    values["depth.min"] = float(depth.min())
    values["depth.median"], values["depth.p98"] = (float(value) for value in np.quantile(depth, [0.5, 0.98]))
    _histogram("depth", np.log2(np.maximum(depth, 1e-6)), None, values)


def _surface(name: str, array: np.ndarray, weight: np.ndarray | None, values: dict[str, float]) -> None:
    weight = np.ones(array.shape) if weight is None else weight
    total = float(weight.sum())
    if total <= 0:
        return
    mean = float((array * weight).sum() / total)
    values[f"{name}.mean"] = mean
    values[f"{name}.std"] = float(np.sqrt(((array - mean) ** 2 * weight).sum() / total))
    if name in RANGES:
        _histogram(name, array, weight, values)


def _environment(clip: Clip, values: dict[str, float]) -> None:
    if clip.environment is None:
        return
    light = luminance(clip.environment.image)
    height = light.shape[0]
    solid = np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None]
    mean = float((light * solid).sum() / (solid.sum() * light.shape[1]))
    values["environment.mean"], values["environment.max"] = mean, float(light.max())
    if mean > 0:
        values["environment.contrast"] = values["environment.max"] / mean


def _histogram(name: str, array: np.ndarray, weight: np.ndarray | None, values: dict[str, float]) -> None:
    low, high = RANGES[name]
    counts, _ = np.histogram(np.clip(array, low, high), bins=BINS, range=(low, high), weights=weight)
    shares = counts / counts.sum()
    values.update({f"{name}.hist.{index:02d}": float(share) for index, share in enumerate(shares)})
