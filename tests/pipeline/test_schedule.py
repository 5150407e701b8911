from __future__ import annotations

from pipeline.backlog import Schedule


def test_items_come_in_order_and_unbegun_ones_go_back_to_their_place() -> None:
    schedule = Schedule([7, 3, 5, 9], attempts=3)
    assert [schedule.next(), schedule.next(), schedule.next()] == [3, 5, 7]
    schedule.put_back([7, 5])
    assert [schedule.next(), schedule.next(), schedule.next(), schedule.next()] == [5, 7, 9, None]


def test_items_lost_together_are_never_given_up_but_run_alone() -> None:
    schedule = Schedule([0, 1], attempts=1)
    schedule.next(), schedule.next()
    assert schedule.lost({0, 1}) == []
    assert schedule.has_suspects and len(schedule) == 2
    assert [schedule.next_suspect(), schedule.next_suspect()] == [0, 1]
    assert schedule.lost({1}) == [1]
    assert len(schedule) == 0


def test_an_item_lost_alone_is_given_up_when_its_attempts_are_used_up() -> None:
    schedule = Schedule([4], attempts=3)
    schedule.next()
    assert [schedule.attempt(4), schedule.lost([4])] == [1, []]
    assert [schedule.attempt(4), schedule.lost([schedule.next_suspect()])] == [2, []]
    assert [schedule.attempt(4), schedule.lost([schedule.next_suspect()])] == [3, [4]]


def test_a_last_try_gives_up_at_once_but_only_when_the_item_was_alone() -> None:
    schedule = Schedule([4, 5], attempts=3)
    assert schedule.lost({4, 5}, last_try=True) == []
    assert schedule.lost([4], last_try=True) == [4]
