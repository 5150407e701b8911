"""Muon: momentum whose singular values are made equal, for the convolutions inside a network; AdamW for all else.

An update that moves every direction of a filter bank by the same amount teaches a small network more a step than
AdamW's. torch has it for matrices alone; convolutions are matrices of (out, in * height * width). The iteration and
its coefficients: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_NARROWEST = 32


def orthogonal(parameter: Tensor) -> bool:
    """Whether Muon moves a parameter: filter banks with at least 32 channels on both sides."""
    return parameter.ndim > 2 and min(parameter.shape[:2]) >= _NARROWEST


def orthogonalised(matrix: Tensor) -> Tensor:
    """(m, n) float32 with the same singular vectors and singular values near 1 (0.7 to 1.2).

    In float32 throughout: bfloat16 would turn the last bit of a gradient, which depends on how many workers summed it,
    into a hundredth of the update.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.float() / (wide.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Moves groups marked `orthogonal` by Muon, the others by AdamW.

    Args:
        params: parameter groups; of each, `orthogonal`, `weight_decay` and `lr` may be given.
        lr: rate of the groups that name none.
        betas: AdamW's decays.
        momentum: Muon's, in Nesterov's form.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; `closure` is not used."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["orthogonal"]:
                for parameter in moved:
                    self._turn(parameter, group)
            elif moved:
                self._adamw(moved, group)

    def _turn(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient, momentum = self.state[parameter], parameter.grad, group["momentum"]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(momentum).add_(gradient)
        update = orthogonalised(
            gradient.add(state["momentum"], alpha=momentum).flatten(1)
        )  # (O, I, h, w) -> (O, I*h*w)
        rows, columns = update.shape
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.view_as(parameter), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter].update(
                    step=torch.zeros(()), exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter)
                )
        states = [self.state[parameter] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        adamw(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
