"""The nominal plan, followed whatever happens: no rerouting at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing import RoutingPolicy
from envs.task import Task
from twin.state import TwinState

__all__ = ["StaticPlan"]


class StaticPlan(RoutingPolicy):
    """The weekly amounts of the task's nominal plan; what finds no moves waits."""

    name = "routing_static"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        self.share = self.assignment.plan(self.task.plan.ffe)

    def orders(self, state: TwinState) -> NDArray[np.float64]:
        return self.assignment.orders(state, self.share, by_booking=True)
