"""The nominal plan, and waiting while a port on the way is hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing import RoutingPolicy
from envs.task import Task
from twin.liner.routing import LOAD
from twin.state import TwinState

__all__ = ["AlwaysWait"]


class AlwaysWait(RoutingPolicy):
    """As the static plan, but that nothing is loaded which the plan brings to a port that is hit."""

    name = "routing_wait"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        routing, ffe = self.assignment.routing, self.task.plan.ffe
        self.share = self.assignment.plan(ffe)
        #: (A, P) ports that planned cargo comes to after it is loaded on an arc.
        self.touched = np.zeros((len(routing.arc_kind), len(routing.graph.port_names)), dtype=np.bool_)
        moves = self.costs.moves.toarray()
        for w, way in enumerate(self.assignment.ways):
            if self.assignment.flows[way.flow].node < 0 and way.candidate >= 0 and ffe[way.candidate] > 0.0:
                self.touched[way.arcs[0]] |= moves[w] > 0.0

    def orders(self, state: TwinState) -> NDArray[np.float64]:
        loads = (self.assignment.routing.arc_kind == LOAD)[:, None]
        stays = loads & (self.touched.astype(np.float64) @ self.hit(state) > 0.0)
        return self.assignment.orders(state, np.where(stays, 0.0, self.share), by_booking=True)
