"""Single-stage optima: published figures, everything nearby tried, and the kernel's cost of what is found.

Figures called "Example" and "Problem" are Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed. (values to all
digits as in the tests of the package stockpyl), retyped.
"""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest
from scipy import integrate

from agents.oracles.economic_order_quantity import EconomicOrderQuantity
from agents.oracles.lot_sizing import wagner_whitin
from agents.oracles.newsvendor import Newsvendor
from agents.oracles.random_yield import (
    AdditiveYieldNewsvendor,
    AdditiveYieldOrderQuantity,
    MultiplicativeYieldNewsvendor,
    MultiplicativeYieldOrderQuantity,
)
from agents.oracles.reorder_point import ContinuousReorder, PeriodicReorder
from agents.oracles.supply_disruptions import DisruptedNewsvendor, DisruptedOrderQuantity
from tests.published.test_simulated_costs import simulate
from twin.distributions import Fixed, Geometric, Normal, Poisson, Uniform
from twin.engine import Twin
from twin.errors import ConfigError
from twin.network import PHASE_ORDERS, Network

RECEIVE_ORDER_DEMAND = ("receive", "order", "demand")
RECEIVE_DEMAND_ORDER = ("receive", "demand", "order")


def store(
    law, holding_cost, penalty, lead_time=0, phases=RECEIVE_ORDER_DEMAND, *, fixed_cost=0.0, supplier=None, **more
):
    """A network of one store with backlog and one supplier."""
    return Network.parse(
        {
            "name": "store",
            "phases": phases,
            "products": {"item": {}},
            "suppliers": {"supplier": {"offers": {"item": {}}, **(supplier or {})}},
            "sites": {"store": {"stock": {"item": {"holding_cost": holding_cost, "initial": 0}}}},
            "lanes": [
                {
                    "from": "supplier",
                    "to": "store",
                    "product": "item",
                    "modes": {"m": {"lead_time": lead_time, "fixed_cost": fixed_cost}},
                }
            ],
            "demands": {
                "customers": {
                    "site": "store",
                    "product": "item",
                    "distribution": law.model_dump(),
                    "unmet": "backlog",
                    "penalty": penalty,
                    **more,
                }
            },
        }
        | ({"resources": {"line": _LINE}} if supplier else {})
    )


# -- base-stock levels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lead_time", "level", "cost"), [(0, 56.603956, 1.9976052), (4, 264.766894, 4.4667810)])
def test_newsvendor_and_base_stock(lead_time, level, cost):
    """Examples 4.1 and 4.4: normal (50, 8), holding 0.18, penalty 0.70. Phases: receive, order, demand."""
    best = Newsvendor(Normal(mean=50, sd=8), 0.18, 0.70, lead_time).optimum()
    assert best.level == pytest.approx(level, abs=1e-4)
    assert best.cost == pytest.approx(cost, rel=1e-6)


def test_demand_that_does_not_vary():
    """Two periods of 2.5 units need 5 units and cost nothing. Phases: receive, order, demand."""
    best = Newsvendor(Fixed(value=2.5), 1, 9, lead_time=1).optimum()
    assert (best.level, best.cost) == (5.0, 0.0)


@pytest.mark.parametrize("penalty", [4, 9, 19, 39])
@pytest.mark.parametrize("lead_time", [1, 4, 7, 10, 15, 20])
def test_one_store_with_backlog(published, lead_time, penalty):
    """Normal demand (5, 1.6) clipped at 0: costs to 1e-4, levels to 0.01.

    Setting of Alvo, Russo & Kanoria (2023), arXiv:2306.11246; computed on a grid of 0.01. Phases: receive, order,
    demand.
    """
    known = published[f"hdpo_backlog_L{lead_time}_p{penalty}"]["recomputed"]
    best = Newsvendor(Normal(mean=5, sd=1.6), 1, penalty, lead_time).optimum()
    assert abs(best.cost - known["optimal"]) <= 1e-4
    assert abs(best.level - known["S"]) <= 0.0101


