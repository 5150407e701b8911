"""Canvas: pictures of any size through networks that want multiples of something and have only so much memory.

Nothing is ever resized. A picture is continued to the right and to the bottom up to the network's multiple, mirrored
at the edge (so pixel coordinates and intrinsics stay true), and cut back to its exact size. Above a budget of pixels
it is cut into overlapping tiles that cross-fade, by the same arithmetic as windows in time: an identity network gives
back its input bit for bit, tiled or not. A single image is a video of one frame.

    canvas = plan_canvas(height, width, multiple=64, budget=1024 * 1024)
    result = canvas.through(network, video)                       # (B, T, C, H, W) -> (B, T, C', H, W)

Inside a sampler the same tiles serve per step: plan once, `divided(8)` for latents, and hand `tiled` to the sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from manifests.errors import InputError
from renderers.sampling.windows import Window, WindowPlan, blend, plan_windows

Align = Callable[[WindowPlan, Iterable[Tensor]], Iterator[Tensor]]


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

    def intrinsics(self, intrinsics: Tensor) -> Tensor:
        """Pixel intrinsics (..., 3, 3) of the whole picture as those of this tile: the principal point moves."""
        moved = intrinsics.clone()
        moved[..., 0, 2] -= self.left
        moved[..., 1, 2] -= self.top
        return moved


@dataclass(frozen=True)
class Canvas:
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
        """(B, T, C, H, W) continued to (B, T, C, H', W'): mirrored, or repeated where the picture is too small."""
        if tuple(video.shape[-2:]) != (self.height, self.width):
            size = f"{video.shape[-2]}x{video.shape[-1]}"
            raise InputError(f"the picture is {size}, but this canvas is planned for {self.height}x{self.width}")
        below, right = self.rows.frames - self.height, self.columns.frames - self.width
        if not below and not right:
            return video
        mode = "reflect" if below < self.height and right < self.width else "replicate"
        frames = functional.pad(video.flatten(0, 1), (0, right, 0, below), mode=mode)  # (B * T, C, H', W')
        return frames.unflatten(0, video.shape[:2])

    def crop(self, video: Tensor) -> Tensor:
        """(..., H', W') cut back to (..., H, W)."""
        return video[..., : self.height, : self.width]

    def blend(self, outputs: Iterable[Tensor], align: Align | None = None) -> Tensor:
        """Cross-fade tiles (B, T, C, height, width), in reading order, into the padded picture (B, T, C, H', W').

        Holds one row of tiles at a time. `align` is called on the tiles of each row and then on the rows, with what
        is cut moved to dimension 1: see `depth_alignment.align`.
        """
        waiting = iter(outputs)

        def row() -> Tensor:
            tiles = (tile.transpose(1, 4) for _, tile in zip(self.columns.windows, waiting, strict=False))
            whole = blend(self.columns, align(self.columns, tiles) if align else tiles)  # (B, W', C, height, T)
            return whole.transpose(1, 4).transpose(1, 3)  # -> (B, T, C, height, W') -> (B, height, C, T, W')

        rows = (row() for _ in self.rows.windows)
        whole = blend(self.rows, align(self.rows, rows) if align else rows)  # (B, H', C, T, W')
        return whole.transpose(1, 3)

    def through(self, network: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
        """Run `network`, which keeps height and width, on (B, T, C, H, W) tile by tile: (B, T, C', H, W)."""
        return self.crop(tiled(self, lambda tile, _: network(tile))(self.pad(video)))

    def divided(self, factor: int) -> Canvas:
        """This canvas on a grid `factor` times coarser: that of an autoencoder's latents, padded size and all.

        Latents cover the padded picture, so `pad` and `crop` of the result change nothing.
        """
        rows, columns = (_scaled(plan, lambda value: _exactly(value, factor)) for plan in (self.rows, self.columns))
        return Canvas(rows.frames, columns.frames, rows, columns)


def plan_canvas(height: int, width: int, multiple: int = 1, *, budget: int | None = None, overlap: int = 64) -> Canvas:
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
    return Canvas(height, width, rows, columns)


def tiled(canvas: Canvas, predict: Callable[[Tensor, Tile], Tensor]) -> Callable[[Tensor], Tensor]:
    """One network of the whole padded picture out of one of tiles: the companion of `windows.windowed` in space.

    `predict(piece (B, T, C, height, width), tile)` slices its own conditions by `tile.take`.
    """

    def whole(video: Tensor) -> Tensor:
        return canvas.blend(predict(tile.take(video), tile) for tile in canvas.tiles)

    return whole


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
            f"{value} pixels are no whole number of {factor}", f"plan the canvas with a multiple of {factor}"
        )
    return value // factor
