"""The event log: what happened, when, where, to which order; the track-and-trace view of a simulation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import simpy

from twin.files import write_text
from twin.simulation.records import Arc, Shipment

__all__ = ["Event", "EventLog", "Journal", "Kind"]

Kind = Literal[
    # an order: leaves the planner, reaches the source, and what becomes of the part that does not ship at once
    "placed",
    "reached",
    "refused",
    "backordered",
    "cancelled",
    # a shipment or a production, one event per order in it
    "shipped",
    "received",
    # a shipment at its destination in continuous detail
    "gate_closed",
    "queued",
    "berthed",
    "unloaded",
    # a shipment that arrives earlier than it would have
    "expedited",
    # stock and customers
    "perished",
    "served",
    "served_late",
    "backlogged",
    "lost",
    # resources: quantity is the share that works
    "outage_begins",  # it falls
    "recovers",  # it rises, to less than all
    "outage_ends",
    # a supplier under contract: quantity is 0
    "qualification_begins",
    "qualified",
    "activated",
    "deactivated",
]


class Event(NamedTuple):
    """One thing that happened. What a kind of event does not have is empty (numbers: None)."""

    time: float  # periods
    kind: Kind
    quantity: float  # units; of an outage the share of the capacity that works
    site: str = ""  # where
    product: str = ""
    lane: str = ""  # name of the arc
    source: str = ""  # supplier or site where the arc begins
    order: int | None = None
    shipment: int | None = None
    subject: str = ""  # name of the demand stream, resource or supplier


class EventLog:
    """Events in the order in which they happened."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events = list(events)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __getitem__(self, index: int) -> Event:
        return self._events[index]

    def append(self, event: Event) -> None:
        """Add what has just happened."""
        self._events.append(event)

    def select(
        self, *kinds: Kind, lane: str | None = None, site: str | None = None, order: int | None = None
    ) -> EventLog:
        """The events of these kinds (of all when none is given), on this lane, at this site, of this order."""
        return EventLog(
            event
            for event in self._events
            if (not kinds or event.kind in kinds)
            and (lane is None or event.lane == lane)
            and (site is None or event.site == site)
            and (order is None or event.order == order)
        )

    def follow(self, order: int) -> EventLog:
        """One order from placement to receipt: its own events, and those of the shipments that carry it."""
        carried = {event.shipment for event in self._events if event.order == order} - {None}
        return EventLog(
            event
            for event in self._events
            if event.order == order or (event.order is None and event.shipment in carried)
        )

    def write_csv(self, path: str | Path) -> None:
        """Write the log as a table with a header, whole or not at all; None is empty."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(Event._fields)
        table.writerows(self._events)
        write_text(path, text.getvalue())

    def write_json_lines(self, path: str | Path) -> None:
        """Write one JSON object a line, whole or not at all."""
        write_text(path, "".join(json.dumps(event._asdict()) + "\n" for event in self._events))


#: What happens to an order or shipment where its arc begins; all else happens where it ends.
_AT_SOURCE = frozenset({"reached", "refused", "backordered", "cancelled", "shipped"})


class Journal:
    """Writes into a log what happens now on an arc, at a stock point or to a resource."""

    def __init__(self, env: simpy.Environment, arcs: int, points: list[tuple[str, str]]) -> None:
        self.log = EventLog()
        self._env, self._arcs, self._points = env, arcs, points

    def number(self, arc: Arc, period: int | None) -> int | None:
        """Number of what an arc orders or ships in a period; None for what was under way from the start."""
        return None if period is None or period < 0 else period * self._arcs + arc.index

    def period(self, number: int) -> int:
        """The period that a number belongs to."""
        return number // self._arcs

    def order(self, kind: Kind, arc: Arc, units: float, order: int | None, sent: int | None = None) -> None:
        """Units of an order, where they have left in the shipment of period ``sent``."""
        self._arc(kind, arc, units, order, self.number(arc, sent))

    def shipment(self, kind: Kind, arc: Arc, units: float, sent: int | None) -> None:
        """Units of a shipment, whoever ordered them."""
        self._arc(kind, arc, units, None, self.number(arc, sent))

    def receipt(self, arc: Arc, shipment: Shipment, left: float) -> None:
        """What has come, order by order; where some has perished the oldest orders have their units first."""
        for order, units in shipment.lines:
            part = min(units, left)
            left -= part
            if part > 0.0:
                self.order("received", arc, part, order, shipment.sent)

    def stock(self, kind: Kind, i: int, units: float, subject: str = "") -> None:
        """Units at a stock point, where there are any."""
        if units > 0.0:
            self.log.append(Event(self._env.now, kind, units, *self._points[i], subject=subject))

    def resource(self, kind: Kind, name: str, share: float) -> None:
        """The share of a resource that works from now on; what has become of a contract (0)."""
        self.log.append(Event(self._env.now, kind, share, subject=name))

    def _arc(self, kind: Kind, arc: Arc, units: float, order: int | None, shipment: int | None) -> None:
        site = arc.source if kind in _AT_SOURCE else arc.site
        self.log.append(Event(self._env.now, kind, units, site, arc.product, arc.name, arc.source, order, shipment))
