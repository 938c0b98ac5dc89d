"""Every distribution: quantile and cdf are inverse, moments are those of scipy, scaling and validation hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from twin.distributions import (
    Distribution,
    Empirical,
    Fixed,
    Gamma,
    Geometric,
    Intermittent,
    Lognormal,
    NegativeBinomial,
    Normal,
    Poisson,
    Uniform,
    UniformInteger,
)
from twin.periods import period_table

PROFILE = settings(deadline=None, derandomize=True, max_examples=60)
MEAN, RATIO = st.floats(0.05, 300.0), st.floats(0.1, 3.0)
WHOLE = st.one_of(
    st.builds(Poisson, mean=MEAN),
    st.builds(Geometric, mean=MEAN),
    st.builds(lambda m, r: NegativeBinomial(mean=m, sd=(m * (1 + r)) ** 0.5), MEAN, RATIO),
    st.builds(lambda low, width: UniformInteger(low=low, high=low + width), st.integers(0, 50), st.integers(0, 50)),
)
SMOOTH = st.one_of(
    st.builds(lambda m, r: Gamma(mean=m, sd=m * r), MEAN, RATIO),
    st.builds(lambda m, r: Lognormal(mean=m, sd=m * r), MEAN, RATIO),
    st.builds(lambda low, width: Uniform(low=low, high=low + width), st.floats(0, 50), st.floats(0.1, 50)),
)
STEPPED = st.one_of(
    st.builds(lambda m, r: Normal(mean=m, sd=m * r), MEAN, RATIO),
    st.builds(Fixed, value=MEAN),
    st.builds(
        lambda steps, weights: Empirical(
            values=tuple(np.cumsum(steps[: len(weights)])),
            probabilities=tuple(np.array(weights[: len(steps)]) / sum(weights[: len(steps)])),
        ),
        st.lists(st.floats(0.1, 5), min_size=6, max_size=6),
        st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
    ),
    st.builds(lambda p, m: Intermittent(probability=p, size=Gamma(mean=m, sd=m)), st.floats(0.05, 1.0), MEAN),
)
ALL = st.one_of(WHOLE, SMOOTH, STEPPED)
U = st.floats(1e-9, 1 - 1e-9)

SCIPY = [
    (Poisson(mean=6.5), stats.poisson(6.5)),
    (Geometric(mean=4.0), stats.geom(1 / 5.0, loc=-1)),
    (NegativeBinomial(mean=6.0, sd=4.0), stats.nbinom(36 / 10, 0.375)),
    (UniformInteger(low=2, high=9), stats.randint(2, 10)),
    (Gamma(mean=4.0, sd=3.0), stats.gamma(16 / 9, scale=9 / 4)),
    (Lognormal(mean=4.0, sd=3.0), stats.lognorm(np.log(25 / 16) ** 0.5, scale=16 / 5)),
    (Uniform(low=1.0, high=4.5), stats.uniform(1.0, 3.5)),
]
NAMES = [law.distribution for law, _ in SCIPY]


@PROFILE
@given(law=ALL, u=U)
def test_quantile_is_the_smallest_value_with_enough_probability(law, u):
    """It holds that cdf(quantile(u)) >= u, and just below quantile(u) the cdf is less: the definition of F^-1."""
    x = float(law.quantile(u))
    assert x >= 0.0
    assert float(law.cdf(x * (1 + 1e-9) + 1e-12)) >= u - 1e-9
    if x > 0.0:
        assert float(law.cdf(x * (1 - 1e-9) - 1e-12)) <= u + 1e-9


@PROFILE
@given(law=SMOOTH, u=st.floats(1e-6, 1 - 1e-6))
def test_quantile_inverts_cdf_where_there_are_no_steps(law, u):
    """For continuous distributions cdf(quantile(u)) = u."""
    assert float(law.cdf(law.quantile(u))) == pytest.approx(u, abs=1e-8)


@PROFILE
@given(law=ALL, u=st.lists(U, min_size=2, max_size=8))
def test_quantile_never_falls(law, u):
    """A larger uniform number never gives a smaller draw, and arrays give what single numbers give."""
    values = law.quantile(np.sort(u))
    assert (np.diff(values) >= 0.0).all()
    np.testing.assert_allclose(values, [float(law.quantile(v)) for v in np.sort(u)], rtol=1e-12)


@PROFILE
@given(law=ALL)
def test_cdf_is_a_distribution_function(law):
    """0 below 0, never falling, 1 far out."""
    x = np.concatenate([[-1.0, -1e-9], np.linspace(0, law.mean_value + 8 * np.sqrt(law.variance), 50)])
    values = law.cdf(x)
    assert values[0] == values[1] == 0.0
    assert (np.diff(values) >= -1e-12).all()
    assert float(law.cdf(law.mean_value + 60 * np.sqrt(law.variance) + 1.0)) > 0.995


@PROFILE
@given(law=ALL)
def test_moments_are_those_of_the_quantile_function(law):
    """Mean and variance equal the integrals of the quantile function over (0, 1)."""
    edges = np.concatenate([np.geomspace(1e-12, 1e-3, 60), np.linspace(1e-3, 1 - 1e-3, 40001)[1:-1]])
    edges = np.concatenate([edges, 1 - np.geomspace(1e-12, 1e-3, 400)[::-1]])
    x, width = law.quantile(0.5 * (edges[1:] + edges[:-1])), np.diff(edges)
    mean = float(x @ width)
    assert mean == pytest.approx(law.mean_value, rel=5e-3, abs=5e-3)
    assert float((x - mean) ** 2 @ width) == pytest.approx(law.variance, rel=0.03, abs=0.03)


@pytest.mark.parametrize(("law", "other"), SCIPY, ids=NAMES)
def test_laws_are_those_of_scipy(law, other):
    """Mean, variance and distribution function equal those of scipy.stats."""
    assert law.mean_value == pytest.approx(other.mean())
    assert law.variance == pytest.approx(other.var())
    x = np.linspace(0.0, 20.0, 41)
    np.testing.assert_allclose(law.cdf(x), other.cdf(x), rtol=1e-10, atol=1e-13)
    u = np.linspace(0.013, 0.987, 40)
    np.testing.assert_allclose(law.quantile(u), other.ppf(u), rtol=1e-8)


@pytest.mark.parametrize(("law", "other"), SCIPY[:4], ids=NAMES[:4])
def test_probabilities_of_whole_numbers_are_those_of_scipy(law, other):
    """The pmf equals scipy's on the support, is 0 outside it, and the table sums it up."""
    k = np.arange(-3, 40)
    np.testing.assert_allclose(law.pmf(k), other.pmf(k), atol=1e-13)
    np.testing.assert_allclose(law.table, other.cdf(law.first_value + np.arange(len(law.table))), atol=2e-12)
    assert law.table[-1] == 1.0


