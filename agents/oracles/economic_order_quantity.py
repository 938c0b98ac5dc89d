"""Economic order quantity: constant demand, instant delivery, a fixed cost per order.

Harris (1913), Factory, The Magazine of Management 10(2). Continuous review, so no order of phases matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from agents.oracles.parameters import require_positive

__all__ = ["EconomicOrderQuantity", "OrderQuantity"]


@dataclass(frozen=True)
class OrderQuantity:
    """A quantity per order, in units, and its cost, in money per unit of time."""

    quantity: float
    cost: float


@dataclass(frozen=True)
class EconomicOrderQuantity:
    """The trade-off between ordering and holding.

    Attributes
    ----------
    fixed_cost
        Money per order.
    holding_cost
        Money per unit and unit of time.
    demand_rate
        Units per unit of time.

    Raises
    ------
    ConfigError
        When one of them is not a positive number.
    """

    fixed_cost: float
    holding_cost: float
    demand_rate: float

    def __post_init__(self) -> None:
        require_positive(**vars(self))

    def cost(self, quantity: float) -> float:
        """Money per unit of time when every order is of ``quantity`` units."""
        require_positive(quantity=quantity)
        return self.fixed_cost * self.demand_rate / quantity + self.holding_cost * quantity / 2.0

    def optimum(self) -> OrderQuantity:
        """The cheapest quantity."""
        quantity = sqrt(2.0 * self.fixed_cost * self.demand_rate / self.holding_cost)
        return OrderQuantity(quantity, self.cost(quantity))
