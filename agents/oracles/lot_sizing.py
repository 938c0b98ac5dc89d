"""Lot sizes for known demand that varies from period to period: Wagner & Whitin's recursion.

Wagner & Whitin (1958), Management Science 5(1):89-96. Phases: receive, order, demand with no lead time; no shortage;
holding cost on the stock at the end of a period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.oracles.parameters import require_not_negative

__all__ = ["LotSizes", "wagner_whitin"]


@dataclass(frozen=True)
class LotSizes:
    """Units to order in each period, and the cost of all periods together."""

    orders: tuple[float, ...]
    cost: float


def wagner_whitin(demand: Sequence[float], fixed_cost: float, holding_cost: float) -> LotSizes:
    """Cheapest orders that meet every period's demand from an empty start.

    Parameters
    ----------
    demand
        Units per period.
    fixed_cost
        Money per order.
    holding_cost
        Money per unit on hand at the end of a period.

    Raises
    ------
    ConfigError
        When a number is negative or not finite.

    Examples
    --------
    Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., Example 3.9:

    >>> wagner_whitin([90, 120, 80, 70], fixed_cost=500, holding_cost=2)
    LotSizes(orders=(210.0, 0.0, 150.0, 0.0), cost=1380.0)
    """
    require_not_negative(fixed_cost=fixed_cost, holding_cost=holding_cost)
    require_not_negative(**{f"demand[{t}]": units for t, units in enumerate(demand)})
    horizon = len(demand)
    # cost[t]: of periods t, ..., T - 1 from an empty start; an order in t lasts until just before until[t].
    cost, until = np.zeros(horizon + 1), [horizon] * horizon
    for t in reversed(range(horizon)):
        if demand[t] == 0.0:
            cost[t], until[t] = cost[t + 1], t + 1
            continue
        spent, cost[t] = fixed_cost, np.inf
        for end in range(t + 1, horizon + 1):
            spent += holding_cost * (end - 1 - t) * demand[end - 1]
            if spent + cost[end] < cost[t]:
                cost[t], until[t] = spent + cost[end], end
    orders, t = [0.0] * horizon, 0
    while t < horizon:
        orders[t] = float(sum(demand[t : until[t]]))
        t = until[t]
    return LotSizes(tuple(orders), float(cost[0]))
