"""Bookings by their cheapest way that changes vessels in no port that is hit; what is under way goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.baselines.routing_cheapest import Cheapest
from envs.task import Task
from twin.liner.routing import TRANSFER
from twin.state import TwinState

__all__ = ["AvoidHitPorts"]

#: Share of what waiting a week costs by which ways through a port that is hit come after the others.
_AFTER = 0.9


class AvoidHitPorts(Cheapest):
    """Of bookings ways with a transshipment in a port that is hit are taken last: what finds no room on another one
    that is better than refusal goes by them all the same. Where cargo comes from and goes to cannot be chosen, and
    cargo under way is not turned: sent on by whatever avoids the port it takes the slots of others.
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
        demands = len(routing.graph.demand)
        #: Ways of bookings come first: how many there are, where those of each demand begin, and whose they are.
        self._booked = int(self.assignment.first_way[demands])
        self._first = self.assignment.first_way[:demands]
        ways = self.assignment.ways[: self._booked]
        self._flow = np.array([way.flow for way in ways])
        self._carries = np.array([way.candidate >= 0 for way in ways])[:, None]

    def cost(self, state: TwinState) -> NDArray[np.float64]:
        cost = super().cost(state)
        usual = cost[: self._booked]
        hit = (self.changes @ self.hit(state).astype(np.float64) > 0.0)[: self._booked]
        # The cheapest way that avoids what is hit, if it is better than refusal: the others come right after it.
        free = np.where(hit | ~self._carries, np.inf, usual)
        best = np.minimum.reduceat(free, self._first, axis=0)[self._flow]
        refusal = np.minimum.reduceat(np.where(self._carries, np.inf, usual), self._first, axis=0)[self._flow]
        after = np.maximum(usual, best + _AFTER * self.costs.patience)
        cost[: self._booked] = np.where(hit & (best < refusal), after, usual)
        return cost
