"""Twin: what it refuses, and what a finite horizon is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twin import library
from twin.economics import terminal_value
from twin.engine import Twin
from twin.errors import ActionError, NetworkError
from twin.network import PHASE_ORDERS, Network
from twin.tape import Draws


def shop(**more: Any) -> dict[str, Any]:
    """One supplier, one shop, a demand of 10 a period that waits."""
    data: dict[str, Any] = {
        "name": "shop",
        "products": {"item": {}},
        "suppliers": {"maker": {"offers": {"item": {}}}},
        "sites": {"shop": {"stock": {"item": {"holding_cost": 1.0, "initial": 50.0, "terminal_value": 1.0}}}},
        "lanes": [{"from": "maker", "to": "shop", "product": "item", "modes": {"van": {"lead_time": 1}}}],
        "demands": {"d": {"site": "shop", "product": "item", "distribution": 10, "unmet": "backlog", "penalty": 9.0}},
    }
    return data | more


@pytest.mark.parametrize("phases", PHASE_ORDERS)
def test_terminal_stock_is_that_of_the_end_of_the_last_period(phases):
    """50 units and a demand of 10: 30 are left when two periods have ended, whatever the order of phases."""
    twin = Twin(Network.parse(shop(phases=list(phases))))
    costs = sum(float(twin.step([[0.0]]).sum()) for _ in range(2))
    assert float(terminal_value(twin.state)[0]) == 30.0
    assert costs == 40.0 + 30.0


def test_a_state_of_another_network_or_precision_is_refused():
    """A twin runs on states of its own network, in its own precision."""
    twin = Twin(Network.parse(shop()), replicas=2)
    assert twin.at(Twin(Network.parse(shop()), replicas=3).state).state.replicas == 3
    with pytest.raises(ActionError, match=r"another network \('serial_chain'\)"):
        twin.at(Twin(library.load("serial_chain")).state)
    with pytest.raises(ActionError, match="float32"):
        twin.at(Twin(Network.parse(shop()), dtype=np.float32).state)


@pytest.mark.parametrize("name", Draws._fields)
def test_draws_of_another_shape_are_refused(name):
    """Draws that are given must be those of one period and of every replica."""
    twin = Twin(Network.parse(shop()), replicas=4)
    draws = twin.tape.block(twin.state, 1)
    twin.step(np.ones((1, 4)), draws)
    before = twin.state.content_hash()
    wrong = draws._replace(**{name: getattr(draws, name)[..., :1]})
    with pytest.raises(ActionError, match=rf"draws\.{name} must have shape"):
        twin.step(np.ones((1, 4)), wrong)
    assert twin.state.content_hash() == before


@pytest.mark.parametrize("arguments", [{"replicas": 0}, {"seed": -1}, {"seed": 1 << 64}])
def test_impossible_replicas_and_seeds_are_refused(arguments):
    """At least one replica, and a seed of 64 bits."""
    with pytest.raises(ActionError, match="replicas must be at least 1 and seed from 0"):
        Twin(Network.parse(shop()), **arguments)


def test_a_float32_snapshot_can_be_restored():
    """Running sums of float32 drift; what is under way in a snapshot is what its pipelines hold."""
    network = library.load("five_site_distribution")
    twin = Twin(network, replicas=16, dtype=np.float32, seed=5)
    for orders in np.random.default_rng(1).gamma(2.0, 13.7, size=(300, twin.compiled.n_arcs, 16)):
        twin.step(orders)
    for replica in range(16):
        type(twin.state).restore(twin.compiled, twin.state.snapshot(replica))


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("lead_time: about 1e+10 weeks", {"lanes": [{"lead_time": 1e10}]}),
        ("lead_time", {"lanes": [{"lead_time": {"distribution": "gamma", "mean": 1e9, "sd": 1.0}}]}),
        ("products.item.shelf_life: 10000000 weeks", {"products": {"item": {"shelf_life": 10**7}}}),
        ("products.item.shelf_life: 2000", {"products": {"item": {"shelf_life": 2000, "issue": "first_in"}}}),
    ],
)
def test_times_without_end_are_refused(where, change):
    """A time of millions of periods is a wrong unit, not a wish for as many numbers."""
    if "lanes" in change:
        lane = {"from": "maker", "to": "shop", "product": "item", "modes": {"van": change["lanes"][0]}}
        change = {"lanes": [lane]}
    with pytest.raises(NetworkError) as error:
        Network.parse(shop(**change))
    assert where in str(error.value)
    assert "allowed: at most" in str(error.value)


def test_streams_that_remember_differently_cannot_correlate_much():
    """With memories of 0.9 and -0.9 no two streams correlate by more than 0.105."""
    law = {"distribution": "gamma", "mean": 5.0, "sd": 2.0}
    stream = {"site": "shop", "product": "item", "distribution": law}
    streams = {"a": stream | {"autocorrelation": 0.9}, "b": stream | {"autocorrelation": -0.9}}
    data = shop(demands=streams, correlations=[{"streams": ["a", "b"], "value": 0.5}])
    with pytest.raises(NetworkError, match=r"'a' and 'b' remember so differently .* \(allowed: below 0\.105\)"):
        Network.parse(data)
    data["correlations"] = [{"streams": ["a", "b"], "value": 0.1}]
    Network.parse(data)


def test_a_source_that_keeps_working_in_part_is_never_down():
    """Orders cannot wait for a source to come back that never goes: the rule is refused."""
    half = {"line": {"capacity": 5, "availability": {"failure": 0.1, "recovery": 0.5, "share_when_down": 0.5}}}
    van = {"lead_time": 1, "uses": {"line": 1}, "when_down": "waits"}
    lane = {"from": "maker", "to": "shop", "product": "item", "modes": {"van": van}}
    with pytest.raises(NetworkError, match=r"when_down: no resource .* share_when_down is 0"):
        Network.parse(shop(resources=half, lanes=[lane]))


def test_a_maximum_below_the_smallest_order_in_whole_lots_is_refused():
    """With lots of 5 the smallest order of at least 7 is 10, and that is what the message allows."""
    van = {"lead_time": 1, "lot_size": 5.0, "minimum_order": 7.0, "maximum_order": 8.0}
    lane = {"from": "maker", "to": "shop", "product": "item", "modes": {"van": van}}
    with pytest.raises(NetworkError, match=r"8 allows no order \(allowed: at least 10"):
        Network.parse(shop(lanes=[lane]))
