"""The cargo of a liner network day by day as a linear program: what a known path, or an expected one, could earn.

Steps t = 0, ..., T - 1 are the twin's days, from one decision epoch to the next. Cargo is that of the classes of
:class:`agents.oracles.cargo_classes.CargoClasses`, which leaves the optimum as it is. Columns, all at least 0:

- per day what is loaded, by demand and call, what is refused or flown, and what stays booked, by demand;
- per departure what sails, and per day what changes vessels or is discharged, by class;
- what stays at calls: from day to day where cargo may do several things, from departure to departure where it can only
  sail, because nothing can be done with it in between.

Rows: what comes to a call stays or leaves; what is bought was booked on an earlier day and is not under way;
departures have slots, ports moves. Cargo is money when it is delivered: its revenue, and the time that it is not owed
any more. What is left at the end is worth what the environment says (:class:`envs.routing_costs.CargoWorth`).

The matrix depends on the weekday of day 0 alone. A model for each is kept in HiGHS and changed in place: what is there,
what is booked and what works are right-hand sides and bounds.

Every policy of the environment obeys these rows, so that with the true bookings and outages the optimum is a bound. It
relaxes how short moves and slots are divided, and that a plan loads for the next departure alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from agents.oracles.cargo_classes import CargoClasses
from agents.oracles.highs import optimum, standing_model
from envs.routing_costs import CargoWorth
from twin.liner.assignment import Assignment
from twin.liner.routing import AIR, DISCHARGE, LEG, LOAD, REFUSE, TRANSFER
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["CargoSchedule", "DailyPlan"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Columns from which on an interior-point method is faster than the simplex method, whose vertex nobody needs.
_LARGE = 50_000

#: FFE that are rounding, and no cargo.
_DUST = 1e-9


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


class CargoSchedule:
    """Programs over T days of one network.

    Parameters
    ----------
    assignment
        The network.
    days
        T.
    worth
        What cargo is worth when the T days are over.

    Raises
    ------
    ImportError
        When HiGHS is missing, with what to install.
    """

    def __init__(self, assignment: Assignment, days: int, worth: CargoWorth) -> None:
        self.assignment, self.days, self.classes = assignment, days, CargoClasses(assignment, worth)
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
            self._models[weekday] = _Model(self.assignment, self.classes, self.days, weekday)
        return self._models[weekday].solve(state, replica, booked, works)


class _Model:
    """A program for one weekday of day 0."""

    def __init__(self, assignment: Assignment, classes: CargoClasses, days: int, weekday: int) -> None:
        self.assignment, self.classes, self.days = assignment, classes, days
        routing = assignment.routing
        self.routing, self.top = routing, routing.compiled.topology
        self.rate = routing.terms.value_of_time
        self.arc_cost = self.top.arc_unit_cost + self.top.arc_freight
        self._today = np.arange(days)
        #: Day of the first departure from a call of a class (C,).
        self.first = (routing.schedule.weekday[classes.node] - weekday) % WEEK
        kind = routing.arc_kind[classes.arc]
        others = np.isin(kind, (TRANSFER, DISCHARGE))
        #: Classes that can only sail.
        self.carried = np.bincount(classes.tail[others], minlength=len(classes.node)) == 0
        held = self.top.stock_holding[routing.stock_node >= 0]
        self.held = float(held.max(initial=0.0))
        self._rows = self._size = 0
        self._cost: list[FloatArray] = []
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        # A class that can only sail has a row for each departure, at the day of it; others for each day.
        self.there = self._new_rows(len(classes.node))
        self.books = self._new_rows(len(routing.graph.demand))
        self._balanced = self._rows
        self.slots = self._new_rows(len(routing.graph.port))
        self.moves = np.full((len(routing.move_resource), days), -1, dtype=np.int64)
        limited = routing.move_resource >= 0
        self.moves[limited] = self._new_rows(int(limited.sum()))
        self._stay()
        self._go(kind)
        self._buy()
        self._made()

    # -- rows and columns ---------------------------------------------------------------------------------------------

    def _new_rows(self, size: int) -> IntArray:
        rows = self._rows + np.arange(size * self.days).reshape(size, self.days)
        self._rows += size * self.days
        return rows

    def _new(self, cost: ArrayLike, of: IntArray, to: ArrayLike = -1) -> IntArray:
        """Columns from the rows ``of`` to the rows ``to`` (-1: to nowhere), at a cost."""
        columns = self._size + np.arange(len(of))
        self._size += len(of)
        self._cost.append(np.broadcast_to(np.asarray(cost, dtype=np.float64), len(of)))
        self._add(of, columns, 1.0)
        self._add(to, columns, -1.0)
        return columns

    def _add(self, row: ArrayLike, column: IntArray, value: float) -> None:
        """Entries; rows below 0 are none."""
        rows = np.broadcast_to(np.asarray(row), column.shape)
        real = rows >= 0
        self._entries.append((rows[real], column[real], np.full(int(real.sum()), value)))

    def _enter(self, c: int, day: IntArray) -> tuple[IntArray, FloatArray]:
        """Rows of a class that cargo comes to on days, and what it costs until then, or from the end on."""
        when = day + (self.first[c] - day) % WEEK if self.carried[c] else day
        inside = when < self.days
        row = np.where(inside, self.there[c, np.minimum(when, self.days - 1)], -1)
        end = np.where(day < self.days, self.held * (self.days - day), 0.0) + self.classes.rest[c]
        return row, np.where(inside, self.held * (when - day), end)

    def _earned(self, day: ArrayLike) -> FloatArray:
        """The time that what is delivered on a day is not owed any more, in money."""
        return np.asarray(self.rate * np.maximum(self.days - np.asarray(day), 0), dtype=np.float64)

    def _stay(self) -> None:
        for c, rows in enumerate(self.there):
            days = self._today[self.first[c] :: WEEK] if self.carried[c] else self._today
            step = WEEK if self.carried[c] else 1
            to = np.append(rows[days[1:]], -1)[: len(days)]
            last = self.held * np.minimum(step, self.days - days) + self.classes.rest[c] * (days + step >= self.days)
            self._new(last, rows[days], to)

    def _go(self, kind: IntArray) -> None:
        """What goes on from calls: per arc of classes and day its column, -1 without."""
        classes, top, routing = self.classes, self.top, self.routing
        self.onward = np.full((len(kind), self.days), -1, dtype=np.int64)
        for h, a in enumerate(classes.arc):
            c, head = int(classes.tail[h]), int(classes.head[h])
            days = self._today[self.first[c] :: WEEK] if kind[h] == LEG else self._today
            if kind[h] == DISCHARGE:
                columns = self._new(self.arc_cost[a] - self._earned(days), self.there[c, days])
            else:
                to, later = self._enter(head, days + int(top.arc_fixed_lead[a]))
                columns = self._new(self.arc_cost[a] + later, self.there[c, days], to)
            self.onward[h, days] = columns
            if kind[h] == LEG:
                self._add(self.slots[classes.node[c], days], columns, 1.0)
            else:
                port = routing.graph.port[classes.node[c]]
                self._add(self.moves[port, days], columns, 2.0 if kind[h] == TRANSFER else 1.0)

    def _buy(self) -> None:
        """What becomes of bookings: per purchase and day its column."""
        routing, top, graph = self.routing, self.top, self.routing.graph
        self.bought = np.flatnonzero(np.isin(routing.arc_kind, (LOAD, AIR, REFUSE)))
        self.buys = np.full((len(self.bought), self.days), -1, dtype=np.int64)
        for k, a in enumerate(self.bought):
            d = int(routing.arc_demand[a])
            cost = self.arc_cost[a] - graph.revenue[d]
            if routing.arc_kind[a] == LOAD:
                to, later = self._enter(int(self.classes.of_stock[top.arc_destination[a]]), self._today)
                self.buys[k] = self._new(cost + later, self.books[d], to)
                self._add(self.moves[graph.origin[d]], self.buys[k], 1.0)
            else:
                lands = self._today + int(top.arc_fixed_lead[a])
                self.buys[k] = self._new(cost - self._earned(lands), self.books[d])
        for d, rows in enumerate(self.books):
            last = (self._today == self.days - 1) * -self.classes.booked[d]
            self._new(last, rows, np.append(rows[1:], -1))

    def _made(self) -> None:
        routing, top = self.routing, self.top
        row, column, value = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        matrix = sparse.csr_array((value, (row, column)), shape=(self._rows, self._size))
        right = np.zeros(self._rows)
        right[self.slots] = routing.graph.leg_capacity[:, None]
        lower = np.where(np.arange(self._rows) < self._balanced, 0.0, -np.inf)
        bounds = np.zeros(self._size), np.full(self._size, np.inf)
        large = self._size > _LARGE
        solver = "ipm" if large else "simplex"
        self._model = standing_model(np.concatenate(self._cost), bounds, matrix, (lower, right), solver=solver)
        if large:
            self._model.setOptionValue("run_crossover", "off")
        del self._entries, self._cost
        self._carrier = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.pipe_ptr))
        self._ahead = np.arange(top.pipe_ptr[-1]) - top.pipe_ptr[self._carrier] + 1
        owner = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.use_ptr))
        place = np.full(routing.compiled.n_arcs, -1, dtype=np.int64)
        place[self.classes.arc] = np.arange(len(self.classes.arc))
        through = np.isin(top.use_resource, list(routing.canal_resource.values())) & (place[owner] >= 0)
        #: Pairs of an arc of classes and a canal that it goes through.
        self._through = place[owner[through]], top.use_resource[through]

    # -- solving ------------------------------------------------------------------------------------------------------

    def solve(self, state: TwinState, replica: int, booked: FloatArray, works: FloatArray) -> DailyPlan:
        """See :meth:`CargoSchedule.plan`."""
        model, routing, top = self._model, self.routing, self.top
        right = np.zeros(self._balanced)
        settled = self._cargo(state, replica, right)
        waiting = self.assignment.waiting(state)[:, replica]
        right[self.books] = np.concatenate([waiting[None], booked[:-1]]).T
        model.changeRowsBounds(self._balanced, np.arange(self._balanced, dtype=np.int32), right, right)
        ports = np.flatnonzero(routing.move_resource >= 0)
        resource = routing.move_resource[ports]
        share = works[:, resource].T
        left = np.where(share > 0.0, top.resource_capacity[resource, None] * np.where(share > 0.0, share, 1.0), 0.0)
        rows = self.moves[ports].ravel().astype(np.int32)
        model.changeRowsBounds(len(rows), rows, np.full(len(rows), -np.inf), left.ravel())
        arc, canal = self._through
        if len(arc):
            shut = np.zeros(self._size, dtype=np.bool_)
            columns, closed = self.onward[arc], works[:, canal].T == 0.0
            shut[columns[(columns >= 0) & closed]] = True
            touched = np.unique(columns[columns >= 0]).astype(np.int32)
            upper = np.where(shut[touched], 0.0, np.inf)
            model.changeColsBounds(len(touched), touched, np.zeros(len(touched)), upper)
        x = np.maximum(optimum(model, f"cargo schedule of {routing.liner.name}"), 0.0)
        cost = float(model.getInfo().objective_function_value) + settled
        # What is owed whatever is done, and what is booked on the last day.
        owed = state.arrays.backlog[:, replica].sum() * self.days + booked.sum(axis=1) @ np.arange(self.days, 0, -1)
        late = float(self.classes.booked @ booked[-1])
        return DailyPlan(cost + self.rate * float(owed) - late, self._orders(state, replica, x))

    def _cargo(self, state: TwinState, replica: int, right: FloatArray) -> float:
        """Add cargo that is under way to the rows that it comes to; what of its cost is settled, less its revenue."""
        classes, top, routing = self.classes, self.top, self.routing
        on_hand, pipeline = state.arrays.on_hand[:, replica], state.logical("pipeline")[:, replica]
        stock, slot = np.flatnonzero(on_hand > 0.0), np.flatnonzero(pipeline > 0.0)
        where = np.concatenate([stock, top.arc_destination[self._carrier[slot]]])
        when = np.concatenate([np.zeros(len(stock), dtype=np.int64), self._ahead[slot]])
        many = np.concatenate([on_hand[stock], pipeline[slot]])
        settled = -float(routing.graph.revenue[routing.stock_demand[where]] @ many)
        for c, day, ffe in zip(classes.of_stock[where], when, many, strict=True):
            if c < 0:
                settled -= float(self._earned(day)) * ffe
                continue
            row, cost = self._enter(int(c), np.array([day]))
            settled += float(cost[0]) * ffe
            if row[0] >= 0:
                right[row[0]] += ffe
        return settled

    def _orders(self, state: TwinState, replica: int, x: FloatArray) -> FloatArray:
        """What arcs ship (T, A): of a class every member ships the same part."""
        classes, top, routing = self.classes, self.top, self.routing
        out = np.zeros((self.days, routing.compiled.n_arcs))
        out[:, self.bought] = x[self.buys].T
        lead = top.arc_fixed_lead.astype(np.int64)
        comes = np.zeros((self.days + int(lead.max(initial=0)) + 1, routing.compiled.n_stocks))
        pipeline = state.logical("pipeline")[:, replica]
        soon = self._ahead < len(comes)
        np.add.at(comes, (self._ahead[soon], top.arc_destination[self._carrier[soon]]), pipeline[soon])
        comes[0] += state.arrays.on_hand[:, replica]
        going = np.flatnonzero(classes.of_arc >= 0)
        arc = classes.of_arc[going]
        source = top.in_stock[top.in_ptr[:-1][going]]
        member = classes.of_stock >= 0
        stock = np.zeros(routing.compiled.n_stocks)
        loads = self.bought[routing.arc_kind[self.bought] == LOAD]
        for t in range(self.days):
            stock += comes[t]
            np.add.at(stock, top.arc_destination[loads], out[t, loads])
            total = np.bincount(classes.of_stock[member], weights=stock[member], minlength=len(classes.node))
            column = self.onward[:, t]
            part = np.divide(
                np.where(column >= 0, x[column], 0.0),
                total[classes.tail],
                out=np.zeros(len(column)),
                where=total[classes.tail] > _DUST,
            )
            out[t, going] = part[arc] * stock[source]
            np.subtract.at(stock, source, out[t, going])
            np.add.at(comes, (t + lead[going], top.arc_destination[going]), out[t, going])
        return out
