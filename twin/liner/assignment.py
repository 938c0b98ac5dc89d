"""From "the flow of a demand at a place takes this candidate" to the orders of a day, for all replicas at once.

A flow is what a demand has in one place: what is booked and not yet under way, or what waits at a call. Cargo has no
memory: what comes to a call takes the way that its flow takes there, so that what is under way on an itinerary goes on
with it as long as the flows along it are assigned to it, and what waits may be reassigned every day.

These things are seen to here and nowhere else, because stock points and departures do not know of them:

- nothing is loaded, refused or sent by air that is not booked, or that is under way already;
- no more is loaded for a departure than it has room for, after what is at the call and what comes there in time: cargo
  on board goes first, and what finds no room stays booked (a plan of weekly amounts has seen to that itself);
- where a passage is closed, a leg goes by the shortest way around that is open.

Slots that do not suffice are divided in proportion to what is asked; moves go first to what would miss its vessel, and
to loading and discharge, which take one per FFE, before transshipments, which take two.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin.errors import ActionError
from twin.liner.dispatch import (
    REFUSAL,
    Tables,
    cheapest,
    day_orders,
    divide,
    permit,
    ready,
    service_ranks,
    spill,
    waiting,
)
from twin.liner.routing import AIR, LEG, REFUSE, TRANSFER, RoutingNetwork
from twin.liner.schedule import WEEK
from twin.state import TwinState

__all__ = ["BY_AIR", "REFUSED", "WAIT", "Assignment", "Flow", "Way"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: The choice of a flow that takes no way today.
WAIT = -1

#: Money per FFE that is rounding: ways that differ by less cost the same.
_EQUAL = 0.01

#: What a way has in place of a candidate where it is none.
BY_AIR, REFUSED = -1, -2


class Flow(NamedTuple):
    """Cargo of a demand in one place: at the call ``node``, or booked (-1)."""

    demand: int
    node: int


class Way(NamedTuple):
    """A way that a flow may take.

    Attributes
    ----------
    flow
        Index of the flow.
    candidate
        Index of the candidate that it is the rest of, the first of several; ``BY_AIR`` or ``REFUSED``.
    nodes
        The calls that are left, the flow's own among them.
    arcs
        Arcs of the twin, the first being the one that is ordered on; legs by their usual way.
    """

    flow: int
    candidate: int
    nodes: tuple[int, ...]
    arcs: tuple[int, ...]


class Assignment:
    """Orders of a day for a network made by :func:`twin.liner.routing.routing_network`.

    Sizes: D demands, F flows (bookings of all demands first, then calls), W ways (flow by flow), A arcs, K candidates,
    B replicas.

    Attributes
    ----------
    routing
        The network.
    flows
        (F,).
    ways
        (W,).
    first_way
        (F + 1,) flow f has the ways ``first_way[f]`` to ``first_way[f + 1] - 1``, its candidates first, then air, then
        refusal; a choice of a flow is a number counted from the first of them.
    call_stock
        (F - D,) stock point of every flow at a call.
    way_arc
        (W,) arc on which a way begins.
    way_days
        (W, 7) days to delivery when it is taken on each weekday, with everything open and room on every vessel; 0 where
        it is refused.
    due
        (A,) weekday on which moves of an arc are made at the latest for the next departure; -1 for discharge.
    way_cost
        (W,) money per FFE for loading, transshipment, discharge, air or refusal.
    """

    def __init__(self, routing: RoutingNetwork) -> None:
        self.routing = routing
        top = routing.compiled.topology
        arcs = len(routing.arc_kind)
        stock = np.full(arcs, -1, dtype=np.int64)
        drawing = np.diff(top.in_ptr) > 0
        stock[drawing] = top.in_stock[top.in_ptr[:-1][drawing]]
        usual = np.ones(arcs, dtype=np.bool_)
        usual[routing.arc_around[routing.arc_around >= 0]] = False
        graph = routing.graph
        move, slot, use = self._limits()
        self.due: IntArray = self._due()
        self._tables = Tables(
            routing.stock_demand,
            routing.arc_kind,
            routing.arc_demand,
            routing.arc_tail,
            stock,
            top.arc_destination,
            routing.arc_around,
            top.group_ptr,
            top.group_arc,
            *_by(stock, drawing & usual, routing.compiled.n_stocks),
            *_by(routing.arc_demand, ~drawing, len(graph.demand)),
            routing.schedule.weekday,
            graph.leg_capacity,
            top.pipe_ptr,
            top.use_ptr,
            top.use_resource,
            move,
            slot,
            use,
            service_ranks(routing.arc_kind, self.due),
            top.resource_capacity,
        )
        self.call_stock: IntArray = np.flatnonzero(routing.stock_node >= 0)
        self.flows = (
            *(Flow(d, -1) for d in range(len(graph.demand))),
            *(Flow(int(routing.stock_demand[i]), int(routing.stock_node[i])) for i in self.call_stock),
        )
        self.ways = self._ways(usual)
        self.first_way = np.searchsorted([way.flow for way in self.ways], np.arange(len(self.flows) + 1))
        self.way_arc = np.array([way.arcs[0] for way in self.ways], dtype=np.int64)
        self._along_ptr = np.cumsum([0, *(len(way.arcs) for way in self.ways)]).astype(np.int64)
        self._along = np.array([a for way in self.ways for a in way.arcs], dtype=np.int64)
        cost = top.arc_unit_cost + top.arc_freight
        self.way_cost: FloatArray = self.along(cost[:, None])[:, 0]
        self.way_days: IntArray = self._days()
        none = {BY_AIR: -1, REFUSED: REFUSAL}
        self._way_call = np.array([none.get(way.candidate, way.nodes[0] if way.nodes else -1) for way in self.ways])

    def _limits(self) -> tuple[IntArray, IntArray, FloatArray]:
        routing, top = self.routing, self.routing.compiled.topology
        move, slot = (np.full(len(routing.arc_kind), -1, dtype=np.int64) for _ in range(2))
        use = np.ones(len(routing.arc_kind))
        owner = np.repeat(np.arange(len(routing.arc_kind)), np.diff(top.use_ptr))
        for resources, out in ((routing.move_resource, move), (routing.slot_resource, slot)):
            mine = np.isin(top.use_resource, resources[resources >= 0])
            out[owner[mine]] = top.use_resource[mine]
            use[owner[mine]] = top.use_coefficient[mine]
        return move, slot, use

    def _due(self) -> IntArray:
        routing = self.routing
        ends = routing.arc_head >= 0
        leaves = np.where(ends, routing.schedule.weekday[routing.arc_head], 0)
        lead = np.where(routing.arc_kind == TRANSFER, routing.terms.transshipment_days, 0)
        return np.where(ends, (leaves - lead) % WEEK, -1).astype(np.int64)

    # -- what may be chosen -------------------------------------------------------------------------------------------

    def _ways(self, usual: NDArray[np.bool_]) -> tuple[Way, ...]:
        routing = self.routing
        ends = zip(routing.arc_demand, routing.arc_tail, routing.arc_head, routing.arc_kind, strict=True)
        arc = {
            (int(d), int(one), int(other)): a
            for a, (d, one, other, kind) in enumerate(ends)
            if usual[a] and kind not in (AIR, REFUSE)
        }
        number = {flow: f for f, flow in enumerate(self.flows)}
        found: dict[tuple[int, tuple[int, ...]], Way] = {}
        for k, entry in enumerate(routing.candidates):
            d, whole = entry.demand, (-1, *entry.nodes, -1)
            hops = [arc[d, one, other] for one, other in pairwise(whole)]
            for place, node in enumerate(whole[:-1]):
                f = number[Flow(d, node)]
                nodes = entry.nodes[max(place - 1, 0) :]
                found.setdefault((f, nodes), Way(f, k, nodes, tuple(hops[place:])))
        others = [
            Way(int(routing.arc_demand[a]), BY_AIR if routing.arc_kind[a] == AIR else REFUSED, (), (int(a),))
            for kind in (AIR, REFUSE)
            for a in np.flatnonzero(routing.arc_kind == kind)
        ]
        return tuple(sorted([*found.values(), *others], key=lambda way: way.flow))

    def _days(self) -> IntArray:
        routing, top = self.routing, self.routing.compiled.topology
        out = np.empty((len(self.ways), WEEK), dtype=np.int64)
        for w, way in enumerate(self.ways):
            for today in range(WEEK):
                day = today
                for a in way.arcs:
                    if routing.arc_kind[a] == LEG:
                        day += int(routing.schedule.weekday[routing.arc_tail[a]] - day) % WEEK
                    day += int(top.arc_fixed_lead[a])
                out[w, today] = day - today
        return out

    def days_until(self, way: int, place: int) -> IntArray:
        """Days (7,) from each weekday until the arc at a place of a way begins, with all open and room everywhere."""
        routing, top = self.routing, self.routing.compiled.topology
        out = np.empty(WEEK, dtype=np.int64)
        for today in range(WEEK):
            day = today
            for k, a in enumerate(self.ways[way].arcs[: place + 1]):
                if routing.arc_kind[a] == LEG:
                    day += int(routing.schedule.weekday[routing.arc_tail[a]] - day) % WEEK
                if k < place:
                    day += int(top.arc_fixed_lead[a])
            out[today] = day - today
        return out

    def booked_days(self) -> FloatArray:
        """Days to delivery of every way (W,) from when its cargo is first decided on; over a week's mean at calls."""
        routing = self.routing
        days: FloatArray = np.asarray(self.way_days.mean(axis=1), dtype=np.float64)
        if routing.terms.booking == "weekly":
            first = {entry.demand: entry.nodes[0] for entry in reversed(routing.candidates)}
            for w, way in enumerate(self.ways):
                flow = self.flows[way.flow]
                if flow.node < 0 and flow.demand in first:
                    days[w] = self.way_days[w, routing.schedule.weekday[first[flow.demand]]]
        return days

    def along(self, values: FloatArray) -> FloatArray:
        """Sums of numbers per arc (A, B) over the arcs of every way, (W, B)."""
        return np.asarray(np.add.reduceat(values[self._along], self._along_ptr[:-1], axis=0))

    def cheapest(self, cost: FloatArray) -> IntArray:
        """The way of every flow that costs least, (F, B), from costs of ways (W, B); the first of several."""
        out = np.empty((len(self.flows), cost.shape[1]), dtype=np.int64)
        cheapest(self.first_way, np.ascontiguousarray(cost, dtype=np.float64), out)
        return out

    # -- what is there ------------------------------------------------------------------------------------------------

    def waiting(self, state: TwinState) -> FloatArray:
        """What is booked and not under way, (D, B) FFE."""
        out = np.empty((len(self.routing.graph.demand), state.replicas))
        arrays = state.arrays
        waiting(self._tables, arrays.on_hand, arrays.in_transit, arrays.backlog, out)
        return out

    def room(self, state: TwinState, share: FloatArray) -> FloatArray:
        """Slots of the next departure from every call after what is there, or comes in time, and sails; (N, B) FFE.

        Parameters
        ----------
        state
            At a decision epoch.
        share
            (A, B) of the flows at calls; those of bookings do not matter.
        """
        taken = np.zeros((len(self._tables.slots), state.replicas))
        arrays = state.arrays
        ready(self._tables, arrays.on_hand, arrays.pipeline, state.head, state.period, share, taken)
        return np.asarray(np.maximum(self._tables.slots[:, None] - taken, 0.0))

    def weights(self, ffe: ArrayLike) -> FloatArray:
        """Weekly amounts of the candidates, (K,) FFE, as what goes on every way, (W,) FFE a week; the rest is refused.

        Raises
        ------
        ActionError
            As :meth:`plan`.
        """
        amounts, demand = self._amounts(ffe), self.routing.graph.demand
        number = {flow: f for f, flow in enumerate(self.flows)}
        place = {(way.flow, way.nodes): w for w, way in enumerate(self.ways) if way.candidate >= 0}
        out = np.zeros(len(self.ways))
        for k in np.flatnonzero(amounts > 0.0):
            d, nodes = self.routing.candidates[k].demand, self.routing.candidates[k].nodes
            out[place[number[Flow(d, -1)], nodes]] += amounts[k]
            for n in range(len(nodes)):
                out[place[number[Flow(d, nodes[n])], nodes[n:]]] += amounts[k]
        for d, (first, last) in enumerate(pairwise(self.first_way[: len(demand) + 1])):
            refused = [w for w in range(first, last) if self.ways[w].candidate == REFUSED]
            out[refused] = max(demand[d] - out[first:last].sum(), 0.0)
        return out

    def fitted(
        self,
        state: TwinState,
        cost: FloatArray,
        patience: float = 0.0,
        kept: FloatArray | None = None,
        weight: FloatArray | None = None,
    ) -> FloatArray:
        """Shares (A, B) by costs: every flow on its cheapest way, bookings on the next cheapest where that is full.

        Parameters
        ----------
        state
            At a decision epoch.
        cost
            (W, B) of every way.
        patience
            Money per FFE: bookings that find no room on their cheapest way take another one that costs at most this
            much more, and wait otherwise. Those that have most to lose choose first.
        kept
            (N, B) slots of the next departures that nothing is loaded for; none where left out.
        weight
            (7, W) by weekday: in which proportion ways that are equally cheap are taken; the first of them where left
            out, or where all of them have none.
        """
        demands, cost = len(self.routing.graph.demand), np.ascontiguousarray(cost, dtype=np.float64)
        parts = np.zeros((WEEK, len(self.ways)))
        if weight is not None:
            parts[:] = weight
        share = np.zeros((len(self.routing.arc_kind), state.replicas))
        divide(self.first_way[demands:], self.way_arc, cost, parts, state.period, _EQUAL, share)
        room = self.room(state, share)
        if kept is not None:
            room -= kept
        booked = np.ascontiguousarray(state.arrays.demand)
        spill(
            self.first_way[: demands + 1],
            self.way_arc,
            self._way_call,
            cost,
            self.waiting(state),
            booked,
            room,
            patience,
            parts,
            state.period,
            _EQUAL,
            share,
        )
        return share

    # -- orders -------------------------------------------------------------------------------------------------------

    def shares(self, choice: ArrayLike) -> FloatArray:
        """Choices (F, B) as shares of flows on arcs (A, B): all on the arc that the chosen way begins with.

        Raises
        ------
        ActionError
            When the shape is another, or a flow has no such way.
        """
        chosen = np.ascontiguousarray(choice)
        flows = len(self.flows)
        if chosen.ndim != 2 or len(chosen) != flows or chosen.dtype.kind not in "iu":
            raise ActionError(
                f"choices must be whole numbers of shape (flows, replicas) = ({flows}, B), received {chosen.dtype} of "
                f"shape {chosen.shape}"
            )
        most = np.diff(self.first_way)[:, None]
        wrong = np.argwhere((chosen < WAIT) | (chosen >= most))
        if len(wrong):
            f, b = wrong[0]
            demand, node = self.flows[f]
            place = "is booked" if node < 0 else f"waits at {self.routing.graph.node_name(node)}"
            raise ActionError(
                f"the cargo of demand {demand} that {place} has no way {chosen[f, b]} "
                f"(allowed: {WAIT} to wait, or 0 to {most[f, 0] - 1})"
            )
        out = np.zeros((len(self.routing.arc_kind), chosen.shape[1]))
        taken, replica = np.nonzero(chosen >= 0)
        way = self.first_way[taken] + chosen[taken, replica]
        out[self.way_arc[way], replica] = 1.0
        return out

    def plan(self, ffe: ArrayLike) -> FloatArray:
        """Weekly amounts of the candidates, (K,) FFE, as shares (A, 1) for :meth:`orders` with ``by_booking``.

        Raises
        ------
        ActionError
            When there are not K of them, or one is negative or not finite.
        """
        routing, amounts = self.routing, self._amounts(ffe)
        flow = np.zeros(len(routing.arc_kind))
        for way in self.ways:
            if self.flows[way.flow].node < 0 and way.candidate >= 0:
                flow[list(way.arcs)] += amounts[way.candidate]
        demands = len(routing.graph.demand)
        place = np.where(self._tables.arc_stock >= 0, demands + self._tables.arc_stock, routing.arc_demand)
        total = np.bincount(place, weights=flow, minlength=demands + routing.compiled.n_stocks)
        share = np.divide(flow, total[place], out=np.zeros(len(flow)), where=total[place] > 0.0)
        refuse = routing.arc_kind == REFUSE
        asked = routing.graph.demand[routing.arc_demand[refuse]]
        left = np.maximum(asked - total[routing.arc_demand[refuse]], 0.0)
        share[refuse] = np.divide(left, asked, out=np.zeros(len(asked)), where=asked > 0.0)
        return share[:, None]

    def _amounts(self, ffe: ArrayLike) -> FloatArray:
        candidates = len(self.routing.candidates)
        amounts = np.asarray(ffe, dtype=np.float64)
        if amounts.shape != (candidates,) or not (np.isfinite(amounts) & (amounts >= 0.0)).all():
            raise ActionError(
                f"a plan has {candidates} amounts of at least 0, one for every candidate, received {amounts!r}"
            )
        return amounts

    def orders(
        self, state: TwinState, share: FloatArray, *, by_booking: bool = False, kept: FloatArray | None = None
    ) -> FloatArray:
        """Orders of a day, (A, B) FFE.

        Parameters
        ----------
        state
            At a decision epoch.
        share
            (A, B), or (A, 1) for all replicas: how much of the flow at its beginning goes on each arc. Of what is
            booked the refused part goes first, and loading and air share the rest. A flow of which a part sails with
            the next departure parts when it leaves, so that its shares are those of all that comes between two
            departures. On ways around nothing is to be given: closed passages see to them.
        by_booking
            For a plan of weekly amounts: refuse a share of what has been booked since the last decision, not of all
            that waits. So a plan that refuses a tenth of the cargo does so once, however long the rest has to wait.
        kept
            (N, B) slots of the next departures that nothing is loaded for; none where left out.
        """
        replicas = state.replicas
        share = np.asarray(share, dtype=np.float64)
        arcs = len(self.routing.arc_kind)
        if share.shape not in {(arcs, 1), (arcs, replicas)}:
            raise ActionError(f"shares must have shape ({arcs}, {replicas}) or ({arcs}, 1), received {share.shape}")
        out = np.zeros((arcs, replicas))
        arrays = state.arrays
        share = np.ascontiguousarray(np.broadcast_to(share, out.shape))
        day_orders(
            self._tables,
            arrays.on_hand,
            arrays.pipeline,
            arrays.demand,
            arrays.availability,
            self.waiting(state),
            state.head,
            state.period,
            share,
            np.zeros((len(self._tables.slots), replicas)) if kept is None else kept,
            by_booking,
            out,
        )
        return out

    def permitted(self, state: TwinState, orders: ArrayLike) -> FloatArray:
        """Orders (A, B) whose loading, air and refusal are cut in proportion to what is booked and not under way."""
        out = np.array(orders, dtype=np.float64)
        permit(self._tables, self.waiting(state), out)
        return out


def _by(key: IntArray, chosen: NDArray[np.bool_], size: int) -> tuple[IntArray, IntArray]:
    """The chosen positions grouped by their key: pointers and positions."""
    rows = np.flatnonzero(chosen)
    order = rows[np.argsort(key[rows], kind="stable")]
    ptr = np.concatenate([[0], np.cumsum(np.bincount(key[rows], minlength=size))])
    return ptr.astype(np.int64), order.astype(np.int64)
