"""Samplers, guidance and preconditioning agree with each other, with diffusers and with the formulas."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from manifests.errors import InputError
from renderers.sampling import samplers as edm
from renderers.sampling.samplers import Denoiser, default_scheduler, sample, strengths

torch.set_num_threads(1)
SHAPE = (2, 3, 4, 5, 6)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def perfect(clean: Tensor) -> Denoiser:
    """The denoiser that knows the answer, as a v prediction: F = (clean - c_skip noisy) / c_out."""

    def model(scaled: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        sigma = (4 * timestep).exp().expand(len(scaled))
        scale = edm.coefficients(sigma)
        return (clean - scale.c_skip * scaled / scale.c_in) / scale.c_out

    return model


def test_a_perfect_denoiser_gives_back_the_clean_latents() -> None:
    clean = seeded(*SHAPE, seed=5)
    drawn = sample(perfect(clean), SHAPE, sampler="diffusion", steps=20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, clean, atol=1e-3, rtol=1e-3)


def test_diffusion_uses_the_published_noise_levels() -> None:
    times: list[float] = []

    def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        times.append(float(timestep))
        return torch.zeros_like(noisy)

    sample(model, SHAPE, sampler="diffusion", steps=20)
    sigmas = [math.exp(4 * time) for time in times]
    rho = 7.0
    expected = [(700 ** (1 / rho) + step / 19 * (0.002 ** (1 / rho) - 700 ** (1 / rho))) ** rho for step in range(20)]
    assert sigmas == pytest.approx(expected, rel=1e-4)
    config = default_scheduler().config
    assert (config.prediction_type, config.timestep_spacing, config.timestep_type) == (
        "v_prediction",
        "trailing",
        "continuous",
    )


def test_initial_noise_is_the_highest_level_and_the_model_sees_unit_variance() -> None:
    seen: list[Tensor] = []

    def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        seen.append(noisy)
        return torch.zeros_like(noisy)

    generator = torch.Generator().manual_seed(3)
    sample(model, (1, 4, 4, 32, 32), sampler="diffusion", steps=2, generator=generator)
    noise = seeded(1, 4, 4, 32, 32, seed=3)
    torch.testing.assert_close(seen[0], noise * 700 / math.sqrt(700**2 + 1))


@pytest.mark.parametrize("sigma", [0.002, 0.3, 1.0, 20.0, 700.0])
def test_preconditioning_equals_a_schedulers_step(sigma: float) -> None:
    """One Euler step to sigma 0 is the denoised latent: training and sampling mean the same by an output."""
    scheduler = default_scheduler()
    scheduler.set_timesteps(sigmas=[sigma, 0.0])
    noisy, output, level = seeded(*SHAPE), seeded(*SHAPE, seed=1), torch.full((2,), sigma)
    time = scheduler.timesteps[0]
    scale = edm.coefficients(level)
    torch.testing.assert_close(scheduler.scale_model_input(noisy, time), scale.c_in * noisy)
    torch.testing.assert_close(scale.c_noise, time.expand(2))
    stepped = scheduler.step(output, time, noisy, return_dict=False)[0]
    torch.testing.assert_close(edm.denoise(output, noisy, level), stepped, atol=1e-4, rtol=1e-4)


def test_loss_weight_makes_the_error_of_the_v_output_even() -> None:
    sigma = torch.tensor([0.01, 0.5, 3.0, 300.0])
    clean, noise, error = seeded(4, 1, 1, 2, 2), seeded(4, 1, 1, 2, 2, seed=1), 0.1
    noisy, scale = edm.add_noise(clean, noise, sigma), edm.coefficients(sigma)
    right = (clean - scale.c_skip * noisy) / scale.c_out
    off = edm.denoise(right + error, noisy, sigma) - clean
    torch.testing.assert_close(edm.loss_weight(sigma) * off**2, torch.full_like(off, error**2), rtol=2e-2, atol=1e-6)


def test_training_noise_is_log_normal_and_seeded() -> None:
    drawn = edm.training_sigmas(20_000, generator=torch.Generator().manual_seed(0)).log()
    assert drawn.mean().item() == pytest.approx(0.7, abs=0.05)
    assert drawn.std().item() == pytest.approx(1.6, abs=0.05)
    again = edm.training_sigmas(20_000, generator=torch.Generator().manual_seed(0)).log()
    assert torch.equal(drawn, again)


def test_one_step_is_minus_the_output_for_zero_noise_at_the_highest_level() -> None:
    output = seeded(*SHAPE)
    calls: list[tuple[Tensor, float]] = []

    def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        calls.append((noisy, float(timestep)))
        return output

    drawn = sample(model, SHAPE, sampler="one-step", steps=20)
    assert torch.equal(drawn, -output)
    assert len(calls) == 1
    assert not calls[0][0].any()
    assert calls[0][1] == pytest.approx(0.25 * math.log(700))
    as_sample = sample(model, SHAPE, sampler="one-step", prediction="sample")
    assert torch.equal(as_sample, output)
    # and that is what preconditioning says of zero noise at that level, to one part in a million
    level = torch.full((2,), edm.SIGMA_MAX)
    torch.testing.assert_close(edm.denoise(output, torch.zeros(SHAPE), level), drawn, atol=1e-5, rtol=1e-5)


def test_diffusion_of_a_network_that_predicts_samples() -> None:
    clean = seeded(*SHAPE)
    seen: dict[str, list[float]] = {"v": [], "sample": []}

    def knowing(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        seen["sample"].append(float(timestep))
        return clean

    def spying(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        seen["v"].append(float(timestep))
        return noisy

    drawn = sample(knowing, SHAPE, sampler="diffusion", prediction="sample", steps=4)
    torch.testing.assert_close(drawn, clean, atol=1e-3, rtol=1e-3)
    sample(spying, SHAPE, sampler="diffusion", steps=4)
    assert seen["sample"] == pytest.approx(seen["v"])  # both are told the noise level in the same way


def test_guidance_is_one_call_on_twice_the_batch() -> None:
    calls: list[tuple[int, list[bool]]] = []

    def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        calls.append((len(noisy), unconditional.tolist()))
        torch.testing.assert_close(noisy[:2], noisy[2:])
        value = torch.where(unconditional, 1.0, 3.0).view(-1, 1, 1, 1, 1)
        return value.expand(-1, *SHAPE[1:])

    drawn = sample(model, SHAPE, sampler="one-step", prediction="sample", guidance=1.5)
    assert calls == [(4, [True, True, False, False])]
    torch.testing.assert_close(drawn, torch.full(SHAPE, 1.0 + 1.5 * 2.0))


def test_guidance_off_runs_on_the_batch_alone() -> None:
    calls: list[list[bool]] = []

    def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        calls.append(unconditional.tolist())
        return noisy

    sample(model, SHAPE, sampler="diffusion", steps=2, guidance=1.0)
    assert calls == [[False, False]] * 2


def test_ramped_guidance_rises_over_the_frames() -> None:
    def model(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        return torch.where(unconditional, 0.0, 1.0).view(-1, 1, 1, 1, 1).expand(-1, *SHAPE[1:])

    drawn = sample(model, SHAPE, sampler="one-step", prediction="sample", guidance=(1.0, 3.0))
    assert drawn[:, :, 0, 0, 0].tolist() == [[1.0, 2.0, 3.0]] * 2
    assert strengths((1.0, 3.0), 1).flatten().tolist() == [1.0]


def test_same_seed_same_result_and_seeds_by_clip() -> None:
    model = perfect(torch.zeros(SHAPE))

    def draw(*seeds: int, batch: int) -> Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise: list[Tensor] = []

        def spy(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
            noise.append(noisy)
            return model(noisy, timestep, unconditional)[: len(noisy)]

        sample(spy, (batch, *SHAPE[1:]), sampler="diffusion", steps=1, generator=generators)
        return noise[0]

    assert torch.equal(draw(1, 2, batch=2), draw(1, 2, batch=2))
    torch.testing.assert_close(draw(1, 2, batch=2)[1], draw(2, 9, batch=2)[0])


def test_half_precision_reaches_the_model_but_not_the_latents() -> None:
    kinds: list[torch.dtype] = []
    clean = seeded(*SHAPE)
    model = perfect(clean)

    def half(noisy: Tensor, timestep: Tensor, unconditional: Tensor) -> Tensor:
        kinds.append(noisy.dtype)
        return model(noisy.float(), timestep, unconditional).to(noisy.dtype)

    drawn = sample(half, SHAPE, sampler="diffusion", steps=8, dtype=torch.bfloat16)
    assert set(kinds) == {torch.bfloat16}
    assert drawn.dtype == torch.float32
    torch.testing.assert_close(drawn, clean, atol=0.05, rtol=0.05)


def test_callback_sees_every_step_and_may_change_the_latents() -> None:
    steps: list[int] = []

    def callback(step: int, timestep: Tensor, latents: Tensor) -> Tensor | None:
        steps.append(step)
        return torch.zeros_like(latents) if step == 2 else None

    drawn = sample(perfect(torch.ones(SHAPE)), SHAPE, sampler="diffusion", steps=3, callback=callback)
    assert steps == [0, 1, 2]
    assert not drawn.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "dpm"}, "unknown sampler 'dpm'"),
        ({"sampler": "diffusion", "prediction": "x"}, "unknown prediction 'x'"),
        ({"sampler": "diffusion", "steps": 0}, "0 steps"),
        ({"sampler": "one-step", "guidance": 0.5}, "guidance 0.5 is out of range"),
        ({"sampler": "one-step", "guidance": (1.0, math.nan)}, "out of range"),
        (
            {"sampler": "diffusion", "scheduler": EulerDiscreteScheduler(prediction_type="epsilon")},
            "scheduler is set to 'epsilon'",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_error(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample(lambda noisy, timestep, unconditional: noisy, SHAPE, **options)
