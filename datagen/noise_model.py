"""How to sample for a wanted PSNR: a model of Cycles' noise and of its denoiser, read off a small pilot render.

What counts is the tone-mapped picture (`tone_exposure`, clipped, sRGB) after denoising, against one without noise.
Two renders of a frame with different noise show that error without any reference: a denoised render differs from the
*other* noisy render by its own error plus that one's noise, and half the squared difference of the two noisy renders
is the noise's variance ("Noise2Noise", Lehtinen et al. 2018, used here to measure). Squares are taken of linear
radiance, where noise has mean zero, and weighted by the squared slope of the tone curve. A third render of half the
samples tells how fast the noise falls.

Constants were fitted to the scenes of docs/benchmarks.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifests.contract.color import srgb_encode

QUALITY_MARGIN = 0.0
MOST_SAMPLES = 512
_STEP = 16  # Cycles' adaptive sampling looks at the noise after every multiple of this
_FIRST = (16, 32, 48)
_THRESHOLDS = tuple(float(f"{0.004 * 1.15**step:.3g}") for step in range(34))  # 0.004 to 0.4
_CAPS = (32, 48, 64, 96, 128, 192, 256, 384, MOST_SAMPLES)
_DENOISED_FALL = 0.58  # a denoised picture's error falls by this power of what the noise's variance falls by
_HALVES_AGREE = 3.8  # the halves of one pixel's samples differ less, by this factor, than two renders do


@dataclass(frozen=True, eq=False)
class PilotImages:
    """One frame, linear radiance, arrays (H, W, 3).

    Attributes:
        samples: of each pixel in `noisy` and `denoised`.
        noisy, denoised: two renders with independent noise, before and after the denoiser.
        half: a third one of half the samples, noisy.
    """

    samples: int
    noisy: tuple[np.ndarray, np.ndarray]
    denoised: tuple[np.ndarray, np.ndarray]
    half: np.ndarray


@dataclass(frozen=True)
class Sampling:
    """A choice: `samples` at most, at least `minimum`, `threshold` of adaptive sampling (0: off).

    `quality` is the PSNR, in dB, that the model expects of it, `mean_samples` what a pixel takes.
    """

    samples: int
    threshold: float
    minimum: int
    quality: float
    mean_samples: float


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """What `fit` reads off a pilot.

    Attributes:
        error: mean squared error of the denoised, tone-mapped picture at one sample per pixel.
        fall: power of the samples by which it falls; `noise_fall` that of the noise's variance.
        share: (H, W) each pixel's share of the error; adds up to 1.
        disagreement: (H, W) what adaptive sampling holds against its threshold, at one sample, the largest among a
            pixel and its neighbours: Cycles lets no pixel stop before them.
    """

    error: float
    fall: float
    noise_fall: float
    share: np.ndarray
    disagreement: np.ndarray


def tone_exposure(rgb: np.ndarray) -> float:
    """Factor that takes the 90th percentile of a picture's (H, W, 3) brightest channels to 0.8; 1 for a black one."""
    level = float(np.percentile(rgb.max(axis=-1), 90))
    return 0.8 / level if level > 0 else 1.0


def tone_mapped(rgb: np.ndarray, exposure: float) -> np.ndarray:
    """A picture as it is looked at: exposed, clipped to [0, 1], sRGB."""
    return srgb_encode(np.clip(exposure * rgb, 0.0, 1.0))


def fit(pilot: PilotImages) -> NoiseModel:
    """Read the model off a pilot's pictures."""
    (noisy, other), (denoised, other_denoised) = pilot.noisy, pilot.denoised
    mean = (denoised + other_denoised) / 2
    exposure = tone_exposure(mean)
    weight = _tone_slope(mean, exposure) ** 2
    cross = ((denoised - other) ** 2 + (other_denoised - noisy) ** 2 - (noisy - other) ** 2) / 2
    spread = weight * (denoised - other_denoised) ** 2 / 2
    least = float(spread.mean())  # the error is at least its own variance
    error = max(float((weight * cross).mean()), least, 1e-12)
    noise_fall = _noise_fall(pilot, exposure)
    fall = _DENOISED_FALL * noise_fall
    share = spread.mean(axis=-1) + 1e-3 * least + 1e-12
    disagreement = _disagreement(noisy, other) / _HALVES_AGREE * (2 * pilot.samples) ** (noise_fall / 2)
    return NoiseModel(
        error=error * pilot.samples**fall,
        fall=fall,
        noise_fall=noise_fall,
        share=share / share.sum(),
        disagreement=_neighbours_largest(disagreement),
    )


