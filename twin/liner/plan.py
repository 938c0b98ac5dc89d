"""The best weekly amounts on candidate itineraries, and what another slot or move would be worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse

from twin.errors import ConfigError
from twin.liner.calls import CallGraph
from twin.liner.itineraries import Candidate
from twin.liner.network import LinerNetwork

__all__ = ["CandidatePlan", "candidate_plan"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CandidatePlan:
    """An optimal week on candidates. K candidates, N calls, P ports.

    Attributes
    ----------
    value
        Money a week, compared with refusing all cargo: revenue and goodwill kept, less handling, transshipment and
        what time costs; fixed cost left out.
    ffe
        (K,) FFE a week.
    moves
        (P,) moves a week.
    slot_price
        (N,) money that one more slot of the departure from each call would be worth, at least 0.
    move_price
        (P,) the same of a move.
    """

    value: float
    ffe: FloatArray
    moves: FloatArray
    slot_price: FloatArray
    move_price: FloatArray


def candidate_plan(
    network: LinerNetwork,
    graph: CallGraph,
    candidates: Sequence[Candidate],
    *,
    lateness: ArrayLike | None = None,
    leg_capacity: FloatArray | None = None,
    port_moves: FloatArray | None = None,
) -> CandidatePlan:
    """The week that is worth most with cargo on candidates alone.

    Parameters
    ----------
    network, graph
        The network and its calls.
    candidates
        The ways that may be taken.
    lateness
        (K,) money per FFE that the time on a candidate costs; nothing where left out.
    leg_capacity, port_moves
        (N,) FFE and (P,) moves a week; the network's where left out.

    Raises
    ------
    ConfigError
        When HiGHS stops without an optimum.
    """
    legs = graph.leg_capacity if leg_capacity is None else leg_capacity
    moves = graph.port_moves if port_moves is None else port_moves
    demands, nodes, ports = len(graph.demand), len(graph.port), len(moves)
    if not candidates:
        return CandidatePlan(0.0, np.zeros(0), np.zeros(ports), np.zeros(nodes), np.zeros(ports))
    use = sparse.lil_array((demands + nodes + ports, len(candidates)))
    worth = -np.broadcast_to(
        np.asarray(0.0 if lateness is None else lateness, dtype=np.float64), len(candidates)
    ).astype(np.float64)
    for k, entry in enumerate(candidates):
        d = entry.demand
        ends = (graph.origin[d], graph.destination[d])
        worth[k] += graph.revenue[d] + network.rejection_penalty_per_ffe - graph.handling_cost[list(ends)].sum()
        use[d, k] = 1.0
        for port in ends:
            use[demands + nodes + port, k] += 1.0
        for one, other in pairwise(entry.nodes):
            if graph.port[one] == graph.port[other]:
                worth[k] -= graph.transshipment_cost[graph.port[one]]
                use[demands + nodes + graph.port[one], k] += 2.0
            else:
                use[demands + one, k] += 1.0
    rows = use.tocsr()
    limit = np.concatenate([graph.demand, legs, moves])
    kept = np.isfinite(limit)
    result = optimize.linprog(-worth, A_ub=rows[kept], b_ub=limit[kept], bounds=(0.0, None), method="highs")
    if result.x is None:
        raise ConfigError(f"HiGHS found no optimal flow on the candidates of {network.name} ({result.message})")
    price = np.zeros(len(limit))
    price[kept] = np.maximum(-result.ineqlin.marginals, 0.0)
    ffe = np.maximum(result.x, 0.0)
    used = np.asarray(rows @ ffe)
    return CandidatePlan(
        float(-result.fun), ffe, used[demands + nodes :], price[demands : demands + nodes], price[demands + nodes :]
    )
