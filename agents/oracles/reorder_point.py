"""Reorder points: (s, S) under periodic review and (r, Q) under continuous review, exact.

Both weigh a fixed cost per order against G(y), the expected cost of holding and backlog that an inventory position of y
units leads to one lead time later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from agents.oracles.lead_time_demand import LatticeDemand, total_demand
from agents.oracles.newsvendor import Newsvendor
from agents.oracles.parameters import require_not_negative, require_positive
from twin.distributions import Poisson
from twin.errors import ConfigError

__all__ = ["ContinuousReorder", "PeriodicReorder", "ReorderLevels", "ReorderQuantity"]


@dataclass(frozen=True)
class ReorderLevels:
    """Order up to ``order_up_to`` when the inventory position is at or below ``reorder_point``; money per period."""

    reorder_point: int
    order_up_to: int
    cost: float


@dataclass(frozen=True)
class ReorderQuantity:
    """Order ``quantity`` when the inventory position falls to ``reorder_point``; money per unit of time."""

    reorder_point: int
    quantity: int
    cost: float


@dataclass(frozen=True)
class PeriodicReorder:
    """(s, S): a base-stock problem with whole-number demand and a fixed cost per order.

    Exact cost by renewal theory and search by Zheng & Federgruen (1991), Operations Research 39(4):654-665; the policy
    is optimal among all (Scarf 1960). Lead time and order of the phases as in :class:`Newsvendor`.

    Attributes
    ----------
    newsvendor
        Demand, holding cost, penalty, lead time and phases.
    fixed_cost
        Money per order.

    Raises
    ------
    ConfigError
        When demand is not of whole numbers or always 0, or the fixed cost not positive.

    Examples
    --------
    Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., Example 4.7:

    >>> best = PeriodicReorder(Newsvendor(Poisson(mean=6), holding_cost=1, penalty=4), fixed_cost=5).optimum()
    >>> best.reorder_point, best.order_up_to, round(best.cost, 4)
    (4, 10, 8.0341)
    """

    newsvendor: Newsvendor
    fixed_cost: float

    def __post_init__(self) -> None:
        require_positive(fixed_cost=self.fixed_cost)
        if not self.newsvendor.demand.whole or self.newsvendor.demand.mean_value <= 0.0:
            raise ConfigError("an (s, S) policy is solved for demand in whole units that is not always 0")

    @cached_property
    def _position_cost(self) -> Callable[[int], float]:
        return cache(self.newsvendor.cost)

    def _visits(self, size: int) -> NDArray[np.float64]:
        """Expected periods spent 0, 1, ... units below S before an order, shape (size,)."""
        one = total_demand(self.newsvendor.demand, 1).mass
        moves = 1.0 - one[0]
        visits = np.zeros(size)
        visits[0] = 1.0 / moves
        for j in range(1, size):
            reach = min(j, len(one) - 1)
            visits[j] = one[1 : reach + 1] @ visits[j - reach : j][::-1] / moves
        return visits

    def cost(self, reorder_point: int, order_up_to: int) -> float:
        """Expected money per period of an (s, S) policy.

        Raises
        ------
        ConfigError
            When S does not exceed s.
        """
        size = order_up_to - reorder_point
        if size < 1:
            raise ConfigError(f"order_up_to must exceed reorder_point, received {order_up_to} and {reorder_point}")
        return self._cycle_cost(self._visits(size), order_up_to)

    def _cycle_cost(self, visits: NDArray[np.float64], order_up_to: int) -> float:
        position = [self._position_cost(order_up_to - j) for j in range(len(visits))]
        return float((self.fixed_cost + visits @ position) / visits.sum())

    def optimum(self) -> ReorderLevels:
        """The cheapest pair."""
        position = self._position_cost
        visits = np.empty(0)

        def cost(s: int, big: int) -> float:
            nonlocal visits
            if big - s > len(visits):
                visits = self._visits(2 * (big - s))
            return self._cycle_cost(visits[: big - s], big)

        centre = round(self.newsvendor.optimum().level)
        best, s = centre, centre - 1
        while cost(s, best) > position(s):
            s -= 1
        lowest = cost(s, best)
        big = best + 1
        # A level whose own position costs more than the best average cannot be a better S.
        while position(big) <= lowest:
            if cost(s, big) < lowest:
                best = big
                while cost(s, best) <= position(s + 1):
                    s += 1
                lowest = cost(s, best)
            big += 1
        return ReorderLevels(s, best, lowest)


@dataclass(frozen=True)
class ContinuousReorder:
    """(r, Q): continuous review, a Poisson process of demands, backlog and a fixed cost per order.

    Exact, by Federgruen & Zheng (1992), Operations Research 40(4):808-813. Time is continuous, so no order of phases
    matters.

    Attributes
    ----------
    demand_rate
        Units per unit of time.
    holding_cost, penalty
        Money per unit (on hand; owed) and unit of time.
    fixed_cost
        Money per order.
    lead_time
        Units of time, 0 or more.

    Raises
    ------
    ConfigError
        When a number is not positive, or the lead time negative.
    """

    demand_rate: float
    holding_cost: float
    penalty: float
    fixed_cost: float
    lead_time: float

    def __post_init__(self) -> None:
        require_positive(demand_rate=self.demand_rate, holding_cost=self.holding_cost)
        require_positive(penalty=self.penalty, fixed_cost=self.fixed_cost)
        require_not_negative(lead_time=self.lead_time)

    @cached_property
    def _covered(self) -> LatticeDemand:
        mean = self.demand_rate * self.lead_time
        return total_demand(Poisson(mean=mean), 1) if mean > 0.0 else LatticeDemand(1.0, np.ones(1), exact=True)

    def _position_cost(self, position: int) -> float:
        return self._covered.mean_cost(position, self.holding_cost, self.penalty)

    def cost(self, reorder_point: int, quantity: int) -> float:
        """Expected money per unit of time of an (r, Q) policy.

        Raises
        ------
        ConfigError
            When the quantity is not at least 1.
        """
        if quantity < 1:
            raise ConfigError(f"quantity must be at least 1, received {quantity}")
        # The inventory position is equally likely to be each of r + 1, ..., r + Q.
        position = sum(self._position_cost(reorder_point + k) for k in range(1, quantity + 1))
        return (self.fixed_cost * self.demand_rate + position) / quantity

    def optimum(self) -> ReorderQuantity:
        """The cheapest pair: positions are taken up from the cheapest outwards while they lower the average."""
        low = high = round(self._covered.quantile(self.penalty / (self.penalty + self.holding_cost)))
        money = self.fixed_cost * self.demand_rate + self._position_cost(low)
        while True:
            below, above = self._position_cost(low - 1), self._position_cost(high + 1)
            quantity = high - low + 1
            if min(below, above) >= money / quantity:
                return ReorderQuantity(low - 1, quantity, money / quantity)
            money += min(below, above)
            low, high = (low - 1, high) if below <= above else (low, high + 1)
