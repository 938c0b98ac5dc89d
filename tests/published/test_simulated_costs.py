"""Costs that nobody here computed, met by simulation.

Each test states its source and the order of the phases: the literature has three orders, and they are other problems.
Simulated costs are means over independent replicas; their standard error decides how close is close.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from twin import library
from twin.engine import Twin
from twin.network import Network

ROUNDING = 0.005  # of a number printed with two decimals


def simulate(network, levels, *, policy="base_stock", replicas=1024, periods=400, warm_up=200, seed=20):
    """Mean cost per period and its standard error over replicas."""
    cost = Twin(network, replicas=replicas, seed=seed).rollout(policy, levels, periods, warm_up=warm_up).cost
    return cost.mean(), cost.std(ddof=1) / np.sqrt(replicas)


def best_level(network, candidates, *, policy="base_stock", periods=2500):
    """Cheapest of some levels of a single arc, each on replicas of its own, then its cost on fresh replicas."""
    each = 64
    levels = np.repeat(np.asarray(candidates, dtype=np.float64), each)[None, :]
    cost = Twin(network, replicas=levels.shape[1], seed=3).rollout(policy, levels, periods, warm_up=200).cost
    best = candidates[int(np.argmin(cost.reshape(-1, each).mean(1)))]
    return best, *simulate(network, [best], policy=policy, replicas=1024, periods=1500, seed=21)


# -- lost sales ----------------------------------------------------------------------------------------------------

CELLS = [
    ("poisson", 4, 4),
    ("poisson", 1, 4),
    ("poisson", 2, 9),
    ("poisson", 4, 19),
    ("poisson", 3, 39),
    ("geometric", 1, 9),
    ("geometric", 3, 4),
    ("geometric", 4, 39),
]


@pytest.mark.parametrize(("demand", "lead_time", "penalty"), CELLS)
def test_best_base_stock_policy_of_zipkin(published, demand, lead_time, penalty):
    """The best level found by scanning costs what is printed (5.20 for Poisson(5), L = 4, p = 4), and no less.

    Zipkin (2008), Operations Research 56(5):1256-1263, Tables 3-4, column "best base-stock". Phases: receive, order,
    demand; lost sales; holding 1 on the stock after demand.
    """
    printed = published[f"zipkin2008_{demand}5_p{penalty}_L{lead_time}"]["published"]["best_base_stock"]
    network = library.load("lost_sales_zipkin2008", demand=demand, lead_time=lead_time, penalty=penalty)
    centre, spread = 5.0 * (lead_time + 1), np.sqrt((5.0 if demand == "poisson" else 30.0) * (lead_time + 1))
    candidates = list(range(int(centre - 1.5 * spread), int(centre + 2.5 * spread)))
    best, cost, error = best_level(network, candidates)
    assert candidates[0] < best < candidates[-1], "the best level must lie inside the range that was scanned"
    assert error < 0.04 * printed / 5
    assert abs(cost - printed) <= 3 * error + ROUNDING


def test_first_zipkin_cell_without_the_shared_file():
    """Poisson(5), L = 4, h = 1, p = 4: the best base-stock policy costs 5.20 (Zipkin 2008, Table 3, retyped)."""
    best, cost, error = best_level(library.load("lost_sales_zipkin2008", lead_time=4, penalty=4), list(range(17, 27)))
    assert 17 < best < 26
    assert abs(cost - 5.20) <= 3 * error + ROUNDING


def test_best_constant_order_of_zipkin():
    """The best constant order (4 a period) costs 5.2748, whatever the lead time.

    Zipkin (2008), Table 3, prints 5.27 in the column "constant"; 5.2748 is the stationary cost of that random walk.
    Phases: receive, order, demand.
    """
    for lead_time in (1, 4):
        network = library.load("lost_sales_zipkin2008", lead_time=lead_time, penalty=4)
        best, cost, error = best_level(network, [2, 3, 4], policy="constant")
        assert best == 4
        assert abs(cost - 5.2748) <= 3 * error + 5e-5


# -- dual sourcing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("express_price", [105, 110])
@pytest.mark.parametrize("lead_time", [2, 3, 4])
def test_dual_index_policies(published, lead_time, express_price):
    """The dual-index levels give the exact costs of that policy, on all six instances.

    Gijsbrechts, Boute, Van Mieghem & Zhang (2022), M&SOM 24(3), section 6.2, instances of Veeraraghavan &
    Scheller-Wolf (2008); costs by exact dynamic programming whose gaps agree with Figure 9. Phases: receive (express
    at once), order, demand; backlog.
    """
    entry = published[f"gijsbrechts2022_dual_l{lead_time}_ce{express_price}"]["recomputed"]["heuristics"]["DI"]
    network = library.load("dual_sourcing", regular_lead_time=lead_time, express_price=express_price)
    levels = [entry["S_e"] + entry["Delta"], entry["S_e"]]
    cost, error = simulate(network, levels, replicas=2048, periods=8000)
    assert error < 0.05
    assert abs(cost - entry["cost"]) <= 3 * error


# -- serial systems ------------------------------------------------------------------------------------------------


def local_levels(echelon):
    """Local base-stock levels, most upstream stage first, from echelon levels printed store first."""
    return np.diff([0.0, *echelon])[::-1]


@pytest.mark.parametrize("penalty", [4, 9, 19, 39])
@pytest.mark.parametrize("store_lead_time", [1, 2, 3, 4])
def test_clark_scarf_levels_give_the_optimum(store_lead_time, penalty):
    """The optimal echelon levels cost the optimum in simulation, on all 16 instances.

    Recursion of Clark & Scarf (1960), Management Science 6(4):475-490, on the serial instances of Alvo, Russo &
    Kanoria (2023), arXiv:2306.11246. Phases: receive, order, demand; backlog at the store.
    """
    network = library.load("serial_chain", store_lead_time=store_lead_time, penalty=penalty)
    known = network.known_value("optimal_cost")
    echelon = [float(number) for number in re.findall(r"\d+\.\d+", known.detail)]
    cost, error = simulate(network, local_levels(echelon), replicas=1024, periods=400)
    assert error < 0.01 * known.value
    # Levels are printed to 0.01: around the optimum that changes the cost by less than 1e-4 of it.
    assert abs(cost - known.value) <= 3 * error + 1e-4 * known.value


def serial_three(law):
    """Example 6.1: local holding 7, 4, 2 (retailer first), lead times 1, 1, 2, penalty 37.12."""
    way = {"unfilled": "backordered"}
    return Network.parse(
        {
            "name": "example_6_1",
            "phases": ["receive", "demand", "order"],
            "products": {"item": {}},
            "suppliers": {"outside": {"offers": {"item": {}}}},
            "sites": {
                "third": {"stock": {"item": {"holding_cost": 2, "initial": 15}}},
                "second": {"stock": {"item": {"holding_cost": 4, "initial": 5}}},
                "retailer": {"stock": {"item": {"holding_cost": 7, "initial": 5}}},
            },
            "lanes": [
                {"from": "outside", "to": "third", "product": "item", "modes": {"m": {"lead_time": 2, **way}}},
                {
                    "from": "third",
                    "to": "second",
                    "product": "item",
                    "modes": {"m": {"lead_time": 1, "transit_holding_cost": 2, **way}},
                },
                {
                    "from": "second",
                    "to": "retailer",
                    "product": "item",
                    "modes": {"m": {"lead_time": 1, "transit_holding_cost": 4, **way}},
                },
            ],
            "demands": {
                "customers": {
                    "site": "retailer",
                    "product": "item",
                    "distribution": law,
                    "unmet": "backlog",
                    "penalty": 37.12,
                }
            },
        }
    )


@pytest.mark.parametrize(
    ("law", "echelon", "optimum", "tolerance"),
    [
        ({"distribution": "normal", "mean": 5, "sd": 1}, [6.49, 12.02, 22.71], 47.66, 0.01),
        ({"distribution": "poisson", "mean": 5}, [9, 15, 26], 72.0467, 0.0),
    ],
    ids=["normal", "poisson"],
)
def test_example_6_1_of_snyder_and_shen(law, echelon, optimum, tolerance):
    """The printed echelon levels cost 47.66 (normal) and 72.05 (Poisson) per period, 30 of it for goods in transit.

    Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., Example 6.1 (and its Poisson version in the tests of
    stockpyl, there 72.0435 by truncation). Phases: receive, demand, order, so a lead time of L covers L demands. A
    unit in transit is charged the local holding cost of the stage it left: 5 x 1 x 4 + 5 x 1 x 2 = 30; what comes
    from outside is not charged until it arrives.
    """
    twin = Twin(serial_three(law), replicas=2048, seed=5)
    result = twin.rollout("base_stock", local_levels(echelon), 2500, warm_up=100)
    error = result.cost.std(ddof=1) / np.sqrt(2048)
    assert error < 0.03
    assert abs(result.cost.mean() - optimum) <= 3 * error + tolerance
    assert abs(result.terms[1].mean() - 30.0) < 0.05
