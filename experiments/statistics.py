"""Means with bootstrap intervals, and paired differences on common paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Interval", "mean_interval", "paired_difference"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes
    ----------
    mean, low, high
        In the unit of the data.
    """

    mean: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def mean_interval(values: FloatArray, *, confidence: float = 0.95, resamples: int = 5000, seed: int = 0) -> Interval:
    """Mean of independent values with a bias-corrected and accelerated bootstrap interval (Efron 1987, JASA 82).

    Parameters
    ----------
    values
        Shape (n,), independent: one number per path.
    seed
        Of the resampling; it has no part in any simulation.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    # What differs by rounding only is constant, and the acceleration of the bootstrap would divide by its spread.
    if np.ptp(values) <= 1e-12 * scale_of(values):
        return Interval(mean, mean, mean)
    result = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(result.low), float(result.high))


def scale_of(*arrays: FloatArray) -> float:
    """Largest magnitude among the numbers: rounding errors are a tiny fraction of it."""
    return max(float(np.abs(array).max()) for array in arrays)


def paired_difference(a: FloatArray, b: FloatArray, *, confidence: float = 0.95, resamples: int = 5000) -> Interval:
    """Interval of the mean of ``a - b``, paired path by path."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    difference = a - b
    if np.ptp(difference) <= 1e-12 * scale_of(a, b):
        mean = float(difference.mean())
        return Interval(mean, mean, mean)
    return mean_interval(difference, confidence=confidence, resamples=resamples)
