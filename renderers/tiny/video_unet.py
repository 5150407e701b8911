"""The convolutional U-Net that all tiny networks share: what a laptop's CPU can train in minutes.

Plain 3x3 convolutions do the work, because they are what CPUs run fastest per multiplication; frames are mixed by
shifting channels in time, which costs nothing, and by attention over time at the coarsest level. Everything that a
pixel cannot know by itself (how bright the light is, which attribute is asked for) comes in by FiLM.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_GROUP = 16


def shift_in_time(features: Tensor, frames: int, share: int = 8) -> Tensor:
    """Features (B*T, C, H, W) with 1/`share` of the channels taken from the frame before, as many from the one after.

    The first and the last frame see themselves, so that one frame is a video too (temporal shift module,
    arXiv 1811.08383, section 3).
    """
    if frames == 1:
        return features
    fold = features.shape[1] // share
    video = features.unflatten(0, (-1, frames))  # (B*T, C, H, W) -> (B, T, C, H, W)
    past, future, same = video.split([fold, fold, features.shape[1] - 2 * fold], dim=2)
    past = torch.cat([past[:, :1], past[:, :-1]], dim=1)
    future = torch.cat([future[:, 1:], future[:, -1:]], dim=1)
    return torch.cat([past, future, same], dim=2).flatten(0, 1)  # (B, T, C, H, W) -> (B*T, C, H, W)


def image_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres (2, H, W): x right and y up, where 1 is half the longer side."""
    longer = max(height, width)
    x = (torch.arange(width, device=like.device, dtype=like.dtype) * 2 + 1 - width) / longer
    y = (height - 1 - torch.arange(height, device=like.device, dtype=like.dtype) * 2) / longer
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def zeroed[M: nn.Module](layer: M) -> M:
    """The layer with all its parameters 0, so that a new network starts from what bypasses it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def pooled_clip(features: Tensor, frames: int) -> Tensor:
    """Mean and maximum over the picture of (B*T, C, h, w), averaged over the frames: (B, 2C)."""
    pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)  # (B*T, 2C)
    return pooled.unflatten(0, (-1, frames)).mean(dim=1)


class FiLM(nn.Module):
    """Scale and shift of every channel by an embedding; the identity when new (arXiv 1709.07871)."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.linear = zeroed(nn.Linear(embedding, 2 * channels))

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """features (N, C, H, W), embedding (N, E) -> (N, C, H, W)."""
        scale, shift = self.linear(functional.silu(embedding))[:, :, None, None].chunk(
            2, dim=1
        )  # (N, 2C) -> 2 x (N, C, 1, 1)
        return torch.addcmul(shift, features, scale + 1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a residual, the first over time-shifted features, FiLM between them."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(channels // _GROUP, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(channels // _GROUP, channels)
        self.film = FiLM(embedding, channels)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, features: Tensor, embedding: Tensor, frames: int) -> Tensor:
        """features (B*T, C, H, W), embedding (B*T, E) -> (B*T, C, H, W)."""
        hidden = self.conv1(shift_in_time(functional.silu(self.norm1(features)), frames))
        hidden = self.film(self.norm2(hidden), embedding)
        return features + self.conv2(functional.silu(hidden))


class UNetLevel(nn.Module):
    """The residual blocks of one level."""

    def __init__(self, channels: int, depth: int, embedding: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, embedding) for _ in range(depth))

    def forward(self, features: Tensor, embedding: Tensor, frames: int) -> Tensor:
        """features (B*T, C, H, W), embedding (B*T, E) -> (B*T, C, H, W)."""
        for block in self.blocks:
            features = block(features, embedding, frames)
        return features


class TemporalAttention(nn.Module):
    """Self-attention over the frames of each position: evidence seen in any frame reaches all of them.

    No position is encoded, so any number of frames works; order is known through the shifts.
    """

    def __init__(self, channels: int, head: int = 32) -> None:
        super().__init__()
        self.heads = channels // head
        self.norm = nn.GroupNorm(channels // _GROUP, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, features: Tensor, frames: int) -> Tensor:
        """features (B*T, C, H, W) -> (B*T, C, H, W)."""
        _, channels, height, width = features.shape
        tokens = self.norm(features).unflatten(0, (-1, frames))  # (B, T, C, H, W)
        tokens = tokens.permute(0, 3, 4, 1, 2).reshape(-1, frames, channels)  # -> (B*H*W, T, C)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # 3 x (B*H*W, heads, T, c)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # -> (B*H*W, T, C)
        mixed = self.out(mixed).reshape(-1, height, width, frames, channels)
        return features + mixed.permute(0, 3, 4, 1, 2).flatten(0, 1)  # -> (B*T, C, H, W)


class VideoUNet(nn.Module):
    """U-Net over frames at full resolution: (B, T, in, H, W) -> (B, T, out, H, W); H and W multiples of `multiple`.

    Args:
        in_channels: channels of a frame.
        out_channels: channels of the result; the last convolution starts at zero.
        widths: channels by level, from full resolution down; multiples of 32.
        depths: residual blocks by level, on the way down and again on the way up.
        embedding: width of the embedding that steers the blocks by FiLM.
    """

    def __init__(
        self, in_channels: int, out_channels: int, widths: Sequence[int], depths: Sequence[int], embedding: int
    ) -> None:
        super().__init__()
        levels = len(widths)
        self.multiple = 2 ** (levels - 1)
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(UNetLevel(widths[i], depths[i], embedding) for i in range(levels))
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, stride=2) for i in range(levels - 1))
        self.attention = TemporalAttention(widths[-1])
        self.summary = nn.Sequential(nn.Linear(2 * widths[-1], embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in range(levels - 1))
        self.decoder = nn.ModuleList(UNetLevel(widths[i], depths[i], embedding) for i in range(levels - 1))
        self.norm = nn.GroupNorm(widths[0] // _GROUP, widths[0])
        self.head = zeroed(nn.Conv2d(widths[0], out_channels, 3, padding=1))

    def forward(self, video: Tensor, embedding: Tensor) -> Tensor:
        """video (B, T, in, H, W), embedding (B, T, E) -> (B, T, out, H, W)."""
        batch, frames = video.shape[:2]
        steer = embedding.flatten(0, 1)  # (B, T, E) -> (B*T, E)
        features = self.stem(video.flatten(0, 1))  # (B, T, in, H, W) -> (B*T, C, H, W)
        skips = []
        for level, blocks in enumerate(self.encoder):
            features = blocks(features, steer, frames)
            if level < len(self.down):
                skips.append(features)
                features = self.down[level](features)
        features = self.attention(features, frames)
        steer = steer + self._summary(features, frames)
        for level in reversed(range(len(self.decoder))):
            features = functional.interpolate(self.up[level](features), scale_factor=2.0, mode="nearest") + skips[level]
            features = self.decoder[level](features, steer, frames)
        return self.head(functional.silu(self.norm(features))).unflatten(0, (batch, frames))

    def _summary(self, features: Tensor, frames: int) -> Tensor:
        """What the whole clip says (its light, its exposure): (B*T, C, h, w) -> (B*T, E), the same for all T.

        The mean over frames, of a maximum too, so that longer clips than those of the training look the same.
        """
        return self.summary(pooled_clip(features, frames)).repeat_interleave(frames, dim=0)
