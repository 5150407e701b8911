"""One interface to draw a result from a network (many denoising steps, or one), and the noise that training draws.

`diffusion` is diffusers' EulerDiscreteScheduler as the published checkpoints use it (v-prediction, Karras sigmas from
700 to 0.002, trailing spacing, 20 steps). `one-step` asks a network trained end to end once, with zero noise at the
highest level (Martin Garcia et al. 2024, "Fine-tuning image-conditional diffusion models is easier than you think",
section 4): the result is minus a v output, or a sample output as it is. Samplers know nothing of windows: for long
videos `renderers.sampling.windows.windowed` turns a denoiser of windows into one of the whole video.

Classifier-free guidance (Ho and Salimans 2022) is one batched call, unconditional + s (conditional - unconditional).
Stable Video Diffusion raises s linearly over the frames of a clip; the published forward renderer uses one number, 1.2,
the inverse one none (1.0).

Stable Video Diffusion (Blattmann et al. 2023, appendix D) trains v-prediction in the EDM frame (Karras et al. 2022,
table 1 and section 5) with sigma_data = 1: a clean latent x, noise n and a level sigma give the noisy latent
x + sigma n; the network F sees c_in times that and c_noise as its time, and

    denoised = c_skip * noisy + c_out * F(c_in * noisy, c_noise)

with c_skip = 1 / (sigma^2 + 1), c_out = -sigma / sqrt(sigma^2 + 1), c_in = 1 / sqrt(sigma^2 + 1) and
c_noise = log(sigma) / 4. The scheduler samples with the same coefficients (tested).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from manifests.errors import InputError

Sampler = Literal["diffusion", "one-step"]
Prediction = Literal["v", "sample"]
Guidance = float | tuple[float, float]
"""One strength for every frame, or (first frame's, last frame's). 1 is off."""

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`model(noisy (N, T, C, h, w), timestep (), unconditional (N,) bool) -> prediction (N, T, C', h, w)`.

Clips whose `unconditional` is true get zero conditions. Under guidance N is twice the number of clips: the clips once
without conditions, then the same clips with them, so clip n's conditions are those of clip n modulo N / 2.
"""

Callback = Callable[[int, Tensor, Tensor], Tensor | None]
"""`callback(step, timestep (), latents) -> latents to go on with, or None to keep them`, after every step."""

_PREDICTION_TYPES = {"v": "v_prediction", "sample": "sample"}

SIGMA_MIN = 0.002
SIGMA_MAX = 700.0
SIGMA_LOCATION = 0.7
"""Mean of log sigma in training (DiffusionRenderer's authors)."""
SIGMA_SCALE = 1.6
"""Standard deviation of log sigma in training."""


def default_scheduler(
    prediction: Prediction = "v", sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX
) -> EulerDiscreteScheduler:
    """The scheduler of Stable Video Diffusion, as its scheduler_config.json says, but for the trailing spacing.

    Its noise levels are those of latents of unit variance.
    """
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=_PREDICTION_TYPES[prediction],
        interpolation_type="linear",
        use_karras_sigmas=True,
        sigma_min=sigma_min,
        sigma_max=sigma_max,
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
    shared: Sequence[int] | None = None,
) -> Tensor:
    """Draw latents of `shape` (B, T, C, h, w) from `model`: float32, on `device`.

    Frame t starts from frame `shared[t]` of the noise, so that some may start from the same.

    `model(noisy, timestep, unconditional)` is a `Denoiser`; it sees its input in `dtype`, already
    divided by sqrt(sigma^2 + 1). Latents themselves stay float32: at sigma 700 half precision would round them away.
    `scheduler` None is the published one. Raises InputError where sampler, prediction and scheduler do not fit, or
    steps < 1.
    """
    if sampler not in ("diffusion", "one-step"):
        raise InputError(f"unknown sampler {sampler!r}", "expected 'diffusion' or 'one-step'")
    if prediction not in _PREDICTION_TYPES:
        raise InputError(f"unknown prediction {prediction!r}", "expected 'v' or 'sample'")
    if steps < 1:
        raise InputError(f"{steps} steps sample nothing", "give at least one")
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
            f"the network predicts {prediction!r}, the scheduler is set to {scheduler.config['prediction_type']!r}",
            f"make scheduler_config.json say {_PREDICTION_TYPES[prediction]!r}",
        )
    scheduler.set_timesteps(steps, device=device)
    scheduler.set_begin_index(0)  # or the scheduler looks its first time up, and times above its own range are equal
    times = scheduler.timesteps
    if scheduler.config["timestep_type"] == "continuous":  # diffusers knows these for v_prediction only
        times = 0.25 * scheduler.sigmas[:-1].log().to(device)
    frames = shape[1] if shared is None else max(shared) + 1
    drawn = (shape[0], frames, *shape[2:])
    noise = randn_tensor(drawn, generator=generator, device=torch.device(device), dtype=torch.float32)
    noise = noise if shared is None else noise[:, list(shared)]
    latents = noise * scheduler.init_noise_sigma
    for index, (time, timestep) in enumerate(zip(times, scheduler.timesteps, strict=True)):
        output = predict(scheduler.scale_model_input(latents, timestep).to(dtype), time)
        latents = scheduler.step(output.float(), timestep, latents, return_dict=False)[0]
        latents = _called(callback, index, time, latents)
    return latents