def test_clipped_normal_against_the_integral():
    """Normal is max(0, N): its moments are those of the rectified normal, its mass at 0 is Phi(-mean/sd)."""
    law = Normal(mean=1.0, sd=2.0)
    mean = stats.norm(1, 2).expect(lambda x: x, lb=0)
    second = stats.norm(1, 2).expect(lambda x: x**2, lb=0)
    assert law.mean_value == pytest.approx(mean)
    assert law.variance == pytest.approx(second - mean**2)
    assert float(law.cdf(0.0)) == pytest.approx(stats.norm.cdf(-0.5))
    assert float(law.quantile(0.3)) == 0.0


def test_intermittent_and_empirical_moments_by_hand():
    """Intermittent: p m and p (s2 + m2) - (p m)2; empirical: the weighted sums."""
    law = Intermittent(probability=0.25, size=Gamma(mean=8.0, sd=2.0))
    assert law.mean_value == pytest.approx(2.0)
    assert law.variance == pytest.approx(0.25 * 68.0 - 4.0)
    assert float(law.cdf(0.0)) == pytest.approx(0.75)
    law = Empirical(values=(0, 2, 5), probabilities=(0.5, 0.3, 0.2))
    assert law.mean_value == pytest.approx(1.6)
    assert law.variance == pytest.approx(0.3 * 4 + 0.2 * 25 - 1.6**2)
    assert [float(law.quantile(u)) for u in (0.5, 0.51, 0.8, 0.81)] == [0, 2, 2, 5]


