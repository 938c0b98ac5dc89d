"""The mean of the worst: against its definition, and against the closed form of a normal law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.statistics import tail_interval, tail_mean


def test_the_tail_is_the_mean_of_the_largest() -> None:
    values = np.arange(100.0)
    assert tail_mean(values) == pytest.approx(np.mean([95, 96, 97, 98, 99]))
    # A share of 2.5 of 50 values: the two largest, and half of the third.
    assert tail_mean(np.arange(50.0)) == pytest.approx((49 + 48 + 0.5 * 47) / 2.5)
    assert tail_mean(values, level=0.0) == pytest.approx(values.mean())
    np.testing.assert_allclose(tail_mean(np.stack([values, 2 * values])), [97.0, 194.0])


def test_it_is_the_conditional_value_at_risk_of_a_normal_law() -> None:
    """phi(z) / (1 - level), z being the quantile; the interval holds it about as often as it says."""
    exact = stats.norm.pdf(stats.norm.ppf(0.95)) / 0.05
    rng = np.random.default_rng(4)
    assert tail_mean(rng.normal(size=400_000)) == pytest.approx(exact, abs=0.02)
    hits = 0
    for k in range(40):
        interval = tail_interval(rng.normal(size=1000), resamples=200, seed=k)
        assert interval.low < interval.mean < interval.high
        hits += interval.low <= exact <= interval.high
    assert hits >= 31


def test_equal_values_have_no_width() -> None:
    interval = tail_interval(np.full(30, 2.5))
    assert (interval.low, interval.mean, interval.high) == (2.5, 2.5, 2.5)
