"""Orders: placed, in the mail, at their source, which shares out what it has; what is owed and what is cancelled."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import simpy

from twin.orders import feasible_orders
from twin.simulation.records import NOTHING, Arc, Line, Order, Tracking
from twin.simulation.shipping import Shipping
from twin.simulation.times import Moment
from twin.simulation.world import MAIL, World
from twin.state import TwinState

__all__ = ["Ordering"]


class Ordering:
    """Handles the orders of a world, from those in the mail of a state and those that ``tracking`` says are owed."""

    def __init__(self, world: World, shipping: Shipping, state: TwinState, tracking: Tracking) -> None:
        self._world, self._shipping = world, shipping
        by_name = {arc.name: arc for arc in world.arcs}
        for name, lines in tracking.owed.items():
            world.owed[by_name[name].index].extend(lines)
        mail, orders = state.logical("mail")[:, 0].tolist(), []
        for arc in world.arcs:
            for k, quantity in enumerate(mail[world.top.mail_ptr[arc.index] :][: arc.delay]):
                due = world.period + k
                if quantity > 0.0:
                    orders.append(Order(arc.index, due - arc.delay, quantity, due))
        for order in sorted(orders, key=lambda order: order.placed):
            self._post(order)

    def place(self, orders: list[float]) -> None:
        """The order phase: orders are placed, reach the sources, and the sources share out what they have."""
        top, ledger = self._world.top, self._world.ledger
        ledger.wasted = [0.0] * len(ledger.wasted)
        stock_asked, resource_asked = [0.0] * len(ledger.on_hand), [0.0] * len(ledger.availability)
        wanted, request = [], []
        rules = self._world.compiled.topology
        placed = feasible_orders(orders, rules.arc_minimum, rules.arc_lot, rules.arc_maximum).tolist()
        for arc, quantity in zip(self._world.arcs, placed, strict=True):
            wanted.append(self._arriving(arc, quantity) + ledger.backorders[arc.index])
            request.append(min(wanted[-1], arc.capacity))
            for i, coefficient in arc.inputs:
                stock_asked[i] += coefficient * request[-1]
            for r, coefficient in arc.uses:
                resource_asked[r] += coefficient * request[-1]
        left = [
            # What has no limit gives nothing either while it is down.
            capacity * share * self._on_calendar(r) if share > 0.0 else 0.0
            for r, (capacity, share) in enumerate(zip(top.resource_capacity, ledger.availability, strict=True))
        ]
        sources = (
            (ledger.on_hand, stock_asked, top.stock_by_priority),
            (left, resource_asked, top.resource_by_priority),
        )
        for a in top.ship_order:
            arc, amount = self._world.arcs[a], request[a]
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
            gone = [ledger.issue(i, coefficient * amount) for i, coefficient in arc.inputs]
            keeps = arc.backorders or (arc.waits and self._is_down(arc))
            ledger.backorders[a] = wanted[a] - amount if keeps else 0.0
            ledger.shipped[a] = amount
            if amount > 0.0:
                self._shipping.send(arc, amount, gone[0] if arc.life else [], self._allot(arc, amount))
            self._leave(arc, keeps)

    def _arriving(self, arc: Arc, quantity: float) -> float:
        """Place an order of ``quantity``; the units of the order that reaches the source now, unless it is refused."""
        world = self._world
        number = world.journal.number(arc, world.period)
        if quantity > 0.0:
            world.journal.order("placed", arc, quantity, number)
            if arc.delay:
                self._post(Order(arc.index, world.period, quantity, world.period + arc.delay))
            else:
                world.journal.order("reached", arc, quantity, number)
        if arc.delay:
            arrived = world.mail[arc.index].pop(world.period, None)
            number = world.journal.number(arc, world.period - arc.delay)
            quantity = 0.0 if arrived is None else arrived.quantity
        if quantity > 0.0 and not arc.waits and self._is_down(arc):
            world.journal.order("refused", arc, quantity, number)
            return 0.0
        if quantity > 0.0:
            world.owed[arc.index].append((number, quantity))
        return quantity

    def _allot(self, arc: Arc, amount: float) -> list[Line]:
        """Which orders a shipment of ``amount`` is for, the oldest first."""
        owed, lines = self._world.owed[arc.index], []
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
        world = self._world
        owed = world.owed[arc.index]
        for number, units in owed:
            if not keeps:
                world.journal.order("cancelled", arc, units, number)
            elif number is not None and world.journal.period(number) + arc.delay == world.period:  # it has just come
                world.journal.order("backordered", arc, units, number)
        if not keeps:
            owed.clear()

    def _post(self, order: Order) -> None:
        """Put an order into the mail; what is due now has reached its source already."""
        world = self._world
        world.mail[order.arc][order.due] = order
        if order.due > world.env.now:
            world.env.process(self._delivery(order))

    def _delivery(self, order: Order) -> Generator[simpy.Event, Any, None]:
        """An order in the mail."""
        yield Moment(self._world.env, order.due, MAIL)
        arc, journal = self._world.arcs[order.arc], self._world.journal
        journal.order("reached", arc, order.quantity, journal.number(arc, order.placed))

    def _on_calendar(self, r: int) -> float:
        """Share of a resource's capacity that there is in this period."""
        top = self._world.top
        first, last = top.calendar_ptr[r], top.calendar_ptr[r + 1]
        return 1.0 if first == last else float(top.calendar_share[first + self._world.period % (last - first)])

    def _is_down(self, arc: Arc) -> bool:
        return any(self._world.ledger.availability[r] == 0.0 for r, _ in arc.uses)
