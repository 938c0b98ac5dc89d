"""The best week when bookings of every weekday may go another way, and what slots and moves are then worth.

A weekly plan sends the same share of a demand along a way whatever the day; yet on Monday one service leaves first, and
on Thursday another. Its columns are ways of bookings by the weekday on which they are decided on, its rows what is
booked, the slots of every departure, and the moves of every port.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from twin.distributions import Recorded
from twin.errors import ConfigError
from twin.liner.assignment import Assignment
from twin.liner.routing import LEG, TRANSFER
from twin.liner.schedule import WEEK

__all__ = ["WeekdayPlan", "WeekdayProgram", "booked_week"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeekdayPlan:
    """An optimal week. W ways, N calls, P ports.

    Attributes
    ----------
    cost
        Money a week: handling, transshipment, air, refusal, what time to delivery costs, and moves that are sold.
    ffe
        (7, W) FFE on the ways of bookings by the weekday on which they are decided on; none on those of cargo at calls.
    moves
        (P,) moves a week.
    slot_price
        (N,) money that one more slot of the departure from each call would be worth, at least 0.
    move_price
        (P,) the same of a move in each port.
    """

    cost: float
    ffe: FloatArray
    moves: FloatArray
    slot_price: FloatArray
    move_price: FloatArray


class WeekdayProgram:
    """Best weeks of one network, at the moves that its ports can make.

    Parameters
    ----------
    assignment
        The network, and the ways that may be taken.

    Attributes
    ----------
    slots
        (W, N) 1 where a way, of bookings or of cargo at calls, needs a slot of the departure from a call.
    moves
        (W, P) moves that a way takes in each port.
    """

    def __init__(self, assignment: Assignment) -> None:
        routing, graph = assignment.routing, assignment.routing.graph
        self.assignment = assignment
        self.slots, self.moves = _uses(assignment)
        self._ways = int(assignment.first_way[len(graph.demand)])
        flow = np.array([way.flow for way in assignment.ways[: self._ways]], dtype=np.int64)
        size = (len(graph.demand), self._ways)
        each = sparse.csr_array((np.ones(self._ways), (flow, np.arange(self._ways))), shape=size)
        days = assignment.way_days[: self._ways].T
        cost = assignment.way_cost[: self._ways] + routing.terms.value_of_time * days
        self._cost = cost.ravel()
        self._booked = sparse.block_diag([each] * WEEK, format="csr")
        # What is booked on a day is decided on the day after.
        self._right = np.roll(booked_week(assignment), 1, axis=0).ravel()
        day = sparse.vstack([self.slots[: self._ways].T, self.moves[: self._ways].T])
        self._used = sparse.hstack([day] * WEEK, format="csr")
        resource = routing.move_resource
        per_day = routing.compiled.topology.resource_capacity[np.maximum(resource, 0)]
        self._per_week = np.where(resource >= 0, WEEK * per_day, np.inf)

    def solve(self, *, port: int | None = None, price: float = 0.0) -> WeekdayPlan:
        """The best week; where a port is given, its moves are not limited but cost so much each.

        Raises
        ------
        ConfigError
            When HiGHS stops without an optimum.
        """
        cost, per_week = self._cost, self._per_week.copy()
        if port is not None:
            per_week[port] = np.inf
            sold = self.moves[: self._ways, [port]].toarray().ravel()
            cost = cost + price * np.tile(sold, WEEK)
        calls = self.slots.shape[1]
        limit = np.concatenate([self.assignment.routing.graph.leg_capacity, per_week])
        kept = np.isfinite(limit)
        result = optimize.linprog(
            cost,
            A_ub=self._used[kept],
            b_ub=limit[kept],
            A_eq=self._booked,
            b_eq=self._right,
            bounds=(0.0, None),
            method="highs",
        )
        if result.x is None:
            name = self.assignment.routing.liner.name
            raise ConfigError(f"HiGHS found no best week by weekday of {name} ({result.message})")
        dual = np.zeros(len(limit))
        dual[kept] = np.maximum(-result.ineqlin.marginals, 0.0)
        ffe = np.zeros((WEEK, self.slots.shape[0]))
        ffe[:, : self._ways] = np.maximum(result.x, 0.0).reshape(WEEK, -1)
        return WeekdayPlan(float(result.fun), ffe, ffe.sum(axis=0) @ self.moves, dual[:calls], dual[calls:])


def booked_week(assignment: Assignment) -> FloatArray:
    """FFE that are expected to be booked on each weekday, (7, D)."""
    laws = [entry[0] for entry in assignment.routing.compiled.demand_distributions]
    return np.array([law.values if isinstance(law, Recorded) else [law.mean_value] * WEEK for law in laws]).T


def _uses(assignment: Assignment) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Slots (W, N) and moves (W, P) of the ways; none of refusal and of what flies."""
    routing, graph = assignment.routing, assignment.routing.graph
    slots = np.zeros((len(assignment.ways), len(graph.port)))
    moves = np.zeros((len(assignment.ways), len(graph.port_names)))
    for w, way in enumerate(assignment.ways):
        for a in way.arcs if way.candidate >= 0 else ():
            node = routing.arc_tail[a] if routing.arc_tail[a] >= 0 else routing.arc_head[a]
            if routing.arc_kind[a] == LEG:
                slots[w, node] += 1.0
            else:
                moves[w, graph.port[node]] += 2.0 if routing.arc_kind[a] == TRANSFER else 1.0
    return sparse.csr_array(slots), sparse.csr_array(moves)
