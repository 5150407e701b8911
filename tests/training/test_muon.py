"""Muon: what it does to a matrix, which parameters it moves, and that the rest is AdamW to the bit."""

from __future__ import annotations

import torch
from torch import nn

from training.muon import Muon, orthogonal, orthogonalised

torch.set_num_threads(1)


def test_singular_values_become_alike_and_vectors_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((32, 288), (96, 40)):
        matrix = torch.randn(shape, generator=generator) @ torch.diag(torch.logspace(0, -2, shape[1]))
        turned = orthogonalised(matrix)
        values = torch.linalg.svdvals(turned)
        assert values.min() > 0.5 and values.max() < 1.3, shape
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        ideal = left @ right
        assert nn.functional.cosine_similarity(turned.flatten(), ideal.flatten(), dim=0) > 0.97


def test_only_wide_convolutions_are_turned() -> None:
    assert orthogonal(nn.Conv2d(32, 64, 3).weight)
    assert not orthogonal(nn.Conv2d(5, 64, 3).weight)
    assert not orthogonal(nn.Linear(64, 64).weight)


def test_other_parameters_move_as_with_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    muon = Muon([{"params": list(ours.parameters()), "weight_decay": 0.1}], lr=1e-2, betas=(0.9, 0.99))
    adamw = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(4):
        video = torch.randn(5, 4)
        for network, optimizer in ((ours, muon), (theirs, adamw)):
            optimizer.zero_grad()
            network(video).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-7)


def test_a_filter_bank_moves_by_the_rate_in_every_direction() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 32, 3, bias=False)
    before = layer.weight.detach().clone()
    optimizer = Muon([{"params": [layer.weight], "orthogonal": True}], lr=0.02)
    layer(torch.randn(2, 32, 8, 8)).square().mean().backward()
    optimizer.step()
    moved = torch.linalg.svdvals((layer.weight.detach() - before).flatten(1))
    assert moved.min() > 0.5 * 0.02 and moved.max() < 1.3 * 0.02
