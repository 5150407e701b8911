from collections.abc import Callable

import pytest
import torch

from manifests.errors import InputError
from renderers.inverse import blend_depth
from renderers.sampling.windows import Tiling, plan_tiles, tiled

SIZES = [(64, 64), (37, 61), (1, 1), (1, 130), (97, 301), (255, 33), (120, 213)]


def through(tiling: Tiling, network: Callable[[torch.Tensor], torch.Tensor], video: torch.Tensor) -> torch.Tensor:
    return tiling.crop(tiled(tiling, lambda tile, _: network(tile))(tiling.pad(video)))


def picture(height: int, width: int, frames: int = 2) -> torch.Tensor:
    return torch.randn(1, frames, 3, height, width, generator=torch.Generator().manual_seed(height * width))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("budget", [None, 64 * 64])
def test_an_identity_network_gives_back_any_picture_bit_for_bit(size: tuple[int, int], budget: int | None) -> None:
    tiling = plan_tiles(*size, multiple=8, budget=budget, overlap=16)
    video = picture(*size)
    seen = []

    def network(tile: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(tile.shape[-2:]))
        return tile

    assert torch.equal(through(tiling, network, video), video)
    assert len(set(seen)) == 1  # tiles of one size
    assert seen[0][0] % 8 == seen[0][1] % 8 == 0
    assert budget is None or seen[0][0] * seen[0][1] <= budget


def test_pictures_are_never_stretched_only_continued() -> None:
    video = picture(5, 6)
    padded = plan_tiles(5, 6, multiple=8).pad(video)
    assert padded.shape[-2:] == (8, 8)
    assert torch.equal(padded[..., :5, :6], video)
    assert torch.equal(padded[..., 5, :6], video[..., 3, :])  # mirrored, the edge row once
    assert torch.equal(padded[..., :5, 6], video[..., :, 4])
    tiny = picture(1, 1)
    assert torch.equal(plan_tiles(1, 1, multiple=8).pad(tiny), tiny.expand(-1, -1, -1, 8, 8))


def test_a_single_image_is_a_video_of_one_frame() -> None:
    video = picture(33, 47, frames=1)
    tiling = plan_tiles(33, 47, multiple=16, budget=32 * 32, overlap=8)
    assert len(tiling.tiles) > 1
    assert through(tiling, lambda tile: tile[:, :, :1] * 2, video).shape == (1, 1, 1, 33, 47)


def test_tiles_cross_fade_without_a_step() -> None:
    tiling = plan_tiles(8, 200, multiple=8, budget=8 * 64, overlap=32)
    values = iter(range(len(tiling.tiles)))
    row = through(tiling, lambda tile: torch.full_like(tile, float(next(values))), torch.zeros(1, 1, 1, 8, 200))[
        0, 0, 0
    ]
    assert row[0, 0] == 0
    assert row[0, -1] == len(tiling.tiles) - 1
    steepest = row.diff(dim=1).max().item()
    assert steepest < 0.07  # a cut would be a step of 1
    assert row.diff(dim=1).min() >= 0


def test_latents_use_the_same_tiles_eight_times_coarser() -> None:
    tiling = plan_tiles(100, 300, multiple=64, budget=128 * 128, overlap=64)
    latents = tiling.divided(8)
    assert [(8 * tile.top, 8 * tile.left, 8 * tile.height) for tile in latents.tiles] == [
        (tile.top, tile.left, tile.height) for tile in tiling.tiles
    ]
    noise = torch.randn(1, 2, 4, 16, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tiled(latents, lambda piece, tile: (tile.take(noise) + piece) / 2)(noise), noise)


def test_depth_tiles_of_different_scale_become_one_scale() -> None:
    rows, columns = torch.linspace(0, 0.5, 64), torch.linspace(0, 0.47, 96)
    depth = (rows[:, None] + columns[None, :]).expand(1, 2, 1, 64, 96).clone()
    depth[..., :8, :8] = 1.0
    tiling = plan_tiles(64, 96, multiple=8, budget=48 * 48, overlap=16)
    assert len(tiling.rows.windows) > 1
    assert len(tiling.columns.windows) > 1
    generator = torch.Generator().manual_seed(0)
    pieces = []
    for tile in tiling.tiles:
        piece = tile.take(depth)
        scale, shift = 0.5 + 0.4 * torch.rand(1, generator=generator), 0.05 * torch.rand(1, generator=generator)
        pieces.append(torch.where(piece == 1.0, piece, piece * scale + shift))
    result = blend_depth(tiling, pieces)
    surface = depth < 1.0
    middle = surface & (result > 0) & (result < 1)  # beyond the quantiles depth is cut
    slope = (result[middle].max() - result[middle].min()) / (depth[middle].max() - depth[middle].min())
    offset = result[middle].mean() - slope * depth[middle].mean()
    torch.testing.assert_close(result[middle], slope * depth[middle] + offset, atol=2e-3, rtol=0)
    assert (result[~surface] == 1.0).all()


def test_impossible_tilinges_are_refused() -> None:
    with pytest.raises(InputError, match="0x5 pixels"):
        plan_tiles(0, 5)
    with pytest.raises(InputError, match="budget of 100 pixels; give at least 16384"):
        plan_tiles(500, 500, multiple=64, budget=100, overlap=64)
    with pytest.raises(InputError, match="the picture is 8x9, but this tiling is planned for 9x8"):
        plan_tiles(9, 8).pad(picture(8, 9))
    with pytest.raises(InputError, match="multiple of 8"):
        plan_tiles(10, 10, multiple=2).divided(8)
