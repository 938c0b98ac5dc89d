"""A supplier that is up or down: order quantity and base-stock level with known demand.

Formulas as in Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., sections 9.2.1 and 9.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, expm1, log, log1p, sqrt

import numpy as np
from scipy import optimize

from agents.oracles.economic_order_quantity import OrderQuantity
from agents.oracles.lead_time_demand import TAIL, LatticeDemand
from agents.oracles.newsvendor import StockLevel
from agents.oracles.parameters import require_positive, require_probability

__all__ = ["DisruptedNewsvendor", "DisruptedOrderQuantity"]


@dataclass(frozen=True)
class DisruptedOrderQuantity:
    """Economic order quantity whose supplier fails and recovers after exponential times; what is short is lost.

    Parlar & Berkin (1991), Naval Research Logistics 38(1), corrected by Berk & Arreola-Risa (1994), ibid. 41(1). The
    approximation is Snyder's (2014), International Journal of Production Economics 155. Continuous review: an order is
    placed when stock runs out, and arrives at once or as soon as the supplier is up.

    Attributes
    ----------
    fixed_cost
        Money per order.
    holding_cost
        Money per unit and unit of time.
    penalty
        Money per unit of lost demand.
    demand_rate
        Units per unit of time.
    failure_rate, recovery_rate
        Failures per unit of time while up, recoveries per unit of time while down.

    Raises
    ------
    ConfigError
        When one of them is not a positive number.
    """

    fixed_cost: float
    holding_cost: float
    penalty: float
    demand_rate: float
    failure_rate: float
    recovery_rate: float

    def __post_init__(self) -> None:
        require_positive(**vars(self))

    @property
    def _down_share(self) -> float:
        return self.failure_rate / (self.failure_rate + self.recovery_rate)

    def _down_when_empty(self, quantity: float) -> float:
        """Probability that the supplier is down when a cycle that began with an order ends."""
        return -self._down_share * expm1(-(self.failure_rate + self.recovery_rate) * quantity / self.demand_rate)

    def _cost(self, quantity: float, down: float) -> float:
        wait, rate = down / self.recovery_rate, self.demand_rate
        money = self.fixed_cost + self.holding_cost * quantity**2 / (2.0 * rate) + self.penalty * rate * wait
        return money / (quantity / rate + wait)

    def cost(self, quantity: float) -> float:
        """Expected money per unit of time when every order is of ``quantity`` units."""
        require_positive(quantity=quantity)
        return self._cost(quantity, self._down_when_empty(quantity))

    def optimum(self) -> OrderQuantity:
        """The cheapest quantity."""

        def slope(quantity: float) -> float:
            # Sign of the derivative of the cost.
            total = self.failure_rate + self.recovery_rate
            down = self._down_when_empty(quantity)
            change = self._down_share * exp(-total * quantity / self.demand_rate) * total / self.demand_rate
            money = self.holding_cost * quantity / self.demand_rate
            money += self.penalty * self.demand_rate * change / self.recovery_rate
            return money - self._cost(quantity, down) * (1.0 / self.demand_rate + change / self.recovery_rate)

        high = self.approximation().quantity
        while slope(high) <= 0.0:
            high *= 2.0
        low = high
        while slope(low) >= 0.0:
            low /= 2.0
        quantity = float(optimize.brentq(slope, low, high, xtol=1e-12 * high))
        return OrderQuantity(quantity, self.cost(quantity))

    def approximation(self) -> OrderQuantity:
        """The closed form that takes the supplier's long-run state at the end of every cycle, with its own cost."""
        wait, rate = self._down_share / self.recovery_rate, self.demand_rate
        idle = wait * rate  # units of demand in the expected wait
        spent = 2.0 * rate * (self.fixed_cost + self.penalty * idle) / self.holding_cost
        quantity = sqrt(idle**2 + spent) - idle
        return OrderQuantity(quantity, self._cost(quantity, self._down_share))


@dataclass(frozen=True)
class DisruptedNewsvendor:
    """Base-stock level with constant demand, backlog and a supplier that is up or down in whole periods.

    Güllü, Önol & Erkip (1997), IIE Transactions 29(2); Snyder & Shen, section 9.2.2. Phases: receive, order, demand
    with no lead time; costs on the stock at the end of a period.

    Attributes
    ----------
    demand
        Units per period.
    holding_cost, penalty
        Money per unit left and per unit short at the end of a period.
    failure, recovery
        Probability per period of going down while up, and of coming up while down.

    Raises
    ------
    ConfigError
        When demand or a cost is not positive or a probability not strictly between 0 and 1.
    """

    demand: float
    holding_cost: float
    penalty: float
    failure: float
    recovery: float

    def __post_init__(self) -> None:
        require_positive(demand=self.demand, holding_cost=self.holding_cost, penalty=self.penalty)
        require_probability(failure=self.failure, recovery=self.recovery)

    @cached_property
    def covered(self) -> LatticeDemand:
        """Demand since the last order that was served: n + 1 periods' in the n-th period without supply."""
        down = self.failure / (self.failure + self.recovery)
        longest = 1 + int(log(TAIL) / log1p(-self.recovery))
        waits = down * self.recovery * (1.0 - self.recovery) ** np.arange(longest)
        return LatticeDemand(self.demand, np.concatenate([[0.0, 1.0 - down], waits]), exact=True)

    def cost(self, level: float) -> float:
        """Expected money per period when every order that the supplier can serve raises stock to ``level`` units."""
        return self.covered.mean_cost(level, self.holding_cost, self.penalty)

    def optimum(self) -> StockLevel:
        """The cheapest level: whole periods of demand."""
        level = self.covered.quantile(self.penalty / (self.holding_cost + self.penalty))
        return StockLevel(level, self.cost(level))
