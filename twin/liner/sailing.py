"""How services sail: the way of each leg, the length of a round, the vessels it needs and what it costs a week.

The cost law is that of the LINERLIB benchmark (Brouer, Alvarez, Plum, Pisinger, Sigurd, "A Base Integer Programming
Model and Benchmark Suite for Liner-Shipping Network Design", Transportation Science 48(2):281-312, 2014): vessels are
chartered by the day; bunker at sea grows with the cube of the speed, so that tonnes a day are F (v / v*)^3 with F and
v* those of the design speed; and as one vessel leaves every call each week, a week pays for one whole round.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import astuple, dataclass
from itertools import pairwise

from twin.errors import NetworkError, did_you_mean
from twin.liner.network import Distance, LinerNetwork, VesselClass

__all__ = ["Leg", "Voyage", "WeeklyCost", "bunker_per_sea_day", "fixed_cost", "open_way", "passages", "voyage"]

DAYS_PER_WEEK, HOURS_PER_DAY = 7.0, 24.0

#: Weeks by which a round may exceed its vessels: published speeds are rounded to six digits.
_ROUNDING_WEEKS = 1e-4


@dataclass(frozen=True, slots=True)
class Leg:
    """From a call of a service to its next one."""

    origin: str
    destination: str
    nm: float
    days: float
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WeeklyCost:
    """What a service costs a week, whatever it carries; money."""

    charter: float
    bunker: float
    idle_bunker: float
    canals: float
    port_calls: float

    @property
    def total(self) -> float:
        """Sum of the five."""
        return math.fsum(astuple(self))

    def __add__(self, other: WeeklyCost) -> WeeklyCost:
        return WeeklyCost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Voyage:
    """One round of a service.

    Attributes
    ----------
    legs
        Leg k goes from call k to the next; the last one returns to the first call.
    distance_nm, sea_days, port_days
        Of the whole round.
    vessels_needed
        So that one leaves every week: the weeks of a round, rounded up. A published network may have fewer.
    cost
        Per week.
    """

    legs: tuple[Leg, ...]
    distance_nm: float
    sea_days: float
    port_days: float
    vessels_needed: int
    cost: WeeklyCost

    @property
    def weeks(self) -> float:
        """Length of the round, weeks."""
        return (self.sea_days + self.port_days) / DAYS_PER_WEEK


def voyage(network: LinerNetwork, service: str, closed: Collection[str] = ()) -> Voyage:
    """A round of a service by the shortest ways that are open to its vessels.

    Parameters
    ----------
    network
        Where it sails.
    service
        Its name.
    closed
        Passages that are closed, of :func:`passages`. The speed stays, so that a detour makes the round longer.

    Raises
    ------
    NetworkError
        For an unknown service or passage, or when no way of a leg is open.
    """
    if service not in network.services:
        known = ", ".join(network.services)
        raise NetworkError(f"no service '{service}' (allowed: {known}){did_you_mean(service, network.services)}")
    _check(network, closed)
    terms = network.services[service]
    vessel = network.vessel_classes[terms.vessel_class]
    legs = []
    for k, (one, other) in enumerate(pairwise((*terms.calls, terms.calls[0]))):
        way = open_way(network, one, other, vessel, closed)
        if way is None:
            shut = f" with {', '.join(sorted(closed))} closed" if closed else ""
            raise NetworkError(f"services.{service}.calls[{k}]: no way from {one} to {other} is open{shut}")
        legs.append(Leg(one, other, way.nm, way.nm / (terms.speed_knots * HOURS_PER_DAY), way.through))
    distance, sea_days = math.fsum(leg.nm for leg in legs), math.fsum(leg.days for leg in legs)
    port_days = network.port_days_per_call * len(legs)
    ports = [network.ports[name] for name in terms.calls]
    cost = WeeklyCost(
        charter=DAYS_PER_WEEK * terms.vessels * vessel.charter_per_day,
        bunker=sea_days * bunker_per_sea_day(network, service),
        idle_bunker=network.bunker_price_per_t * port_days * vessel.idle_bunker_t_per_day,
        canals=math.fsum(fee for leg in legs for name, fee in vessel.canal_fees.items() if name in leg.through),
        port_calls=math.fsum(port.call_cost + port.call_cost_per_ffe * vessel.capacity_ffe for port in ports),
    )
    weeks = (sea_days + port_days) / DAYS_PER_WEEK
    return Voyage(tuple(legs), distance, sea_days, port_days, max(math.ceil(weeks - _ROUNDING_WEEKS), 1), cost)


def fixed_cost(network: LinerNetwork, closed: Collection[str] = ()) -> WeeklyCost:
    """What all services cost a week, whatever they carry; money.

    Raises
    ------
    NetworkError
        For an unknown passage, or when no way of a leg is open.
    """
    total = WeeklyCost(0.0, 0.0, 0.0, 0.0, 0.0)
    for name in network.services:
        total += voyage(network, name, closed).cost
    return total


def passages(network: LinerNetwork) -> tuple[str, ...]:
    """Canals and straits that the network's distances know of, sorted: those that can be closed."""
    return tuple(sorted({name for row in network.distances for name in row.through}))


def _check(network: LinerNetwork, closed: Collection[str]) -> None:
    if not closed:
        return
    if isinstance(closed, str):
        raise NetworkError(f"closed passages are a list of names, received the text '{closed}'")
    known = passages(network)
    for name in closed:
        if name not in known:
            allowed = ", ".join(known) or "none, because its distances name no passages"
            raise NetworkError(
                f"no passage '{name}' of {network.name} can be closed (allowed: {allowed}){did_you_mean(name, known)}"
            )


def bunker_per_sea_day(network: LinerNetwork, service: str) -> float:
    """Money that a vessel of a service burns in a day at sea, by the cubic law."""
    terms = network.services[service]
    vessel = network.vessel_classes[terms.vessel_class]
    return network.bunker_price_per_t * vessel.bunker_t_per_day * (terms.speed_knots / vessel.design_speed_knots) ** 3


def open_way(
    network: LinerNetwork, one: str, other: str, vessel: VesselClass, closed: Collection[str] = ()
) -> Distance | None:
    """The shortest way between two ports that a vessel of this class may take; None where there is none.

    A class takes a canal for which it has a fee, and no other.
    """
    for way in network.ways.get(frozenset((one, other)), ()):
        canals = [name for name in way.through if name in ("suez", "panama")]
        deep = way.draft_m is not None and vessel.draft_m is not None and vessel.draft_m > way.draft_m
        if not deep and not set(closed) & set(way.through) and all(name in vessel.canal_fees for name in canals):
            return way
    return None
