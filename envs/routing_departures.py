"""Which departures of the next weeks the ways of a network take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twin.liner.assignment import Assignment
from twin.liner.routing import LEG
from twin.liner.schedule import WEEK

__all__ = ["WEEKS_AHEAD", "Departures"]

IntArray = NDArray[np.int64]

#: Departures of a call that are looked at: those of the next weeks. Cargo is under way for two or three.
WEEKS_AHEAD = 4


class Departures:
    """Which departures the ways of a network take: the one of week j from a call leaves in 7 j to 7 j + 6 days.

    Attributes
    ----------
    nodes
        (M,) calls from which vessels leave.
    """

    def __init__(self, assignment: Assignment) -> None:
        routing = assignment.routing
        self.nodes: IntArray = np.flatnonzero(routing.slot_resource >= 0)
        place = np.full(len(routing.slot_resource), -1, dtype=np.int64)
        place[self.nodes] = np.arange(len(self.nodes))
        legs = [
            (w, e, place[routing.arc_tail[a]])
            for w, way in enumerate(assignment.ways)
            for e, a in enumerate(way.arcs)
            if routing.arc_kind[a] == LEG
        ]
        self._ways = len(assignment.ways)
        #: Of every departure (size,): the call's, and which one it is, counted from 1.
        self.names = tuple(
            f"{routing.graph.node_name(int(node))}:{week + 1}" for node in self.nodes for week in range(WEEKS_AHEAD)
        )
        self._way, self._node = (np.array([leg[n] for leg in legs], dtype=np.int64) for n in (0, 2))
        self._days = np.array([assignment.days_until(w, e) for w, e, _ in legs], dtype=np.int64).reshape(-1, WEEK)

    @property
    def size(self) -> int:
        """Departures that are looked at, M times :data:`WEEKS_AHEAD`, call by call."""
        return len(self.nodes) * WEEKS_AHEAD

    def of_ways(self, weekday: int, later: int = 0) -> sparse.csr_array:
        """1 where a way (W, size) takes a departure, begun on a weekday that is so many days later than today."""
        week = (self._days[:, weekday] + later) // WEEK
        soon = week < WEEKS_AHEAD
        cell = self._node * WEEKS_AHEAD + week
        ones = np.ones(int(soon.sum()))
        return sparse.csr_array((ones, (self._way[soon], cell[soon])), shape=(self._ways, self.size))

    def spread(self, price: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers of calls (N, B) for each of their departures (size, B)."""
        return np.repeat(price[self.nodes], WEEKS_AHEAD, axis=0)
