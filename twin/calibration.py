"""From data to parameters: fitted distributions with a record of how well they fit, and small estimators beside them.

Nothing here knows where the data come from. A fit returns the distribution in the twin's own words
(:mod:`twin.distributions`) and the evidence: sample size, moments, Kolmogorov-Smirnov distance, log-likelihood, and
the same for the families that lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from twin.distributions import Gamma, Intermittent, Lognormal, NegativeBinomial
from twin.errors import DataError, did_you_mean

__all__ = [
    "Family",
    "Fit",
    "FitQuality",
    "Fitted",
    "affine",
    "fit",
    "ks_distance",
    "log_likelihood",
    "moving_average",
    "rounded",
    "seasonal_factors",
    "serial_brackets",
    "significant",
]

FloatArray = NDArray[np.float64]
Family = Literal["gamma", "lognormal", "negative_binomial", "intermittent"]
Method = Literal["moments", "likelihood"]
Fitted = Gamma | Lognormal | NegativeBinomial | Intermittent


@dataclass(frozen=True, slots=True)
class FitQuality:
    """How well one family describes a sample.

    Attributes
    ----------
    family
        Name of the family.
    ks
        Kolmogorov-Smirnov distance between the sample and the fitted distribution, 0 to 1.
    log_likelihood
        Of the sample under the fitted distribution, natural logarithm.
    """

    family: str
    ks: float
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted distribution, the sample it came from (size, mean, standard deviation), and the families that lost."""

    distribution: Fitted
    n: int
    mean: float
    sd: float
    quality: FitQuality
    rejected: tuple[FitQuality, ...]


def fit(
    values: ArrayLike,
    families: Sequence[Family] = ("gamma", "lognormal"),
    *,
    method: Method = "moments",
) -> Fit:
    """Fit every family and keep the one with the highest likelihood.

    Parameters
    ----------
    values
        Sample, at least 2 different values, none negative. Families that cannot produce the sample are left out:
        gamma and lognormal when it has zeros, negative binomial when it has fractions or too little spread.
    families
        Candidates, each of two free parameters (intermittent: one more), so that likelihoods compare. A negative
        binomial's probabilities stand against densities, which is fair for whole numbers well above 1.
    method
        ``moments`` keeps the sample's mean and standard deviation, which is what planning formulas use;
        ``likelihood`` maximises the likelihood of gamma and lognormal (the others always use moments).

    Raises
    ------
    DataError
        When the sample is too small, has a negative or missing value, or no family can produce it.
    """
    sample = _sample(values)
    candidates: list[tuple[FitQuality, Fitted]] = []
    for family in families:
        if family not in _FITTERS:
            raise DataError(f"no family '{family}' (allowed: {', '.join(_FITTERS)}){did_you_mean(family, _FITTERS)}")
        distribution = _FITTERS[family](sample, method)
        if distribution is not None:
            quality = FitQuality(family, ks_distance(distribution, sample), log_likelihood(distribution, sample))
            candidates.append((quality, distribution))
    if not candidates:
        raise DataError(
            f"none of {', '.join(families)} can produce the sample (n={len(sample)}, mean {sample.mean():.4g}, "
            f"zeros {int((sample == 0).sum())}); try 'intermittent' for a sample with zeros"
        )
    candidates.sort(key=lambda pair: -pair[0].log_likelihood)
    quality, distribution = candidates[0]
    return Fit(
        distribution=distribution,
        n=len(sample),
        mean=float(sample.mean()),
        sd=float(sample.std(ddof=1)),
        quality=quality,
        rejected=tuple(other for other, _ in candidates[1:]),
    )


def _sample(values: ArrayLike) -> FloatArray:
    sample = np.asarray(values, dtype=np.float64).ravel()
    if len(sample) < 2 or not np.isfinite(sample).all() or (sample < 0.0).any() or sample.min() == sample.max():
        raise DataError(
            f"a fit needs at least 2 different finite values, none negative; received {len(sample)} "
            f"({sample[:5].tolist()} ...)"
        )
    return sample


