"""Pictures as a camera would have taken them: which clips, from which draws, within which range."""

from __future__ import annotations

import torch

from renderers.photo.photo_inverse import PhotoInverse
from training.config import load_config
from training.data.photographic import in_other_shadows, photographed, under_other_skies
from training.objectives.objective import parameter_groups


def clips(count: int) -> torch.Tensor:
    return torch.rand(count, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_equal_seeds_change_equally_and_the_share_is_kept() -> None:
    rgb, seeds = clips(64), torch.arange(64)
    shown = photographed(rgb, seeds, 0.5)
    torch.testing.assert_close(shown, photographed(rgb, seeds, 0.5), atol=0, rtol=0)
    changed = (shown != rgb).flatten(1).any(dim=1)
    assert 20 <= int(changed.sum()) <= 44
    assert shown.min() >= -1 and shown.max() <= 1
    assert torch.equal(photographed(rgb, seeds, 0.0), rgb)
    one = photographed(rgb[5:6], seeds[5:6], 0.5)
    assert torch.equal(one[0], shown[5])


def test_all_frames_of_a_clip_change_alike_but_for_noise() -> None:
    still = clips(32)[:, :1].expand(-1, 2, -1, -1, -1)
    shown = photographed(still, torch.arange(32), 1.0)
    assert ((shown[:, 0] - shown[:, 1]).abs().mean(dim=(1, 2, 3)) < 0.1).all()
    assert (shown - still).abs().mean() > 0.05


def test_another_sky_stands_behind_surfaces_and_touches_none() -> None:
    rgb, seeds = clips(64), torch.arange(64)
    mask = torch.ones_like(rgb[:, :, :1])
    mask[..., :8, :] = 0  # the upper half is sky
    shown = under_other_skies(rgb, mask, seeds, 0.5)
    assert torch.equal(shown[..., 8:, :], rgb[..., 8:, :])
    changed = (shown != rgb).flatten(1).any(dim=1)
    assert 20 <= int(changed.sum()) <= 44 and shown.min() >= -1 and shown.max() <= 1
    skies = shown[changed][..., :8, :]
    assert torch.equal(skies[:, 0], skies[:, 1]), "a sky stands still"
    assert float(skies.std(dim=0).mean()) > 0.2, "skies differ"
    assert torch.equal(under_other_skies(rgb[5:6], mask[5:6], seeds[5:6], 0.5)[0], shown[5])


def test_shadows_darken_what_faces_the_light_and_nothing_else() -> None:
    rgb, seeds = clips(64), torch.arange(64)
    rows, columns = torch.meshgrid(torch.linspace(1, -1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    wall = torch.stack([columns, rows, torch.full_like(rows, -3.0)]).expand_as(
        rgb
    )  # it faces the viewer, all at z = -3
    facing = torch.zeros_like(rgb)
    facing[:, :, 2] = 1
    mask = torch.ones_like(rgb[:, :, :1])
    mask[..., :4, :] = 0  # sky
    shown = in_other_shadows(rgb, wall, facing, mask, seeds, 0.5)
    torch.testing.assert_close(shown[..., :4, :], rgb[..., :4, :])
    changed = ((shown - rgb).abs() > 1e-4).flatten(1).any(dim=1)
    assert 10 <= int(changed.sum()) <= 44
    assert (shown[:, :, :2] <= rgb[:, :, :2] + 1e-5).all(), "shadows take light away, of blue the least"
    left = ((shown + 1) / (rgb + 1).clamp_min(1e-3))[changed][..., 4:, :]
    assert float(left.flatten(1).std(dim=1).median()) > 0.03, "a shadow has an end"
    turned = in_other_shadows(rgb, wall, -facing, mask, seeds, 0.5)
    assert not (changed & ((turned - rgb).abs() > 1e-4).flatten(1).any(dim=1)).any(), (
        "one light is on one side of a wall"
    )
    assert torch.equal(in_other_shadows(rgb[5:6], wall[5:6], facing[5:6], mask[5:6], seeds[5:6], 0.5)[0], shown[5])


def test_what_was_trained_already_moves_more_slowly() -> None:
    config = load_config("photo", "inverse")
    network = PhotoInverse(widths=(32, 32, 16, 16, 16, 16), embedding=16)
    groups = parameter_groups(network, config)
    encoder = {id(parameter) for parameter in network.get_submodule("encoder").parameters()}
    assert {id(parameter) for parameter in groups[0]["params"]} == encoder
    assert groups[0]["scale"] == config.optimise.slow_rate < 1
    rest = sum(len(group["params"]) for group in groups[1:])
    assert rest + len(encoder) == len(list(network.parameters()))
