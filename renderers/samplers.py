"""One interface to draw a result from a network: many denoising steps, or one.

`diffusion` is diffusers' EulerDiscreteScheduler as the published checkpoints use it (v-prediction, Karras sigmas from
700 to 0.002, trailing spacing, 20 steps). `one-step` asks a network trained end to end once, with zero noise at the
highest level (Martin Garcia et al. 2024, "Fine-tuning image-conditional diffusion models is easier than you think",
section 4): the result is minus a v output, or a sample output as it is. Samplers know nothing of windows: for long
videos `renderers.windows.windowed` turns a denoiser of windows into one of the whole video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from renderers.errors import InputError
from renderers.guidance import Denoiser, Guidance, guided
from renderers.preconditioning import SIGMA_MAX, SIGMA_MIN

Sampler = Literal["diffusion", "one-step"]
Prediction = Literal["v", "sample"]
Callback = Callable[[int, Tensor, Tensor], Tensor | None]
"""`callback(step, timestep (), latents) -> latents to go on with, or None to keep them`, after every step."""

_PREDICTION_TYPES = {"v": "v_prediction", "sample": "sample"}


def default_scheduler(prediction: Prediction = "v") -> EulerDiscreteScheduler:
    """The scheduler of Stable Video Diffusion, as its scheduler_config.json says, but for the trailing spacing."""
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=_PREDICTION_TYPES[prediction],
        interpolation_type="linear",
        use_karras_sigmas=True,
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        timestep_spacing="trailing",
        timestep_type="continuous",
        steps_offset=1,
    )


def sample(
    model: Denoiser,
    shape: Sequence[int],
    *,
    sampler: Sampler,
    prediction: Prediction = "v",
    scheduler: EulerDiscreteScheduler | None = None,
    steps: int = 20,
    guidance: Guidance = 1.0,
    generator: torch.Generator | list[torch.Generator] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    callback: Callback | None = None,
) -> Tensor:
    """Draw latents of `shape` (B, T, C, h, w) from `model`: float32, on `device`.

    `model(noisy, timestep, unconditional)` is a `renderers.guidance.Denoiser`; it sees its input in `dtype`, already
    divided by sqrt(sigma^2 + 1). Latents themselves stay float32: at sigma 700 half precision would round them away.
    `scheduler` None is the published one. Raises InputError where sampler, prediction and scheduler do not fit, or
    steps < 1.
    """
    if sampler not in ("diffusion", "one-step"):
        raise InputError(f"unknown sampler {sampler!r}; expected 'diffusion' or 'one-step'")
    if prediction not in _PREDICTION_TYPES:
        raise InputError(f"unknown prediction {prediction!r}; expected 'v' or 'sample'")
    if steps < 1:
        raise InputError(f"{steps} steps sample nothing; give at least one")
    scheduler = default_scheduler(prediction) if scheduler is None else scheduler
    predict = guided(model, guidance, shape[1])
    if sampler == "one-step":
        sigma_max = scheduler.config["sigma_max"] or SIGMA_MAX
        timestep = torch.tensor(0.25 * math.log(sigma_max), device=device)
        output = predict(torch.zeros(tuple(shape), device=device, dtype=dtype), timestep).float()
        latents = -output if prediction == "v" else output
        return _called(callback, 0, timestep, latents)
    if scheduler.config["prediction_type"] != _PREDICTION_TYPES[prediction]:
        raise InputError(
            f"the network predicts {prediction!r} but the scheduler is set to "
            f"{scheduler.config['prediction_type']!r}; make scheduler_config.json say {_PREDICTION_TYPES[prediction]!r}"
        )
    scheduler.set_timesteps(steps, device=device)
    scheduler.set_begin_index(0)  # or the scheduler looks its first time up, and times above its own range are equal
    times = scheduler.timesteps
    if scheduler.config["timestep_type"] == "continuous":  # diffusers knows these for v_prediction only
        times = 0.25 * scheduler.sigmas[:-1].log().to(device)
    noise = randn_tensor(tuple(shape), generator=generator, device=torch.device(device), dtype=torch.float32)
    latents = noise * scheduler.init_noise_sigma
    for index, (time, timestep) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        output = predict(scheduler.scale_model_input(latents, timestep).to(dtype), time)
        latents = scheduler.step(output.float(), timestep, latents, return_dict=False)[0]
        latents = _called(callback, index, time, latents)
    return latents


def _called(callback: Callback | None, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
    changed = callback(step, timestep, latents) if callback is not None else None
    return latents if changed is None else changed
