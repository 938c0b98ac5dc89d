"""Where a shipment arrives in continuous detail: a gate with working hours, and berths where it unloads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import simpy

from twin.network import Network, WorkingHours
from twin.simulation.times import Duration, duration, snap

__all__ = ["Dock", "DockMeasures", "Hours", "Yard", "yards"]


class Hours:
    """When a site works: windows ``[from, to)`` of a cycle that begins with period 0. All times in periods."""

    def __init__(self, entry: WorkingHours, per_period: float) -> None:
        self._cycle = entry.cycle / per_period
        self._windows = [(begin / per_period, end / per_period) for begin, end in entry.open]

    def opening(self, time: float) -> float:
        """The first moment from ``time`` on at which the site is open."""
        begin, _ = next(self._open_from(time))
        return max(begin, time)

    def finish(self, start: float, work: float) -> float:
        """When ``work`` periods of work that begin at ``start`` are done; they progress in open hours only."""
        windows = self._open_from(start)
        while True:
            begin, end = next(windows)
            begin = max(begin, start)
            if work <= end - begin:
                return begin + work
            work -= end - begin

    def _open_from(self, time: float) -> Iterator[tuple[float, float]]:
        """Windows that end after ``time``, without end."""
        cycle = math.floor(time / self._cycle) - 1
        while True:
            for begin, end in self._windows:
                closing = snap(cycle * self._cycle + end)
                if closing > time:
                    yield snap(cycle * self._cycle + begin), closing
            cycle += 1


@dataclass(frozen=True)
class DockMeasures:
    """What a site's docks did since the simulation began.

    Attributes
    ----------
    shipments
        Shipments that were given a berth.
    mean_wait
        Periods that they queued for it, on average; 0 when there was none.
    utilisation
        Share of the time that a berth was occupied, over all berths.
    """

    shipments: int
    mean_wait: float
    utilisation: float


class Dock:
    """Berths, the queue for them, and what is measured there. All times in periods."""

    def __init__(self, env: simpy.Environment, berths: int, handling: Duration) -> None:
        self.berths = simpy.Resource(env, capacity=berths)
        self.handling = handling
        self._env, self._begin = env, env.now
        self._shipments, self._waited, self._occupied = 0, 0.0, 0.0

    def waited(self, time: float) -> None:
        """Note how long a shipment queued."""
        self._shipments += 1
        self._waited += time

    def freed(self, since: float) -> None:
        """Note a berth that is free again."""
        self._occupied += self._env.now - max(since, self._begin)

    def measures(self, occupied_since: list[float]) -> DockMeasures:
        """Measures up to now; ``occupied_since`` tells of the berths that are occupied."""
        now, berths = self._env.now, self.berths.capacity
        busy = self._occupied + sum(now - max(since, self._begin) for since in occupied_since)
        elapsed = now - self._begin
        return DockMeasures(
            shipments=self._shipments,
            mean_wait=self._waited / self._shipments if self._shipments else 0.0,
            utilisation=busy / (berths * elapsed) if elapsed > 0.0 else 0.0,
        )


@dataclass(frozen=True)
class Yard:
    """The gate and the docks of a site, as far as it has them."""

    hours: Hours | None
    dock: Dock | None

    def opening(self, time: float) -> float:
        """The first moment from ``time`` on at which the gate is open, in periods."""
        return time if self.hours is None else self.hours.opening(time)

    def finish(self, start: float, work: float) -> float:
        """When ``work`` periods of work that begin at ``start`` are done."""
        return start + work if self.hours is None else self.hours.finish(start, work)

    def is_passed_at_once(self, time: float) -> bool:
        """Whether what arrives at ``time`` neither waits nor unloads."""
        return self.dock is None and self.opening(time) == time


def yards(env: simpy.Environment, network: Network) -> dict[str, Yard]:
    """The sites of a network that have working hours or docks."""
    out = {}
    for name, site in network.sites.items():
        if site.working_hours is None and site.docks is None:
            continue
        hours = dock = None
        if site.working_hours is not None:
            hours = Hours(site.working_hours, network.periods(site.working_hours.unit))
        if site.docks is not None:
            handling = duration(site.docks.handling_time, network.periods(site.docks.handling_time_unit))
            dock = Dock(env, site.docks.berths, handling)
        out[name] = Yard(hours, dock)
    return out
