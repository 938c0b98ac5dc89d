"""Means with Student's intervals: of independent paths, and of a series whose neighbours depend on each other."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["FEWEST_BATCHES", "Estimate", "batch_means", "mean_of"]

FloatArray = NDArray[np.float64]

#: A series with fewer batches says nothing about its own spread.
FEWEST_BATCHES = 4


class Estimate(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """The ends."""
        return [self.low, self.high]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ends that are not known are None."""
        known = math.isfinite(self.low) and math.isfinite(self.high)
        return {"mean": self.mean, "interval": self.interval if known else None}


def mean_of(values: FloatArray, confidence: float) -> Estimate:
    """Of independent values (n,); one alone has an interval without ends."""
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Estimate(mean, -math.inf, math.inf)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2.0)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half)


def batch_means(values: FloatArray, confidence: float) -> Estimate:
    """Of a series (n,) whose neighbours depend on each other, by batch means (Law 2015, section 9.5.3).

    About the square root of n batches of equal length; what is left over at the beginning counts in the mean alone.
    Too short a series has an interval without ends.
    """
    n, mean = len(values), float(values.mean())
    batches = math.isqrt(n)
    if batches < FEWEST_BATCHES:
        return Estimate(mean, -math.inf, math.inf)
    length = n // batches
    spread = mean_of(values[n - batches * length :].reshape(batches, length).mean(axis=1), confidence)
    half = (spread.high - spread.low) / 2.0
    return Estimate(mean, mean - half, mean + half)
