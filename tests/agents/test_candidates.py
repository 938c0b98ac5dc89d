"""Candidate itineraries: with them alone every week is worth what it can be worth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from agents.oracles.candidates import candidate_itineraries, candidate_value
from agents.oracles.cargo_flow import CargoFlow
from twin.errors import ConfigError
from twin.liner import library
from twin.liner.calls import call_graph
from twin.liner.itineraries import checked, shipped_candidates

pytest.importorskip("highspy", reason="needs the extra 'routing'")


def reachable(network, candidates, ports, shares):
    """Least share of the program's value that candidates reach, one port at a time at a share of its nominal moves."""
    flow = CargoFlow(network)
    nominal, graph = flow.solve(), flow.graph
    refused = network.rejection_penalty_per_ffe * graph.demand.sum()
    ratios = [candidate_value(network, graph, candidates) / (nominal.objective + nominal.terms["fixed"] + refused)]
    for p in ports:
        for share in shares:
            moves = graph.port_moves.copy()
            moves[p] = share * nominal.port_moves[p]
            flow.set_port_moves(moves)
            best = flow.solve()
            worth = best.objective + best.terms["fixed"] + refused
            if worth > 1.0:  # with Bremerhaven closed nothing of the Baltic is carried
                ratios.append(candidate_value(network, graph, candidates, port_moves=moves) / worth)
    return min(ratios)


def test_those_of_baltic_reach_everything():
    """Nominally and with each port closed, at a fifth and at half; what ships is what the programs find."""
    network = library.load("baltic")
    shipped = shipped_candidates(network)
    assert reachable(network, shipped, range(12), (0.0, 0.2, 0.5)) >= 0.99
    found = checked(call_graph(network), candidate_itineraries(network))
    assert reachable(network, found, range(12), (0.0, 0.2, 0.5)) >= 0.99
    assert {entry.demand for entry in found} == {entry.demand for entry in shipped}


def test_a_limit_keeps_the_nominal_ones():
    """No demand has more than the limit, unless the nominal flow divides it further."""
    network = library.load("baltic")
    nominal = Counter(entry.demand for entry in CargoFlow(network).solve().itineraries)
    number = Counter(entry.demand for entry in candidate_itineraries(network, 2))
    assert all(number[d] <= max(2, nominal[d]) for d in number)
    assert all(number[d] >= nominal[d] for d in nominal)
    with pytest.raises(ConfigError, match="1 candidate or more, received 0"):
        candidate_itineraries(network, 0)
    assert candidate_value(network, call_graph(network), []) == 0.0


def test_less_room_is_worth_less():
    """Without legs nothing is carried."""
    network = library.load("baltic")
    graph, shipped = call_graph(network), shipped_candidates(network)
    full = candidate_value(network, graph, shipped)
    half = candidate_value(network, graph, shipped, leg_capacity=0.5 * graph.leg_capacity)
    assert 0.0 == candidate_value(network, graph, shipped, leg_capacity=np.zeros(len(graph.port))) < half < full
