"""Every flow by its cheapest way that changes vessels in no port that is hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing_cheapest import Cheapest
from envs.task import Task
from twin.liner.routing import TRANSFER
from twin.state import TwinState

__all__ = ["AvoidHitPorts"]

#: Money per FFE: more than what is lost where cargo is refused, so that any other way is preferred.
_FAR = 1e6


class AvoidHitPorts(Cheapest):
    """Ways with a transshipment in a port that is hit are left, if there are others; where cargo comes from and goes
    to cannot be chosen.
    """

    name = "routing_avoid"

    def __init__(self, task: Task, parameters: ArrayLike | None = None) -> None:
        super().__init__(task, parameters)
        routing = self.assignment.routing
        self.changes = np.zeros((len(self.assignment.ways), len(routing.graph.port_names)))
        for w, way in enumerate(self.assignment.ways):
            for a in way.arcs:
                if way.candidate >= 0 and routing.arc_kind[a] == TRANSFER:
                    self.changes[w, routing.graph.port[routing.arc_tail[a]]] = 1.0

    def cost(self, state: TwinState) -> NDArray[np.float64]:
        usual, hit = super().cost(state), self.changes @ self.hit(state).astype(np.float64)
        # Where all ways but refusal are left, the usual choice stands.
        first = self.assignment.first_way[:-1]
        free = np.maximum.reduceat((hit == 0.0) & self._carries, first, axis=0)
        flow = np.array([way.flow for way in self.assignment.ways])
        return np.asarray(np.where((hit > 0.0) & free[flow], usual + _FAR, usual))

    @property
    def _carries(self) -> NDArray[np.bool_]:
        return np.array([way.candidate >= 0 for way in self.assignment.ways])[:, None]
