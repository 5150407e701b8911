import numpy as np
import pytest

from scenes.placement import ThingsToPlace, place, smallest_distance


def rngs(seed=0):
    return np.random.default_rng((seed, 1)), np.random.default_rng((seed, 2))


def things(radii, slides, area=2.0):
    return ThingsToPlace(np.asarray(radii, float), np.full(len(radii), area), np.asarray(slides, float))


@pytest.mark.parametrize(
    ("start", "step", "distance"),
    [
        ((3.0, 4.0), (0.0, 0.0), 5.0),
        ((-1.0, 2.0), (2.0, 0.0), 2.0),
        ((1.0, 1.0), (5.0, 5.0), np.sqrt(2)),
        ((-3.0, 0.5), (1.0, 0.0), np.hypot(2, 0.5)),
        ((-1.0, 0.0), (2.0, 0.0), 0.0),
    ],
)
def test_smallest_distance_to_a_segment(start, step, distance):
    assert smallest_distance(np.array(start), np.array(step)) == pytest.approx(distance)


def test_things_stay_apart_and_inside_their_area_at_every_time():
    worst, radii, slides = np.inf, [0.5, 0.4, 0.3, 0.2, 0.2], [1.0, 0.0, 0.7, 0.0, 1.5]
    for seed in range(200):
        placed = place(things(radii, slides), 0.05, *rngs(seed))
        if placed is None:
            continue
        starts, offsets = placed
        assert np.allclose(np.linalg.norm(offsets, axis=1), slides, atol=1e-5)
        for time in np.linspace(0, 1, 101):
            at = starts + time * offsets
            assert (np.abs(at) <= 2.0 + 1e-9).all()
            apart = np.linalg.norm(at[:, None] - at[None], axis=-1) - np.add.outer(radii, radii)
            worst = min(worst, apart[~np.eye(5, dtype=bool)].min())
    assert 0.05 <= worst < 0.07


def test_what_cannot_fit_is_none():
    assert place(things([1.0, 1.0, 1.0], [0, 0, 0], area=0.5), 0.0, *rngs()) is None
    assert place(things([0.1], [5.0], area=1.0), 0.0, *rngs()) is None


def test_places_are_spread_over_the_whole_area():
    first = np.array([place(things([0.2], [0.0]), 0.0, *rngs(seed))[0][0] for seed in range(400)])
    assert np.abs(first.mean(axis=0)).max() < 0.2
    assert first.min() < -1.9
    assert first.max() > 1.9
