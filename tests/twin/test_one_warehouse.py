"""One warehouse and many retailers: the figures are what the file says that they are."""

from __future__ import annotations

import numpy as np
import pytest

from twin import library
from twin.compile import compile_network
from twin.engine import Twin
from twin.errors import NetworkError
from twin.network import Network


def retailer(network: Network, n: int) -> dict[str, float]:
    """The figures of retailer n."""
    demand = network.demands[f"customers_{n}"]
    lane = network.lanes[n]
    assert (demand.site, lane.origin, lane.destination) == (f"retailer_{n}", "warehouse", f"retailer_{n}")
    law = demand.distribution
    assert law.distribution == "normal"
    return {
        "mean": law.mean,
        "sd": law.sd,
        "holding_cost": network.sites[f"retailer_{n}"].stock["item"].holding_cost,
        "penalty": demand.penalty,
        "lead_time": lane.modes["truck"].lead_time.mean_value,
        "flow": lane.modes["truck"].initial_flow,
    }


def test_retailers_follow_the_stated_rule_within_the_published_ranges() -> None:
    """Retailer n has the share frac(1/2 + n / g**j) of each range that arXiv:2306.11246's setting draws from."""
    network = library.load("one_warehouse", retailers=30)
    g = np.roots([1, 0, 0, 0, -1, -1]).real.max()
    assert g**5 == pytest.approx(g + 1, rel=1e-12)
    for n in range(1, 31):
        share = [(0.5 + n / g**j) % 1.0 for j in (1, 2, 3, 4)]
        found = retailer(network, n)
        mean, variation = round(2.5 + 5.0 * share[0], 2), round(0.25 + 0.25 * share[1], 2)
        assert found == pytest.approx(
            {
                "mean": mean,
                "sd": round(mean * variation, 3),
                "holding_cost": round(0.7 + 0.6 * share[2], 2),
                "penalty": round(6.3 + 5.4 * share[3], 2),
                "lead_time": 2 + (n + 1) % 2,
                "flow": mean / 2,
            },
            abs=1e-9,
        )
    assert network.sites["warehouse"].stock["item"].holding_cost == 0.3
    assert network.lanes[0].modes["truck"].lead_time.mean_value == 3


@pytest.mark.parametrize("retailers", [3, 10, 30])
def test_a_member_has_the_first_retailers(retailers: int) -> None:
    """Sizes are nested: n retailers are the first n of 30, each with its lane and its stream, all correlated by 0.5."""
    network, largest = library.load("one_warehouse", retailers=retailers), library.load("one_warehouse", retailers=30)
    numbers = range(1, retailers + 1)
    assert list(network.sites) == ["warehouse", *(f"retailer_{n}" for n in numbers)]
    assert len(network.lanes) == retailers + 1
    assert [retailer(network, n) for n in numbers] == [retailer(largest, n) for n in numbers]
    (correlation,) = network.correlations
    assert correlation.value == 0.5
    assert list(correlation.streams) == list(network.demands) == [f"customers_{n}" for n in numbers]
    assert network.provenance["parameters"] == {"retailers": retailers}
    assert not network.known_values


def test_other_sizes_are_refused() -> None:
    """The error lists the sizes there are."""
    with pytest.raises(NetworkError, match=r"retailers = 5 .*allowed: 3, 10, 30"):
        library.load("one_warehouse", retailers=5)


def test_the_warehouse_ships_what_it_has_in_proportion() -> None:
    """Asked for twice its stock, the warehouse gives each retailer half of what it asked, and owes nothing."""
    twin = Twin(compile_network(library.load("one_warehouse", retailers=3)), replicas=1)
    twin.state.arrays.on_hand[0] = 30.0
    twin.step(np.array([[0.0], [10.0], [20.0], [30.0]]))
    np.testing.assert_allclose(twin.state.arrays.shipped[:, 0], [0.0, 5.0, 10.0, 15.0], rtol=1e-12)
    assert not twin.state.arrays.backorders.any()


def test_demands_are_correlated_as_published() -> None:
    """Over 4,000 periods means are those of the file and every pair of streams correlates by about 0.5.

    Cutting at 0 (at most 2.3 % of draws) takes little off. Standard error of a correlation: 0.012.
    """
    compiled = compile_network(library.load("one_warehouse", retailers=3))
    twin = Twin(compiled, replicas=200, seed=5)
    drawn = []
    for _ in range(20):
        twin.step(np.zeros((4, 200)))
        drawn.append(twin.state.arrays.demand.copy())
    demand = np.concatenate(drawn, axis=1)
    means = np.array([retailer(compiled.network, n)["mean"] for n in (1, 2, 3)])
    np.testing.assert_allclose(demand.mean(axis=1), means, rtol=0.03)
    pairs = np.corrcoef(demand)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(pairs, 0.5, atol=0.05)
