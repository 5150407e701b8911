"""What the memory planner says follows from shapes, agrees with what others measured, and never promises too much."""

import pytest

from renderers.cosmos.memory_planner import CARDS, RESERVED, advice, needs


def test_a_card_of_24_gb_holds_57_frames_and_one_of_16_needs_blocks_by_turns() -> None:
    fits = {size: [line.partition(": ")[2] for line in advice(size)] for size in CARDS}
    assert all("all on the GPU" in line for line in fits[24] + fits[48] + fits[80])
    assert [("group_offload" in line) for line in fits[16]] == [False, True, False, True]
    assert all("does not fit" in line for line in advice(2)[1::2])


@pytest.mark.parametrize("kind", ["inverse", "forward"])
def test_needs_grow_with_frames_and_shrink_with_every_way_of_saving(kind) -> None:
    long, short = needs(kind, 57, 704, 1280), needs(kind, 9, 704, 1280)
    sizes = [need.gigabytes for need in long]
    assert sizes == sorted(sizes, reverse=True)
    assert all(a.gigabytes > b.gigabytes for a, b in zip(long, short, strict=True))
    folded = {"inverse": 12.0, "forward": 11.9}[kind]  # GB in bfloat16
    assert long[1].gigabytes == pytest.approx(folded + 0.2 + 3.5, abs=0.3)  # 3.6 GB beside the weights were measured
    assert RESERVED > 0
