"""How to sample for a wanted PSNR: a model of Cycles' noise and of its denoiser, read off a small pilot render.

What counts is the tone-mapped picture (`tone_exposure`, clipped, sRGB) after denoising, against one without noise.
Two renders of a frame with different noise show that error without any reference: a denoised render differs from the
*other* noisy render by its own error plus that one's noise, and half the squared difference of the two noisy renders
is the noise's variance ("Noise2Noise", Lehtinen et al. 2018, used here to measure). Squares are taken of linear
radiance, where noise has mean zero, and weighted by the squared slope of the tone curve.

How fast the error falls from a few samples on differs from scene to scene, and no model knows it: so what is chosen is
looked at in turn, with as many samples as it takes, and the model corrected by what is seen (`corrected`).

Constants were fitted to the scenes of docs/benchmarks.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from manifests.contract.color import srgb_encode

LEAST_SAMPLES, MOST_SAMPLES = 4, 512
_STEP = 16  # Cycles' adaptive sampling looks at the noise after every multiple of this
_FIRST = (16, 32, 48)
_THRESHOLDS = tuple(float(f"{0.004 * 1.15**step:.3g}") for step in range(34))  # 0.004 to 0.4
_CAPS = (32, 48, 64, 96, 128, 192, 256, 384, MOST_SAMPLES)
_FALL = 0.62  # power of the samples by which the squared error of a denoised picture falls
_NOISE_FALL = 1.1  # and by which the variance of a noisy one does
_OVER_VARIANCE = 1.8  # squared error of a denoised picture of 16 samples over its variance, in most scenes
_OVER_VARIANCE_FALL = 0.14  # power of the samples by which that falls
_TRUST_IN_VARIANCE = 0.3
_FIREFLY = 2.0
_HALVES_AGREE = 3.8  # the halves of one pixel's samples differ less, by this factor, than two renders do


@dataclass(frozen=True, eq=False)
class PilotImages:
    """A few frames of a clip, linear radiance, arrays (T, H, W, 3).

    Attributes:
        samples: of each pixel, or their mean.
        noisy, denoised: two renders with independent noise, before and after the denoiser.
    """

    samples: float
    noisy: tuple[np.ndarray, np.ndarray]
    denoised: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Sampling:
    """A choice: the first three are fields of `RenderSettings`.

    `quality` is the PSNR, in dB, that the model expects of them, `mean_samples` what a pixel takes.
    """

    samples: int
    adaptive_threshold: float
    adaptive_minimum: int
    quality: float
    mean_samples: float


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """What `fit` reads off a pilot.

    Attributes:
        error: mean squared error of the denoised, tone-mapped picture at one sample per pixel.
        fall: power of the samples by which it falls.
        share: (T, H, W) each pixel's share of the error; adds up to 1.
        disagreement: (T, H, W) what adaptive sampling holds against its threshold, at one sample, the largest among a
            pixel and its neighbours: Cycles lets no pixel stop before them.
    """

    error: float
    fall: float
    share: np.ndarray
    disagreement: np.ndarray


def tone_exposure(rgb: np.ndarray) -> float:
    """Factor that takes the 90th percentile of the brightest channels of pictures (..., 3) to 0.8; 1 for black ones."""
    level = float(np.percentile(rgb.max(axis=-1), 90))
    return 0.8 / level if level > 0 else 1.0


def tone_mapped(rgb: np.ndarray, exposure: float) -> np.ndarray:
    """Pictures as they are looked at: exposed, clipped to [0, 1], sRGB."""
    return srgb_encode(np.clip(exposure * rgb, 0.0, 1.0))


def fit(pilot: PilotImages) -> NoiseModel:
    """Read the model off a pilot's pictures."""
    error, spread = _error_and_spread(pilot)
    fall = _FALL if _is_denoised(pilot) else _NOISE_FALL
    share = _blurred(spread) + 1e-3 * spread.mean() + 1e-12
    disagreement = _disagreement(*pilot.noisy) / _HALVES_AGREE * (2 * pilot.samples) ** (_NOISE_FALL / 2)
    return NoiseModel(error * pilot.samples**fall, fall, share / share.sum(), _neighbours_largest(disagreement))


def corrected(model: NoiseModel, chosen: Sampling, seen: PilotImages) -> NoiseModel:
    """The model, made to expect of a choice what pictures `seen` that were sampled so show."""
    return replace(model, error=model.error * _error_and_spread(seen)[0] * 10 ** (chosen.quality / 10))


def _error_and_spread(pilot: PilotImages) -> tuple[float, np.ndarray]:
    """Mean squared error of one render as it is looked at, and of each pixel (T, H, W) its variance.

    The error is what the pictures say, or with a denoiser, which makes that less certain, a geometric mean of it and of
    what goes with their variance in most scenes.
    """
    mean = (pilot.denoised[0] + pilot.denoised[1]) / 2
    exposure = tone_exposure(mean)
    weight = _tone_slope(mean, exposure) ** 2
    spread = weight * (pilot.denoised[0] - pilot.denoised[1]) ** 2 / 2
    variance = float(spread.mean())
    error = max(_denoised_error(pilot, weight, exposure), variance, 1e-12)
    if _is_denoised(pilot):
        over = _OVER_VARIANCE * (pilot.samples / 16) ** -_OVER_VARIANCE_FALL
        error = error ** (1 - _TRUST_IN_VARIANCE) * max(over * variance, 1e-12) ** _TRUST_IN_VARIANCE
    return error, spread.mean(axis=-1)


