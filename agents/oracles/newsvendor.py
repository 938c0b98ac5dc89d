"""Base-stock levels of a single stage with backlog; without a lead time it is the newsvendor.

With no fixed cost an order-up-to level is optimal, and the level balances left over against short: the probability of
meeting all demand is penalty / (penalty + holding cost) (Arrow, Harris & Marschak 1951, Econometrica 19(3); Karlin &
Scarf 1958). Demand over the covered periods decides: an order before demand covers L + 1 of them, one after it L.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from agents.oracles.lead_time_demand import LatticeDemand, demand_before_order, total_demand
from agents.oracles.parameters import require_positive, require_whole
from twin.distributions_base import Law
from twin.errors import ConfigError
from twin.network import Phase

__all__ = ["Newsvendor", "StockLevel"]


@dataclass(frozen=True)
class StockLevel:
    """A level and what it costs.

    Attributes
    ----------
    level
        Units to order up to.
    cost
        Money per period.
    """

    level: float
    cost: float


@dataclass(frozen=True)
class Newsvendor:
    """One stock point with a reliable supplier, backlog and costs on the stock at the end of a period.

    Attributes
    ----------
    demand
        Of one period, units, independent between periods.
    holding_cost, penalty
        Money per unit left and per unit short at the end of a period.
    lead_time
        Whole periods.
    phases
        Order of the phases of a period. ``receive, order, demand`` and ``order, receive, demand`` cover lead time + 1
        demands, ``receive, demand, order`` covers lead time.

    Raises
    ------
    ConfigError
        When a cost is not positive, the lead time not a whole number, the phases unknown, or no demand is covered.

    Examples
    --------
    Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., Example 4.1:

    >>> from twin.distributions import Normal
    >>> best = Newsvendor(Normal(mean=50, sd=8), holding_cost=0.18, penalty=0.70).optimum()
    >>> round(best.level, 3), round(best.cost, 4)
    (56.604, 1.9976)
    """

    demand: Law
    holding_cost: float
    penalty: float
    lead_time: int = 0
    phases: tuple[Phase, Phase, Phase] = ("receive", "order", "demand")

    def __post_init__(self) -> None:
        require_positive(holding_cost=self.holding_cost, penalty=self.penalty)
        require_whole(lead_time=self.lead_time)
        if demand_before_order(self.phases) and self.lead_time == 0:
            raise ConfigError("an order after demand without a lead time never meets a shortage: nothing to decide")

    @cached_property
    def covered(self) -> LatticeDemand:
        """Demand between an order and the end of the period that it arrives in."""
        return total_demand(self.demand, self.lead_time + (0 if demand_before_order(self.phases) else 1))

    def cost(self, level: float) -> float:
        """Expected money per period when every order raises the inventory position to ``level`` units."""
        return self.covered.mean_cost(level, self.holding_cost, self.penalty)

    def optimum(self) -> StockLevel:
        """The cheapest level (the smallest of them)."""
        level = self.covered.quantile(self.penalty / (self.penalty + self.holding_cost))
        return StockLevel(level, self.cost(level))