def choose(model: NoiseModel, quality: float) -> Sampling:
    """The sampling with the fewest samples that the model expects to reach `quality`, a PSNR in dB.

    Where none does, the one that comes nearest to it.
    """
    options = _fixed(model, quality) + [
        option for first in _FIRST for threshold in _THRESHOLDS for option in _adaptive(model, first, threshold)
    ]
    good = [option for option in options if option.quality >= quality]
    return min(good, key=lambda option: option.mean_samples) if good else max(options, key=lambda option: option.quality)


def _fixed(model: NoiseModel, quality: float) -> list[Sampling]:
    """The same samples for every pixel: as many as the quality takes."""
    wanted = (model.error * 10 ** (quality / 10)) ** (1 / model.fall)
    samples = int(np.clip(np.ceil(wanted), 1, MOST_SAMPLES))
    return [Sampling(samples, 0.0, samples, _decibels(model.error * samples**-model.fall), samples)]


def _adaptive(model: NoiseModel, first: int, threshold: float) -> list[Sampling]:
    """Adaptive sampling that looks at the noise from `first` samples on, one option for each cap."""
    looks = np.ceil((model.disagreement / threshold) ** (2 / model.noise_fall) / _STEP)
    looks = np.clip(looks, first // _STEP, MOST_SAMPLES // _STEP).astype(np.int64).ravel()
    shares = np.bincount(looks, weights=model.share.ravel())
    pixels = np.bincount(looks) / looks.size
    taken = np.maximum(np.arange(len(pixels)), 1) * _STEP
    options = []
    for cap in _CAPS:
        if cap > first:
            samples = np.minimum(taken, cap)
            error = model.error * float((shares * samples**-model.fall).sum())
            options.append(Sampling(cap, threshold, first - 8, _decibels(error), float((pixels * samples).sum())))
    return options


def _tone_slope(rgb: np.ndarray, exposure: float) -> np.ndarray:
    """Derivative of `tone_mapped` by radiance; 0 where it clips."""
    value = np.maximum(exposure * rgb, 1e-4)
    curve = np.where(value < 0.0031308, 12.92, 1.055 / 2.4 * value ** (1 / 2.4 - 1))
    return np.where(value < 1.0, exposure * curve, 0.0)


def _noise_fall(pilot: PilotImages, exposure: float) -> float:
    """Power of the samples by which the variance of the noise falls: 1 for independent samples."""
    first, second, half = (tone_mapped(image, exposure) for image in (*pilot.noisy, pilot.half))
    variance = float(((first - second) ** 2).mean()) / 2
    half_variance = float(((half - (first + second) / 2) ** 2).mean()) - variance / 2
    if not variance > 0 or not half_variance > 0:
        return 1.0
    return float(np.clip(np.log2(half_variance / variance), 0.5, 1.5))


def _disagreement(noisy: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The quantity of Cycles' stopping rule (`film/adaptive_sampling.h`) for two halves of a pixel's samples."""
    intensity = np.maximum(((noisy + other) / 2).sum(axis=-1), 0.0)
    scale = np.where(intensity < 1.0, np.sqrt(intensity), intensity)
    return np.abs(noisy - other).sum(axis=-1) / 2 / (1e-4 + scale)


def _neighbours_largest(image: np.ndarray) -> np.ndarray:
    """Maximum over each pixel and its eight neighbours."""
    for _ in range(2):  # rows, then columns
        padded = np.pad(image, ((1, 1), (0, 0)), mode="edge")
        image = np.maximum(np.maximum(padded[:-2], image), padded[2:]).T
    return image


def _decibels(error: float) -> float:
    return float(-10 * np.log10(error))