def _gamma(sample: FloatArray, method: Method) -> Gamma | None:
    if (sample <= 0.0).any():
        return None
    mean = float(sample.mean())
    if method == "moments":
        return Gamma(mean=mean, sd=float(sample.std(ddof=1)))
    # Maximum likelihood: ln k - digamma(k) = ln mean - mean of ln x (Choi & Wette 1969, Technometrics 11).
    gap = math.log(mean) - float(np.log(sample).mean())
    # Bounds that hold for every k: 1/(2k) < ln k - digamma(k) < 1/k (Alzer 1997).
    shape = float(optimize.brentq(lambda k: math.log(k) - float(special.digamma(k)) - gap, 0.49 / gap, 1.01 / gap))
    return Gamma(mean=mean, sd=mean / math.sqrt(shape))


def _lognormal(sample: FloatArray, method: Method) -> Lognormal | None:
    if (sample <= 0.0).any():
        return None
    if method == "moments":
        return Lognormal(mean=float(sample.mean()), sd=float(sample.std(ddof=1)))
    logs = np.log(sample)
    spread = float(logs.var())
    mean = math.exp(float(logs.mean()) + 0.5 * spread)
    return Lognormal(mean=mean, sd=mean * math.sqrt(math.expm1(spread)))


def _negative_binomial(sample: FloatArray, method: Method) -> NegativeBinomial | None:  # noqa: ARG001 (one signature)
    mean, variance = float(sample.mean()), float(sample.var(ddof=1))
    if (sample % 1.0).any() or variance <= mean:
        return None
    return NegativeBinomial(mean=mean, sd=math.sqrt(variance))


def _intermittent(sample: FloatArray, method: Method) -> Intermittent | None:
    sizes = sample[sample > 0.0]
    if len(sizes) < 2 or sizes.min() == sizes.max():
        return None
    size = fit(sizes, ("gamma", "lognormal"), method=method).distribution
    if not isinstance(size, (Gamma, Lognormal)):
        return None
    return Intermittent(probability=len(sizes) / len(sample), size=size)


_FITTERS: dict[str, Callable[[FloatArray, Method], Fitted | None]] = {
    "gamma": _gamma,
    "lognormal": _lognormal,
    "negative_binomial": _negative_binomial,
    "intermittent": _intermittent,
}


def ks_distance(distribution: Fitted, values: ArrayLike) -> float:
    """Kolmogorov-Smirnov distance: the largest gap between the sample's step function and the distribution's.

    Both sides of every step are compared, so a distribution with lumps of probability is judged rightly.
    """
    points, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    after = np.cumsum(counts) / counts.sum()
    before = np.concatenate([[0.0], after[:-1]])
    at = np.asarray(distribution.cdf(points))
    below = np.asarray(distribution.cdf(np.nextafter(points, -np.inf)))
    return float(max(np.abs(after - at).max(), np.abs(before - below).max()))


def log_likelihood(distribution: Fitted, values: ArrayLike) -> float:
    """Natural log-likelihood of independent values: densities, probabilities where the distribution has lumps."""
    x = np.asarray(values, dtype=np.float64)
    if isinstance(distribution, Gamma):
        k, scale = distribution.shape, distribution.mean / distribution.shape
        terms = special.xlogy(k - 1.0, x / scale) - x / scale - special.gammaln(k) - math.log(scale)
    elif isinstance(distribution, Lognormal):
        spread = math.log1p((distribution.sd / distribution.mean) ** 2)
        centre = math.log(distribution.mean) - 0.5 * spread
        logs = np.log(x)
        terms = -logs - 0.5 * math.log(2.0 * math.pi * spread) - 0.5 * (logs - centre) ** 2 / spread
    elif isinstance(distribution, NegativeBinomial):
        k, mean = distribution.size, distribution.mean
        terms = (
            special.gammaln(x + k)
            - special.gammaln(k)
            - special.gammaln(x + 1.0)
            + k * math.log(k / (k + mean))
            + special.xlogy(x, mean / (k + mean))
        )
    else:
        sizes, zeros = x[x > 0.0], int((x == 0.0).sum())
        inside = len(sizes) * math.log(distribution.probability)
        empty = zeros * math.log1p(-distribution.probability) if zeros else 0.0
        size = distribution.size
        return inside + empty + (log_likelihood(size, sizes) if isinstance(size, (Gamma, Lognormal)) else -math.inf)
    return float(np.sum(terms))


