"""Long videos are cut into windows, large pictures into tiles; networks see a piece, and nobody sees where it ends.

The released code cuts a video into windows of 24 frames that overlap by 6 and does not blend them; its users complain
of jumps at the borders. Here pieces cross-fade over what they share: at every denoising step where a sampler has steps
(MultiDiffusion, Bar-Tal et al. 2023, section 4, along time too) and once where it has none. The sampler draws ONE noise
field for the whole video, so pieces start from the same noise where they overlap.

    plan = plan_windows(frames)
    denoise = windowed(plan, lambda noisy, window: unet(noisy, window.take(condition)))   # whole video -> whole video
    video = plan.blend(decode(window.take(latents)) for window in plan.windows)           # or `stream` for any length

Tiles are windows along rows and columns, by the same arithmetic. Nothing is ever resized: a picture is continued to
the right and to the bottom up to the network's multiple, mirrored at the edge (so pixel coordinates and intrinsics stay
true), and cut back to its exact size. An identity network gives back its input bit for bit, cut or not.

    tiling = plan_tiles(height, width, multiple=64, budget=1024 * 1024)
    latents = encode(tiling.pad(video))
    denoise = tiled(tiling.divided(8), lambda noisy, tile: unet(noisy, tile.take(latents)))
    picture = tiling.crop(decode(denoise(noise)))

Windows count frames, never seconds: any frame rate is the same to them, and one image is a video of one frame. Tensors
are videos (B, T, C, H, W).
"""

from __future__ import annotations

import math
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

    def blend(self, outputs: Iterable[Tensor], align: Align | None = None) -> Tensor:
        """Cross-fade the windows' outputs, each (B, size, C, H, W), into the whole video (B, T, C, H, W).

        `align` may change all outputs before: see `renderers.inverse.align_depth`.
        """
        return torch.cat(list(stream(self, align(self, outputs) if align else outputs)), dim=1)


Align = Callable[[WindowPlan, Iterable[Tensor]], Iterator[Tensor]]


