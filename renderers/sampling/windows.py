"""Windows over long videos: networks see a few frames at a time, and nobody may see where one window ends.

The released code cuts a video into windows of 24 frames that overlap by 6 and does not blend them; its users complain
of jumps at the borders. Here the windows of a plan cross-fade over what they share: at every denoising step where a
sampler has steps (MultiDiffusion, Bar-Tal et al. 2023, section 4, along time instead of space) and once where it has
none. The sampler draws ONE noise field for the whole video, so windows start from the same noise where they overlap.

    plan = plan_windows(frames)
    denoise = windowed(plan, lambda noisy, window: unet(noisy, window.take(condition)))   # whole video -> whole video
    video = blend(plan, (decode(window.take(latents)) for window in plan.windows))        # or `stream` for any length

Windows count frames, never seconds: any frame rate is the same to them. Tensors are videos (B, T, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from manifests.errors import InputError

WINDOW = 24
"""Frames the published networks were trained on."""
OVERLAP = 6
"""Frames shared by neighbouring windows, as in the released code."""


@dataclass(frozen=True)
class Window:
    """Frames [start, stop) of a video, given to a network as `size` frames: the last one is repeated where too few."""

    start: int
    stop: int
    size: int

    def take(self, video: Tensor) -> Tensor:
        """This window of a whole video (B, T, ...): (B, size, ...)."""
        if self.size == self.stop - self.start:
            return video[:, self.start : self.stop]
        index = torch.arange(self.start, self.start + self.size, device=video.device).clamp_max(self.stop - 1)
        return video.index_select(1, index)


@dataclass(frozen=True)
class WindowPlan:
    """Windows that cover a video of `frames` frames, in order, each overlapping the next."""

    frames: int
    windows: tuple[Window, ...]

    def weights(self) -> Tensor:
        """Share of each window in each frame, (windows, T); every frame's shares sum to one."""
        count = len(self.windows)
        one_hot = torch.eye(count).view(count, 1, 1, count, 1, 1)  # per window (B, T, C, H, W), a channel a window
        outputs = (one_hot[index].expand(-1, window.size, -1, -1, -1) for index, window in enumerate(self.windows))
        return blend(self, outputs)[0, :, :, 0, 0].T  # (1, T, windows, 1, 1) -> (windows, T)


def plan_windows(frames: int, size: int = WINDOW, overlap: int = OVERLAP, *, exact: bool = False) -> WindowPlan:
    """Plan windows of `size` frames that share at least `overlap` frames with their neighbours.

    The first starts at 0, the last ends at `frames`, and the ones between are spread evenly, so that no two windows
    share nearly all their frames. A video of at most `size` frames is one window, as short as the video; with `exact`
    (a model that takes one length only) its last frame is repeated up to `size`, and `blend` drops the repeats.
    Raises InputError unless frames >= 1 and 0 <= overlap < size.
    """
    if frames < 1:
        raise InputError(f"a video of {frames} frames has nothing to render", "give at least one frame")
    if not 0 <= overlap < size:
        raise InputError(f"windows of {size} frames cannot overlap by {overlap}", f"overlap must be 0 to {size - 1}")
    if frames <= size:
        return WindowPlan(frames, (Window(0, frames, size if exact else frames),))
    count = -(-(frames - overlap) // (size - overlap))  # as few as cover everything
    starts = [index * (frames - size) // (count - 1) for index in range(count)]
    return WindowPlan(frames, tuple(Window(start, start + size, size) for start in starts))


def stream(plan: WindowPlan, outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Cross-fade the windows' outputs, each (B, size, C, H, W), and yield finished frames (B, n, C, H, W) in order.

    Weights rise linearly over all frames that a window shares with those before it and sum to one on every frame.
    `outputs` is consumed one window at a time and only the frames shared with the next window are kept, so videos of
    any length pass through. Raises InputError if the outputs are not those of the plan.
    """
    waiting = iter(outputs)
    tail: Tensor | None = None  # blended frames [window.start, end of the windows so far), to be blended once more
    for index, window in enumerate(plan.windows):
        output = next(waiting, None)
        if output is None or output.shape[1] != window.size:
            got = "no more windows" if output is None else f"{output.shape[1]} frames"
            raise InputError(f"window {index} of {len(plan.windows)} has {window.size} frames, but {got} came")
        output = output[:, : window.stop - window.start]  # repeats of the last frame are dropped
        if tail is not None and tail.shape[1]:
            shared = tail.shape[1]
            ramp = torch.arange(1, shared + 1, device=output.device, dtype=output.dtype) / (shared + 1)
            faded = torch.lerp(tail, output[:, :shared], ramp.view(1, shared, 1, 1, 1))
            output = torch.cat([faded, output[:, shared:]], dim=1)
        last = index + 1 == len(plan.windows)
        final = output.shape[1] if last else plan.windows[index + 1].start - window.start
        tail = output[:, final:].clone()  # a view would keep the whole window alive
        yield output[:, :final]


def blend(plan: WindowPlan, outputs: Iterable[Tensor]) -> Tensor:
    """`stream` gathered into the whole video (B, T, C, H, W)."""
    return torch.cat(list(stream(plan, outputs)), dim=1)


def windowed(plan: WindowPlan, predict: Callable[[Tensor, Window], Tensor]) -> Callable[[Tensor], Tensor]:
    """One denoiser of the whole video out of one of windows: a sampler needs to know nothing of windows.

    `predict(noisy (B, size, C, h, w), window) -> (B, size, C', h, w)` slices its own conditions by `window.take`. At
    one noise level the denoised latent is affine in the network's output, with coefficients that all windows share,
    so averaging the outputs (v, noise or sample alike) is averaging the denoised latents.
    """

    def whole(noisy: Tensor) -> Tensor:
        return blend(plan, (predict(window.take(noisy), window) for window in plan.windows))

    return whole
