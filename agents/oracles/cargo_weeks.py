"""The cargo of a liner network week by week as a linear program: what is best to do in the next seven days.

Buckets j = 0, ..., J - 1 are seven days each, counted from today. Every call has one departure in every bucket, always
on the same day of it, so that the bucket and the day of every arrival follow from those of the departure. Columns, one
a bucket, are amounts of the classes of :class:`agents.oracles.cargo_classes.CargoClasses`:

- cargo that is loaded, or goes on from a call where it may do several things, sails through all calls at which it can
  only stay on board, to the next one where it changes vessels or is discharged;
- there it waits, a bucket at a time, changes vessels, sails on, or is discharged. Where what comes with the departure
  would miss a vessel that cargo from the bucket before catches, there are two places, before and after the departure;
- what is only to be discharged waits in one queue a port;
- bookings wait for the departures of the calls where they may begin, in the order of these, or are refused, or flown.

Rows: what comes to a place leaves it or stays; departures have slots, less what is on board or loaded already; ports
have the moves of the seven days. It approximates :class:`agents.oracles.cargo_schedule.CargoSchedule` and has a
hundredth of its columns: which day of a week a move is made on is left open, loading is spread over the days between
two departures, queues lose whole weeks, and cargo that is loaded sails with the next departure.

The matrix depends on today's weekday and on J alone. A model for each is kept in HiGHS and changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from agents.oracles.cargo_classes import CargoClasses
from agents.oracles.highs import near_optimum, standing_model
from envs.routing_costs import CargoWorth
from twin.liner.assignment import Assignment
from twin.liner.routing import AIR, DISCHARGE, LEG, LOAD, REFUSE, TRANSFER
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["CargoWeeks", "WeekPlan"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: FFE that are rounding, and no cargo.
_DUST = 1e-6

#: Iterations of the simplex method that take the Mediterranean's program a third of a second.
_ITERATIONS = 800


@dataclass(frozen=True, eq=False)
class WeekPlan:
    """What to do with every flow in the next seven days.

    Attributes
    ----------
    cost
        Money over the J weeks, less what is left at the end, but for what is settled: cargo that can only sail on.
    part
        (7, A) what part goes on each arc: of what is booked and waits today, on the days after of what is booked since
        the day before; of all that a place at a call has in its window. -1 where the program has nothing there.
    fresh
        (7, A) whether a window of the place that an arc draws on begins on a day: today, and where it matters to what
        may be done there, with the departure.
    slot_price
        (N, J) money that one more slot of the departure from each call in each bucket would be worth, at least 0.
    """

    cost: float
    part: FloatArray
    fresh: BoolArray
    slot_price: FloatArray


class CargoWeeks:
    """Programs over weeks of one network.

    Parameters
    ----------
    assignment
        The network.
    worth
        What cargo is worth when the weeks are over.

    Raises
    ------
    ImportError
        When HiGHS is missing, with what to install.
    """

    def __init__(self, assignment: Assignment, worth: CargoWorth) -> None:
        self.assignment, self.classes = assignment, CargoClasses(assignment, worth)
        self._models: dict[tuple[int, int], _Model] = {}

    def plan(self, state: TwinState, replica: int, booked: FloatArray, works: FloatArray) -> WeekPlan:
        """The best weeks from a decision epoch on.

        Parameters
        ----------
        state, replica
            Where they begin.
        booked
            (7 J, D) FFE booked in the demand phase of each day, which can be loaded on the next.
        works
            (7 J, R) share of every resource that works.

        Raises
        ------
        ConfigError
            When HiGHS stops without an optimum.
        """
        key = (int(state.period[replica]) % WEEK, len(booked) // WEEK)
        if key not in self._models:
            self._models[key] = _Model(self.assignment, self.classes, *key)
        return self._models[key].solve(state, replica, booked, works)


class _Passage(NamedTuple):
    """A way through calls at which cargo can only stay on board, from a departure in bucket 0."""

    slots: tuple[tuple[int, int], ...]  # call and bucket of every departure
    canals: tuple[tuple[int, int], ...]  # resource and day
    head: int  # class that it comes to
    day: int


class _Model:
    """A program for one weekday of today and one number of weeks."""

    def __init__(self, assignment: Assignment, classes: CargoClasses, weekday: int, weeks: int) -> None:
        self.assignment, self.classes, self.weeks, self.days = assignment, classes, weeks, WEEK * weeks
        routing = assignment.routing
        self.routing, self.top = routing, routing.compiled.topology
        self.rate = routing.terms.value_of_time
        self.arc_cost = self.top.arc_unit_cost + self.top.arc_freight
        #: Day of the bucket on which vessels leave the calls (N,), and those of classes (C,).
        self.leaves = (routing.schedule.weekday - weekday) % WEEK
        self.day = self.leaves[classes.node]
        self.port = routing.graph.port[classes.node]
        self._rows = self._size = 0
        self._columns: list[tuple[FloatArray, IntArray, IntArray]] = []
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._closable: list[tuple[int, tuple[tuple[int, int], ...]]] = []
        self._passages: dict[tuple[int, int], _Passage] = {}
        self._places()
        self._events()
        self._balanced = self._rows
        self._slots = self._new_rows(len(routing.graph.port))
        limited = routing.move_resource >= 0
        self._moves = np.full((len(limited), weeks), -1, dtype=np.int64)
        self._moves[limited] = self._new_rows(int(limited.sum()))
        self._stay()
        self._go()
        self._buy()
        self._made()

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _new_rows(self, size: int) -> IntArray:
        rows = self._rows + np.arange(size * self.weeks).reshape(size, self.weeks)
        self._rows += size * self.weeks
        return rows

    def _places(self) -> None:
        """Rows of cargo at calls where it may do several things, and of queues for discharge."""
        classes, routing = self.classes, self.routing
        kind, size = routing.arc_kind[classes.arc], len(classes.node)
        around = routing.arc_around[routing.arc_around >= 0]
        usual = ~np.isin(classes.arc, around)
        #: The leg of a class by its usual way, -1 without one.
        self.leg = np.full(size, -1, dtype=np.int64)
        legs = np.flatnonzero((kind == LEG) & usual)
        self.leg[classes.tail[legs]] = legs
        changes, ends = (np.bincount(classes.tail[kind == k], minlength=size) > 0 for k in (TRANSFER, DISCHARGE))
        #: Classes that are only discharged, and those that only sail.
        self.pure = ends & ~changes & (self.leg < 0)
        self.carried = ~ends & ~changes
        two = np.zeros(size, dtype=np.bool_)
        for h in np.flatnonzero(kind == TRANSFER):
            c, lead = classes.tail[h], self.top.arc_fixed_lead[classes.arc[h]]
            two[c] |= self._sails(classes.head[h], lead) < self._sails(classes.head[h], self.day[c] + lead)
        #: Classes with a place before the departure, besides the one after it.
        self.two = two & ~self.pure
        one = ~self.pure & ~self.carried
        self.after = np.full((size, self.weeks), -1, dtype=np.int64)
        self.after[one] = self._new_rows(int(one.sum()))
        self.queued = np.unique(self.port[self.pure])
        #: Cost of discharge (C,).
        self.discharge = np.zeros(size)
        self.discharge[classes.tail[kind == DISCHARGE]] = self.arc_cost[classes.arc[kind == DISCHARGE]]
        self.queue = np.full((len(routing.graph.port_names), self.weeks), -1, dtype=np.int64)
        self.queue[self.queued] = self._new_rows(len(self.queued))
        self.after[self.pure] = self.queue[self.port[self.pure]]
        self.before = self.after.copy()
        self.before[self.two] = self._new_rows(int(self.two.sum()))

    def _sails(self, c: int, day: int) -> int:
        """Bucket of the first departure of a class on a day or after."""
        return max(-((int(self.day[c]) - int(day)) // WEEK), 0)

    def _events(self) -> None:
        """Rows of bookings: for every demand the departures that it may be loaded for, in the order of a bucket."""
        routing = self.routing
        loads = np.flatnonzero(routing.arc_kind == LOAD)
        found = {(int(routing.arc_demand[a]), int(self.leaves[routing.arc_head[a]])) for a in loads}
        found |= {(d, WEEK - 1) for d in set(range(len(routing.graph.demand))) - {d for d, _ in found}}
        events = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        self.event_demand, self.event_day = events.T
        self.event = {(int(d), int(s)): e for e, (d, s) in enumerate(events)}
        self.books = self._new_rows(len(events))
        ends = np.append(np.flatnonzero(np.diff(self.event_demand)), len(events) - 1)
        begins = np.append(0, ends[:-1] + 1)
        #: The event after one; that of a demand's last is in the next bucket.
        self.next = np.arange(1, len(events) + 1)
        self.next[ends] = begins
        self.wraps = np.isin(np.arange(len(events)), ends)
        #: Days since the event before.
        self.since = np.diff(self.event_day, prepend=0)
        self.since[begins] = self.event_day[begins] - self.event_day[ends] + WEEK

    # -- columns ------------------------------------------------------------------------------------------------------

    def _new(self, cost: ArrayLike, of: IntArray, to: ArrayLike = -1) -> IntArray:
        """A column for every bucket, from the rows ``of`` to the rows ``to`` (-1: to nowhere), at a cost."""
        columns = self._size + np.arange(self.weeks)
        self._size += self.weeks
        self._columns.append((np.broadcast_to(np.asarray(cost, dtype=np.float64), self.weeks), columns, of))
        self._add(of, columns, 1.0)
        self._add(to, columns, -1.0)
        return columns

    def _add(self, row: ArrayLike, column: IntArray, value: ArrayLike) -> None:
        """Entries; rows below 0 are none."""
        rows, values = np.broadcast_to(row, column.shape), np.broadcast_to(value, column.shape)
        real = rows >= 0
        self._entries.append((rows[real], column[real], values[real].astype(np.float64)))

    def _later(self, rows: IntArray, by: int = 1) -> IntArray:
        """The rows some buckets later, -1 after the last."""
        return np.append(rows[by:], np.full(min(by, self.weeks), -1))[: self.weeks]

    def _enter(self, head: int, day: IntArray) -> tuple[IntArray, FloatArray]:
        """Rows that cargo comes to on days, and what it costs from then on as far as that is settled.

        Cargo that comes to a queue counts as delivered; what it waits there costs extra. Cargo that comes after the
        end costs what it is then worth less than its revenue.
        """
        rest = self.classes.rest[head]
        waits = np.maximum(-((self.day[head] - day) // WEEK), 0)
        bucket = day // WEEK if self.pure[head] else waits
        inside, within = bucket < self.weeks, np.minimum(bucket, self.weeks - 1)
        row = np.where(day <= WEEK * bucket, self.before[head, within], self.after[head, within])
        inside_cost = self.discharge[head] - self.rate * np.maximum(self.days - day, 0.0) if self.pure[head] else 0.0
        return np.where(inside, row, -1), np.where(inside, inside_cost, rest)

    def _passage(self, c: int, longer: int = 0) -> _Passage:
        """With the departure of bucket 0, as far as cargo can only stay on board.

        Parameters
        ----------
        c
            Class at whose call it begins.
        longer
            How many ways are passed over, shortest first, on every leg that has so many.
        """
        if (c, longer) not in self._passages:
            classes, top, routing = self.classes, self.top, self.routing
            canals = list(routing.canal_resource.values())
            day, slots, through = int(self.day[c]), [], []
            at = int(c)
            while True:
                a = int(classes.arc[self.leg[at]])
                for _ in range(longer):
                    a = int(routing.arc_around[a]) if routing.arc_around[a] >= 0 else a
                slots.append((int(classes.node[at]), day // WEEK))
                through += [(int(r), day) for r in top.use_resource[top.use_ptr[a] : top.use_ptr[a + 1]] if r in canals]
                day += int(top.arc_fixed_lead[a])
                at = int(classes.head[classes.of_arc[a]])
                # Whatever has not come to another place by the end has not earned its revenue.
                if not self.carried[at] or day >= self.days:
                    break
                day += (int(self.day[at]) - day) % WEEK
            self._passages[c, longer] = _Passage(tuple(slots), tuple(through), at, day)
        return self._passages[c, longer]

    def _sail(self, c: int, cost: float, of: IntArray, after: int = 0) -> list[IntArray]:
        """Columns from the departures of a class some buckets later on, by the usual ways and by longer ones."""
        made: list[IntArray] = []
        seen: set[_Passage] = set()
        for longer in range(len(self.routing.canal_resource) + 2):
            way = self._passage(c, longer)
            if way in seen:
                break
            seen.add(way)
            to, later = self._enter(way.head, way.day + WEEK * (after + np.arange(self.weeks)))
            columns = self._new(cost + later, of, to)
            for node, bucket in way.slots:
                self._add(self._later(self._slots[node], after + bucket), columns, 1.0)
            if way.canals:
                self._closable += [
                    (int(x), tuple((r, day + WEEK * (after + j)) for r, day in way.canals))
                    for j, x in enumerate(columns)
                ]
            made.append(columns)
        return made

    def _stay(self) -> None:
        """What stays from one bucket to the next, or for a departure of its bucket; what leaves a queue."""
        at_end = np.arange(self.weeks) == self.weeks - 1
        for c in np.flatnonzero(~self.pure & ~self.carried):
            self._new(at_end * self.classes.rest[c], self.after[c], self._later(self.before[c]))
        for c in np.flatnonzero(self.two):
            self._new(0.0, self.before[c], self.after[c])
        self._discharged = {}
        for p in self.queued:
            self._new(WEEK * self.rate, self.queue[p], self._later(self.queue[p]))
            self._discharged[int(p)] = self._new(0.0, self.queue[p])
            self._add(self._moves[p], self._discharged[int(p)], 1.0)

    def _go(self) -> None:
        """What goes on from calls: per arc of classes, columns of bucket 0 from before and from after the departure."""
        classes, routing = self.classes, self.routing
        kind, week = routing.arc_kind[classes.arc], WEEK * np.arange(self.weeks)
        usual = ~np.isin(classes.arc, routing.arc_around[routing.arc_around >= 0])
        self.onward: dict[int, tuple[list[int], list[int]]] = {}
        for h in np.flatnonzero(usual & ~self.carried[classes.tail]):
            c, head = int(classes.tail[h]), int(classes.head[h])
            cost = float(self.arc_cost[classes.arc[h]])
            if self.pure[c]:
                out = [int(self._discharged[int(self.port[c])][0])]
                self.onward[int(h)] = out, out
                continue
            if kind[h] == LEG:
                out = [int(columns[0]) for columns in self._sail(c, cost, self.after[c])]
                self.onward[int(h)] = out, out
                continue
            found = []
            places = [(self.after[c], int(self.day[c]))]
            for rows, begins in [(self.before[c], 0), *places] if self.two[c] else places:
                day = week + begins
                if kind[h] == DISCHARGE:
                    made = [self._new(cost - self.rate * (self.days - day), rows)]
                else:
                    comes = day + int(self.top.arc_fixed_lead[classes.arc[h]])
                    if self.carried[head]:
                        made = self._sail(head, cost, rows, self._sails(head, int(comes[0])))
                    else:
                        to, later = self._enter(head, comes)
                        made = [self._new(cost + later, rows, to)]
                for columns in made:
                    self._add(self._moves[self.port[c]], columns, 2.0 if kind[h] == TRANSFER else 1.0)
                found.append([int(columns[0]) for columns in made])
            self.onward[int(h)] = found[0], found[-1]

    def _buy(self) -> None:
        """What becomes of bookings: per arc and event its columns."""
        classes, routing, top = self.classes, self.routing, self.top
        graph, week = routing.graph, WEEK * np.arange(self.weeks)
        self.bought: dict[tuple[int, int], list[IntArray]] = {}
        for a in np.flatnonzero(np.isin(routing.arc_kind, (LOAD, AIR, REFUSE))):
            d, cost = int(routing.arc_demand[a]), float(self.arc_cost[a])
            if routing.arc_kind[a] == LOAD:
                e = self.event[d, int(self.leaves[routing.arc_head[a]])]
                c = int(classes.of_stock[top.arc_destination[a]])
                paid = cost - float(graph.revenue[d])
                if self.carried[c]:
                    made = self._sail(c, paid, self.books[e])
                else:
                    made = [self._new(paid, self.books[e], self.after[c])]
                self.bought[int(a), e] = made
                # Cargo is loaded day by day as it is booked, in part in the bucket before.
                within = (self.event_day[e] + 1) / WEEK
                moves = self._moves[graph.origin[d]]
                for columns in made:
                    self._add(moves, columns, np.where(week == 0, 1.0, within))
                    if within < 1.0:
                        self._add(moves[:-1], columns[1:], 1.0 - within)
                continue
            for e in np.flatnonzero(self.event_demand == d).tolist():
                # What is refused, or flown, is so on the day after it is booked.
                day = np.maximum(week + self.event_day[e] - (self.since[e] - 1) / 2.0, 0.0) + top.arc_fixed_lead[a]
                later = -graph.revenue[d] - self.rate * np.maximum(self.days - day, 0.0)
                self.bought[int(a), int(e)] = [self._new(cost + later, self.books[e])]
        at_end = np.arange(self.weeks) == self.weeks - 1
        for e, after in enumerate(self.next):
            to = self.books[after]
            if self.wraps[e]:
                self._new(at_end * -classes.booked[self.event_demand[e]], self.books[e], self._later(to))
            else:
                self._new(0.0, self.books[e], to)

    # -- the model ----------------------------------------------------------------------------------------------------

    def _made(self) -> None:
        routing, top = self.routing, self.top
        cost, self._source = np.zeros(self._size), np.zeros(self._size, dtype=np.int64)
        for value, columns, of in self._columns:
            cost[columns], self._source[columns] = value, of
        row, column, value = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        matrix = sparse.csr_array((value, (row, column)), shape=(self._rows, self._size))
        right = np.zeros(self._rows)
        lower = np.where(np.arange(self._rows) < self._balanced, 0.0, -np.inf)
        bounds = np.zeros(self._size), np.full(self._size, np.inf)
        self._model = standing_model(cost, bounds, matrix, (lower, right))
        del self._columns, self._entries
        self._carrier = np.repeat(np.arange(routing.compiled.n_arcs), np.diff(top.pipe_ptr))
        self._ahead = np.arange(top.pipe_ptr[-1]) - top.pipe_ptr[self._carrier] + 1
        usual = self.classes.of_arc >= 0
        usual[routing.arc_around[routing.arc_around >= 0]] = False
        self._usual = np.flatnonzero(usual)
        self._bought_of: dict[int, list[int]] = {}
        for a in np.flatnonzero(np.isin(routing.arc_kind, (LOAD, AIR, REFUSE))):
            self._bought_of.setdefault(int(routing.arc_demand[a]), []).append(int(a))

    def solve(self, state: TwinState, replica: int, booked: FloatArray, works: FloatArray) -> WeekPlan:
        """See :meth:`CargoWeeks.plan`."""
        self._now(state, replica, booked, works)
        x = np.maximum(near_optimum(self._model, f"cargo weeks of {self.routing.liner.name}", _ITERATIONS), 0.0)
        total = np.bincount(self._source, weights=x, minlength=self._rows)[self._source]
        part = np.divide(x, total, out=np.full(len(x), -1.0), where=total > _DUST)
        price = np.maximum(-np.asarray(self._model.getSolution().row_dual)[self._slots], 0.0)
        return WeekPlan(float(self._model.getInfo().objective_function_value), *self._parts(part), price)

    def _now(self, state: TwinState, replica: int, booked: FloatArray, works: FloatArray) -> None:
        """Put what is there, what is booked and what works into the model."""
        right = np.zeros(self._rows)
        right[self._slots] = self.routing.graph.leg_capacity[:, None]
        self._cargo(state, replica, works, right)
        comes = np.concatenate([self.assignment.waiting(state)[None, :, replica], booked])
        until = np.concatenate([np.zeros((1, comes.shape[1])), np.cumsum(comes, axis=0)])
        day = self.event_day[:, None] + WEEK * np.arange(self.weeks)
        before, d = np.maximum(day - self.since[:, None], -1), self.event_demand[:, None]
        right[self.books] = until[day + 1, d] - until[before + 1, d]
        resource = self.routing.move_resource
        ports = np.flatnonzero(resource >= 0)
        left = np.where(works > 0.0, self.top.resource_capacity * np.where(works > 0.0, works, 1.0), 0.0)
        right[self._moves[ports]] = left[:, resource[ports]].reshape(self.weeks, WEEK, -1).sum(axis=1).T
        lower = np.where(np.arange(self._rows) < self._balanced, right, -np.inf)
        self._model.changeRowsBounds(self._rows, np.arange(self._rows, dtype=np.int32), lower, right)
        if self._closable:
            columns = np.array([x for x, _ in self._closable], dtype=np.int32)
            upper = np.array([np.inf if self._open(through, works) else 0.0 for _, through in self._closable])
            self._model.changeColsBounds(len(columns), columns, np.zeros(len(columns)), upper)

    def _open(self, through: Sequence[tuple[int, int]], works: FloatArray) -> bool:
        return all(works[min(day, self.days - 1), r] > 0.0 for r, day in through)

    def _cargo(self, state: TwinState, replica: int, works: FloatArray, right: FloatArray) -> None:
        """Add cargo at calls and between them to the places it comes to, and take the slots that it fills."""
        classes, top = self.classes, self.top
        amount: dict[tuple[int, int], float] = {}
        on_hand, pipeline = state.arrays.on_hand[:, replica], state.logical("pipeline")[:, replica]
        stock = np.flatnonzero((classes.of_stock >= 0) & (on_hand > 0.0))
        slot = np.flatnonzero(pipeline > 0.0)
        to = classes.of_stock[top.arc_destination[self._carrier[slot]]]
        where = np.concatenate([classes.of_stock[stock], to[to >= 0]])
        when = np.concatenate([np.zeros(len(stock), dtype=np.int64), self._ahead[slot[to >= 0]]])
        many = np.concatenate([on_hand[stock], pipeline[slot[to >= 0]]])
        for c, day, ffe in zip(where.tolist(), when.tolist(), many.tolist(), strict=True):
            amount[c, day] = amount.get((c, day), 0.0) + ffe
        for (c, day), ffe in amount.items():
            head, comes = c, day
            if self.carried[c]:
                bucket = self._sails(c, day)
                way = self._passage(c)
                for longer in range(1, len(self.routing.canal_resource) + 2):
                    if self._open([(r, on + WEEK * bucket) for r, on in way.canals], works):
                        break
                    way = self._passage(c, longer)
                for node, later in way.slots:
                    if bucket + later < self.weeks:
                        right[self._slots[node, bucket + later]] -= ffe
                head, comes = way.head, way.day + WEEK * bucket
            if not self.carried[head]:
                row, _ = self._enter(head, np.array([comes]))
                if row[0] >= 0:
                    right[row[0]] += ffe
        right[self._slots] = np.maximum(right[self._slots], 0.0)

    def _parts(self, part: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Parts (7, A) of what a flow has in its window, and where windows begin."""
        classes = self.classes
        out = np.zeros((WEEK, self.routing.compiled.n_arcs))
        fresh = np.zeros(out.shape, dtype=np.bool_)
        fresh[0] = True
        for a in self._usual.tolist():
            h = int(classes.of_arc[a])
            c = int(classes.tail[h])
            if self.carried[c]:
                out[:, a] = 1.0
                continue
            before, after = self.onward[h]
            day = int(self.day[c]) if self.two[c] else 0
            out[day:, a] = part[after].sum() if part[after[0]] >= 0.0 else -1.0
            out[:day, a] = part[before].sum() if part[before[0]] >= 0.0 else -1.0
            fresh[day, a] = True
        ways: dict[int, list[tuple[int, list[IntArray]]]] = {}
        for (a, e), made in self.bought.items():
            ways.setdefault(e, []).append((a, made))
        for d, bought in self._bought_of.items():
            mine = np.flatnonzero(self.event_demand == d)
            for k in range(WEEK):
                left = 1.0
                # The departures of the next seven days in their order, those of the next bucket last.
                for bucket, n in [(0, e) for e in mine[self.event_day[mine] >= k]] + [
                    (min(1, self.weeks - 1), e) for e in mine[self.event_day[mine] < k]
                ]:
                    parts = [(a, sum(float(part[x[bucket]]) for x in made)) for a, made in ways[int(n)]]
                    if parts[0][1] < 0.0:
                        if left == 1.0:
                            out[k, bought] = -1.0
                        break
                    for a, share in parts:
                        out[k, a] += left * share
                    left *= max(1.0 - sum(share for _, share in parts), 0.0)
        return out, fresh
