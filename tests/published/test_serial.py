"""Clark & Scarf's recursion: published levels and costs, and the kernel's cost of the levels it finds.

The order of the phases decides how many demands a lead time covers; every test states its order.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from agents.oracles.clark_scarf import SerialStage, clark_scarf
from agents.oracles.newsvendor import Newsvendor
from tests.published.test_simulated_costs import simulate
from twin import library
from twin.distributions import Normal, Poisson
from twin.errors import ConfigError
from twin.network import PHASE_ORDERS, Network

RECEIVE_DEMAND_ORDER = ("receive", "demand", "order")


@pytest.mark.parametrize(
    ("echelon_holding", "penalty", "levels", "cost"),
    [
        ([0.25, 0.25, 0.25, 0.25], 9, (8, 13, 18, 22), 12.688),
        ([0.25, 2.50, 2.50, 0.25], 9, (9, 10, 13, 19), 53.008),
        ([0.25, 0.25, 0.25, 0.25], 99, (11, 17, 22, 27), 16.206),
        ([0.25, 2.50, 2.50, 0.25], 99, (11, 14, 18, 26), 74.564),
    ],
)
def test_rows_of_shang_and_song(echelon_holding, penalty, levels, cost):
    """Levels, and costs to three decimals, of rows 1, 9, 17 and 25.

    Shang & Song (2003), Management Science 49(5):618-638, Table 1: demands at rate 16, four lead times of 0.25. Their
    review is continuous, which is periods of 0.25 in the order receive, demand, order; cost rates per unit of time.
    """
    local = np.cumsum(echelon_holding[::-1])[::-1]
    best = clark_scarf([SerialStage(h, 1) for h in local], Poisson(mean=4), penalty, RECEIVE_DEMAND_ORDER)
    assert best.echelon_levels == levels
    assert abs(best.cost - cost) <= 0.0005
    assert sum(best.local_levels) == levels[-1]


@pytest.mark.parametrize(
    ("law", "levels", "level_tolerance", "cost", "cost_tolerance"),
    [
        (Normal(mean=5, sd=1), [6.49, 12.02, 22.71], 0.005, 47.66, 0.005),
        (Poisson(mean=5), [9, 15, 26], 0.0, 72.0467, 5e-5),
    ],
    ids=["normal", "poisson"],
)
def test_example_6_1_of_snyder_and_shen(law, levels, level_tolerance, cost, cost_tolerance):
    """Example 6.1: levels as printed, 47.66 (printed 47.65), and 72.0467 for Poisson demand.

    Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed. Phases: receive, demand, order. The kernel's cost of
    these levels is checked in test_simulated_costs.py.
    """
    best = clark_scarf([SerialStage(7, 1), SerialStage(4, 1), SerialStage(2, 2)], law, 37.12, RECEIVE_DEMAND_ORDER)
    np.testing.assert_allclose(best.echelon_levels, levels, atol=level_tolerance + 1e-9)
    assert abs(best.cost - cost) <= cost_tolerance
    assert best.transit_cost == pytest.approx(30.0, abs=1e-5)


@pytest.mark.parametrize("penalty", [4, 9, 19, 39])
@pytest.mark.parametrize("store_lead_time", [1, 2, 3, 4])
def test_the_serial_chain_of_the_library(store_lead_time, penalty):
    """Sixteen four-stage instances, costs to 1e-4 and levels to 0.01.

    Instances of Alvo, Russo & Kanoria (2023), arXiv:2306.11246, values as the network file states them. Phases:
    receive, order, demand. Goods in transit are not charged.
    """
    network = library.load("serial_chain", store_lead_time=store_lead_time, penalty=penalty)
    best = clark_scarf(serial_chain_stages(store_lead_time), Normal(mean=5, sd=2), penalty)
    known = network.known_value("optimal_cost")
    assert abs(best.cost - known.value) <= 1e-4
    np.testing.assert_allclose(
        best.echelon_levels, [float(n) for n in re.findall(r"\d+\.\d+", known.detail)], atol=0.01
    )
    assert best.transit_cost == 0.0


def serial_chain_stages(store_lead_time):
    """The stages of the library's ``serial_chain``, store first."""
    data = [(1.0, store_lead_time), (0.5, 3), (0.2, 4), (0.1, 2)]
    return [SerialStage(holding, lead, transit_holding_cost=0.0) for holding, lead in data]


@pytest.mark.parametrize(("store_lead_time", "penalty"), [(1, 39), (4, 4)])
def test_the_kernel_charges_what_the_recursion_says(store_lead_time, penalty):
    """The levels found here, run in the library's network (receive, order, demand), cost the optimum."""
    best = clark_scarf(serial_chain_stages(store_lead_time), Normal(mean=5, sd=2), penalty)
    network = library.load("serial_chain", store_lead_time=store_lead_time, penalty=penalty)
    cost, error = simulate(network, best.local_levels[::-1], replicas=1024, periods=800)
    assert error < 0.005 * best.cost
    assert abs(cost - best.cost) <= 3 * error


