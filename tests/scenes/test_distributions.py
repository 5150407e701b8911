import numpy as np
import pytest

from scenes.distributions import LogUniform, NearEnds, OneOf, SquaredUniform, draw, draw_many, fault, support

SPREADS = [
    0.7,
    (2.0, 4.0),
    LogUniform(low=0.5, high=2.0),
    SquaredUniform(low=0.0, high=0.8),
    NearEnds(deviation=0.25),
    OneOf(values=(1.0, 5.0)),
]


@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_draws_fill_the_support_and_never_leave_it(spread):
    low, high = support(spread)
    values = draw_many(spread, np.random.default_rng(0), 4000)
    assert values.shape == (4000,)
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    assert np.ptp(values) >= 0.98 * (high - low)


@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_draws_have_six_decimals_and_one_draw_is_the_first_of_many(spread):
    value = draw(spread, np.random.default_rng(3))
    assert value == round(value, 6)
    assert value == draw_many(spread, np.random.default_rng(3), 1)[0]


def test_shapes_of_the_named_distributions():
    rng = np.random.default_rng(1)
    assert np.median(draw_many(LogUniform(low=0.25, high=4.0), rng, 20000)) == pytest.approx(1.0, abs=0.03)
    assert np.median(draw_many(SquaredUniform(low=0.0, high=0.8), rng, 20000)) == pytest.approx(0.16, abs=0.01)
    near = draw_many(NearEnds(deviation=0.25, ones=0.25), rng, 20000)
    assert (near > 0.5).mean() == pytest.approx(0.25 * 0.9545 + 0.75 * 0.0455, abs=0.01)
    assert set(draw_many(OneOf(values=(1.0, 5.0)), rng, 100)) == {1.0, 5.0}


@pytest.mark.parametrize(
    ("spread", "problem"),
    [
        ((2.0, 1.0), "low 2 is above high 1"),
        (LogUniform(low=3.0, high=1.0), "low 3 is above high 1"),
        (float("nan"), "every number must be finite"),
        (SquaredUniform(low=0.0, high=float("inf")), "every number must be finite"),
        ((1.0, 1.0), None),
    ],
)
def test_fault_says_what_is_wrong(spread, problem):
    assert fault(spread) == problem
