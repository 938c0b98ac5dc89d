"""How full the next departures are: what the cargo of a network asks of them, against their slots.

What is at calls and under way, what is booked, and what will be booked as a rule, all on the ways of the nominal week.
In that week itself nothing is left over; bookings vary, and what finds no slot waits for a departure later on. A
departure that is fuller than usual is where another slot is worth more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.routing_costs import WayCosts
from envs.routing_departures import WEEKS_AHEAD
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["DepartureLoads"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class DepartureLoads:
    """What is asked of departures, over their slots.

    Parameters
    ----------
    costs
        Of the network's ways, with the nominal plan, whose ways cargo is taken to go; the cheapest where the plan has
        none.
    """

    def __init__(self, costs: WayCosts) -> None:
        self.assignment = assignment = costs.assignment
        departures = costs.departures
        routing, top = assignment.routing, assignment.routing.compiled.topology
        demands, stocks = len(routing.graph.demand), routing.compiled.n_stocks
        self._slots = np.repeat(routing.graph.leg_capacity[departures.nodes], WEEKS_AHEAD)[:, None]
        parts = [self._parts(costs, weekday) for weekday in range(WEEK)]
        flow = np.full(stocks, -1, dtype=np.int64)
        flow[assignment.call_stock] = np.arange(demands, len(assignment.flows))
        pipes = int(top.pipe_ptr[-1])
        carrier = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.pipe_ptr))
        ahead = np.arange(pipes) - top.pipe_ptr[carrier] + 1
        # What the state is made of: cargo at stock points, cargo by days until it comes, and bookings.
        whose = np.concatenate([flow, flow[top.arc_destination[carrier]], np.arange(demands)])
        when = np.concatenate([np.zeros(stocks, dtype=np.int64), ahead, np.zeros(demands, dtype=np.int64)])
        booked = routing.graph.demand / WEEK
        self._asked: list[sparse.csr_array] = []
        self._expected = np.zeros((WEEK, departures.size, 1))
        for today in range(WEEK):
            entries: list[tuple[IntArray, IntArray, FloatArray]] = []
            for later in range(WEEK * WEEKS_AHEAD):
                weekday = (today + later) % WEEK
                taken = (parts[weekday] @ departures.of_ways(weekday, later)).tocsr()
                if later > 0:
                    self._expected[today, :, 0] += booked @ taken[:demands]
                mine = np.flatnonzero((when == later) & (whose >= 0))
                chosen = taken[whose[mine]].tocoo()
                entries.append((chosen.col, mine[chosen.row], chosen.data))
            cell, source, part = (np.concatenate(values) for values in zip(*entries, strict=True))
            shape = (departures.size, len(whose))
            self._asked.append(sparse.csr_array((part, (cell, source)), shape=shape))

    def _parts(self, costs: WayCosts, weekday: int) -> sparse.csr_array:
        """Parts (F, W) of flows that the nominal plan sends on each way."""
        assignment = self.assignment
        flow = np.array([way.flow for way in assignment.ways], dtype=np.int64)
        weight = np.zeros(len(flow)) if costs.weight is None else costs.weight[weekday].copy()
        total = np.bincount(flow, weights=weight, minlength=len(assignment.flows))
        cheapest = assignment.cheapest(np.ascontiguousarray(costs.usual[weekday][:, None]))[:, 0]
        none = np.flatnonzero((total <= 0.0) & (cheapest >= 0))
        weight[assignment.first_way[none] + cheapest[none]] = 1.0
        total[none] = 1.0
        part = np.divide(weight, total[flow], out=np.zeros(len(flow)), where=total[flow] > 0.0)
        return sparse.csr_array((part, (flow, np.arange(len(flow)))), shape=(len(total), len(flow)))

    def of(self, state: TwinState) -> FloatArray:
        """What is asked of :class:`envs.routing_departures.Departures` (size, B), over their slots."""
        arrays = state.arrays
        there = np.concatenate([arrays.on_hand, state.logical("pipeline"), self.assignment.waiting(state)])
        weekday = state.period % WEEK
        out = np.empty((len(self._slots), state.replicas))
        for today in np.unique(weekday):
            mine = weekday == today
            out[:, mine] = self._asked[today] @ there[:, mine] + self._expected[today]
        return np.asarray(out / self._slots)
