"""Perceptual distance: LPIPS where its backbone is on this machine, else shift-tolerant LPIPS, always labelled.

LPIPS (Zhang et al., arXiv 1801.03924) through torchmetrics needs torchvision's AlexNet weights, which have to be
downloaded; they are used when they lie in torch's hub cache. ST-LPIPS (Ghildyal and Liu, arXiv 2207.13686) has its
weights in the wheel of `stlpips-pytorch`. Only the weights are taken from there (BSD-2-Clause, read as plain tensors,
no pickled code runs): its modules need packages it does not declare and include a file under a non-commercial licence,
so the network, an AlexNet without strides and with a blur before each halving, is written out here. The two distances
are different scales: never compare one with the other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manifests.errors import InputError

FRAMES = 4
"""Frames of a clip that are measured, evenly spread: the network costs more than all other metrics together."""

_ALEXNET = "alexnet-owt-7be5be79.pth"
_STLPIPS = Path("weights") / "vST0.0" / "alex_shift_tolerant.pth"
_SMALLEST = 32
# Channels out, kernel and padding of the five convolutions, and their names in the published weights.
_LAYERS = (
    (64, 11, 2, "net.slice1.0"),
    (192, 5, 2, "net.slice2.5"),
    (384, 3, 1, "net.slice3.9"),
    (256, 3, 1, "net.slice4.11"),
    (256, 3, 1, "net.slice5.13"),
)


@dataclass(frozen=True)
class Perceptual:
    """A perceptual distance and its `label` for tables; `distance` takes two batches (N, 3, H, W) in [-1, 1]."""

    label: str
    distance: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, prediction: np.ndarray, truth: np.ndarray) -> float:
        """Mean distance over `FRAMES` evenly spread frames of two clips (T, H, W, 3) with values in [0, 1]."""
        if prediction.shape != truth.shape or truth.ndim != 4:
            raise InputError(f"frames of shape {prediction.shape} against {truth.shape}", "both need (T, H, W, 3)")
        chosen = np.unique(np.linspace(0, len(truth) - 1, min(FRAMES, len(truth))).round().astype(int))
        first, second = (_enlarged(frames[chosen]) for frames in (prediction, truth))
        with torch.inference_mode():
            return float(self.distance(first, second).mean())


def load_perceptual() -> Perceptual:
    """LPIPS if AlexNet's weights are in torch's hub cache, else ST-LPIPS; InputError when neither can be had."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _ALEXNET
    if cached.is_file():
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="mean").eval()
        return Perceptual("LPIPS", metric)
    return Perceptual("ST-LPIPS", ShiftTolerant(_read_weights()).eval())


class ShiftTolerant(nn.Module):
    """ST-LPIPS with an AlexNet trunk: normalised features of five layers, squared differences, learned weights."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        try:
            self.convolutions = nn.ModuleList()
            before = 3
            for channels, kernel, padding, name in _LAYERS:
                convolution = nn.Conv2d(before, channels, kernel, padding=padding)
                convolution.load_state_dict({part: weights[f"{name}.{part}"] for part in ("weight", "bias")})
                self.convolutions.append(convolution)
                before = channels
            self.importance = [weights[f"lin{index}.model.1.weight"] for index in range(len(_LAYERS))]
            self.shift, self.scale = weights["scaling_layer.shift"], weights["scaling_layer.scale"]
        except (KeyError, RuntimeError) as error:
            raise InputError(f"ST-LPIPS weights do not fit ({error})", "reinstall stlpips-pytorch") from None
        self.requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance (N,) of two batches (N, 3, H, W) in [-1, 1]; 0 for equal images."""
        total = first.new_zeros(len(first))
        for one, other, weight in zip(self.features(first), self.features(second), self.importance, strict=True):
            difference = (functional.normalize(one, eps=1e-10) - functional.normalize(other, eps=1e-10)).square()
            total = total + functional.conv2d(difference, weight).mean(dim=(1, 2, 3))
        return total

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations of the five layers; resolution falls by 2 after the first and before the second and third."""
        x = (images - self.shift) / self.scale
        found = []
        for index, convolution in enumerate(self.convolutions):
            if index in (1, 2):
                x = _halve(functional.max_pool2d(x, 3, stride=1))
            x = convolution(x)
            x = functional.relu(_halve(x) if index == 0 else x)
            found.append(x)
        return found


def _halve(x: Tensor) -> Tensor:
    """Low-pass with the binomial [1 2 1] in both directions, then every second pixel; two reflected pixels around."""
    line = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return functional.conv2d(functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def _enlarged(frames: np.ndarray) -> Tensor:
    """(T, H, W, 3) in [0, 1] as (T, 3, H, W) in [-1, 1]; frames too small for the network are enlarged."""
    images = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2), dtype=np.float32)) * 2 - 1
    factor = _SMALLEST / min(images.shape[-2:])
    return functional.interpolate(images, scale_factor=factor, mode="bilinear") if factor > 1 else images


def _read_weights() -> dict[str, Tensor]:
    """The tensors in the wheel; found without importing the package, read with pickle restricted to plain tensors."""
    package = importlib.util.find_spec("stlpips_pytorch")
    folders = package.submodule_search_locations if package is not None else None
    path = Path(folders[0]) / _STLPIPS if folders else None
    if path is None or not path.is_file():
        raise InputError(f"no perceptual metric: neither {_ALEXNET} in torch's cache nor stlpips-pytorch installed")
    return torch.load(path, map_location="cpu", weights_only=True)
