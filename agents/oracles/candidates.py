"""Candidate itineraries from linear programs: those that are best when all is well, and when a port or a canal is not.

A program on itineraries has as columns what :class:`agents.oracles.cargo_flow.CargoFlow` leaves out: whole ways. Few of
them matter. Those of the optimal flows with everything open, with each single port closed, and without the legs through
each single passage, are candidates; with all of them each of these weeks is worth what it can be worth at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from agents.oracles.cargo_flow import CargoFlow, CargoPlan
from twin.errors import ConfigError
from twin.liner.calls import CallGraph
from twin.liner.itineraries import Candidate
from twin.liner.network import LinerNetwork
from twin.liner.plan import candidate_plan
from twin.liner.sailing import passages, voyage

__all__ = ["candidate_itineraries", "candidate_value"]

FloatArray = NDArray[np.float64]

#: FFE a week that fit on any vessel.
_LITTLE = 1e-3


def candidate_itineraries(network: LinerNetwork, most: int | None = 8) -> tuple[Candidate, ...]:
    """Candidates for every demand, the nominal ones first.

    Parameters
    ----------
    network
        The liner network.
    most
        How many a demand may have; besides the nominal ones, which all stay, those that carry most over the other
        programs; None for no limit. A demand that none of the programs carries gets the way that is best when it
        competes with nothing, if there is one that pays.

    Raises
    ------
    ConfigError
        When ``most`` is below 1, or HiGHS stops without an optimum.
    ImportError
        When HiGHS is missing, with what to install.
    """
    if most is not None and most < 1:
        raise ConfigError(f"a demand has 1 candidate or more, received {most}")
    flow = CargoFlow(network)
    nominal = _carried(flow.solve())
    carried: Counter[Candidate] = Counter()
    for plan in _disrupted(flow, network):
        carried.update(_carried(plan))
    known = {entry.demand for entry in (*nominal, *carried)}
    flow.set_demand([0.0 if d in known else _LITTLE for d in range(len(network.demands))])
    carried.update(_carried(flow.solve()))
    found: list[Candidate] = []
    for d in range(len(network.demands)):
        first = [entry for entry in nominal if entry.demand == d]
        others = [entry for entry, _ in carried.most_common() if entry.demand == d and entry not in nominal]
        found += first + (others if most is None else others[: max(most - len(first), 0)])
    return tuple(found)


def _carried(plan: CargoPlan) -> dict[Candidate, float]:
    """FFE a week on every way of a plan, most first."""
    ways = {Candidate(entry.demand, entry.nodes): entry.ffe for entry in plan.itineraries}
    return dict(sorted(ways.items(), key=lambda item: -item[1]))


def _disrupted(flow: CargoFlow, network: LinerNetwork) -> Iterator[CargoPlan]:
    """The best flows with each port closed, and without the legs through each passage."""
    graph = flow.graph
    for p in range(len(graph.port_names)):
        moves = graph.port_moves.copy()
        moves[p] = 0.0
        flow.set_port_moves(moves)
        yield flow.solve()
    flow.set_port_moves(graph.port_moves)
    through = [leg.through for name in network.services for leg in voyage(network, name).legs]
    for passage in passages(network):
        shut = np.array([passage in names for names in through])
        if shut.any():
            flow.set_leg_capacity(np.where(shut, 0.0, graph.leg_capacity))
            yield flow.solve()
    flow.set_leg_capacity(graph.leg_capacity)


def candidate_value(
    network: LinerNetwork,
    graph: CallGraph,
    candidates: Sequence[Candidate],
    *,
    leg_capacity: FloatArray | None = None,
    port_moves: FloatArray | None = None,
) -> float:
    """What carrying cargo on candidates alone is worth, compared with refusing all of it; money a week.

    That is revenue and goodwill kept, less handling and transshipment. The objective of
    :class:`agents.oracles.cargo_flow.CargoPlan` is this less the services' fixed cost and the goodwill of all cargo.

    Parameters
    ----------
    network, graph
        The network and its calls.
    candidates
        The ways that may be taken.
    leg_capacity, port_moves
        (N,) FFE and (P,) moves a week; the network's where left out.

    Raises
    ------
    ConfigError
        When HiGHS stops without an optimum.
    """
    return candidate_plan(network, graph, candidates, leg_capacity=leg_capacity, port_moves=port_moves).value
