"""One network spread over all workers, for what does not fit one card: torch's FSDP2.

A worker holds a slice of every weight, gradient and moment, and a block's whole weights only while it computes with
them. Everything that looks at a whole tensor has to be asked by all workers at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(network: Any, device: torch.device, workers: int) -> nn.Module:
    """Spread `network` over the workers, in place, block by block; returns it as it was, without memory for weights.

    All workers must hold the same weights. What is returned is what `assembled` fills again.
    """
    memory = {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in network.parameters()}
    plain: nn.Module = copy.deepcopy(network, memory)
    mesh = init_device_mesh(device.type, (workers,))
    blocks = getattr(network, "_no_split_modules", None) or []
    for module in [module for module in network.modules() if type(module).__name__ in blocks]:
        fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return plain


def assembled(network: nn.Module, plain: nn.Module, *, keep: bool) -> nn.Module:
    """`plain` with the weights of the spread `network`, on the CPU; only workers that `keep` it need memory for it."""
    weights = {}
    for name, tensor in network.state_dict().items():
        gathered = whole(tensor)
        if keep:
            weights[name] = gathered.cpu()
    if keep:
        plain.load_state_dict(weights, assign=True)
    return plain


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which this worker holds a slice; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sliced(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is spread, where it is and has the same shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def sliced_all(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same of tensors by name; those of which there is no like stay."""
    return {name: sliced(tensor, like[name]) if name in like else tensor for name, tensor in tensors.items()}
