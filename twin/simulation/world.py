"""What the processes of a simulation share: the clock, the numbers of the state, what is under way, the draws."""

from __future__ import annotations

from collections import deque
from itertools import count

import simpy

from twin.simulation.ledger import Ledger, plain
from twin.simulation.log import Journal
from twin.simulation.records import Arc, Detail, Line, Order, Shipment, Tracking, arcs_of, lay_out
from twin.simulation.times import transit_times, uniform
from twin.simulation.yard import Yard, yards
from twin.state import TwinState, empty_state
from twin.tape import HANDLING, LEAD_TIME, DrawAhead, Tape
from twin.topology import ORDER_RECEIVE_DEMAND

__all__ = ["MAIL", "OUTAGE", "PERIOD_END", "PHASE", "World"]

#: What comes first at one time: shipments (SimPy's own 0 and 1), mail, outages, phases in order, end of the period.
MAIL, OUTAGE, PHASE, PERIOD_END = 2, 3, 4, 7


class World:
    """One replica as the processes see it, from a state of one replica that stays the path the tape draws for.

    Attributes
    ----------
    period
        The period that runs, or whose orders come next.
    drawn, lead, next_availability
        Draws of this step: units per stream of demand, periods per arc whose lead time is drawn, and the share of each
        resource that works in the next period.
    mail
        Per arc, the orders in the mail by the period in which they reach their source.
    moving, inside
        Per arc, all shipments, as they were sent; and those of them that wait for the receive phase.
    owed
        Per arc, the orders behind its backorders, oldest first.
    arrivals
        Per arc, the number of shipments that have come and the sum of the periods that they were under way.
    """

    def __init__(self, state: TwinState, detail: Detail) -> None:
        compiled = state.compiled
        self.compiled, self.detail, self.path = compiled, detail, state
        self.top = plain(compiled.topology)
        self.arcs = arcs_of(compiled, self.top)
        self.receive_first = compiled.topology.phase_order != ORDER_RECEIVE_DEMAND
        self.period = int(state.period[0])
        self.env = simpy.Environment(initial_time=float(self.period))
        self.journal = Journal(self.env, len(self.arcs), compiled.network.stock_points())
        continuous = detail == "continuous"
        self._durations = transit_times(compiled.network) if continuous else {}
        self.yards: dict[str, Yard] = yards(self.env, compiled.network) if continuous else {}

        self.ledger = Ledger(self.top, state)
        tape = Tape(compiled)
        self._ahead = DrawAhead(tape)
        self.drawn: list[float] = tape.demand(state, 1)[0, :, 0].tolist()
        self.lead: list[int] = []
        self.next_availability: list[float] = []

        self._tickets = count()
        self.mail: list[dict[int, Order]] = [{} for _ in self.arcs]
        self.moving: list[list[Shipment]] = [[] for _ in self.arcs]
        self.inside: list[list[Shipment]] = [[] for _ in self.arcs]
        self.owed: list[deque[Line]] = [deque() for _ in self.arcs]
        self.arrivals = [(0, 0.0)] * len(self.arcs)

    def draw(self) -> None:
        """The random numbers of this step."""
        self.path.arrays.availability[:, 0] = self.ledger.availability
        self.path.period[:] = self.period
        draws = self._ahead.next(self.path)
        self.drawn = draws.demand[0, :, 0].tolist()
        self.lead = draws.lead_time[0, :, 0].tolist()
        self.next_availability = draws.availability[0, :, 0].tolist()
        self.path.exogenous[:] = draws.processes[0]  # nobody looks at it before the next decision epoch

    def ticket(self) -> int:
        """The next number by which shipments are ordered."""
        return next(self._tickets)

    def yard(self, arc: Arc) -> Yard | None:
        """What a shipment must pass at its destination; a production is there already."""
        return None if arc.makes else self.yards.get(arc.site)

    def transit(self, arc: Arc) -> float:
        """Periods under way of what an arc ships now."""
        if arc.index in self._durations:
            u = uniform(self.path, LEAD_TIME, arc.index, self.period)
            return self._durations[arc.index](u, self.period)
        return float(arc.fixed_lead if arc.fixed_lead >= 0 else self.lead[arc.index])

    def unloading(self, arc: Arc, shipment: Shipment) -> float:
        """Periods of work to unload a shipment; 0 where its destination has no docks."""
        yard = self.yard(arc)
        if yard is None or yard.dock is None:
            return 0.0
        entity, period = arc.index, shipment.sent
        if period is None:  # of what was under way from the start one shipment of an arc arrives in a period
            entity, period = arc.index + len(self.arcs), shipment.due
        return yard.dock.handling(uniform(self.path, HANDLING, entity, period), period)

    def state(self) -> TwinState:
        """The state as the other engines have it, at a decision epoch."""
        state = empty_state(self.compiled, 1)
        for name in ("seed", "replica", "episode"):
            getattr(state, name)[:] = getattr(self.path, name)
        state.period[:] = self.period
        self.ledger.write(state)
        state.exogenous[:] = self.path.exogenous
        under_way = ((a, shipment) for a, moving in enumerate(self.moving) for shipment in moving)
        lay_out(self.top, under_way, self.period + self.receive_first, state)
        for a, orders in enumerate(self.mail):
            for due, order in orders.items():
                state.arrays.mail[self.top.mail_ptr[a] + due - self.period, 0] = order.quantity
        return state

    def tracking(self) -> Tracking:
        """What :meth:`state` does not say."""
        shipments = [shipment for moving in self.moving for shipment in moving]
        return Tracking(
            self.detail,
            sorted(shipments, key=lambda shipment: shipment.ticket),
            {arc.name: list(self.owed[arc.index]) for arc in self.arcs if self.owed[arc.index]},
            {self.compiled.stock_names[i]: units for i, units in enumerate(self.ledger.perished) if units > 0.0},
        )
