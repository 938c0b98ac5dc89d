"""Scenarios: what is laid over a network happens when it says, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from twin import library
from twin.compile import compile_network
from twin.engine import Twin
from twin.errors import NetworkError
from twin.network import Network
from twin.scenarios import Outage, Scenario, Surge, laid_over


def states(network: Network, periods: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Availability (T, R, B) and demand (T, D, B) of a twin that orders nothing."""
    twin = Twin(network, replicas=8, seed=seed)
    shares, asked = [], []
    for _ in range(periods):
        shares.append(twin.state.arrays.availability.copy())
        twin.step(np.zeros((twin.compiled.n_arcs, 8)))
        asked.append(twin.state.arrays.demand.copy())
    return np.array(shares), np.array(asked)


def outage(**keys: object) -> Scenario:
    return Scenario(name="test", outages={"one": Outage(**{"start": 10, "duration": 6, **keys})})


def test_an_outage_lasts_as_long_as_it_says_and_the_rest_stays() -> None:
    """Exactly periods 10 to 15 are down, in every replica; demand is the same to the last bit."""
    network = library.load("lost_sales_zipkin2008")
    _, before = states(network, 30)
    shares, after = states(laid_over(network, outage(suppliers=["supplier"])), 30)
    down = np.zeros(30, dtype=bool)
    down[10:16] = True
    assert (shares[:, 0, :] == np.where(down, 0.0, 1.0)[:, None]).all()
    assert (after == before).all()


def test_the_failures_of_the_network_itself_stay_where_they_were() -> None:
    """The line of the five sites fails at random; the scenario multiplies what is left of it."""
    network = library.load("five_site_distribution")
    usual, _ = states(network, 60)
    hit, _ = states(laid_over(network, outage(resources=["line"], share=0.2)), 60)
    inside = np.zeros(60, dtype=bool)
    inside[10:16] = True
    np.testing.assert_allclose(hit[~inside], usual[~inside])
    np.testing.assert_allclose(hit[inside], 0.2 * usual[inside])
    assert (usual < 1.0).any(), "the test needs failures to keep"


def test_a_supplier_is_named_or_by_its_place() -> None:
    """Place 1 is the supplier from which the most is usually bought, and a supplier's own resource is hit."""
    network = library.load("essential_medicines")
    compiled = compile_network(network)
    bought = dict.fromkeys(network.suppliers, 0.0)
    for (origin, _), flow in zip(compiled.arc_ends, compiled.arc_flow, strict=True):
        bought[origin] = bought.get(origin, 0.0) + flow
    largest = max(network.suppliers, key=lambda name: bought[name])
    assert laid_over(network, outage(suppliers=[1])) == laid_over(network, outage(suppliers=[largest]))
    (resource,) = network.suppliers[largest].uses
    assert laid_over(network, outage(suppliers=[1])).resources[resource].causes == (f"test.one.{resource}",)


def test_a_surge_multiplies_the_mean() -> None:
    network = library.load("five_site_distribution")
    surge = Scenario(name="test", surges={"one": Surge(demands=["north"], start=5, periods=4, factor=2.0)})
    changed = laid_over(network, surge)
    assert changed.demands["north"].known_factor(np.arange(12)).tolist() == [1.0] * 5 + [2.0] * 4 + [1.0] * 3
    assert changed.demands["east"] == network.demands["east"]


@pytest.mark.parametrize("together", [True, False])
def test_failures_again_and_again_hit_all_at_once_or_each_by_itself(together: bool) -> None:
    """Down half of the time: alike in all suppliers, or independent."""
    law = {"start": None, "failure": 0.2, "duration": {"distribution": "geometric", "mean": 5}}
    network = library.load("dual_sourcing")
    shares, _ = states(laid_over(network, outage(suppliers="all", together=together, **law)), 400)
    first, second = shares[50:, 0, :] == 0.0, shares[50:, 1, :] == 0.0
    assert 0.42 < first.mean() < 0.58
    assert (first == second).all() == together


def test_published_values_are_not_those_of_the_scenario() -> None:
    network = library.load("lost_sales_zipkin2008")
    assert network.known_values
    assert not laid_over(network, outage(suppliers=[1])).known_values
    assert laid_over(network, Scenario()) is network


def test_all_that_does_not_fit_is_said_at_once() -> None:
    scenario = Scenario(
        name="wrong",
        outages={
            "a": Outage(suppliers=["plnt", 7], resources=["lin"], start=1, duration=2),
            "b": Outage(resources=["line"], share=0.3, failure=0.1, duration=3),
        },
        surges={"c": Surge(demands=["nort"], start=1, periods=1, factor=2.0)},
    )
    with pytest.raises(NetworkError) as caught:
        laid_over(library.load("five_site_distribution"), scenario)
    text = str(caught.value)
    assert text.count("\n  - ") == 4
    for part in (
        "scenario.outages.a.suppliers: no supplier 'plnt' (allowed: plant); did you mean 'plant'?",
        "scenario.outages.a.suppliers: no supplier 7 (allowed: names, or 1 to 1",
        "scenario.outages.a.resources: no resource 'lin' (allowed: line); did you mean 'line'?",
        "scenario.surges.c.demands: no demand 'nort' (allowed: north, east, south, west); did you mean 'north'?",
    ):
        assert part in text


def test_a_part_of_no_limit_is_refused() -> None:
    with pytest.raises(NetworkError, match="has no capacity, and a share of no limit is no limit"):
        laid_over(library.load("lost_sales_zipkin2008"), outage(suppliers=[1], share=0.2))
    with pytest.raises(NetworkError, match="the network has no resource"):
        laid_over(library.load("lost_sales_zipkin2008"), outage(resources="all"))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"suppliers": [1], "failure": 0.1}, "start or a failure"),
        ({"suppliers": [1], "start": None}, "start or a failure"),
        ({}, "hits neither"),
        ({"suppliers": [1], "share": 1.0}, "less than 1"),
    ],
)
def test_an_outage_that_makes_no_sense_is_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        outage(**keys)