@PROFILE
@given(law=ALL, factor=st.floats(0.2, 5.0))
def test_scaling_multiplies_the_mean(law, factor):
    """A law scaled by f has f times the mean; continuous draws scale one by one; scaling back returns."""
    scaled = law.scaled(factor)
    if not isinstance(law, Normal) or law.mean > 6 * law.sd:
        assert scaled.mean_value == pytest.approx(factor * law.mean_value, rel=1e-9)
    if not law.whole:
        u = np.linspace(0.01, 0.99, 23)
        np.testing.assert_allclose(scaled.quantile(u), factor * law.quantile(u), rtol=1e-9, atol=1e-12)
    assert scaled.scaled(1 / factor).mean_value == pytest.approx(law.mean_value, rel=1e-9)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"distribution": "poisson", "mean": 0}, "greater than 0"),
        ({"distribution": "poisson", "mean": float("nan")}, "finite"),
        ({"distribution": "poisson", "mean": float("inf")}, "finite"),
        ({"distribution": "poisson"}, "Field required"),
        ({"distribution": "poisson", "mean": 2, "sd": 1}, "unknown key 'sd'"),
        ({"distribution": "poison", "mean": 2}, "poisson"),
        ({"distribution": "negative_binomial", "mean": 4, "sd": 2}, r"sd must exceed sqrt\(mean\) = 2"),
        ({"distribution": "uniform_integer", "low": 4, "high": 3}, "at least low = 4"),
        ({"distribution": "uniform_integer", "low": 0.5, "high": 3}, "integer"),
        ({"distribution": "uniform", "low": 4, "high": 4}, "exceed low = 4"),
        ({"distribution": "empirical", "values": [1, 2], "probabilities": [1]}, "2 values but 1 probabilities"),
        ({"distribution": "empirical", "values": [2, 1], "probabilities": [0.5, 0.5]}, "increase strictly"),
        ({"distribution": "empirical", "values": [1, 2], "probabilities": [0.5, 0.6]}, "sum to 1, not 1.1"),
        ({"distribution": "empirical", "values": [-1, 2], "probabilities": [0.5, 0.5]}, "greater than or equal to 0"),
        ({"distribution": "empirical", "values": [], "probabilities": []}, "at least 1"),
        ({"distribution": "normal", "mean": 4, "sd": 0}, "greater than 0"),
        ({"distribution": "fixed", "value": -1}, "greater than or equal to 0"),
        ({"distribution": "intermittent", "probability": 0, "size": {"distribution": "fixed", "value": 2}}, "greater"),
        ({"distribution": "intermittent", "probability": 0.5, "size": {"distribution": "poisson", "mean": 2}}, "gamma"),
        (-3, "greater than or equal to 0"),
        (True, "dict"),
        ("3", "dict"),
    ],
)
def test_wrong_parameters_are_refused(data, message):
    """Each wrong parameter is refused with what is allowed."""
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Distribution).validate_python(data)


def test_a_bare_number_is_fixed():
    """A number in a file means a fixed value."""
    assert TypeAdapter(Distribution).validate_python(3) == Fixed(value=3)
    assert TypeAdapter(Distribution).validate_python(0.5) == Fixed(value=0.5)


@PROFILE
@given(law=ALL, per_period=st.sampled_from([1.0, 7.0, 30.4375, 0.25]))
def test_period_table_is_the_rounded_duration(law, per_period):
    """Entry k is the probability that duration / period rounds to at most k, up to the tail moved to the last entry."""
    if law.mean_value / per_period > 60:
        per_period *= 100
    table = period_table(law, per_period)
    assert table[-1] == 1.0
    assert (np.diff(table) >= 0.0).all()
    assert (table[:-1] < 1.0 - 1e-4 + 1e-12).all()
    k = np.arange(len(table) - 1)
    exact = law.cdf(np.nextafter((k + 0.5) * per_period, 0.0))
    np.testing.assert_allclose(table[:-1], exact, atol=1e-12)
    u = (np.arange(4000) + 0.5) / 4000
    rounded = np.floor(law.quantile(u) / per_period + 0.5)
    mass = np.diff(table, prepend=0.0)
    mean = float(mass @ np.arange(len(table)))
    assert mean == pytest.approx(np.minimum(rounded, len(table) - 1).mean(), rel=2e-3, abs=2e-2)


@pytest.mark.parametrize(("days", "weeks"), [(0, 0), (3.4, 0), (3.5, 1), (7, 1), (10, 1), (10.5, 2), (70, 10)])
def test_fixed_durations_round_to_the_nearest_period(days, weeks):
    """A fixed duration gives one entry of mass 1 at the nearest whole number of periods, halves upwards."""
    table = period_table(Fixed(value=days), 7.0)
    assert len(table) == weeks + 1
    assert table[-1] == 1.0
    assert not table[:-1].any()


@pytest.mark.parametrize(
    "law",
    [Poisson(mean=3), UniformInteger(low=1, high=3), Empirical(values=(1, 2), probabilities=(0.5, 0.5))],
    ids=["poisson", "uniform_integer", "empirical"],
)
def test_equality_is_that_of_the_parameters(law):
    """Two laws with equal parameters are equal whether or not they were used before, and used laws can be compared."""
    fresh, other = type(law).model_validate(law.model_dump()), law.scaled(2.0)
    assert fresh == law
    for entry in (fresh, law, other):
        entry.quantile(0.5)
    assert fresh == law
    assert other != law
