"""The periods of docs/model.md as SimPy processes: :class:`Simulation`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import count
from typing import Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray
from simpy.resources.resource import Request

from twin.compile import CompiledNetwork, compile_network
from twin.economics import N_TERMS
from twin.errors import ActionError
from twin.network import Network
from twin.simulation.ledger import Ledger, plain
from twin.simulation.log import Journal, Kind
from twin.simulation.records import NOTHING, Arc, Detail, Line, Order, Shipment, Stage, Tracking, arcs_of
from twin.simulation.times import Moment, transit_times, uniform
from twin.simulation.yard import DockMeasures, Yard, yards
from twin.state import TwinState, empty_state, starting_state
from twin.tape import HANDLING, LEAD_TIME, DrawAhead, Tape
from twin.topology import ORDER_RECEIVE_DEMAND

__all__ = ["Detail", "Simulation"]

FloatArray = NDArray[np.float64]
Process = Generator[simpy.Event, Any, None]

#: What comes first at one time: shipments (SimPy's own 0 and 1), mail, outages, phases in order, end of the period.
_MAIL, _OUTAGE, _PHASE, _END = 2, 3, 4, 7


class Simulation:
    """One replica of a network, event by event. It rests at decision epochs, as :class:`twin.engine.Twin` does.

    An order's number is ``period x arcs + arc`` of its placement, a shipment's that of its departure.

    Parameters
    ----------
    network
        A network, or one already compiled.
    seed, replica
        Which path of random numbers it follows: that of the same replica of a :class:`twin.engine.Twin`.
    detail
        ``"period"``: docs/model.md. ``"continuous"``: with fractional lead times, working hours and docks.

    Attributes
    ----------
    log
        What has happened since this object was made.

    Examples
    --------
    >>> from twin import library
    >>> simulation = Simulation(library.load("lost_sales_zipkin2008"), seed=7)
    >>> costs = simulation.step([5.0])
    >>> [event.kind for event in simulation.log.follow(0)]
    ['placed', 'reached', 'shipped']
    """

    def __init__(
        self, network: Network | CompiledNetwork, *, seed: int = 0, replica: int = 0, detail: Detail = "period"
    ) -> None:
        state = starting_state(compile_network(network) if isinstance(network, Network) else network, 1)
        state.seed[:], state.replica[:] = seed, replica
        self._begin(state, detail, None, at_epoch=False)

    @classmethod
    def from_state(cls, state: TwinState, replica: int = 0, *, detail: Detail = "period") -> Simulation:
        """A simulation of one replica of a state, at the same decision epoch. The state is not changed."""
        return cls._at(TwinState.restore(state.compiled, state.snapshot(replica)), detail, None)

    @classmethod
    def restore(
        cls, compiled: CompiledNetwork, snapshot: Mapping[str, Any], *, detail: Detail = "period"
    ) -> Simulation:
        """Rebuild a simulation from :meth:`snapshot`, or from that of a :class:`twin.state.TwinState`.

        Parameters
        ----------
        detail
            For a snapshot of a state alone; that of a simulation says it itself.

        Raises
        ------
        StaleStateError
            When the snapshot belongs to another network, or something in it is missing or makes no sense.
        """
        state = TwinState.restore(compiled, snapshot)
        if "events" not in snapshot:
            return cls._at(state, detail, None)
        tracking = Tracking.parse(snapshot["events"], state)
        return cls._at(state, tracking.detail, tracking)

    @classmethod
    def _at(cls, state: TwinState, detail: Detail, tracking: Tracking | None) -> Simulation:
        self = object.__new__(cls)
        self._begin(state, detail, tracking, at_epoch=True)
        return self

    # -- construction ---------------------------------------------------------------------------------------------

    def _begin(self, state: TwinState, detail: Detail, tracking: Tracking | None, *, at_epoch: bool) -> None:
        """Start all processes from a state of one replica, which stays the path that the tape draws for."""
        compiled = state.compiled
        self.compiled, self.detail = compiled, detail
        self._top = plain(compiled.topology)
        self._arcs = arcs_of(compiled, self._top)
        self._receive_first = compiled.topology.phase_order != ORDER_RECEIVE_DEMAND
        self._period = int(state.period[0])
        self._env = simpy.Environment(initial_time=float(self._period))
        self._journal = Journal(self._env, len(self._arcs), compiled.network.stock_points())
        self.log = self._journal.log
        continuous = detail == "continuous"
        self._durations = transit_times(compiled.network) if continuous else {}
        self._yards: dict[str, Yard] = yards(self._env, compiled.network) if continuous else {}

        self._ledger = Ledger(self._top, state)
        self._costs = np.zeros(N_TERMS)
        self._path = state
        tape = Tape(compiled)
        self._ahead = DrawAhead(tape)
        self._drawn: list[float] = tape.demand(state, 1)[0, :, 0].tolist()
        self._lead: list[int] = []
        self._next_availability: list[float] = []

        self._tickets = count()
        self._arrivals = [(0, 0.0)] * len(self._arcs)  # number, sum of periods under way
        self._mail: list[dict[int, Order]] = [{} for _ in self._arcs]
        self._moving: list[list[Shipment]] = [[] for _ in self._arcs]
        self._inside: list[list[Shipment]] = [[] for _ in self._arcs]
        self._owed: list[deque[Line]] = [deque() for _ in self._arcs]
        receipt = self._period + (at_epoch and self._receive_first)
        self._resume(tracking or Tracking.of_state(state, self._arcs, receipt, detail))
        self._resume_mail(state)
        for r in np.flatnonzero(compiled.resource_share_when_down < 1.0).tolist():
            self._env.process(self._outages(r))
        self._decision: simpy.Event = self._env.event()
        self._epoch: simpy.Event = self._env.event()
        self._env.process(self._calendar(at_epoch))
        self._env.run(until=self._epoch)

    def _resume(self, tracking: Tracking) -> None:
        """Go on with shipments and owed orders where they stand."""
        by_name = {arc.name: arc for arc in self._arcs}
        berths: dict[int, Request] = {}
        for index, shipment in enumerate(tracking.shipments):  # berths that are occupied, before anybody queues
            yard = self._yard(by_name[shipment.lane])
            if shipment.stage == "berth" and yard is not None and yard.dock is not None:
                berths[index] = yard.dock.berths.request()
        for index, shipment in enumerate(tracking.shipments):
            arc = by_name[shipment.lane]
            shipment.ticket = next(self._tickets)
            self._moving[arc.index].append(shipment)
            if shipment.stage == "inside":
                self._inside[arc.index].append(shipment)
            else:
                self._env.process(self._journey(arc, shipment, berths.get(index)))
        for moving in self._moving:  # as they were sent, so that sums over them come out the same
            moving.sort(key=lambda shipment: (-1 if shipment.sent is None else shipment.sent, shipment.arrival))
        for name, lines in tracking.owed.items():
            self._owed[by_name[name].index].extend(lines)
        for name, units in tracking.perished.items():
            self._ledger.perished[self.compiled.stock_names.index(name)] = units

    def _resume_mail(self, state: TwinState) -> None:
        mail, orders = state.logical("mail")[:, 0].tolist(), []
        for arc in self._arcs:
            for k, quantity in enumerate(mail[self._top.mail_ptr[arc.index] :][: arc.delay]):
                due = self._period + k
                if quantity > 0.0:
                    orders.append(Order(arc.index, due - arc.delay, quantity, due))
        for order in sorted(orders, key=lambda order: order.placed):
            self._post(order)

    # -- use ------------------------------------------------------------------------------------------------------

    @property
    def period(self) -> int:
        """The period whose orders come next."""
        return self._period

    def step(self, orders: ArrayLike) -> FloatArray:
        """Place orders and advance to the next decision epoch.

        Parameters
        ----------
        orders
            (A,) or (A, 1) units on each arc; what is not above 0 orders nothing.

        Returns
        -------
        ndarray, shape (11,)
            The period's cost terms, in the order of ``COST_TERMS``.

        Raises
        ------
        ActionError
            When the shape is wrong or a number is NaN or infinite.
        """
        orders = np.asarray(orders, dtype=np.float64)
        arcs = len(self._arcs)
        if orders.shape not in {(arcs,), (arcs, 1)}:
            raise ActionError(f"orders must have shape ({arcs},) or ({arcs}, 1), received {orders.shape}")
        if not np.isfinite(orders).all():
            arc = self._arcs[int(np.argwhere(~np.isfinite(orders))[0, 0])]
            raise ActionError(f"the order on '{arc.name}' is not a finite number")
        self._epoch = self._env.event()
        self._decision.succeed(orders.ravel().tolist())
        self._env.run(until=self._epoch)
        return self._costs

    def run(self, policy: Callable[[TwinState], ArrayLike], periods: int) -> FloatArray:
        """Let a policy decide for a number of periods.

        Parameters
        ----------
        policy
            From a state of one replica to orders, as :meth:`step` takes them.

        Returns
        -------
        ndarray, shape (periods, 11)
            The cost terms of each period.
        """
        return np.array([self.step(policy(self.state())) for _ in range(periods)]).reshape(periods, N_TERMS)

    def state(self) -> TwinState:
        """The state as the other engines have it, of one replica.

        In continuous detail a shipment stands in the pipeline at the receive phase that follows its arrival at the
        gate, or in the last slot where its arc has none so far ahead; what waits or unloads stands in the first.
        """
        top, state = self._top, empty_state(self.compiled, 1)
        for name in ("seed", "replica", "episode"):
            getattr(state, name)[:] = getattr(self._path, name)
        state.period[:] = self._period
        self._ledger.write(state)
        pipeline, carried, mail = state.arrays.pipeline, state.arrays.transit_layers, state.arrays.mail
        receipt = self._period + self._receive_first
        for arc in self._arcs:
            first, slots = top.pipe_ptr[arc.index], top.pipe_ptr[arc.index + 1] - top.pipe_ptr[arc.index]
            for shipment in self._moving[arc.index]:
                slot = min(max(shipment.due - receipt, 0), slots - 1)
                late = max(receipt - shipment.due, 0)
                pipeline[first + slot, 0] += shipment.units
                for life, units in shipment.lots:
                    carried[top.transit_ptr[arc.index] + slot * arc.life + max(life - late, 1) - 1, 0] += units
            for due, order in self._mail[arc.index].items():
                mail[top.mail_ptr[arc.index] + due - self._period, 0] = order.quantity
        return state

    def snapshot(self) -> dict[str, Any]:
        """Everything as plain data: the snapshot of :meth:`state`, and what it does not say under ``events``."""
        tracking = Tracking(
            self.detail,
            sorted((s for moving in self._moving for s in moving), key=lambda shipment: shipment.ticket),
            {arc.name: list(self._owed[arc.index]) for arc in self._arcs if self._owed[arc.index]},
            {self.compiled.stock_names[i]: units for i, units in enumerate(self._ledger.perished) if units > 0.0},
        )
        return self.state().snapshot() | {"events": tracking.section()}

    def docks(self) -> dict[str, DockMeasures]:
        """Per site with docks (continuous detail): waiting for its berths and their use since this object was made."""
        busy: dict[str, list[float]] = {}
        for arc in self._arcs:
            since = [shipment.since for shipment in self._moving[arc.index] if shipment.stage == "berth"]
            busy.setdefault(arc.site, []).extend(since)
        return {
            site: yard.dock.measures(busy.get(site, [])) for site, yard in self._yards.items() if yard.dock is not None
        }

    def transit_times(self) -> dict[str, float]:
        """Per arc, mean periods from departure until unloaded (or made), of what came since this object was made.

        Arcs on which nothing came are left out.
        """
        return {
            arc.name: total / number
            for arc, (number, total) in zip(self._arcs, self._arrivals, strict=True)
            if number > 0
        }

    # -- processes ------------------------------------------------------------------------------------------------

    def _calendar(self, at_epoch: bool) -> Process:
        """The phases of every period, each after whatever else happens at its time."""
        names = self.compiled.network.phases
        skip = names.index("order") if at_epoch else 0
        while True:
            for position in range(skip, len(names)):
                yield Moment(self._env, self._period, _PHASE + position)
                if names[position] == "receive":
                    self._receive()
                elif names[position] == "demand":
                    self._sell()
                else:
                    self._epoch.succeed()
                    orders = yield self._decision
                    self._decision = self._env.event()
                    self._draw()
                    self._order(orders)
            yield Moment(self._env, self._period, _END)
            self._end_of_period()
            self._period += 1
            skip = 0

    def _post(self, order: Order) -> None:
        """Put an order into the mail; what is due now has reached its source already."""
        self._mail[order.arc][order.due] = order
        if order.due > self._env.now:
            self._env.process(self._delivery(order))

    def _delivery(self, order: Order) -> Process:
        """An order in the mail."""
        yield Moment(self._env, order.due, _MAIL)
        arc = self._arcs[order.arc]
        self._journal.order("reached", arc, order.quantity, self._journal.number(arc, order.placed))

    def _journey(self, arc: Arc, shipment: Shipment, berth: Request | None = None) -> Process:
        """A shipment on its way, or a production: the road, the gate, the queue, the berth."""
        yard = self._yard(arc)

        def enter(stage: Stage, kind: Kind | None = None) -> None:
            shipment.stage, shipment.since, shipment.ticket = stage, self._env.now, next(self._tickets)
            if kind is not None:
                self._journal.shipment(kind, arc, shipment.units, shipment.sent)

        if shipment.stage == "road":
            yield self._until(shipment.arrival)
            if yard is not None and yard.opening(shipment.arrival) > shipment.arrival:
                enter("gate", "gate_closed")
        if shipment.stage == "gate" and yard is not None:
            yield self._until(yard.opening(shipment.arrival))
        if yard is not None and yard.dock is not None:
            if shipment.stage != "berth":
                if shipment.stage != "queue":
                    enter("queue", "queued")
                berth = yard.dock.berths.request()
                yield berth
                yard.dock.waited(self._env.now - shipment.since)
                enter("berth", "berthed")
            yield self._until(yard.finish(shipment.since, self._handling(arc, shipment, yard.dock.handling)))
            yard.dock.freed(shipment.since)
            if berth is not None:
                yard.dock.berths.release(berth)
            enter("inside", "unloaded")
        else:
            enter("inside")
        self._inside[arc.index].append(shipment)
        self._count_arrival(arc, shipment)

    def _outages(self, r: int) -> Process:
        """A resource that fails and recovers, at the start of periods."""
        available = self._ledger.availability
        while True:
            yield Moment(self._env, math.floor(self._env.now) + 1, _OUTAGE)
            before, available[r] = available[r], self._next_availability[r]
            if before != available[r]:
                kind: Kind = "outage_begins" if available[r] < before else "outage_ends"
                self._journal.resource(kind, self.compiled.resource_names[r], available[r])

    def _until(self, time: float) -> simpy.Event:
        return self._env.timeout(max(0.0, time - self._env.now))

    # -- phases ---------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """What is inside becomes stock, arc by arc."""
        ledger = self._ledger
        for arc in self._arcs:
            if not self._inside[arc.index]:
                continue
            total, perished, by_life = 0.0, 0.0, [0.0] * arc.life
            for shipment in self._inside[arc.index]:
                late, lost = self._period - shipment.due, 0.0
                for life, units in shipment.lots:
                    if life > late:
                        by_life[life - late - 1] += units
                    else:
                        lost += units
                total += shipment.units
                perished += lost
                self._journal.receipt(arc, shipment, shipment.units - lost)
                self._moving[arc.index].remove(shipment)
            self._inside[arc.index].clear()
            ledger.in_transit[arc.index] = max(0.0, ledger.in_transit[arc.index] - total)
            ledger.perished[arc.target] += perished
            self._put(arc, total - perished, enumerate(by_life, start=1))

    def _put(self, arc: Arc, units: float, lots: Iterable[tuple[int, float]]) -> None:
        """Units become stock: those of a perishable transport with the life of their lots, others fresh."""
        if not arc.life:
            self._ledger.put_fresh(arc.target, units)
            return
        self._ledger.on_hand[arc.target] += units
        for life, amount in lots:
            self._ledger.put_layer(arc.target, life, amount)

    def _draw(self) -> None:
        """The random numbers of this step."""
        self._path.arrays.availability[:, 0] = self._ledger.availability
        self._path.period[:] = self._period
        draws = self._ahead.next(self._path)
        self._drawn = draws.demand[0, :, 0].tolist()
        self._lead = draws.lead_time[0, :, 0].tolist()
        self._next_availability = draws.availability[0, :, 0].tolist()

    def _order(self, orders: list[float]) -> None:
        """Orders are placed, reach the sources, and the sources share out what they have."""
        top, ledger = self._top, self._ledger
        ledger.wasted = [0.0] * len(ledger.wasted)
        stock_asked, resource_asked = [0.0] * len(ledger.on_hand), [0.0] * len(ledger.availability)
        wanted, request = [], []
        for arc, asked in zip(self._arcs, orders, strict=True):
            wanted.append(self._arriving(arc, arc.feasible(asked)) + ledger.backorders[arc.index])
            request.append(min(wanted[-1], arc.capacity))
            for i, coefficient in arc.inputs:
                stock_asked[i] += coefficient * request[-1]
            for r, coefficient in arc.uses:
                resource_asked[r] += coefficient * request[-1]
        left = [
            capacity * share if share > 0.0 else 0.0  # what has no limit gives nothing either while it is down
            for capacity, share in zip(top.resource_capacity, ledger.availability, strict=True)
        ]
        sources = (
            (ledger.on_hand, stock_asked, top.stock_by_priority),
            (left, resource_asked, top.resource_by_priority),
        )
        for a in top.ship_order:
            arc, amount = self._arcs[a], request[a]
            for (there, still_asked, by_priority), entries in zip(sources, (arc.inputs, arc.uses), strict=True):
                for k, coefficient in entries:
                    if by_priority[k]:
                        amount = min(amount, there[k] / coefficient)
                    elif there[k] < still_asked[k]:
                        amount = min(amount, request[a] * there[k] / still_asked[k])
            if arc.integer:
                amount = float(math.floor(amount + 1e-9))  # 3 x (1/3) counts as 1 whole unit
            amount = amount if amount >= NOTHING else 0.0
            for (there, still_asked, _), entries in zip(sources, (arc.inputs, arc.uses), strict=True):
                for k, coefficient in entries:
                    there[k] = max(0.0, there[k] - coefficient * amount)
                    still_asked[k] -= coefficient * request[a]
            gone = [self._ledger.issue(i, coefficient * amount) for i, coefficient in arc.inputs]
            keeps = arc.backorders or (arc.waits and self._is_down(arc))
            ledger.backorders[a] = wanted[a] - amount if keeps else 0.0
            ledger.shipped[a] = amount
            if amount > 0.0:
                self._send(arc, amount, gone[0] if arc.life else [], self._allot(arc, amount))
            self._leave(arc, keeps)

    def _arriving(self, arc: Arc, quantity: float) -> float:
        """Place an order of ``quantity``; the units of the order that reaches the source now, unless it is refused."""
        number = self._journal.number(arc, self._period)
        if quantity > 0.0:
            self._journal.order("placed", arc, quantity, number)
            if arc.delay:
                self._post(Order(arc.index, self._period, quantity, self._period + arc.delay))
            else:
                self._journal.order("reached", arc, quantity, number)
        if arc.delay:
            arrived = self._mail[arc.index].pop(self._period, None)
            number = self._journal.number(arc, self._period - arc.delay)
            quantity = 0.0 if arrived is None else arrived.quantity
        if quantity > 0.0 and not arc.waits and self._is_down(arc):
            self._journal.order("refused", arc, quantity, number)
            return 0.0
        if quantity > 0.0:
            self._owed[arc.index].append((number, quantity))
        return quantity

    def _allot(self, arc: Arc, amount: float) -> list[Line]:
        """Which orders a shipment of ``amount`` is for, the oldest first."""
        owed, lines = self._owed[arc.index], []
        while owed and amount > 0.0:
            number, units = owed.popleft()
            if units - amount > NOTHING:
                owed.appendleft((number, units - amount))
                units = amount
            lines.append((number, units))
            amount -= units
        return lines

    def _leave(self, arc: Arc, keeps: bool) -> None:
        """What did not ship is owed from now on, or cancelled."""
        owed = self._owed[arc.index]
        for number, units in owed:
            if not keeps:
                self._journal.order("cancelled", arc, units, number)
            elif number is not None and self._journal.period(number) + arc.delay == self._period:  # it has just come
                self._journal.order("backordered", arc, units, number)
        if not keeps:
            owed.clear()

    def _send(self, arc: Arc, amount: float, gone: list[tuple[int, float]], lines: list[Line]) -> None:
        """A shipment leaves, or a production begins; ``gone`` are (life, units) that a perishable transport carries."""
        ledger, now, yard = self._ledger, self._period, self._yards.get(arc.site)
        for order, units in lines:
            self._journal.order("shipped", arc, units, order, now)
        transit = self._transit(arc)
        arrival = yard.finish(now, transit) if arc.makes and yard is not None else now + transit
        if not arc.crossing:
            earlier = (shipment.arrival for shipment in self._moving[arc.index] if shipment.units >= NOTHING)
            arrival = max([arrival, *earlier])
        shipment = Shipment(arc.name, now, arrival, amount, [], lines)
        if arc.life:
            shipment.units = 0.0
            for life, units in gone:
                left = life - (shipment.due - now)
                if left > 0:
                    shipment.units += units
                    shipment.lots.append((left, units))
                else:
                    ledger.wasted[self._top.stock_waste[arc.target]] += units
                    self._journal.shipment("perished", arc, units, now)
            if not shipment.lots:
                return
        passes = arc.makes or yard is None or yard.is_passed_at_once(arrival)
        if not (self._receive_first and arrival == now and passes):
            ledger.in_transit[arc.index] += shipment.units
            shipment.ticket = next(self._tickets)
            self._moving[arc.index].append(shipment)
            self._env.process(self._journey(arc, shipment))
            return
        self._count_arrival(arc, shipment)
        self._journal.receipt(arc, shipment, shipment.units)
        self._put(arc, shipment.units, shipment.lots)

    def _sell(self) -> None:
        """Customers: old backlog, then new demand, from stock."""
        for d, name in enumerate(self.compiled.demand_names):
            sale = self._ledger.sell(d, self._drawn[d])
            i = self._top.demand_stock[d]
            self._journal.stock("served_late", i, sale.late, name)
            self._journal.stock("served", i, sale.served, name)
            self._journal.stock("backlogged" if self._top.demand_backlogs[d] else "lost", i, sale.short, name)

    def _end_of_period(self) -> None:
        """Perishable stock ages, then the period is charged."""
        for i, life in enumerate(self._top.stock_life):
            if life:
                self._journal.stock("perished", i, self._ledger.age(i))
        self._costs = self._ledger.charge()

    # -- small things ---------------------------------------------------------------------------------------------

    def _is_down(self, arc: Arc) -> bool:
        return any(self._ledger.availability[r] == 0.0 for r, _ in arc.uses)

    def _yard(self, arc: Arc) -> Yard | None:
        """What a shipment must pass at its destination; a production is there already."""
        return None if arc.makes else self._yards.get(arc.site)

    def _transit(self, arc: Arc) -> float:
        """Periods under way of what an arc ships now."""
        if arc.index in self._durations:
            u = uniform(self._path, LEAD_TIME, arc.index, self._period)
            return self._durations[arc.index](u, self._period)
        return float(arc.fixed_lead if arc.fixed_lead >= 0 else self._lead[arc.index])

    def _handling(self, arc: Arc, shipment: Shipment, handling: Callable[[float, int], float]) -> float:
        """Periods of work to unload a shipment."""
        entity, period = arc.index, shipment.sent
        if period is None:  # of what was under way from the start one shipment of an arc arrives in a period
            entity, period = arc.index + len(self._arcs), shipment.due
        return handling(uniform(self._path, HANDLING, entity, period), period)

    def _count_arrival(self, arc: Arc, shipment: Shipment) -> None:
        if shipment.sent is not None:
            number, total = self._arrivals[arc.index]
            self._arrivals[arc.index] = (number + 1, total + self._env.now - shipment.sent)