@pytest.mark.parametrize("phases", PHASE_ORDERS, ids=lambda phases: "-".join(phases))
@pytest.mark.parametrize(
    ("law", "lead_time", "penalty"),
    [(Normal(mean=5, sd=1.6), 4, 9), (Normal(mean=5, sd=1.6), 10, 39), (Geometric(mean=3), 2, 19)],
    ids=["normal-4", "normal-10", "geometric-2"],
)
def test_the_kernel_charges_what_base_stock_says(phases, law, lead_time, penalty):
    """In every order of the phases the best level costs in simulation what is computed, and its neighbours more."""
    model = Newsvendor(law, 1, penalty, lead_time, phases)
    best = model.optimum()
    cost, error = simulate(store(law, 1, penalty, lead_time, phases), [best.level], replicas=1024, periods=1000)
    assert error < 0.01 * best.cost
    assert abs(cost - best.cost) <= 3 * error
    assert model.cost(best.level - 1.0) > best.cost
    assert model.cost(best.level + 1.0) > best.cost


# -- a supplier that is up or down ---------------------------------------------------------------------------------

#: Example 9.3: fails with probability 0.04 a period, recovers with 0.25; it never limits a shipment while it is up.
_LINE = {"capacity": 1e9, "availability": {"failure": 0.04, "recovery": 0.25}}


@pytest.mark.parametrize(
    ("level", "cost"), [(8000, 2737.068965), (2000, 3310.344828), (12000, 3075.161638), (1200, 5710.344828)]
)
def test_base_stock_with_an_unreliable_supplier(level, cost):
    """Example 9.3: demand 2000, holding 0.25, penalty 3. S = 8000 costs 2737.07; three other levels cost more.

    Phases: receive, order, demand, no lead time. Below one period's demand stock is always short: the last cost is
    3 x (2000 x (1 + 4 / 29 / 0.25) - 1200); stockpyl truncates the sum and prints 5710.344791. In the kernel the
    supplier is a resource that fails.
    """
    model = DisruptedNewsvendor(demand=2000, holding_cost=0.25, penalty=3, failure=0.04, recovery=0.25)
    assert model.optimum().level == 8000
    assert model.cost(level) == pytest.approx(cost, abs=1e-5)
    network = store(Fixed(value=2000), 0.25, 3, supplier={"uses": {"line": 1}})
    simulated, error = simulate(network, [level], replicas=2048, periods=2000, seed=21)
    assert error < 0.01 * cost
    assert abs(simulated - cost) <= 3 * error


def test_order_quantity_with_disruptions():
    """Example 9.1 (exact), Example 9.2 (approximation) and the cost of 700 units."""
    model = DisruptedOrderQuantity(8, 0.225, 5, 1300, failure_rate=1.5, recovery_rate=14)
    best, near = model.optimum(), model.approximation()
    assert best.quantity == pytest.approx(772.8111, abs=1e-4)
    assert best.cost == pytest.approx(173.95000257319708, rel=1e-12)
    assert near.quantity == pytest.approx(773.1432417118889, rel=1e-12)
    assert near.cost == pytest.approx(173.957229385175, rel=1e-12)
    assert model.cost(700) == pytest.approx(174.78711738886236, rel=1e-12)


def test_problem_9_8():
    best = DisruptedOrderQuantity(35, 4, 22, 30, failure_rate=1, recovery_rate=12).optimum()
    assert best.quantity == pytest.approx(24.0663, abs=1e-4)
    assert best.cost == pytest.approx(96.266590901158, rel=1e-10)


# -- order quantities and yields -----------------------------------------------------------------------------------


def test_economic_order_quantity():
    """Example 3.1."""
    best = EconomicOrderQuantity(8, 0.225, 1300).optimum()
    assert (best.quantity, best.cost) == pytest.approx((304.0467800264368, 68.41052550594829), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "quantity", "cost"),
    [
        (AdditiveYieldOrderQuantity(18500, 0.06, 75000, -15000, 9000), 230246.37046881882, 12914.78222812913),
        (AdditiveYieldOrderQuantity(2250, 275, 182500, -50, 0.02), 1778.109845109285, 475230.2074050533),
        (
            MultiplicativeYieldOrderQuantity(18500, 0.06, 75000, 5 / 6, sqrt(5 / 252)),
            254460.2129999894,
            13086.5252399995,
        ),
        (MultiplicativeYieldOrderQuantity(2250, 275, 182500, 0.9, 0.1 / sqrt(3)), 1916.183333947864, 476207.0433625989),
    ],
    ids=["example-9.4", "problem-9.4a", "example-9.5", "problem-9.4b"],
)
def test_order_quantities_with_random_yield(model, quantity, cost):
    best = model.optimum()
    assert (best.quantity, best.cost) == pytest.approx((quantity, cost), rel=1e-9)
    assert min(model.cost(0.99 * quantity), model.cost(1.01 * quantity)) > best.cost


