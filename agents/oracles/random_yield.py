"""Suppliers that deliver another quantity than was ordered: order quantity and newsvendor with known demand.

Additive yield delivers the order plus a random amount, multiplicative yield a random share of it. Formulas as in Snyder
& Shen, Fundamentals of Supply Chain Theory, 2nd ed., section 9.3 (Yano & Lee 1995, Operations Research 43(2)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np

from agents.oracles.economic_order_quantity import OrderQuantity
from agents.oracles.lead_time_demand import LatticeDemand, total_demand
from agents.oracles.newsvendor import StockLevel
from agents.oracles.parameters import require_not_negative, require_positive
from twin.distributions_base import Law
from twin.errors import ConfigError

__all__ = [
    "AdditiveYieldNewsvendor",
    "AdditiveYieldOrderQuantity",
    "MultiplicativeYieldNewsvendor",
    "MultiplicativeYieldOrderQuantity",
]


@dataclass(frozen=True)
class AdditiveYieldOrderQuantity:
    """Economic order quantity when an order of Q delivers Q plus a random amount; continuous review.

    Attributes
    ----------
    fixed_cost, holding_cost, demand_rate
        Money per order; money per unit and unit of time; units per unit of time.
    yield_mean, yield_sd
        Of the amount delivered beyond the order, units (a negative mean is a loss).
    """

    fixed_cost: float
    holding_cost: float
    demand_rate: float
    yield_mean: float
    yield_sd: float

    def __post_init__(self) -> None:
        require_positive(fixed_cost=self.fixed_cost, holding_cost=self.holding_cost, demand_rate=self.demand_rate)
        require_not_negative(yield_sd=self.yield_sd)

    def cost(self, quantity: float) -> float:
        """Expected money per unit of time when every order is of ``quantity`` units."""
        delivered = quantity + self.yield_mean
        if delivered <= 0.0:
            raise ConfigError(f"an order of {quantity} delivers {delivered} units on average; order more")
        spent = 2.0 * self.fixed_cost * self.demand_rate + self.holding_cost * self.yield_sd**2
        return spent / (2.0 * delivered) + self.holding_cost * delivered / 2.0

    def optimum(self) -> OrderQuantity:
        """The cheapest quantity."""
        square = 2.0 * self.fixed_cost * self.demand_rate / self.holding_cost + self.yield_sd**2
        quantity = sqrt(square) - self.yield_mean
        return OrderQuantity(quantity, self.cost(quantity))


@dataclass(frozen=True)
class MultiplicativeYieldOrderQuantity:
    """Economic order quantity when a random share of an order arrives; continuous review.

    Attributes
    ----------
    fixed_cost, holding_cost, demand_rate
        Money per order; money per unit and unit of time; units per unit of time.
    yield_mean, yield_sd
        Of the share.
    """

    fixed_cost: float
    holding_cost: float
    demand_rate: float
    yield_mean: float
    yield_sd: float

    def __post_init__(self) -> None:
        require_positive(fixed_cost=self.fixed_cost, holding_cost=self.holding_cost, demand_rate=self.demand_rate)
        require_positive(yield_mean=self.yield_mean)
        require_not_negative(yield_sd=self.yield_sd)

    @property
    def _second_moment(self) -> float:
        return self.yield_sd**2 + self.yield_mean**2

    def cost(self, quantity: float) -> float:
        """Expected money per unit of time when every order is of ``quantity`` units."""
        require_positive(quantity=quantity)
        held = self.holding_cost * quantity * self._second_moment / 2.0
        return (self.fixed_cost * self.demand_rate / quantity + held) / self.yield_mean

    def optimum(self) -> OrderQuantity:
        """The cheapest quantity."""
        quantity = sqrt(2.0 * self.fixed_cost * self.demand_rate / (self.holding_cost * self._second_moment))
        return OrderQuantity(quantity, self.cost(quantity))


@dataclass(frozen=True)
class AdditiveYieldNewsvendor:
    """One period with known demand when an order up to S delivers up to S plus a random amount.

    Phases: order, receive, demand, once. The random amount is a draw of ``surplus`` plus ``shift``; distributions of
    this project have no negative values, so a loss is a negative shift.

    Attributes
    ----------
    demand
        Units.
    holding_cost, penalty
        Money per unit left and per unit short.
    surplus, shift
        Units.
    """

    demand: float
    holding_cost: float
    penalty: float
    surplus: Law
    shift: float = 0.0

    def __post_init__(self) -> None:
        require_positive(demand=self.demand, holding_cost=self.holding_cost, penalty=self.penalty)

    @cached_property
    def _surplus(self) -> LatticeDemand:
        return total_demand(self.surplus, 1)

    def cost(self, level: float) -> float:
        """Expected money when ``level`` units are ordered."""
        # What demand leaves to the surplus is to the surplus what a level is to demand, with the roles swapped.
        return self._surplus.mean_cost(self.demand - self.shift - level, self.penalty, self.holding_cost)

    def optimum(self) -> StockLevel:
        """The cheapest level; it may exceed demand."""
        surplus = self._surplus.quantile(self.holding_cost / (self.holding_cost + self.penalty))
        level = self.demand - self.shift - surplus
        return StockLevel(level, self.cost(level))


@dataclass(frozen=True)
class MultiplicativeYieldNewsvendor:
    """One period with known demand when a random share of the order arrives.

    Phases: order, receive, demand, once.

    Attributes
    ----------
    demand
        Units.
    holding_cost, penalty
        Money per unit left and per unit short.
    share
        Distribution of the share.
    """

    demand: float
    holding_cost: float
    penalty: float
    share: Law

    def __post_init__(self) -> None:
        require_positive(demand=self.demand, holding_cost=self.holding_cost, penalty=self.penalty)
        if self.share.mean_value <= 0.0:
            raise ConfigError("the share that arrives must have a positive mean")

    @cached_property
    def _share(self) -> LatticeDemand:
        return total_demand(self.share, 1)

    def cost(self, level: float) -> float:
        """Expected money when ``level`` units are ordered."""
        require_positive(level=level)
        return level * self._share.mean_cost(self.demand / level, self.penalty, self.holding_cost)

    def optimum(self) -> StockLevel:
        """The cheapest quantity to order."""
        # A unit more costs holding x share where more than demand arrives and saves penalty x share elsewhere: the
        # balance is a quantile of the share weighted by itself.
        share = self._share
        weighted = share.mass * np.arange(len(share.mass))
        allowed = self.holding_cost / (self.holding_cost + self.penalty)
        level = self.demand / LatticeDemand(share.step, weighted / weighted.sum(), share.exact).quantile(allowed)
        return StockLevel(level, self.cost(level))
