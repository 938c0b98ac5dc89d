"""The cargo of a liner network day by day as a linear program: what a known path, or an expected one, could earn.

Steps t = 0, ..., T - 1 are the twin's days, from one decision epoch to the next. Columns, all at least 0: per day and
arc what it ships (legs on the days of their departures), per day and stock point what stays, per day and demand what
stays booked. Rows: what comes to a call stays or leaves; what is bought was booked on an earlier day and is not under
way; departures have slots, ports moves. Cargo is money when it is delivered: its revenue, and the time that it is not
owed any more.

The matrix depends on the weekday of day 0 alone. A model for each is kept in HiGHS and changed in place: what is there,
what is booked and what works are right-hand sides and bounds.

Every policy of the environment obeys these rows, so that with the true bookings and outages the optimum is a bound. It
relaxes how short moves and slots are divided, and that a plan loads for the next departure alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from agents.oracles.highs import optimum, standing_model
from agents.oracles.sparse_rows import SparseRows
from twin.liner.assignment import Assignment
from twin.liner.routing import LEG
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["CargoSchedule", "DailyPlan"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Columns from which on an interior-point method is faster than the simplex method from the last basis: 214,000 of the
#: Mediterranean's three weeks take it 3 seconds, and the simplex method minutes.
_LARGE = 100_000


@dataclass(frozen=True, eq=False)
class DailyPlan:
    """An optimal schedule.

    Attributes
    ----------
    cost
        Money over T days, less what is left at the end; fixed cost of services left out.
    orders
        (T, A) FFE that arcs ship.
    """

    cost: float
    orders: FloatArray


@dataclass(frozen=True, eq=False)
class _Model:
    """A program for one weekday of day 0: the model in HiGHS and where its parts are."""

    model: Any
    ship: IntArray  # (T, A)
    there: IntArray  # (T, I) rows
    booked: IntArray  # (T, D) rows
    moves: IntArray  # (T, R) rows, of ports
    upper: FloatArray  # of all columns


class CargoSchedule:
    """Programs over T days of one network.

    Parameters
    ----------
    assignment
        The network.
    days
        T.
    worth, booked
        (I,) and (D,) money per FFE that is at, or on its way to, a stock point, or booked, when the T days are over.

    Raises
    ------
    ImportError
        When HiGHS is missing, with what to install.
    """

    def __init__(self, assignment: Assignment, days: int, worth: FloatArray, booked: FloatArray) -> None:
        self.assignment, self.days, self.worth, self.booked = assignment, days, worth, booked
        routing = assignment.routing
        self.routing, self.top = routing, routing.compiled.topology
        drawing = np.diff(self.top.in_ptr) > 0
        self._source = np.full(routing.compiled.n_arcs, -1, dtype=np.int64)
        self._source[drawing] = self.top.in_stock[self.top.in_ptr[:-1][drawing]]
        self._calls = np.flatnonzero(routing.stock_node >= 0)
        self._ports = np.array([r for r in routing.move_resource if r >= 0], dtype=np.int64)
        self._owner = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(self.top.use_ptr))
        canals = list(routing.canal_resource.values())
        through = np.isin(self.top.use_resource, canals)
        #: Pairs of an arc and the canal that it goes through.
        self._through = (self._owner[through], self.top.use_resource[through])
        self._models: dict[int, _Model] = {}

    def plan(self, state: TwinState, replica: int, booked: FloatArray, works: FloatArray) -> DailyPlan:
        """The best schedule from a decision epoch on.

        Parameters
        ----------
        state, replica
            Where it begins.
        booked
            (T, D) FFE booked in the demand phase of each day; what is booked on day t can be loaded on day t + 1.
        works
            (T, R) share of every resource that works.

        Raises
        ------
        ConfigError
            When HiGHS stops without an optimum.
        """
        weekday = int(state.period[replica]) % WEEK
        if weekday not in self._models:
            self._models[weekday] = self._made(weekday)
        kept, top, arrays = self._models[weekday], self.top, state.arrays
        due = np.zeros((self.days, self.routing.compiled.n_stocks))
        due[0] = arrays.on_hand[:, replica]
        carrier = np.repeat(np.arange(self.routing.compiled.n_arcs), np.diff(top.pipe_ptr))
        ahead = np.arange(top.pipe_ptr[-1]) - top.pipe_ptr[carrier] + 1
        pipeline = state.logical("pipeline")[:, replica]
        soon = ahead < self.days
        np.add.at(due, (ahead[soon], top.arc_destination[carrier[soon]]), pipeline[soon])
        waiting = self.assignment.waiting(state)[:, replica]
        comes = np.concatenate([waiting[None], booked[:-1]])
        self._equal(kept.model, kept.there, due[:, self._calls])
        self._equal(kept.model, kept.booked, comes)
        left = np.where(works[:, self._ports] > 0.0, top.resource_capacity[self._ports] * works[:, self._ports], 0.0)
        most = np.where(np.isfinite(left), left, np.inf).ravel()
        rows = kept.moves.ravel().astype(np.int32)
        kept.model.changeRowsBounds(len(rows), rows, np.full(len(rows), -np.inf), most)
        arc, canal = self._through
        if len(arc):
            columns = kept.ship[:, arc].ravel().astype(np.int32)
            upper = np.where(works[:, canal] > 0.0, kept.upper[kept.ship[:, arc]], 0.0).ravel()
            kept.model.changeColsBounds(len(columns), columns, np.zeros(len(columns)), upper)
        x = np.maximum(optimum(kept.model, f"cargo schedule of {self.routing.liner.name}"), 0.0)
        cost = float(kept.model.getInfo().objective_function_value)
        # What is owed whatever is done, and cargo that arrives after the end.
        rate = self.routing.terms.value_of_time
        owed = arrays.backlog[:, replica].sum() * self.days + booked.sum(axis=1) @ np.arange(self.days, 0, -1)
        late = float(self.worth[top.arc_destination[carrier[~soon]]] @ pipeline[~soon])
        late += float(self.booked @ booked[-1])
        return DailyPlan(cost + rate * float(owed) - late, x[kept.ship])

    @staticmethod
    def _equal(model: Any, rows: IntArray, right: FloatArray) -> None:
        numbers, values = rows.ravel().astype(np.int32), np.ascontiguousarray(right.ravel())
        model.changeRowsBounds(len(numbers), numbers, values, values)

    def _made(self, weekday: int) -> _Model:
        routing, top, days = self.routing, self.top, self.days
        arcs, demands = routing.compiled.n_arcs, len(routing.graph.demand)
        sizes = [arcs, len(self._calls), demands]
        ends = np.cumsum([0, *(days * size for size in sizes)])
        ship, stay, wait = (np.arange(*ends[k : k + 2]).reshape(days, size) for k, size in enumerate(sizes))
        columns = int(ends[-1])
        place = np.full(routing.compiled.n_stocks, -1, dtype=np.int64)
        place[self._calls] = np.arange(len(self._calls))

        equal, most = SparseRows(), SparseRows()
        there = equal.new(np.zeros((days, len(self._calls))))
        equal.add(there, stay, 1.0)
        equal.add(there[1:], stay[:-1], -1.0)
        draws = np.flatnonzero(self._source >= 0)
        equal.add(there[:, place[self._source[draws]]], ship[:, draws], 1.0)
        lead = top.arc_fixed_lead
        for a in np.flatnonzero(place[top.arc_destination] >= 0):
            lands = np.arange(days) + int(lead[a])
            inside = lands < days
            equal.add(there[lands[inside], place[top.arc_destination[a]]], ship[inside, a], -1.0)
        books = equal.new(np.zeros((days, demands)))
        equal.add(books, wait, 1.0)
        equal.add(books[1:], wait[:-1], -1.0)
        bought = np.flatnonzero(self._source < 0)
        equal.add(books[:, routing.arc_demand[bought]], ship[:, bought], 1.0)

        moves = most.new(np.zeros((days, len(self._ports))))
        port = np.full(routing.compiled.n_resources, -1, dtype=np.int64)
        port[self._ports] = np.arange(len(self._ports))
        used = np.flatnonzero(port[top.use_resource] >= 0)
        most.add(moves[:, port[top.use_resource[used]]], ship[:, self._owner[used]], top.use_coefficient[used])
        slots = most.new(np.broadcast_to(routing.graph.leg_capacity, (days, len(routing.graph.port))).copy())
        legs = np.flatnonzero(routing.arc_kind == LEG)
        most.add(slots[:, routing.arc_tail[legs]], ship[:, legs], 1.0)

        upper = np.full(columns, np.inf)
        sails = (weekday + np.arange(days)[:, None]) % WEEK == routing.schedule.weekday[routing.arc_tail[legs]]
        upper[ship[:, legs]] = np.where(sails, np.inf, 0.0)
        cost = np.zeros(columns)
        cost[ship] = top.arc_unit_cost + top.arc_freight
        delivers = np.flatnonzero(routing.stock_node[top.arc_destination] < 0)
        revenue = routing.graph.revenue[routing.arc_demand[delivers]]
        lands = np.arange(days)[:, None] + lead[delivers]
        earned = revenue + routing.terms.value_of_time * (days - lands)
        cost[ship[:, delivers]] -= np.where(lands < days, earned, revenue)
        for a in np.flatnonzero(place[top.arc_destination] >= 0):
            after = np.arange(days) + int(lead[a]) >= days
            cost[ship[after, a]] -= self.worth[top.arc_destination[a]]
        cost[stay] += top.stock_holding[self._calls]
        cost[stay[-1]] -= self.worth[self._calls]
        cost[wait[-1]] -= self.booked

        offset = len(equal.right)
        matrix = sparse.vstack([equal.matrix(columns), most.matrix(columns)]).tocsr()
        lower = np.concatenate([equal.right, np.full(len(most.right), -np.inf)])
        rows = (lower, np.concatenate([equal.right, most.right]))
        solver = "ipm" if columns > _LARGE else "simplex"
        model = standing_model(cost, (np.zeros(columns), upper), matrix, rows, solver=solver)
        return _Model(model, ship, there, books, moves + offset, upper)