def test_newsvendor_with_additive_yield():
    """Example 9.6: demand 1.5 million, yield uniform within half a million; 1.8333 and 6.25 (in millions)."""
    best = AdditiveYieldNewsvendor(1.5, 15.0, 75.0, Uniform(low=0, high=1), shift=-0.5).optimum()
    assert best.level == pytest.approx(1.8333333, abs=1e-6)
    assert best.cost == pytest.approx(6.25, rel=1e-6)


def test_newsvendor_with_multiplicative_yield():
    """A uniform share has a closed form: the order whose share-weighted balance is h / (h + p); its cost integrated."""
    low, high, demand, holding, penalty = 0.6, 1.0, 100.0, 1.0, 4.0
    best = MultiplicativeYieldNewsvendor(demand, holding, penalty, Uniform(low=low, high=high)).optimum()
    share = sqrt(low**2 + (high**2 - low**2) * holding / (holding + penalty))
    assert best.level == pytest.approx(demand / share, rel=1e-5)

    def density(z):
        left = best.level * z - demand
        return (holding * max(left, 0.0) + penalty * max(-left, 0.0)) / (high - low)

    expected = integrate.quad(density, low, high, points=[demand / best.level])[0]
    assert best.cost == pytest.approx(expected, rel=1e-5)


# -- reorder points ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "holding", "penalty", "fixed", "expected"),
    [(6, 1, 4, 5, (4, 10, 8.034111561471642)), (4, 40, 125, 150, (2, 7, 223.5748295669688))],
    ids=["example-4.7", "problem-4.31"],
)
def test_reorder_levels(mean, holding, penalty, fixed, expected):
    """(s, S) of Example 4.7 and Problem 4.31. Phases: receive, order, demand, no lead time."""
    best = PeriodicReorder(Newsvendor(Poisson(mean=mean), holding, penalty), fixed).optimum()
    assert (best.reorder_point, best.order_up_to) == expected[:2]
    assert best.cost == pytest.approx(expected[2], rel=1e-9)


@pytest.mark.parametrize("phases", [RECEIVE_ORDER_DEMAND, RECEIVE_DEMAND_ORDER], ids=lambda phases: "-".join(phases))
def test_no_other_reorder_levels_are_cheaper_and_the_kernel_agrees(phases):
    """Geometric demand, lead time 2: every (s, S) around is tried, and the best is run in the kernel."""
    law, lead_time, fixed = Geometric(mean=2), 2, 30.0
    model = PeriodicReorder(Newsvendor(law, 1, 9, lead_time, phases), fixed)
    best = model.optimum()
    tried = {(s, big): model.cost(s, big) for s in range(-3, 20) for big in range(s + 1, 45)}
    assert min(tried, key=tried.get) == (best.reorder_point, best.order_up_to)
    assert best.cost == pytest.approx(min(tried.values()), rel=1e-12)

    twin = Twin(store(law, 1, 9, lead_time, phases, fixed_cost=fixed), replicas=2048, seed=11)
    total, warm_up, periods = np.zeros(2048), 50, 300
    for t in range(warm_up + periods):
        position = twin.positions()
        costs = twin.step(np.where(position <= best.reorder_point, best.order_up_to - position, 0.0))
        total += costs.sum(axis=0) * (t >= warm_up)
    cost, error = total.mean() / periods, total.std(ddof=1) / periods / sqrt(2048)
    assert error < 0.005 * best.cost
    assert abs(cost - best.cost) <= 3 * error