def chain(stages, law, penalty, phases):
    """A network of serial stages, the customers' stage first in ``stages`` and last in the network."""
    names = [f"stage{j}" for j in range(len(stages), 0, -1)]
    lanes, origin = [], "outside"
    for name, stage in zip(names, reversed(stages), strict=True):
        mode = {"lead_time": stage.lead_time, "transit_holding_cost": stage.transit_holding_cost}
        mode["unfilled"] = "backordered"
        lanes.append({"from": origin, "to": name, "product": "item", "modes": {"m": mode}})
        origin = name
    return Network.parse(
        {
            "name": "chain",
            "phases": phases,
            "products": {"item": {}},
            "suppliers": {"outside": {"offers": {"item": {}}}},
            "sites": {
                name: {"stock": {"item": {"holding_cost": stage.holding_cost, "initial": 20}}}
                for name, stage in zip(names, reversed(stages), strict=True)
            },
            "lanes": lanes,
            "demands": {
                "customers": {
                    "site": "stage1",
                    "product": "item",
                    "distribution": law.model_dump(),
                    "unmet": "backlog",
                    "penalty": penalty,
                }
            },
        }
    )


@pytest.mark.parametrize("phases", PHASE_ORDERS, ids=lambda phases: "-".join(phases))
@pytest.mark.parametrize("law", [Poisson(mean=3), Normal(mean=6, sd=2)], ids=["poisson", "normal"])
def test_every_order_of_the_phases(phases, law):
    """In each of the three orders the kernel's cost is the recursion's, and other levels cost more.

    Three stages, one without a lead time, and a transit cost of its own on one lane.
    """
    stages = [SerialStage(4, 2, 1.5), SerialStage(1, 0, 1.0), SerialStage(0.5, 3, 0.25)]
    best = clark_scarf(stages, law, 20, phases)
    network = chain(stages, law, 20, phases)
    levels = np.array(best.local_levels[::-1])
    cost, error = simulate(network, levels, replicas=1024, periods=1000)
    assert error < 0.005 * cost
    assert abs(cost - best.cost) <= 3 * error + 1e-5
    for stage in range(3):
        for change in (-2.0, 2.0):
            other, _ = simulate(network, levels + change * (np.arange(3) == stage), replicas=256, periods=1000)
            same_paths, _ = simulate(network, levels, replicas=256, periods=1000)
            assert other > same_paths


@pytest.mark.parametrize("phases", [("receive", "order", "demand"), RECEIVE_DEMAND_ORDER])
def test_one_stage_is_the_newsvendor(phases):
    law = Normal(mean=5, sd=2)
    best = clark_scarf([SerialStage(1.0, 3)], law, 9.0, phases)
    single = Newsvendor(law, 1.0, 9.0, lead_time=3, phases=phases).optimum()
    assert best.cost == pytest.approx(single.cost, rel=1e-6)
    assert best.echelon_levels[0] == pytest.approx(single.level, abs=0.01)


def test_a_stage_that_is_no_cheaper_holds_nothing():
    """Eight stages of one holding cost are one stage with their lead times (receive, demand, order)."""
    leads = [1, 2, 0, 1, 3, 1, 1, 2]
    best = clark_scarf([SerialStage(2.0, lead, 0.0) for lead in leads], Poisson(mean=4), 15.0, RECEIVE_DEMAND_ORDER)
    single = clark_scarf([SerialStage(2.0, sum(leads), 0.0)], Poisson(mean=4), 15.0, RECEIVE_DEMAND_ORDER)
    assert best.local_levels[1:] == (0.0,) * 7
    assert best.echelon_levels[0] == single.echelon_levels[0]
    assert best.cost == pytest.approx(single.cost, rel=1e-9)


@pytest.mark.parametrize(
    ("stages", "penalty", "phases", "message"),
    [
        ([], 9, RECEIVE_DEMAND_ORDER, "must end above 0"),
        ([SerialStage(1, 1), SerialStage(2, 1)], 9, RECEIVE_DEMAND_ORDER, "must not rise on the way upstream"),
        ([SerialStage(1, 1), SerialStage(0, 1)], 9, RECEIVE_DEMAND_ORDER, "must end above 0"),
        ([SerialStage(1, 1)], 0, RECEIVE_DEMAND_ORDER, "penalty must be a number above 0"),
        ([SerialStage(1, 1)], 9, ("demand", "order", "receive"), "phases must be one of"),
    ],
)
def test_bad_input_is_refused(stages, penalty, phases, message):
    with pytest.raises(ConfigError, match=message):
        clark_scarf(stages, Poisson(mean=4), penalty, phases)


def test_a_broken_stage_is_refused():
    with pytest.raises(ConfigError, match="lead_time must be a whole number"):
        SerialStage(1.0, 0.5)  # type: ignore[arg-type]
