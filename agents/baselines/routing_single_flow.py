"""Every flow anew by its cheapest way, one by one: what outages cost in days is counted, what others do is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing_cheapest import Cheapest
from envs.task import Task
from twin.errors import ActionError
from twin.state import TwinState

__all__ = ["SingleFlow"]


class SingleFlow(Cheapest):
    """The cheapest ways when all that is hit is taken to work again after some days.

    Parameters
    ----------
    recovery
        Those days, from now.
    """

    name = "routing_single_flow"

    def __init__(self, task: Task, parameters: ArrayLike | None = None, *, recovery: float = 14.0) -> None:
        super().__init__(task, parameters)
        if not 0.0 <= recovery < np.inf:
            raise ActionError(f"recovery must be a finite number of days of at least 0, received {recovery}")
        self.recovery = float(recovery)

    def cost(self, state: TwinState) -> NDArray[np.float64]:
        return self.costs.of(state, None, None, np.full(state.replicas, self.recovery))
