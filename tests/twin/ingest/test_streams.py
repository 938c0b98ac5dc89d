"""From dated rows to laws: buckets of time, the choice of a law by its moments, lead times."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from twin.distributions import Distribution
from twin.ingest.streams import bucket, demand_law

LAW = TypeAdapter(Distribution)


@given(day=st.dates(date(1990, 1, 1), date(2100, 1, 1)), period=st.sampled_from(["day", "week", "month"]))
def test_buckets_are_consecutive_calendar_periods(day, period):
    """The next day is in the same bucket or in the next one, which begins on a Monday or on the first of a month."""
    step = bucket(day + timedelta(days=1), period) - bucket(day, period)
    following = day + timedelta(days=1)
    begins = {"day": True, "week": following.weekday() == 0, "month": following.day == 1}[period]
    assert step == (1 if begins else 0)


@pytest.mark.parametrize(
    ("series", "law"),
    [
        ([4, 5, 6, 5, 4], "poisson"),
        ([0, 9, 1, 14, 3], "negative_binomial"),
        ([1.5, 2.5, 4.0], "gamma"),
        ([0.0, 2.5, 4.5, 0.0], "intermittent"),
        ([0.0, 2.5, 2.5, 0.0], "intermittent"),
        ([3, 3, 3], "fixed"),
        ([0, 0], "fixed"),
        ([7], "fixed"),
    ],
)
def test_moments_choose_the_law(series, law):
    """Whole numbers by dispersion, others by whether there are empty periods; what never changes is fixed."""
    data, evidence = demand_law(series, "distribution")
    assert LAW.validate_python(data).distribution == evidence["law"] == law


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=60))
def test_the_mean_of_the_series_is_kept(series):
    """Whatever the law, its mean is the series' and, with two parameters, its deviation too."""
    data, evidence = demand_law(series, "distribution")
    law = LAW.validate_python(data)
    assert law.mean_value == pytest.approx(np.mean(series), rel=1e-3)
    if evidence["law"] == "negative_binomial":
        assert np.sqrt(law.variance) == pytest.approx(np.std(series, ddof=1), rel=2e-3)