def _called(callback: Callback | None, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
    changed = callback(step, timestep, latents) if callback is not None else None
    return latents if changed is None else changed


def strengths(guidance: Guidance, frames: int) -> Tensor:
    """Strength of each frame as (1, T, 1, 1, 1); raises InputError if one is below 1 or not a number."""
    low, high = guidance if isinstance(guidance, tuple) else (guidance, guidance)
    if not (1.0 <= low < float("inf") and 1.0 <= high < float("inf")):
        raise InputError(f"guidance {guidance} is out of range", "give 1 (off) or more, or a (low, high) pair of such")
    return torch.linspace(low, high, frames).view(1, frames, 1, 1, 1)  # (T,) -> (1, T, 1, 1, 1)


def guided(model: Denoiser, guidance: Guidance, frames: int) -> Callable[[Tensor, Tensor], Tensor]:
    """`predict(noisy (B, T, C, h, w), timestep ()) -> prediction` with guidance; off, the model sees B clips only."""
    scale = strengths(guidance, frames)
    off = bool((scale == 1).all())

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        batch = len(noisy)
        if off:
            return model(noisy, timestep, torch.zeros(batch, dtype=torch.bool, device=noisy.device))
        unconditional = torch.arange(2 * batch, device=noisy.device) < batch  # (2B,)
        without, given = model(torch.cat([noisy, noisy]), timestep, unconditional).float().chunk(2)
        return without + scale.to(given) * (given - without)

    return predict


@dataclass(frozen=True)
class Coefficients:
    """The four EDM coefficients at one noise level per clip: scalings (B, 1, 1, 1, 1), time (B,)."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


def coefficients(sigma: Tensor) -> Coefficients:
    """Coefficients at noise levels `sigma` (B,), positive."""
    level = sigma.view(-1, 1, 1, 1, 1)  # (B,) -> (B, 1, 1, 1, 1), to scale videos (B, T, C, h, w)
    root = (level**2 + 1).sqrt()
    return Coefficients(c_skip=root**-2, c_out=-level / root, c_in=1 / root, c_noise=0.25 * sigma.log())


def training_sigmas(count: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Log-normal noise levels (count,), on the generator's device: exp(N(0.7, 1.6^2))."""
    device = generator.device if generator is not None else None
    normal = torch.randn(count, generator=generator, device=device)
    return (SIGMA_LOCATION + SIGMA_SCALE * normal).exp()


def add_noise(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Noisy latents (B, T, C, h, w): clean plus sigma (B,) times standard normal noise."""
    return clean + sigma.view(-1, 1, 1, 1, 1) * noise


def denoise(output: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The clean latents that the network's v output means, given what it was shown: all (B, T, C, h, w), sigma (B,)."""
    scale = coefficients(sigma)
    return scale.c_skip * noisy + scale.c_out * output


def loss_weight(sigma: Tensor) -> Tensor:
    """Weight (B, 1, 1, 1, 1) of the squared error of denoised latents: 1 / c_out^2, an even loss on the v output."""
    level = sigma.view(-1, 1, 1, 1, 1)
    return (level**2 + 1) / level**2
