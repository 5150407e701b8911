"""EDM preconditioning of the video diffusion models: what training and sampling must agree on, in one place.

Stable Video Diffusion (Blattmann et al. 2023, appendix D) trains v-prediction in the EDM frame (Karras et al. 2022,
table 1 and section 5) with sigma_data = 1: a clean latent x, noise n and a level sigma give the noisy latent
x + sigma n; the network F sees c_in times that and c_noise as its time, and

    denoised = c_skip * noisy + c_out * F(c_in * noisy, c_noise)

with c_skip = 1 / (sigma^2 + 1), c_out = -sigma / sqrt(sigma^2 + 1), c_in = 1 / sqrt(sigma^2 + 1) and
c_noise = log(sigma) / 4. diffusers' EulerDiscreteScheduler samples with the same coefficients (tested).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIGMA_MIN = 0.002
SIGMA_MAX = 700.0
SIGMA_LOCATION = 0.7
"""Mean of log sigma in training (DiffusionRenderer's authors)."""
SIGMA_SCALE = 1.6
"""Standard deviation of log sigma in training."""


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
