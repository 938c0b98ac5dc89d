"""Time in periods: units of time, and durations as tables over whole periods."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twin.distributions import Distribution, Fixed, Recorded

__all__ = ["DAYS", "TimeUnit", "late_table", "period_table", "whole_periods"]

TimeUnit = Literal["hour", "day", "week", "month", "quarter", "year"]

#: Length of each time unit in days (a month is a twelfth of a Julian year).
DAYS: dict[str, float] = {
    "hour": 1 / 24,
    "day": 1.0,
    "week": 7.0,
    "month": 365.25 / 12,
    "quarter": 365.25 / 4,
    "year": 365.25,
}


def whole_periods(times: NDArray[np.float64], per_period: float = 1.0) -> NDArray[np.int64]:
    """Durations in another unit of time as whole periods, the nearest (see :func:`period_table`)."""
    return np.asarray(np.floor(times / per_period + 0.5).astype(np.int64))


def period_table(distribution: Distribution, per_period: float = 1.0, *, tail: float = 1e-4) -> NDArray[np.float64]:
    """Tabulate a time as a whole number of periods.

    A duration x (in its own unit) counts as ``round(x / per_period)`` periods: nearest, because rounding up would add
    half a period to every lead time.

    Parameters
    ----------
    distribution
        Of the duration, in any time unit.
    per_period
        How many of that unit make one period.
    tail
        Probability in the upper tail that is moved to the table's last entry, so that a pipeline has a finite length.

    Returns
    -------
    ndarray, shape (longest + 1,)
        Cumulative probability of 0, 1, 2, ... periods; the last entry is 1.
    """
    if isinstance(distribution, Fixed):
        table = np.zeros(int(np.floor(distribution.value / per_period + 0.5)) + 1)
        table[-1] = 1.0
        return table
    if isinstance(distribution, Recorded):  # every value counts: none is left out as a tail
        count = np.bincount(whole_periods(np.asarray(distribution.values), per_period))
        return np.asarray(np.cumsum(count) / len(distribution.values))
    longest = int(np.ceil(float(distribution.quantile(1.0 - tail)) / per_period + 0.5))
    edges = (np.arange(longest + 1) + 0.5) * per_period
    table = np.asarray(distribution.cdf(np.nextafter(edges, 0.0)))
    return _without_tail(table, tail)


def late_table(
    promised: NDArray[np.float64], late: NDArray[np.float64], probability: float, *, tail: float = 0.0
) -> NDArray[np.float64]:
    """Tabulate a promised time that is sometimes kept, and else exceeded.

    Parameters
    ----------
    promised, late
        Cumulative tables, in the same steps, of the promised time and of what is added to it when it is not kept.
    probability
        Of that.
    tail
        Probability in the upper tail that is moved to the table's last entry.

    Returns
    -------
    ndarray
        Cumulative table of the mixture of the promised time and the sum of both; the last entry is 1.
    """
    kept, added = np.diff(promised, prepend=0.0), np.diff(late, prepend=0.0)
    mixed = probability * np.convolve(kept, added)
    mixed[: len(kept)] += (1.0 - probability) * kept
    table = np.cumsum(mixed)
    table[-1] = 1.0
    return _without_tail(table, tail) if tail > 0.0 else table


def _without_tail(table: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
    table = table[: int(np.searchsorted(table, 1.0 - tail)) + 1].copy()
    table[-1] = 1.0
    return table
