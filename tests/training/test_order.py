from __future__ import annotations

import numpy as np

from training.data.loader import Order, epoch_order, positions


def test_an_epoch_holds_every_clip_once_and_epochs_and_seeds_differ() -> None:
    shards = np.repeat(np.arange(5), 8)
    orders = [epoch_order(shards, seed, epoch, mixed) for seed in (0, 1) for epoch in (0, 1) for mixed in (0, 2)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(40))
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)
    np.testing.assert_array_equal(orders[0], epoch_order(shards, 0, 0, 0))


def test_mixing_shards_keeps_few_in_use_at_once_and_shuffles_within_them() -> None:
    shards = np.repeat(np.arange(6), 10)
    visited = shards[epoch_order(shards, 3, 1, 2)]
    groups = visited.reshape(3, 20)
    assert [len(set(group.tolist())) for group in groups] == [2, 2, 2]
    assert all((np.diff(group) != 0).sum() > 4 for group in groups), "clips of a group should mix"


def test_positions_go_on_from_epoch_to_epoch() -> None:
    order = Order([0, 0, 1, 1, 2], seed=7)
    visits = [order.at(position) for position in range(15)]
    assert [epoch for epoch, _ in visits] == [0] * 5 + [1] * 5 + [2] * 5
    for epoch in range(3):
        assert sorted(clip for when, clip in visits if when == epoch) == [0, 1, 2, 3, 4]
    assert order.at(11) == visits[11]


def test_workers_share_a_global_batch_without_overlap() -> None:
    shares = [positions(100, 3, rank, 4) for rank in range(4)]
    assert [place for share in shares for place in share] == list(range(100, 112))
