"""Fitters recover known parameters, choose the right family, and refuse what they cannot fit."""

import numpy as np
import pytest
from scipy import stats

from twin.calibration import (
    affine,
    fit,
    ks_distance,
    log_likelihood,
    moving_average,
    rounded,
    seasonal_factors,
    serial_brackets,
    significant,
)
from twin.distributions import Gamma, Intermittent, Lognormal, NegativeBinomial
from twin.errors import DataError

#: Mid-quantiles: a sample without sampling noise, so that recovery can be asked for tightly.
U = (np.arange(4000) + 0.5) / 4000


@pytest.mark.parametrize("method", ["moments", "likelihood"])
@pytest.mark.parametrize("truth", [Gamma(mean=110.0, sd=70.0), Lognormal(mean=25.0, sd=12.0)])
def test_fit_recovers_family_and_parameters(truth, method):
    result = fit(truth.quantile(U), method=method)
    assert result.quality.family == truth.distribution
    assert result.distribution.mean == pytest.approx(truth.mean, rel=0.005)
    assert result.distribution.sd == pytest.approx(truth.sd, rel=0.02)
    assert result.quality.log_likelihood > result.rejected[0].log_likelihood
    assert result.quality.ks < 0.005 < result.rejected[0].ks


def test_moments_keep_the_samples_mean_and_sd():
    sample = np.array([1.0, 2.0, 2.5, 7.0, 30.0])
    result = fit(sample)
    assert result.distribution.mean == pytest.approx(sample.mean())
    assert result.distribution.sd == pytest.approx(sample.std(ddof=1))


def test_likelihood_method_is_not_beaten_by_nearby_parameters():
    sample = Gamma(mean=3.0, sd=2.0).quantile(U[::40]) + 0.2
    best = fit(sample, ("gamma",), method="likelihood")
    for factor in (0.97, 1.03):
        near = Gamma(mean=best.distribution.mean, sd=best.distribution.sd * factor)
        assert log_likelihood(near, sample) < best.quality.log_likelihood


def test_negative_binomial_recovers_its_moments_and_needs_overdispersed_whole_numbers():
    truth = NegativeBinomial(mean=12.0, sd=6.0)
    result = fit(truth.quantile(U), ("negative_binomial",))
    assert (result.distribution.mean, result.distribution.sd) == pytest.approx((12.0, 6.0), rel=0.02)
    with pytest.raises(DataError, match="none of negative_binomial"):
        fit([5.0, 5.0, 6.0], ("negative_binomial",))
    with pytest.raises(DataError, match="none of negative_binomial"):
        fit([0.5, 9.0, 30.0], ("negative_binomial",))


def test_a_sample_with_empty_periods_is_intermittent():
    truth = Intermittent(probability=0.3, size=Gamma(mean=50.0, sd=20.0))
    result = fit(truth.quantile(U), ("gamma", "lognormal", "intermittent"))
    assert result.quality.family == "intermittent"
    assert result.rejected == ()
    assert result.distribution.probability == pytest.approx(0.3, abs=0.001)
    assert result.distribution.size.distribution == "gamma"
    assert result.distribution.size.mean == pytest.approx(50.0, rel=0.01)


@pytest.mark.parametrize("sample", [[], [1.0], [2.0, 2.0], [1.0, -1.0], [1.0, float("nan")]])
def test_fit_refuses_samples_that_say_nothing(sample):
    with pytest.raises(DataError, match="at least 2 different finite values"):
        fit(sample)


def test_fit_names_the_nearest_family():
    with pytest.raises(DataError, match="did you mean 'lognormal'"):
        fit([1.0, 2.0], ("log_normal",))


@pytest.mark.parametrize(
    ("ours", "scipys"),
    [
        (Gamma(mean=6.0, sd=3.0), stats.gamma(4.0, scale=1.5)),
        (Lognormal(mean=np.exp(0.125), sd=np.exp(0.125) * np.sqrt(np.expm1(0.25))), stats.lognorm(0.5)),
    ],
)
def test_log_likelihood_and_ks_agree_with_scipy(ours, scipys):
    sample = np.array([0.3, 1.0, 2.5, 6.0, 11.0])
    assert log_likelihood(ours, sample) == pytest.approx(scipys.logpdf(sample).sum())
    assert ks_distance(ours, sample) == pytest.approx(stats.kstest(sample, scipys.cdf).statistic)


def test_log_likelihood_of_whole_numbers_is_the_log_of_their_probabilities():
    ours = NegativeBinomial(mean=4.0, sd=3.0)
    counts = np.array([0.0, 1.0, 4.0, 9.0])
    assert log_likelihood(ours, counts) == pytest.approx(np.log(ours.pmf(counts)).sum())


def test_ks_distance_is_small_for_a_sample_of_a_lumpy_distribution():
    lumpy = Intermittent(probability=0.25, size=Gamma(mean=10.0, sd=5.0))
    assert ks_distance(lumpy, lumpy.quantile(U)) < 0.001


def test_moving_average_spreads_a_delivery_over_the_window():
    series = np.array([0, 0, 12, 0, 0, 0], dtype=float)
    assert moving_average(series, 3).tolist() == [4.0, 4.0, 4.0, 0.0]
    with pytest.raises(DataError, match="window"):
        moving_average(series, 7)


def test_seasonal_factors_are_recovered_despite_growth():
    truth = np.array([0.8, 1.0, 1.3, 0.9])
    season = np.tile(np.repeat(truth, 13), 3)
    growth = np.repeat([100.0, 200.0, 300.0], 52)
    factors, flat = seasonal_factors(season * growth, 13, 4)
    assert factors == pytest.approx(truth)
    assert flat == pytest.approx(growth)
    with pytest.raises(DataError, match="whole cycles of 52"):
        seasonal_factors(np.ones(60), 13, 4)


def test_affine_finds_fixed_cost_and_rate():
    kg = np.array([100.0, 2000.0, 500.0, 9000.0])
    assert affine(kg, 12_000.0 + 1.06 * kg) == pytest.approx((12_000.0, 1.06))


def test_serial_brackets_hold_the_true_dates_of_numbered_documents():
    rng = np.random.default_rng(7)
    issued = np.sort(rng.uniform(0, 1000, 400))
    earliest, latest = serial_brackets(issued - rng.exponential(40, 400), issued + rng.exponential(40, 400), 20)
    assert (earliest <= issued).all()
    assert (issued <= latest).all()
    # One document alone would leave a bracket of 80 days on average.
    assert np.mean(latest - earliest) < 40


def test_serial_brackets_confine_one_wrong_date_to_its_neighbours():
    issued = np.arange(100.0)
    before = issued + 5.0
    before[60] = 10.0
    earliest, latest = serial_brackets(issued, before, 10)
    assert np.flatnonzero(earliest > latest).tolist() == list(range(51, 61))


def test_rounding_keeps_four_figures_and_the_family():
    assert significant(123456.7) == 123500.0
    assert significant(0.000123449, 3) == 0.000123
    result = rounded(Intermittent(probability=0.123456, size=Gamma(mean=98765.4, sd=1.23456)))
    assert result == Intermittent(probability=0.1235, size=Gamma(mean=98770.0, sd=1.235))
