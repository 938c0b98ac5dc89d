"""The stock-keeping problems that can be solved exactly: one stock point, whole units, i.i.d. demand.

Events of a period: what was ordered ``lead_time`` periods ago arrives; orders are placed (an express order arrives at
once); demand takes from stock; what is left is charged ``holding`` a unit and what is missing ``penalty`` a unit.
Unmet demand is lost or backlogged.

A state is taken before ordering and has ``lead_time`` whole numbers: the stock with this period's receipt in it
(negative: a backlog), then the units due one period later, two periods later, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.distributions import Distribution
from twin.errors import ActionError, ConfigError

__all__ = ["Policy", "Problem", "dual_sourcing", "lost_sales"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: States (n, lead_time) -> whole orders: (n,), or (n, 2) as regular, express where there is an express source.
Policy = Callable[[IntArray], NDArray[Any]]

#: Probability in the upper tail of demand that is moved onto the largest value kept.
TAIL = 1e-12


@dataclass(frozen=True)
class Problem:
    """A stock point, its demand and its costs; made by :func:`lost_sales` or :func:`dual_sourcing`.

    Attributes
    ----------
    demand
        Law of demand per period, on whole numbers.
    lead_time
        Periods from a (regular) order to its arrival, at least 1.
    holding, penalty
        Cost per unit left in stock, and per unit lost or backlogged, at the end of a period.
    price, fixed_cost
        Of a (regular) order: per unit, and once per order that is not empty.
    express_price
        Per unit of a source that delivers at once; None where there is no such source. Unmet demand is lost without
        an express source and backlogged with one.

    Raises
    ------
    twin.errors.ConfigError
        If demand is not on whole numbers or a number is outside its range.
    """

    demand: Distribution
    lead_time: int
    holding: float
    penalty: float
    price: float = 0.0
    fixed_cost: float = 0.0
    express_price: float | None = None

    def __post_init__(self) -> None:
        if not self.demand.whole:
            raise ConfigError(f"demand must be on whole numbers, and {self.demand.distribution} is not")
        if not isinstance(self.lead_time, int) or self.lead_time < 1:
            raise ConfigError(f"lead_time must be a whole number of at least 1, received {self.lead_time!r}")
        for name in ("holding", "penalty"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0 and finite, received {getattr(self, name)}")
        for name in ("price", "fixed_cost"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0 and finite, received {getattr(self, name)}")
        if self.express_price is not None and not self.price <= self.express_price < math.inf:
            raise ConfigError(f"express_price must be at least price = {self.price}, received {self.express_price}")

    @property
    def lost(self) -> bool:
        """True when unmet demand is lost."""
        return self.express_price is None

    @cached_property
    def probabilities(self) -> FloatArray:
        """P(demand = 0), P(demand = 1), ...; they sum to 1, the last holds the tail."""
        largest = int(self.demand.quantile(1.0 - TAIL))
        below = self.demand.cdf(np.arange(-1.0, largest))
        return np.diff(below, append=1.0)

    def period_cost(self, stock: IntArray) -> FloatArray:
        """Expected holding and penalty cost of a period whose demand meets ``stock`` (n,); shape (n,)."""
        top = max(int(stock.max()), 0)
        # E[(s + 1 - demand)+] - E[(s - demand)+] = P(demand <= s)
        below = np.cumsum(np.pad(self.probabilities, (0, max(top - len(self.probabilities), 0))))[:top]
        left = np.concatenate([[0.0], np.cumsum(below)])[np.maximum(stock, 0)]
        mean = self.probabilities @ np.arange(len(self.probabilities))
        return np.asarray(self.holding * left + self.penalty * np.maximum(mean - stock + left, 0.0))

    def newsvendor_level(self, periods: int) -> int:
        """Smallest level that covers the demand of ``periods`` periods with probability penalty/(penalty+holding)."""
        total = np.ones(1)
        for _ in range(periods):
            total = np.convolve(total, self.probabilities)
        # The slack keeps a share that is met exactly, as 4/5 by a uniform law, from being missed by rounding.
        return int(np.searchsorted(np.cumsum(total), self.penalty / (self.penalty + self.holding) - 1e-12))

    def vector_levels(self) -> IntArray:
        """Newsvendor levels of lead_time + 1, lead_time, ..., 1 periods; shape (lead_time + 1,)."""
        return np.array([self.newsvendor_level(periods) for periods in range(self.lead_time + 1, 0, -1)])

    def orders(self, policy: Policy, states: IntArray) -> tuple[IntArray, IntArray]:
        """What a policy orders in states (n, lead_time): regular (n,) and express (n,) units.

        Raises
        ------
        twin.errors.ActionError
            If the policy's orders have another shape, or are not whole numbers of at least 0.
        """
        given = np.asarray(policy(states))
        shape = (len(states),) if self.lost else (len(states), 2)
        if given.shape != shape:
            raise ActionError(f"the policy must give orders of shape {shape}, received {given.shape}")
        with np.errstate(invalid="ignore"):  # NaN and infinity do not survive the comparison below.
            whole = given.astype(np.int64)
        wrong = (whole != given) | (whole < 0)
        if wrong.any():
            raise ActionError(f"orders must be whole numbers of at least 0, received {given[wrong][0]}")
        return (whole, np.zeros_like(whole)) if self.lost else (whole[:, 0].copy(), whole[:, 1].copy())


def lost_sales(
    demand: Distribution, lead_time: int, holding: float, penalty: float, fixed_cost: float = 0.0
) -> Problem:
    """One source, unmet demand is lost (Zipkin 2008, Operations Research 56(5):1256-1263).

    A price per unit c changes nothing but the numbers: with penalty p it is this problem with penalty p - c, and c
    times the mean demand on top. See :class:`Problem` for parameters and errors.
    """
    return Problem(demand, lead_time, holding, penalty, fixed_cost=fixed_cost)


def dual_sourcing(
    demand: Distribution, lead_time: int, holding: float, penalty: float, price: float, express_price: float
) -> Problem:
    """A cheap source that takes ``lead_time`` and an express one that delivers at once; unmet demand is backlogged.

    Veeraraghavan & Scheller-Wolf (2008), Operations Research 56(4):850-864. See :class:`Problem` for parameters and
    errors.
    """
    return Problem(demand, lead_time, holding, penalty, price=price, express_price=express_price)
