"""From a pilot's pictures to a sampling: what is known of noise that was made by formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datagen.noise_model import (
    LEAST_SAMPLES,
    MOST_SAMPLES,
    PilotImages,
    choose,
    corrected,
    fit,
    tone_exposure,
    tone_mapped,
)

SAMPLES = 16
TRUTH = np.broadcast_to(np.linspace(0.2, 0.6, 96)[None, None, :, None], (2, 96, 96, 3))


def pilot(noise: float | np.ndarray, left: float = 0.3, bias: float = 0.9) -> PilotImages:
    """Two renders with independent noise, `left` of which a denoiser leaves, with `bias` times as much of its own."""
    rng = np.random.default_rng(3)
    errors = [noise * rng.standard_normal(TRUTH.shape) for _ in range(2)]
    noisy = TRUTH + errors[0], TRUTH + errors[1]
    own = bias * left * noise if left < 1 else 0.0
    return PilotImages(SAMPLES, noisy, (TRUTH + left * errors[0] + own, TRUTH + left * errors[1] + own))


@pytest.mark.parametrize(("left", "bias", "decibels"), [(0.3, 0.9, 0.2), (0.3, 0.5, 1), (0.3, 1.3, 1), (1, 0, 0.3)])
def test_the_error_is_found_without_a_reference(left: float, bias: float, decibels: float) -> None:
    images = pilot(0.05, left, bias)
    exposure = tone_exposure(TRUTH)
    error = np.mean((tone_mapped(images.denoised[0], exposure) - tone_mapped(TRUTH, exposure)) ** 2)
    model = fit(images)
    assert 10 * np.log10(model.error * SAMPLES**-model.fall / error) == pytest.approx(0, abs=decibels)


def test_more_quality_takes_more_samples_until_there_are_no_more() -> None:
    model = fit(pilot(0.05))
    chosen = {quality: choose(model, quality) for quality in (34, 36, 38, 40, 42, 56)}
    samples = [choice.mean_samples for choice in chosen.values()]
    assert samples == sorted(set(samples))
    assert all(wanted <= chosen[wanted].quality < wanted + 0.5 for wanted in (36, 38, 40, 42))
    assert chosen[56].samples == MOST_SAMPLES and chosen[56].quality < 56


@pytest.mark.parametrize("left", [0.15, 0.6])
def test_a_look_at_what_was_chosen_corrects_the_choice(left: float) -> None:
    model = fit(pilot(0.05))
    first = choose(model, 38)
    seen = replace(pilot(0.05, left), samples=first.mean_samples)
    exposure = tone_exposure(TRUTH)
    error = np.mean((tone_mapped(seen.denoised[0], exposure) - tone_mapped(TRUTH, exposure)) ** 2)
    gained = float(-10 * np.log10(error) - first.quality)
    again = corrected(model, first, seen)
    assert abs(gained) > 1
    assert 10 * np.log10(model.error / again.error) == pytest.approx(gained, abs=0.5)
    second = choose(again, 38, like=first)
    assert (second.mean_samples < first.mean_samples) == (gained > 0)
    assert (second.adaptive_threshold > 0) == (first.adaptive_threshold > 0)


def test_even_noise_takes_even_samples_and_uneven_noise_does_not() -> None:
    uneven = np.where(np.arange(96) < 12, 0.2, 0.005)[None, None, :, None]
    assert choose(fit(pilot(0.05)), 46).adaptive_threshold == 0
    model = fit(pilot(uneven))
    choice = choose(model, 34)
    assert choice.adaptive_threshold > 0 and choice.mean_samples < choice.samples / 2


def test_a_picture_without_noise_or_light_takes_next_to_nothing() -> None:
    black = np.zeros((1, 8, 8, 3))
    for image in (TRUTH, black):
        choice = choose(fit(PilotImages(SAMPLES, (image, image), (image, image))), 50)
        assert choice.samples == LEAST_SAMPLES and choice.quality > 50
