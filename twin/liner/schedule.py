"""When vessels leave: every call of a service once a week, on its weekday, and the days from one call to the next.

A published network says how long a round takes, not when it begins. Here service s leaves its first call on weekday
s mod 7, so that the services of a network are spread over the week, and every other call as many days later as the way
there takes, port days included: the sum from the first call on, to the nearest day, at least a day after the call
before. The round closes after seven days per vessel, or per vessel that it needs where a published network has fewer
(:func:`twin.liner.sailing.voyage`); what is left over is spent before the first call.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from twin.liner.network import LinerNetwork
from twin.liner.sailing import bunker_per_sea_day, open_way, voyage

__all__ = ["WEEK", "LegWay", "Schedule", "leg_ways", "schedule"]

IntArray = NDArray[np.int64]

#: Days.
WEEK = 7

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Schedule:
    """Departures. N calls (nodes of :class:`twin.liner.calls.CallGraph`), S services.

    Attributes
    ----------
    weekday
        (N,) day of the week, 0 to 6, on which a vessel leaves; day 0 of a simulation has weekday 0.
    leg_days
        (N,) days from the departure at a call to the departure of the same vessel at the next one.
    round_days
        (S,) days of a round; a multiple of seven.
    """

    weekday: IntArray
    leg_days: IntArray
    round_days: IntArray


def schedule(network: LinerNetwork) -> Schedule:
    """The departures of a network with everything open."""
    weekday, leg_days, rounds = [], [], []
    for s, (name, terms) in enumerate(network.services.items()):
        sailed = voyage(network, name)
        leaves, days = [0], 0.0
        for leg in sailed.legs[:-1]:
            days += leg.days + network.port_days_per_call
            leaves.append(max(math.floor(days + 0.5), leaves[-1] + 1))
        weeks = max(terms.vessels, sailed.vessels_needed, leaves[-1] // WEEK + 1)
        leaves.append(WEEK * weeks)
        weekday += [(s + day) % WEEK for day in leaves[:-1]]
        leg_days += np.diff(leaves).tolist()
        rounds.append(WEEK * weeks)
    return Schedule(*(np.array(values, dtype=np.int64) for values in (weekday, leg_days, rounds)))


@dataclass(frozen=True, slots=True)
class LegWay:
    """A way from a call to the next one.

    Attributes
    ----------
    passes
        Those of the passages asked about that it goes through.
    more_days
        Whole days that it takes longer than the leg's usual way.
    more_cost
        Money per sailing beyond the usual way, for bunker and for fees of canals that the usual way does not take; the
        fees of the passages asked about that it does take are left out on both sides.
    """

    passes: tuple[str, ...]
    more_days: int
    more_cost: float


def leg_ways(network: LinerNetwork, service: str, call: int, closable: Collection[str]) -> tuple[LegWay, ...]:
    """The ways of a leg with any of the passages ``closable`` closed; the usual one first, then the shortest.

    A vessel sails around at its usual speed, so that what it burns grows with the distance alone.
    """
    terms = network.services[service]
    vessel = network.vessel_classes[terms.vessel_class]
    one, other = terms.calls[call], terms.calls[(call + 1) % len(terms.calls)]
    usual = open_way(network, one, other, vessel)
    if usual is None:  # the network's checks have found one
        return ()
    named = [name for name in closable if any(name in way.through for way in network.ways[frozenset((one, other))])]
    sets = [shut for size in range(len(named) + 1) for shut in combinations(named, size)]
    ways = dict.fromkeys(way for shut in sets if (way := open_way(network, one, other, vessel, shut)) is not None)
    found = []
    for way in sorted(ways, key=lambda way: (way is not usual, way.nm)):
        days = (way.nm - usual.nm) / (terms.speed_knots * 24.0)
        fees = 0.0
        for name, fee in vessel.canal_fees.items():
            if name not in closable or name not in usual.through:
                fees += fee * ((name in way.through) - (name in usual.through))
        more = days * bunker_per_sea_day(network, service) + fees
        found.append(LegWay(tuple(name for name in named if name in way.through), math.ceil(days - _ROUNDING), more))
    return tuple(found)