def plan_grouped(frames: int, size: int, overlap: int, stride: int) -> WindowPlan:
    """Plan windows of stride k + 1 frames, at most `size` and at least stride + 1 of them, that start at multiples of
    `stride`; what is left of the last one repeats the last frame. One frame is one window of one frame."""
    groups, inside = -(-(frames - 1) // stride), max(1, (size - 1) // stride)
    if groups < 1:
        return plan_windows(frames, 1, 0)
    inner = plan_windows(groups, inside, min(-(-overlap // stride), inside - 1))
    return WindowPlan(
        frames,
        tuple(
            Window(stride * window.start, min(frames, stride * window.stop + 1), stride * window.size + 1)
            for window in inner.windows
        ),
    )


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


def windowed(plan: WindowPlan, predict: Callable[[Tensor, Window], Tensor]) -> Callable[[Tensor], Tensor]:
    """One denoiser of the whole video out of one of windows: a sampler needs to know nothing of windows.

    `predict(noisy (B, size, C, h, w), window) -> (B, size, C', h, w)` slices its own conditions by `window.take`. At
    one noise level the denoised latent is affine in the network's output, with coefficients that all windows share,
    so averaging the outputs (v, noise or sample alike) is averaging the denoised latents.
    """

    def whole(noisy: Tensor) -> Tensor:
        return plan.blend(predict(window.take(noisy), window) for window in plan.windows)

    return whole


@dataclass(frozen=True)
class Tile:
    """A rectangle of the padded picture: pixel rows [top, top + height), columns [left, left + width)."""

    top: int
    left: int
    height: int
    width: int

    def take(self, video: Tensor) -> Tensor:
        """This tile of a padded picture (..., H', W'): (..., height, width)."""
        return video[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tiling:
    """How a picture of `height` x `width` is padded and tiled; `rows` and `columns` cut the padded picture."""

    height: int
    width: int
    rows: WindowPlan
    columns: WindowPlan

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Tiles in reading order; all of one size."""
        return tuple(
            Tile(row.start, column.start, row.size, column.size)
            for row in self.rows.windows
            for column in self.columns.windows
        )

    def pad(self, video: Tensor) -> Tensor:
        """(B, T, C, H, W) continued to (B, T, C, H', W'), mirrored, and mirrored again where that is not enough."""
        if tuple(video.shape[-2:]) != (self.height, self.width):
            given = f"{video.shape[-2]}x{video.shape[-1]}"
            raise InputError(f"the picture is {given}, but this tiling is planned for {self.height}x{self.width}")
        for axis, size, whole in ((-2, self.height, self.rows.frames), (-1, self.width, self.columns.frames)):
            if whole > size:
                index = torch.arange(whole, device=video.device) % max(1, 2 * (size - 1))
                video = video.index_select(axis, torch.minimum(index, 2 * (size - 1) - index))
        return video

    def crop(self, video: Tensor) -> Tensor:
        """(..., H', W') cut back to (..., H, W)."""
        return video[..., : self.height, : self.width]

    def blend(self, outputs: Iterable[Tensor], align: Align | None = None) -> Tensor:
        """Cross-fade tiles (B, T, C, height, width), in reading order, into the padded picture (B, T, C, H', W').

        Holds one row of tiles at a time. `align` is called on the tiles of each row and then on the rows, with what
        is cut moved to dimension 1 (`renderers.inverse.align_depth`).
        """
        waiting = iter(outputs)

        def row() -> Tensor:
            tiles = (tile.transpose(1, 4) for _, tile in zip(self.columns.windows, waiting, strict=False))
            whole = self.columns.blend(tiles, align)  # (B, W', C, height, T)
            return whole.transpose(1, 4).transpose(1, 3)  # -> (B, T, C, height, W') -> (B, height, C, T, W')

        rows = (row() for _ in self.rows.windows)
        whole = self.rows.blend(rows, align)  # (B, H', C, T, W')
        return whole.transpose(1, 3)

    def divided(self, factor: int) -> Tiling:
        """This tiling on a grid `factor` times coarser: that of an autoencoder's latents, padded size and all.

        Latents cover the padded picture, so `pad` and `crop` of the result change nothing.
        """
        rows, columns = (_scaled(plan, lambda value: _exactly(value, factor)) for plan in (self.rows, self.columns))
        return Tiling(rows.frames, columns.frames, rows, columns)


def plan_tiles(height: int, width: int, multiple: int = 1, *, budget: int | None = None, overlap: int = 64) -> Tiling:
    """Plan padding to `multiple` and, where the padded picture has more than `budget` pixels, overlapping tiles.

    Tiles are the fewest that fit the budget, as square as possible, start on multiples and share at least `overlap`
    pixels with their neighbours. Raises InputError for an empty picture or a budget in which no tile fits.
    """
    if height < 1 or width < 1:
        raise InputError(f"a picture of {height}x{width} pixels has nothing to render")
    tall, wide, shared = (-(-size // multiple) for size in (height, width, overlap))  # counted in multiples
    size = (tall, wide)
    if budget is not None and tall * wide * multiple**2 > budget:
        size = _tile_size(tall, wide, shared, budget // multiple**2)
        if size == (0, 0):
            least = (multiple * (shared + 1)) ** 2
            raise InputError(
                f"no tile fits a budget of {budget} pixels", f"give at least {least}, or a smaller overlap"
            )
    rows, columns = (
        _scaled(plan_windows(whole, tile, min(shared, tile - 1)), lambda value: value * multiple)
        for whole, tile in zip((tall, wide), size, strict=True)
    )
    return Tiling(height, width, rows, columns)


def plan_canvas(
    height: int, width: int, multiple: int, trained: tuple[int, int], area: int | None = None, overlap: int = 64
) -> Tiling:
    """Plan padding to the aspect of `trained` (H, W), and tiles of that aspect for what is larger.

    `area` is that of a tile in pixels, by default and at most the trained one.
    A picture that fits into a tile is one, padded to
    its aspect; of a larger one, only sides shorter than a tile's are padded. Raises InputError where no tile fits.
    """
    scale = 1.0 if area is None else min(1.0, math.sqrt(area / (trained[0] * trained[1])))
    rows, columns = (int(side * scale) // multiple for side in trained)  # of a tile, counted in multiples
    if not rows or not columns:
        raise InputError(f"no tile fits a budget of {area} pixels", f"give at least {multiple**2 * 4}")
    tall, wide, shared = (-(-size // multiple) for size in (height, width, overlap))
    if tall <= rows and wide <= columns:
        tall = min(rows, max(tall, math.ceil(wide * rows / columns)))
        rows, columns = tall, min(columns, max(wide, math.ceil(tall * columns / rows)))
    plans = (
        plan_windows(max(whole, tile), tile, min(shared, tile - 1)) for whole, tile in ((tall, rows), (wide, columns))
    )
    down, across = (_scaled(plan, lambda value: value * multiple) for plan in plans)
    return Tiling(height, width, down, across)


def tiled(tiling: Tiling, predict: Callable[[Tensor, Tile], Tensor]) -> Callable[[Tensor], Tensor]:
    """One network of the whole padded picture out of one of tiles: the companion of `windowed` in space.

    `predict(piece (B, T, C, height, width), tile)` slices its own conditions by `tile.take`.
    """

    def whole(video: Tensor) -> Tensor:
        return tiling.blend(predict(tile.take(video), tile) for tile in tiling.tiles)

    return whole


@dataclass(frozen=True)
class Cut:
    """How a video is cut: windows in time, and tiles of its padded picture in pixels and in the network's space.

    Where `stride` frames make one cell of the network's space, the first frame of a window being a cell of its own,
    windows share pictures but no cells: the network's space holds the windows' cells one after the other.
    """

    plan: WindowPlan
    pixels: Tiling
    cells: Tiling
    stride: int = 1

    @property
    def cell_plan(self) -> WindowPlan:
        """The windows in the network's space."""
        if self.stride == 1:
            return self.plan
        sizes = [(window.size - 1) // self.stride + 1 for window in self.plan.windows]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        windows = (Window(start, start + size, size) for start, size in zip(starts, sizes, strict=True))
        return WindowPlan(sum(sizes), tuple(windows))

    @property
    def groups(self) -> WindowPlan:
        """The cells but for each window's first, on the grid of the whole video's cells but for its first."""
        spans = [(one.start // self.stride, (one.size - 1) // self.stride) for one in self.plan.windows]
        return WindowPlan(sum(spans[-1]), tuple(Window(start, start + size, size) for start, size in spans))

    @property
    def places(self) -> tuple[int, ...]:
        """Where each cell of the windows, one after the other, lies on the grid of the whole video's cells."""
        return tuple(cell for window in self.groups.windows for cell in range(window.start, window.stop + 1))

    @classmethod
    def whole(cls, frames: int, height: int, width: int) -> Cut:
        """A video in one piece, pixels and the network's space being the same to it."""
        tiling = plan_tiles(height, width)
        return cls(plan_windows(frames, frames, 0), tiling, tiling)


def _tile_size(tall: int, wide: int, shared: int, area: int) -> tuple[int, int]:
    """Height and width, in multiples, of the tiles of at most `area` that are fewest and squarest; (0, 0) if none."""
    best, chosen = (math.inf, math.inf), (0, 0)
    for height in range(1, tall + 1):
        width = min(wide, area // height)
        if width < 1 or (height <= shared and height < tall) or (width <= shared and width < wide):
            continue
        tile = _evened(tall, height, shared), _evened(wide, width, shared)
        count = _count(tall, tile[0], shared) * _count(wide, tile[1], shared)
        rank = (count, abs(math.log(tile[0] / tile[1])))
        if rank < best:
            best, chosen = rank, tile
    return chosen


def _count(whole: int, tile: int, shared: int) -> int:
    return 1 if tile >= whole else -(-(whole - shared) // (tile - shared))


def _evened(whole: int, tile: int, shared: int) -> int:
    """The smallest tile that needs no more pieces than `tile` does."""
    count = _count(whole, tile, shared)
    return -(-(whole + (count - 1) * shared) // count)


def _scaled(plan: WindowPlan, scale: Callable[[int], int]) -> WindowPlan:
    windows = (Window(scale(window.start), scale(window.stop), scale(window.size)) for window in plan.windows)
    return WindowPlan(scale(plan.frames), tuple(windows))


def _exactly(value: int, factor: int) -> int:
    if value % factor:
        raise InputError(
            f"{value} pixels are no whole number of {factor}", f"plan the tiles with a multiple of {factor}"
        )
    return value // factor
