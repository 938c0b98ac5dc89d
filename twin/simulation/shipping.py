"""Shipments and productions from departure to receipt: the road, the gate, the queue, the berth, the receive phase."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import simpy
from simpy.resources.resource import Request

from twin.simulation.log import Kind
from twin.simulation.records import NOTHING, Arc, Line, Shipment, Stage, Tracking
from twin.simulation.world import World

__all__ = ["Shipping"]


class Shipping:
    """Moves the shipments of a world, from where ``tracking`` says that they stand."""

    def __init__(self, world: World, tracking: Tracking) -> None:
        self._world, self._env = world, world.env
        by_name = {arc.name: arc for arc in world.arcs}
        berths: dict[int, Request] = {}
        for index, shipment in enumerate(tracking.shipments):  # berths that are occupied, before anybody queues
            yard = world.yard(by_name[shipment.lane])
            if shipment.stage == "berth" and yard is not None and yard.dock is not None:
                berths[index] = yard.dock.berths.request()
        for index, shipment in enumerate(tracking.shipments):
            arc = by_name[shipment.lane]
            shipment.ticket = world.ticket()
            world.moving[arc.index].append(shipment)
            if shipment.stage == "inside":
                world.inside[arc.index].append(shipment)
            else:
                self._env.process(self._journey(arc, shipment, berths.get(index)))
        for moving in world.moving:  # as they were sent, so that sums over them come out the same
            moving.sort(key=lambda shipment: (-1 if shipment.sent is None else shipment.sent, shipment.arrival))
        for name, units in tracking.perished.items():
            world.ledger.perished[world.compiled.stock_names.index(name)] = units

    def send(self, arc: Arc, amount: float, gone: list[tuple[int, float]], lines: list[Line]) -> None:
        """A shipment leaves, or a production begins; ``gone`` are (life, units) that a perishable transport carries."""
        world = self._world
        ledger, now, yard = world.ledger, world.period, world.yards.get(arc.site)
        for order, units in lines:
            world.journal.order("shipped", arc, units, order, now)
        transit = world.transit(arc)
        arrival = yard.finish(now, transit) if arc.makes and yard is not None else now + transit
        if not arc.crossing:
            earlier = (shipment.arrival for shipment in world.moving[arc.index] if shipment.units >= NOTHING)
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
                    ledger.wasted[world.top.stock_waste[arc.target]] += units
                    world.journal.shipment("perished", arc, units, now)
            if not shipment.lots:
                return
        passes = arc.makes or yard is None or yard.is_passed_at_once(arrival)
        if not (world.receive_first and arrival == now and passes):
            ledger.in_transit[arc.index] += shipment.units
            shipment.ticket = world.ticket()
            world.moving[arc.index].append(shipment)
            self._env.process(self._journey(arc, shipment))
            return
        self._count_arrival(arc, shipment)
        world.journal.receipt(arc, shipment, shipment.units)
        self._put(arc, shipment.units, shipment.lots)

    def receive(self) -> None:
        """The receive phase: what is inside becomes stock, arc by arc."""
        world = self._world
        for arc in world.arcs:
            if not world.inside[arc.index]:
                continue
            total, perished, by_life = 0.0, 0.0, [0.0] * arc.life
            for shipment in world.inside[arc.index]:
                late, lost = world.period - shipment.due, 0.0
                for life, units in shipment.lots:
                    if life > late:
                        by_life[life - late - 1] += units
                    else:
                        lost += units
                total += shipment.units
                perished += lost
                world.journal.receipt(arc, shipment, shipment.units - lost)
                world.moving[arc.index].remove(shipment)
            world.inside[arc.index].clear()
            world.ledger.in_transit[arc.index] = max(0.0, world.ledger.in_transit[arc.index] - total)
            world.ledger.perished[arc.target] += perished
            self._put(arc, total - perished, enumerate(by_life, start=1))

    def expedite(self, arc: Arc, periods: int) -> None:
        """What is on the road arrives so many periods earlier, at the next receive phase at most."""
        world = self._world
        receipt = world.period + world.receive_first
        for shipment in world.moving[arc.index]:
            if shipment.stage == "road" and shipment.due > receipt:
                shipment.arrival = max(float(receipt), shipment.arrival - periods)
                shipment.ticket = world.ticket()
                world.journal.shipment("expedited", arc, shipment.units, shipment.sent)
                self._env.process(self._journey(arc, shipment))

    def _journey(self, arc: Arc, shipment: Shipment, berth: Request | None = None) -> Generator[simpy.Event, Any, None]:
        """A shipment on its way, or a production: the road, the gate, the queue, the berth."""
        yard = self._world.yard(arc)

        def enter(stage: Stage, kind: Kind | None = None) -> None:
            shipment.stage, shipment.since, shipment.ticket = stage, self._env.now, self._world.ticket()
            if kind is not None:
                self._world.journal.shipment(kind, arc, shipment.units, shipment.sent)

        if shipment.stage == "road":
            arrival = shipment.arrival
            yield self._until(arrival)
            if shipment.arrival != arrival:  # expedited: it goes on in another process
                return
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
            yield self._until(yard.finish(shipment.since, self._world.unloading(arc, shipment)))
            yard.dock.freed(shipment.since)
            if berth is not None:
                yard.dock.berths.release(berth)
            enter("inside", "unloaded")
        else:
            enter("inside")
        self._world.inside[arc.index].append(shipment)
        self._count_arrival(arc, shipment)

    def _until(self, time: float) -> simpy.Event:
        return self._env.timeout(max(0.0, time - self._env.now))

    def _put(self, arc: Arc, units: float, lots: Iterable[tuple[int, float]]) -> None:
        """Units become stock: those of a perishable transport with the life of their lots, others fresh."""
        ledger = self._world.ledger
        if not arc.life:
            ledger.put_fresh(arc.target, units)
            return
        ledger.on_hand[arc.target] += units
        for life, amount in lots:
            ledger.put_layer(arc.target, life, amount)

    def _count_arrival(self, arc: Arc, shipment: Shipment) -> None:
        if shipment.sent is not None:
            number, total = self._world.arrivals[arc.index]
            self._world.arrivals[arc.index] = (number + 1, total + self._env.now - shipment.sent)
