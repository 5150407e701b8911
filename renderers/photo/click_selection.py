"""`ClickSelection`: which pixels belong to what was clicked, from the picture, the clicks, and an earlier selection.

An encoder that has seen photographs looks at the picture, once for any number of clicks; a decoder comes up level by
level. At each level every pixel is compared with what lies under the clicks, so that a click stands for what it hits
and not for where it is. The earlier selection is what a click before gave, or the frame before, carried on by optical
flow (an earlier mask as input is an idea of RITM, Sofiiuk et al. 2022, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from renderers.photo.efficientnet_lite import EfficientNetLite

GUIDES = 3
"""Channels beside the picture: clicks that belong, clicks that do not, the earlier selection; each in [0, 1]."""

_RADIUS = 3


def clicks_drawn(size: tuple[int, int], points: Sequence[tuple[float, float]]) -> np.ndarray:
    """A guide (H, W) in [0, 1] with a small disc at each point (x, y)."""
    guide = np.zeros(size, dtype=np.float32)
    for x, y in points:
        cv2.circle(guide, (int(x), int(y)), _RADIUS, 1.0, -1)
    return guide


class ClickSelection(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers mixes its own like this
    """Says of every pixel whether it is selected.

    Args:
        variant: of EfficientNet-Lite, the encoder.
        widths: channels of the decoder at strides 32, 16, 8, 4 and 2.
    """

    slow = "encoder."
    """Parameters of this prefix were trained already and are to be trained more slowly than the rest."""

    @register_to_config
    def __init__(self, variant: str = "lite0", widths: tuple[int, ...] = (96, 64, 48, 32, 16)) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(variant)
        inputs = tuple(reversed(EfficientNetLite.widths))
        self.skips = nn.ModuleList(nn.Conv2d(inside, width, 1) for inside, width in zip(inputs, widths, strict=True))
        self.raises = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1) for i in range(4))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width + 2 * GUIDES, width, 3, padding=1),
                nn.GroupNorm(4, width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.SiLU(),
            )
            for width in widths
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, pictures: Tensor, guides: Tensor) -> Tensor:
        """Logits (N, 1, H, W) of being selected.

        Args:
            pictures: (N, 3, H, W), sRGB in [-1, 1]; H and W multiples of 32.
            guides: (N, 3, H, W) as `GUIDES` says.
        """
        return self.decode(self.encoder(pictures), guides)

    def decode(self, levels: Sequence[Tensor], guides: Tensor) -> Tensor:
        """Logits (N, 1, H, W) from what the encoder says of the pictures, and guides (N, 3, H, W)."""
        features: Tensor | None = None
        for index, (level, skip, block) in enumerate(zip(reversed(levels), self.skips, self.blocks, strict=True)):
            here = skip(level)
            told = functional.adaptive_avg_pool2d(guides, here.shape[-2:])  # (N, 3, h, w)
            beside = torch.cat([_likeness(here, told), told], dim=1)
            if features is not None:
                here = here + _larger(self.raises[index - 1](features))
            features = block(torch.cat([here, beside], dim=1))
        assert features is not None
        return _larger(self.head(features))


def _larger(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear")


def _likeness(features: Tensor, told: Tensor) -> Tensor:
    """Cosine (N, G, h, w) between every feature (N, C, h, w) and the mean of those under each guide (N, G, h, w)."""
    directions = functional.normalize(features, dim=1)
    means = torch.einsum("nchw,nghw->ngc", directions, told) / (told.sum(dim=(2, 3))[..., None] + 1e-4)
    return torch.einsum("nchw,ngc->nghw", directions, functional.normalize(means, dim=2, eps=1e-3))
