"""Whether what a snapshot says of single shipments and orders agrees with the state that it comes with."""

from __future__ import annotations

from collections import Counter

import numpy as np

from twin.errors import StaleStateError
from twin.simulation.records import Arc, Line, Shipment, Stage, Tracking, lay_out
from twin.state import TwinState, empty_state
from twin.topology import ORDER_RECEIVE_DEMAND

__all__ = ["check_tracking"]


def check_tracking(tracking: Tracking, state: TwinState, arcs: list[Arc]) -> None:
    """Compare shipments and owed orders with a state of one replica at a decision epoch.

    Raises
    ------
    StaleStateError
        When pipelines laid out anew, slot by slot and life by life, or what is owed differ from the state; when a
        shipment or an order is of the future or of another arc, or a shipment where the network has no such place.
    """
    by_name = {arc.name: arc for arc in arcs}
    moving = [(by_name[shipment.lane], shipment) for shipment in tracking.shipments]
    for index, (arc, shipment) in enumerate(moving):
        place = f"events.shipments.{index}"
        _check_stage(place, shipment.stage, _stages(arc, tracking, state))
        _check_time(place, shipment, tracking.detail == "period", arc, state)
        _check_load(place, arc, shipment)
        _check_lines(f"{place}.lines", shipment.lines, arc, len(arcs), int(state.period[0]))
    _check_berths(moving, state)
    _check_pipelines(moving, state)
    for arc in arcs:
        lines = tracking.owed.get(arc.name, [])
        _check_lines(f"events.owed.{arc.name}", lines, arc, len(arcs), int(state.period[0]))
        _agree(f"backorders.{arc.name}", float(state.arrays.backorders[arc.index, 0]), sum(units for _, units in lines))


def _check_time(place: str, shipment: Shipment, is_whole: bool, arc: Arc, state: TwinState) -> None:
    now, arrival = int(state.period[0]), shipment.arrival
    if shipment.sent is not None and shipment.sent >= now:
        raise StaleStateError(f"{place}.sent: {shipment.sent} is not before the present period {now}")
    if (arrival > now) != (shipment.stage == "road"):
        when = "not after" if shipment.stage == "road" else "after"
        raise StaleStateError(f"{place}.arrival: {arrival:g} is {when} the present {now}, at stage '{shipment.stage}'")
    if shipment.stage != "road" and shipment.since > now:
        raise StaleStateError(f"{place}.since: {shipment.since:g} is after the present {now}")
    if is_whole:
        top = state.compiled.topology
        slots = int(top.pipe_ptr[arc.index + 1] - top.pipe_ptr[arc.index])
        last = _receipt(state) + slots - 1
        if shipment.due != arrival or arrival > last:
            raise StaleStateError(
                f"{place}.arrival: {arrival:g} is not a whole period up to {last} (as detail 'period' has them)"
            )


def _stages(arc: Arc, tracking: Tracking, state: TwinState) -> set[Stage]:
    """Where a shipment of an arc can be at a decision epoch."""
    site, stages = state.compiled.network.sites[arc.site], set[Stage](["road", "inside"])
    if tracking.detail == "continuous" and not arc.makes:
        stages |= {"gate"} if site.working_hours is not None else set()
        stages |= {"queue", "berth"} if site.docks is not None else set()
    if _receipt(state) > int(state.period[0]):  # what was inside has just been received
        stages.remove("inside")
    return stages


def _check_stage(place: str, stage: Stage, allowed: set[Stage]) -> None:
    if stage not in allowed:
        listed = ", ".join(sorted(allowed))
        raise StaleStateError(f"{place}.stage: no shipment of this arc can be at '{stage}' now (allowed: {listed})")


def _check_load(place: str, arc: Arc, shipment: Shipment) -> None:
    for life, _ in shipment.lots:
        if not 1 <= life <= arc.life:
            allowed = f"1 to {arc.life}" if arc.life else "none"
            raise StaleStateError(f"{place}.lots: no life of {life} periods on this arc (allowed: {allowed})")
    if arc.life:
        _agree(f"{place}.units", shipment.units, sum(units for _, units in shipment.lots), "its lots")
    ordered = sum(units for _, units in shipment.lines)
    if not arc.life or ordered < shipment.units:  # of a perishable load a part can be lost, and its orders stay in it
        _agree(f"{place}.units", shipment.units, ordered, "its lines")


def _check_lines(place: str, lines: list[Line], arc: Arc, arcs: int, period: int) -> None:
    for number, _ in lines:
        if number is not None and (number % arcs != arc.index or number // arcs + arc.delay >= period):
            raise StaleStateError(f"{place}: no order {number} on this arc has reached its source before now")


def _check_berths(moving: list[tuple[Arc, Shipment]], state: TwinState) -> None:
    for site, used in Counter(arc.site for arc, shipment in moving if shipment.stage == "berth").items():
        docks = state.compiled.network.sites[site].docks
        if docks is not None and used > docks.berths:
            raise StaleStateError(f"events.shipments: {used} are at a berth of '{site}', which has {docks.berths}")


def _check_pipelines(moving: list[tuple[Arc, Shipment]], state: TwinState) -> None:
    top, tracked = state.compiled.topology, empty_state(state.compiled, 1)
    lay_out(top, ((arc.index, shipment) for arc, shipment in moving), _receipt(state), tracked)
    for name, ptr in (("pipeline", top.pipe_ptr), ("transit_layers", top.transit_ptr)):
        stored, ours = state.logical(name)[:, 0], tracked.logical(name)[:, 0]
        for row in np.flatnonzero(stored != ours).tolist():
            a = int(np.searchsorted(ptr, row, side="right")) - 1
            k, life = row - int(ptr[a]), int(top.arc_life[a])
            key = str(k) if name == "pipeline" else f"{k // life}:life={k % life + 1}"
            _agree(f"{name}.{state.compiled.arc_names[a]}.{key}", float(stored[row]), float(ours[row]))


def _receipt(state: TwinState) -> int:
    """The period whose receive phase comes next."""
    return int(state.period[0]) + (state.compiled.topology.phase_order != ORDER_RECEIVE_DEMAND)


def _agree(place: str, amount: float, tracked: float, what: str = "the shipments and orders under events") -> None:
    if abs(tracked - amount) > 1e-6 * max(1.0, amount):
        raise StaleStateError(f"{place}: {amount:g} differs from {tracked:g} in {what}")
