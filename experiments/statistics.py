"""Means with bootstrap intervals, and paired differences on common paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["FEWEST_IN_TAIL", "Interval", "mean_interval", "paired_difference", "tail_interval", "tail_mean"]

FloatArray = NDArray[np.float64]

#: With fewer values the worst twentieth is less than one of them.
FEWEST_IN_TAIL = 20


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


def tail_mean(values: FloatArray, level: float = 0.95, axis: int = -1) -> FloatArray:
    """Mean of the largest ``1 - level`` of the values: conditional value at risk.

    Where that share is no whole number of values, the last of them counts in part (Rockafellar & Uryasev 2002, Journal
    of Banking & Finance 26(7)).
    """
    ordered = -np.sort(-np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1), axis=-1)
    share = (1.0 - level) * ordered.shape[-1]
    weight = np.clip(share - np.arange(ordered.shape[-1]), 0.0, 1.0)
    return np.asarray(ordered @ weight / share)


def tail_interval(
    values: FloatArray, *, level: float = 0.95, confidence: float = 0.95, resamples: int = 5000, seed: int = 0
) -> Interval:
    """Conditional value at risk of independent values, shape (n,), with a percentile bootstrap interval."""
    values = np.asarray(values, dtype=np.float64)
    tail = float(tail_mean(values, level))
    if np.ptp(values) <= 1e-12 * scale_of(values):
        return Interval(tail, tail, tail)
    result = stats.bootstrap(
        (values,),
        lambda sample, axis: tail_mean(sample, level, axis),
        confidence_level=confidence,
        n_resamples=resamples,
        batch=250,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(tail, float(result.low), float(result.high))


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