@pytest.mark.parametrize(
    ("rate", "holding", "penalty", "fixed", "lead_time", "expected"),
    [
        (1.5, 20, 150, 100, 2, (3, 5, 107.92358063314975)),
        (12, 4, 28, 4, 0.5, (6, 7, 28.241312842169155)),
    ],
    ids=["example-5.8", "problem-5.2"],
)
def test_reorder_quantities(rate, holding, penalty, fixed, lead_time, expected):
    """(r, Q) of Example 5.8 and Problem 5.2 under continuous review, and no other pair around is cheaper."""
    model = ContinuousReorder(rate, holding, penalty, fixed, lead_time)
    best = model.optimum()
    assert (best.reorder_point, best.quantity) == expected[:2]
    assert best.cost == pytest.approx(expected[2], rel=1e-9)
    tried = {(r, q): model.cost(r, q) for r in range(-5, 20) for q in range(1, 25)}
    assert min(tried, key=tried.get) == expected[:2]


# -- lot sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demand", "fixed", "holding", "orders", "cost"),
    [
        ([90, 120, 80, 70], 500, 2.0, (210, 0, 150, 0), 1380),
        ([150, 100, 80, 200], 120, 0.8, (150, 180, 0, 200), 424),
    ],
    ids=["example-3.9", "problem-3.27"],
)
def test_wagner_whitin(demand, fixed, holding, orders, cost):
    """Example 3.9 and Problem 3.27; the kernel charges the same. Phases: receive, order, demand, no lead time."""
    plan = wagner_whitin(demand, fixed, holding)
    assert plan.orders == orders
    assert plan.cost == pytest.approx(cost, rel=1e-12)
    seasons = {"seasonality": {"factors": demand}}
    twin = Twin(store(Fixed(value=1), holding, 1e6, fixed_cost=fixed, **seasons))
    assert sum(twin.step([[units]]).sum() for units in plan.orders) == pytest.approx(cost, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_lot_sizes_are_cheaper(seed):
    """Six random periods, one of them without demand: every choice of order periods is tried."""
    random = np.random.default_rng(seed)
    demand = random.integers(1, 100, size=6).astype(float)
    demand[random.integers(6)] = 0.0
    best = np.inf
    for ordering in itertools.product([False, True], repeat=6):
        cost, held = 0.0, np.inf  # `held`: periods since the last order
        for orders, units in zip(ordering, demand, strict=True):
            held = 0.0 if orders else held + 1.0
            cost += 60.0 * orders + (1.5 * held * units if units else 0.0)
        best = min(best, cost)
    assert wagner_whitin(list(demand), 60.0, 1.5).cost == pytest.approx(best, rel=1e-12)


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Newsvendor(Poisson(mean=5), 0, 9), "holding_cost must be a number above 0"),
        (lambda: Newsvendor(Poisson(mean=5), 1, 9, lead_time=1.5), "lead_time must be a whole number"),
        (lambda: Newsvendor(Poisson(mean=5), 1, 9, 0, RECEIVE_DEMAND_ORDER), "nothing to decide"),
        (lambda: Newsvendor(Poisson(mean=5), 1, 9, 0, ("order", "demand", "receive")), "phases must be one of"),
        (lambda: EconomicOrderQuantity(8, float("nan"), 1300), "holding_cost must be a number above 0"),
        (lambda: DisruptedNewsvendor(2000, 0.25, 3, 0.04, 1.0), "recovery must lie strictly between 0 and 1"),
        (lambda: AdditiveYieldOrderQuantity(1, 1, 1, -5, 1).cost(4), "delivers -1 units on average"),
        (lambda: PeriodicReorder(Newsvendor(Normal(mean=5, sd=1), 1, 9), 5), "demand in whole units"),
        (lambda: PeriodicReorder(Newsvendor(Poisson(mean=5), 1, 9), 5).cost(4, 4), "order_up_to must exceed"),
        (lambda: ContinuousReorder(1.5, 20, 150, 100, -1), "lead_time must be a number of at least 0"),
        (lambda: wagner_whitin([3.0, -1.0], 5, 1), r"demand\[1\] must be a number of at least 0"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
