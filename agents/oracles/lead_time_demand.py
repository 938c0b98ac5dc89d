"""Demand over several periods as probabilities on a lattice, and which periods a lead time covers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from twin.distributions_base import Law
from twin.errors import ConfigError
from twin.network import PHASE_ORDERS, Phase

__all__ = ["TAIL", "LatticeDemand", "demand_before_order", "total_demand"]

FloatArray = NDArray[np.float64]

#: Steps per standard deviation of one period's demand. Rounding to the lattice adds step**2 / 12 to each period's
#: variance, so costs of smooth demand are right to about 2e-7 of themselves.
STEPS_PER_SD = 500
#: Steps in one period's mean at most: bounds the work for demand that hardly varies.
MOST_STEPS = 200_000
#: Probability cut off the upper tail of each total.
TAIL = 1e-13


@dataclass(frozen=True)
class LatticeDemand:
    """Total demand as probabilities ``mass`` at 0, ``step``, 2 ``step``, ... units.

    Attributes
    ----------
    step
        Distance of the points, units.
    mass
        Probabilities.
    exact
        True when demand really lives on the lattice; otherwise each point stands for the values around it.
    """

    step: float
    mass: FloatArray
    exact: bool

    @cached_property
    def _cumulative(self) -> FloatArray:
        return np.cumsum(self.mass)

    def quantile(self, probability: float) -> float:
        """Smallest level that demand does not exceed with at least this probability, units."""
        # Rounding in the cumulative sum must not push a level that is met exactly one step up.
        k = int(np.searchsorted(self._cumulative, probability - 1e-14))
        if self.exact or k >= len(self.mass):
            return float(min(k, len(self.mass) - 1) * self.step)
        # The cumulative sum up to a point is the distribution function half a step above it.
        below = self._cumulative[k] - self.mass[k]
        return float(max(0.0, k - 0.5 + (probability - below) / self.mass[k]) * self.step)

    def mean_cost(self, level: float, holding_cost: float, penalty: float) -> float:
        """Expected ``holding_cost`` per unit left over and ``penalty`` per unit short when ``level`` meets demand."""
        left = level - np.arange(len(self.mass)) * self.step
        return float(self.mass @ np.where(left > 0.0, holding_cost * left, -penalty * left))


def demand_before_order(phases: tuple[Phase, Phase, Phase]) -> bool:
    """True when a period's order already knows its demand, so that a lead time of L covers L demands and not L + 1.

    Raises
    ------
    ConfigError
        When these are not phases of a network.
    """
    if phases not in PHASE_ORDERS:
        raise ConfigError(f"phases must be one of {'; '.join(', '.join(p) for p in PHASE_ORDERS)}, received {phases!r}")
    return phases.index("demand") < phases.index("order")


def total_demand(demand: Law, periods: int) -> LatticeDemand:
    """Distribution of the sum of independent demands.

    Whole-number demand gets a lattice of step 1 and is exact, as is demand that does not vary; other demand is rounded
    to a step of a 500th of its standard deviation (or a 200000th of its mean, where that is more), the same step for
    any number of periods. Separate values that are not whole move by up to half a step each.

    Parameters
    ----------
    demand
        Of one period, units.
    periods
        How many, 0 or more.
    """
    sd, mean = float(np.sqrt(max(demand.variance, 0.0))), demand.mean_value
    if demand.whole:
        step = 1.0
    elif sd == 0.0:
        step = mean
    else:
        step = max(sd / STEPS_PER_SD, mean / MOST_STEPS)
    last = int(np.ceil(float(demand.quantile(1.0 - TAIL)) / step))
    upper = (np.arange(last + 1) + (0.0 if demand.whole else 0.5)) * step
    one = _trimmed(np.diff(demand.cdf(upper), prepend=0.0))
    total, power, left = np.ones(1), one, periods
    while left:
        if left & 1:
            total = _trimmed(signal.convolve(total, power))
        left >>= 1
        if left:
            power = _trimmed(signal.convolve(power, power))
    return LatticeDemand(step, total, demand.whole or sd == 0.0)


def _trimmed(mass: FloatArray) -> FloatArray:
    # A convolution by Fourier transform leaves noise of the size of rounding, of either sign.
    mass = np.maximum(mass, 0.0)
    tail = np.cumsum(mass[::-1])[::-1]
    mass = mass[: max(1, int(np.count_nonzero(tail > TAIL)))]
    return np.asarray(mass / mass.sum())
