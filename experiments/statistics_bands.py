"""Means of a part of the values, between two quantiles: the interquartile mean, and the tail behind CVaR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIDDLE", "WORST", "band_mean", "band_replicates", "interquartile_mean"]

FloatArray = NDArray[np.float64]

#: The middle half of the values, and the largest twentieth of them.
MIDDLE = (0.25, 0.75)
WORST = (0.95, 1.0)


def band_mean(values: FloatArray, low: float, high: float) -> float:
    """Mean of the values between two quantiles.

    The mean of the empirical quantile function over ``[low, high]``: where a bound falls inside a value, that value
    counts in part (for the tail Rockafellar & Uryasev 2002, Journal of Banking & Finance 26(7)).

    Parameters
    ----------
    values
        Any shape; all of them count alike.
    low, high
        Shares, ``0 <= low < high <= 1``.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    return float(band_replicates(flat, np.full((1, len(flat)), 1.0 / len(flat)), low, high)[0])


def interquartile_mean(values: FloatArray) -> float:
    """Mean of the middle half of the values: what is usual, without the best and the worst quarter.

    Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 34, section
    4.3. With a number of values that 4 divides it is ``scipy.stats.trim_mean(values, 0.25)``.
    """
    return band_mean(values, *MIDDLE)


def band_replicates(values: FloatArray, weights: FloatArray, low: float, high: float) -> FloatArray:
    """:func:`band_mean` of weighted values, for many sets of weights.

    Parameters
    ----------
    values
        Shape (n,).
    weights
        Shape (R, n), each row summing to 1.

    Returns
    -------
    ndarray, shape (R,)
    """
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    # Relative to the middle: sums of large numbers would lose the digits that tell them apart.
    centre = ordered[len(ordered) // 2]
    reached = np.cumsum(weights[:, order], axis=1)
    reached[:, -1] = 1.0  # what rounding has left of the whole
    inside = np.diff(np.clip(reached, low, high), axis=1, prepend=low)
    return np.asarray(centre + inside @ (ordered - centre) / (high - low))
