"""Structural checks of a liner network: what no single key can see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from twin.errors import did_you_mean

if TYPE_CHECKING:
    from twin.liner.network import LinerNetwork, Service

__all__ = ["structural_problems"]

#: Published speeds are rounded to six digits, and some lie on a limit.
_KNOTS = 1e-4


def structural_problems(network: LinerNetwork) -> list[str]:
    """One sentence per problem; empty when the network can be sailed."""
    problems = [*_classes(network), *_distances(network), *_demands(network)]
    for name, service in network.services.items():
        problems += _service(network, f"services.{name}", service)
    return problems


def _unknown(place: str, kind: str, name: str, known: Collection[str]) -> str:
    listed = ", ".join(list(known)[:40])
    return f"{place}: no {kind} '{name}' (allowed: {listed}){did_you_mean(name, known)}"


def _classes(network: LinerNetwork) -> Iterator[str]:
    for name, vessel in network.vessel_classes.items():
        low, high = vessel.min_speed_knots, vessel.max_speed_knots
        if not low <= vessel.design_speed_knots <= high:
            yield (
                f"vessel_classes.{name}.design_speed_knots: must lie between min_speed_knots and max_speed_knots "
                f"({low:g} to {high:g}) (received {vessel.design_speed_knots:g})"
            )


def _distances(network: LinerNetwork) -> Iterator[str]:
    for k, row in enumerate(network.distances):
        for key, port in (("from", row.one), ("to", row.other)):
            if port not in network.ports:
                yield _unknown(f"distances[{k}].{key}", "port", port, network.ports)
        if row.one == row.other:
            yield f"distances[{k}]: from and to are the same port (received '{row.one}')"


def _demands(network: LinerNetwork) -> Iterator[str]:
    seen = Counter((cargo.origin, cargo.destination) for cargo in network.demands)
    for k, cargo in enumerate(network.demands):
        for key, port in (("from", cargo.origin), ("to", cargo.destination)):
            if port not in network.ports:
                yield _unknown(f"demands[{k}].{key}", "port", port, network.ports)
        if cargo.origin == cargo.destination:
            yield f"demands[{k}]: from and to are the same port (received '{cargo.origin}')"
        elif seen.pop((cargo.origin, cargo.destination), 0) > 1:
            yield f"demands[{k}]: {cargo.origin} to {cargo.destination} is there more than once; add the rows up"


def _service(network: LinerNetwork, place: str, service: Service) -> Iterator[str]:
    unknown = [(k, port) for k, port in enumerate(service.calls) if port not in network.ports]
    for k, port in unknown:
        yield _unknown(f"{place}.calls[{k}]", "port", port, network.ports)
    round_trip = (*service.calls, service.calls[0])
    for k, (one, other) in enumerate(pairwise(round_trip)):
        if one == other:
            yield f"{place}.calls[{k}]: {one} follows itself; a call is listed once however long it lasts"
        elif not unknown and frozenset((one, other)) not in network.ways:
            yield f"{place}.calls[{k}]: distances has no row for {one} to {other}"
    if service.vessel_class not in network.vessel_classes:
        yield _unknown(f"{place}.class", "vessel class", service.vessel_class, network.vessel_classes)
        return
    vessel = network.vessel_classes[service.vessel_class]
    low, high = vessel.min_speed_knots, vessel.max_speed_knots
    if not low - _KNOTS <= service.speed_knots <= high + _KNOTS:
        yield (
            f"{place}.speed_knots: {service.vessel_class} sails {low:g} to {high:g} knots "
            f"(received {service.speed_knots:g})"
        )
    for k, name in enumerate(service.calls):
        depth = network.ports[name].draft_m if name in network.ports else None
        if vessel.draft_m is not None and depth is not None and vessel.draft_m > depth:
            yield (
                f"{place}.calls[{k}]: {service.vessel_class} draws {vessel.draft_m:g} m, but {name} is {depth:g} m deep"
            )
