"""The network of selections, what it is told, and the samples that it learns from."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.selection_training import SIDE, WANTED, Frames, batch, corrected, loss_of
from benchmarks.selections import inmost
from renderers.photo.click_selection import ClickSelection, clicks_drawn

torch.set_num_threads(1)


def scenes() -> Frames:
    """Two frames with a ground (1), a square (2) and a bar (3)."""
    instance = np.ones((2, SIDE, SIDE), dtype=np.uint16)
    instance[:, 20:60, 30:70], instance[:, 80:100, 10:120] = 2, 3
    colours = np.array([[0, 0, 0], [90, 120, 90], [200, 40, 40], [40, 60, 220]], dtype=np.uint8)
    return Frames(colours[instance], instance)


def test_clicks_are_discs_where_they_are() -> None:
    guide = clicks_drawn((20, 30), [(5, 6), (25, 15)])
    assert guide.shape == (20, 30)
    assert guide[6, 5] == guide[15, 25] == 1
    assert 20 < guide.sum() < 80
    assert guide[6, 15] == 0


def test_the_network_answers_at_the_pictures_size_and_other_clicks_of_one_picture_share_its_features() -> None:
    torch.manual_seed(0)
    network = ClickSelection(widths=(16, 16, 16, 8, 8)).eval()
    pictures, guides = torch.rand(1, 3, 64, 96) * 2 - 1, torch.zeros(2, 3, 64, 96)
    guides[0, 0, 10, 10], guides[1, 0, 50, 80] = 1, 1
    with torch.no_grad():
        logits = network(pictures.expand(2, -1, -1, -1), guides)
        levels = [level.expand(2, -1, -1, -1) for level in network.encoder(pictures)]
        torch.testing.assert_close(network.decode(levels, guides), logits)
    assert logits.shape == (2, 1, 64, 96)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_samples_come_from_their_seed_and_every_click_lies_on_what_is_wanted() -> None:
    pictures, guides, wanted = batch(scenes(), 3, 7)
    again = batch(scenes(), 3, 7)
    assert pictures.shape == (3, 3, SIDE, SIDE)
    assert guides.shape == (3 * WANTED, 3, SIDE, SIDE)
    assert wanted.shape == (3 * WANTED, 1, SIDE, SIDE)
    assert all(torch.equal(one, other) for one, other in zip((pictures, guides, wanted), again, strict=True))
    assert not torch.equal(guides, batch(scenes(), 3, 8)[1])
    clicked = (guides[:, :1].sum((1, 2, 3)) > 0).nonzero()[:, 0]
    assert len(clicked) > WANTED
    assert ((guides[:, :1] * wanted).sum((1, 2, 3)) > 0)[clicked].all()


def test_a_correction_clicks_where_an_answer_is_most_wrong() -> None:
    wanted = torch.zeros(1, 1, 64, 64)
    wanted[..., 10:30, 10:30] = 1
    answer = torch.full((1, 1, 64, 64), -9.0)
    answer[..., 10:30, 10:30], answer[..., 40:60, 40:60] = 9, 9  # right, and a square too many
    told = corrected(answer, torch.zeros(1, 3, 64, 64), wanted)
    assert told[0, 0].sum() == 0
    assert told[0, 1, 50, 50] == 1
    assert told[0, 2, 20, 20] > 0.99
    assert loss_of(answer, wanted) > loss_of(18 * wanted - 9, wanted)


def test_the_inmost_pixel_of_a_mask() -> None:
    mask = np.zeros((30, 40), dtype=bool)
    mask[5:14, 20:31] = True
    (x, y), distance = inmost(mask)
    assert 23 <= x <= 27
    assert y == 9
    assert distance >= 4
