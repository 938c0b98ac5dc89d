"""What ways cost on a given day: handling, time, what a slot is worth, and what a planner adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.routing_departures import Departures
from twin.liner.assignment import Assignment
from twin.liner.routing import LEG, TRANSFER
from twin.liner.schedule import WEEK
from twin.liner.weekday_plan import WeekdayPlan, WeekdayProgram
from twin.state import TwinState

__all__ = ["CargoWorth", "WayCosts"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class WayCosts:
    """Costs (W, B) of ways, money per FFE.

    Parameters
    ----------
    assignment
        The ways.
    program, plan
        Of best weeks, and the nominal one, whose prices of slots and moves are part of the cost; None for a cost
        without.

    Attributes
    ----------
    usual
        (7, W) by weekday: handling, transshipment, air or refusal; time to delivery; and slots and moves at the nominal
        plan's prices.
    weight
        (7, W) what the nominal plan has on every way, which divides those that cost the same; None without a plan.
    moves, slots, passes
        (W, P) moves that an FFE takes in each port, (W, N) slots of the departure from each call, and (W, C) 1 where a
        way goes through a canal.
    slot_price
        (N,) money per slot of the departure from each call that is part of the cost.
    patience
        What it costs an FFE to wait for the departure a week later.
    """

    def __init__(self, assignment: Assignment, program: WeekdayProgram, plan: WeekdayPlan | None) -> None:
        self.assignment = assignment
        routing, ways = assignment.routing, assignment.ways
        graph, top = routing.graph, routing.compiled.topology
        self.moves, self.slots = program.moves, program.slots
        self.time_value = routing.terms.value_of_time
        self.patience = WEEK * self.time_value
        self.canals = tuple(routing.canal_resource)
        through = {r: c for c, r in enumerate(routing.canal_resource[name] for name in self.canals)}
        self.passes = np.zeros((len(ways), len(self.canals)))
        entries: list[tuple[int, int, int, int]] = []
        for w, way in enumerate(ways):
            if way.candidate < 0:
                continue
            for e, a in enumerate(way.arcs):
                if routing.arc_kind[a] == LEG:
                    for r in top.use_resource[top.use_ptr[a] : top.use_ptr[a + 1]]:
                        if int(r) in through:
                            self.passes[w, through[int(r)]] = 1.0
                            entries.append((w, e, -1, int(r)))
                    continue
                node = routing.arc_tail[a] if routing.arc_tail[a] >= 0 else routing.arc_head[a]
                port = int(graph.port[node])
                if routing.move_resource[port] >= 0:
                    entries.append((w, e, port, int(routing.move_resource[port])))
        worth = np.zeros(len(ways))
        self.slot_price: FloatArray = np.zeros(len(graph.port)) if plan is None else plan.slot_price
        self.weight: FloatArray | None = None
        if plan is not None:
            worth = self.slots @ plan.slot_price + self.moves @ plan.move_price
            self.weight = _weights(assignment, plan)
        days = assignment.way_days.T.astype(np.float64)
        self.usual: FloatArray = np.ascontiguousarray((assignment.way_cost + worth)[None] + self.time_value * days)
        # Where an outage on the way would delay cargo: way, resource, days from now, and days that it takes longer.
        self._way: IntArray = np.array([w for w, *_ in entries], dtype=np.int64)
        self._resource: IntArray = np.array([r for *_, r in entries], dtype=np.int64)
        self._ahead: FloatArray = np.array(
            [assignment.days_until(w, e) for w, e, _, _ in entries], dtype=np.float64
        ).reshape(-1, WEEK)
        self._longer: FloatArray = np.array([self._more_days(w, e, port) for w, e, port, _ in entries])
        self._port: IntArray = np.array([port for _, _, port, _ in entries], dtype=np.int64)
        changes = [routing.arc_kind[ways[w].arcs[e]] == TRANSFER for w, e, _, _ in entries]
        self._each: FloatArray = np.where(changes, 2.0, 1.0)
        self._calls: dict[int, tuple[IntArray, sparse.csr_array]] = {}
        self._departing: dict[int, sparse.csr_array] = {}
        self._starts, self._owner = _runs(self._way)

    def _more_days(self, w: int, place: int, port: int) -> float:
        """Most days that an outage there costs: those of the next way around a canal; without limit in a port."""
        routing, top = self.assignment.routing, self.assignment.routing.compiled.topology
        a = self.assignment.ways[w].arcs[place]
        if port >= 0 or routing.arc_around[a] < 0:
            return np.inf
        return float(top.arc_fixed_lead[routing.arc_around[a]] - top.arc_fixed_lead[a])

    def of(
        self,
        state: TwinState,
        ports: FloatArray | None = None,
        canals: FloatArray | None = None,
        recovery: FloatArray | None = None,
        queues: tuple[FloatArray, FloatArray | float] | None = None,
        departures: FloatArray | None = None,
    ) -> FloatArray:
        """Costs (W, B) at a decision epoch.

        Parameters
        ----------
        state
            Its period says the weekday, its availability what is hit.
        ports, canals
            (P, B) money per move and (C, B) per FFE through a canal, added; nothing where left out.
        recovery
            (B,) days from now until all that is hit is taken to work again; 0 where left out. Cargo that comes to a
            port before then is taken to wait for it, by the share of moves that is missing; through a canal that is
            closed then it goes around.
        queues
            Money per move made today (P, B), and by how much that is less, down to 0, with every day until cargo comes
            to the port, one number or (P, B); added, nothing where left out.
        departures
            Money per slot of each of the next departures, by :attr:`departures` (B); added, nothing where left out.
        """
        cost = np.ascontiguousarray(self.usual.take(state.period % WEEK, axis=0).T)
        if ports is not None and ports.any():
            cost += self.moves @ ports
        if queues is not None:
            price, fall = queues[0], np.broadcast_to(queues[1], queues[0].shape)
            for p in np.flatnonzero(price.any(axis=1)):
                entry, moves = self._moves_in(int(p))
                cost += moves @ np.maximum(price[p] - fall[p] * self._ahead[entry][:, state.period % WEEK], 0.0)
        if departures is not None and departures.any():
            for today in np.unique(state.period % WEEK):
                mine = state.period % WEEK == today
                cost[:, mine] += self._taken(int(today)) @ departures[:, mine]
        if canals is not None and canals.any():
            cost += self.passes @ canals
        if recovery is not None and len(self._way) and recovery.any():
            lost = 1.0 - state.arrays.availability[self._resource]
            early = np.maximum(recovery[None] - self._ahead[:, state.period % WEEK], 0.0)
            delay = np.where(np.isfinite(self._longer)[:, None], (early > 0.0) * self._closed_days[:, None], early)
            cost[self._owner] += self.time_value * np.add.reduceat(delay * lost, self._starts, axis=0)
        return cost

    @cached_property
    def departures(self) -> Departures:
        """The departures of the next weeks."""
        return Departures(self.assignment)

    def _taken(self, weekday: int) -> sparse.csr_array:
        """Departures that ways (W, size) take which begin on a weekday."""
        if weekday not in self._departing:
            self._departing[weekday] = self.departures.of_ways(weekday)
        return self._departing[weekday]

    def _moves_in(self, port: int) -> tuple[IntArray, sparse.csr_array]:
        """Where ways make moves in a port, E entries, and how many each is, by way (W, E)."""
        if port not in self._calls:
            entry = np.flatnonzero(self._port == port)
            where = (self._way[entry], np.arange(len(entry)))
            shape = (self.moves.shape[0], len(entry))
            self._calls[port] = entry, sparse.csr_array((self._each[entry], where), shape=shape)
        return self._calls[port]

    @property
    def _closed_days(self) -> FloatArray:
        return np.where(np.isfinite(self._longer), self._longer, 0.0)


@dataclass(frozen=True, eq=False)
class CargoWorth:
    """What an FFE is worth where it is, in the nominal week: what another one there would add to what is earned.

    Attributes
    ----------
    at_calls
        (I,) money per FFE at a stock point, or on its way to it.
    booked
        (D,) money per FFE that is booked and not under way.
    """

    at_calls: FloatArray
    booked: FloatArray

    @classmethod
    def of(cls, costs: WayCosts) -> CargoWorth:
        """Revenue less the cheapest rest of the way at the usual costs, over a week's mean."""
        assignment, routing = costs.assignment, costs.assignment.routing
        usual, revenue = costs.usual.mean(axis=0), routing.graph.revenue.astype(np.float64)
        at_calls, booked = revenue[routing.stock_demand], revenue.copy()
        for f, flow in enumerate(assignment.flows):
            mine = usual[assignment.first_way[f] : assignment.first_way[f + 1]]
            if mine.size and flow.node >= 0:
                at_calls[assignment.call_stock[f - len(booked)]] -= mine.min()
            elif mine.size:
                booked[flow.demand] -= mine.min()
        return cls(at_calls, booked)


def _weights(assignment: Assignment, plan: WeekdayPlan) -> FloatArray:
    """What a plan has on every way by weekday, (7, W); cargo at calls has no weekday of its own."""
    candidate = np.array([way.candidate for way in assignment.ways], dtype=np.int64)
    total, carried = plan.ffe.sum(axis=0), candidate >= 0
    amounts = np.bincount(candidate[carried], weights=total[carried], minlength=len(assignment.routing.candidates))
    weights = np.repeat(assignment.weights(amounts)[None], WEEK, axis=0)
    booked = int(assignment.first_way[len(assignment.routing.graph.demand)])
    weights[:, :booked] = plan.ffe[:, :booked]
    return weights


def _runs(values: IntArray) -> tuple[IntArray, IntArray]:
    """Where each run of equal numbers begins, and its number."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    return starts.astype(np.int64), values[starts]