def moving_average(series: ArrayLike, window: int) -> FloatArray:
    """Mean of each value and the ``window - 1`` before it; the first ``window - 1`` values give no average.

    Read as consumption: each delivery is used up evenly over the ``window`` periods that begin with its own.
    """
    values = np.asarray(series, dtype=np.float64)
    if not 1 <= window <= len(values):
        raise DataError(f"the window must be 1 to {len(values)} periods, received {window}")
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[window:] - total[:-window]) / window)


def seasonal_factors(series: ArrayLike, periods_per_factor: int, factors: int) -> tuple[FloatArray, FloatArray]:
    """Ratio-to-average seasonal factors, and the series with the season taken out.

    Each cycle counts alike: the factor of a season is the mean over the cycles of (season's mean / cycle's mean), so
    that a growing series does not put its trend into the last season's weight. Factors average to 1.

    Parameters
    ----------
    series
        Whole cycles of ``periods_per_factor * factors`` periods, shape (cycles * periods_per_factor * factors,).

    Returns
    -------
    factors : ndarray, shape (factors,)
    deseasonalised : ndarray, same shape as ``series``
    """
    values = np.asarray(series, dtype=np.float64)
    cycle = periods_per_factor * factors
    if len(values) == 0 or len(values) % cycle:
        raise DataError(f"seasonal factors need whole cycles of {cycle} periods, received {len(values)} periods")
    blocks = values.reshape(-1, factors, periods_per_factor).mean(axis=2)
    level = blocks.mean(axis=1, keepdims=True)
    if (blocks <= 0.0).any():
        raise DataError("seasonal factors need demand in every season of every cycle; one season is empty")
    result = (blocks / level).mean(axis=0)
    result = result / result.mean()
    return result, values / np.tile(np.repeat(result, periods_per_factor), len(values) // cycle)


def affine(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Least squares ``y = fixed + rate * x``; returns (fixed, rate)."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) < 3 or x.min() == x.max():
        raise DataError(f"a line needs at least 3 points with different x, received {len(x)}")
    centred = x - x.mean()
    rate = float(centred @ (y - y.mean()) / (centred @ centred))
    return float(y.mean() - rate * x.mean()), rate


def serial_brackets(after: ArrayLike, before: ArrayLike, neighbours: int) -> tuple[FloatArray, FloatArray]:
    """Bounds on the dates of documents that are numbered in order of time.

    Document i was issued after ``after[i]`` and before ``before[i]``. Because numbers follow time, it was also issued
    after the ``after`` of the documents just before it and before the ``before`` of those just behind it.

    Parameters
    ----------
    after, before
        In order of the documents' numbers, shape (n,); ``-inf`` and ``inf`` where nothing is known.
    neighbours
        How many documents on each side, itself included, bound a date. Few limit the harm of one wrong date.

    Returns
    -------
    earliest, latest : ndarray, shape (n,)
        ``earliest > latest`` where the dates contradict the numbering.
    """
    low, high = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    size = len(low)
    earliest = np.array([low[max(0, i - neighbours + 1) : i + 1].max() for i in range(size)])
    latest = np.array([high[i : i + neighbours].min() for i in range(size)])
    return earliest, latest


def significant(value: float, digits: int = 4) -> float:
    """Round to significant digits, so that a written figure does not depend on the last bit of a library."""
    return float(f"{value:.{digits}g}")


def rounded(distribution: Fitted, digits: int = 4) -> Fitted:
    """The same distribution with its parameters rounded to significant digits."""
    return type(distribution).model_validate(_rounded(distribution.model_dump(), digits))


def _rounded(data: Mapping[str, Any], digits: int) -> dict[str, Any]:
    return {
        key: _rounded(value, digits)
        if isinstance(value, Mapping)
        else significant(value, digits)
        if isinstance(value, float)
        else value
        for key, value in data.items()
    }
