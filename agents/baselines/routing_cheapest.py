"""Every flow by its cheapest way: the zero action of the routing environment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.baselines.routing import RoutingPolicy
from twin.state import TwinState

__all__ = ["Cheapest"]

FloatArray = NDArray[np.float64]


class Cheapest(RoutingPolicy):
    """The cheapest ways at the task's costs, as far as there is room; subclasses add to the costs."""

    name = "routing_cheapest"

    def cost(self, state: TwinState) -> FloatArray:
        """Costs (W, B) of the ways, money per FFE."""
        return self.costs.of(state, None, None, None)

    def orders(self, state: TwinState) -> FloatArray:
        share = self.assignment.fitted(state, self.cost(state), self.costs.patience, weight=self.costs.weight)
        return self.assignment.orders(state, share)
