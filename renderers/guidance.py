"""Classifier-free guidance in one batched call, with a strength that may rise over the frames.

Ho & Salimans 2022: unconditional + s (conditional - unconditional). Stable Video Diffusion raises s linearly over the
frames of a clip; the published forward renderer uses one number, 1.2, the inverse one none (1.0).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from renderers.errors import InputError

Guidance = float | tuple[float, float]
"""One strength for every frame, or (first frame's, last frame's). 1 is off."""

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`model(noisy (N, T, C, h, w), timestep (), unconditional (N,) bool) -> prediction (N, T, C', h, w)`.

Clips whose `unconditional` is true get zero conditions. Under guidance N is twice the number of clips: the clips once
without conditions, then the same clips with them, so clip n's conditions are those of clip n modulo N / 2.
"""


def strengths(guidance: Guidance, frames: int) -> Tensor:
    """Strength of each frame as (1, T, 1, 1, 1); raises InputError if one is below 1 or not a number."""
    low, high = guidance if isinstance(guidance, tuple) else (guidance, guidance)
    if not (1.0 <= low < float("inf") and 1.0 <= high < float("inf")):
        raise InputError(f"guidance {guidance} is out of range; give 1 (off) or more, or a (low, high) pair of such")
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