def _is_denoised(pilot: PilotImages) -> bool:
    return not np.array_equal(pilot.noisy[0], pilot.denoised[0])


def _denoised_error(pilot: PilotImages, weight: np.ndarray, exposure: float) -> float:
    """Mean squared error of one denoised render, `weight` (T, H, W, 3) times that of radiance.

    Fireflies are cut down to twice white, or a few of them would decide.
    """
    most = np.maximum(_FIREFLY / exposure, 1.5 * np.maximum(*pilot.denoised))
    noisy, other = (np.minimum(image, most) for image in pilot.noisy)
    denoised, other_denoised = pilot.denoised
    cross = (denoised - other) ** 2 + (other_denoised - noisy) ** 2 - (noisy - other) ** 2
    return float((weight * cross).mean()) / 2


def choose(model: NoiseModel, quality: float, like: Sampling | None = None) -> Sampling:
    """The sampling with the fewest samples that the model expects to reach `quality`, a PSNR in dB.

    Where none does, the one that comes nearest. With `like` one of its kind: even, or adaptive from as many samples.
    """
    options = _fixed(model, quality) + [
        option for first in _FIRST for threshold in _THRESHOLDS for option in _adaptive(model, first, threshold)
    ]
    if like is not None:
        options = [option for option in options if _kind(option) == _kind(like)]
    good = [option for option in options if option.quality >= quality]
    return (
        min(good, key=lambda option: option.mean_samples) if good else max(options, key=lambda option: option.quality)
    )


def _kind(sampling: Sampling) -> int:
    return sampling.adaptive_minimum if sampling.adaptive_threshold else 0


def _fixed(model: NoiseModel, quality: float) -> list[Sampling]:
    """The same samples for every pixel: as many as the quality takes."""
    wanted = (model.error * 10 ** (quality / 10)) ** (1 / model.fall)
    samples = int(np.clip(np.ceil(wanted), LEAST_SAMPLES, MOST_SAMPLES))
    return [Sampling(samples, 0.0, samples, _decibels(model.error * samples**-model.fall), samples)]


def _adaptive(model: NoiseModel, first: int, threshold: float) -> list[Sampling]:
    """Adaptive sampling that looks at the noise from `first` samples on, one option for each cap."""
    looks = np.ceil((model.disagreement / threshold) ** (2 / _NOISE_FALL) / _STEP)
    looks = np.clip(looks, first // _STEP, MOST_SAMPLES // _STEP).astype(np.int64).ravel()
    shares = np.bincount(looks, weights=model.share.ravel())
    pixels = np.bincount(looks) / looks.size
    taken = np.maximum(np.arange(len(pixels)), 1) * _STEP
    options = []
    for cap in _CAPS:
        if cap > first:
            samples = np.minimum(taken, cap)
            error = model.error * float((shares * samples**-model.fall).sum())
            mean = float((pixels * samples).sum())
            options.append(Sampling(cap, threshold, first - 8, _decibels(error), mean))
    return options


def _tone_slope(rgb: np.ndarray, exposure: float) -> np.ndarray:
    """Derivative of `tone_mapped` by radiance; 0 where it clips."""
    value = np.maximum(exposure * rgb, 1e-4)
    curve = np.where(value < 0.0031308, 12.92, 1.055 / 2.4 * value ** (1 / 2.4 - 1))
    return np.where(value < 1.0, exposure * curve, 0.0)


def _disagreement(noisy: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The quantity of Cycles' stopping rule (`film/adaptive_sampling.h`) for two halves of a pixel's samples."""
    intensity = np.maximum(((noisy + other) / 2).sum(axis=-1), 0.0)
    scale = np.where(intensity < 1.0, np.sqrt(intensity), intensity)
    return np.abs(noisy - other).sum(axis=-1) / 2 / (1e-4 + scale)


def _blurred(images: np.ndarray) -> np.ndarray:
    """Mean over 5x5 pixels of (T, H, W): a pixel that was lucky in the pilot is as bad as its neighbours."""
    for _ in range(2):  # rows, then columns
        padded = np.pad(images, ((0, 0), (2, 2), (0, 0)), mode="edge")
        rows = images.shape[1]
        images = np.mean([padded[:, first : first + rows] for first in range(5)], axis=0).swapaxes(1, 2)
    return images


def _neighbours_largest(images: np.ndarray) -> np.ndarray:
    """Maximum over each pixel of (T, H, W) and its eight neighbours."""
    for _ in range(2):  # rows, then columns
        padded = np.pad(images, ((0, 0), (1, 1), (0, 0)))
        images = np.maximum(np.maximum(padded[:, :-2], images), padded[:, 2:]).swapaxes(1, 2)
    return images


def _decibels(error: float) -> float:
    return float(-10 * np.log10(error))
